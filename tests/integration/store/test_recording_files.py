"""Recordings by content hash: once, whole, and unharmed by writers at the same time."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from core.config import REPOSITORY
from core.errors import StoreError, UnknownRecordingError
from core.secrets import Vault, new_secret_key, parsed_keys
from core.store.recording_files import PARTIAL, RecordingFiles


@pytest.fixture(params=["folder", "object store"])
def files(request, tmp_path):
    """A folder of recordings, and fsspec's store in memory standing for object stores."""
    return RecordingFiles(tmp_path / "recordings" if request.param == "folder" else f"memory://{uuid.uuid4()}")


def kept_files(folder):
    return sorted(path for path in folder.glob("[!.]*/*") if path.is_file())


def test_bytes_come_back_under_their_sha256(files):
    data = os.urandom(100_000)
    sha256 = files.write(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert files.exists(sha256)
    assert files.read(sha256) == data


def test_empty_recording_is_kept_too(files):
    assert files.read(files.write(b"")) == b""


def test_same_bytes_are_written_once(tmp_path):
    files = RecordingFiles(tmp_path)
    sha256 = files.write(b"same")
    (path,) = kept_files(tmp_path)
    written_at = path.stat().st_mtime_ns
    assert files.write(b"same") == sha256
    assert kept_files(tmp_path) == [path]
    assert path.stat().st_mtime_ns == written_at


def test_many_threads_writing_the_same_bytes_leave_one_whole_file(tmp_path):
    files = RecordingFiles(tmp_path)
    data = os.urandom(1_000_000)
    with ThreadPoolExecutor(16) as pool:
        hashes = set(pool.map(files.write, [data] * 32))
    assert len(hashes) == 1
    assert files.read(hashes.pop()) == data
    assert len(kept_files(tmp_path)) == 1


@pytest.mark.parametrize("sha256", ["0" * 64, "../../../etc/passwd", "", "A" * 64, "0" * 63])
def test_unknown_hash_is_said_to_be_unknown(files, sha256):
    assert not files.exists(sha256)
    with pytest.raises(UnknownRecordingError):
        files.read(sha256)


def test_damaged_file_is_noticed(tmp_path):
    files = RecordingFiles(tmp_path)
    sha256 = files.write(b"whole")
    kept_files(tmp_path)[0].write_bytes(b"who")
    with pytest.raises(StoreError, match="damaged"):
        files.read(sha256)


def test_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="folder of recordings"):
        RecordingFiles(tmp_path / "taken")


def test_folder_that_is_lost_while_running_is_a_store_error(tmp_path):
    files = RecordingFiles(tmp_path / "recordings")
    shutil.rmtree(tmp_path / "recordings")
    (tmp_path / "recordings").write_text("a file")
    with pytest.raises(StoreError, match="keeping a recording"):
        files.write(b"data")


def test_unknown_kind_of_url_is_a_store_error():
    with pytest.raises(StoreError, match="nowhere"):
        RecordingFiles("nowhere://bucket")


WRITER = """
import os, sys
from core.store.recording_files import RecordingFiles
files = RecordingFiles(sys.argv[1])
while True:
    print(files.write(os.urandom(2_000_000)), flush=True)
"""


def test_kill_9_leaves_every_acknowledged_recording_whole(tmp_path):
    files = RecordingFiles(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    acknowledged = [child.stdout.readline().strip() for _ in range(8)]
    child.send_signal(signal.SIGKILL)
    acknowledged += child.communicate()[0].split()
    for sha256 in acknowledged:
        assert len(files.read(sha256)) == 2_000_000
    for path in kept_files(tmp_path):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def test_what_killed_writers_left_is_removed_an_hour_later(tmp_path):
    files = RecordingFiles(tmp_path)
    sha256 = files.write(b"whole")
    old, young = tmp_path / PARTIAL / "old", tmp_path / PARTIAL / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    files = RecordingFiles(tmp_path)
    assert not old.exists()
    assert young.exists()
    assert files.read(sha256) == b"whole"


def test_what_waits_is_taken_and_stays_when_the_waiting_is_over(files):
    waiting = files.waiting("batch")
    sha256 = waiting.write(b"a sound")
    files.take(sha256, b"a sound", waiting=waiting)
    files.take(sha256, b"a sound", waiting=waiting)
    waiting.delete_all()
    assert files.read(sha256) == b"a sound"


def test_what_waits_is_taken_without_a_copy_and_as_young_as_one_written_now(tmp_path):
    files = RecordingFiles(tmp_path / "recordings")
    waiting = files.waiting("batch")
    sha256 = waiting.write(b"a sound")
    [kept] = kept_files(tmp_path / "recordings-waiting" / "batch")
    os.utime(kept, (0, 0))
    files.take(sha256, b"a sound", waiting=waiting)
    [taken] = kept_files(tmp_path / "recordings")
    assert taken.samefile(kept)
    assert not files.is_older(sha256, datetime.now(UTC) - timedelta(hours=1))


def test_what_waits_in_the_clear_is_written_encrypted_where_recordings_are(tmp_path):
    plain = RecordingFiles(tmp_path / "recordings").waiting("batch")  # before the setting said otherwise
    files = RecordingFiles(tmp_path / "recordings", vault=Vault(parsed_keys(new_secret_key())), encrypts=True)
    sha256 = plain.write(b"a sound")
    files.take(sha256, b"a sound", waiting=files.waiting("batch"))
    [taken] = kept_files(tmp_path / "recordings")
    assert b"a sound" not in taken.read_bytes()
    assert files.read(sha256) == b"a sound"
