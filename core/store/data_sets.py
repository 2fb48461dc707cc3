"""Data sets and their clips. Whoever asks sees their own; admins see all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select

from core.domain import DataSet, DataSetClip, Reader
from core.store.engine import Store, try_again
from core.store.schema import data_set_clips, data_sets
from core.store.visibility import owned


def insert_data_set(store: Store, *, data_set: DataSet, clips: Sequence[DataSetClip]) -> DataSet:
    """Keep a data set with all its clips."""
    row = {name: getattr(data_set, name) for name in DataSet.__dataclass_fields__}
    rows = [
        {"data_set_id": data_set.id, **{name: getattr(clip, name) for name in DataSetClip.__dataclass_fields__}}
        for clip in clips
    ]
    store.append("keeping a data set", (data_sets, [row]), (data_set_clips, rows))
    return data_set


def select_data_set(store: Store, *, data_set_id: UUID, reader: Reader) -> DataSet | None:
    """The data set with this id."""
    statement = select(data_sets).where(data_sets.c.id == data_set_id, owned(reader, data_sets))
    with store.transaction("reading a data set") as connection:
        row = connection.execute(statement).one_or_none()
    return None if row is None else _data_set(row)


def select_data_sets(store: Store, *, reader: Reader) -> list[DataSet]:
    """All data sets, the newest first."""
    statement = select(data_sets).where(owned(reader, data_sets)).order_by(data_sets.c.id.desc())
    with store.transaction("reading data sets") as connection:
        return [_data_set(row) for row in connection.execute(statement)]


def select_data_set_clips(
    store: Store, *, data_set_ids: Collection[UUID], reader: Reader
) -> dict[UUID, list[DataSetClip]]:
    """The clips of some data sets in their order, problems included."""
    columns = data_set_clips.c
    mine = select(data_sets.c.id).where(data_sets.c.id.in_(data_set_ids), owned(reader, data_sets))
    statement = select(data_set_clips).where(columns.data_set_id.in_(mine)).order_by(columns.position)
    found: dict[UUID, list[DataSetClip]] = {data_set_id: [] for data_set_id in data_set_ids}
    with store.transaction("reading the clips of data sets") as connection:
        for row in connection.execute(statement):
            found[row.data_set_id].append(_clip(row))
    return found


def delete_data_set(store: Store, *, data_set_id: UUID, reader: Reader) -> None:
    """Delete a data set with the list of its clips. Nothing happens where `reader` has none of this id."""
    mine = select(data_sets.c.id).where(data_sets.c.id == data_set_id, owned(reader, data_sets))

    def remove() -> None:
        with store.transaction("deleting a data set") as connection:
            ids = list(connection.execute(mine).scalars())
            connection.execute(delete(data_set_clips).where(data_set_clips.c.data_set_id.in_(ids)))
            connection.execute(delete(data_sets).where(data_sets.c.id.in_(ids)))

    try_again(remove)


def _data_set(row: Row[Any]) -> DataSet:
    return DataSet(id=row.id, owner_id=row.owner_id, name=row.name, created_at=row.created_at)


def _clip(row: Row[Any]) -> DataSetClip:
    return DataSetClip(**{name: getattr(row, name) for name in DataSetClip.__dataclass_fields__})
