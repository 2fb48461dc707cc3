"""Recordings: one row for each content, however often it is sent."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select

from core.domain import AudioFormat, Recording, Source
from core.errors import StoreError
from core.store.engine import Store
from core.store.schema import recordings

MAX_ATTEMPTS = 6
"""Waits of 10 to 160 ms between them: a commit on a busy disk takes less."""


def insert_recording(store: Store, *, recording: Recording) -> Recording:
    """Keep `recording` and return it; or return the one kept before, when its content is already there.

    What no database can hold in a name (the NUL character, lone surrogates) is left out of it or replaced.
    """
    kept = _select_by_content(store, recording.sha256)
    if kept is not None:
        return kept
    name = recording.name.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    recording = dataclasses.replace(recording, name=name)
    row = {
        "id": recording.id,
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
    for attempt in range(MAX_ATTEMPTS):
        try:
            store.append("keeping a recording", (recordings, [row]))
        except StoreError:
            kept = _select_by_content(store, recording.sha256)
            if kept is not None:
                return kept  # another caller sent the same content at the same moment and was first
            if attempt == MAX_ATTEMPTS - 1:
                raise
            time.sleep(0.01 * 2**attempt)  # DuckDB refuses already while the other has not committed yet
        else:
            break
    return recording


def select_recording(store: Store, *, recording_id: UUID) -> Recording | None:
    """The recording with this id."""
    return _select_one(store, recordings.c.id == recording_id)


def select_recordings_by_id(store: Store, *, recording_ids: Collection[UUID]) -> dict[UUID, Recording]:
    """The recordings with these ids, by id; ids of none are left out."""
    if not recording_ids:
        return {}
    with store.transaction("reading recordings") as connection:
        rows = connection.execute(select(recordings).where(recordings.c.id.in_(recording_ids))).all()
    return {row.id: _recording(row) for row in rows}


def _select_by_content(store: Store, sha256: str) -> Recording | None:
    return _select_one(store, recordings.c.sha256 == sha256)


def _select_one(store: Store, condition: ColumnElement[bool]) -> Recording | None:
    with store.transaction("reading a recording") as connection:
        row = connection.execute(select(recordings).where(condition)).one_or_none()
    return None if row is None else _recording(row)


def count_recordings(store: Store) -> int:
    """How many different recordings are kept."""
    with store.transaction("counting recordings") as connection:
        return connection.execute(select(func.count()).select_from(recordings)).scalar_one()


def _recording(row: Row[Any]) -> Recording:
    return Recording(
        id=row.id,
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
