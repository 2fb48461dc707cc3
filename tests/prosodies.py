"""Made-up prosody: a plain voice whose measures tests change one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.features.prosody import MEASURES, Prosody

PLAIN = Prosody(
    duration_s=2.0,
    voiced_share=0.6,
    pitch_median_hz=200.0,
    pitch_range_semitones=5.0,
    pitch_slope_semitones_per_s=-1.0,
    intensity_mean_dbfs=-25.0,
    intensity_range_db=20.0,
    jitter_local_percent=2.0,
    shimmer_local_percent=8.0,
    harmonics_to_noise_db=12.0,
    formant_1_hz=500.0,
    formant_2_hz=1_500.0,
    formant_3_hz=2_500.0,
    spectral_tilt_db_per_octave=-6.0,
    n_syllables=8,
    speaking_rate_syllables_per_s=4.0,
    articulation_rate_syllables_per_s=4.5,
    n_pauses=0,
    pause_share=0.0,
    pause_mean_s=None,
)


def voice(**measures: float | None) -> Prosody:
    """The plain voice with some measures changed."""
    return replace(PLAIN, **measures)


def drawn_voices(n_voices: int, *, seed: int = 0) -> list[Prosody]:
    """Voices around the plain one; every third pauses."""
    generator = np.random.default_rng(seed)
    voices = []
    for number in range(n_voices):
        changed = {
            measure: getattr(PLAIN, measure) * float(np.exp(0.3 * generator.standard_normal()))
            for measure in MEASURES
            if measure not in ("n_pauses", "pause_share", "pause_mean_s")
        }
        if number % 3 == 0:
            changed |= {"n_pauses": 1, "pause_share": 0.2, "pause_mean_s": float(generator.uniform(0.25, 0.6))}
        voices.append(voice(**changed))
    return voices
