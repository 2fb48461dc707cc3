"""A whole recording on a screen: its outline and its spectrogram, reduced to as many columns as can be seen.

Conventions: times are the middles of columns, in seconds. However long the recording, an overview has the same size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.features.audio import TARGET_SAMPLE_RATE_HZ, Waveform
from core.features.log_mel import FRAMES_PER_SECOND, N_FFT, log_mel, mel_filters


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What a recording looks like."""

    duration_s: float
    times_s: NDArray[np.float64]
    """(n_columns,)"""
    lowest: NDArray[np.float32]
    """Lowest sample of each column: (n_columns,), within [-1, 1]."""
    highest: NDArray[np.float32]
    """Highest sample of each column: (n_columns,), within [-1, 1]."""
    log_mel_times_s: NDArray[np.float64]
    """(n_log_mel_columns,)"""
    log_mel: NDArray[np.uint8]
    """(n_mels, n_log_mel_columns), 0 at the recording's floor to 255 at its maximum."""
    band_centres_hz: NDArray[np.float64]
    """(n_mels,)"""


def overview(waveform: Waveform, *, n_columns: int) -> Overview:
    """The outline and the log-mel spectrogram of `waveform`, each of at most `n_columns` columns.

    The outline keeps the extremes of each column and the spectrogram the loudest of its frames, so that no click and no
    short syllable gets lost, however long the recording.

    Parameters
    ----------
    waveform : Waveform
        Mono, 16 kHz, at least 201 samples.
    n_columns : int
        At least 1.

    Returns
    -------
    Overview

    Raises
    ------
    ValueError
        `n_columns` is below 1, or the waveform is not one that `log_mel` takes.

    Examples
    --------
    >>> samples = np.zeros(16_000, np.float32)
    >>> samples[12_000] = -0.5
    >>> seen = overview(Waveform(samples=samples, sample_rate=16_000), n_columns=4)
    >>> seen.times_s.tolist(), seen.lowest.tolist(), seen.log_mel.shape
    ([0.125, 0.375, 0.625, 0.875], [0.0, 0.0, 0.0, -0.5], (80, 4))
    """
    if n_columns < 1:
        raise ValueError(f"an overview needs at least one column, not {n_columns}")
    samples = waveform.samples
    edges = _edges(len(samples), n_columns)
    frames = log_mel(waveform)
    frame_edges = _edges(len(frames), n_columns)
    loudest = np.maximum.reduceat(frames, frame_edges[:-1], axis=0)
    floor, top = float(loudest.min()), float(loudest.max())
    scaled = (loudest - floor) / (top - floor) if top > floor else np.zeros_like(loudest)
    return Overview(
        duration_s=waveform.duration_s,
        times_s=_middles(edges) / waveform.sample_rate,
        lowest=np.minimum.reduceat(samples, edges[:-1]),
        highest=np.maximum.reduceat(samples, edges[:-1]),
        log_mel_times_s=_middles(frame_edges) / FRAMES_PER_SECOND,
        log_mel=np.ascontiguousarray(np.rint(scaled * 255).astype(np.uint8).T),
        band_centres_hz=_band_centres_hz(),
    )


def _edges(n_values: int, n_columns: int) -> NDArray[np.int64]:
    """Where columns begin, and where the last one ends: at most `n_columns`, as equal as whole numbers allow."""
    return np.linspace(0, n_values, min(n_values, n_columns) + 1).astype(np.int64)


def _middles(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    middles: NDArray[np.float64] = (edges[:-1] + edges[1:]) / 2
    return middles


def _band_centres_hz() -> NDArray[np.float64]:
    bin_hz = np.fft.rfftfreq(N_FFT, 1 / TARGET_SAMPLE_RATE_HZ)
    weights = mel_filters().astype(np.float64)
    centres: NDArray[np.float64] = (bin_hz @ weights) / weights.sum(axis=0)
    return centres
