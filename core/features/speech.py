"""Where somebody speaks: one rule, by energy, for quality, trimming, timelines and live sound.

Conventions: one value every 10 ms, as log-mel frames. Levels are in dB relative to full scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.features.audio import Waveform

FRAME_S = 0.01
MARGIN_S = 0.1
"""Kept on either side of the speech: onsets and breath carry emotion."""
_WINDOW_FRAMES = 3
"""A level is the mean power of 30 ms around its frame, so that single glottal periods do not show."""
_SILENCE_DBFS = -75.0
"""Quieter than this is silence, whatever the rest is like: 16-bit dither lies near -96 dBFS."""
_RANGE_DB = 35.0
"""Weak consonants lie up to 30 dB below loud vowels (Fletcher 1953, table 11)."""
_ABOVE_FLOOR_DB = 6.0
_BELOW_LOUD_DB = 6.0
_LONGEST_GAP_FRAMES = 20
"""Stops and short pauses inside an utterance, up to 200 ms, count as speech."""
_SHORTEST_BURST_FRAMES = 4
"""Shorter than 40 ms is a click, no syllable."""
_BLOCK_FRAMES = 1_000
"""Long recordings are measured in blocks, so that they need no second copy of their samples."""


def speech_activity(waveform: Waveform) -> NDArray[np.bool_]:
    """Whether each frame of 10 ms holds speech.

    A frame counts when its level lies within 35 dB of the loud frames (95th percentile) and 6 dB above the floor (5th
    percentile); bursts shorter than 40 ms are dropped and gaps up to 200 ms closed. Steady sound, whose floor lies
    near its loud frames, counts as a whole: energy alone cannot tell it from a held vowel.

    Returns
    -------
    bool (n_frames,)
        `n_frames` = `n_samples` / (10 ms), rounded up.

    Examples
    --------
    >>> samples = np.zeros(16_000, np.float32)
    >>> samples[4_000:8_000] = 0.1
    >>> active = speech_activity(Waveform(samples=samples, sample_rate=16_000))
    >>> len(active), int(active.argmax()), int(active.sum())
    (100, 24, 27)
    """
    levels = frame_levels(waveform)
    if len(levels) == 0:
        return np.zeros(0, dtype=np.bool_)
    loud, floor = float(np.percentile(levels, 95)), float(np.percentile(levels, 5))
    threshold = max(_SILENCE_DBFS, loud - _RANGE_DB, min(floor + _ABOVE_FLOOR_DB, loud - _BELOW_LOUD_DB))
    active = levels > threshold
    active = _without_short_runs(active, value=True, shortest=_SHORTEST_BURST_FRAMES)
    return _without_short_runs(active, value=False, shortest=_LONGEST_GAP_FRAMES + 1, inside_only=True)


def speech_span(waveform: Waveform, *, activity: NDArray[np.bool_] | None = None) -> tuple[int, int]:
    """The stretch that is kept when leading and trailing silence go: `(start_sample, end_sample)`.

    0.1 s stay on either side. Where no speech is found the whole waveform is kept. Training and serving cut here.
    `activity` is `speech_activity(waveform)` where that is known already.
    """
    active = np.flatnonzero(speech_activity(waveform) if activity is None else activity)
    if len(active) == 0:
        return 0, len(waveform.samples)
    hop, margin = _hop(waveform), round(MARGIN_S * waveform.sample_rate)
    start = max(0, int(active[0]) * hop - margin)
    end = min(len(waveform.samples), (int(active[-1]) + 1) * hop + margin)
    return start, end


def frame_levels(waveform: Waveform) -> NDArray[np.float32]:
    """Level of every 10 ms frame, from the mean power of the 30 ms around it: float32 (n_frames,), dBFS, >= -120."""
    hop = _hop(waveform)
    n_frames = -(-len(waveform.samples) // hop)
    if n_frames == 0:
        return np.zeros(0, dtype=np.float32)
    block = hop * _BLOCK_FRAMES
    power = np.concatenate(
        [
            _frame_powers(waveform.samples[start : start + block], hop)
            for start in range(0, len(waveform.samples), block)
        ]
    )
    smooth = np.convolve(
        np.pad(power, _WINDOW_FRAMES // 2, mode="edge"), np.ones(_WINDOW_FRAMES) / _WINDOW_FRAMES, "valid"
    )
    levels: NDArray[np.float32] = (10 * np.log10(np.maximum(smooth, 1e-12))).astype(np.float32)
    return levels


def _frame_powers(samples: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    """Mean power of each frame; the last one is filled up with zeros."""
    n_frames = -(-len(samples) // hop)
    whole = np.zeros(n_frames * hop, dtype=np.float32)
    whole[: len(samples)] = samples
    power: NDArray[np.float32] = np.square(whole.reshape(n_frames, hop)).mean(axis=1)
    return power


def _hop(waveform: Waveform) -> int:
    return round(FRAME_S * waveform.sample_rate)


def _without_short_runs(
    active: NDArray[np.bool_], *, value: bool, shortest: int, inside_only: bool = False
) -> NDArray[np.bool_]:
    """`active` with runs of `value` shorter than `shortest` flipped; `inside_only` spares those at either end."""
    bounds = np.flatnonzero(np.diff(active)) + 1
    starts = np.concatenate([[0], bounds])
    ends = np.concatenate([bounds, [len(active)]])
    kept = active.copy()
    for start, end in zip(starts, ends, strict=True):
        at_edge = start == 0 or end == len(active)
        if active[start] == value and end - start < shortest and not (inside_only and at_edge):
            kept[start:end] = not value
    return kept
