"""Which recordings a model version learned from, and how many of them are deleted since."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select

from core.domain import Reader
from core.store.engine import Store
from core.store.schema import recordings, training_uses


def insert_training_uses(store: Store, *, model_version: str, recording_ids: Collection[UUID]) -> None:
    """Keep that a model version learned from these recordings; those that are deleted already count as that."""
    there = select(recordings.c.id).where(recordings.c.id.in_(recording_ids))
    with store.transaction("keeping what a model learned from") as connection:
        known = set(connection.execute(there).scalars())
        now = datetime.now(UTC)
        rows = [
            {
                "model_version": model_version,
                "recording_id": each,
                "recording_deleted_at": None if each in known else now,
            }
            for each in recording_ids
        ]
        store.append_within(connection, (training_uses, rows))


def count_deleted_training_recordings(store: Store, *, reader: Reader) -> dict[str, int]:
    """By model version: how many recordings it learned from were deleted since; versions without any are left out.

    A number of a model and not of a person: every reader is told the same.
    """
    del reader
    columns = training_uses.c
    counted = select(columns.model_version, func.count()).where(columns.recording_deleted_at.is_not(None))
    with store.transaction("counting what models learned from") as connection:
        rows = connection.execute(counted.group_by(columns.model_version)).all()
    return {row[0]: row[1] for row in rows}
