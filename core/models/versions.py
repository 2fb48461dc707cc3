"""Every model version at hand, with where it comes from and what it is worth. Its card is the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.config import Settings
from core.domain import ModelCard
from core.errors import DamagedModelError, ModelError, StoreError
from core.evaluation.gate import Comparison, Gate
from core.inference.registry import CARD, ENCODER, model_folders, read_card


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRound:
    """One point of a training curve."""

    number: int
    loss_nats: float
    validation_uar: float | None
    """Unweighted average recall on validation speakers; None where there are none."""
    corrections_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """How a version was made of another."""

    parent: str
    """Version of it."""
    parent_name: str
    author: str
    source: str
    n_corrections: int
    n_epochs: int
    learning_rate: float
    correction_share: float
    gate: Gate
    rounds: tuple[TrainingRound, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One model at hand."""

    card: ModelCard
    folder: Path
    is_shipped: bool
    """Whether it came with Telepathy."""
    can_be_retrained: bool
    retrained: Retrained | None
    """None for what was not made by a retraining."""


def read_versions(settings: Settings) -> tuple[list[ModelVersion], list[ModelError]]:
    """Every version that is whole, the newest first, and what is wrong with the others."""
    found: list[ModelVersion] = []
    problems: list[ModelError] = []
    for folder in model_folders(settings.models_dir, settings.installed_models_dir).values():
        try:
            found.append(read_version(folder, settings))
        except ModelError as problem:
            problems.append(problem)
    return sorted(found, key=lambda version: version.card.created_at, reverse=True), problems


def read_version(folder: Path, settings: Settings) -> ModelVersion:
    """The version in `folder`.

    Raises
    ------
    DamagedModelError
        It is not whole.
    """
    card = read_card(folder, installed_dir=settings.installed_models_dir)
    try:
        fields = json.loads((folder / CARD).read_text(encoding="utf-8"))
        made = fields.get("retraining")
        retrained = None if made is None else _retrained(made, fields["data"]["corrections"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedModelError(folder.name, f"its retraining cannot be read in {CARD} ({error!r})") from error
    return ModelVersion(
        card=card,
        folder=folder,
        is_shipped=folder.parent == settings.models_dir,
        can_be_retrained=(folder / ENCODER).is_file() and "encoder" not in fields,
        retrained=retrained,
    )


def rename_author(settings: Settings, author: str, name: str) -> None:
    """Have cards of models that `author` had made by a retraining say `name` instead.

    Raises
    ------
    StoreError
        A card cannot be written.
    """
    for card in sorted(settings.installed_models_dir.glob(f"*/{CARD}")):
        try:
            fields = json.loads(card.read_text(encoding="utf-8"))
            if fields["retraining"]["author"] != author:
                continue
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no retraining made it, or nobody can read it: `read_versions` says so
        fields["retraining"]["author"] = name
        unfinished = card.with_name(f"{CARD}.part")
        try:
            unfinished.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
            unfinished.replace(card)
        except OSError as error:
            raise StoreError(f"changing {card}", error.strerror or str(error)) from error


def read_rounds(file: Path) -> tuple[TrainingRound, ...]:
    """The curve so far of a retraining that runs; empty before its last fit begins."""
    try:
        return _rounds(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError):
        return ()


def _retrained(made: Mapping[str, Any], corrections: Mapping[str, Any]) -> Retrained:
    plan = made["plan"]
    return Retrained(
        parent=str(made["parent"]),
        parent_name=str(made["parent_name"]),
        author=str(made["author"]),
        source=str(corrections["source"]),
        n_corrections=int(corrections["n_recordings"]),
        n_epochs=int(plan["n_epochs"]),
        learning_rate=float(plan["learning_rate"]),
        correction_share=float(plan["correction_share"]),
        gate=Gate(test=_comparison(made["gate"]["test"]), corrections=_comparison(made["gate"]["corrections"])),
        rounds=_rounds(made["rounds"]),
    )


def _comparison(fields: Mapping[str, Any]) -> Comparison:
    """Null stands for what could not be compared."""
    nowhere = float("nan")
    values = {
        name: nowhere if fields[name] is None else float(fields[name])
        for name in Comparison.__dataclass_fields__
        if name != "n_clips"
    }
    return Comparison(n_clips=int(fields["n_clips"]), **values)


def _rounds(rounds: list[Mapping[str, Any]]) -> tuple[TrainingRound, ...]:
    return tuple(
        TrainingRound(
            number=int(one["round"]),
            loss_nats=float(one["loss_nats"]),
            validation_uar=None if one.get("validation_uar") is None else float(one["validation_uar"]),
            corrections_accuracy=float(one["corrections_accuracy"]),
        )
        for one in rounds
    )
