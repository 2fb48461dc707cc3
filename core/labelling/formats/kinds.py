"""The seven formats by name, and files to and from the one file that is sent."""

from __future__ import annotations

import enum
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.archives import opened_archive, require_readable
from core.errors import ArchiveError, LabelsFileError
from core.labelling.formats.audacity import read_label_tracks, write_label_tracks
from core.labelling.formats.audformat_databases import read_audformat, write_audformat
from core.labelling.formats.csv_files import read_csv, write_csv
from core.labelling.formats.elan import read_eafs, write_eafs
from core.labelling.formats.file_ratings import FileRating, Files, Reading
from core.labelling.formats.jsonl import read_jsonl, write_jsonl
from core.labelling.formats.label_studio import read_label_studio, write_label_studio
from core.labelling.formats.textgrid import read_textgrids, write_textgrids

MAX_FILES = 20_000
MAX_UNPACKED_BYTES = 100_000_000
"""A rating takes some 300 bytes as CSV: 100 MB hold 300,000."""


class LabelFormat(enum.StrEnum):
    """In which files ratings come and go."""

    CSV = "csv"
    JSONL = "jsonl"
    TEXTGRID = "textgrid"
    ELAN = "elan"
    AUDACITY = "audacity"
    AUDFORMAT = "audformat"
    LABEL_STUDIO = "label_studio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one format is written and read."""

    title: str
    suffixes: tuple[str, ...]
    """Of the files that hold ratings; others in an archive are left out."""
    media_type: str
    """Of a single file; archives are `application/zip`."""
    is_archive: bool
    """Whether it always takes several files."""
    holds_all: bool
    """Whether second choice, intensity, note and times have a place in it."""
    write: Callable[[Sequence[FileRating]], Files]
    read: Callable[[Files], Reading]


KINDS: Mapping[LabelFormat, Kind] = {
    LabelFormat.CSV: Kind(
        title="CSV",
        suffixes=(".csv",),
        media_type="text/csv",
        is_archive=False,
        holds_all=True,
        write=write_csv,
        read=read_csv,
    ),
    LabelFormat.JSONL: Kind(
        title="JSON Lines",
        suffixes=(".jsonl", ".ndjson"),
        media_type="application/jsonl",
        is_archive=False,
        holds_all=True,
        write=write_jsonl,
        read=read_jsonl,
    ),
    LabelFormat.TEXTGRID: Kind(
        title="Praat TextGrid",
        suffixes=(".textgrid",),
        media_type="text/plain",
        is_archive=True,
        holds_all=False,
        write=write_textgrids,
        read=read_textgrids,
    ),
    LabelFormat.ELAN: Kind(
        title="ELAN",
        suffixes=(".eaf",),
        media_type="application/xml",
        is_archive=True,
        holds_all=False,
        write=write_eafs,
        read=read_eafs,
    ),
    LabelFormat.AUDACITY: Kind(
        title="Audacity labels",
        suffixes=(".txt",),
        media_type="text/plain",
        is_archive=True,
        holds_all=False,
        write=write_label_tracks,
        read=read_label_tracks,
    ),
    LabelFormat.AUDFORMAT: Kind(
        title="audformat",
        suffixes=(".yaml", ".yml", ".csv"),
        media_type="application/zip",
        is_archive=True,
        holds_all=True,
        write=write_audformat,
        read=read_audformat,
    ),
    LabelFormat.LABEL_STUDIO: Kind(
        title="Label Studio",
        suffixes=(".json",),
        media_type="application/json",
        is_archive=False,
        holds_all=True,
        write=write_label_studio,
        read=read_label_studio,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFile:
    """The one file that is handed out."""

    name: str
    media_type: str
    data: bytes


def write_file(format: LabelFormat, ratings: Sequence[FileRating], *, name: str) -> LabelFile:
    """All ratings as one file called `name`, with an ending of its own: an archive where the format takes several."""
    kind = KINDS[format]
    files = kind.write(ratings)
    if not kind.is_archive:
        [data] = files.values()
        return LabelFile(name=f"{name}{kind.suffixes[0]}", media_type=kind.media_type, data=data)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return LabelFile(name=f"{name}-{format.value}.zip", media_type="application/zip", data=packed.getvalue())


def read_file(format: LabelFormat, data: bytes, *, name: str) -> Reading:
    """The ratings that a file holds, or all files of an archive.

    Raises
    ------
    LabelsFileError
        Nothing of it can be read: an archive that is damaged or too large, or that holds no file of this format.
    """
    kind = KINDS[format]
    if not data.startswith(b"PK\x03\x04"):
        return kind.read({PurePosixPath(name).name or "file": data})
    files: dict[str, bytes] = {}
    n_bytes = 0
    try:
        with opened_archive(io.BytesIO(data), name=name, max_files=MAX_FILES) as archive:
            for about in archive.infolist():
                if about.is_dir() or PurePosixPath(about.filename).suffix.lower() not in kind.suffixes:
                    continue
                require_readable(about, name=name)
                n_bytes += about.file_size
                if len(files) == MAX_FILES or n_bytes > MAX_UNPACKED_BYTES:
                    raise LabelsFileError(
                        name, f"it holds more than {MAX_FILES:,} files or {MAX_UNPACKED_BYTES / 1e6:.0f} MB"
                    )
                with archive.open(about) as opened:
                    files[about.filename] = opened.read(about.file_size)
    except ArchiveError as error:
        raise LabelsFileError(name, f"its archive cannot be read: {error}") from error
    if not files:
        raise LabelsFileError(name, f"it holds no file that ends in {' or '.join(kind.suffixes)}")
    return kind.read(files)
