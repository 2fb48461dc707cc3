"""What the frozen encoder says of every recording: clean, disturbed, and at another speed; each made once and kept.

The encoder learns nothing here, so one set of embeddings serves every protocol. They come from the LiteRT graph that
serving runs, so that a head learns from exactly what it will be given. Babble must not carry a voice from one part of a
split into another: the voices behind a recording come from the same part as it has of every split.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.features.log_mel import log_mel
from core.features.waveform import Waveform
from training import augment
from training.cache import Recordings
from training.distil import disturb
from training.export import LiteEncoder
from training.judge import Embeddings
from training.progress import Progress
from training.splits import Split

N_DISTURBED_COPIES = 2
SPED_CORPORA = ("RAVDESS", "SAVEE")
"""Those with few recordings; a voice at another speed is nearly another speaker's."""
FASTEST = 1.12
"""Speeds lie between one over this and this: pitch and formants move with it."""
COPIES = {"recipe": 2, "n_disturbed": N_DISTURBED_COPIES, "sped": SPED_CORPORA, "fastest": FASTEST}
"""What embeddings of a run are kept by, beside graph and manifest. The recipe's number goes up whenever this code, or
what disturbs in `training.distil`, would make other copies."""
N_WORKERS = 2


def voice_groups(recordings: Recordings, folds: Sequence[Split], shared: Split) -> NDArray[np.int64]:
    """Number of the group each recording belongs to: same part of every split, be it training, validation or test."""
    parts = np.zeros((len(recordings.rows), len(folds) + 1), dtype=np.int64)
    for column, split in enumerate((*folds, shared)):
        for number, part in enumerate((split.training, split.validation, split.test), start=1):
            parts[recordings.indices(part), column] = number
    groups: NDArray[np.int64] = np.unique(parts, axis=0, return_inverse=True)[1].reshape(-1)
    return groups


def embed_copies(
    graph: Path,
    recordings: Recordings,
    wanted: NDArray[np.int64],
    *,
    groups: NDArray[np.int64],
    folder: Path,
    audio: Path,
    seed: int = 0,
) -> Embeddings:
    """Embeddings of the recordings `wanted`: clean, disturbed, some sped; from `folder` when they are there.

    A recording that was not chosen to be sped has its clean embedding there; those not wanted hold zeros.

    Parameters
    ----------
    graph
        `encoder.tflite` as it is installed.
    groups
        Of `voice_groups`.
    audio
        Folder that the manifest's paths begin in: whole files are disturbed, then cut, so that heads learn from the
        cuts that noise makes in serving.
    """
    n_recordings = len(recordings.rows)
    corpora = np.array([row.corpus for row in recordings.rows])

    def disturbed_waveform(index: int, copy: int) -> Waveform:
        others = np.flatnonzero(groups == groups[index])
        rng = np.random.default_rng([seed + copy, 77, index])
        return disturb(recordings, index, others=others, rng=rng, audio=audio)

    def sped_waveform(index: int) -> Waveform:
        factor = float(FASTEST ** np.random.default_rng([seed, 78, index]).uniform(-1, 1))
        return augment.change_speed(recordings.waveform(index), factor=factor)

    def copy_of(clean: NDArray[np.float32], name: str, chosen: NDArray[np.int64], make: Callable[[int], Waveform]):
        copy = clean.copy()
        copy[chosen] = _embed(graph, recordings, chosen, make, path=folder / f"embeddings-{name}.npz")
        return copy

    nothing = np.zeros((n_recordings, LiteEncoder(graph).n_dims), dtype=np.float32)
    clean = copy_of(nothing, "clean", wanted, recordings.waveform)
    sped = copy_of(clean, "sped", wanted[np.isin(corpora[wanted], SPED_CORPORA)], sped_waveform)
    disturbed = [
        copy_of(clean, f"disturbed-{copy}", wanted, partial(disturbed_waveform, copy=copy))
        for copy in range(N_DISTURBED_COPIES)
    ]
    return Embeddings(clean=clean, disturbed=disturbed[0], further=(sped, *disturbed[1:]))


def _embed(
    graph: Path,
    recordings: Recordings,
    indices: NDArray[np.int64],
    waveform_of: Callable[[int], Waveform],
    *,
    path: Path,
) -> NDArray[np.float32]:
    """Embeddings (n_indices, n_dims), from `path` when it holds those of the same recordings."""
    if path.exists():
        with np.load(path) as stored:
            if np.array_equal(stored["indices"], indices):
                return stored["embeddings"]
    local = threading.local()

    def embed(index: np.int64) -> NDArray[np.float32]:
        if not hasattr(local, "encoder"):
            local.encoder = LiteEncoder(graph, n_threads=1)
        return local.encoder.embed(log_mel(waveform_of(int(index))))

    found: list[NDArray[np.float32]] = []
    with ThreadPoolExecutor(N_WORKERS) as pool, Progress(path.stem, len(indices)) as progress:
        for embedding in pool.map(embed, indices):
            found.append(embedding)
            progress.advance()
    embeddings = np.stack(found)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, embeddings=embeddings, indices=indices)
    part.replace(path)
    return embeddings
