"""Moving DuckDB's write-ahead log into its file, so that a process killed in the middle leaves a store that opens.

DuckDB 2.0 rewrites the block that lists all others in place, 256 KiB at once, while the header still points at it:
killed in the middle of that write, it leaves a file whose checksum is wrong, and nobody can open it any more (measured
in docs/store.md). So DuckDB never does so on its own here (`core.store.duckdb_dialect.connect_file`). Instead file and
log are first copied beside it, and the copy is removed when the file is whole again; whoever finds one puts it back.

    store.duckdb.before.wal     the log before, written first
    store.duckdb.before         the file before; under this name only when it is complete
"""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import duckdb
import structlog

CHECKPOINT_BYTES = 16_000_000
"""Size of the log from which it is moved into the file; of a large file up to four times that, as it is copied."""
SHARE_OF_FILE = 8
LARGEST_FACTOR = 4
OVERDUE_FACTOR = 4
"""A log so many times as long as is due is moved even while others have much to ask: they wait."""
COPIED_AT_CLOSE_BYTES = 256_000_000
"""Files up to this size take in their log whenever they are closed; larger ones only when it is due."""

_PIECE_BYTES = 4 * 1024**2

_log = structlog.get_logger("store")
_one_at_a_time = threading.Lock()


def is_due(path: Path, *, at_close: bool = False, checkpoint_bytes: int = CHECKPOINT_BYTES, factor: int = 1) -> bool:
    """Whether the log of the file at `path` is to be moved into it now; or is `factor` times as long as for that."""
    log_bytes, file_bytes = _size(_log_of(path)), _size(path)
    if at_close and file_bytes <= COPIED_AT_CLOSE_BYTES:
        return log_bytes > 0
    due_bytes = min(max(checkpoint_bytes, file_bytes // SHARE_OF_FILE), LARGEST_FACTOR * checkpoint_bytes)
    return log_bytes >= factor * due_bytes


def checkpoint(root: duckdb.DuckDBPyConnection, path: Path, descriptor: int) -> None:
    """Move the log into the file; no transaction may be under way, and none may begin meanwhile.

    A disk without room for the copy, and a transaction of somebody else's, are logged and harm nothing: the log stays.

    Parameters
    ----------
    descriptor
        Of the file at `path`, open for as long as `root` is: when a process closes a file, POSIX takes away all locks
        that it has on it, DuckDB's among them.

    Raises
    ------
    duckdb.Error, OSError
        DuckDB failed in the middle, or the copy could not be removed. Nothing may be written until the file is opened
        anew, which puts the copy back.
    """
    before = _before(path)
    with _one_at_a_time:
        try:
            _keep(path, descriptor)
        except OSError as error:
            _log.warning("the write-ahead log stays as it is: no copy", store=str(path), reason=str(error))
            before.unlink(missing_ok=True)
            _remove_copy(path)
            return
        try:
            root.execute("CHECKPOINT")
        except duckdb.TransactionException as error:
            _log.warning("the write-ahead log stays as it is", store=str(path), reason=str(error))
        before.unlink()
        _sync_folder(path)  # a copy that came back after a power cut would undo what is committed from now on
        _remove_copy(path)


def put_back(path: Path) -> bool:
    """Put the state before an interrupted checkpoint back, if there was one; whether there was.

    Does nothing while another process holds the file. Raises OSError.
    """
    before = _before(path)
    with _one_at_a_time:
        if before.exists():
            if not _is_free(path):
                return False
            _log.warning("a checkpoint was interrupted: the state before it is put back", store=str(path))
            if _log_of(before).exists():
                _log_of(before).replace(_log_of(path))
                _sync_folder(path)
            before.replace(path)
            _sync_folder(path)
            return True
        if _log_of(before).exists() and _is_free(path):
            _remove_copy(path)
        return False


def _remove_copy(path: Path) -> None:
    """All but a finished copy of the file, without which the rest means nothing."""
    _unfinished(_before(path)).unlink(missing_ok=True)
    _log_of(_before(path)).unlink(missing_ok=True)


def _keep(path: Path, descriptor: int) -> None:
    before = _before(path)
    with _log_of(path).open("rb") as log:
        _copy(log.fileno(), _log_of(before))
    _copy(descriptor, _unfinished(before))
    _unfinished(before).replace(before)
    _sync_folder(path)


def _copy(descriptor: int, target: Path) -> None:
    offset = 0
    with target.open("wb") as copy:
        target.chmod(os.fstat(descriptor).st_mode & 0o777)
        while piece := os.pread(descriptor, _PIECE_BYTES, offset):
            copy.write(piece)
            offset += len(piece)
        copy.flush()
        os.fsync(copy.fileno())


def _is_free(path: Path) -> bool:
    """Whether no other process has DuckDB's lock on the file."""
    if not path.exists():
        return True
    with path.open("rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _sync_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _before(path: Path) -> Path:
    return path.with_name(path.name + ".before")


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + ".wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
