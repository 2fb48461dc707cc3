"""The database of durable jobs, whose tables are DBOS's own: an SQLite file beside the store, or PostgreSQL."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from core.errors import InvalidSettingError, StoreError
from core.store.engine import reason

JobsDatabaseError = SQLAlchemyError
"""What the database of jobs raises; DBOS lets it through."""


def prepare_jobs_database(url: str) -> str:
    """Make ready what `url` names, and return it as DBOS takes it.

    An SQLite file gets a write-ahead log, which stays with the file: readers and the one writer then do not wait for
    each other, and a step costs one write to the disk instead of three.

    Raises
    ------
    InvalidSettingError
        `url` is none of SQLite or PostgreSQL.
    StoreError
        The file cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidSettingError("jobs_url", "hidden", "`sqlite:///FILE` or `postgresql+psycopg://...`") from error
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    if kind != "sqlite" or not parsed.database:
        raise InvalidSettingError("jobs_url", "hidden", "`sqlite:///FILE` or `postgresql+psycopg://...`")
    try:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(parsed.database, timeout=30)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else reason(error)
        raise StoreError("opening the database of jobs", why) from error
    return url
