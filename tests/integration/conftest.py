"""What integration tests share: a store on each database, each test with an empty one of its own."""

from __future__ import annotations

import pytest
import structlog
from argon2 import PasswordHasher

from core.access import passwords
from core.store.engine import open_store
from tests.postgresql import PostgreSQLMissingError, running_server
from tests.prepared_stores import prepare_postgresql, prepared
from tests.redis_server import RedisMissingError, running_redis


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks():
    """structlog's own show every variable in a frame, which takes seconds where one of them is the whole process."""
    others = structlog.get_config()["processors"][:-1]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, renderer])
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def cheap_passwords():
    """Argon2 with parameters that take a millisecond."""
    with pytest.MonkeyPatch.context() as patch:  # its own: `monkeypatch` would outlive what a test opens
        patch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        passwords._hash_of_nobody.cache_clear()
        yield
    passwords._hash_of_nobody.cache_clear()


@pytest.fixture(scope="session")
def postgresql_server():
    """A real PostgreSQL server, started once. Tests that need it are skipped where it is not installed."""
    try:
        with running_server(survives_power_cuts=False) as server:
            yield server
    except PostgreSQLMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def empty_postgresql_url(postgresql_server):
    """The URL of a PostgreSQL database without any table."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def prepared_database(postgresql_server):
    """The name of a PostgreSQL database with an empty store, to make others from."""
    with postgresql_server.database() as url:
        prepare_postgresql(url)
        yield url.rpartition("/")[2]


@pytest.fixture
def postgresql_url(postgresql_server, prepared_database):
    """The URL of a PostgreSQL database with an empty store."""
    with postgresql_server.database(template=prepared_database) as url:
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
    """Where an empty store stands, on each database in turn."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_url")
    return str(prepared(tmp_path) / "store.duckdb")


@pytest.fixture
def store(store_url):
    """An open, empty store, on each database in turn."""
    with open_store(store_url) as opened:
        yield opened
