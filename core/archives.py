"""Recordings in a ZIP, unpacked one by one, and never more of it than is allowed: what it claims of itself counts for
nothing, since a few kilobytes can claim to be small and unpack to gigabytes."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

from core.errors import ArchiveError

IGNORED = ("__MACOSX/", ".DS_Store", "Thumbs.db")
_BLOCK = 1 << 16


def is_archive(name: str, start: bytes) -> bool:
    """Whether a file that begins with `start` is a ZIP to be unpacked.

    >>> is_archive("clips.zip", b"PK\\x03\\x04"), is_archive("clip.wav", b"RIFF"), is_archive("clips.zip", b"RIFF")
    (True, False, False)
    """
    return name.lower().endswith(".zip") and start.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def unpacked(
    file: BinaryIO, *, name: str, max_files: int, max_mb: float, max_file_mb: float, keeps_folders: bool = False
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file in a ZIP, folders and what systems leave in there aside.

    With `keeps_folders` names are paths inside the ZIP, which are never to be followed on a disk.

    Of a file larger than `max_file_mb` one byte more than that comes, so that it is refused for its size like any
    other.

    Raises
    ------
    ArchiveError
        It is damaged or encrypted, holds more than `max_files`, or unpacks to more than `max_mb`.
    """
    left, most = int(max_mb * 1e6), int(max_file_mb * 1e6) + 1
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [each for each in archive.infolist() if _is_wanted(each)]
            if len(entries) > max_files:
                raise ArchiveError(name, f"it holds {len(entries):,} files, and {max_files:,} are allowed")
            for entry in entries:
                if entry.flag_bits & 1:
                    raise ArchiveError(name, "it is encrypted")
                data = bytearray()
                with archive.open(entry) as inside:
                    while len(data) < most and (block := inside.read(min(_BLOCK, most - len(data)))):
                        data += block
                        if len(data) > left:
                            raise ArchiveError(name, f"it unpacks to more than {max_mb:,.0f} MB")
                left -= len(data)
                base = PurePosixPath(entry.filename).name or "unnamed"
                yield (entry.filename if keeps_folders else base), bytes(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise ArchiveError(name, f"it is damaged or of an unknown kind ({type(error).__name__})") from error


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    path = entry.filename
    return not entry.is_dir() and not path.startswith(IGNORED[0]) and PurePosixPath(path).name not in IGNORED
