"""Every model version at hand, with where it comes from and what it is worth. Its card is the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.config import Settings
from core.domain import ModelCard, own_labels
from core.errors import DamagedModelError, ModelError, StoreError
from core.evaluation.gate import Comparison, Gate
from core.inference.registry import CARD, ENCODER, model_folders, read_card

HEAD_ONLY = "head"
"""The network of a model of somebody's own that is a new head on the encoder of another model."""


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
class CustomRound:
    """One point of the curve of a model of somebody's own."""

    number: int
    loss_nats: float
    training_uar: float
    """Mean recall of the clips it learns from."""
    validation_uar: float
    """Of clips it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomTrained:
    """How a version was made of somebody's own data set."""

    author: str
    data_set: str
    parent: str
    """Version of the model whose encoder hears; empty where all was learnt from random weights."""
    network: str
    protocol: str
    n_clips: int
    n_speakers: int
    n_epochs: int
    learning_rate: float
    augmentations: tuple[str, ...]
    labels: Mapping[str, int]
    """How many clips of each."""
    rounds: tuple[CustomRound, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Clips that were judged: rows are their labels in the order of the card's, columns what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntCorpus:
    """A corpus that a version learnt from, itself or as the one it was made of."""

    name: str
    n_recordings: int
    n_speakers: int
    hours: float
    licence: str


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
    trained: CustomTrained | None = None
    """None for what was not made of somebody's own data set."""
    has_own_encoder: bool = True
    """Whether other heads can be put on its encoder."""
    corpora: tuple[LearntCorpus, ...] = ()
    """Of recordings that came with their labels; none for what was learnt from somebody's own data set alone."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """How it learnt, by the names of the card: that of the retraining or training, where there was one."""


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
        trained = _trained(fields["training"], fields["data"]) if "training" in fields else None
        corpora = tuple(_corpus(name, found) for name, found in fields.get("data", {}).get("corpora", {}).items())
        learning = _settings(fields["training"] if trained else made["plan"] if made else fields.get("head", {}))
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedModelError(folder.name, f"its data or training cannot be read in {CARD} ({error!r})") from error
    has_own_encoder = (
        (folder / ENCODER).is_file() and "encoder" not in fields and (trained is None or trained.network == HEAD_ONLY)
    )
    return ModelVersion(
        card=card,
        folder=folder,
        is_shipped=folder.parent == settings.models_dir,
        can_be_retrained=has_own_encoder and not own_labels(card.emotions),
        retrained=retrained,
        trained=trained,
        has_own_encoder=has_own_encoder,
        corpora=corpora,
        settings=learning,
    )


def card_json(version: ModelVersion) -> str:
    """The card as it is kept, whole. Raises DamagedModelError."""
    try:
        return (version.folder / CARD).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DamagedModelError(version.card.name, f"{CARD} cannot be read ({error!r})") from error


def _corpus(name: str, found: Mapping[str, Any]) -> LearntCorpus:
    return LearntCorpus(
        name=name,
        n_recordings=int(found["n_recordings"]),
        n_speakers=int(found["n_speakers"]),
        hours=float(found["hours"]),
        licence=str(found["licence"]),
    )


def _settings(plan: Mapping[str, Any]) -> dict[str, str]:
    """
    >>> _settings({"is_masked": False, "dropout_rates": [0.2, 0.5], "augmentations": {"noise": 0.5}, "rounds": [{}]})
    {'is_masked': 'no', 'dropout_rates': '0.2, 0.5', 'augmentations': 'noise 0.5'}
    """
    return {name: said for name, value in plan.items() if name not in _NO_SETTINGS and (said := _said(value))}


_NO_SETTINGS = ("author", "parent", "rounds", "confusion")


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def rename_author(settings: Settings, author: str, name: str) -> None:
    """Have cards of models that `author` had made say `name` instead.

    Raises
    ------
    StoreError
        A card cannot be written.
    """
    for card in sorted(settings.installed_models_dir.glob(f"*/{CARD}")):
        try:
            fields = json.loads(card.read_text(encoding="utf-8"))
            made = fields["training" if "training" in fields else "retraining"]
            if made["author"] != author:
                continue
        except (OSError, ValueError, KeyError, TypeError):
            continue  # nobody here made it, or nobody can read it: `read_versions` says so
        made["author"] = name
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


def read_custom_rounds(file: Path) -> tuple[CustomRound, ...]:
    """The curve so far of a training that runs; empty before its last fit begins."""
    try:
        return _custom_rounds(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError):
        return ()


def _trained(made: Mapping[str, Any], data: Mapping[str, Any]) -> CustomTrained:
    return CustomTrained(
        author=str(made["author"]),
        data_set=str(data["data_set"]),
        parent=str(made["parent"]),
        network=str(made["network"]),
        protocol=str(made["protocol"]),
        n_clips=int(data["n_recordings"]),
        n_speakers=int(data["n_speakers"]),
        n_epochs=int(made["n_epochs"]),
        learning_rate=float(made["learning_rate"]),
        augmentations=tuple(made["augmentations"]),
        labels={str(label): int(count) for label, count in data["labels"].items()},
        rounds=_custom_rounds(made["rounds"]),
        confusion=tuple(tuple(int(count) for count in row) for row in made["confusion"]),
    )


def _custom_rounds(rounds: list[Mapping[str, Any]]) -> tuple[CustomRound, ...]:
    return tuple(
        CustomRound(
            number=int(one["round"]),
            loss_nats=float(one["loss_nats"]),
            training_uar=float(one["training_uar"]),
            validation_uar=float(one["validation_uar"]),
        )
        for one in rounds
    )


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
