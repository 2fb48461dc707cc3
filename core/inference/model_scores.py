"""What a model's card says of how well it does: each score with its protocol, and what to bear in mind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DamagedModelError
from core.inference.registry import CARD

_WHOLE = "pooled"
"""The group of a judgement that holds all its recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A share with its 95 % interval, all in [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScore:
    """One judgement over all its recordings. A score means nothing without its protocol."""

    title: str
    protocol: str
    n_recordings: int
    n_speakers: int
    accuracy: Measured
    unweighted_average_recall: Measured
    expected_calibration_error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScores:
    """All that a card says on the matter; empty where it says nothing."""

    protocol: str
    """How the scores relate to the weights that ship."""
    scores: tuple[ModelScore, ...]
    caveats: tuple[str, ...]


def read_model_scores(folder: Path) -> ModelScores:
    """The scores and caveats of the card in `folder`.

    Raises
    ------
    DamagedModelError
        The card cannot be read, or a score lacks something.
    """
    try:
        fields = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return ModelScores(
            protocol=str(fields.get("protocol", "")),
            scores=tuple(_score(entry) for entry in fields.get("scores") or [] if entry.get("groups")),
            caveats=tuple(map(str, fields.get("caveats") or [])),
        )
    except (OSError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise DamagedModelError(folder.name, f"the scores in {CARD} cannot be read ({error!r})") from error


def _score(entry: Mapping[str, Any]) -> ModelScore:
    groups: Sequence[Mapping[str, Any]] = entry["groups"]
    whole = next((group for group in groups if group["kind"] == _WHOLE), groups[0])
    calibration = whole.get("expected_calibration_error")
    return ModelScore(
        title=str(entry["title"]),
        protocol=str(entry["protocol"]),
        n_recordings=int(whole["n_recordings"]),
        n_speakers=int(whole["n_speakers"]),
        accuracy=_measured(whole["accuracy"]),
        unweighted_average_recall=_measured(whole["unweighted_average_recall"]),
        expected_calibration_error=None if calibration is None else float(calibration),
    )


def _measured(fields: Mapping[str, Any]) -> Measured:
    return Measured(value=float(fields["value"]), low=float(fields["low"]), high=float(fields["high"]))
