"""A stream kept as a recording: FLAC, written as it comes, on disk once it is more than a megabyte."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from core.features.waveform import TARGET_SAMPLE_RATE_HZ

_IN_MEMORY_BYTES = 1_000_000


class StreamFile:
    """Takes samples at 16 kHz until it is full. Not thread safe.

    Parameters
    ----------
    max_duration_s
        What comes after so much is left out, and `is_full` says so.
    folder
        Where the file lies once it is large; it has no name there.
    """

    def __init__(self, max_duration_s: float, *, folder: Path) -> None:
        self._room = int(max_duration_s * TARGET_SAMPLE_RATE_HZ)
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115 - lives as long as self
        self._writer = soundfile.SoundFile(
            self._file, "w", samplerate=TARGET_SAMPLE_RATE_HZ, channels=1, format="FLAC", subtype="PCM_16"
        )
        self.is_full = False

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append `samples`, float32 (n_samples,) within [-1, 1]."""
        kept = samples[: self._room]
        self.is_full = self.is_full or len(kept) < len(samples)
        self._room -= len(kept)
        self._writer.write(kept)

    def finish(self) -> bytes:
        """The whole FLAC file; nothing can be written any more."""
        self._writer.close()
        self._file.seek(0)
        data = self._file.read()
        self._file.close()
        return data

    def discard(self) -> None:
        """Let go of it unread."""
        self._writer.close()
        self._file.close()
