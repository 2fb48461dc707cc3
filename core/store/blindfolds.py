"""What is hidden from annotators: the model's answer about a sound that they are to rate first.

A blindfold is a row for each annotator of a project that is rated blind. Every question about predictions carries
`unveiled` in its WHERE clause; what a sound's copies outside the project would tell is hidden with it.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table, and_, delete, select, true

from core.domain import NOBODY, LabellingSettings, Reader
from core.store.engine import Store
from core.store.schema import labelling_blindfolds, labelling_ratings, predictions, recordings

RATE = "rate"
"""The kind of an annotator's action that says what they heard."""


def unveiled(reader: Reader, table: Table) -> ColumnElement[bool]:
    """Whether `reader` may know a row of `table` about its `recording_id`: not what they are still to rate blind."""
    if reader.user_id == NOBODY:
        return true()
    column: ColumnElement[UUID] = table.c.recording_id
    return column.not_in(_veiled(reader.user_id))


def put_blindfolds(connection: Connection, *, project_id: UUID, settings: LabellingSettings) -> None:
    """Have the annotators of a project blindfolded, or no longer, inside a transaction that goes on."""
    table = labelling_blindfolds
    connection.execute(delete(table).where(table.c.project_id == project_id))
    wanted = set(settings.annotators) if settings.is_blind else set[UUID]()
    if wanted:
        rows = [{"project_id": project_id, "annotator_id": each} for each in sorted(wanted)]
        connection.execute(table.insert(), rows)


def select_hiding_recording(
    store: Store, *, reader: Reader, prediction_id: UUID | None = None, sha256: str | None = None
) -> str | None:
    """The name of the recording that `reader` has to rate before they may know this prediction, or any of this sound.

    None where nothing is hidden from them.
    """
    if reader.user_id == NOBODY:
        return None
    held = recordings.alias("held")
    question = select(held.c.name).where(_is_to_be_rated(held, reader.user_id)).limit(1)
    if prediction_id is not None:
        twin = recordings.alias("twin")
        question = (
            question.join(twin, twin.c.sha256 == held.c.sha256)
            .join(predictions, predictions.c.recording_id == twin.c.id)
            .where(predictions.c.id == prediction_id)
        )
    else:
        question = question.where(held.c.sha256 == sha256)
    with store.transaction("reading what is hidden from an annotator") as connection:
        return connection.execute(question).scalar_one_or_none()


def select_veiled_recordings(store: Store, *, user_id: UUID, recording_ids: Collection[UUID]) -> set[UUID]:
    """Those of some recordings whose answers are hidden from somebody."""
    if not recording_ids or user_id == NOBODY:
        return set()
    question = select(recordings.c.id).where(recordings.c.id.in_(recording_ids), recordings.c.id.in_(_veiled(user_id)))
    with store.transaction("reading what is hidden from an annotator") as connection:
        return set(connection.execute(question).scalars())


def _veiled(user_id: UUID) -> Select[tuple[UUID]]:
    held, twin = recordings.alias("held"), recordings.alias("twin")
    return select(twin.c.id).join(held, held.c.sha256 == twin.c.sha256).where(_is_to_be_rated(held, user_id))


def _is_to_be_rated(held: FromClause, user_id: UUID) -> ColumnElement[bool]:
    blind, rated = labelling_blindfolds.c, labelling_ratings.c
    mine = select(blind.project_id).where(blind.annotator_id == user_id)
    said = select(rated.recording_id).where(rated.annotator_id == user_id, rated.kind == RATE)
    return and_(held.c.project_id.in_(mine), held.c.id.not_in(said))
