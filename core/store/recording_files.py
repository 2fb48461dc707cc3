"""The bytes of recordings, kept by content hash in a folder or an object store: the same upload is stored once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.errors import StoreError, UnknownRecordingError

PARTIAL = ".partial"
"""Folder of what is being written, beside the folders of what is whole."""
LEFTOVER_AGE_S = 3600.0


class RecordingFiles:
    """A folder (path or any fsspec URL) of recordings, each under the SHA-256 of its content."""

    def __init__(self, url: str | Path) -> None:
        """Raises StoreError when the URL is of no kind that is known, or a local folder cannot be made."""
        self.url = str(url)
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.url)
            self._is_local = isinstance(self._files, LocalFileSystem)
            if self._is_local:
                _remove_leftovers(Path(self._root) / PARTIAL)
        except (OSError, ValueError, ImportError) as error:
            raise StoreError("opening the folder of recordings", str(error).rstrip(".")) from error

    def write(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256. Nobody ever sees half of it, and it survives `kill -9` once this returns.

        Raises
        ------
        StoreError
            The folder cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        try:
            if self._files.exists(path):
                return sha256
            if self._is_local:
                _write_whole(Path(path), data, Path(self._root) / PARTIAL)
            else:
                self._files.pipe_file(path, data)  # an object appears when its upload is complete
        except OSError as error:
            raise StoreError("keeping a recording", str(error).rstrip(".")) from error
        return sha256

    def read(self, sha256: str) -> bytes:
        """The bytes whose SHA-256 this is.

        Raises
        ------
        UnknownRecordingError
            They are not kept here.
        StoreError
            They cannot be read, or are no longer what was written.
        """
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise UnknownRecordingError(sha256)
        try:
            data: bytes = self._files.cat_file(self._path(sha256))
        except FileNotFoundError as error:
            raise UnknownRecordingError(sha256) from error
        except OSError as error:
            raise StoreError("reading a recording", str(error).rstrip(".")) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError("reading a recording", f"the file {sha256} is damaged")
        return data

    def delete(self, sha256: str) -> None:
        """Keep the bytes with this SHA-256 no longer; nothing to do where they are not kept.

        Raises
        ------
        StoreError
            They cannot be deleted.
        """
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise UnknownRecordingError(sha256)
        try:
            self._files.rm_file(self._path(sha256))
            if self._is_local:
                _push_to_disk(Path(self._path(sha256)).parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError("deleting a recording", str(error).rstrip(".")) from error

    def exists(self, sha256: str) -> bool:
        """Whether the bytes whose SHA-256 this is are kept here."""
        return bool(re.fullmatch("[0-9a-f]{64}", sha256)) and bool(self._files.exists(self._path(sha256)))

    def _path(self, sha256: str) -> str:
        return f"{self._root.rstrip('/')}/{sha256[:2]}/{sha256}"


def _write_whole(path: Path, data: bytes, partial_folder: Path) -> None:
    """Write elsewhere on the same disk, push it there, then rename: writers at the same time write the same bytes."""
    partial = partial_folder / uuid4().hex
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
            _push_to_disk(path.parent.parent)
        partial.replace(path)
        _push_to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _push_to_disk(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(partial_folder: Path) -> None:
    """Remove what writers that were killed left behind; what is younger may still be being written."""
    partial_folder.mkdir(parents=True, exist_ok=True)
    for leftover in partial_folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S:
                leftover.unlink()
