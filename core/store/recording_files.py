"""The bytes of recordings, kept by content hash in a folder or an object store: the same upload is stored once.

They may be encrypted there. Their name stays the hash of what they hold, and what stood there before is read as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.errors import SecretError, StoreError, UnknownRecordingError
from core.secrets import Vault
from core.store.recording_cipher import HEADER_BYTES, TamperedError, decrypted, encrypted, key_id_of

PARTIAL = ".partial"
"""Folder of what is being written, beside the folders of what is whole."""
LEFTOVER_AGE_S = 3600.0
SHA256 = re.compile("[0-9a-f]{64}")


class RecordingFiles:
    """A folder (path or any fsspec URL) of recordings, each under the SHA-256 of its content."""

    def __init__(self, url: str | Path, *, vault: Vault | None = None, encrypts: bool = False) -> None:
        """Raises StoreError when the URL is of no kind that is known, or a local folder cannot be made.

        Parameters
        ----------
        vault
            Opens recordings that are encrypted; without one they cannot be read.
        encrypts
            Whether new recordings are encrypted, which needs a vault.
        """
        if encrypts and vault is None:
            raise ValueError("encrypting recordings needs a vault")
        self.url = str(url)
        self.encrypts = encrypts
        self._vault = vault
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
            if not self._files.exists(path):
                self._put(path, data, sha256)
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
        SecretError
            They are encrypted with a key that is not at hand.
        """
        if not SHA256.fullmatch(sha256):
            raise UnknownRecordingError(sha256)
        try:
            kept: bytes = self._files.cat_file(self._path(sha256))
        except FileNotFoundError as error:
            raise UnknownRecordingError(sha256) from error
        except OSError as error:
            raise StoreError("reading a recording", str(error).rstrip(".")) from error
        if hashlib.sha256(kept).hexdigest() == sha256:
            return kept
        damaged = StoreError("reading a recording", f"the file {sha256} is damaged")
        if key_id_of(kept) is None:
            raise damaged
        if self._vault is None:
            raise SecretError(f"The recording {sha256}")
        try:
            data = b"".join(decrypted(io.BytesIO(kept), self._vault, sha256))
        except TamperedError as error:
            raise damaged from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise damaged
        return data

    def take(self, sha256: str, data: bytes, *, waiting: RecordingFiles) -> None:
        """Keep `data`, whose SHA-256 this is and which waits in the folder beside: by another name, not a copy.

        It is written where that cannot be: in object stores, or when what waits is not kept as a new recording would
        be. Raises StoreError.
        """
        if not self._linked(sha256, waiting):
            self.write(data)

    def _linked(self, sha256: str, waiting: RecordingFiles) -> bool:
        if not (self._is_local and waiting._is_local):
            return False
        kept, path = Path(waiting._path(sha256)), Path(self._path(sha256))
        try:
            if self.encrypts and not (waiting.encrypts and waiting.is_current(sha256)):
                return False
            os.utime(kept)  # whoever looks for sounds that nobody has goes by their age
            path.parent.mkdir(exist_ok=True)
            os.link(kept, path)
            _push_to_disk(path.parent)
            _push_to_disk(path.parent.parent)
        except FileExistsError:
            return True
        except (OSError, StoreError):
            return False  # it is written instead
        return True

    def waiting(self, name: str) -> RecordingFiles:
        """A folder beside this one, kept in the same way, for sounds that wait to be looked at together."""
        return RecordingFiles(f"{self.url.rstrip('/')}-waiting/{name}", vault=self._vault, encrypts=self.encrypts)

    def all_waiting(self) -> list[RecordingFiles]:
        """Every folder that `waiting` gave and that is still there. Raises StoreError."""
        root = f"{self._root.rstrip('/')}-waiting"
        try:
            paths = self._files.ls(root, detail=False) if self._files.exists(root) else []
        except OSError as error:
            raise StoreError("listing folders of recordings", str(error).rstrip(".")) from error
        return [self.waiting(name) for name in sorted(path.rstrip("/").rpartition("/")[2] for path in paths)]

    def delete_all(self) -> None:
        """Delete the folder with all it holds; nothing to do where there is none. Raises StoreError."""
        try:
            if self._files.exists(self._root):
                self._files.rm(self._root, recursive=True)
        except FileNotFoundError:
            return  # somebody else was first
        except OSError as error:
            raise StoreError("deleting a folder of recordings", str(error).rstrip(".")) from error

    def delete(self, sha256: str) -> None:
        """Keep the bytes with this SHA-256 no longer; nothing to do where they are not kept.

        Raises
        ------
        StoreError
            They cannot be deleted.
        """
        if not SHA256.fullmatch(sha256):
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
        """Whether the bytes whose SHA-256 this is are kept here. Raises StoreError where that cannot be told."""
        try:
            return bool(SHA256.fullmatch(sha256)) and bool(self._files.exists(self._path(sha256)))
        except OSError as error:
            raise StoreError("looking for a recording", str(error).rstrip(".")) from error

    def hashes(self) -> Iterator[str]:
        """The SHA-256 of every recording kept here, in no order. Raises StoreError."""
        try:
            for path in self._files.find(self._root):
                name = path.rpartition("/")[2]
                if SHA256.fullmatch(name):
                    yield name
        except OSError as error:
            raise StoreError("listing the recordings", str(error).rstrip(".")) from error

    def is_older(self, sha256: str, than: datetime) -> bool:
        """Whether a recording was written before `than`; False for one that is not kept here. Raises StoreError."""
        try:
            return bool(self._files.modified(self._path(sha256)) < than)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError("looking for a recording", str(error).rstrip(".")) from error

    def is_current(self, sha256: str) -> bool:
        """Whether a recording is kept as a new one would be: under the key that encrypts, or plain where none does.

        What is encrypted stays so: where none are encrypted any more, it is current under the first key.

        Raises
        ------
        UnknownRecordingError, StoreError
            It is not kept here, or cannot be read.
        """
        try:
            head: bytes = self._files.cat_file(self._path(sha256), start=0, end=HEADER_BYTES)
        except FileNotFoundError as error:
            raise UnknownRecordingError(sha256) from error
        except OSError as error:
            raise StoreError("reading a recording", str(error).rstrip(".")) from error
        key_id = key_id_of(head)
        if key_id is None:
            return not self.encrypts
        return self._vault is not None and key_id == self._vault.sealing_key.id

    def renew(self, sha256: str) -> None:
        """Encrypt a recording under the key that encrypts now, in place: readers find the old bytes or the new.

        Raises
        ------
        UnknownRecordingError, StoreError, SecretError
            It is not kept here (any more), or cannot be read or written.
        """
        data = self.read(sha256)
        path = self._path(sha256)
        if not self._files.exists(path):  # deleted meanwhile: it stays deleted
            raise UnknownRecordingError(sha256)
        try:
            self._put(path, data, sha256, encrypts=True)
        except OSError as error:
            raise StoreError("keeping a recording", str(error).rstrip(".")) from error

    def _put(self, path: str, data: bytes, sha256: str, *, encrypts: bool | None = None) -> None:
        blocks: Iterable[bytes] = [data]
        if self._vault is not None and (self.encrypts if encrypts is None else encrypts):
            blocks = encrypted(io.BytesIO(data), self._vault.sealing_key, sha256)
        if self._is_local:
            _write_whole(Path(path), blocks, Path(self._root) / PARTIAL)
        else:
            self._files.pipe_file(path, b"".join(blocks))  # an object appears when its upload is complete

    def _path(self, sha256: str) -> str:
        return f"{self._root.rstrip('/')}/{sha256[:2]}/{sha256}"


def _write_whole(path: Path, blocks: Iterable[bytes], partial_folder: Path) -> None:
    """Write elsewhere on the same disk, push it there, then rename: writers at the same time write the same bytes."""
    partial = partial_folder / uuid4().hex
    try:
        with partial.open("xb") as file:
            for block in blocks:
                file.write(block)
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
