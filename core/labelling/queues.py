"""Which clip comes next: the queues of a labelling project, and their mixture.

Conventions: a queue gives every clip a number; the clip with the largest is labelled next. All are deterministic: the
same clips, ratings and seed give the same order.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from core.domain import QueueKind, Sketch
from core.store.labelling import Clip


def kind_of_turn(turn: int, shares: Mapping[QueueKind, int]) -> QueueKind:
    """Which queue chooses the clip of turn number `turn`, so that after any number of turns shares are nearly kept.

    Each turn goes to the queue that is farthest behind its share; of several, to the one named first in `QueueKind`.

    >>> [kind_of_turn(turn, {QueueKind.UNCERTAIN: 75, QueueKind.RANDOM: 25}).value for turn in range(4)]
    ['uncertain', 'uncertain', 'random', 'uncertain']
    """
    kinds = [kind for kind in QueueKind if shares.get(kind, 0) > 0]
    counts = dict.fromkeys(kinds, 0)
    chosen = kinds[0]
    for done in range(turn % 100 + 1):
        chosen = max(kinds, key=lambda kind: (done + 1) * shares[kind] - 100 * counts[kind])
        counts[chosen] += 1
    return chosen


def random_rank(seed: int, recording_id: UUID) -> float:
    """A number in [0, 1) that depends on the seed and the recording alone."""
    digest = hashlib.sha256(f"{seed}\n{recording_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def disagreement(labels: Sequence[str]) -> float:
    """Entropy of the labels given to a clip so far, in nats; 0 for one or none.

    >>> round(disagreement(["sad", "calm"]), 4), disagreement(["sad", "sad"]), disagreement([])
    (0.6931, 0.0, 0.0)
    """
    counts = Counter(labels)
    n = len(labels)
    return abs(-sum(count / n * math.log(count / n) for count in counts.values())) if n else 0.0


def farthest_first(vectors: NDArray[np.float32], done: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of every row of `vectors` (n_clips, n_dims) from the nearest one that is done, (n_clips,).

    Taking the largest again and again is the greedy 2-approximation of the k-centre problem (Gonzalez 1985), used for
    active learning by Sener and Savarese (2018), "Active learning for convolutional neural networks: a core-set
    approach". Where nothing is done yet, it is the distance from the mean.
    """
    distances = np.zeros(len(vectors), np.float32)
    distances[~done] = _nearest(vectors[~done], vectors[done] if done.any() else vectors.mean(axis=0, keepdims=True))
    return distances


def _nearest(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance of every row of `vectors` from the nearest row of `centres`."""
    squares = np.full(len(vectors), np.inf, np.float32)
    lengths = (centres**2).sum(1)
    for start in range(0, len(centres), 256):
        some = slice(start, start + 256)
        np.minimum(squares, (lengths[some] - 2 * vectors @ centres[some].T).min(axis=1), out=squares)
    nearest: NDArray[np.float32] = np.sqrt(np.maximum(squares + (vectors**2).sum(1), 0))
    return nearest


def ranks(
    kind: QueueKind,
    clips: Sequence[Clip],
    *,
    labels: Mapping[UUID, Sequence[str]],
    seed: int,
    sketches: Mapping[UUID, Sketch] | None = None,
) -> NDArray[np.float64]:
    """The number that a queue gives each clip, (n_clips,); the largest is labelled next.

    Parameters
    ----------
    labels
        By recording, what it was called so far.
    sketches
        By recording, where it lies among the others, for the diverse queue.
    """
    if kind is QueueKind.UNCERTAIN:
        return np.array([clip.mutual_information_nats for clip in clips])
    if kind is QueueKind.LIKELY_WRONG:
        return np.array([1 - max(clip.probabilities.values(), default=0.0) for clip in clips])
    if kind is QueueKind.DISAGREEMENT:
        return np.array([disagreement(labels.get(clip.recording_id, ())) for clip in clips])
    if kind is QueueKind.DIVERSE:
        return Spread(clips, sketches or {}, done=labels.keys()).ranks()
    return np.array([random_rank(seed, clip.recording_id) for clip in clips])


class Spread:
    """Farthest first by embeddings; where clips have none, or of another encoder, each kind among its own.

    Of several kinds the one of which the smallest share is done comes first. Clips without an embedding are spread by
    the model's probabilities. Of 10,000 clips with 5,000 done, one more takes 2 ms; the distances of all anew take 50.
    """

    def __init__(self, clips: Sequence[Clip], sketches: Mapping[UUID, Sketch], *, done: Collection[UUID]) -> None:
        kinds: dict[str, list[Clip]] = {}
        self._places: dict[UUID, tuple[str, int]] = {}
        for clip in clips:
            sketch = sketches.get(clip.recording_id)
            kind = kinds.setdefault("" if sketch is None else sketch.encoder, [])
            self._places[clip.recording_id] = ("" if sketch is None else sketch.encoder, len(kind))
            kind.append(clip)
        self._kinds = {
            encoder: _Kind(
                _by_embedding(members, sketches) if encoder else _by_probabilities(members),
                np.array([clip.recording_id in done for clip in members]),
            )
            for encoder, members in kinds.items()
        }

    def add(self, recording_id: UUID) -> None:
        """Take a clip for done from now on."""
        if recording_id in self._places:
            encoder, number = self._places[recording_id]
            self._kinds[encoder].add(number)

    def ranks(self) -> NDArray[np.float64]:
        """The number of each clip, (n_clips,), in their order; the largest is labelled next."""
        least_done_last = sorted(self._kinds, key=lambda encoder: (-self._kinds[encoder].done.mean(), encoder))
        found = {
            encoder: place + self._kinds[encoder].distances / (1 + self._kinds[encoder].distances.max())
            for place, encoder in enumerate(least_done_last)
        }
        return np.array([found[encoder][number] for encoder, number in self._places.values()], np.float64)


class _Kind:
    """Clips that can be compared, and how far each is from the nearest one that is done."""

    def __init__(self, vectors: NDArray[np.float32], done: NDArray[np.bool_]) -> None:
        self._vectors, self.done = vectors, done
        self.distances = farthest_first(vectors, done)

    def add(self, number: int) -> None:
        is_first = not self.done.any()
        self.done[number] = True
        nearest = _nearest(self._vectors, self._vectors[[number]])
        self.distances = nearest if is_first else np.minimum(self.distances, nearest)
        self.distances[self.done] = 0


def _by_embedding(clips: Sequence[Clip], sketches: Mapping[UUID, Sketch]) -> NDArray[np.float32]:
    """Directions from the mean: farthest first by lengths as well takes the odd clips one after another.

    In benchmarks/queues.py that cost 2.7 points of UAR at 240 labels; directions gain 1.1 there (docs/queues.md).
    """
    numbers = np.stack([np.frombuffer(sketches[clip.recording_id].numbers, "<f2") for clip in clips])
    centred = numbers.astype(np.float32) - numbers.mean(axis=0, dtype=np.float32)
    directions: NDArray[np.float32] = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return directions


def _by_probabilities(clips: Sequence[Clip]) -> NDArray[np.float32]:
    emotions = sorted({emotion for clip in clips for emotion in clip.probabilities})
    return np.array([[clip.probabilities.get(emotion, 0.0) for emotion in emotions] for clip in clips], np.float32)
