"""What is read off an attribution, and the pieces it is made of, without a model."""

import numpy as np
import pytest

from core.domain import Emotion
from core.inference.attribution import Attribution, Stretch, log_odds, quiet_background, strongest_stretch


def attribution(by_time, *, first_s=0.0):
    """One whose stretches of 0.5 s have these sums over two bands."""
    sums = np.asarray(by_time, np.float32)
    values = np.stack([sums - 1, np.ones_like(sums)], axis=1)
    edges_s = first_s + 0.5 * np.arange(len(sums) + 1)
    return Attribution(
        model_version="made-up",
        emotion=Emotion.HAPPY,
        contrast=None,
        values=values,
        time_edges_s=edges_s,
        band_edges_hz=np.array([0.0, 1000.0, 8000.0]),
        log_mel=np.zeros((50 * len(sums), 80), np.float32),
        baseline=0.0,
        output=float(sums.sum()),
        probabilities={Emotion.HAPPY: 0.7, Emotion.SAD: 0.3},
        runner_up=Emotion.SAD,
        n_evaluations=1,
        seed=0,
        window=Stretch(start_s=0.0, end_s=float(edges_s[-1])),
    )


@pytest.mark.parametrize(
    ("by_time", "stretch"),
    [
        ([0, 0, 3, 0], (1.0, 1.5)),
        ([-1, 2, 2, -1], (0.5, 1.5)),
        ([2, -0.1, 2, -4], (0.0, 1.5)),
        ([5, -9, 4, 0], (0.0, 0.5)),
        ([1, 1, 4, 1], (1.0, 1.5)),
        ([-3, -1, -2], (0.5, 1.0)),
        ([2], (0.0, 0.5)),
    ],
)
def test_strongest_stretch_is_the_run_that_stands_out_most(by_time, stretch):
    assert strongest_stretch(attribution(by_time)) == stretch


def test_strongest_stretch_counts_from_the_start_of_the_waveform():
    assert strongest_stretch(attribution([0, 3], first_s=0.4)) == pytest.approx((0.9, 1.4))


def test_log_odds_keep_their_digits_where_probabilities_reach_one():
    logits = np.array([[80.0, 0.0, 0.0]])
    assert log_odds(logits, 0, contrast=None) == pytest.approx([80 - np.log(2)])
    assert log_odds(logits, 1, contrast=0) == pytest.approx([-80])


def test_log_odds_against_one_other_emotion_turn_around():
    logits = np.random.default_rng(0).normal(size=(5, 8))
    assert np.array_equal(log_odds(logits, 2, contrast=6), -log_odds(logits, 6, contrast=2))


def test_background_is_the_mean_of_the_quietest_tenth():
    frames = np.full((40, 80), 1.0, np.float32)
    frames[[3, 17, 18, 30]] = np.array([[-1.0], [-0.5], [-0.5], [0.0]])
    assert quiet_background(frames) == pytest.approx(np.full(80, -0.5))


def test_background_of_a_single_frame_is_that_frame():
    frames = np.random.default_rng(0).normal(size=(1, 80)).astype(np.float32)
    assert np.array_equal(quiet_background(frames), frames[0])
