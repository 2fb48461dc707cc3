"""The figures of a report are those of the store: recomputed here from the predictions, one by one."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.domain import NOBODY, PROCESS, Emotion, Reader, Source
from core.identifiers import new_id
from core.inference.registry import list_models
from core.reports.report import ReportRequest, days_of
from core.store.predictions import EmotionOverTime, PredictionFilter, insert_predictions
from core.store.schema import batch_outcomes
from tests.bundles import TINY
from tests.factories import make_prediction
from tests.integration.reports.conftest import BERLIN, NOW


def assembled(reports, *, reader=PROCESS, **asked):
    return reports.assemble(ReportRequest(**({"zone": BERLIN} | asked)), reader=reader)


def test_totals_shares_and_means_are_those_of_the_predictions(reports, filled):
    report = assembled(reports)
    made = [prediction for _, prediction in filled]
    assert report.n_predictions == len(made)
    assert report.n_not_sure == sum(each.abstained for each in made)
    assert report.duration_s == pytest.approx(sum(each.duration_s for each in made))
    assert report.mean_confidence == pytest.approx(sum(each.confidence for each in made) / len(made))
    doubts = [each.uncertainty for each in made]
    assert report.mean_entropy_nats == pytest.approx(sum(d.predictive_entropy_nats for d in doubts) / len(made))
    assert report.sources == {Source.UPLOAD: 60, Source.API: 60}
    assert [(each.version, each.n_predictions) for each in report.models] == [("tiny-0", 80), ("other-1", 40)]
    for line in report.emotions:
        theirs = [each for each in made if each.emotion is line.emotion]
        assert line.n_predictions == len(theirs)
        assert line.share == pytest.approx(len(theirs) / len(made))
        assert line.interval.low <= line.share <= line.interval.high
        assert line.mean_probability == pytest.approx(sum(p.probabilities[line.emotion] for p in made) / len(made))
        if theirs:
            assert line.mean_confidence == pytest.approx(sum(p.confidence for p in theirs) / len(theirs))
        else:
            assert line.mean_confidence is None
    assert sum(each.n_predictions for each in report.bins) == len(made)
    doubtful = sorted(made, key=lambda each: -each.uncertainty.predictive_entropy_nats)[:15]
    assert [row.uncertainty for row in report.doubtful] == [each.uncertainty for each in doubtful]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
def test_days_are_those_of_the_reader(reports, filled, zone):
    report = assembled(reports, zone=ZoneInfo(zone))
    expected = Counter(p.created_at.astimezone(ZoneInfo(zone)).date() for _, p in filled)
    assert {line.day: line.n_predictions for line in report.days} == expected
    assert [line.day for line in report.days] == sorted(expected)


def test_an_hour_belongs_to_the_day_its_clock_shows():
    late = datetime(2026, 3, 28, 23, tzinfo=UTC)
    counts = [EmotionOverTime(started_at=late, emotion=Emotion.SAD, n_predictions=2)]
    assert [line.day for line in days_of(counts, BERLIN)] == [date(2026, 3, 29)]
    assert [line.day for line in days_of(counts, UTC)] == [date(2026, 3, 28)]


def test_filters_hold_and_stand_in_words(reports, filled):
    chosen = PredictionFilter(
        emotions=(Emotion.SAD,), min_confidence=0.5, sources=(Source.API,), recording_name="плüss", abstained=False
    )
    report = assembled(reports, filter=chosen, made_for="Ann")
    assert report.n_predictions == 0
    assert dict(report.filter_lines) == {
        "Emotion": "sad",
        "Answer": "sure",
        "Confidence": "50 % to 100 %",
        "Came by": "API",
        "Name holds": "плüss",
    }
    narrower = assembled(reports, filter=PredictionFilter(emotions=(Emotion.SAD,), min_confidence=0.5))
    assert narrower.n_predictions == sum(p.emotion is Emotion.SAD and p.confidence >= 0.5 for _, p in filled)


def test_period_is_told_at_the_readers_clock(reports, filled):
    since = datetime(2026, 3, 20, tzinfo=UTC)
    report = assembled(reports, filter=PredictionFilter(created_from=since, created_before=NOW))
    assert report.period == "20 March 2026, 01:00 to 2 April 2026, 14:00"
    assert report.n_predictions == sum(since <= p.created_at < NOW for _, p in filled)


def test_what_arrives_after_the_report_was_begun_is_left_out(reports, filled, store):
    later = make_prediction(filled[0][0], created_at=NOW + timedelta(seconds=1))
    insert_predictions(store, predictions=[later])
    assert assembled(reports).n_predictions == len(filled)


def test_strangers_get_an_empty_report(reports, filled):
    report = assembled(reports, reader=Reader(user_id=new_id()))
    assert report.n_predictions == 0
    assert (report.days, report.models, report.doubtful, report.bins) == ((), (), (), ())
    assert report.mean_confidence is None
    assert all(line.share is None and line.n_predictions == 0 for line in report.emotions)


def test_card_of_a_model_is_told_while_it_is_at_hand(reports, store, filled):
    assert [model.card for model in assembled(reports).models] == [None, None]
    version = next(each.version for each in list_models(TINY.parent) if each.name == TINY.name)
    of_it = make_prediction(filled[0][0], model_version=version, created_at=NOW - timedelta(days=1))
    insert_predictions(store, predictions=[of_it])
    model = next(each for each in assembled(reports).models if each.version == version)
    assert model.card is not None
    assert (model.card.version, model.n_predictions) == (version, 1)


def test_mean_of_nothing_is_nothing_and_never_nan(reports):
    report = assembled(reports)
    assert report.mean_entropy_nats is None
    assert not any(math.isnan(line.interval.low) for line in report.emotions)
    assert report.period == "until 2 April 2026, 14:00"


def test_report_of_a_batch_tells_of_what_was_sent_in_it(reports, store, filled):
    batch_id = new_id()
    outcomes = [
        {
            "batch_id": batch_id,
            "position": position,
            "owner_id": NOBODY,
            "recording_id": recording.id,
            "prediction_id": prediction.id,
            "fingerprint": "",
            "is_repeat": False,
            "problem_code": "",
            "problem": "",
            "finished_at": NOW,
        }
        for position, (recording, prediction) in enumerate(filled[:7])
    ]
    outcomes.append(outcomes[0] | {"position": 7, "recording_id": None, "prediction_id": None, "problem": "silent"})
    store.append("filling a batch", (batch_outcomes, outcomes))
    report = assembled(reports, filter=PredictionFilter(batch_id=batch_id))
    assert report.n_predictions == 7
    assert report.filter_lines == (("Batch", str(batch_id)),)
    assert assembled(reports, filter=PredictionFilter(batch_id=new_id())).n_predictions == 0
