"""Prosody: how something is said, in numbers a phonetician would recognise.

Praat measures (through parselmouth); this module chooses its settings, and they are fixed here so that values can be
compared between recordings. docs/prosody.md lists every measure with its source.

Conventions: what cannot be measured (nothing voiced, too short) is None in `Prosody` and 0 in a contour, never NaN.
Levels are relative to full scale, not sound pressure: nobody calibrated the microphone. parselmouth holds Python's lock
while it measures, so threads gain nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import parselmouth
from numpy.typing import NDArray
from parselmouth.praat import call

from core.features.speech import speech_span
from core.features.waveform import Waveform

MIN_DURATION_S = 0.13
"""Shorter and nothing is measured: an intensity contour at 50 Hz needs 6.4 periods."""
FRAME_S = 0.01
FIRST_PITCH_HZ = (60.0, 700.0)
"""Range of the first pitch pass; the second takes 0.75 x lower to 2.5 x upper quartile of what the first found, with
the wide ceiling for expressive speech (Hirst 2011, "The analysis by synthesis of speech melody")."""
FORMANT_CEILING_HZ = 5_500.0
"""One ceiling for everybody: one chosen by sex or pitch would move the formants when only the pitch rises."""
SILENCE_DB = -25.0
"""Below the loudest percent of frames; de Jong & Wempe's own script, version of 2010."""
MIN_DIP_DB = 2.0
"""de Jong & Wempe 2009, "Praat script to detect syllable nuclei", step 3."""
MIN_PAUSE_S = 0.25
"""de Jong & Bosker 2013: shorter silences are stops and articulation."""
MIN_SOUNDING_S = 0.1
TILT_BAND_HZ = (100.0, 5_000.0)

_FULL_SCALE_DB = 20 * math.log10(1 / 2e-5)
"""Praat takes samples for pascals and 20 micropascals for 0 dB."""
_PERIODS_S = (0.0001, 0.02)
"""Shortest and longest period that counts for jitter and shimmer; Praat's own defaults, as the two factors below."""
_PERIOD_FACTOR, _AMPLITUDE_FACTOR = 1.3, 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Prosody:
    """The voice in one recording, measured over the whole of it."""

    duration_s: float
    voiced_share: float
    """Share of 10 ms frames in which the voice has a pitch, in [0, 1]."""
    pitch_median_hz: float | None
    pitch_range_semitones: float | None
    """From the 5th to the 95th percentile."""
    pitch_slope_semitones_per_s: float | None
    """Least squares over the voiced frames; negative when the voice falls."""
    intensity_mean_dbfs: float | None
    """Level of the mean energy; None in digital silence."""
    intensity_range_db: float | None
    """From the 5th to the 95th percentile of voiced frames."""
    jitter_local_percent: float | None
    """Mean difference between successive periods, of their mean."""
    shimmer_local_percent: float | None
    """Mean difference between the amplitudes of successive periods, of their mean."""
    harmonics_to_noise_db: float | None
    formant_1_hz: float | None
    """Median over the voiced frames; so the next two."""
    formant_2_hz: float | None
    formant_3_hz: float | None
    spectral_tilt_db_per_octave: float | None
    """Slope of the voiced sound's long-term spectrum from 100 to 5000 Hz; nearer to 0 is more effort."""
    n_syllables: int
    """Syllable nuclei."""
    speaking_rate_syllables_per_s: float | None
    """Over the whole duration."""
    articulation_rate_syllables_per_s: float | None
    """Over the time that is not silent."""
    n_pauses: int
    """Silences of 0.25 s or more with sound on both sides."""
    pause_share: float
    """Of the duration, in [0, 1]."""
    pause_mean_s: float | None


MEASURES = tuple(field.name for field in fields(Prosody) if field.name not in ("duration_s", "n_syllables"))
"""What `as_vector` holds, in order: all that says how something was said rather than how much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProsodyContours:
    """Curves on one time axis, a value every 10 ms."""

    time_s: NDArray[np.float64]
    """(n_frames,), from the start of the recording."""
    pitch_hz: NDArray[np.float64]
    """(n_frames,); 0 where nothing is voiced."""
    intensity_dbfs: NDArray[np.float64]
    """(n_frames,), at least -100."""
    formants_hz: NDArray[np.float64]
    """(n_frames, 3); 0 where nothing is voiced."""
    syllable_times_s: NDArray[np.float64]
    """(n_syllables,): where the syllable nuclei are."""
    pauses_s: NDArray[np.float64]
    """(n_pauses, 2): start and end."""


def as_vector(prosody: Prosody) -> NDArray[np.float64]:
    """`MEASURES` of `prosody` as numbers for a model: float64 (n_measures,), NaN where one is None."""
    values = [getattr(prosody, name) for name in MEASURES]
    return np.array([math.nan if value is None else float(value) for value in values])


def measure_prosody(waveform: Waveform) -> Prosody:
    """Pitch, intensity, voice quality, formants, tilt, rate and pauses of `waveform`.

    Parameters
    ----------
    waveform
        Mono, float32 (n_samples,), finite, at any sample rate from 11 kHz up.

    Returns
    -------
    Prosody
        Below 0.13 s, and in digital silence, only the duration says anything.

    References
    ----------
    Boersma (1993), "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
    sampled sound"; de Jong & Wempe (2009) for the syllable nuclei.

    Examples
    --------
    >>> time_s = np.arange(16_000) / 16_000
    >>> buzz = sum(np.cos(2 * np.pi * 120 * k * time_s) / k for k in range(1, 20)) / 8
    >>> prosody = measure_prosody(Waveform(samples=buzz.astype(np.float32), sample_rate=16_000))
    >>> round(prosody.pitch_median_hz), round(prosody.pitch_range_semitones, 1), prosody.n_pauses
    (120, 0.0, 0)
    """
    if _says_nothing(waveform):
        return _nothing(waveform.duration_s)
    voice = _Voice(waveform)
    semitones = 12 * np.log2(voice.voiced_hz / 100) if len(voice.voiced_hz) else None
    tempo = _measure_tempo(voice)
    sounding_s = waveform.duration_s - tempo.silent_s
    levels = voice.intensity_dbfs[voice.is_voiced]
    return Prosody(
        duration_s=waveform.duration_s,
        voiced_share=float(voice.is_voiced.mean()) if len(voice.is_voiced) else 0.0,
        pitch_median_hz=None if semitones is None else float(np.median(voice.voiced_hz)),
        pitch_range_semitones=None if semitones is None else _middle_range(semitones),
        pitch_slope_semitones_per_s=None
        if semitones is None or len(semitones) < 2
        else float(np.polyfit(voice.time_s[voice.is_voiced], semitones, 1)[0]),
        intensity_mean_dbfs=_real(call(voice.intensity, "Get mean", 0, 0, "energy") - _FULL_SCALE_DB),
        intensity_range_db=_middle_range(levels) if len(levels) else None,
        jitter_local_percent=_percent(call(voice.pulses, "Get jitter (local)", 0, 0, *_PERIODS_S, _PERIOD_FACTOR)),
        shimmer_local_percent=_percent(
            call(
                [voice.sound, voice.pulses],
                "Get shimmer (local)",
                0,
                0,
                *_PERIODS_S,
                _PERIOD_FACTOR,
                _AMPLITUDE_FACTOR,
            )
        ),
        harmonics_to_noise_db=_harmonics_to_noise_db(voice),
        formant_1_hz=_median_formant_hz(voice, 0),
        formant_2_hz=_median_formant_hz(voice, 1),
        formant_3_hz=_median_formant_hz(voice, 2),
        spectral_tilt_db_per_octave=_spectral_tilt(voice),
        n_syllables=len(tempo.syllable_times_s),
        speaking_rate_syllables_per_s=len(tempo.syllable_times_s) / waveform.duration_s,
        articulation_rate_syllables_per_s=len(tempo.syllable_times_s) / sounding_s if sounding_s > 0 else None,
        n_pauses=len(tempo.pauses_s),
        pause_share=tempo.pause_s / waveform.duration_s,
        pause_mean_s=tempo.pause_s / len(tempo.pauses_s) if len(tempo.pauses_s) else None,
    )


def measure_speech_prosody(waveform: Waveform) -> Prosody:
    """`measure_prosody` of `waveform` without the silence at its ends: the stretch that a model judges.

    References and surrogates are made from this, so that rates, shares and levels do not depend on how early somebody
    pressed the button.
    """
    start, end = speech_span(waveform)
    return measure_prosody(Waveform(samples=waveform.samples[start:end], sample_rate=waveform.sample_rate))


def prosody_contours(waveform: Waveform) -> ProsodyContours:
    """The curves behind `measure_prosody`, measured the same way; without frames where nothing can be measured."""
    if _says_nothing(waveform):
        nothing = np.zeros(0)
        return ProsodyContours(
            time_s=nothing,
            pitch_hz=nothing,
            intensity_dbfs=nothing,
            formants_hz=np.zeros((0, 3)),
            syllable_times_s=nothing,
            pauses_s=np.zeros((0, 2)),
        )
    voice = _Voice(waveform)
    tempo = _measure_tempo(voice)
    formants_hz = np.zeros((len(voice.time_s), 3))
    formants_hz[voice.is_voiced] = np.nan_to_num(voice.formants_hz)
    return ProsodyContours(
        time_s=voice.time_s,
        pitch_hz=voice.pitch_hz,
        intensity_dbfs=np.maximum(voice.intensity_dbfs, -100.0),
        formants_hz=formants_hz,
        syllable_times_s=tempo.syllable_times_s,
        pauses_s=tempo.pauses_s,
    )


class _Voice:
    """Praat's objects for one waveform, and their values at the frames of the pitch contour."""

    def __init__(self, waveform: Waveform) -> None:
        self.sound = parselmouth.Sound(waveform.samples.astype(np.float64), sampling_frequency=waveform.sample_rate)
        self.floor_hz, self.ceiling_hz = _pitch_bounds_hz(self.sound)
        self.pitch = self.sound.to_pitch_ac(time_step=FRAME_S, pitch_floor=self.floor_hz, pitch_ceiling=self.ceiling_hz)
        self.time_s: NDArray[np.float64] = self.pitch.xs()
        self.pitch_hz: NDArray[np.float64] = np.array(self.pitch.selected_array["frequency"])
        self.is_voiced: NDArray[np.bool_] = self.pitch_hz > 0
        self.voiced_hz: NDArray[np.float64] = self.pitch_hz[self.is_voiced]
        self.pulses = call([self.sound, self.pitch], "To PointProcess (cc)")
        self.intensity = self.sound.to_intensity(minimum_pitch=50.0, time_step=FRAME_S, subtract_mean=True)
        self.intensity_dbfs: NDArray[np.float64] = (
            np.interp(self.time_s, self.intensity.xs(), self.intensity.values[0]) - _FULL_SCALE_DB
        )
        self.formants_hz = self._formants_hz()

    def _formants_hz(self) -> NDArray[np.float64]:
        """(n_voiced_frames, 3); NaN where Praat finds fewer."""
        formant = self.sound.to_formant_burg(max_number_of_formants=5.0, maximum_formant=FORMANT_CEILING_HZ)
        return np.array(
            [[formant.get_value_at_time(number, t) for number in (1, 2, 3)] for t in self.time_s[self.is_voiced]]
        ).reshape(-1, 3)


def _says_nothing(waveform: Waveform) -> bool:
    return waveform.duration_s < MIN_DURATION_S or float(np.ptp(waveform.samples)) == 0


def _nothing(duration_s: float) -> Prosody:
    return Prosody(
        duration_s=duration_s,
        voiced_share=0.0,
        n_syllables=0,
        n_pauses=0,
        pause_share=0.0,
        pitch_median_hz=None,
        pitch_range_semitones=None,
        pitch_slope_semitones_per_s=None,
        intensity_mean_dbfs=None,
        intensity_range_db=None,
        jitter_local_percent=None,
        shimmer_local_percent=None,
        harmonics_to_noise_db=None,
        formant_1_hz=None,
        formant_2_hz=None,
        formant_3_hz=None,
        spectral_tilt_db_per_octave=None,
        speaking_rate_syllables_per_s=None,
        articulation_rate_syllables_per_s=None,
        pause_mean_s=None,
    )


def _pitch_bounds_hz(sound: parselmouth.Sound) -> tuple[float, float]:
    """Floor and ceiling of the second pass."""
    first = sound.to_pitch_ac(time_step=FRAME_S, pitch_floor=FIRST_PITCH_HZ[0], pitch_ceiling=FIRST_PITCH_HZ[1])
    lower, upper = (call(first, "Get quantile", 0, 0, share, "Hertz") for share in (0.25, 0.75))
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return FIRST_PITCH_HZ
    return max(0.75 * lower, FIRST_PITCH_HZ[0]), min(2.5 * upper, FIRST_PITCH_HZ[1])


def _harmonics_to_noise_db(voice: _Voice) -> float | None:
    if not len(voice.voiced_hz):
        return None
    harmonicity = voice.sound.to_harmonicity_cc(
        time_step=FRAME_S, minimum_pitch=voice.floor_hz, silence_threshold=0.1, periods_per_window=1.0
    )
    return _real(call(harmonicity, "Get mean", 0, 0))


def _median_formant_hz(voice: _Voice, number: int) -> float | None:
    found = voice.formants_hz[:, number]
    found = found[np.isfinite(found)]
    return float(np.median(found)) if len(found) else None


def _spectral_tilt(voice: _Voice) -> float | None:
    """Least squares over the 100 Hz bins of the long-term spectrum, against the logarithm of frequency."""
    grid = call(voice.pulses, "To TextGrid (vuv)", 0.02, 0.01)
    if not call(grid, "Count intervals where", 1, "is equal to", "V"):
        return None
    parts = call([voice.sound, grid], "Extract intervals where", 1, False, "is equal to", "V")
    parts = parts if isinstance(parts, list) else [parts]
    spectrum = call(parselmouth.Sound.concatenate(parts), "To Ltas", 100)
    low_hz, high_hz = TILT_BAND_HZ
    n_bins = call(spectrum, "Get number of bins")
    bin_hz = np.array([call(spectrum, "Get frequency from bin number", number) for number in range(1, n_bins + 1)])
    levels_db = np.array([call(spectrum, "Get value in bin", number) for number in range(1, n_bins + 1)])
    within = (bin_hz >= low_hz) & (bin_hz <= high_hz) & np.isfinite(levels_db)
    return float(np.polyfit(np.log2(bin_hz[within]), levels_db[within], 1)[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tempo:
    """Where the syllables and the silences are."""

    syllable_times_s: NDArray[np.float64]
    pauses_s: NDArray[np.float64]
    silent_s: float
    """Silence in all, that before the first and after the last sound included."""

    @property
    def pause_s(self) -> float:
        return float((self.pauses_s[:, 1] - self.pauses_s[:, 0]).sum())


def _measure_tempo(voice: _Voice) -> _Tempo:
    intensity = voice.intensity
    level_db = intensity.values[0]
    threshold_db = call(intensity, "Get quantile", 0, 0, 0.99) + SILENCE_DB
    silences: list[tuple[int, float, float]] = []
    n_intervals = 1
    # Praat warns of sounds whose level hardly moves; nothing in them is silent.
    if level_db.min() < threshold_db:
        below_loudest_db = threshold_db - call(intensity, "Get maximum", 0, 0, "None")
        grid = call(
            intensity,
            "To TextGrid (silences)",
            below_loudest_db,
            MIN_PAUSE_S,
            MIN_SOUNDING_S,
            "silent",
            "sounding",
        )
        n_intervals = call(grid, "Get number of intervals", 1)
        silences = [
            (n, call(grid, "Get start time of interval", 1, n), call(grid, "Get end time of interval", 1, n))
            for n in range(1, n_intervals + 1)
            if call(grid, "Get label of interval", 1, n) == "silent"
        ]
    inner = [(start, end) for number, start, end in silences if 1 < number < n_intervals]
    return _Tempo(
        syllable_times_s=_syllable_times_s(voice, threshold_db),
        pauses_s=np.array(inner).reshape(-1, 2),
        silent_s=sum(end - start for _, start, end in silences),
    )


def _syllable_times_s(voice: _Voice, threshold_db: float) -> NDArray[np.float64]:
    """Peaks of intensity above the threshold, each 2 dB above the dip before it, where the voice has a pitch.

    The first needs no dip: before it the recording had not begun.
    """
    time_s, level_db = voice.intensity.xs(), voice.intensity.values[0]
    is_peak = (level_db[1:-1] > level_db[:-2]) & (level_db[1:-1] >= level_db[2:]) & (level_db[1:-1] > threshold_db)
    times: list[float] = []
    dip_db, previous = -math.inf, 0
    for peak in map(int, np.flatnonzero(is_peak) + 1):
        if times:
            dip_db = float(level_db[previous:peak].min())
        if level_db[peak] - dip_db >= MIN_DIP_DB:
            times.append(float(time_s[peak]))
        previous = peak
    pitched = [t for t in times if math.isfinite(voice.pitch.get_value_at_time(t))]
    return np.array(pitched, dtype=np.float64)


def _middle_range(values: NDArray[np.float64]) -> float:
    low, high = np.percentile(values, [5, 95], method="hazen")  # as Praat computes quantiles
    return float(high - low)


def _real(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _percent(share: float) -> float | None:
    return 100 * float(share) if math.isfinite(share) else None
