"""ZIPs that people send, unpacked file by file, and never more of them than is allowed: what one claims of itself
counts for nothing, since a few kilobytes can claim to be small and unpack to gigabytes."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from core.errors import ArchiveError

IGNORED = ("__MACOSX/", ".DS_Store", "Thumbs.db")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What systems make. Others unpack in ways of their own, each with errors and an appetite for memory of its own."""
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, IndexError)
"""What `zipfile` raises over bytes that are no ZIP, or were one."""
LISTING_BYTES = 1024
"""Of the list at the end of a ZIP, for each file that it may hold; a path, dates and rights take some 150."""
_BLOCK = 1 << 16
_IS_UTF_8 = 0x800
_END_BYTES = 1 << 17
"""Of the end of a ZIP, where `zipfile` looks for that list: at most 64 KiB and a little."""


def is_archive(name: str, start: bytes) -> bool:
    """Whether a file that begins with `start` is a ZIP to be unpacked.

    >>> is_archive("clips.zip", b"PK\\x03\\x04"), is_archive("clip.wav", b"RIFF"), is_archive("clips.zip", b"RIFF")
    (True, False, False)
    """
    return name.lower().endswith(".zip") and start.startswith((b"PK\x03\x04", b"PK\x05\x06"))


class _ListedBriefly:
    """A file of which, while a ZIP in it is opened, not more than its list may be long is read at once.

    `zipfile` reads the whole list and makes an object of every entry before it can be asked how many there are: 23 MB
    of them took 200 MB and five seconds.
    """

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._max_bytes: int | None = max_bytes

    def read(self, n_bytes: int = -1) -> bytes:
        if self._max_bytes is not None and n_bytes > self._max_bytes:
            raise _TooLongError
        return self._file.read(n_bytes)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def opened(self) -> None:
        """From now on, read as much as is asked for."""
        self._max_bytes = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


class _TooLongError(Exception):
    """The list of a ZIP is longer than all that it may hold take."""


@contextlib.contextmanager
def opened_archive(file: BinaryIO, *, name: str, max_files: int) -> Iterator[zipfile.ZipFile]:
    """A ZIP, opened for reading, whose list is no longer than that of `max_files`.

    Raises
    ------
    ArchiveError
        It is damaged, here or while something is read of it, or its list is longer.
    """
    try:
        listed = _ListedBriefly(file, max(_END_BYTES, max_files * LISTING_BYTES))
        with zipfile.ZipFile(listed) as archive:
            listed.opened()
            yield archive
    except _TooLongError:
        raise ArchiveError(name, f"it lists far more than {max_files:,} files, which are allowed") from None
    except DAMAGED as error:
        raise ArchiveError(name, "it is damaged or of an unknown kind") from error


def require_readable(entry: zipfile.ZipInfo, *, name: str) -> None:
    """Raise ArchiveError where an entry is encrypted, or compressed in a way that is not read."""
    if entry.flag_bits & 1:
        raise ArchiveError(name, "it is encrypted")
    if entry.compress_type not in METHODS:
        raise ArchiveError(name, "it is compressed in a way that is not read here; make an ordinary ZIP")


def path_within(sent: str) -> str:
    """A path as somebody sends it, as the name of a recording: with its folders, and with no way out of them.

    >>> path_within("../a/./b.wav"), path_within("C:\\\\a\\\\b.wav"), path_within("/etc/../.."), path_within("..")
    ('a/b.wav', 'a/b.wav', 'etc', 'unnamed')
    """
    printable = "".join(character for character in sent if character.isprintable())
    parts = [part.strip() for part in printable.replace("\\", "/").split("/")]
    if parts[0][1:] == ":":
        del parts[0]  # a drive
    return "/".join(part for part in parts if part not in ("", ".", "..")) or "unnamed"


def unpacked(
    file: BinaryIO, *, name: str, max_files: int, max_mb: float, max_file_mb: float
) -> Iterator[tuple[str, bytes]]:
    """Path inside the ZIP and bytes of each file in it, folders and what systems leave in there aside.

    Of a file larger than `max_file_mb` one byte more than that comes, so that it is refused for its size like any
    other.

    Raises
    ------
    ArchiveError
        It is damaged, encrypted or of an unusual kind, holds more than `max_files`, or unpacks to more than `max_mb`.
    """
    left, most = int(max_mb * 1e6), int(max_file_mb * 1e6) + 1
    with opened_archive(file, name=name, max_files=max_files) as archive:
        entries = [each for each in archive.infolist() if _is_wanted(each)]
        if len(entries) > max_files:
            raise ArchiveError(name, f"it holds {len(entries):,} files, and {max_files:,} are allowed")
        for entry in entries:
            require_readable(entry, name=name)
            data = bytearray()
            with archive.open(entry) as inside:
                while len(data) < most and (block := inside.read(min(_BLOCK, most - len(data)))):
                    data += block
                    if len(data) > left:
                        raise ArchiveError(name, f"it unpacks to more than {max_mb:,.0f} MB")
            left -= len(data)
            yield path_within(_path_of(entry)), bytes(data)


def _path_of(entry: zipfile.ZipInfo) -> str:
    """As whoever made the ZIP wrote it: in UTF-8, also where a Mac did not say so and it was read as of MS-DOS."""
    if not entry.flag_bits & _IS_UTF_8:
        with contextlib.suppress(UnicodeError):
            return entry.filename.encode("cp437").decode("utf-8")
    return entry.filename


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    path = entry.filename
    return not entry.is_dir() and not path.startswith(IGNORED[0]) and PurePosixPath(path).name not in IGNORED
