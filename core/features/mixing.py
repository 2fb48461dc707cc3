"""From decoded blocks of any sampling to mono at 16 kHz, counted and limited while they pass.

Conventions: a block is float32 (n_channels, n_samples); full scale is 1.
"""

from __future__ import annotations

import math
import time

import numpy as np
import soxr
from numpy.typing import NDArray

from core.domain import AudioFormat
from core.errors import (
    ClippedAudioError,
    ClipTooShortError,
    DecodeTimeoutError,
    EmptyAudioError,
    InvalidSamplesError,
    RecordingTooLongError,
    SilentAudioError,
    UnsupportedSamplingError,
)
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, DecodedAudio, DecodeLimits, Waveform

BLOCK_SAMPLES = 65_536
"""Decoders hand over about this many samples at a time."""
MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 8_000, 192_000
MAX_CHANNELS = 8

_PADDING_S = 0.1
"""What encoders append to fill their last frames; not counted against the longest duration, and cut off."""
_MISSING_S = 0.25
_SILENT_PEAK_DBFS = -60.0
"""Speech this quiet would use 33 of the 32,768 steps of 16-bit sound; a muted microphone's noise lies below."""
_CLIPPED_SHARE = 0.95
"""With more than this at full scale, too little is left between the runs to hold a voice."""
_FULL_SCALE = 0.98
"""8-bit sound reaches 127/128 = 0.992; lossy codecs blur a flat top by about a percent."""
_FLAT_STEP = 1.5 / 32_768
"""Neighbours closer than this, at full scale, are a flat top: a full-scale sine of 100 Hz at 16 kHz moves 17 times as
far next to its peak."""


class Mixer:
    """Takes decoded blocks, gives mono at 16 kHz; counts while it does, and stops where a limit is passed."""

    def __init__(self, limits: DecodeLimits) -> None:
        self.limits = limits
        self.ends_at = time.monotonic() + limits.decode_deadline_s
        self.duration_s = 0.0
        self.first_sample_rate_hz = 0
        self.sample_rate_hz = 0
        self.n_channels = 0
        self._resampler: soxr.ResampleStream | None = None
        self._parts: list[NDArray[np.float32]] = []
        self._n_samples = 0
        self._n_invalid = 0
        self._n_clipped = 0

    @property
    def clipping_share(self) -> float:
        """Share of all samples pushed that stand in runs at full scale."""
        return self._n_clipped / self._n_samples if self._n_samples else 0.0

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() > self.ends_at

    def require_time(self) -> None:
        """Raise once the deadline has passed."""
        if self.is_late:
            raise DecodeTimeoutError(self.limits.decode_deadline_s)

    def require_claim(self, duration_s: float) -> None:
        """Raise when a header claims more than is accepted."""
        if duration_s > self.limits.max_duration_s + _PADDING_S:
            raise RecordingTooLongError(math.ceil(duration_s), self.limits.max_duration_s)

    def push(self, block: NDArray[np.float32], sample_rate_hz: int) -> None:
        """Mix and resample `block`, float32 (n_channels, n_samples)."""
        self.require_time()
        n_channels, n_samples = block.shape
        require_sampling(n_channels, sample_rate_hz)
        if not n_samples:
            return
        if not self.sample_rate_hz:
            self.sample_rate_hz, self.n_channels = sample_rate_hz, n_channels
            self.first_sample_rate_hz = sample_rate_hz
        peak = max(float(block.max()), -float(block.min()))
        if not math.isfinite(peak):
            finite = np.isfinite(block)
            self._n_invalid += block.size - int(finite.sum())
            block = np.where(finite, block, np.float32(0))
        if not peak < _FULL_SCALE:
            self._n_clipped += count_clipped(block)
            block = np.clip(block, -1, 1)
        self._n_samples += block.size
        self.duration_s += n_samples / sample_rate_hz
        self.require_claim(self.duration_s)
        mono = block[0] if n_channels == 1 else block.mean(axis=0)
        self._resample(mono, sample_rate_hz)

    def _resample(self, mono: NDArray[np.float32], sample_rate_hz: int) -> None:
        if sample_rate_hz != self.sample_rate_hz:
            self._flush()
            self.sample_rate_hz = sample_rate_hz
        if sample_rate_hz == TARGET_SAMPLE_RATE_HZ:
            self._parts.append(np.array(mono))
            return
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(sample_rate_hz, TARGET_SAMPLE_RATE_HZ, 1, dtype="float32")
        self._parts.append(self._resampler.resample_chunk(np.ascontiguousarray(mono)))

    def _flush(self) -> None:
        if self._resampler is not None:
            self._parts.append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resampler = None

    def finish(self, audio_format: AudioFormat) -> DecodedAudio:
        """All that was pushed; raises where there is nothing to hear."""
        self._flush()
        if not self._n_samples:
            raise EmptyAudioError(f"The {audio_format.container} file holds no samples")
        if self._n_invalid:
            raise InvalidSamplesError(self._n_invalid, self._n_samples)
        if self.duration_s < self.limits.min_duration_s:
            raise ClipTooShortError(self.duration_s, self.limits.min_duration_s)
        if self.clipping_share > _CLIPPED_SHARE:
            raise ClippedAudioError(self.clipping_share)
        samples = np.concatenate(self._parts)[: int(self.limits.max_duration_s * TARGET_SAMPLE_RATE_HZ)]
        self._parts.clear()
        np.clip(samples, -1, 1, out=samples)
        offset = float(samples.mean())  # a constant offset is no sound
        peak = max(float(samples.max()) - offset, offset - float(samples.min()))
        peak_dbfs = 20 * math.log10(peak) if peak > 1e-9 else -math.inf
        if peak_dbfs < _SILENT_PEAK_DBFS:
            raise SilentAudioError(peak_dbfs)
        return DecodedAudio(
            waveform=Waveform(samples=samples, sample_rate=TARGET_SAMPLE_RATE_HZ),
            format=audio_format,
            clipping_share=self.clipping_share,
        )


def require_sampling(n_channels: int, sample_rate_hz: int) -> None:
    """Raise when there are more channels, or another sample rate, than is read."""
    if not (1 <= n_channels <= MAX_CHANNELS and MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ):
        raise UnsupportedSamplingError(
            n_channels, sample_rate_hz, MAX_CHANNELS, (MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ)
        )


def count_clipped(block: NDArray[np.float32]) -> int:
    """Number of samples of `block` (n_channels, n_samples) that stand in flat runs of three or more at full scale."""
    limited = np.clip(block, -1, 1)
    loud = np.abs(limited) >= _FULL_SCALE
    flat = loud[:, 1:] & loud[:, :-1] & (np.abs(np.diff(limited, axis=1)) <= _FLAT_STEP)
    middle = flat[:, 1:] & flat[:, :-1]
    clipped = np.zeros(block.shape, dtype=np.bool_)
    clipped[:, :-2] |= middle
    clipped[:, 1:-1] |= middle
    clipped[:, 2:] |= middle
    return int(clipped.sum())


def missing_part(claimed_s: float, duration_s: float) -> str | None:
    """A sentence when a file holds less than it says, beyond what is a matter of padding."""
    if claimed_s - duration_s <= _MISSING_S:
        return None
    return (
        f"A part of the recording is missing: the file says that it lasts {claimed_s:.1f} s, "
        f"but {duration_s:.1f} s could be read."
    )
