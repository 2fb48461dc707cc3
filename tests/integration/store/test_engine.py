"""Opening, closing, failing, and many threads at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import literal, select

from core.config import REPOSITORY
from core.domain import PROCESS
from core.errors import InvalidSettingError, StoreError
from core.identifiers import new_id
from core.store.engine import open_store
from core.store.predictions import count_predictions, insert_prediction, select_prediction, select_predictions
from core.store.recordings import count_recordings, insert_recording, select_recording
from core.store.schema import recordings
from tests.factories import make_prediction, make_recording


def python(*arguments, **environment):
    """What a fresh interpreter says, in the repository, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def test_what_was_kept_is_there_after_closing_and_opening_again(store_url):
    with open_store(store_url) as store:
        recording = insert_recording(store, recording=make_recording())
        prediction = insert_prediction(store, prediction=make_prediction(recording))
    with open_store(store_url) as store:
        assert select_prediction(store, reader=PROCESS, prediction_id=prediction.id) == prediction


def test_closed_store_says_so_and_closes_twice(store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="it has been closed"):
        count_predictions(store, reader=PROCESS)
    with pytest.raises(StoreError, match="it has been closed"):
        store.require_writable()


def test_closing_leaves_everything_in_the_file_and_no_log_behind(tmp_path):
    path = tmp_path / "store.duckdb"
    with open_store(path) as store:
        insert_recording(store, recording=make_recording())
        assert path.with_name("store.duckdb.wal").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["store.duckdb"]


def test_closing_waits_for_a_transaction_under_way(store_url):
    store = open_store(store_url)
    recording = insert_recording(store, recording=make_recording())
    row = {"id": new_id(), "sha256": "late"}
    begun, may_end = threading.Event(), threading.Event()

    def dawdle():
        with store.transaction("dawdling") as connection:
            connection.execute(copy_of(recording, row))
            begun.set()
            assert may_end.wait(20)

    with ThreadPoolExecutor(2) as pool:
        dawdling = pool.submit(dawdle)
        assert begun.wait(20)
        closing = pool.submit(store.close, deadline_s=20)
        with pytest.raises(TimeoutError):
            closing.result(timeout=0.05)
        may_end.set()
        dawdling.result()
        closing.result()
    with open_store(store_url) as reopened:
        assert select_recording(reopened, reader=PROCESS, recording_id=row["id"]).sha256 == "late"


def test_transaction_that_outlasts_closing_still_ends_and_then_lets_go(store_url):
    store = open_store(store_url)
    recording = insert_recording(store, recording=make_recording())
    row = {"id": new_id(), "sha256": "late"}
    with store.transaction("dawdling") as connection:
        store.close(deadline_s=0)
        connection.execute(copy_of(recording, row))
    with pytest.raises(StoreError, match="it has been closed"):
        count_predictions(store, reader=PROCESS)
    with open_store(store_url) as reopened:
        assert select_recording(reopened, reader=PROCESS, recording_id=row["id"]).sha256 == "late"


def copy_of(recording, changed):
    """An INSERT of the row of `recording` with other values in some columns."""
    columns = {column.name: column for column in recordings.columns}
    values = [literal(changed[name]).label(name) if name in changed else columns[name] for name in columns]
    copied = select(*values).where(recordings.c.id == recording.id)
    return recordings.insert().from_select(list(columns), copied)


def test_many_threads_append_and_read_at_once(store):
    recording = insert_recording(store, recording=make_recording())

    def append_and_read(_):
        made = [insert_prediction(store, prediction=make_prediction(recording)) for _ in range(20)]
        select_predictions(store, reader=PROCESS)
        assert all(
            select_prediction(store, reader=PROCESS, prediction_id=prediction.id) == prediction for prediction in made
        )
        return count_predictions(store, reader=PROCESS)

    with ThreadPoolExecutor(12) as pool:
        counts = list(pool.map(append_and_read, range(12)))
    assert max(counts) == count_predictions(store, reader=PROCESS) == 240


def test_writable_store_stays_as_it_was(store):
    store.require_writable()
    store.require_writable()
    assert count_recordings(store, reader=PROCESS) == 0


def test_store_without_tables_is_not_writable(store_url):
    open_store(store_url).close()
    with open_store(store_url) as store:
        with store.transaction("dropping") as connection:
            connection.exec_driver_sql("DROP TABLE predictions")
            connection.exec_driver_sql("DROP TABLE recordings")
        with pytest.raises(StoreError, match="checking that it can be written"):
            store.require_writable()


def test_second_process_is_told_who_holds_the_file(tmp_path):
    path = tmp_path / "store.duckdb"
    with open_store(path):
        done = python("-m", "core.store", "check", "--url", str(path))
    assert done.returncode == 1
    assert "holds the lock on this file" in done.stderr
    assert "one process at a time" in done.stderr
    assert "Traceback" not in done.stderr
    assert python("-m", "core.store", "check", "--url", str(path)).returncode == 0


def test_file_that_is_no_store_is_a_store_error_and_stays(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 1000)
    with pytest.raises(StoreError, match=r"opening .*notes\.txt"):
        open_store(path)
    assert path.read_text() == "not a database " * 1000


def test_folder_in_place_of_the_file_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="opening"):
        open_store(tmp_path)


def test_server_that_does_not_answer_is_a_store_error_without_the_password(postgresql_server):
    url = postgresql_server.url("none").replace("telepathy@", "telepathy:secret@")
    with pytest.raises(StoreError, match="opening postgresql") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite:///x.db", "duckdb://", "http://[", "://"])
def test_url_of_an_unknown_kind_is_a_setting_error(url):
    with pytest.raises(InvalidSettingError, match="store_url"):
        open_store(url)


def test_password_is_not_in_the_name_of_a_store_nor_in_a_complaint():
    with pytest.raises(InvalidSettingError) as caught:
        open_store("mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_has_several_spellings(postgresql_url, scheme):
    with open_store(postgresql_url.replace("postgresql+psycopg", scheme)) as store:
        assert store.backend == "postgresql"
        assert count_predictions(store, reader=PROCESS) == 0


def test_path_may_be_a_url(tmp_path):
    with open_store(f"duckdb:///{tmp_path}/deep/er/store.duckdb") as store:
        assert count_predictions(store, reader=PROCESS) == 0
    assert (tmp_path / "deep" / "er" / "store.duckdb").is_file()


def test_store_goes_on_after_the_server_dropped_its_connections(postgresql_url):
    with open_store(postgresql_url) as store:
        assert count_predictions(store, reader=PROCESS) == 0
        with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert count_predictions(store, reader=PROCESS) == 0


FILLING = """
import resource, sys
from core.errors import StoreError
from core.store.engine import open_store
from core.store.predictions import insert_prediction
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording

store = open_store(sys.argv[1])
recording = insert_recording(store, recording=make_recording())
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    while True:
        print(insert_prediction(store, prediction=make_prediction(recording)).id, flush=True)
except StoreError as error:
    print(error, file=sys.stderr)
"""


def test_full_disk_is_said_and_what_was_acknowledged_stays(tmp_path):
    """A limit on the size of files stands for a full disk: both make write() fail."""
    path = tmp_path / "store.duckdb"
    done = python("-c", FILLING, str(path))
    assert "The store failed while appending predictions" in done.stderr
    assert "Traceback" not in done.stderr
    acknowledged = done.stdout.split()
    assert len(acknowledged) > 50
    with open_store(path) as store:
        kept = {str(row.id) for row in pages(store)}
    assert set(acknowledged) <= kept


def pages(store):
    cursor = None
    while True:
        page = select_predictions(store, reader=PROCESS, limit=1000, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def test_command_line_makes_and_checks_the_store_that_the_settings_name(tmp_path):
    missing = python("-m", "core.store", "check", TELEPATHY_DATA_DIR=str(tmp_path))
    assert missing.returncode == 1
    assert "no such file" in missing.stderr
    assert not list(tmp_path.iterdir())
    for command in ("migrate", "migrate", "check"):
        done = python("-m", "core.store", command, TELEPATHY_DATA_DIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert "0 recordings, 0 predictions" in done.stdout
    assert (tmp_path / "store.duckdb").is_file()


def test_command_line_says_wrong_settings_in_a_sentence(tmp_path):
    done = python("-m", "core.store", "migrate", TELEPATHY_STORE_URL="mysql://host/db")
    assert done.returncode == 1
    assert done.stderr.startswith("The setting 'store_url' is")
    assert "Traceback" not in done.stderr


def test_store_folder_may_hold_any_characters(tmp_path):
    path = tmp_path / "Ordner mit 100% 'Leer'zeichen" / "störe.duckdb"
    with open_store(path) as store:
        assert count_predictions(store, reader=PROCESS) == 0
    assert Path(path).is_file()
