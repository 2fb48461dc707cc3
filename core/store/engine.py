"""Opening the store, bringing its schema up to date, and the one way to a transaction."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

import duckdb
import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, Table, create_engine, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError, StatementError

from core.domain import NOBODY
from core.errors import InvalidSettingError, MigrationError, StoreError
from core.store.checkpoints import CHECKPOINT_BYTES, OVERDUE_FACTOR, checkpoint, is_due, put_back
from core.store.duckdb_dialect import connect_file, create_file_engine, insert_by_column
from core.store.schema import recordings

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"
MIGRATION_LOCK = 7_310_845_120_660
"""PostgreSQL advisory lock held while migrating; any number nobody else uses."""

MAX_ATTEMPTS = 6
"""Waits of 10 to 160 ms between them: a commit on a busy disk takes less."""

OVERDUE_WAIT_S = 5.0
"""How long a transaction waits for those under way to end, so that an overdue checkpoint can be taken."""

T = TypeVar("T")

_log = structlog.get_logger("store")

_alembic_lock = threading.Lock()
"""Alembic hands its context to migration scripts through a module global: one migration at a time per process."""


class Store:
    """An open store: DuckDB or SQLite file, or PostgreSQL. Safe to share between threads; close it once, at the end."""

    def __init__(
        self, engine: Engine, root: duckdb.DuckDBPyConnection | None, name: str, descriptor: int | None = None
    ) -> None:
        self._engine = engine
        self._root = root
        self._descriptor = descriptor
        self.checkpoint_bytes = CHECKPOINT_BYTES
        """Size from which DuckDB's write-ahead log is moved into its file, between two transactions."""
        self._change = threading.Condition()
        self._n_under_way = 0
        self._is_closed = False
        self._is_abandoned = False
        self._is_overdue = False
        self._held_by_thread = threading.local()
        self.name = name
        """Where it is, without password."""

    @property
    def backend(self) -> str:
        """`duckdb` or `postgresql`; of the access store `sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be asked of it any more."""
        return self._is_closed

    @contextlib.contextmanager
    def transaction(self, doing: str) -> Iterator[Connection]:
        """A connection inside one transaction: committed at the end, rolled back on any exception.

        Raises
        ------
        StoreError
            The database refused; `doing` says in the sentence what it was asked for, and the cause is chained.
        """
        with self._speaking_plainly(doing), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self, doing: str) -> Iterator[Connection]:
        """A transaction whose statements all see the same state, for reading. Raises like `transaction`."""
        engine = self._engine
        if self.backend == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self._speaking_plainly(doing), engine.begin() as connection:
            yield connection

    def append(self, doing: str, *batches: tuple[Table, Sequence[Mapping[str, object]]]) -> None:
        """Append all rows to their tables, or none; on the disk once this returns. Raises like `transaction`."""
        with self.transaction(doing) as connection:
            self.append_within(connection, *batches)

    def append_within(self, connection: Connection, *batches: tuple[Table, Sequence[Mapping[str, object]]]) -> None:
        """Append all rows to their tables, inside a transaction that goes on."""
        for table, rows in batches:
            if self.backend == "duckdb" and len(rows) > 1:
                connection.execute(insert_by_column(table, rows))
            elif rows:
                connection.execute(table.insert(), rows)

    def require_writable(self) -> None:
        """Write a row and take it back. Raises StoreError when the store cannot be written."""
        texts = {column.name: "" for column in recordings.columns}
        numbers = {"size_bytes": 0, "duration_s": 0.0, "sample_rate_hz": 0, "n_channels": 0}
        times = {"created_at": datetime.now(UTC)}
        row = texts | numbers | times | {"id": uuid4(), "owner_id": NOBODY, "project_id": None, "sha256": str(uuid4())}
        with self._speaking_plainly("checking that it can be written"), self._engine.connect() as connection:
            connection.execute(recordings.insert().values(row))
            connection.rollback()

    @contextlib.contextmanager
    def _speaking_plainly(self, doing: str) -> Iterator[None]:
        n_mine = getattr(self._held_by_thread, "n_under_way", 0)
        with self._change:
            if self._is_overdue and not n_mine:
                self._change.wait_for(lambda: not self._is_overdue, timeout=OVERDUE_WAIT_S)
            if self._is_closed:
                raise StoreError(doing, "it has been closed")
            self._n_under_way += 1
        self._held_by_thread.n_under_way = n_mine + 1
        try:
            yield
        except SQLAlchemyError as error:
            if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
                raise  # a value that no column takes, such as a time without zone: a mistake in the program
            raise StoreError(doing, reason(error)) from error
        finally:
            self._held_by_thread.n_under_way = n_mine
            with self._change:
                self._n_under_way -= 1
                is_idle = self._n_under_way == 0
                if not self._is_closed:
                    self._checkpoint_if_due(is_idle=is_idle)
                self._change.notify_all()
            if is_idle and self._is_abandoned:
                self._let_go()

    def _checkpoint_if_due(self, *, is_idle: bool) -> None:
        """Move the write-ahead log into the file; whoever wants to begin waits meanwhile, as `_change` is held."""
        if self._root is None or self._descriptor is None:
            return
        if not is_idle:
            self._is_overdue = is_due(Path(self.name), checkpoint_bytes=self.checkpoint_bytes, factor=OVERDUE_FACTOR)
            return
        self._is_overdue = False
        if not is_due(Path(self.name), checkpoint_bytes=self.checkpoint_bytes):
            return
        try:
            checkpoint(self._root, Path(self.name), self._descriptor)
        except (duckdb.Error, OSError) as error:
            self._is_closed = True
            _log.error("the store is closed: opened anew, it has all that was committed", reason=reason(error))

    def close(self, *, deadline_s: float = 5.0) -> None:
        """Let transactions under way end, write everything to its final place and let go of the file.

        Nothing new begins meanwhile. Transactions that outlast the deadline still end, and the last of them lets go.
        A second call does nothing.
        """
        with self._change:
            if self._is_closed:
                return
            self._is_closed = True
            self._is_abandoned = not self._change.wait_for(lambda: self._n_under_way == 0, deadline_s)
            if self._is_abandoned:
                return
        self._let_go()

    def _let_go(self) -> None:
        self._engine.dispose()
        if self._root is not None and self._descriptor is not None:
            with contextlib.closing(self._root), contextlib.suppress(duckdb.Error, OSError):
                # On a full disk this fails, and what is committed stays in the log, or in the copy beside the file.
                if is_due(Path(self.name), at_close=True):
                    checkpoint(self._root, Path(self.name), self._descriptor)
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def try_again(act: Callable[[], T]) -> T:
    """What `act` returns, once it does: DuckDB refuses what another transaction under way changes too."""
    for attempt in range(MAX_ATTEMPTS - 1):
        try:
            return act()
        except StoreError:
            time.sleep(0.01 * 2**attempt)
    return act()


def reason(error: Exception) -> str:
    """The first line of what the database said, as part of a sentence."""
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return said.strip().split("\n")[0].rstrip(".") or type(error).__name__


def open_store(url_or_path: str | Path, *, migrates: bool = True) -> Store:
    """Open the store and bring its schema up to date; or, when `migrates` is false, open only what is there.

    `url_or_path` is the path of a DuckDB file, `duckdb:///PATH`, or `postgresql+psycopg://USER@HOST/DATABASE`.

    Raises
    ------
    StoreError
        It cannot be opened: another process holds the DuckDB file, the server does not answer.
    MigrationError
        Its schema is newer than this code, or a migration failed; the store is left as it was.
    InvalidSettingError
        The URL is of no kind that is known.
    """
    url = parse_url(url_or_path)
    store = _open_duckdb(url, creates=migrates) if url.drivername == "duckdb" else _open_postgresql(url)
    if migrates:
        try:
            migrate(store)
        except BaseException:
            store.close()
            raise
    return store


def parse_url(url_or_path: str | Path) -> URL:
    """Where a store is, as a URL; a path is one of a DuckDB file. Raises InvalidSettingError."""
    text = str(url_or_path)
    expected = "a path, duckdb:///PATH or postgresql+psycopg://USER@HOST/DATABASE"
    if isinstance(url_or_path, Path) or "://" not in text:
        return URL.create("duckdb", database=text)
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise InvalidSettingError("store_url", "no URL", expected) from error
    if url.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "duckdb" and url.database:
        return url
    raise InvalidSettingError("store_url", repr(url.render_as_string(hide_password=True)), expected)


def _open_duckdb(url: URL, *, creates: bool) -> Store:
    path = Path(url.database or "")
    if not creates and not path.exists():
        raise StoreError(f"opening {path}", "there is no such file; `python -m core.store migrate` makes it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put_back(path)
        root = connect_file(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # never closed by a collector, which would unlock it
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"opening {path}", _opening_reason(error)) from error
    return Store(create_file_engine(root), root, str(path), descriptor)


def _opening_reason(error: Exception) -> str:
    if "corrupt" in str(error).lower():
        return f"the file is damaged ({reason(error)}), and a backup has to take its place"
    if not re.search(r"\block\b", str(error).lower()):
        return reason(error)
    holder = re.search(r"PID (\d+)", str(error))
    who = f"process {holder[1]}" if holder else "another process"
    return f"{who} holds the lock on this file, and DuckDB lets one process at a time open it"


def _open_postgresql(url: URL) -> Store:
    engine, name = connect_postgresql(url)
    return Store(engine, None, name)


def connect_postgresql(url: URL, *, max_overflow: int = 56) -> tuple[Engine, str]:
    """An engine whose server has answered, and its name without password; up to 8 + `max_overflow` connections.

    Raises StoreError.
    """
    engine = create_engine(
        url, pool_size=8, max_overflow=max_overflow, pool_pre_ping=True, connect_args={"connect_timeout": 10}
    )
    name = url.render_as_string(hide_password=True)
    try:
        with engine.connect():
            pass
    except SQLAlchemyError as error:
        engine.dispose()
        raise StoreError(f"opening {name}", reason(error)) from error
    return engine, name


def select_schema_version(store: Store, *, version_table: str = VERSION_TABLE) -> str | None:
    """The last migration the store has seen; None for an empty store."""
    with store.transaction("reading its schema version") as connection:
        return _context(connection, version_table).get_current_revision()


def _context(connection: Connection, version_table: str) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": version_table})


def require_current_schema(store: Store) -> None:
    """Raises StoreError unless the store's schema is the one this code was written for."""
    found, wanted = select_schema_version(store), _scripts(MIGRATIONS)[1].get_current_head()
    if found != wanted:
        raise StoreError(
            "checking its schema",
            f"it is at version {found or 'none'} and this code needs {wanted}; run `python -m core.store migrate`",
        )


@cache
def _scripts(migrations: Path) -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config, ScriptDirectory.from_config(config)


def migrate(store: Store, *, migrations: Path = MIGRATIONS, version_table: str = VERSION_TABLE) -> None:
    """Bring the schema up to date, in one transaction: all of it or nothing. Safe to call at any time, by anyone.

    `version_table` remembers how far `migrations` have come: two schemas may share a database.

    Raises
    ------
    MigrationError
        The schema is newer than this code, or a migration failed; the store is left as it was.
    """
    config, scripts = _scripts(migrations)
    head = scripts.get_current_head()

    def missing_steps(current: object, context: MigrationContext) -> object:
        return scripts._upgrade_revs("head", current)  # type: ignore[arg-type]

    try:
        with _alembic_lock, store.transaction("bringing its schema up to date") as connection:
            if store.backend == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            if _context(connection, version_table).get_current_revision() == head:
                return
            with EnvironmentContext(config, scripts, fn=missing_steps) as environment:
                environment.configure(connection=connection, version_table=version_table)
                environment.run_migrations()
    except CommandError as error:
        raise MigrationError(f"it was written by another version ({error})") from error
    except StoreError as error:
        raise MigrationError(reason(error.__cause__ if isinstance(error.__cause__, Exception) else error)) from error
