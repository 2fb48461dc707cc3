"""Disturbances do to a recording what they say, at the strength they say."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from core.config import Settings
from core.features.audio import decode
from core.features.speech import speech_span
from core.features.waveform import DecodeLimits, Waveform
from tests.sounds import voice
from training.disturbances import CLEAN, DISTURBANCES

RATE_HZ = 16_000
LIMITS = DecodeLimits.from_settings(Settings())
BY_NAME = {disturbance.name: disturbance for disturbance in (CLEAN, *DISTURBANCES)}


@pytest.fixture(scope="module")
def waveform() -> Waveform:
    """Two seconds of a voice between two half seconds of near silence."""
    quiet = np.random.default_rng(0).normal(0, 1e-4, RATE_HZ // 2).astype(np.float32)
    samples = np.concatenate([quiet, 0.5 * voice(seconds=2.0), quiet])
    return Waveform(samples=samples.astype(np.float32), sample_rate=RATE_HZ)


@pytest.fixture(scope="module")
def others() -> list[np.ndarray]:
    return [voice(seconds=1.5, pitch_hz=100 + 17 * number) for number in range(8)]


def disturbed(name: str, waveform: Waveform, others, seed: int = 0) -> Waveform:
    data = BY_NAME[name].disturb(waveform, others, np.random.default_rng(seed))
    return decode(data, limits=LIMITS).waveform


def power_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.asarray(samples, dtype=np.float64) ** 2)))


@pytest.mark.parametrize("name", BY_NAME)
def test_every_disturbance_gives_a_recording_that_is_served_and_as_long(name, waveform, others) -> None:
    heard = disturbed(name, waveform, others)
    assert heard.sample_rate == RATE_HZ
    assert len(heard.samples) == pytest.approx(len(waveform.samples), abs=2)
    assert np.abs(heard.samples).max() <= 1.0


@pytest.mark.parametrize("name", BY_NAME)
def test_same_seed_gives_the_same_bytes(name, waveform, others) -> None:
    first, second = (BY_NAME[name].disturb(waveform, others, np.random.default_rng(3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", ["white noise", "babble"])
@pytest.mark.parametrize("snr_db", [20, 10, 0])
def test_noise_stands_below_the_speech_by_what_it_says(kind, snr_db, waveform, others) -> None:
    heard = disturbed(f"{kind} {snr_db} dB", waveform, others)
    start, end = speech_span(waveform)
    # A mixture beyond full scale was turned down as a whole: undo that by the least-squares level of the voice.
    clean = waveform.samples.astype(np.float64)
    level = float(heard.samples[start:end] @ clean[start:end] / (clean[start:end] @ clean[start:end]))
    noise = heard.samples / level - clean
    assert power_db(clean[start:end]) - power_db(noise) == pytest.approx(snr_db, abs=0.6)


def test_babble_is_made_of_the_other_voices(waveform, others) -> None:
    assert BY_NAME["babble 0 dB"].disturb(waveform, others, np.random.default_rng(0)) != BY_NAME["babble 0 dB"].disturb(
        waveform, others[:6], np.random.default_rng(0)
    )


def test_telephone_is_a_mu_law_file_at_8_khz_without_highs_and_lows(waveform, others) -> None:
    data = BY_NAME["telephone"].disturb(waveform, others, np.random.default_rng(0))
    info = soundfile.info(io.BytesIO(data))
    assert (info.samplerate, info.subtype) == (8_000, "ULAW")
    heard = decode(data, limits=LIMITS).waveform
    n_samples = min(len(heard.samples), len(waveform.samples))

    def share_of(low_hz: float, high_hz: float) -> float:
        before, after = (
            np.abs(np.fft.rfft(one.samples[:n_samples].astype(np.float64))) ** 2 for one in (waveform, heard)
        )
        band = slice(int(low_hz / RATE_HZ * n_samples), int(high_hz / RATE_HZ * n_samples))
        return float(after[band].sum() / before[band].sum())

    assert share_of(0, 150) < 0.05
    assert share_of(4_500, 8_000) < 0.05
    assert share_of(500, 3_000) == pytest.approx(1.0, abs=0.1)


def test_gain_raises_and_lowers_by_twelve_decibels(waveform, others) -> None:
    quiet = Waveform(samples=waveform.samples * np.float32(0.2), sample_rate=RATE_HZ)
    before = power_db(quiet.samples)
    assert power_db(disturbed("gain +12 dB", quiet, others).samples) - before == pytest.approx(12, abs=0.1)
    assert power_db(disturbed("gain -12 dB", quiet, others).samples) - before == pytest.approx(-12, abs=0.1)


def test_gain_clips_what_is_loud_already(waveform, others) -> None:
    loud = Waveform(samples=waveform.samples / np.abs(waveform.samples).max(), sample_rate=RATE_HZ)
    assert np.mean(np.abs(disturbed("gain +12 dB", loud, others).samples) > 0.999) > 0.02


@pytest.mark.parametrize(("name", "lag_s"), [("shift +100 ms", 0.1), ("shift -100 ms", -0.1)])
def test_shift_moves_the_voice_by_a_tenth_of_a_second(name, lag_s, waveform, others) -> None:
    heard = disturbed(name, waveform, others)
    correlation = np.fft.irfft(
        np.fft.rfft(heard.samples, 2 * len(heard.samples))
        * np.conj(np.fft.rfft(waveform.samples, 2 * len(heard.samples)))
    )
    lag = int(correlation.argmax())
    lag = lag - len(correlation) if lag > len(correlation) / 2 else lag
    assert lag / RATE_HZ == pytest.approx(lag_s, abs=1e-3)


def test_recording_of_a_third_of_a_second_is_disturbed_too(others) -> None:
    short = Waveform(samples=voice(seconds=0.4), sample_rate=RATE_HZ)
    for name in BY_NAME:
        assert disturbed(name, short, others).duration_s == pytest.approx(0.4, abs=0.01)
