"""Whose rows a question may see and change: conditions that stand in the WHERE clause of every one."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, false, or_, true

from core.domain import NOBODY, Reader


def visible(reader: Reader, table: Table) -> ColumnElement[bool]:
    """Whether `reader` may see a row of `table`, which has the columns `owner_id` and `project_id`."""
    if reader.sees_everything:
        return true()
    if not reader.project_ids:
        return owned(reader, table)
    return or_(owned(reader, table), table.c.project_id.in_(sorted(reader.project_ids)))


def owned(reader: Reader, table: Table) -> ColumnElement[bool]:
    """Whether `reader` may change or delete a row of `table`: their own, or any for those who see everything."""
    if reader.sees_everything:
        return true()
    if reader.user_id == NOBODY:
        return false()  # what was there before accounts is the admins'
    return table.c.owner_id == reader.user_id
