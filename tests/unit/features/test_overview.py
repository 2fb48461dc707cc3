"""A recording reduced to the columns of a screen."""

from __future__ import annotations

import numpy as np
import pytest

from core.features.audio import Waveform
from core.features.overview import overview

RATE = 16_000


def tone(hz: float, duration_s: float, level: float = 0.5) -> Waveform:
    times = np.arange(round(duration_s * RATE)) / RATE
    return Waveform(samples=(level * np.sin(2 * np.pi * hz * times)).astype(np.float32), sample_rate=RATE)


@pytest.mark.parametrize("duration_s", [0.3, 5, 60])
def test_size_does_not_grow_with_the_recording(duration_s):
    seen = overview(tone(440, duration_s), n_columns=200)
    assert len(seen.times_s) == len(seen.lowest) == len(seen.highest) <= 200
    assert seen.log_mel.shape == (80, len(seen.log_mel_times_s))
    assert seen.log_mel.shape[1] <= 200
    assert seen.log_mel.nbytes <= 80 * 200


def test_no_click_is_lost():
    samples = np.zeros(60 * RATE, np.float32)
    samples[[1_000_00, 700_001]] = [0.9, -0.8]
    seen = overview(Waveform(samples=samples, sample_rate=RATE), n_columns=100)
    assert seen.highest.max() == np.float32(0.9)
    assert seen.lowest.min() == np.float32(-0.8)
    assert seen.times_s[seen.highest.argmax()] == pytest.approx(100_000 / RATE, abs=0.6)


def test_outline_holds_every_sample():
    waveform = tone(97, 3.21)
    seen = overview(waveform, n_columns=333)
    column = np.minimum((np.arange(len(waveform.samples)) * 333) // len(waveform.samples), 332)
    inside = (waveform.samples >= seen.lowest[column] - 0.1) & (waveform.samples <= seen.highest[column] + 0.1)
    assert inside.all()


@pytest.mark.parametrize("hz", [300, 1000, 3000, 6000])
def test_a_tone_is_brightest_in_the_band_at_its_frequency(hz):
    seen = overview(tone(hz, 1), n_columns=50)
    band = int(seen.log_mel.mean(axis=1).argmax())
    assert seen.band_centres_hz[band] == pytest.approx(hz, rel=0.06)


def test_times_are_the_middles_of_columns_and_stay_within_the_recording():
    seen = overview(tone(440, 2), n_columns=100)
    assert seen.times_s[0] == pytest.approx(0.01)
    assert seen.times_s[-1] == pytest.approx(1.99)
    assert seen.log_mel_times_s[-1] == pytest.approx(1.99)
    assert seen.duration_s == 2


def test_steady_silence_is_all_floor():
    seen = overview(Waveform(samples=np.zeros(RATE, np.float32), sample_rate=RATE), n_columns=10)
    assert seen.log_mel.max() == 0


def test_no_columns_are_refused():
    with pytest.raises(ValueError, match="at least one column"):
        overview(tone(440, 1), n_columns=0)
