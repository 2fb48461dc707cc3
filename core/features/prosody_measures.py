"""What each measure of prosody is called, its unit, how it is written, and on which scale it is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure as people read it."""

    label: str
    """As in the middle of a sentence."""
    unit: str
    """Empty where there is none."""
    n_decimals: int
    is_percent: bool = False
    """A share in [0, 1], written in percent."""
    is_logarithmic: bool = False
    """Whether differences count as ratios; docs/prosody.md says why, for each."""


MEASURE_OF: Mapping[str, Measure] = {
    "voiced_share": Measure(label="voiced share", unit="%", n_decimals=0, is_percent=True),
    "pitch_median_hz": Measure(label="pitch", unit="Hz", n_decimals=0, is_logarithmic=True),
    "pitch_range_semitones": Measure(label="pitch range", unit="semitones", n_decimals=1, is_logarithmic=True),
    "pitch_slope_semitones_per_s": Measure(label="pitch slope", unit="semitones/s", n_decimals=1),
    "intensity_mean_dbfs": Measure(label="level", unit="dBFS", n_decimals=0),
    "intensity_range_db": Measure(label="level range", unit="dB", n_decimals=1),
    "jitter_local_percent": Measure(label="jitter", unit="%", n_decimals=1, is_logarithmic=True),
    "shimmer_local_percent": Measure(label="shimmer", unit="%", n_decimals=1, is_logarithmic=True),
    "harmonics_to_noise_db": Measure(label="harmonics to noise", unit="dB", n_decimals=1),
    "formant_1_hz": Measure(label="first formant", unit="Hz", n_decimals=0, is_logarithmic=True),
    "formant_2_hz": Measure(label="second formant", unit="Hz", n_decimals=0, is_logarithmic=True),
    "formant_3_hz": Measure(label="third formant", unit="Hz", n_decimals=0, is_logarithmic=True),
    "spectral_tilt_db_per_octave": Measure(label="spectral tilt", unit="dB/octave", n_decimals=1),
    "speaking_rate_syllables_per_s": Measure(label="speaking rate", unit="syllables/s", n_decimals=1),
    "articulation_rate_syllables_per_s": Measure(label="articulation rate", unit="syllables/s", n_decimals=1),
    "n_pauses": Measure(label="pauses", unit="", n_decimals=0),
    "pause_share": Measure(label="share of pauses", unit="%", n_decimals=0, is_percent=True),
    "pause_mean_s": Measure(label="mean pause", unit="s", n_decimals=2, is_logarithmic=True),
}
"""In the order of `core.features.prosody.MEASURES` (tested)."""


def write_value(measure: str, value: float, *, has_unit: bool = True) -> str:
    """`value` of `measure` as people read it.

    Examples
    --------
    >>> write_value("pitch_range_semitones", 9.14), write_value("voiced_share", 0.5), write_value("n_pauses", 2)
    ('9.1 semitones', '50 %', '2')
    """
    about = MEASURE_OF[measure]
    number = f"{100 * value if about.is_percent else value:.{about.n_decimals}f}"
    if float(number) == 0:
        number = number.lstrip("-")
    return f"{number} {about.unit}" if has_unit and about.unit else number
