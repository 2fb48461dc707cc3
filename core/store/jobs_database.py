"""The database of durable jobs, whose tables are DBOS's own: an SQLite file beside the store, or PostgreSQL."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, create_engine, func, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

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


class Liveness:
    """Says to other processes on the same PostgreSQL that this one is there, and asks whether another is.

    Each holds an advisory lock of its name, which PostgreSQL lets go of when the connection ends, however it ends.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._held: Connection | None = None

    def announce(self, name: str) -> bool:
        """Take `name` until `close`; False where a process that is there has it."""
        connection = self._engine.connect()
        if not connection.execute(select(func.pg_try_advisory_lock(_lock(name)))).scalar_one():
            connection.close()
            return False
        self._held = connection
        return True

    def is_there(self, name: str) -> bool:
        """Whether a process of that name is there."""
        with self._engine.connect() as connection:  # the lock, once taken, ends with the connection
            return not connection.execute(select(func.pg_try_advisory_lock(_lock(name)))).scalar_one()

    def close(self) -> None:
        """Be there no longer."""
        if self._held is not None:
            self._held.close()
            self._held = None
        self._engine.dispose()


def _lock(name: str) -> int:
    """A signed number of 64 bits that stands for `name`."""
    return int.from_bytes(hashlib.sha256(f"telepathy-jobs\n{name}".encode()).digest()[:8], signed=True)
