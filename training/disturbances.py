"""What recordings meet outside a studio, at stated strengths, to measure how many answers survive it.

Every disturbance gives a whole file as a client would send it, so that a disturbed recording takes the served way from
its first byte. Levels refer to the stretch with speech: silence around a voice must not make noise look weaker.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from core.features.speech import speech_span
from core.features.waveform import Waveform
from training.augment import TELEPHONE_BAND_HZ, TELEPHONE_SAMPLE_RATE_HZ, babble, change_gain, coloured_noise

N_TALKERS = 6
"""Voices in the babble: too many to follow one of them."""
SHIFT_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """One thing that happens to a recording."""

    name: str
    description: str
    disturb: Callable[[Waveform, Sequence[NDArray[np.float32]], Generator], bytes]
    """Waveform, voices of other speakers for babble, source of chance; a WAV file comes out."""


def _add_at_snr(waveform: Waveform, noise: NDArray[np.float32], snr_db: float) -> bytes:
    start, end = speech_span(waveform)
    speech = waveform.samples[start:end].astype(np.float64)
    power = float(np.mean(speech**2))
    scale = np.sqrt(power / np.mean(noise.astype(np.float64) ** 2)) * 10 ** (-snr_db / 20)
    mixed = waveform.samples + scale * noise
    return _wav(mixed / max(1.0, float(np.abs(mixed).max())), waveform.sample_rate)


def _white(snr_db: float) -> Disturbance:
    return Disturbance(
        name=f"white noise {snr_db:g} dB",
        description=f"white noise, {snr_db:g} dB below the speech",
        disturb=lambda waveform, _, rng: _add_at_snr(
            waveform, coloured_noise(len(waveform.samples), exponent=0.0, rng=rng), snr_db
        ),
    )


def _babble(snr_db: float) -> Disturbance:
    return Disturbance(
        name=f"babble {snr_db:g} dB",
        description=f"{N_TALKERS} other speakers of the manifest at once, {snr_db:g} dB below the speech",
        disturb=lambda waveform, voices, rng: _add_at_snr(
            waveform, babble(voices, len(waveform.samples), n_talkers=N_TALKERS, rng=rng), snr_db
        ),
    )


def _gain(gain_db: float) -> Disturbance:
    return Disturbance(
        name=f"gain {gain_db:+g} dB",
        description=f"{gain_db:+g} dB" + (", clipped at full scale" if gain_db > 0 else ", in 16 bits"),
        disturb=lambda waveform, _, __: _wav(change_gain(waveform, gain_db=gain_db).samples, waveform.sample_rate),
    )


def _telephone(waveform: Waveform, _: Sequence[NDArray[np.float32]], __: Generator) -> bytes:
    low_hz, high_hz = TELEPHONE_BAND_HZ
    sections = butter(6, (low_hz, high_hz), btype="bandpass", fs=waveform.sample_rate, output="sos")
    padding = min(len(waveform.samples) - 1, 3 * (2 * len(sections) + 1))
    band = sosfiltfilt(sections, waveform.samples.astype(np.float64), padlen=padding)
    narrow = soxr.resample(band, waveform.sample_rate, TELEPHONE_SAMPLE_RATE_HZ)
    file = io.BytesIO()
    soundfile.write(file, np.clip(narrow, -1, 1), TELEPHONE_SAMPLE_RATE_HZ, format="WAV", subtype="ULAW")
    return file.getvalue()


def _late(waveform: Waveform, _: Sequence[NDArray[np.float32]], __: Generator) -> bytes:
    n_shifted = round(SHIFT_S * waveform.sample_rate)
    shifted = np.concatenate([np.zeros(n_shifted, np.float32), waveform.samples])[: len(waveform.samples)]
    return _wav(shifted, waveform.sample_rate)


def _early(waveform: Waveform, _: Sequence[NDArray[np.float32]], __: Generator) -> bytes:
    n_shifted = round(SHIFT_S * waveform.sample_rate)
    shifted = np.concatenate([waveform.samples[n_shifted:], np.zeros(n_shifted, np.float32)])
    return _wav(shifted[: len(waveform.samples)], waveform.sample_rate)


CLEAN = Disturbance(
    name="clean",
    description="as it is, in 16 bits",
    disturb=lambda waveform, _, __: _wav(waveform.samples, waveform.sample_rate),
)
DISTURBANCES = (
    *(_white(snr_db) for snr_db in (20.0, 10.0, 0.0)),
    *(_babble(snr_db) for snr_db in (20.0, 10.0, 0.0)),
    Disturbance(
        name="telephone",
        description="300 to 3400 Hz, 8 kHz, G.711 mu-law, as a WAV file of that codec",
        disturb=_telephone,
    ),
    _gain(12.0),
    _gain(-12.0),
    Disturbance(name="shift +100 ms", description="100 ms of silence before, the last 100 ms cut off", disturb=_late),
    Disturbance(name="shift -100 ms", description="the first 100 ms cut off, 100 ms of silence behind", disturb=_early),
)


def _wav(samples: NDArray[np.floating], sample_rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
