"""Prosody: known voices give known values, Praat itself gives the same, and nothing is ever NaN."""

import csv
import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose, assert_array_equal

from core.features import prosody
from core.features.prosody import MEASURES, Prosody, as_vector, measure_prosody, prosody_contours
from core.features.waveform import Waveform

REFERENCE = Path(__file__).parents[2] / "reference"
SAMPLE_RATE_HZ = 16_000


def _waveform(samples: np.ndarray) -> Waveform:
    return Waveform(samples=samples.astype(np.float32), sample_rate=SAMPLE_RATE_HZ)


def _pulses(periods_s: np.ndarray, amplitudes: np.ndarray | float = 1.0) -> np.ndarray:
    """Pulses of a glottis at the ends of `periods_s`, through three resonances at 500, 1500 and 2500 Hz."""
    times_s = np.cumsum(periods_s)
    n_samples = int(times_s[-1] * SAMPLE_RATE_HZ) + 1
    heights = np.broadcast_to(amplitudes, times_s.shape)
    # Made at eight times the rate, so that a period need not be a whole number of samples.
    fine = np.zeros((n_samples + 1) * 8)
    np.add.at(fine, np.round(times_s * SAMPLE_RATE_HZ * 8).astype(int), heights)
    time_s = np.arange(0, 0.04, 1 / (8 * SAMPLE_RATE_HZ))
    response = sum(
        np.exp(-math.pi * 80 * time_s) * np.sin(2 * math.pi * formant_hz * time_s) / (1 + formant_hz / 500)
        for formant_hz in (500, 1_500, 2_500)
    )
    voice = np.fft.irfft(np.fft.rfft(fine, 2 * len(fine)) * np.fft.rfft(response, 2 * len(fine)))[: len(fine)]
    samples = voice[::8][:n_samples]
    return 0.5 * samples / np.abs(samples).max()


def _bursts(n_syllables: int, *, gap_s: float = 0.1, pitch_hz: float = 150.0) -> np.ndarray:
    """So many vowels of 0.15 s with soft edges, and `gap_s` of near silence between, before and behind them."""
    vowel = _pulses(np.full(round(0.15 * pitch_hz), 1 / pitch_hz))[: round(0.15 * SAMPLE_RATE_HZ)]
    vowel = vowel * np.hanning(len(vowel))
    gap = np.zeros(round(gap_s * SAMPLE_RATE_HZ))
    samples = np.concatenate([gap, *(part for _ in range(n_syllables) for part in (vowel, gap))])
    return samples + np.random.default_rng(0).normal(size=len(samples)) * 1e-4


# -- Praat itself


def _reference_rows() -> list[dict[str, str]]:
    with (REFERENCE / "prosody_values.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", _reference_rows(), ids=lambda row: row["name"])
def test_values_are_those_of_praat_itself(row: dict[str, str]) -> None:
    samples, sample_rate = soundfile.read(REFERENCE / f"{row['name']}.flac", dtype="float32")
    measured = measure_prosody(Waveform(samples=samples, sample_rate=sample_rate))
    for name in (*MEASURES, "n_syllables"):
        expected = float(row[name]) if row[name] else None
        found = getattr(measured, name)
        if expected is None:
            assert found is None, name
        else:
            # One thousandth: parselmouth 0.4.7 is Praat 6.1.38, the values are by Praat 6.3.07.
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-4), name


def test_reference_has_every_measure_and_clips_with_and_without_pauses() -> None:
    rows = _reference_rows()
    assert set(MEASURES) < set(rows[0])
    assert {row["n_pauses"] for row in rows} == {"0", "1", "2"}


# -- voices with known values


@pytest.mark.parametrize("pitch_hz", [85.0, 150.0, 310.0])
def test_steady_voice_has_its_pitch_and_no_range_slope_jitter_or_shimmer(pitch_hz: float) -> None:
    measured = measure_prosody(_waveform(_pulses(np.full(round(pitch_hz), 1 / pitch_hz))))
    assert measured.pitch_median_hz == pytest.approx(pitch_hz, rel=0.005)
    assert measured.pitch_range_semitones == pytest.approx(0, abs=0.1)
    assert measured.pitch_slope_semitones_per_s == pytest.approx(0, abs=0.1)
    assert measured.jitter_local_percent is not None
    assert measured.jitter_local_percent < 0.5
    assert measured.shimmer_local_percent is not None
    assert measured.shimmer_local_percent < 2
    assert measured.harmonics_to_noise_db is not None
    assert measured.harmonics_to_noise_db > 15
    assert measured.voiced_share > 0.85


@pytest.mark.parametrize("slope", [-12.0, 6.0])
def test_gliding_voice_has_the_slope_of_its_glide(slope: float) -> None:
    periods_s, time_s = [], 0.0
    while time_s < 1:
        periods_s.append(1 / (180 * 2 ** (slope * (time_s - 0.5) / 12)))
        time_s += periods_s[-1]
    measured = measure_prosody(_waveform(_pulses(np.array(periods_s))))
    assert measured.pitch_slope_semitones_per_s == pytest.approx(slope, rel=0.05)
    # The middle 90 % of a straight glide of one second.
    assert measured.pitch_range_semitones == pytest.approx(0.9 * abs(slope), rel=0.1)


def test_jitter_is_the_mean_difference_of_successive_periods() -> None:
    periods_s = (1 + 0.02 * np.random.default_rng(0).uniform(-1, 1, size=150)) / 150
    expected = 100 * np.abs(np.diff(periods_s)).mean() / periods_s.mean()
    # Praat places pulses by correlation over two periods, which evens out a part of what is random.
    assert measure_prosody(_waveform(_pulses(periods_s))).jitter_local_percent == pytest.approx(expected, rel=0.25)


def test_shimmer_is_the_mean_difference_of_successive_amplitudes() -> None:
    amplitudes = 1 + 0.1 * np.random.default_rng(0).uniform(-1, 1, size=150)
    expected = 100 * np.abs(np.diff(amplitudes)).mean() / amplitudes.mean()
    measured = measure_prosody(_waveform(_pulses(np.full(150, 1 / 150), amplitudes)))
    assert measured.shimmer_local_percent == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("ratio_db", [5.0, 15.0])
def test_harmonics_stand_above_the_noise_that_was_added(ratio_db: float) -> None:
    voice = _pulses(np.full(150, 1 / 150))
    noise = np.random.default_rng(0).normal(size=len(voice))
    noise *= np.sqrt(np.mean(voice**2) / np.mean(noise**2) * 10 ** (-ratio_db / 10))
    assert measure_prosody(_waveform(0.7 * (voice + noise))).harmonics_to_noise_db == pytest.approx(ratio_db, abs=2)


def test_formants_are_the_resonances_of_the_voice() -> None:
    measured = measure_prosody(_waveform(_pulses(np.full(110, 1 / 110))))
    assert measured.formant_1_hz == pytest.approx(500, rel=0.1)
    assert measured.formant_2_hz == pytest.approx(1_500, rel=0.05)
    assert measured.formant_3_hz == pytest.approx(2_500, rel=0.05)


def test_level_is_that_of_a_sine_and_does_not_touch_the_pitch() -> None:
    sine = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
    loud, soft = (measure_prosody(_waveform(gain * sine)) for gain in (0.5, 0.05))
    assert loud.intensity_mean_dbfs == pytest.approx(20 * math.log10(0.5) - 3.01, abs=0.05)
    assert loud.intensity_mean_dbfs - soft.intensity_mean_dbfs == pytest.approx(20, abs=0.01)
    assert loud.pitch_median_hz == pytest.approx(soft.pitch_median_hz, rel=1e-4)


def test_tilt_is_steeper_when_high_frequencies_are_taken_away() -> None:
    time_s = np.arange(16_000) / 16_000
    tilts = {}
    for db_per_octave in (-4.0, -8.0):
        harmonics_hz = np.arange(100, 7_900, 100)
        gains = (harmonics_hz / 100) ** (db_per_octave / (20 * math.log10(2)))
        voice = sum(g * np.cos(2 * np.pi * f * time_s + f) for g, f in zip(gains, harmonics_hz, strict=True))
        tilts[db_per_octave] = measure_prosody(_waveform(0.1 * voice)).spectral_tilt_db_per_octave
    assert tilts[-4.0] == pytest.approx(-4, abs=0.6)
    assert tilts[-8.0] == pytest.approx(-8, abs=0.6)


@pytest.mark.parametrize("n_syllables", [1, 3, 7])
def test_syllables_are_counted(n_syllables: int) -> None:
    measured = measure_prosody(_waveform(_bursts(n_syllables)))
    assert measured.n_syllables == n_syllables
    assert measured.speaking_rate_syllables_per_s == pytest.approx(n_syllables / measured.duration_s)


def test_noise_bursts_are_no_syllables() -> None:
    envelope = np.abs(_bursts(4)) > 0.01
    hiss = np.random.default_rng(0).normal(size=len(envelope)) * 0.1 * envelope
    assert measure_prosody(_waveform(hiss)).n_syllables == 0


def test_silence_between_counts_as_pause_and_silence_behind_does_not() -> None:
    speech = _bursts(3)
    pause = np.random.default_rng(1).normal(size=8_000) * 1e-4
    tail = np.random.default_rng(2).normal(size=12_000) * 1e-4
    measured = measure_prosody(_waveform(np.concatenate([speech, pause, speech, tail])))
    assert measured.n_pauses == 1
    assert measured.pause_mean_s == pytest.approx(0.7, abs=0.1), "0.5 s, and the near silence around the vowels"
    assert measured.pause_share == pytest.approx(measured.pause_mean_s / measured.duration_s)
    assert measured.articulation_rate_syllables_per_s > 1.4 * measured.speaking_rate_syllables_per_s


def test_gap_of_a_stop_is_no_pause() -> None:
    measured = measure_prosody(_waveform(_bursts(4, gap_s=0.12)))
    assert measured.n_pauses == 0
    assert measured.pause_mean_s is None


# -- what cannot be measured


def _odd_waveforms() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "nothing": np.zeros(0),
        "one sample": np.ones(1),
        "too short": np.sin(np.arange(2_000) / 10),
        "just long enough": np.sin(np.arange(2_100) / 10),
        "digital silence": np.zeros(16_000),
        "constant": np.full(16_000, 0.3),
        "noise": 0.1 * rng.normal(size=16_000),
        "quiet noise": 1e-5 * rng.normal(size=16_000),
        "one click": np.eye(1, 16_000, 8_000)[0],
        "full scale": np.sign(np.sin(np.arange(16_000) / 12)),
        "voice and then nothing": np.concatenate([_bursts(1), np.zeros(16_000)]),
        "very low": 0.5 * np.sin(2 * np.pi * 30 * np.arange(16_000) / 16_000),
    }


@pytest.mark.parametrize("name", list(_odd_waveforms()))
def test_no_value_is_ever_nan(name: str) -> None:
    waveform = _waveform(_odd_waveforms()[name])
    measured = measure_prosody(waveform)
    for field in dataclasses.fields(measured):
        value = getattr(measured, field.name)
        assert value is None or math.isfinite(value), field.name
    curves = prosody_contours(waveform)
    for field in dataclasses.fields(curves):
        assert np.isfinite(getattr(curves, field.name)).all(), field.name


@pytest.mark.parametrize("name", ["nothing", "too short", "digital silence", "constant"])
def test_too_short_and_silent_say_only_how_long(name: str) -> None:
    waveform = _waveform(_odd_waveforms()[name])
    measured = measure_prosody(waveform)
    assert measured.duration_s == waveform.duration_s
    said = {name for name in MEASURES if getattr(measured, name) not in (None, 0)}
    assert said == set()
    assert len(prosody_contours(waveform).time_s) == 0


def test_unvoiced_sound_has_a_level_but_no_pitch() -> None:
    measured = measure_prosody(_waveform(_odd_waveforms()["noise"]))
    assert measured.voiced_share == 0
    assert measured.intensity_mean_dbfs == pytest.approx(-20, abs=0.5)
    for name in ("pitch_median_hz", "jitter_local_percent", "formant_1_hz", "spectral_tilt_db_per_octave"):
        assert getattr(measured, name) is None, name


# -- contours and vectors


def test_contours_share_one_axis_and_agree_with_the_values() -> None:
    samples, sample_rate = soundfile.read(REFERENCE / "prosody_low_calm.flac", dtype="float32")
    waveform = Waveform(samples=samples, sample_rate=sample_rate)
    measured, curves = measure_prosody(waveform), prosody_contours(waveform)
    n_frames = len(curves.time_s)
    assert curves.pitch_hz.shape == curves.intensity_dbfs.shape == (n_frames,)
    assert curves.formants_hz.shape == (n_frames, 3)
    assert_allclose(np.diff(curves.time_s), 0.01)
    assert 0 < curves.time_s[0] < curves.time_s[-1] < waveform.duration_s
    voiced = curves.pitch_hz > 0
    assert np.median(curves.pitch_hz[voiced]) == measured.pitch_median_hz
    assert voiced.mean() == measured.voiced_share
    assert not curves.formants_hz[~voiced].any()
    assert len(curves.syllable_times_s) == measured.n_syllables
    assert len(curves.pauses_s) == measured.n_pauses == 1
    (start_s, end_s), *_ = curves.pauses_s
    assert not voiced[(curves.time_s > start_s + 0.05) & (curves.time_s < end_s - 0.05)].any()
    assert all(start_s > t or t > end_s for t in curves.syllable_times_s)


def test_vector_holds_every_measure_and_nan_for_none() -> None:
    measured = measure_prosody(_waveform(_bursts(3)))
    vector = as_vector(measured)
    assert vector.shape == (len(MEASURES),)
    assert vector[MEASURES.index("pitch_median_hz")] == measured.pitch_median_hz
    assert np.isnan(vector[MEASURES.index("pause_mean_s")])
    assert np.isnan(as_vector(measure_prosody(_waveform(np.zeros(16_000))))).sum() >= 10


def test_same_sound_at_another_sample_rate_gives_nearly_the_same_values() -> None:
    voice = _pulses(np.full(150, 1 / 150))
    wide = np.fft.irfft(np.fft.rfft(voice), 3 * len(voice)) * 3
    one = measure_prosody(_waveform(voice))
    other = measure_prosody(Waveform(samples=wide.astype(np.float32), sample_rate=48_000))
    for name in ("pitch_median_hz", "intensity_mean_dbfs", "formant_1_hz", "formant_2_hz", "harmonics_to_noise_db"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=0.05), name


def test_every_measure_says_its_unit_or_is_a_share_or_count() -> None:
    units = ("_hz", "_db", "_dbfs", "_percent", "_semitones", "_s", "_share", "_octave", "_syllables", "_pauses")
    for field in dataclasses.fields(Prosody):
        assert field.name.endswith(units), field.name


def test_documentation_names_every_measure() -> None:
    text = (Path(prosody.__file__).parents[2] / "docs" / "prosody.md").read_text(encoding="utf-8")
    for name in itertools.chain(MEASURES, ("duration_s", "n_syllables")):
        assert f"`{name}`" in text, name


def test_measuring_twice_gives_the_same_values() -> None:
    waveform = _waveform(_bursts(4))
    assert measure_prosody(waveform) == measure_prosody(waveform)
    assert_array_equal(prosody_contours(waveform).pitch_hz, prosody_contours(waveform).pitch_hz)
