"""The access store: accounts, sessions, keys and the audit log, in SQLite or PostgreSQL, open to several processes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from core.errors import StoreError
from core.store.engine import Store, connect_postgresql, migrate, parse_url, reason

ACCESS_MIGRATIONS = Path(__file__).parent / "access_migrations"
ACCESS_VERSION_TABLE = "access_version"
EXCLUSIVE_LOCK = 7_310_845_120_661
"""PostgreSQL advisory lock that exclusive transactions hold; any number nobody else uses."""
BUSY_TIMEOUT_S = 15.0
"""How long SQLite waits for another writer: a hundred of their transactions on a slow disk."""

_MAX_OVERFLOW = 16
"""With the store of recordings, 88 connections of the 97 that PostgreSQL lets one process have by default."""

_making_file = threading.Lock()
"""No thread gets to SQLite before another has closed the file that it made."""
_IS_EXCLUSIVE = "telepathy_is_exclusive"


class AccessStore(Store):
    """A store whose changes can be made one after the other, over all threads and processes."""

    def __init__(self, engine: Engine, name: str) -> None:
        super().__init__(engine, None, name)
        self._of_this_thread = threading.local()

    @contextlib.contextmanager
    def transaction(self, doing: str) -> Iterator[Connection]:
        """As `Store.transaction`; inside an exclusive transaction of this thread, a part of that one."""
        joined = self._joined()
        if joined is None:
            with super().transaction(doing) as connection:
                yield connection
        else:
            with self._speaking_plainly(doing):
                yield joined

    @contextlib.contextmanager
    def exclusive(self, doing: str) -> Iterator[Connection]:
        """A transaction that no other exclusive one runs beside; readers go on. Raises like `transaction`.

        What this thread asks the store inside becomes part of it: all is kept, or nothing.
        """
        joined = self._joined()
        if joined is not None:
            yield joined
            return
        engine = self._engine.execution_options(**{_IS_EXCLUSIVE: True})
        with self._speaking_plainly(doing), engine.begin() as connection:
            if self.backend == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(EXCLUSIVE_LOCK)))
            self._of_this_thread.connection = connection
            try:
                yield connection
            finally:
                self._of_this_thread.connection = None

    def _joined(self) -> Connection | None:
        return getattr(self._of_this_thread, "connection", None)


def open_access_store(location: str | Path) -> AccessStore:
    """Open the access store and bring its schema up to date; several processes may, at once.

    `location` is the path of an SQLite file, or `postgresql+psycopg://USER@HOST/DATABASE`.

    Raises
    ------
    StoreError
        It cannot be opened.
    MigrationError
        Its schema is newer than this code, or a migration failed; the store is left as it was.
    """
    if "://" in str(location):
        store = AccessStore(*connect_postgresql(parse_url(location), max_overflow=_MAX_OVERFLOW))
    else:
        store = _open_sqlite(Path(location))
    try:
        with store.exclusive("bringing its schema up to date"):
            migrate(store, migrations=ACCESS_MIGRATIONS, version_table=ACCESS_VERSION_TABLE)
    except BaseException:
        store.close()
        raise
    return store


def _open_sqlite(path: Path) -> AccessStore:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_private_file(path)
    except OSError as error:
        raise StoreError(f"opening {path}", error.strerror or str(error)) from error
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=8,
        max_overflow=56,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    try:
        with engine.connect():
            pass
    except SQLAlchemyError as error:
        engine.dispose()
        raise StoreError(f"opening {path}", reason(error)) from error
    return AccessStore(engine, str(path))


def _make_private_file(path: Path) -> None:
    """Make the file where there is none, its owner's alone; SQLite gives its write-ahead log the same mode.

    One that is there is never opened here: closing it again would take away the locks that SQLite holds on it for this
    whole process (https://sqlite.org/howtocorrupt.html, section 2.2), and another process would then cut its log short.
    """
    with _making_file, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Readers beside one writer, foreign keys, and commits that survive a power cut."""
    connection.isolation_level = None  # Python's driver would begin transactions by itself, and later than asked
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """IMMEDIATE waits for other writers at once; a transaction that read first could only fail."""
    is_exclusive = connection.get_execution_options().get(_IS_EXCLUSIVE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_exclusive else "BEGIN")
