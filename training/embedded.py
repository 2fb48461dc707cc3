"""What a model's own encoder says of recordings, computed once: all that a head ever learns from.

The encoder is the exported one and the way is that of serving (decode, speech span, log-mel, encoder), so that a head
fitted to these numbers meets the same ones when it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.config import Settings
from core.errors import AudioError
from core.inference.embedding import embed_recording
from core.inference.recogniser import Recogniser
from training.corpora import Problem

N_PER_CHECKPOINT = 200
"""Recordings after which the cache is written: some ten seconds of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Embeddings of recordings, in the order they were asked for; those that could not be read are problems."""

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    """(n_recordings, n_dims); of a recording longer than the encoder takes at once, the mean over its windows."""
    problems: tuple[Problem, ...]


def embed_files(
    recogniser: Recogniser,
    names: Sequence[str],
    read: Callable[[str], bytes],
    *,
    cache: Path | None = None,
    advance: Callable[[int], None] = lambda n_done: None,
) -> Embedded:
    """Embeddings of the recordings called `names`.

    Parameters
    ----------
    read
        Gives the bytes of a recording; an `OSError` makes it a problem.
    cache
        File to keep them in as they come: stopped or killed, the same call goes on where it was. Embeddings of another
        model version are made again.
    advance
        Told after each recording how many are done.
    """
    known = _read_cache(cache, recogniser.card.version)
    problems: list[Problem] = []
    n_new = 0
    for number, name in enumerate(names, start=1):
        if name not in known:
            try:
                known[name] = embed_recording(recogniser, read(name), settings=Settings())
                n_new += 1
            except (AudioError, OSError) as error:
                problems.append(
                    Problem(
                        path=name, reason=(error.strerror or str(error)) if isinstance(error, OSError) else str(error)
                    )
                )
            if cache is not None and n_new and n_new % N_PER_CHECKPOINT == 0:
                _write_cache(cache, recogniser.card.version, known)
        advance(number)
    if cache is not None and n_new:
        _write_cache(cache, recogniser.card.version, known)
    good = tuple(name for name in names if name in known)
    n_dims = recogniser.parameters.n_dims
    stacked = np.stack([known[name] for name in good]) if good else np.zeros((0, n_dims), np.float32)
    return Embedded(names=good, embeddings=stacked, problems=tuple(problems))


def _read_cache(cache: Path | None, version: str) -> dict[str, NDArray[np.float32]]:
    if cache is None or not cache.exists():
        return {}
    with np.load(cache) as stored:
        if str(stored["version"]) != version:
            return {}
        return dict(zip(stored["names"].tolist(), stored["embeddings"], strict=True))


def _write_cache(cache: Path, version: str, known: dict[str, NDArray[np.float32]]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_name(cache.name + ".part")
    with partial.open("wb") as file:
        np.savez(file, version=version, names=np.array(list(known)), embeddings=np.stack(list(known.values())))
    partial.replace(cache)
