"""What DuckDB leaves torn when it is killed while it moves its log into its file is put back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import duckdb
import pytest

from core.config import REPOSITORY
from core.domain import PROCESS
from core.errors import StoreError
from core.store import checkpoints
from core.store.engine import Store, open_store
from core.store.recordings import insert_recording, select_recording
from tests.factories import make_recording

FIRST_BLOCK = 12_288


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.duckdb"


def log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def files(path: Path) -> set[str]:
    return {found.name for found in path.parent.iterdir()}


def add(store: Store) -> object:
    return insert_recording(store, recording=make_recording(str(uuid4()))).id


def tear(path: Path) -> None:
    """Half of the block that lists all others is of another time."""
    with path.open("rb+") as file:
        file.seek(FIRST_BLOCK + 100)
        file.write(b"torn" * 1_000)


def abandon(store: Store) -> None:
    """Leave the files as a killed process does."""
    store._engine.dispose()
    store._root.close()
    os.close(store._descriptor)


def has(store: Store, recording_id) -> bool:
    return select_recording(store, reader=PROCESS, recording_id=recording_id) is not None


def test_a_torn_file_does_not_open_and_says_so(path):
    open_store(path).close()
    tear(path)
    with pytest.raises(StoreError, match=r"the file is damaged .*checksum.*a backup has to take its place"):
        open_store(path)


def test_a_file_that_another_process_holds_names_it(path):
    open_store(path).close()
    child = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(path)!r}); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    child.stdout.readline()
    try:
        with pytest.raises(StoreError, match=f"process {child.pid} holds the lock on this file"):
            open_store(path)
    finally:
        child.communicate(b"\n")


def test_torn_in_the_middle_of_a_checkpoint_all_that_was_committed_is_there(path):
    with open_store(path) as store:
        first = add(store)
    store = open_store(path)
    second = add(store)
    checkpoints._keep(path, store._descriptor)
    abandon(store)
    tear(path)
    with open_store(path) as store:
        assert has(store, first)
        assert has(store, second)
    assert files(path) == {path.name}


def test_killed_after_the_checkpoint_but_before_its_copy_was_gone(path):
    store = open_store(path)
    recording = add(store)
    checkpoints._keep(path, store._descriptor)
    store._root.execute("CHECKPOINT")
    abandon(store)
    assert not log_of(path).exists()
    with open_store(path) as store:
        assert has(store, recording)
    assert files(path) == {path.name}


def test_put_back_by_half_is_put_back_whole(path):
    store = open_store(path)
    recording = add(store)
    checkpoints._keep(path, store._descriptor)
    abandon(store)
    tear(path)
    path.with_name(path.name + ".before.wal").replace(log_of(path))
    with open_store(path) as store:
        assert has(store, recording)
    assert files(path) == {path.name}


def test_an_unfinished_copy_is_no_copy(path):
    store = open_store(path)
    recording = add(store)
    abandon(store)
    for name in (".before.part", ".before.wal"):
        path.with_name(path.name + name).write_bytes(b"half of something")
    with open_store(path) as store:
        assert has(store, recording)
    assert files(path) == {path.name}


def test_the_log_is_moved_between_transactions_once_it_is_large(path):
    with open_store(path) as store:
        store.checkpoint_bytes = 30_000
        sizes = []
        for _ in range(60):
            add(store)
            sizes.append(log_of(path).stat().st_size if log_of(path).exists() else 0)
        assert max(sizes) < 31_000
        assert any(later < earlier for earlier, later in pairwise(sizes))
        assert files(path) <= {path.name, log_of(path).name}


def test_the_log_stays_short_though_somebody_always_has_a_question(path):
    with open_store(path) as store:
        store.checkpoint_bytes = 6_000
        longest, is_over = [0], threading.Event()

        def ask():
            while not is_over.is_set():
                with store.transaction("asking") as connection:
                    connection.exec_driver_sql("SELECT 1").scalar_one()
                    add(store)  # a transaction inside another one never waits
                    is_over.wait(0.004)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            add(store)
            longest.append(log_of(path).stat().st_size if log_of(path).exists() else 0)
        is_over.set()
        for thread in threads:
            thread.join()
    assert max(longest) < 120_000, "it is due at 24 kB, and overdue at 96"


def test_duckdb_moves_nothing_on_its_own(path, monkeypatch):
    monkeypatch.setattr("core.store.engine.is_due", lambda *_, **__: False)
    store = open_store(path)
    with store.transaction("writing more than DuckDB keeps in its log by default") as connection:
        connection.exec_driver_sql("CREATE TABLE large AS SELECT range AS i, repeat('x', 200) AS s FROM range(200000)")
    header = path.read_bytes()[:FIRST_BLOCK]
    store.close()
    assert log_of(path).exists()
    with open_store(path) as store, store.transaction("counting") as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM large").scalar_one() == 200_000
    assert path.read_bytes()[:FIRST_BLOCK] == header


def test_without_room_for_the_copy_the_log_stays_and_the_store_goes_on(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with open_store(path) as store:
        store.checkpoint_bytes = 0
        monkeypatch.setattr("core.store.checkpoints._copy", full)
        recording = add(store)
        assert has(store, recording)
    assert files(path) == {path.name, log_of(path).name}
    monkeypatch.undo()
    with open_store(path) as store:
        assert has(store, recording)


def test_a_copy_that_is_not_sure_to_be_on_the_disk_is_not_put_back_later(path, monkeypatch):
    def broken(_):
        raise OSError(5, "Input/output error")

    store = open_store(path)
    monkeypatch.setattr("core.store.checkpoints._sync_folder", broken)
    store.checkpoint_bytes = 0
    first = add(store)
    monkeypatch.undo()
    assert files(path) == {path.name, log_of(path).name}
    store.checkpoint_bytes = checkpoints.CHECKPOINT_BYTES
    later = add(store)
    abandon(store)
    with open_store(path) as store:
        assert has(store, first)
        assert has(store, later)


def test_a_copy_that_cannot_be_removed_ends_the_store_and_nothing_is_lost(path, monkeypatch):
    def stuck(self, missing_ok=False):
        raise OSError(30, "Read-only file system")

    store = open_store(path)
    store.checkpoint_bytes = 0
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.unlink", stuck)
        with store.transaction("doing one thing") as connection:
            connection.exec_driver_sql("CREATE TABLE last_thing AS SELECT 7 AS i")
    with pytest.raises(StoreError, match="it has been closed"):
        add(store)
    abandon(store)
    with open_store(path) as store, store.transaction("looking") as connection:
        assert connection.exec_driver_sql("SELECT i FROM last_thing").scalar_one() == 7


def test_after_an_error_in_the_middle_nothing_more_is_accepted_and_nothing_is_lost(path, monkeypatch):
    store = open_store(path)
    recording = add(store)
    store.checkpoint_bytes = 0

    class Failing:
        def execute(self, _):
            raise duckdb.IOException("Could not write")

    root, store._root = store._root, Failing()
    with store.transaction("doing one thing more") as connection:
        connection.exec_driver_sql("CREATE TABLE last_thing AS SELECT 7 AS i")
    with pytest.raises(StoreError, match="it has been closed"):
        add(store)
    store._root = root
    abandon(store)
    tear(path)
    with open_store(path) as store:
        assert has(store, recording)
        with store.transaction("looking") as connection:
            assert connection.exec_driver_sql("SELECT i FROM last_thing").scalar_one() == 7


def test_a_living_process_keeps_its_copy(path):
    """Somebody who opens the store meanwhile is refused, and takes nothing away."""
    script = (
        "import sys; from pathlib import Path; from core.store import checkpoints; "
        "from core.store.engine import open_store; from tests.factories import make_recording; "
        "from core.store.recordings import insert_recording; path = Path(sys.argv[1]); store = open_store(path); "
        "insert_recording(store, recording=make_recording()); checkpoints._keep(path, store._descriptor); "
        "print(1, flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    child.stdout.readline()
    try:
        before = files(path)
        with pytest.raises(StoreError, match="holds the lock"):
            open_store(path)
        assert files(path) == before
    finally:
        child.kill()
        child.communicate()
    with open_store(path):
        pass
    assert files(path) == {path.name}
