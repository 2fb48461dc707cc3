"""A sample of what a model learnt from, as embeddings: what a retraining replays where no corpus is at hand.

`base.npz` beside a model's card holds embeddings of some thousand recordings in whole steps of 1/16, their emotions,
speakers and corpora, and which part each belongs to. Parts share no speaker: `replay` is learnt from again,
`validation` sets the temperature, `test` is what the gate asks. No sound can be made of an embedding: it is mean and
deviation over time of 768 numbers. Only corpora whose licences let changed forms be passed on are in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.domain import Emotion
from core.inference.registry import ENCODER
from training.corpora import ManifestRow
from training.embedded import Embedded

BASE = "base.npz"
SHAREABLE_LICENCES = frozenset({"ODbL 1.0", "CC BY-NC-SA 4.0"})
"""TESS (no derivatives) and SAVEE (research only) stay out: what is known of them is kept by the pull to the parent."""
PARTS = ("replay", "validation", "test")
SHARES = (0.6, 0.15, 0.25)
STEP = 1 / 16
"""A sixteenth of a standard deviation; embeddings are cut at 8, which is 128 steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSample:
    """One part of the sample."""

    embeddings: NDArray[np.float32]
    emotions: NDArray[np.int64]
    """Positions in `Emotion`."""
    speakers: tuple[str, ...]
    corpora: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.emotions)


def make_base_sample(
    rows: Sequence[ManifestRow], embedded: Embedded, *, folder: Path, n_recordings: int, seed: int = 0
) -> int:
    """Write `base.npz` into a model's folder; gives how many recordings it holds.

    Parameters
    ----------
    rows
        Recordings that the model learnt from; those in `embedded` whose licence lets them be shared are drawn from.
    """
    position = {name: number for number, name in enumerate(embedded.names)}
    usable = [row for row in rows if row.path in position and row.licence in SHAREABLE_LICENCES]
    generator = np.random.default_rng(seed)
    groups = [(row.corpus, row.emotion) for row in usable]
    # Every corpus and emotion alike, as far as there is enough of it.
    order = generator.permutation(len(usable))
    rank: dict[tuple[str, Emotion], int] = {}
    ranked: list[tuple[int, int]] = []
    for index in order:
        rank[groups[index]] = rank.get(groups[index], 0) + 1
        ranked.append((rank[groups[index]], int(index)))
    chosen = sorted(index for _, index in sorted(ranked)[:n_recordings])
    drawn = [usable[index] for index in chosen]
    part_of = _parts(drawn, generator)
    codes = np.round(embedded.embeddings[[position[row.path] for row in drawn]] / STEP)
    order_of = {emotion: number for number, emotion in enumerate(Emotion)}
    partial = folder / f"{BASE}.part"
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            encoder_sha256=_encoder_sha256(folder),
            codes=np.clip(codes, -127, 127).astype(np.int8),
            emotions=np.array([order_of[row.emotion] for row in drawn], np.int8),
            speakers=np.array([row.speaker for row in drawn]),
            corpora=np.array([row.corpus for row in drawn]),
            parts=np.array([part_of[row.speaker] for row in drawn], np.int8),
        )
    partial.replace(folder / BASE)
    return len(drawn)


def read_base_sample(folder: Path) -> dict[str, BaseSample]:
    """By part; empty parts where the model ships no sample, or one of another encoder."""
    file = folder / BASE
    if file.exists():
        with np.load(file) as kept:
            if str(kept["encoder_sha256"]) == _encoder_sha256(folder):
                return {part: _part(kept, number) for number, part in enumerate(PARTS)}
    nothing = BaseSample(
        embeddings=np.zeros((0, 0), np.float32), emotions=np.zeros(0, np.int64), speakers=(), corpora=()
    )
    return dict.fromkeys(PARTS, nothing)


def _part(kept: np.lib.npyio.NpzFile, number: int) -> BaseSample:
    inside = kept["parts"] == number
    return BaseSample(
        embeddings=kept["codes"][inside].astype(np.float32) * np.float32(STEP),
        emotions=kept["emotions"][inside].astype(np.int64),
        speakers=tuple(kept["speakers"][inside].tolist()),
        corpora=tuple(kept["corpora"][inside].tolist()),
    )


def _parts(rows: Sequence[ManifestRow], generator: np.random.Generator) -> dict[str, int]:
    """Part of every speaker; each corpus is split by its own speakers."""
    found: dict[str, int] = {}
    for corpus in sorted({row.corpus for row in rows}):
        speakers = generator.permutation(sorted({row.speaker for row in rows if row.corpus == corpus})).tolist()
        bounds = np.round(np.cumsum(SHARES) * len(speakers))
        found |= {
            speaker: int(np.searchsorted(bounds, number, side="right")) for number, speaker in enumerate(speakers)
        }
    return found


def _encoder_sha256(folder: Path) -> str:
    return hashlib.sha256((folder / ENCODER).read_bytes()).hexdigest()
