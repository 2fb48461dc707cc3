"""What numbers are called."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from core.domain import AudioFormat, Emotion, Interval, Source, Uncertainty
from core.store.predictions import PredictionOrder
from pages.parts import words
from tests.factories import make_prediction, make_recording

NO_BREAK = "\u00a0"


def prediction(**given):
    return make_prediction(make_recording(), **given)


def test_a_sure_answer_names_its_emotion_and_how_sure():
    said = prediction(emotion=Emotion.ANGRY, confidence=0.72)
    assert f"{words.verdict_lead(said)}: {words.verdict(said)}" == f"We hear: angry, 72{NO_BREAK}% sure"


def test_an_abstention_names_the_two_that_come_into_question():
    shares = dict.fromkeys(Emotion, 0.05) | {Emotion.ANGRY: 0.37, Emotion.DISGUST: 0.33}
    said = replace(prediction(), probabilities=shares, abstained=True)
    assert f"{words.verdict_lead(said)}: {words.verdict(said)}" == "Not sure: angry or disgust"
    assert "would rather not decide" in words.runner_up(said)


def test_the_second_is_possible_only_where_the_passes_overlap():
    said = prediction(emotion=Emotion.SAD, confidence=0.6)
    second = words.ranked(said)[1]
    apart = said.intervals | {Emotion.SAD: Interval(low=0.5, high=0.7), second: Interval(low=0.01, high=0.1)}
    near = apart | {second: Interval(low=0.01, high=0.55)}
    assert "well behind" in words.runner_up(replace(said, intervals=apart))
    assert "is possible too" in words.runner_up(replace(said, intervals=near))


@pytest.mark.parametrize(
    ("total", "model", "said"),
    [
        (0.2, 0.1, "hardly any doubt"),
        (1.0, 0.05, "some doubt, and it lies in the voice"),
        (1.0, 0.25, "some doubt: partly"),
        (1.18, 0.49, "some doubt: partly"),
        (1.5, 0.9, "much doubt, mostly because the model"),
    ],
)
def test_doubt_is_said_by_amount_and_place(total, model, said):
    uncertainty = Uncertainty(
        predictive_entropy_nats=total, expected_entropy_nats=total - model, mutual_information_nats=model
    )
    assert said in words.doubt(uncertainty)


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0 %"),
        (0.004, "under 1 %"),
        (0.005, "0 %"),
        (0.72, "72 %"),
        (0.9949, "99 %"),
        (0.997, "over 99 %"),
        (1, "100 %"),
    ],
)
def test_nothing_that_can_happen_is_called_impossible(share, said):
    assert words.percent(share) == said.replace(" %", f"{NO_BREAK}%")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.3, "0.3 s"), (59.94, "59.9 s"), (59.96, "1:00 min"), (600, "10:00 min")]
)
def test_durations(seconds, said):
    assert words.duration(seconds).replace(NO_BREAK, " ") == said


@pytest.mark.parametrize(("level", "said"), [(-0.3, "0"), (0.0, "0"), (-0.6, "-1"), (-20.0, "-20"), (41.2, "41")])
def test_levels_are_whole_decibels_and_zero_has_no_sign(level, said):
    assert words.decibels(level) == said


def test_times_of_machines_are_told_in_milliseconds():
    assert [words.duration(seconds, exact=True).replace(NO_BREAK, " ") for seconds in (0.0484, 5.13)] == [
        "48 ms",
        "5.1 s",
    ]


def test_places_in_a_recording_read_as_on_a_clock():
    assert [words.clock(seconds) for seconds in (0, 9.9, 67, 600)] == ["0:00", "0:09", "1:07", "10:00"]


def test_moments_are_told_at_the_readers_clock():
    moment = datetime(2026, 7, 1, 10, 30, tzinfo=UTC)
    assert words.when(moment, UTC) == "01 Jul 2026, 10:30 UTC"
    assert words.when(moment, ZoneInfo("Asia/Tokyo")) == "01 Jul 2026, 19:30"


def test_origin_says_door_and_format():
    recording = make_recording(
        format=AudioFormat(container="FLAC", codec="flac", sample_rate_hz=44_100, n_channels=6), duration_s=4.2
    )
    assert words.origin(recording, Source.SAMPLE) == f"Sample · FLAC, 44,100 Hz, 6 channels · 4.2{NO_BREAK}s"


@pytest.mark.parametrize(
    ("n_shown", "n_all", "said"),
    [(1, 1, "The only prediction so far"), (2, 2, "All 2 predictions"), (1, 1200, "1 of 1,200 predictions")],
)
def test_how_many_are_shown(n_shown, n_all, said):
    assert words.share_of(n_shown, n_all) == said


def test_every_source_and_order_has_its_word():
    assert set(words.SOURCE_WORDS) == set(Source)
    assert set(words.ORDER_WORDS) == set(PredictionOrder)
