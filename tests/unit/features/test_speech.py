"""Speech is found by its level, whatever the gain, and the span keeps a margin."""

import numpy as np
import pytest

from core.features.audio import Waveform
from core.features.speech import frame_levels, speech_activity, speech_span

RATE = 16_000


def _clip(*, noise: float = 1e-4, gain: float = 1.0, speech_s: tuple[float, float] = (0.5, 1.5), seconds: float = 2.0):
    """A 150 Hz buzz between `speech_s`, on steady noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    buzz = 0.3 * np.sign(np.sin(2 * np.pi * 150 * time)) * ((time >= speech_s[0]) & (time < speech_s[1]))
    samples = gain * (buzz + np.random.default_rng(0).normal(0, noise, len(time)))
    return Waveform(samples=samples.astype(np.float32), sample_rate=RATE)


@pytest.mark.parametrize("gain", [1.0, 0.25, 0.05])
@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2])
def test_span_holds_the_speech_with_a_tenth_of_a_second_on_either_side(gain: float, noise: float) -> None:
    start, end = speech_span(_clip(gain=gain, noise=noise))
    assert start / RATE == pytest.approx(0.4, abs=0.03)
    assert end / RATE == pytest.approx(1.6, abs=0.03)


def test_a_click_is_not_speech() -> None:
    clip = _clip()
    samples = clip.samples.copy()
    samples[2_000:2_050] = 0.9
    start, _ = speech_span(Waveform(samples=samples, sample_rate=RATE))
    assert start / RATE == pytest.approx(0.4, abs=0.03)


def test_a_short_pause_belongs_to_the_speech_and_a_long_one_does_not() -> None:
    first, second = _clip(speech_s=(0.2, 0.8)), _clip(speech_s=(0.95, 1.2))
    short = Waveform(samples=first.samples + second.samples, sample_rate=RATE)
    assert speech_activity(short)[30:110].all()
    late = _clip(speech_s=(1.3, 1.6))
    long = Waveform(samples=first.samples + late.samples, sample_rate=RATE)
    assert not speech_activity(long)[90:120].any()


def test_silence_holds_no_speech_and_is_kept_whole() -> None:
    silence = Waveform(samples=np.zeros(RATE, np.float32), sample_rate=RATE)
    assert not speech_activity(silence).any()
    assert speech_span(silence) == (0, RATE)


def test_steady_sound_counts_as_a_whole() -> None:
    assert speech_activity(_clip(speech_s=(0.0, 2.0))).all()


def test_an_empty_waveform_has_no_frames() -> None:
    empty = Waveform(samples=np.zeros(0, np.float32), sample_rate=RATE)
    assert len(speech_activity(empty)) == 0
    assert speech_span(empty) == (0, 0)


def test_a_full_scale_square_wave_has_level_zero() -> None:
    square = Waveform(samples=np.ones(RATE, np.float32), sample_rate=RATE)
    np.testing.assert_allclose(frame_levels(square), 0.0, atol=1e-5)
