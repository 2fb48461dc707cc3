"""What the ledger of predictions keeps, and what it answers. Every answer is compared with plain Python."""

from __future__ import annotations

import base64
import inspect
import json
import math
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from sqlalchemy.exc import StatementError

from core.domain import PROCESS, Emotion, Interval, Sketch, Source
from core.errors import InvalidParameterError, StoreError, UnknownRecordingError
from core.identifiers import new_id
from core.store import predictions as ledger
from core.store.predictions import (
    ConfidenceEntropyBin,
    CreatedRange,
    EmotionOverTime,
    PredictionFilter,
    PredictionOrder,
    TimeBucket,
    count_predictions,
    count_predictions_by_confidence_and_entropy,
    count_predictions_by_emotion,
    count_predictions_over_time,
    insert_prediction,
    insert_predictions,
    select_created_range,
    select_model_versions,
    select_prediction,
    select_predictions,
)
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_RECORDING = UUID("00000000-0000-7000-8000-000000000000")


@pytest.fixture
def recording(store):
    return insert_recording(store, recording=make_recording())


@pytest.fixture
def crowd(store):
    """Predictions that differ in everything a filter looks at, with ties; some ids older than their times."""
    randomness = random.Random(1)
    recordings = [
        insert_recording(store, recording=make_recording(name=name, source=source))
        for name, source in [("Call 7.wav", Source.API), ("call_8.WAV", Source.UPLOAD), ("100%.wav", Source.SAMPLE)]
    ]
    made = [
        make_prediction(
            randomness.choice(recordings),
            emotion=randomness.choice(list(Emotion)[:5]),
            confidence=randomness.choice([0.2, 0.3, 0.4, 0.55, 0.7, 0.9, 1.0]),
            created_at=NOON + timedelta(hours=randomness.randrange(200), microseconds=randomness.choice([0, 1])),
            model_version=randomness.choice(["a-1", "b-2", "b-3"]),
        )
        for _ in range(120)
    ]
    insert_predictions(store, predictions=made)
    return made, {recording.id: recording.name for recording in recordings}


def entropy(prediction):
    return prediction.uncertainty.predictive_entropy_nats


def all_pages(store, *, order=PredictionOrder.NEWEST, limit=7, filter=ledger.EVERYTHING):
    rows, cursor = [], None
    while True:
        page = select_predictions(store, reader=PROCESS, filter=filter, limit=limit, cursor=cursor, order=order)
        rows += page.items
        cursor = page.next_cursor
        if cursor is None:
            return rows
        assert len(page.items) == limit


FILTERS = {
    "everything": (PredictionFilter(), lambda p, name: True),
    "emotions": (
        PredictionFilter(emotions=(Emotion.CALM, Emotion.SAD)),
        lambda p, name: p.emotion in {Emotion.CALM, Emotion.SAD},
    ),
    "confidence": (
        PredictionFilter(min_confidence=0.4, max_confidence=0.7),
        lambda p, name: 0.4 <= p.confidence <= 0.7,
    ),
    "entropy": (
        PredictionFilter(min_entropy_nats=1.0, max_entropy_nats=2.0),
        lambda p, name: 1.0 <= entropy(p) <= 2.0,
    ),
    "abstained": (PredictionFilter(abstained=True), lambda p, name: p.abstained),
    "answered": (PredictionFilter(abstained=False), lambda p, name: not p.abstained),
    "models": (PredictionFilter(model_versions=("b-2", "b-3")), lambda p, name: p.model_version != "a-1"),
    "sources": (
        PredictionFilter(sources=(Source.API, Source.SAMPLE)),
        lambda p, name: p.source in {Source.API, Source.SAMPLE},
    ),
    "from": (
        PredictionFilter(created_from=NOON + timedelta(hours=50)),
        lambda p, name: p.created_at >= NOON + timedelta(hours=50),
    ),
    "before, in another zone": (
        PredictionFilter(created_before=(NOON + timedelta(hours=50)).astimezone(timezone(timedelta(hours=9)))),
        lambda p, name: p.created_at < NOON + timedelta(hours=50),
    ),
    "name in any case": (PredictionFilter(recording_name="CALL"), lambda p, name: "call" in name.lower()),
    "underscore in a name is itself": (PredictionFilter(recording_name="l_8"), lambda p, name: "l_8" in name),
    "percent in a name is itself": (PredictionFilter(recording_name="0%"), lambda p, name: "0%" in name),
    "several": (
        PredictionFilter(emotions=(Emotion.HAPPY,), min_confidence=0.3, recording_name="wav", abstained=False),
        lambda p, name: p.emotion is Emotion.HAPPY and p.confidence >= 0.3 and not p.abstained,
    ),
    "nothing": (PredictionFilter(recording_id=NO_RECORDING), lambda p, name: False),
}


@pytest.mark.parametrize("case", FILTERS)
def test_every_question_means_the_same_rows_by_a_filter(store, crowd, case):
    made, names = crowd
    given, is_meant = FILTERS[case]
    meant = [prediction for prediction in made if is_meant(prediction, names[prediction.recording_id])]
    assert case in {"everything", "nothing"} or 0 < len(meant) < len(made)

    assert {row.id for row in all_pages(store, filter=given)} == {prediction.id for prediction in meant}
    assert count_predictions(store, reader=PROCESS, filter=given) == len(meant)
    assert select_model_versions(store, reader=PROCESS, filter=given) == sorted(
        {prediction.model_version for prediction in meant}
    )
    times = [prediction.created_at for prediction in meant]
    expected_range = CreatedRange(first_at=min(times), last_at=max(times)) if times else None
    assert select_created_range(store, reader=PROCESS, filter=given) == expected_range

    by_emotion = Counter(prediction.emotion for prediction in meant)
    counts = count_predictions_by_emotion(store, reader=PROCESS, filter=given)
    assert list(counts) == list(Emotion)
    assert counts == {emotion: by_emotion[emotion] for emotion in Emotion}

    over_time = Counter((p.created_at.replace(hour=0, microsecond=0), p.emotion) for p in meant)
    assert count_predictions_over_time(store, reader=PROCESS, bucket=TimeBucket.DAY, filter=given) == [
        EmotionOverTime(started_at=started_at, emotion=emotion, n_predictions=n)
        for (started_at, emotion), n in sorted(over_time.items(), key=lambda i: (i[0][0], list(Emotion).index(i[0][1])))
    ]

    binned = Counter((min(9, int(p.confidence * 10)), min(4, int(entropy(p) / math.log(8) * 5))) for p in meant)
    found = count_predictions_by_confidence_and_entropy(
        store, reader=PROCESS, filter=given, n_confidence_bins=10, n_entropy_bins=5
    )
    assert {
        (round(b.confidence.low * 10), round(b.entropy_nats.low / math.log(8) * 5)): b.n_predictions for b in found
    } == binned

    for prediction in made[:10]:
        found_one = select_prediction(store, reader=PROCESS, prediction_id=prediction.id, filter=given)
        assert found_one == (prediction if prediction in meant else None)


def test_no_question_can_go_around_the_filter(store, crowd):
    nothing = PredictionFilter(recording_id=NO_RECORDING)
    arguments = {"store": store, "filter": nothing, "prediction_id": crowd[0][0].id, "bucket": TimeBucket.DAY}
    arguments["reader"] = PROCESS
    asked = 0
    for name, function in inspect.getmembers(ledger, inspect.isfunction):
        if function.__module__ != ledger.__name__ or not name.startswith(("select_", "count_")):
            continue
        parameters = inspect.signature(function).parameters
        assert "filter" in parameters, f"{name} takes no filter"
        answer = function(**{each: arguments[each] for each in parameters if each in arguments})
        rows = answer.items if isinstance(answer, ledger.PredictionPage) else answer
        if isinstance(rows, dict):
            rows = [row for row in rows.values() if row]
        # A figure of each emotion is there without any prediction too.
        assert not [row for row in rows or () if getattr(row, "n_predictions", 1)], f"{name} answers past its filter"
        asked += 1
    assert asked >= 8


def test_prediction_comes_back_exactly_as_it_went_in(store, recording):
    for sketch in (None, Sketch(encoder="0123456789ab", numbers=bytes(range(128)))):
        prediction = make_prediction(recording, sketch=sketch)
        assert insert_prediction(store, prediction=prediction) == prediction
        assert select_prediction(store, reader=PROCESS, prediction_id=prediction.id) == prediction


def test_time_of_another_zone_comes_back_as_the_same_moment_in_utc(store, recording):
    local = datetime(2026, 7, 1, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    prediction = insert_prediction(store, prediction=make_prediction(recording, created_at=local))
    found = select_prediction(store, reader=PROCESS, prediction_id=prediction.id)
    assert found.created_at == local
    assert found.created_at.tzinfo is UTC


def test_time_without_zone_is_a_mistake_in_the_program(store, recording):
    with pytest.raises(StatementError, match="has no time zone"):
        insert_prediction(store, prediction=make_prediction(recording, created_at=datetime(2026, 1, 1)))


def test_model_with_fewer_emotions_leaves_the_others_out(store, recording):
    few = {Emotion.SAD: 0.25, Emotion.ANGRY: 0.75}
    prediction = make_prediction(
        recording,
        probabilities=few,
        standard_deviations=dict.fromkeys(few, 0.1),
        intervals=dict.fromkeys(few, Interval(low=0.0, high=1.0)),
        segments=(),
        windows=(),
    )
    insert_prediction(store, prediction=prediction)
    assert select_prediction(store, reader=PROCESS, prediction_id=prediction.id) == prediction
    (row,) = select_predictions(store, reader=PROCESS).items
    assert row.probabilities == few
    assert row.emotion is Emotion.ANGRY


def test_infinite_levels_come_back_infinite(store, recording):
    quality = replace(make_prediction(recording).quality, peak_dbfs=-math.inf, snr_db=math.inf)
    prediction = insert_prediction(store, prediction=make_prediction(recording, quality=quality))
    assert select_prediction(store, reader=PROCESS, prediction_id=prediction.id).quality == quality


def test_row_of_a_page_agrees_with_the_whole_prediction(store, recording):
    prediction = insert_prediction(store, prediction=make_prediction(recording, confidence=0.3))
    (row,) = select_predictions(store, reader=PROCESS).items
    assert row.recording_name == recording.name
    for field in ("id", "recording_id", "created_at", "emotion", "confidence", "abstained", "probabilities"):
        assert getattr(row, field) == getattr(prediction, field)
    for field in ("uncertainty", "model_version", "source", "n_passes", "duration_s", "latency_ms"):
        assert getattr(row, field) == getattr(prediction, field)


def test_prediction_about_an_unknown_recording_is_refused(store):
    stranger = make_recording()
    with pytest.raises(UnknownRecordingError, match=str(stranger.id)):
        insert_prediction(store, prediction=make_prediction(stranger))
    assert count_predictions(store, reader=PROCESS) == 0


def test_second_prediction_of_the_same_id_is_refused_and_the_first_stays(store, recording):
    first = insert_prediction(store, prediction=make_prediction(recording))
    with pytest.raises(StoreError):
        insert_prediction(store, prediction=make_prediction(recording, id=first.id, confidence=0.9))
    assert select_prediction(store, reader=PROCESS, prediction_id=first.id) == first


@pytest.mark.parametrize("n", [0, 1, 60])
def test_many_predictions_are_appended_at_once(store, recording, n):
    made = [make_prediction(recording) for _ in range(n)]
    insert_predictions(store, predictions=made)
    assert [select_prediction(store, reader=PROCESS, prediction_id=prediction.id) for prediction in made] == made
    assert count_predictions(store, reader=PROCESS) == n


def test_many_predictions_are_appended_all_or_none(store, recording):
    made = [make_prediction(recording) for _ in range(20)]
    with pytest.raises(StoreError):
        insert_predictions(store, predictions=[*made, made[3]])
    with pytest.raises(UnknownRecordingError):
        insert_predictions(store, predictions=[*made, make_prediction(make_recording())])
    assert count_predictions(store, reader=PROCESS) == 0


def test_unknown_prediction_is_none(store):
    assert select_prediction(store, reader=PROCESS, prediction_id=new_id()) is None


SORTED_BY = {
    PredictionOrder.NEWEST: (lambda p: (p.created_at, p.id), True),
    PredictionOrder.OLDEST: (lambda p: (p.created_at, p.id), False),
    PredictionOrder.MOST_CONFIDENT: (lambda p: (p.confidence, p.id), True),
    PredictionOrder.LEAST_CONFIDENT: (lambda p: (p.confidence, p.id), False),
    PredictionOrder.MOST_UNCERTAIN: (lambda p: (entropy(p), p.id), True),
    PredictionOrder.LEAST_UNCERTAIN: (lambda p: (entropy(p), p.id), False),
}


@pytest.mark.parametrize("order", PredictionOrder)
def test_pages_follow_their_order_over_ties(store, crowd, order):
    key, descends = SORTED_BY[order]
    expected = [prediction.id for prediction in sorted(crowd[0], key=key, reverse=descends)]
    assert [row.id for row in all_pages(store, order=order)] == expected


@pytest.mark.parametrize("order", PredictionOrder)
def test_rows_appended_while_paging_neither_repeat_nor_hide_others(store, crowd, order):
    made, _names = crowd
    newcomer_of = make_recording(name="new.wav")
    insert_recording(store, recording=newcomer_of)
    seen, cursor, appended = [], None, 0
    while True:
        page = select_predictions(store, reader=PROCESS, limit=11, cursor=cursor, order=order)
        seen += [row.id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        for confidence in (0.2, 0.55, 1.0):
            at = NOON + timedelta(hours=appended * 5)
            insert_prediction(store, prediction=make_prediction(newcomer_of, confidence=confidence, created_at=at))
            appended += 1
    assert appended > 20
    assert len(seen) == len(set(seen))
    assert {prediction.id for prediction in made} <= set(seen)


def test_last_page_that_is_just_full_names_no_next_one(store, recording):
    insert_predictions(store, predictions=[make_prediction(recording) for _ in range(4)])
    first = select_predictions(store, reader=PROCESS, limit=2)
    second = select_predictions(store, reader=PROCESS, limit=2, cursor=first.next_cursor)
    assert len(second.items) == 2
    assert second.next_cursor is None
    assert select_predictions(store, reader=PROCESS, limit=4).next_cursor is None


def test_page_size_out_of_range_is_refused(store):
    for limit in (0, -1, 1001):
        with pytest.raises(InvalidParameterError, match="1 to 1000"):
            select_predictions(store, reader=PROCESS, limit=limit)


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


STRANGE_CURSORS = [
    "",
    "x",
    "größe",
    "AAAA",
    encoded(7),
    encoded(["newest"]),
    encoded(["newest", "2026-01-01T00:00:00", str(NO_RECORDING)]),
    encoded(["newest", "yesterday", str(NO_RECORDING)]),
    encoded(["newest", 3, str(NO_RECORDING)]),
    encoded(["newest", "2026-01-01T00:00:00+00:00", "me"]),
    encoded(["newest", "2026-01-01T00:00:00+00:00", 5]),
    encoded(["oldest", "2026-01-01T00:00:00+00:00", str(NO_RECORDING)]),
    encoded(["newest", None, None]),
    encoded({"newest": 1, "b": 2, "c": 3}),
]


def test_cursor_that_no_page_gave_out_is_refused(store):
    for cursor in STRANGE_CURSORS:
        with pytest.raises(InvalidParameterError, match="next_cursor"):
            select_predictions(store, reader=PROCESS, cursor=cursor)


def test_bins_hold_their_lower_bounds_and_the_last_its_upper_one(store, recording):
    def at(confidence, entropy_nats):
        made = make_prediction(recording, confidence=confidence)
        return replace(made, uncertainty=replace(made.uncertainty, predictive_entropy_nats=entropy_nats))

    top = math.log(8)
    insert_predictions(
        store, predictions=[at(0.5, 0.0), at(0.75, top / 2), at(1.0, top), at(1.0, top + 1e-9), at(0.9999, -1e-12)]
    )
    found = count_predictions_by_confidence_and_entropy(store, reader=PROCESS, n_confidence_bins=4, n_entropy_bins=2)
    assert found == [
        ConfidenceEntropyBin(
            confidence=Interval(low=0.5, high=0.75), entropy_nats=Interval(low=0.0, high=top / 2), n_predictions=1
        ),
        ConfidenceEntropyBin(
            confidence=Interval(low=0.75, high=1.0), entropy_nats=Interval(low=0.0, high=top / 2), n_predictions=1
        ),
        ConfidenceEntropyBin(
            confidence=Interval(low=0.75, high=1.0), entropy_nats=Interval(low=top / 2, high=top), n_predictions=3
        ),
    ]


def test_number_of_bins_out_of_range_is_refused(store):
    for name in ("n_confidence_bins", "n_entropy_bins"):
        for n_bins in (0, 201):
            with pytest.raises(InvalidParameterError, match=name):
                count_predictions_by_confidence_and_entropy(store, reader=PROCESS, **{name: n_bins})


@pytest.mark.parametrize(
    ("bucket", "started_at"),
    [
        (TimeBucket.MINUTE, datetime(2026, 5, 7, 23, 59, tzinfo=UTC)),
        (TimeBucket.HOUR, datetime(2026, 5, 7, 23, tzinfo=UTC)),
        (TimeBucket.DAY, datetime(2026, 5, 7, tzinfo=UTC)),
        (TimeBucket.WEEK, datetime(2026, 5, 4, tzinfo=UTC)),  # a Monday
        (TimeBucket.MONTH, datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_buckets_begin_in_utc(store, recording, bucket, started_at):
    late = datetime(2026, 5, 7, 23, 59, 59, 999_999, tzinfo=UTC)
    insert_prediction(store, prediction=make_prediction(recording, created_at=late))
    (count,) = count_predictions_over_time(store, reader=PROCESS, bucket=bucket)
    assert count.started_at == started_at


def test_empty_store_answers_every_question(store):
    assert select_predictions(store, reader=PROCESS).items == ()
    assert select_predictions(store, reader=PROCESS).next_cursor is None
    assert count_predictions(store, reader=PROCESS) == 0
    assert set(count_predictions_by_emotion(store, reader=PROCESS).values()) == {0}
    assert count_predictions_by_confidence_and_entropy(store, reader=PROCESS) == []
    assert count_predictions_over_time(store, reader=PROCESS, bucket=TimeBucket.DAY) == []
    assert select_created_range(store, reader=PROCESS) is None
    assert select_model_versions(store, reader=PROCESS) == []


def test_ten_minutes_of_windows_come_back(store, recording):
    one = make_prediction(recording)
    windows = tuple(replace(one.windows[0], start_s=float(s), end_s=s + 3.0) for s in range(598))
    prediction = insert_prediction(store, prediction=replace(one, windows=windows))
    assert select_prediction(store, reader=PROCESS, prediction_id=prediction.id) == prediction
