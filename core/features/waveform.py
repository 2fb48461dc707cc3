"""What decoding takes and gives: limits in, waveforms out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.config import Settings
from core.domain import AudioFormat

TARGET_SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """Sound as numbers: mono, float32 (n_samples,), within [-1, 1]."""

    samples: NDArray[np.float32]
    sample_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedAudio:
    """A recording as the recogniser takes it, and what its bytes turned out to be."""

    waveform: Waveform
    """Mono, 16 kHz."""
    format: AudioFormat
    clipping_share: float
    """Share of the source's samples in runs at full scale, in [0, 1]: mixing and resampling would blur the runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """What is accepted, and how long it may take."""

    max_upload_mb: float
    max_duration_s: float
    min_duration_s: float
    decode_deadline_s: float

    @classmethod
    def from_settings(cls, settings: Settings) -> DecodeLimits:
        """The limits that an operator has set."""
        return cls(
            max_upload_mb=settings.max_upload_mb,
            max_duration_s=settings.max_duration_s,
            min_duration_s=settings.min_duration_s,
            decode_deadline_s=settings.decode_deadline_s,
        )
