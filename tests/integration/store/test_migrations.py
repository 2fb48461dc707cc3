"""The schema goes forward, whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import duckdb
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

from core.config import REPOSITORY
from core.domain import NOBODY, PROCESS, Emotion, OwnLabel, Reader
from core.errors import MigrationError, StoreError
from core.store.engine import MIGRATIONS, migrate, open_store, require_current_schema, select_schema_version
from core.store.predictions import (
    PredictionFilter,
    count_predictions,
    insert_prediction,
    select_prediction,
    select_predictions,
)
from core.store.recordings import count_recordings, insert_recording, select_recording
from core.store.schema import metadata, usage_days
from core.store.usage import insert_usage_events
from tests.factories import make_prediction, make_recording, make_usage_event


def revisions():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


@pytest.fixture(params=["duckdb", "postgresql"])
def store_url(request, tmp_path):
    """Where a store may stand, and none does yet, on each database in turn."""
    return (
        str(tmp_path / "store.duckdb") if request.param == "duckdb" else request.getfixturevalue("empty_postgresql_url")
    )


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
    assert select_prediction(store, reader=PROCESS, prediction_id=prediction.id) == prediction
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
    assert select_prediction(store, reader=PROCESS, prediction_id=prediction.id) == prediction


def test_threads_opening_one_empty_store_at_once_do_not_collide(store_url):
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(open_store, [store_url] * 6))
    assert {select_schema_version(store) for store in stores} == {revisions().get_current_head()}
    for store in stores:
        store.close()


def test_processes_migrating_one_empty_postgresql_at_once_do_not_collide(empty_postgresql_url):
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "core.store", "migrate", "--url", empty_postgresql_url],
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


def test_what_was_kept_before_there_were_owners_is_kept_and_nobodys(store_url, tmp_path):
    before = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, before)
    for script in (before / "versions").glob("*.py"):
        if not script.name.startswith("0001"):
            script.unlink()
    is_postgresql = store_url.startswith("postgresql")
    with open_store(store_url, migrates=False) if is_postgresql else empty_duckdb(store_url) as old:
        migrate(old, migrations=before)
        with old.transaction("filling") as connection:
            for number in range(3):
                connection.execute(text(OLD_RECORDING), {"id": str(UUID(int=number)), "sha256": f"{number:064x}"})
                for answer in range(2):
                    ids = {"id": str(UUID(int=10 * number + answer)), "recording_id": str(UUID(int=number))}
                    connection.execute(text(OLD_PREDICTION), ids)
                    connection.execute(text(OLD_DETAILS), ids)
    with open_store(store_url) as store:
        assert (count_recordings(store, reader=PROCESS), count_predictions(store, reader=PROCESS)) == (3, 6)
        recording = select_recording(store, recording_id=UUID(int=2), reader=PROCESS)
        assert (recording.owner_id, recording.project_id, recording.name) == (NOBODY, None, "old.wav")
        assert (recording.sha256, recording.duration_s) == (f"{2:064x}", 1.5)
        [row, _] = select_predictions(store, filter=PredictionFilter(recording_id=UUID(int=2)), reader=PROCESS).items
        assert (row.emotion, row.confidence, row.recording_name) == (Emotion.SAD, 0.9, "old.wav")
        assert row.probabilities[Emotion.SAD] == 0.9
        assert count_recordings(store, reader=Reader(user_id=NOBODY)) == 0
        assert insert_recording(store, recording=replace(make_recording(), sha256=recording.sha256)) == recording
        if store.backend == "postgresql":
            with store.transaction("looking") as connection:
                names = {index["name"] for index in inspect(connection).get_indexes("predictions")}
            assert {"ix_predictions_created_at", "ix_predictions_owner_id", "ix_predictions_recording_id"} <= names


OLD_RECORDING = """
INSERT INTO recordings VALUES
(CAST(:id AS UUID), :sha256, 'old.wav', 48044, 1.5, 'wav', 'pcm_s16le', 16000, 1, '[]', 'upload', '2026-11-01 12:00:00')
"""
OLD_PREDICTION = """
INSERT INTO predictions VALUES
(CAST(:id AS UUID), CAST(:recording_id AS UUID), '2026-11-01 12:00:01', 'telepathy-0123456789ab', 'upload', 'sad', 0.9,
 false, 0.4, 0.3, 0.1, 0, 0, 0, 0.9, 0.1, 0, 0, 0, 30, 1.5, 20)
"""
OLD_DETAILS = "INSERT INTO prediction_details VALUES (CAST(:id AS UUID), CAST(:recording_id AS TEXT), '{}')"


def empty_duckdb(path: str):
    """An open DuckDB store without any table."""
    duckdb.connect(path).close()
    return open_store(path, migrates=False)


def test_days_that_had_own_labels_are_summed_up_again(store_url, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(MIGRATIONS, older)
    for file in (older / "versions").glob("*.py"):
        if file.stem >= "0016":
            file.unlink()
    days = [datetime(2026, 3, number, tzinfo=UTC) for number in (1, 2)]
    if not store_url.startswith("postgresql"):
        duckdb.connect(store_url).close()
    with open_store(store_url, migrates=False) as store:
        migrate(store, migrations=older)
        own = make_usage_event(at=days[0].replace(hour=7), emotion=OwnLabel("bored"))
        insert_usage_events(store, events=[own, make_usage_event(at=days[1].replace(hour=7))])
        marks = [{"day": day, "n_late": 1, "summed_up_at": days[1]} for day in days]
        store.append("summing up", (usage_days, marks))
        migrate(store)
        with store.transaction("looking") as connection:
            assert list(connection.execute(select(usage_days.c.day)).scalars()) == [days[1]]
