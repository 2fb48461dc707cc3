"""The schema goes forward, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select

from core.config import REPOSITORY
from core.errors import MigrationError, StoreError
from core.store.engine import MIGRATIONS, migrate, open_store, require_current_schema, select_schema_version
from core.store.predictions import insert_prediction, select_prediction
from core.store.recordings import insert_recording
from core.store.schema import metadata
from tests.factories import make_prediction, make_recording


def revisions():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


@pytest.fixture
def longer_migrations(tmp_path):
    """A copy of the migrations with two more: one that works, one that fails when half of it is done."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    head = revisions().get_current_head()
    (folder / "versions" / "9001_works.py").write_text(
        f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9001", "{head}"
def upgrade():
    op.add_column("recordings", sa.Column("owner", sa.Text))
    op.execute("UPDATE recordings SET name = 'changed'")
"""
    )
    (folder / "versions" / "9002_fails.py").write_text(
        """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9002", "9001"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Uuid, primary_key=True))
    op.execute("INSERT INTO no_such_table VALUES (1)")
"""
    )
    return folder


def test_empty_store_gets_the_newest_schema(store_url):
    with open_store(store_url, migrates=store_url.startswith("postgresql") is False) as store:
        migrate(store)
        assert select_schema_version(store) == revisions().get_current_head()
        require_current_schema(store)
        migrate(store)
        assert select_schema_version(store) == revisions().get_current_head()


def test_migrations_make_exactly_the_tables_of_the_schema(store):
    with store.transaction("comparing") as connection:
        tables = set(inspect(connection).get_table_names())
        assert tables == {"alembic_version", *metadata.tables}
        for table in metadata.tables.values():
            found = list(connection.execute(select(table)).keys())
            everything = connection.exec_driver_sql(f"SELECT * FROM {table.name}").keys()
            assert found == list(everything) == table.columns.keys()
        if store.backend == "postgresql":  # duckdb-engine reflects no types and constraints
            differences = compare_metadata(MigrationContext.configure(connection), metadata)
            assert [each for each in differences if each[0] != "remove_index"] == []


def test_migrations_go_forward_only_in_one_line():
    scripts = list(revisions().walk_revisions())
    assert len(revisions().get_heads()) == 1
    for script in scripts:
        assert not script.is_branch_point
        assert not hasattr(script.module, "downgrade")


def test_migration_that_fails_half_way_leaves_the_store_as_it_was(store, longer_migrations):
    recording = insert_recording(store, recording=make_recording())
    before = select_schema_version(store)
    with pytest.raises(MigrationError, match="no_such_table"):
        migrate(store, migrations=longer_migrations)
    assert select_schema_version(store) == before
    with store.transaction("looking") as connection:
        assert "half" not in inspect(connection).get_table_names()
        assert "owner" not in connection.exec_driver_sql("SELECT * FROM recordings").keys()  # noqa: SIM118
    prediction = insert_prediction(store, prediction=make_prediction(recording))
    assert select_prediction(store, prediction_id=prediction.id) == prediction
    migrate(store)


def test_failed_migration_survives_closing_and_opening(store_url, longer_migrations):
    with open_store(store_url) as store:
        recording = insert_recording(store, recording=make_recording())
        with pytest.raises(MigrationError):
            migrate(store, migrations=longer_migrations)
    with open_store(store_url) as store:
        assert insert_recording(store, recording=recording).name == recording.name
        require_current_schema(store)


def test_store_written_by_a_newer_version_is_refused_and_left_alone(store_url, longer_migrations):
    (longer_migrations / "versions" / "9002_fails.py").unlink()
    with open_store(store_url) as store:
        recording = insert_recording(store, recording=make_recording())
        migrate(store, migrations=longer_migrations)
    for _ in range(2):
        with pytest.raises(MigrationError, match="9001"):
            open_store(store_url)
    with open_store(store_url, migrates=False) as store:
        assert select_schema_version(store) == "9001"
        with pytest.raises(StoreError, match="9001"):
            require_current_schema(store)
        migrate(store, migrations=longer_migrations)
        assert insert_recording(store, recording=recording).id == recording.id


def test_migration_keeps_what_was_there(store, longer_migrations):
    (longer_migrations / "versions" / "9002_fails.py").unlink()
    recording = insert_recording(store, recording=make_recording())
    prediction = insert_prediction(store, prediction=make_prediction(recording))
    migrate(store, migrations=longer_migrations)
    assert select_schema_version(store) == "9001"
    assert select_prediction(store, prediction_id=prediction.id) == prediction


def test_threads_opening_one_empty_store_at_once_do_not_collide(store_url):
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(open_store, [store_url] * 6))
    assert {select_schema_version(store) for store in stores} == {revisions().get_current_head()}
    for store in stores:
        store.close()


def test_processes_migrating_one_empty_postgresql_at_once_do_not_collide(postgresql_url):
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "core.store", "migrate", "--url", postgresql_url],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, said
