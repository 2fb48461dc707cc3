"""Batches: what was sent, and what became of each recording. Whoever asks sees their own and their projects'."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Row, Select, and_, case, cast, delete, func, select

from core.domain import (
    Batch,
    BatchItem,
    BatchOutcome,
    Emotion,
    Interval,
    Label,
    Prediction,
    Reader,
    Source,
    UsageEvent,
    in_order,
    label_of,
)
from core.errors import InvalidParameterError
from core.store.blindfolds import unveiled
from core.store.engine import Store, try_again
from core.store.own_labels import own_probabilities_of
from core.store.predictions import insert_predictions
from core.store.schema import batch_items, batch_outcomes, batches, predictions, probability_column
from core.store.usage import ConfidenceBin, usage_rows
from core.store.visibility import owned, visible

MAX_PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """How many recordings of a batch are done."""

    n_scored: int = 0
    n_repeats: int = 0
    """Of those scored, how many were answered from an earlier answer."""
    n_problems: int = 0
    audio_s: float = 0.0
    """Seconds of sound in those scored."""
    last_at: datetime | None = None
    """When the last of them was done."""

    @property
    def n_done(self) -> int:
        """Scored or refused."""
        return self.n_scored + self.n_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One recording of a batch that is done: its answer, or its problem."""

    position: int
    name: str
    location: str
    finished_at: datetime
    is_repeat: bool
    problem_code: str
    """Empty where there is an answer."""
    problem: str
    recording_id: UUID | None
    prediction_id: UUID | None
    """None where there is a problem, or the prediction was deleted since."""
    emotion: Label | None
    confidence: float | None
    abstained: bool | None
    probabilities: dict[Label, float]
    """Empty where there is no prediction."""
    predictive_entropy_nats: float | None
    duration_s: float | None
    model_version: str | None
    n_passes: int | None


def insert_batch(store: Store, *, batch: Batch, items: Sequence[BatchItem]) -> Batch:
    """Keep a batch with all its items."""
    row = {
        "id": batch.id,
        "owner_id": batch.owner_id,
        "project_id": batch.project_id,
        "name": _storable(batch.name),
        "source": batch.source.value,
        "n_items": batch.n_items,
        "n_passes": batch.n_passes,
        "timeline": batch.timeline,
        "model": batch.model,
        "plan": batch.plan,
        "key_id": batch.key_id,
        "route": batch.route,
        "method": batch.method,
        "request_id": batch.request_id,
        "address": batch.address,
        "created_at": batch.created_at,
    }
    rows = [
        {
            "batch_id": batch.id,
            "position": item.position,
            "name": _storable(item.name),
            "sha256": item.sha256,
            "location": item.location,
        }
        for item in items
    ]
    store.append("keeping a batch", (batches, [row]), (batch_items, rows))
    return batch


def _storable(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def insert_batch_outcomes(
    store: Store,
    *,
    batch: Batch,
    outcomes: Sequence[BatchOutcome],
    predictions: Sequence[Prediction] = (),
    events: Sequence[UsageEvent] = (),
) -> None:
    """Append what became of some items, the predictions among it and their lines of the usage ledger: all or nothing.

    Raises
    ------
    UnknownRecordingError
        A recording was deleted meanwhile.
    StoreError
        One of the items has its outcome already, or the database refused.
    """
    rows = [
        {
            "batch_id": batch.id,
            "position": outcome.position,
            "owner_id": batch.owner_id,
            "recording_id": outcome.recording_id,
            "prediction_id": outcome.prediction_id,
            "fingerprint": outcome.fingerprint,
            "is_repeat": outcome.is_repeat,
            "problem_code": outcome.problem_code,
            "problem": outcome.problem,
            "finished_at": outcome.finished_at,
        }
        for outcome in outcomes
    ]
    beside = [(batch_outcomes, rows), usage_rows(events)]
    if predictions:
        insert_predictions(store, predictions=predictions, beside=beside)
    else:
        store.append("keeping the outcome of a batch", *beside)


def select_batch(store: Store, *, batch_id: UUID, reader: Reader) -> Batch | None:
    """The batch with this id."""
    statement = select(batches).where(batches.c.id == batch_id, visible(reader, batches))
    with store.transaction("reading a batch") as connection:
        row = connection.execute(statement).one_or_none()
    return None if row is None else _batch(row)


def select_batches(store: Store, *, reader: Reader, limit: int = 50, before: UUID | None = None) -> list[Batch]:
    """Batches, newest first; those before the one with the id `before`."""
    _require_limit(limit)
    statement = select(batches).where(visible(reader, batches)).order_by(batches.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(batches.c.id < before)
    with store.transaction("reading batches") as connection:
        return [_batch(row) for row in connection.execute(statement)]


def select_unfinished_batches(store: Store, *, reader: Reader) -> list[Batch]:
    """Batches that have items without an outcome, oldest first."""
    n_done = select(func.count()).where(batch_outcomes.c.batch_id == batches.c.id).scalar_subquery()
    statement = select(batches).where(visible(reader, batches), n_done < batches.c.n_items).order_by(batches.c.id)
    with store.transaction("reading batches") as connection:
        return [_batch(row) for row in connection.execute(statement)]


def select_batch_progress(store: Store, *, batch_ids: Collection[UUID], reader: Reader) -> dict[UUID, BatchProgress]:
    """How far batches are, by id."""
    if not batch_ids:
        return {}
    columns = batch_outcomes.c
    is_scored = columns.problem_code == ""
    statement = (
        select(
            columns.batch_id,
            func.count().label("n_done"),
            func.sum(case((is_scored, 1), else_=0)).label("n_scored"),
            func.sum(case((and_(is_scored, columns.is_repeat), 1), else_=0)).label("n_repeats"),
            func.coalesce(func.sum(predictions.c.duration_s), 0.0).label("audio_s"),
            func.max(columns.finished_at).label("last_at"),
        )
        .select_from(batch_outcomes.outerjoin(predictions, predictions.c.id == columns.prediction_id))
        .where(columns.batch_id.in_(_ids_of(reader).where(batches.c.id.in_(batch_ids))))
        .group_by(columns.batch_id)
    )
    with store.transaction("reading how far batches are") as connection:
        rows = connection.execute(statement).all()
    return {
        row.batch_id: BatchProgress(
            n_scored=int(row.n_scored),
            n_repeats=int(row.n_repeats),
            n_problems=int(row.n_done - row.n_scored),
            audio_s=float(row.audio_s),
            last_at=row.last_at,
        )
        for row in rows
    }


def select_waiting_items(store: Store, *, batch_id: UUID, reader: Reader) -> list[BatchItem]:
    """The items of a batch that have no outcome yet, in their order."""
    done = select(batch_outcomes.c.position).where(batch_outcomes.c.batch_id == batch_id)
    statement = (
        select(batch_items)
        .where(
            batch_items.c.batch_id.in_(_ids_of(reader).where(batches.c.id == batch_id)),
            batch_items.c.position.not_in(done),
        )
        .order_by(batch_items.c.position)
    )
    with store.transaction("reading what waits in a batch") as connection:
        return [
            BatchItem(position=row.position, name=row.name, sha256=row.sha256, location=row.location)
            for row in connection.execute(statement)
        ]


def select_batch_rows(
    store: Store,
    *,
    batch_id: UUID,
    reader: Reader,
    limit: int = 100,
    after: int = -1,
    has_problem: bool | None = None,
) -> list[BatchRow]:
    """What is done of a batch, in the order of its items: those after position `after`; None for both kinds."""
    _require_limit(limit)
    shown = select(predictions).where(unveiled(reader, predictions)).subquery()
    outcomes, items, answers = batch_outcomes.c, batch_items.c, shown.c
    of_item = and_(items.batch_id == outcomes.batch_id, items.position == outcomes.position)
    probabilities = [answers[probability_column(emotion)] for emotion in Emotion]
    statement = (
        select(
            *(outcomes.position, outcomes.finished_at, outcomes.is_repeat, outcomes.problem_code, outcomes.problem),
            *(outcomes.recording_id, items.name, items.location, answers.id.label("prediction_id"), answers.emotion),
            *(answers.confidence, answers.abstained, answers.predictive_entropy_nats, answers.duration_s),
            *(answers.model_version, answers.n_passes, *probabilities),
        )
        .select_from(batch_outcomes.join(batch_items, of_item).outerjoin(shown, answers.id == outcomes.prediction_id))
        .where(outcomes.batch_id.in_(_ids_of(reader).where(batches.c.id == batch_id)), outcomes.position > after)
        .order_by(outcomes.position)
        .limit(limit)
    )
    if has_problem is not None:
        statement = statement.where(outcomes.problem_code != "" if has_problem else outcomes.problem_code == "")
    with store.transaction("reading the results of a batch") as connection:
        rows = connection.execute(statement).all()
        own = own_probabilities_of(connection, rows, id_column="prediction_id")
    return [_batch_row(row, own.get(row.prediction_id, {})) for row in rows]


def count_batch_answers_by_emotion(store: Store, *, batch_id: UUID, reader: Reader) -> dict[Label, int]:
    """How many recordings of a batch came out as each label: all eight emotions, then others that were said."""
    statement = (
        select(predictions.c.emotion, func.count())
        .select_from(batch_outcomes.join(predictions, predictions.c.id == batch_outcomes.c.prediction_id))
        .where(
            batch_outcomes.c.batch_id.in_(_ids_of(reader).where(batches.c.id == batch_id)),
            unveiled(reader, predictions),
        )
        .group_by(predictions.c.emotion)
    )
    with store.transaction("counting the answers of a batch") as connection:
        found = {row[0]: row[1] for row in connection.execute(statement)}
    return {label: found.get(label.value, 0) for label in in_order([*Emotion, *map(label_of, sorted(found))])}


def count_batch_answers_by_confidence(
    store: Store, *, batch_id: UUID, reader: Reader, n_bins: int = 10
) -> list[ConfidenceBin]:
    """How many recordings of a batch were answered how surely, in `n_bins` bins from 0 to 1; empty ones included."""
    number = func.least(cast(func.floor(predictions.c.confidence * n_bins), Integer), n_bins - 1)
    statement = (
        select(number, func.count())
        .select_from(batch_outcomes.join(predictions, predictions.c.id == batch_outcomes.c.prediction_id))
        .where(
            batch_outcomes.c.batch_id.in_(_ids_of(reader).where(batches.c.id == batch_id)),
            unveiled(reader, predictions),
        )
        .group_by(number)
    )
    with store.transaction("counting the answers of a batch") as connection:
        found = {int(row[0]): row[1] for row in connection.execute(statement)}
    return [
        ConfidenceBin(
            confidence=Interval(low=index / n_bins, high=(index + 1) / n_bins), n_predictions=found.get(index, 0)
        )
        for index in range(n_bins)
    ]


def select_known_answers(
    store: Store, *, fingerprints: Collection[str], reader: Reader
) -> dict[str, tuple[UUID, UUID, float]]:
    """Recording, prediction and length of answers of `reader` alone that are still there, by their fingerprints."""
    if not fingerprints:
        return {}
    columns = batch_outcomes.c
    statement = (
        select(columns.fingerprint, predictions.c.recording_id, predictions.c.id, predictions.c.duration_s)
        .join(predictions, predictions.c.id == columns.prediction_id)
        .where(columns.owner_id == reader.user_id, columns.fingerprint.in_(fingerprints))
        .order_by(columns.finished_at)
    )
    with store.transaction("looking for earlier answers") as connection:
        return {row.fingerprint: (row.recording_id, row.id, row.duration_s) for row in connection.execute(statement)}


def delete_batches(store: Store, *, batch_ids: Collection[UUID], reader: Reader) -> None:
    """Forget batches of `reader`: their lists, not the recordings and predictions that came of them."""
    mine = select(batches.c.id).where(batches.c.id.in_(batch_ids), owned(reader, batches))

    def forget() -> None:
        with store.transaction("forgetting batches") as connection:
            ids = list(connection.execute(mine).scalars())
            connection.execute(delete(batch_outcomes).where(batch_outcomes.c.batch_id.in_(ids)))
            connection.execute(delete(batch_items).where(batch_items.c.batch_id.in_(ids)))
            connection.execute(delete(batches).where(batches.c.id.in_(ids)))

    try_again(forget)


def _ids_of(reader: Reader) -> Select[tuple[UUID]]:
    return select(batches.c.id).where(visible(reader, batches))


def _require_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE_ROWS:
        raise InvalidParameterError("limit", str(limit), f"a whole number from 1 to {MAX_PAGE_ROWS}")


def _batch(row: Row[Any]) -> Batch:
    return Batch(
        id=row.id,
        owner_id=row.owner_id,
        project_id=row.project_id,
        name=row.name,
        source=Source(row.source),
        n_items=row.n_items,
        n_passes=row.n_passes,
        timeline=row.timeline,
        model=row.model,
        plan=row.plan,
        key_id=row.key_id,
        route=row.route,
        method=row.method,
        request_id=row.request_id,
        address=row.address,
        created_at=row.created_at,
    )


def _batch_row(row: Row[*tuple[Any, ...]], own: Mapping[Label, float]) -> BatchRow:
    kept = row._mapping
    found = {emotion: kept[probability_column(emotion)] for emotion in Emotion}
    return BatchRow(
        position=row.position,
        name=row.name,
        location=row.location,
        finished_at=row.finished_at,
        is_repeat=row.is_repeat,
        problem_code=row.problem_code,
        problem=row.problem,
        recording_id=row.recording_id,
        prediction_id=row.prediction_id,
        emotion=None if row.emotion is None else label_of(row.emotion),
        confidence=row.confidence,
        abstained=row.abstained,
        probabilities={**{emotion: value for emotion, value in found.items() if value is not None}, **own},
        predictive_entropy_nats=row.predictive_entropy_nats,
        duration_s=row.duration_s,
        model_version=row.model_version,
        n_passes=row.n_passes,
    )
