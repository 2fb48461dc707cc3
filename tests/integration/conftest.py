"""What integration tests share: a store on each database, each test with an empty one of its own."""

from __future__ import annotations

import pytest

from core.store.engine import open_store
from tests.postgresql import PostgreSQLMissingError, running_server
from tests.redis_server import RedisMissingError, running_redis


@pytest.fixture(scope="session")
def postgresql_server():
    """A real PostgreSQL server, started once. Tests that need it are skipped where it is not installed."""
    try:
        with running_server(survives_power_cuts=False) as server:
            yield server
    except PostgreSQLMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def postgresql_url(postgresql_server):
    """The URL of an empty PostgreSQL database."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def one_redis():
    """A real Redis server, started once. Tests that need it are skipped where it is not installed."""
    try:
        with running_redis() as server:
            yield server
    except RedisMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def redis_server(one_redis):
    """The Redis server, empty."""
    one_redis.empty()
    return one_redis


@pytest.fixture(params=["duckdb", "postgresql"])
def store_url(request, tmp_path):
    """Where an empty store may stand, on each database in turn."""
    return str(tmp_path / "store.duckdb") if request.param == "duckdb" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def store(store_url):
    """An open, empty store, on each database in turn."""
    with open_store(store_url) as opened:
        yield opened
