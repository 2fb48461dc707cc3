"""Recordings: one row for each content and owner, however often it is sent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, select, update

from core.domain import NOBODY, AudioFormat, Reader, Recording, Source
from core.errors import StoreError
from core.identifiers import new_id
from core.store.engine import Store, try_again
from core.store.idempotency import drop_answers_about
from core.store.labelling import drop_labelling_of
from core.store.schema import (
    prediction_details,
    prediction_own_labels,
    predictions,
    recording_terms,
    recordings,
    shadow_answers,
    training_uses,
)
from core.store.visibility import owned, visible

_TABLE = recordings


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a recording is, and with it all predictions about it."""

    owner_id: UUID
    project_id: UUID | None


KeptFor = Callable[[UUID | None], timedelta | None]
"""For how long a place keeps recordings: a project, or for None the owner's own space; None is without end."""


def kept_for_ever(_place: UUID | None) -> timedelta | None:
    """Of stores without projects and periods."""
    return None


def insert_recordings(
    store: Store, *, recordings: Sequence[Recording], kept_for: KeptFor = kept_for_ever
) -> list[Recording]:
    """As `insert_recording` of each, in the same order; those that are new go in together."""
    if not recordings:
        return []
    owners = {recording.owner_id for recording in recordings}
    contents = {recording.sha256 for recording in recordings}
    statement = select(_TABLE.c.owner_id, _TABLE.c.sha256).where(
        _TABLE.c.owner_id.in_(owners), _TABLE.c.sha256.in_(contents)
    )
    with store.transaction("reading recordings") as connection:
        known = {(row.owner_id, row.sha256) for row in connection.execute(statement)}
    new: dict[tuple[UUID, str], Recording] = {}
    for recording in recordings:
        if (recording.owner_id, recording.sha256) not in known:
            new.setdefault((recording.owner_id, recording.sha256), _with_storable_name(recording))
    # Another caller may send the same content at the same moment: then each goes in by itself.
    with contextlib.suppress(StoreError):
        store.append("keeping recordings", (_TABLE, [_row(recording) for recording in new.values()]))
        return [
            new[key]
            if (key := (recording.owner_id, recording.sha256)) in new
            else insert_recording(store, recording=recording, kept_for=kept_for)
            for recording in recordings
        ]
    return [insert_recording(store, recording=recording, kept_for=kept_for) for recording in recordings]


def insert_recording(store: Store, *, recording: Recording, kept_for: KeptFor = kept_for_ever) -> Recording:
    """Keep `recording` and return it; or return the one kept before, when its owner has sent this content already.

    One kept before moves into the project of `recording`, where that has one, and is kept no longer than where it was,
    which `kept_for` tells. What no database can hold in a name (the
    NUL character, lone surrogates) is left out of it or replaced.
    """
    kept = _select_by_content(store, recording)
    if kept is not None:
        return _moved(store, kept, recording.project_id, kept_for)
    recording = _with_storable_name(recording)

    def keep() -> Recording:
        try:
            store.append("keeping a recording", (recordings, [_row(recording)]))
        except StoreError:
            # Another caller may have sent the same content at the same moment and been first.
            kept = _select_by_content(store, recording)
            if kept is None:
                raise
            return _moved(store, kept, recording.project_id, kept_for)
        return recording

    return try_again(keep)


def _with_storable_name(recording: Recording) -> Recording:
    name = recording.name.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return dataclasses.replace(recording, name=name)


def _row(recording: Recording) -> dict[str, object]:
    return {
        "id": recording.id,
        "owner_id": recording.owner_id,
        "project_id": recording.project_id,
        "sha256": recording.sha256,
        "name": recording.name,
        "size_bytes": recording.size_bytes,
        "duration_s": recording.duration_s,
        "container": recording.format.container,
        "codec": recording.format.codec,
        "sample_rate_hz": recording.format.sample_rate_hz,
        "n_channels": recording.format.n_channels,
        "format_warnings": json.dumps(recording.format.warnings, ensure_ascii=False),
        "source": recording.source.value,
        "created_at": recording.created_at,
    }


def _moved(store: Store, kept: Recording, project_id: UUID | None, kept_for: KeptFor) -> Recording:
    if project_id is None or project_id == kept.project_id:
        return kept
    owner = Reader(user_id=kept.owner_id, sees_everything=kept.owner_id == NOBODY)
    update_recording_project(store, recording_id=kept.id, project_id=project_id, reader=owner, kept_for=kept_for)
    return dataclasses.replace(kept, project_id=project_id)


def update_recording_project(
    store: Store, *, recording_id: UUID, project_id: UUID | None, reader: Reader, kept_for: KeptFor
) -> bool:
    """Put a recording, and all predictions about it, into a project or back to its owner alone.

    It stays kept no longer than where it was, which `kept_for` tells: whoever was recorded there was told so.
    Returns whether there is such a recording and `reader` may.
    """
    recording = update(recordings).where(recordings.c.id == recording_id, owned(reader, recordings))
    its_predictions = update(predictions).where(predictions.c.recording_id == recording_id, owned(reader, predictions))

    columns = recordings.c
    place = select(columns.project_id, columns.created_at).where(columns.id == recording_id, owned(reader, recordings))

    def move() -> bool:
        with store.transaction("moving a recording") as connection:
            left = connection.execute(place).one_or_none()
            period = None if left is None or left.project_id == project_id else kept_for(left.project_id)
            if left is not None and period is not None:
                term = {"id": new_id(), "recording_id": recording_id, "ends_at": left.created_at + period}
                connection.execute(recording_terms.insert(), term)
            is_there = connection.execute(recording.values(project_id=project_id)).rowcount > 0
            connection.execute(its_predictions.values(project_id=project_id))
            return is_there

    return try_again(move)


def delete_recording(store: Store, *, recording_id: UUID, reader: Reader) -> Recording | None:
    """Delete a recording's row and all predictions about it, and mark the models that learned from it.

    Returns what was deleted; None where there is no such recording, or `reader` may not. Its bytes are not this
    function's (`core.workbench.Workbench.delete_recording`).
    """
    recording = _select_one(store, and_(recordings.c.id == recording_id, owned(reader, recordings)))
    if recording is None:
        return None
    if store.backend == "postgresql":
        with store.transaction("deleting a recording") as connection:
            connection.execute(select(recordings.c.id).where(recordings.c.id == recording_id).with_for_update())
            _delete_predictions(connection, recording_id)
            _delete_row(connection, recording_id)
        return recording

    # DuckDB refuses to delete a row in the transaction that deletes what refers to it, and does not see what others
    # insert meanwhile: predictions are deleted before and after.
    def delete_predictions() -> None:
        with store.transaction("deleting a recording") as connection:
            _delete_predictions(connection, recording_id)

    def delete_all() -> None:
        delete_predictions()
        with store.transaction("deleting a recording") as connection:
            _delete_row(connection, recording_id)

    try_again(delete_all)
    try_again(delete_predictions)
    return recording


def _delete_predictions(connection: Connection, recording_id: UUID) -> None:
    about_it = select(predictions.c.id).where(predictions.c.recording_id == recording_id)
    connection.execute(delete(prediction_details).where(prediction_details.c.prediction_id.in_(about_it)))
    connection.execute(delete(prediction_own_labels).where(prediction_own_labels.c.prediction_id.in_(about_it)))
    connection.execute(delete(predictions).where(predictions.c.recording_id == recording_id))
    connection.execute(delete(shadow_answers).where(shadow_answers.c.recording_id == recording_id))


def _delete_row(connection: Connection, recording_id: UUID) -> None:
    drop_labelling_of(connection, recording_id)
    connection.execute(delete(recording_terms).where(recording_terms.c.recording_id == recording_id))
    drop_answers_about(connection, recording_id)
    uses = update(training_uses).where(training_uses.c.recording_id == recording_id)
    connection.execute(uses.values(recording_deleted_at=datetime.now(UTC)))
    connection.execute(delete(recordings).where(recordings.c.id == recording_id))


def select_recording(store: Store, *, recording_id: UUID, reader: Reader) -> Recording | None:
    """The recording with this id."""
    return _select_one(store, and_(recordings.c.id == recording_id, visible(reader, recordings)))


def select_recordings_by_id(store: Store, *, recording_ids: Collection[UUID], reader: Reader) -> dict[UUID, Recording]:
    """The recordings with these ids, by id; ids of none are left out."""
    if not recording_ids:
        return {}
    statement = select(recordings).where(recordings.c.id.in_(recording_ids), visible(reader, recordings))
    with store.transaction("reading recordings") as connection:
        rows = connection.execute(statement).all()
    return {row.id: _recording(row) for row in rows}


def select_recordings(
    store: Store,
    *,
    reader: Reader,
    project_id: UUID | None = None,
    created_before: datetime | None = None,
    after: UUID | None = None,
    limit: int = 1000,
) -> list[Recording]:
    """Up to `limit` recordings of one project, or for None outside projects; by id, those after `after`."""
    columns = recordings.c
    conditions = [visible(reader, recordings)]
    conditions.append(columns.project_id.is_(None) if project_id is None else columns.project_id == project_id)
    if created_before is not None:
        conditions.append(columns.created_at < created_before)
    if after is not None:
        conditions.append(columns.id > after)
    statement = select(recordings).where(*conditions).order_by(columns.id).limit(limit)
    with store.transaction("reading recordings") as connection:
        return [_recording(row) for row in connection.execute(statement)]


def select_recordings_past_term(store: Store, *, reader: Reader, at: datetime, limit: int = 1000) -> list[Recording]:
    """Up to `limit` recordings that have left a place where they would not be kept any more at this time."""
    over = select(recording_terms.c.recording_id).where(recording_terms.c.ends_at < at)
    statement = select(recordings).where(recordings.c.id.in_(over), visible(reader, recordings))
    with store.transaction("reading recordings") as connection:
        return [_recording(row) for row in connection.execute(statement.order_by(recordings.c.id).limit(limit))]


def places_of(
    connection: Connection, *, recording_ids: Collection[UUID], keeps_them: bool = False
) -> dict[UUID, Place]:
    """Where recordings are, for what is written about them in the same transaction; ids of none are left out.

    With `keeps_them`, nobody deletes or moves them before it ends (PostgreSQL).
    """
    columns = recordings.c
    statement = select(columns.id, columns.owner_id, columns.project_id).where(columns.id.in_(recording_ids))
    rows = connection.execute(statement.with_for_update(read=True) if keeps_them else statement).all()
    return {row.id: Place(owner_id=row.owner_id, project_id=row.project_id) for row in rows}


def _select_by_content(store: Store, recording: Recording) -> Recording | None:
    is_this = and_(recordings.c.sha256 == recording.sha256, recordings.c.owner_id == recording.owner_id)
    return _select_one(store, is_this)


def _select_one(store: Store, condition: ColumnElement[bool]) -> Recording | None:
    with store.transaction("reading a recording") as connection:
        row = connection.execute(select(recordings).where(condition)).one_or_none()
    return None if row is None else _recording(row)


def count_recordings(store: Store, *, reader: Reader, sha256: str | None = None) -> int:
    """How many recordings are kept, or how many of one content: one for each owner who sent it."""
    statement = select(func.count()).select_from(recordings).where(visible(reader, recordings))
    if sha256 is not None:
        statement = statement.where(recordings.c.sha256 == sha256)
    with store.transaction("counting recordings") as connection:
        return connection.execute(statement).scalar_one()


def select_known_hashes(store: Store, *, hashes: Collection[str], reader: Reader) -> set[str]:
    """Those of `hashes` that some recording has which `reader` sees."""
    of_recordings = recordings.c.sha256.in_(hashes), visible(reader, recordings)
    statement = select(recordings.c.sha256).where(*of_recordings).distinct()
    with store.transaction("looking for recordings") as connection:
        return set(connection.execute(statement).scalars())


def _recording(row: Row[Any]) -> Recording:
    return Recording(
        id=row.id,
        owner_id=row.owner_id,
        project_id=row.project_id,
        sha256=row.sha256,
        name=row.name,
        size_bytes=row.size_bytes,
        duration_s=row.duration_s,
        format=AudioFormat(
            container=row.container,
            codec=row.codec,
            sample_rate_hz=row.sample_rate_hz,
            n_channels=row.n_channels,
            warnings=tuple(json.loads(row.format_warnings)),
        ),
        source=Source(row.source),
        created_at=row.created_at,
    )
