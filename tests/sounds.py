"""Sounds for tests, made of arithmetic: always the same for the same arguments."""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000


def voice(*, seconds: float, pitch_hz: float = 120.0, sample_rate_hz: int = SAMPLE_RATE_HZ) -> NDArray[np.float32]:
    """Something like a voice: a gliding pitch with formants, in syllables, over a little noise."""
    time_s = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    glide = pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time_s))
    phase = 2 * np.pi * np.cumsum(glide) / sample_rate_hz
    sound = np.zeros_like(time_s)
    for harmonic in range(1, 25):
        frequency = harmonic * pitch_hz
        formants = sum(np.exp(-(((frequency - formant) / 180) ** 2)) for formant in (600, 1200, 2500))
        sound += (0.02 + formants) * np.sin(harmonic * phase) / harmonic**0.5
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time_s) + 0.4, 0, 1)
    noise = np.random.default_rng(int(pitch_hz * 10)).normal(0, 0.002, time_s.size)
    return (0.4 * sound * syllables / np.abs(sound).max() + noise).astype(np.float32)


def wav_bytes(samples: NDArray[np.float32], sample_rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """`samples` within [-1, 1] as mono 16-bit WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate_hz)
        writer.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def voice_wav(*, seconds: float, pitch_hz: float = 120.0) -> bytes:
    return wav_bytes(voice(seconds=seconds, pitch_hz=pitch_hz))
