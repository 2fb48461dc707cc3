"""The front end gives what an independent implementation of the same definition gives."""

import librosa
import numpy as np
import pytest
import scipy.signal

from core.features.audio import Waveform
from core.features.log_mel import log_mel, mel_borders_hz, mel_filters


def _noise(seconds: float, sample_rate: int = 16_000) -> Waveform:
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * sample_rate)).astype(np.float32)
    return Waveform(samples=samples, sample_rate=sample_rate)


def test_mel_filters_agree_with_librosa() -> None:
    np.testing.assert_allclose(mel_filters().T, librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80), atol=1e-7)


def test_borders_lie_between_the_centres_that_librosa_names() -> None:
    centres_hz = librosa.mel_frequencies(n_mels=82, fmin=0, fmax=8000)[1:-1]
    borders_hz = mel_borders_hz()
    assert (len(borders_hz), borders_hz[0], borders_hz[-1]) == (81, 0, pytest.approx(8000))
    assert np.all((borders_hz[:-1] < centres_hz) & (centres_hz < borders_hz[1:]))
    assert borders_hz[5] == pytest.approx((centres_hz[4] + centres_hz[5]) / 2)  # linear below 1 kHz


def test_log_mel_agrees_with_scipy_and_librosa() -> None:
    waveform = _noise(1.234)
    padded = np.pad(waveform.samples, 200, mode="reflect")
    _, _, scaled = scipy.signal.stft(padded, window="hann", nperseg=400, noverlap=240, boundary=None, padded=False)
    power = np.abs(scaled[:, : len(waveform.samples) // 160] * 200) ** 2
    bands = np.log10(np.maximum(librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80) @ power, 1e-10))
    expected = (np.maximum(bands, bands.max() - 8) + 4) / 4
    np.testing.assert_allclose(log_mel(waveform), expected.T, atol=2e-4)


def test_one_second_gives_one_hundred_frames() -> None:
    assert log_mel(_noise(1.0)).shape == (100, 80)
    assert log_mel(_noise(1.0)).dtype == np.float32


def test_nothing_lies_more_than_two_below_the_loudest_value() -> None:
    samples = np.zeros(16_000, np.float32)
    samples[:1_600] = np.sin(np.arange(1_600) * 0.3)
    features = log_mel(Waveform(samples=samples, sample_rate=16_000))
    assert features.max() - features.min() == pytest.approx(2.0, abs=1e-5)


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="16000 Hz, not 8000"):
        log_mel(_noise(1.0, sample_rate=8_000))


def test_fewer_samples_than_half_a_window_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 200 samples"):
        log_mel(_noise(200 / 16_000))
