from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
import soxr
from scipy.signal import butter, firwin, lfilter, sosfilt, sosfiltfilt

from core.domain import Bandwidth, Quality
from core.features.audio import Waveform
from core.features.quality import measure_quality
from core.features.speech import speech_activity
from tests.audio_files import voice

RATE = 16_000


def measure(samples: np.ndarray, *, source_sample_rate_hz: int = RATE, clipping_share: float | None = None) -> Quality:
    waveform = Waveform(samples=np.asarray(samples, dtype=np.float32), sample_rate=RATE)
    return measure_quality(waveform, source_sample_rate_hz=source_sample_rate_hz, clipping_share=clipping_share)


def speech(seed: int = 0, duration_s: float = 5.0) -> np.ndarray:
    """A voice with hisses, in a room 50 dB below it."""
    clean = voice(duration_s, seed=seed, pitch_hz=110 + 30 * seed, hisses=True)
    return with_noise(clean, noise("white", len(clean), seed=seed), 50.0)


def noise(kind: str, n_samples: int, *, seed: int) -> np.ndarray:
    """White, pink or traffic-like noise above 60 Hz; power 1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    frequency = np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE), 1)
    shape = {"white": 1.0, "pink": frequency**-0.5, "traffic": 1 / (1 + (frequency / 500) ** 2)}[kind]
    sound = np.fft.irfft(spectrum * shape * (frequency > 60), n_samples)
    return sound / np.sqrt(np.mean(np.square(sound)))


def with_noise(clean: np.ndarray, sound: np.ndarray, snr_db: float) -> np.ndarray:
    """`clean` with noise that far below the mean power of its speech frames."""
    active = speech_activity(Waveform(samples=clean.astype(np.float32), sample_rate=RATE))
    is_speech = np.repeat(active, RATE // 100)[: len(clean)]
    power = np.mean(np.square(clean[is_speech]))
    return clean + sound * math.sqrt(power / 10 ** (snr_db / 10))


def codes(quality: Quality) -> list[str]:
    return [note.code for note in quality.notes]


def sentence(quality: Quality, code: str) -> str:
    return next(note.sentence for note in quality.notes if note.code == code)


def test_a_good_recording_has_no_notes():
    quality = measure(speech())
    assert codes(quality) == []
    assert quality.bandwidth is Bandwidth.WIDE
    assert quality.snr_db > 40
    assert 0.5 < quality.speech_ratio < 1


# -- level


def test_levels_of_a_sine_are_those_of_the_textbook():
    quality = measure(0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE))
    assert quality.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert quality.rms_dbfs == pytest.approx(-9.03, abs=0.01)


def test_a_quiet_recording_is_noted_with_its_level():
    quality = measure(speech() * 0.01)
    assert codes(quality) == ["quiet"]
    assert "peak -46 dBFS" in sentence(quality, "quiet")
    assert codes(measure(speech() * 0.03)) == []


# -- clipping


def test_clipping_counted_in_the_source_is_taken_over():
    quality = measure(speech(), clipping_share=0.0213)
    assert quality.clipping_share == 0.0213
    assert codes(quality) == ["clipped"]
    assert sentence(quality, "clipped").startswith("2.1\u00a0% of the recording is clipped")
    assert codes(measure(speech(), clipping_share=0.0009)) == []


def test_clipping_is_counted_in_the_waveform_where_nobody_did_before():
    loud = np.clip(speech() * 6, -1, 1)
    quality = measure(loud)
    assert quality.clipping_share == pytest.approx(np.mean(np.abs(loud) == 1), rel=0.2)
    assert "clipped" in codes(quality)


# -- speech


def test_the_speech_ratio_is_the_share_of_frames_with_a_voice():
    half = np.concatenate([speech(duration_s=3.0), np.zeros(3 * RATE)])
    assert measure(half).speech_ratio == pytest.approx(measure(speech(duration_s=3.0)).speech_ratio / 2, abs=0.05)


def test_little_speech_is_noted_with_its_length():
    alone = measure(speech(duration_s=0.8))
    assert "little_speech" in codes(alone)
    assert sentence(alone, "little_speech").startswith("Only 0.")
    lost = np.concatenate([speech(duration_s=2.0), 1e-4 * np.random.default_rng(0).standard_normal(28 * RATE)])
    assert "little_speech" in codes(measure(lost))


# -- noise


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["white", "pink", "traffic"])
@pytest.mark.parametrize("snr_db", [0, 5, 10, 15, 20, 25, 30])
def test_speech_to_noise_ratio_is_within_3_db_of_the_truth(snr_db, kind, seed):
    clean = voice(5.0, seed=seed, pitch_hz=100 + 40 * seed, hisses=True)
    noisy = with_noise(clean, noise(kind, len(clean), seed=seed + 10), snr_db)
    quality = measure(noisy / max(1, np.abs(noisy).max()))
    assert quality.snr_db == pytest.approx(snr_db, abs=3.0)
    assert ("noisy" in codes(quality)) == (quality.snr_db < 10)


def test_gain_changes_no_ratio():
    noisy = with_noise(voice(4.0, hisses=True), noise("pink", 4 * RATE, seed=1), 15.0)
    assert measure(noisy * 0.05).snr_db == pytest.approx(measure(noisy * 0.4).snr_db, abs=0.01)


def test_noise_alone_has_the_lowest_ratio_and_digital_silence_around_a_voice_the_highest():
    assert measure(0.1 * np.random.default_rng(0).standard_normal(5 * RATE)).snr_db < 0
    assert measure(np.concatenate([np.zeros(RATE), voice(3.0), np.zeros(RATE)])).snr_db == 60


def test_a_noisy_recording_is_noted_with_its_ratio():
    noisy = with_noise(voice(5.0, hisses=True), noise("white", 5 * RATE, seed=2), 5.0)
    quality = measure(noisy / np.abs(noisy).max())
    assert f"only about {quality.snr_db:.0f} dB above the noise" in sentence(quality, "noisy")


def test_continuous_speech_is_not_mistaken_for_noise():
    one_breath = voice(8.0, hisses=True)
    one_breath = one_breath[np.repeat(np.abs(one_breath).reshape(-1, 160).max(axis=1) > 0.05, 160)]
    assert "noisy" not in codes(measure(one_breath))


# -- bandwidth


def band_passed(samples: np.ndarray, how: str) -> np.ndarray:
    if how == "fir":
        return lfilter(firwin(255, [300, 3_400], pass_zero=False, fs=RATE), 1, samples)
    order, there_and_back = {"order 6": (6, False), "order 4, both ways": (4, True)}[how]
    sections = butter(order, [300, 3_400], "bandpass", fs=RATE, output="sos")
    return sosfiltfilt(sections, samples) if there_and_back else sosfilt(sections, samples)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["fir", "order 6", "order 4, both ways"])
def test_speech_through_a_telephone_band_is_told(how, seed):
    quality = measure(band_passed(speech(seed), how))
    assert quality.bandwidth is Bandwidth.TELEPHONE
    assert 2_500 < quality.bandwidth_hz <= 5_100
    assert codes(quality) == ["telephone"]
    assert sentence(quality, "telephone").startswith(f"The sound ends at {quality.bandwidth_hz / 1_000:.1f} kHz")


def test_speech_sampled_at_8_khz_is_telephone():
    narrow = soxr.resample(soxr.resample(speech(), RATE, 8_000), 8_000, RATE)
    assert measure(narrow, source_sample_rate_hz=8_000).bandwidth is Bandwidth.TELEPHONE
    kept_at_16 = measure(narrow, source_sample_rate_hz=RATE)
    assert kept_at_16.bandwidth is Bandwidth.TELEPHONE
    assert kept_at_16.bandwidth_hz <= 4_100


def test_the_source_sample_rate_bounds_the_bandwidth():
    quality = measure(speech(), source_sample_rate_hz=8_000)
    assert quality.bandwidth_hz == 4_000
    assert quality.bandwidth is Bandwidth.TELEPHONE
    assert measure(speech(), source_sample_rate_hz=11_025).bandwidth is Bandwidth.WIDE


@pytest.mark.parametrize("snr_db", [0, 10, 20, 30])
def test_noise_that_hides_hisses_makes_no_telephone(snr_db):
    clean = voice(5.0, seed=1, hisses=True)
    noisy = with_noise(clean, noise("white", len(clean), seed=5), snr_db)
    assert measure(noisy / max(1, np.abs(noisy).max())).bandwidth is Bandwidth.WIDE


# -- edges


@pytest.mark.parametrize("n_samples", [1, 100, 511, 512, 4_800])
def test_very_short_waveforms_have_a_quality(n_samples):
    quality = measure(0.1 * np.random.default_rng(0).standard_normal(n_samples))
    values = [value for value in dataclasses.asdict(quality).values() if isinstance(value, float)]
    assert all(math.isfinite(value) for value in values)
    assert "little_speech" in codes(quality)


def test_silence_has_finite_values():
    quality = measure(np.zeros(RATE))
    assert (quality.peak_dbfs, quality.rms_dbfs, quality.speech_ratio) == (-120, -120, 0)
    assert math.isfinite(quality.snr_db)
    assert 0 < quality.bandwidth_hz <= 8_000


def test_ten_minutes_need_no_more_than_a_fraction_of_their_samples():
    samples = np.tile(speech().astype(np.float32), 120)
    tracemalloc.start()
    measure(samples)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < samples.nbytes


def test_other_sample_rates_and_nothing_at_all_are_mistakes_of_the_caller():
    with pytest.raises(ValueError, match="need samples at 16000 Hz"):
        measure_quality(Waveform(samples=np.zeros(800, np.float32), sample_rate=8_000), source_sample_rate_hz=8_000)
    with pytest.raises(ValueError, match="not 0 at"):
        measure(np.zeros(0))
