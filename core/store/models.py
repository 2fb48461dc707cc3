"""Deployments as a ledger, and what models in the shadow say. No person's rows: which model answers concerns everybody,
and a comparison counts answers without saying whose."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, update

from core.domain import Label, Reader, label_of
from core.identifiers import new_id
from core.store.engine import Store
from core.store.recordings import places_of
from core.store.schema import model_events, shadow_answers


class ModelEventKind(enum.StrEnum):
    """What happened to a model."""

    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled_back"
    SHADOWED = "shadowed"
    """Answers in the shadow from then on, instead of any other."""
    UNSHADOWED = "unshadowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """One line of the ledger."""

    id: UUID
    happened_at: datetime
    event: ModelEventKind
    model: str
    """Name of the model: that which answers from then on, or that in the shadow."""
    version: str
    actor_id: UUID | None
    actor: str
    reason: str
    """Why it was deployed although the gate said no; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAnswer:
    """What the champion and a model in the shadow said of one clip."""

    prediction_id: UUID
    recording_id: UUID
    answered_at: datetime
    champion_version: str
    champion_emotion: Label
    champion_confidence: float
    shadow_version: str
    probabilities: Mapping[Label, float]
    """Of the model in the shadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowCount:
    """How often champion and shadow said what."""

    champion_emotion: Label
    shadow_emotion: Label
    n_answers: int
    champion_confidence: float
    """Mean."""
    shadow_confidence: float


def insert_model_event(
    store: Store,
    *,
    event: ModelEventKind,
    model: str,
    version: str,
    actor_id: UUID | None,
    actor: str,
    reason: str,
    happened_at: datetime,
) -> ModelEvent:
    """Append to the ledger."""
    happened = ModelEvent(
        id=new_id(),
        happened_at=happened_at,
        event=event,
        model=model,
        version=version,
        actor_id=actor_id,
        actor=actor,
        reason=reason,
    )
    row = {name: getattr(happened, name) for name in ModelEvent.__dataclass_fields__}
    store.append("keeping which model answers", (model_events, [row]))
    return happened


def update_model_events_of(store: Store, *, user_id: UUID) -> None:
    """Name somebody by their id from now on: the one change of the ledger, made when their account is deleted."""
    theirs = update(model_events).where(model_events.c.actor_id == user_id)
    with store.transaction("forgetting who deployed models") as connection:
        connection.execute(theirs.values(actor=str(user_id)))


def select_model_events(store: Store, *, reader: Reader) -> list[ModelEvent]:
    """The whole ledger, oldest first: a line for each deployment, read by everybody alike."""
    del reader
    statement = select(model_events).order_by(model_events.c.happened_at, model_events.c.id)
    with store.transaction("reading which model answers") as connection:
        return [_event(row) for row in connection.execute(statement)]


def insert_shadow_answer(store: Store, *, answer: ShadowAnswer) -> bool:
    """Keep what a model in the shadow said; False where the recording was deleted meanwhile."""
    top, confidence = max(answer.probabilities.items(), key=lambda pair: pair[1])
    row = {
        "prediction_id": answer.prediction_id,
        "recording_id": answer.recording_id,
        "answered_at": answer.answered_at,
        "champion_version": answer.champion_version,
        "champion_emotion": answer.champion_emotion,
        "champion_confidence": answer.champion_confidence,
        "shadow_version": answer.shadow_version,
        "shadow_emotion": top,
        "shadow_confidence": confidence,
        "probabilities": json.dumps(dict(answer.probabilities)),
    }
    with store.transaction("keeping what a model in the shadow said") as connection:
        if not places_of(connection, recording_ids=[answer.recording_id], keeps_them=store.backend == "postgresql"):
            return False
        store.append_within(connection, (shadow_answers, [row]))
    return True


def count_shadow_answers(
    store: Store, *, shadow_version: str, champion_version: str, reader: Reader
) -> list[ShadowCount]:
    """How often champion and shadow said what, over everybody's clips alike."""
    del reader
    columns = shadow_answers.c
    statement = (
        select(
            columns.champion_emotion,
            columns.shadow_emotion,
            func.count(),
            func.avg(columns.champion_confidence),
            func.avg(columns.shadow_confidence),
        )
        .where(columns.shadow_version == shadow_version, columns.champion_version == champion_version)
        .group_by(columns.champion_emotion, columns.shadow_emotion)
    )
    with store.transaction("comparing a model in the shadow") as connection:
        rows = connection.execute(statement).all()
    return [
        ShadowCount(
            champion_emotion=label_of(row[0]),
            shadow_emotion=label_of(row[1]),
            n_answers=row[2],
            champion_confidence=float(row[3]),
            shadow_confidence=float(row[4]),
        )
        for row in rows
    ]


def _event(row: Row[Any]) -> ModelEvent:
    return ModelEvent(
        id=row.id,
        happened_at=row.happened_at,
        event=ModelEventKind(row.event),
        model=row.model,
        version=row.version,
        actor_id=row.actor_id,
        actor=row.actor,
        reason=row.reason,
    )
