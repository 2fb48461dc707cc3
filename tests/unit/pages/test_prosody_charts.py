"""Acoustic reasons as figures: steps that add up, dots that keep their value."""

from __future__ import annotations

import numpy as np
import pytest

from core.domain import Emotion
from core.features.prosody import MEASURES
from core.inference.surrogate import Fidelity, GlobalAttribution, ProsodyAttribution
from pages.parts import prosody_charts
from pages.parts.theme import EMOTION_COLOURS, LIGHT

FIDELITY = Fidelity(
    protocol="made up",
    n_recordings=100,
    n_speakers=10,
    agreement=0.45,
    agreement_interval=(0.4, 0.5),
    majority_agreement=0.2,
    agreement_by_corpus={},
    r_squared={},
)


def explained(values):
    return ProsodyAttribution(
        model_version="tiny-0123456789ab",
        emotion=Emotion.SAD,
        contrast=None,
        base_value=0.5,
        values=dict.fromkeys(MEASURES, 0.01) | values,
        measurements=dict.fromkeys(MEASURES, 1.0) | {"pause_mean_s": None},
        output=0.5 + 0.01 * (len(MEASURES) - len(values)) + sum(values.values()),
        surrogate_probabilities={Emotion.SAD: 0.6, Emotion.CALM: 0.4},
        model_probabilities={Emotion.SAD: 0.3, Emotion.CALM: 0.7},
        is_of_known_length=True,
        fidelity=FIDELITY,
    )


def test_steps_lead_from_the_usual_answer_to_the_one_here():
    told = explained({"pitch_median_hz": 1.0, "voiced_share": -0.4, "pause_mean_s": 0.2})
    bars, ends = prosody_charts.waterfall(told, LIGHT).data
    assert bars.y[0] == "Pitch, 1 Hz"
    assert bars.y[1] == "Voiced share, 100 %"
    assert bars.y[2] == "Mean pause, not measurable"
    assert bars.y[-1] == f"{len(MEASURES) - prosody_charts.N_STEPS} other features"
    assert bars.base[0] == pytest.approx(0.5)
    assert np.allclose(
        np.asarray(bars.base[:-1], float) + np.asarray(bars.x[:-1], float), np.asarray(bars.base[1:], float)
    )
    assert bars.base[-1] + bars.x[-1] == pytest.approx(told.output)
    assert tuple(ends.x) == (0.5, told.output)
    assert bars.marker.color[:2] == (LIGHT.speaks_for, LIGHT.speaks_against)


def many(n_recordings=50):
    random = np.random.default_rng(0)
    values = random.normal(size=(2, n_recordings, len(MEASURES))).astype(np.float32)
    values[1, :, 3] *= 9
    measurements = random.uniform(1, 2, size=(n_recordings, len(MEASURES))).astype(np.float32)
    measurements[:10, 3] = np.nan
    return GlobalAttribution(
        model_version="tiny-0123456789ab",
        emotions=(Emotion.CALM, Emotion.SAD),
        measures=MEASURES,
        values=values,
        measurements=measurements,
        base_values=np.zeros(2),
    )


def test_a_beeswarm_has_a_dot_for_each_recording_and_the_weightiest_feature_on_top():
    found = many()
    figure = prosody_charts.beeswarm(found, Emotion.SAD, LIGHT)
    assert len(figure.layout.yaxis.ticktext) == prosody_charts.N_SWARMS
    assert figure.layout.yaxis.ticktext[-1] == "Pitch slope"
    top = [trace for trace in figure.data if np.round(np.median(trace.y)) == prosody_charts.N_SWARMS - 1]
    assert {trace.marker.symbol: len(trace.x) for trace in top} == {"circle": 40, "circle-open": 10}
    assert sum(len(trace.x) for trace in figure.data) == 50 * prosody_charts.N_SWARMS
    dots = np.sort(np.concatenate([trace.x for trace in top]))
    assert np.allclose(dots, np.sort(found.values[1, :, 3]), atol=1e-3)


def test_dots_stay_in_their_row_and_full_colour_means_a_high_value():
    figure = prosody_charts.beeswarm(many(400), Emotion.SAD, LIGHT)
    for trace in figure.data:
        assert np.ptp(trace.y) <= 2 * prosody_charts.SWARM_WIDTH + 1e-6
    filled = [trace for trace in figure.data if trace.marker.symbol == "circle"]
    assert filled[0].marker.colorscale[1][1] == EMOTION_COLOURS[Emotion.SAD]
    assert prosody_charts.full_colour(Emotion.NEUTRAL, LIGHT) == LIGHT.text


def test_one_recording_is_enough():
    assert len(prosody_charts.beeswarm(many(1), Emotion.CALM, LIGHT).data) == prosody_charts.N_SWARMS
