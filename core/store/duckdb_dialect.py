"""What duckdb-engine 0.17 needs to serve SQLAlchemy 2.1 and Alembic here. The one place for such things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import sqlalchemy.dialects
from alembic.ddl.postgresql import PostgresqlImpl
from duckdb_engine import ConnectionWrapper, Dialect
from sqlalchemy import ARRAY, URL, Engine, Insert, Table, bindparam, cast, create_engine, func, select
from sqlalchemy.pool import QueuePool

MEMORY_LIMIT = "256MB"
"""DuckDB takes 80 % of the machine by default; the store of a workbench needs far less (docs/store.md)."""


class CachingDialect(Dialect):
    """duckdb-engine's dialect with SQLAlchemy's cache of compiled statements, which its base class supports."""

    supports_statement_cache = True


class DuckDBImpl(PostgresqlImpl):
    """Tells Alembic that DuckDB, like PostgreSQL, rolls DDL back."""

    __dialect__ = "duckdb"


sqlalchemy.dialects.registry.register("duckdb.caching", __name__, CachingDialect.__name__)


def connect_file(path: Path) -> duckdb.DuckDBPyConnection:
    """The connection that keeps the file open and locked. Extensions are never fetched from the internet.

    It leaves the write-ahead log alone, whatever its size, also when it is closed (`core.store.checkpoints`).
    """
    root = duckdb.connect(
        path,
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": 1,  # a second one gains nothing on rows this few, and wakes up for every INSERT
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "checkpoint_threshold": "1TB",
            "auto_checkpoint_skip_wal_threshold": 2**62,
        },
    )
    root.execute("PRAGMA disable_checkpoint_on_shutdown")
    return root


def create_file_engine(root: duckdb.DuckDBPyConnection) -> Engine:
    """An engine whose pooled connections are cursors of `root`: any number of threads, one open file."""
    return create_engine(
        URL.create("duckdb+caching"),
        creator=lambda: ConnectionWrapper(root.cursor()),
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=56,
        pool_reset_on_return=None,  # Store ends every transaction itself; a second rollback costs 0.2 ms
    )


def insert_by_column(table: Table, rows: Sequence[Mapping[str, object]]) -> Insert:
    """One INSERT of many rows, each column bound as a list: 0.1 ms a row, where `executemany` takes 0.6 ms."""
    lists = (
        cast(bindparam(column.name, [row[column.name] for row in rows], type_=ARRAY(column.type)), ARRAY(column.type))
        for column in table.columns
    )
    unnested = (func.unnest(values, type_=column.type) for values, column in zip(lists, table.columns, strict=True))
    return table.insert().from_select(table.columns.keys(), select(*unnested))
