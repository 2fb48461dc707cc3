"""Copies of recordings at other speeds: voices that no corpus holds, for a head that must serve strangers.

Played faster or slower, pitch, formants and tempo all change by one factor (`training.augment.change_speed`), as if
another speaker spoke.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import augment
from training.cache import MAX_FRAMES, SAMPLES_PER_FRAME, Recordings
from training.corpora import manifest_sha256
from training.progress import Progress
from training.whole_files import write_atomically

SLOWEST, FASTEST = 0.8, 1.25
"""Drawn by logarithm: as often slower as faster."""


def with_sped_copies(recordings: Recordings, *, n_copies: int, folder: Path, seed: int = 0) -> Recordings:
    """`recordings`, then `n_copies` of all of them at drawn speeds, from the cache in `folder` when it is there.

    Copy c (from 1) of recording i has the number `i + c * len(recordings.rows)`, and the same row.
    """
    index, data = folder / "copies.json", folder / "copies.i16"
    identity = {"manifest_sha256": manifest_sha256(recordings.rows), "n_copies": n_copies, "seed": seed}
    n_rows = len(recordings.rows)
    known = json.loads(index.read_text()) if index.exists() else {}
    if known.get("identity") != identity:
        counts: list[int] = []
        numbers = [(copy, row) for copy in range(n_copies + 1) for row in range(n_rows)]
        with data.open("wb") as file, ThreadPoolExecutor(2) as pool, Progress("copies", len(numbers)) as progress:
            for samples in pool.map(lambda number: _copy(recordings, *number, seed=seed), numbers):
                file.write(samples.tobytes())
                counts.append(len(samples) // SAMPLES_PER_FRAME)
                progress.advance()
        known = {"identity": identity, "n_frames": counts}
        write_atomically(index, json.dumps(known))
    n_frames = np.array(known["n_frames"], dtype=np.int64)
    return replace(
        recordings,
        rows=recordings.rows * (n_copies + 1),
        n_frames=n_frames,
        offsets=np.concatenate([[0], np.cumsum(n_frames)]),
        samples=np.memmap(data, dtype=np.int16, mode="r"),
    )


def _copy(recordings: Recordings, copy: int, row: int, *, seed: int) -> NDArray[np.int16]:
    start, end = (recordings.offsets[row + step] * SAMPLES_PER_FRAME for step in (0, 1))
    if copy == 0:
        return np.asarray(recordings.samples[start:end])
    factor = float(np.exp(np.random.default_rng([seed, copy, row]).uniform(np.log(SLOWEST), np.log(FASTEST))))
    played = augment.change_speed(recordings.waveform(row), factor=factor).samples
    n_frames = min(max(len(played) // SAMPLES_PER_FRAME, 2), MAX_FRAMES)
    played = np.pad(played, (0, max(0, n_frames * SAMPLES_PER_FRAME - len(played))))[: n_frames * SAMPLES_PER_FRAME]
    return np.clip(np.round(played * 32768), -32768, 32767).astype(np.int16)
