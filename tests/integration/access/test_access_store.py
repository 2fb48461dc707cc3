"""The access store: its schema, its file, and several who hold it open at once."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text

from core.config import REPOSITORY, Settings
from core.errors import InvalidSettingError, MigrationError, StoreError
from core.identifiers import new_id
from core.store.access_schema import api_keys, metadata, sessions, users
from core.store.access_store import ACCESS_MIGRATIONS, ACCESS_VERSION_TABLE, open_access_store
from core.store.engine import open_store, select_schema_version


def revisions():
    config = Config()
    config.set_main_option("script_location", str(ACCESS_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, tmp_path):
    """Settings of an installation that nobody has started yet, on each database in turn."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    return Settings(data_dir=tmp_path / "data", store_url=url)


@pytest.fixture
def store(settings):
    with open_access_store(settings.access_location) as opened:
        yield opened


def user_row(email="ada@example.org"):
    return {
        "id": new_id(),
        "email": email,
        "name": "Ada",
        "role": "analyst",
        "plan": "free",
        "is_active": True,
        "is_email_proven": False,
        "created_at": datetime.now(UTC),
    }


def count_users(store):
    with store.transaction("counting") as connection:
        return len(connection.execute(select(users.c.id)).all())


def test_settings_put_accounts_where_several_processes_can_open_them(tmp_path):
    assert Settings(data_dir=tmp_path).access_location == str(tmp_path / "access.sqlite")
    assert Settings(data_dir=tmp_path, store_url="duckdb:///x.duckdb").access_location == str(
        tmp_path / "access.sqlite"
    )
    for url in ("postgresql+psycopg://a@b/c", "postgresql://a@b/c", "postgres://a@b/c"):
        assert Settings(data_dir=tmp_path, store_url=url).access_location == url


def test_migrations_make_exactly_the_tables_of_the_schema(store):
    with store.transaction("comparing") as connection:
        assert set(inspect(connection).get_table_names()) == {ACCESS_VERSION_TABLE, *metadata.tables}
        context = MigrationContext.configure(connection, opts={"version_table": ACCESS_VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    assert select_schema_version(store, version_table=ACCESS_VERSION_TABLE) == revisions().get_current_head()


def test_migrations_go_forward_only_in_one_line():
    assert len(revisions().get_heads()) == 1
    for script in revisions().walk_revisions():
        assert not script.is_branch_point
        assert not hasattr(script.module, "downgrade")


def test_accounts_and_recordings_share_a_postgresql_database(empty_postgresql_url):
    with open_store(empty_postgresql_url) as recordings, open_access_store(empty_postgresql_url) as access:
        assert select_schema_version(recordings) is not None
        assert select_schema_version(access, version_table=ACCESS_VERSION_TABLE) == revisions().get_current_head()
    with open_access_store(empty_postgresql_url) as access, open_store(empty_postgresql_url):
        assert count_users(access) == 0


def test_store_of_a_newer_version_is_refused_and_left_alone(settings, store):
    with store.transaction("pretending") as connection:
        connection.execute(text("UPDATE access_version SET version_num = '9999'"))
    for _ in range(2):
        with pytest.raises(MigrationError, match="9999"):
            open_access_store(settings.access_location)


def test_file_belongs_to_its_owner_alone(tmp_path):
    path = tmp_path / "data" / "access.sqlite"
    with open_access_store(path) as store:
        with store.exclusive("writing") as connection:
            connection.execute(insert(users).values(user_row()))
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert "access.sqlite-wal" in files
    assert set(files.values()) == {0o600}


def test_file_is_in_wal_mode_durable_and_keeps_foreign_keys(tmp_path):
    with open_access_store(tmp_path / "access.sqlite") as store, store.transaction("looking") as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}


def test_session_of_nobody_is_refused(store):
    now = datetime.now(UTC)
    row = {
        "id": new_id(),
        "user_id": new_id(),
        "created_at": now,
        "expires_at": now,
        "refresh_hash": "x",
        "refreshed_at": now,
        "address": "",
        "user_agent": "",
    }
    with pytest.raises(StoreError, match=r"(?i)foreign key"):
        store.append("keeping a session", (sessions, [row]))


def test_what_cannot_be_opened_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="opening"):
        open_access_store(tmp_path / "file" / "access.sqlite")
    (tmp_path / "noise.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="opening"):
        open_access_store(tmp_path / "noise.sqlite")
    with pytest.raises(StoreError, match="opening"):
        open_access_store("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(InvalidSettingError):
        open_access_store("mysql://nobody@127.0.0.1/nothing")


def test_exclusive_transaction_is_kept_whole_or_not_at_all(store):
    seen = []

    def fail_after_two_steps():
        with store.exclusive("two steps"):
            store.append("first", (users, [user_row()]))
            with store.transaction("second") as connection:
                connection.execute(insert(users).values(user_row("eve@example.org")))
            seen.append(count_users(store))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_two_steps()
    assert seen == [2]
    assert count_users(store) == 0
    with store.exclusive("two steps"):
        store.append("first", (users, [user_row()]))
        with store.exclusive("nested"):
            store.append("second", (users, [user_row("eve@example.org")]))
    assert count_users(store) == 2


def test_exclusive_transactions_come_one_after_the_other_and_readers_go_on(settings, store):
    is_inside, may_end = threading.Event(), threading.Event()
    order = []

    def first():
        with store.exclusive("first"):
            store.append("writing", (users, [user_row()]))
            is_inside.set()
            may_end.wait(30)
            order.append("first ends")

    def second(other):
        with other.exclusive("second"):
            order.append("second begins")
            assert count_users(other) == 1

    with open_access_store(settings.access_location) as other, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(first)]
        assert is_inside.wait(30)
        running.append(pool.submit(second, other))
        assert count_users(store) == 0
        may_end.set()
        for each in running:
            each.result(60)
    assert order == ["first ends", "second begins"]


def test_threads_and_processes_that_open_an_empty_store_at_once_do_not_collide(settings):
    code = (
        "import sys; from core.store.access_store import open_access_store; sys.stdin.readline(); "
        "open_access_store(sys.argv[1]).close()"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, settings.access_location],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(open_access_store, [settings.access_location] * 4))
    for child in children:
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, said
    for store in stores:
        store.close()


def test_opening_a_store_again_leaves_this_process_s_locks_alone(settings, store):
    """SQLite's locks belong to the process: a file descriptor closed too many would let others cut the log short."""
    store.append("writing", (users, [user_row()]))
    open_access_store(settings.access_location).close()
    code = (
        "import sys; from sqlalchemy import text; from core.store.access_store import open_access_store\n"
        "with open_access_store(sys.argv[1]) as store, store.exclusive('writing') as connection:\n"
        "    connection.execute(text(\"UPDATE users SET name = 'changed'\"))"
    )
    subprocess.run([sys.executable, "-c", code, settings.access_location], cwd=REPOSITORY, check=True, timeout=200)
    for number in range(20):
        store.append("writing", (users, [user_row(f"{number}@example.org")]))
    with store.transaction("looking") as connection:
        assert connection.execute(select(users.c.name).order_by(users.c.id)).scalars().first() == "changed"
        if store.backend == "sqlite":
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    assert count_users(store) == 21
    if store.backend == "sqlite":
        assert Path(settings.access_location + "-wal").stat().st_size > 0  # nobody took it away meanwhile


def test_many_threads_write_and_read_at_once(store):
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        for step in range(10):
            with store.exclusive("writing"):
                count_users(store)
                store.append("writing", (users, [user_row(f"{number}-{step}@example.org")]))
            count_users(store)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert count_users(store) == 80


def test_database_error_names_what_was_being_done(store):
    with pytest.raises(StoreError, match="keeping one twice"):
        store.append("keeping one twice", (users, [user_row(), user_row()]))
    assert count_users(store) == 0


def test_closed_store_says_so_also_inside_an_exclusive_transaction(store):
    store.close()
    with pytest.raises(StoreError, match="closed"), store.exclusive("anything"):
        pytest.fail("it began all the same")
    with pytest.raises(StoreError, match="closed"), store.transaction("anything"):
        pytest.fail("it began all the same")


def test_key_hashes_are_unique(store):
    with store.exclusive("writing"):
        row = user_row()
        store.append("writing", (users, [row]))
        key = {
            "user_id": row["id"],
            "name": "x",
            "key_hash": "same",
            "prefix": "",
            "last_four": "",
            "scopes": "",
            "created_at": datetime.now(UTC),
        }
        store.append("writing", (api_keys, [key | {"id": new_id()}]))
    with pytest.raises(StoreError, match=r"(?i)unique"):
        store.append("writing", (api_keys, [key | {"id": new_id()}]))
