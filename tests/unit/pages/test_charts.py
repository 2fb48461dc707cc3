"""Figures: they show what they were given, in the emotion's colour, and stay small however long the recording."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import plotly.io
import pytest

from core.domain import Emotion, Interval, Segment, TimelineWindow
from core.features.audio import Waveform
from core.features.overview import overview
from core.store.predictions import ConfidenceEntropyBin, EmotionOverTime
from pages.parts import charts
from pages.parts.theme import DARK, EMOTION_COLOURS, LIGHT
from tests.factories import make_prediction, make_probabilities, make_recording
from tests.own_labels import BORED, EXCITED, make_own_prediction
from tests.sounds import SAMPLE_RATE_HZ, voice


def seen(seconds):
    return overview(Waveform(samples=voice(seconds=seconds), sample_rate=SAMPLE_RATE_HZ), n_columns=900)


def short(**given):
    return replace(make_prediction(make_recording(), **given), windows=(), segments=())


def long(seconds):
    windows = tuple(
        TimelineWindow(
            start_s=float(start),
            end_s=start + 3.0,
            probabilities=make_probabilities(Emotion.SAD) if start % 5 else {},
            speech_ratio=0.9,
            predictive_entropy_nats=1.0,
        )
        for start in range(int(seconds) - 2)
    )
    half = seconds / 2
    segments = (
        Segment(start_s=0.0, end_s=half, emotion=Emotion.SAD, confidence=0.6),
        Segment(start_s=half, end_s=half + 1, emotion=None, confidence=0.0),
        Segment(start_s=half + 1, end_s=seconds, emotion=Emotion.ANGRY, confidence=0.5),
    )
    return replace(make_prediction(make_recording()), windows=windows, segments=segments)


def test_waveform_and_spectrogram_share_their_time_axis():
    figure = charts.sound(seen(2.0), short(), LIGHT)
    assert figure.layout.xaxis.matches == "x2"
    assert tuple(figure.layout.xaxis.range) == tuple(figure.layout.xaxis2.range) == (0, 2.0)
    assert {type(trace).__name__ for trace in figure.data} == {"Scatter", "Heatmap"}


def test_waveform_has_the_colour_of_its_segments_and_grey_where_nobody_speaks():
    figure = charts.sound(seen(12.0), long(12.0), DARK)
    colours = [trace.fillcolor for trace in figure.data if trace.yaxis == "y"]
    assert colours == [EMOTION_COLOURS[Emotion.SAD], DARK.quiet, EMOTION_COLOURS[Emotion.ANGRY]]


def test_a_short_clip_is_one_colour_and_an_abstention_none():
    sure, unsure = short(emotion=Emotion.FEARFUL), short(emotion=Emotion.FEARFUL, abstained=True)
    assert charts.sound(seen(1.0), sure, LIGHT).data[0].fillcolor == EMOTION_COLOURS[Emotion.FEARFUL]
    assert charts.sound(seen(1.0), unsure, LIGHT).data[0].fillcolor == LIGHT.quiet


def test_a_long_recording_gets_all_eight_emotions_and_leaves_silence_out():
    figure = charts.sound(seen(12.0), long(12.0), LIGHT)
    rows = [trace for trace in figure.data if trace.yaxis == "y3" and trace.fill == "toself"]
    assert [trace.fillcolor for trace in rows] == [EMOTION_COLOURS[emotion] for emotion in reversed(Emotion)]
    assert list(figure.layout.yaxis3.ticktext) == [emotion.value for emotion in reversed(Emotion)]
    sad = rows[list(reversed(Emotion)).index(Emotion.SAD)]
    row = list(reversed(Emotion)).index(Emotion.SAD)
    assert float(np.min(sad.y)) == row
    assert float(np.max(sad.y)) == pytest.approx(row + 0.92 * 0.6)


def test_ten_minutes_are_drawn_in_half_a_megabyte():
    picture = replace(seen(9.5), duration_s=600.0)
    assert len(picture.times_s) == 900
    assert len(plotly.io.to_json(charts.sound(picture, long(600.0), LIGHT))) < 500_000


def test_bars_stand_in_order_with_the_range_of_the_passes():
    prediction = make_prediction(make_recording(), emotion=Emotion.CALM, confidence=0.7)
    prediction = replace(prediction, intervals=prediction.intervals | {Emotion.CALM: Interval(low=0.65, high=0.8)})
    [bars] = charts.probabilities(prediction, LIGHT).data
    assert bars.y[-1] == "■ calm"
    assert bars.x[-1] == 0.7
    assert list(bars.x) == sorted(bars.x)
    assert bars.error_x.array[-1] == pytest.approx(0.1)
    assert bars.error_x.arrayminus[-1] == pytest.approx(0.05)
    assert bars.marker.color[-1] == EMOTION_COLOURS[Emotion.CALM]


def test_a_mean_outside_its_range_draws_no_negative_error():
    prediction = make_prediction(make_recording())
    odd = {emotion: Interval(low=0.9, high=0.95) for emotion in Emotion}
    [bars] = charts.probabilities(replace(prediction, intervals=odd), LIGHT).data
    assert min(bars.error_x.arrayminus) == 0


def test_emotions_that_are_not_chosen_stand_back():
    counts = dict.fromkeys(Emotion, 3)
    [bars] = charts.by_emotion(counts, [Emotion.SAD], LIGHT).data
    assert dict(zip(bars.customdata, bars.marker.opacity, strict=True)) == {
        emotion.value: 1.0 if emotion is Emotion.SAD else 0.25 for emotion in Emotion
    }


def test_cells_stand_in_their_middles_and_the_choice_is_framed():
    cell = ConfidenceEntropyBin(
        confidence=Interval(low=0.4, high=0.5), entropy_nats=Interval(low=1.0, high=1.2), n_predictions=7
    )
    figure = charts.confidence_against_uncertainty([cell], ((0.3, 0.6), (0.0, 2.0)), LIGHT)
    assert (figure.data[0].x[0], figure.data[0].y[0]) == pytest.approx((0.45, 1.1))
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.3, 0.6)


def test_time_is_stacked_by_emotion_in_whole_predictions():
    start = datetime(2026, 1, 1, 10, tzinfo=UTC)
    counts = [
        EmotionOverTime(started_at=start, emotion=emotion, n_predictions=1) for emotion in (Emotion.SAD, Emotion.CALM)
    ]
    figure = charts.over_time(counts, None, timedelta(hours=1), UTC, LIGHT)
    assert figure.layout.barmode == "stack"
    assert figure.layout.yaxis.dtick == 1
    assert len(figure.data) == len(Emotion)


def test_a_chart_of_nothing_says_so_instead_of_drawing_axes():
    for figure in (
        charts.confidence_against_uncertainty([], None, LIGHT),
        charts.over_time([], None, timedelta(days=1), UTC, LIGHT),
    ):
        assert figure.layout.xaxis.visible is figure.layout.yaxis.visible is False
        assert figure.layout.annotations[0].text == "Nothing matches the other filters"


def test_dates_on_an_axis_read_as_everywhere_else():
    figure = charts.over_time([], None, timedelta(days=1), UTC, LIGHT)
    formats = [stop.value for stop in figure.layout.xaxis.tickformatstops]
    assert formats
    assert not any("%b %-d" in each for each in formats)


@pytest.mark.parametrize("surface", [LIGHT, DARK])
def test_nothing_is_drawn_behind_a_figure_and_nothing_points_elsewhere(surface):
    figures = [
        charts.sound(seen(1.0), short(), surface),
        charts.probabilities(short(), surface),
        charts.by_emotion(dict.fromkeys(Emotion, 0), [], surface),
        charts.confidence_against_uncertainty([], None, surface),
        charts.over_time([], None, timedelta(days=1), UTC, surface),
    ]
    for figure in figures:
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert "http" not in json.dumps(json.loads(plotly.io.to_json(figure))["layout"])
    assert charts.CONFIG["showLink"] is False


def test_labels_of_ones_own_have_rows_bars_and_colours_of_their_own():
    prediction = make_own_prediction(make_recording())
    order = [Emotion.ANGRY, BORED, EXCITED]
    figure = charts.sound(seen(8.0), prediction, LIGHT)
    assert figure.layout.yaxis3.ticktext == tuple(label.value for label in reversed(order))
    bars = charts.probabilities(prediction, LIGHT).data[0]
    assert bars.y == ("✕ angry", "○ excited", "○ bored")
    assert len(set(bars.marker.color)) == 3
    counts = charts.by_emotion({Emotion.ANGRY: 1, BORED: 2}, (BORED,), LIGHT).data[0]
    assert (counts.customdata, counts.x) == (("bored", "angry"), (2, 1))
    moments = [EmotionOverTime(started_at=datetime(2026, 3, 1, tzinfo=UTC), emotion=BORED, n_predictions=3)]
    drawn = charts.over_time(moments, None, timedelta(days=1), UTC, LIGHT)
    assert [bar.name for bar in drawn.data] == [*Emotion, "bored"]
