"""Corrections to learn from: which recording, how likely which emotion, by whom it is spoken.

Three forms are read. CSV with the columns `path` and either `label` or one column for each emotion (shares of the
ratings; whatever they sum to); JSON lines with `path` and either `label` or `probabilities`; both may say `speaker`,
`recording_id` and `weight`. And `.npz` as `write_corrections` makes it, which holds embeddings instead of paths: so a
workbench hands over what it learnt to hear, and no sound leaves its recordings.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from core.domain import Emotion
from core.evaluation.label_shares import label_shares
from core.inference.recogniser import Recogniser
from training.corpora import Problem
from training.embedded import embed_files
from training.errors import ManifestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One row of a manifest of corrections."""

    path: str
    shares: Mapping[Emotion, float]
    """By emotion, above 0, sum to 1."""
    speaker: str = ""
    recording_id: UUID | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Corrections as a head learns from them."""

    embeddings: NDArray[np.float32]
    shares: NDArray[np.float32]
    """(n_clips, n_emotions) in the order of `Emotion`; rows sum to 1."""
    weights: NDArray[np.float32]
    speakers: tuple[str, ...]
    recording_ids: tuple[str, ...]
    """Empty where a recording has none."""

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def sha256(self) -> str:
        """Of all that a head learns."""
        digest = hashlib.sha256()
        for array in (self.embeddings, self.shares, self.weights):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def read_corrections(path: Path) -> tuple[list[Correction], list[Problem]]:
    """Rows of a CSV or JSON-lines manifest, and those that could not be used.

    Raises
    ------
    ManifestError
        There is no such file, or it is neither.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        records = _json_lines(text) if path.suffix in (".jsonl", ".ndjson") else list(csv.DictReader(text.splitlines()))
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise ManifestError(path, str(error)) from error
    rows: list[Correction] = []
    problems: list[Problem] = []
    for number, record in enumerate(records, start=1):
        try:
            rows.append(_correction(record))
        except (ValueError, TypeError, AttributeError) as error:
            problems.append(Problem(path=str(record.get("path") or ""), reason=f"row {number}: {error}"))
    return rows, problems


def embed_corrections(
    rows: Sequence[Correction],
    recogniser: Recogniser,
    read: Callable[[str], bytes],
    *,
    cache: Path | None = None,
    advance: Callable[[int], None] = lambda n_done: None,
) -> tuple[Corrections, list[Problem]]:
    """What the encoder says of the recordings of `rows`, and those that could not be heard."""
    by_path = {row.path: row for row in rows}
    embedded = embed_files(recogniser, list(by_path), read, cache=cache, advance=advance)
    good = [by_path[name] for name in embedded.names]
    corrections = Corrections(
        embeddings=embedded.embeddings,
        shares=np.array([[row.shares.get(emotion, 0.0) for emotion in Emotion] for row in good], np.float32).reshape(
            -1, len(Emotion)
        ),
        weights=np.array([row.weight for row in good], np.float32),
        speakers=tuple(row.speaker for row in good),
        recording_ids=tuple("" if row.recording_id is None else str(row.recording_id) for row in good),
    )
    return corrections, list(embedded.problems)


def write_corrections(file: Path, corrections: Corrections) -> None:
    """Write what `load_corrections` reads."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    with partial.open("wb") as opened:
        np.savez(
            opened,
            embeddings=corrections.embeddings,
            shares=corrections.shares,
            weights=corrections.weights,
            speakers=np.array(corrections.speakers, np.str_),
            recording_ids=np.array(corrections.recording_ids, np.str_),
        )
    partial.replace(file)


def load_corrections(file: Path) -> Corrections:
    """Corrections with their embeddings.

    Raises
    ------
    ManifestError
        It is no such file.
    """
    try:
        with np.load(file) as kept:
            return Corrections(
                embeddings=kept["embeddings"],
                shares=kept["shares"],
                weights=kept["weights"],
                speakers=tuple(kept["speakers"].tolist()),
                recording_ids=tuple(kept["recording_ids"].tolist()),
            )
    except (OSError, KeyError, ValueError) as error:
        raise ManifestError(file, str(error)) from error


def _json_lines(text: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("every line must hold one object")
    return records


def _correction(record: Mapping[str, Any]) -> Correction:
    path = str(record.get("path") or "").strip()
    if not path:
        raise ValueError("path is empty")
    weight = float(record.get("weight") or 1.0)
    if not 0 < weight < math.inf:
        raise ValueError(f"weight is {weight:g}, not a positive number")
    recording_id = str(record.get("recording_id") or "")
    return Correction(
        path=path,
        shares=label_shares(record),
        speaker=str(record.get("speaker") or "").strip(),
        recording_id=UUID(recording_id) if recording_id else None,
        weight=weight,
    )
