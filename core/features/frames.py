"""Frames of FFmpeg, as WebRTC delivers them, as samples."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from core.features.ffmpeg import samples_of


def mono_samples(frame: av.AudioFrame) -> NDArray[np.float32]:
    """The samples of `frame`, channels mixed down by their mean: float32 (n_samples,), within [-1, 1].

    Examples
    --------
    >>> stereo = np.array([[16_384, 0, -16_384, 0]], dtype=np.int16)
    >>> mono_samples(av.AudioFrame.from_ndarray(stereo, format="s16", layout="stereo")).tolist()
    [0.25, -0.25]
    """
    mono: NDArray[np.float32] = samples_of([frame]).mean(axis=0)
    return mono
