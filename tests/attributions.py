"""Explanations for tests, small and made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.domain import Emotion
from core.explaining import Voice
from core.features.overview import overview
from core.features.prosody import ProsodyContours
from core.features.waveform import Waveform
from core.inference.attribution import Attribution, Stretch
from tests import prosodies
from tests.sounds import SAMPLE_RATE_HZ, voice

VALUES = ((0.1, 0.0), (0.2, 1.0), (0.0, 0.2), (-0.4, 0.0))


def make_attribution(
    values: Sequence[Sequence[float]] = VALUES,
    *,
    emotion: Emotion = Emotion.ANGRY,
    contrast: Emotion | None = None,
    first_s: float = 0.0,
) -> Attribution:
    """Stretches of 0.5 s from `first_s`, each with the values of its two bands."""
    edges_s = first_s + 0.5 * np.arange(len(values) + 1)
    return Attribution(
        model_version="tiny-0123456789ab",
        emotion=emotion,
        contrast=contrast,
        values=np.asarray(values, np.float32),
        time_edges_s=edges_s,
        band_edges_hz=np.array([0.0, 1000.0, 8000.0]),
        log_mel=np.zeros((0, 80), np.float32),
        baseline=-1.0,
        output=-1.0 + float(np.sum(values)),
        probabilities={Emotion.ANGRY: 0.7, Emotion.CALM: 0.3},
        runner_up=Emotion.CALM,
        n_evaluations=64,
        seed=0,
        window=Stretch(start_s=first_s, end_s=float(edges_s[-1])),
    )


def make_voice(*, start_s: float = 0.0, seconds: float = 2.0, is_voiced: bool = True) -> Voice:
    """Something like a voice in the stretch that begins at `start_s`; without voicing, nothing is measured."""
    seen = overview(Waveform(samples=voice(seconds=seconds), sample_rate=SAMPLE_RATE_HZ), n_columns=100)
    time_s = start_s + np.arange(0, seconds if is_voiced else 0, 0.01)
    return Voice(
        window=Stretch(start_s=start_s, end_s=start_s + seconds),
        seen=seen,
        contours=ProsodyContours(
            time_s=time_s,
            pitch_hz=np.where(time_s % 0.5 < 0.3, 120.0, 0.0),
            intensity_dbfs=np.where(time_s % 0.5 < 0.3, -20.0, -100.0),
            formants_hz=np.zeros((len(time_s), 3)),
            syllable_times_s=np.zeros(0),
            pauses_s=np.zeros((0, 2)),
        ),
        prosody=prosodies.PLAIN,
    )
