"""Manifests of emotional speech: one row for each recording, read, written, and made from folders of audio."""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

import av
import numpy as np
import soundfile

from core.domain import Emotion
from training.corpus_names import NamedRecording, recognise_name
from training.errors import ManifestError

COLUMNS = (
    "path",
    "corpus",
    "speaker",
    "sex",
    "language",
    "emotion",
    "intensity",
    "statement",
    "duration_s",
    "sha256_original",
    "licence",
)
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".webm"})
COMMERCIAL_LICENCES = frozenset({"ODbL 1.0"})
"""Licences in a manifest under which a model may be trained for commercial use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One recording of a corpus, as one row of a manifest says it."""

    path: str
    """Relative to the folder of the audio, with forward slashes."""
    corpus: str
    speaker: str
    """Unique over all corpora: `CORPUS-NUMBER`."""
    sex: str
    """`female`, `male`, or empty where the corpus does not say."""
    language: str
    """ISO 639-1."""
    emotion: Emotion
    intensity: str
    """In the corpus's own words; empty where it has none."""
    statement: str
    """What is said, in the corpus's own code."""
    duration_s: float
    sha256_original: str
    """Of the file as its publisher hands it out, in hexadecimal; of the file found where that one is not known."""
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One file or row that could not be used, and why."""

    path: str
    reason: str


def read_manifest(path: Path) -> tuple[list[ManifestRow], list[Problem]]:
    """Rows of a manifest, and the rows that could not be used.

    Raises
    ------
    ManifestError
        There is no such file, it is no UTF-8 CSV, or columns are missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise ManifestError(path, f"columns are missing: {', '.join(missing)}")
            numbered = [(reader.line_num, record) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(path, str(error)) from error
    rows: list[ManifestRow] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for line, record in numbered:
        row = _parse_record(record, line)
        if isinstance(row, ManifestRow) and row.path in seen:
            row = Problem(path=row.path, reason=f"line {line}: the same path stands in an earlier row")
        if isinstance(row, Problem):
            problems.append(row)
        else:
            seen.add(row.path)
            rows.append(row)
    return rows, problems


def _parse_record(record: dict[str, str | None], line: int) -> ManifestRow | Problem:
    path = record["path"] or ""
    values = {column: (record[column] or "").strip() for column in COLUMNS}
    if None in record or any(record[column] is None for column in COLUMNS):
        return Problem(path=path, reason=f"line {line}: a row has {len(COLUMNS)} values")
    for column in ("path", "corpus", "speaker"):
        if not values[column]:
            return Problem(path=path, reason=f"line {line}: {column} is empty")
    if values["emotion"] not in set(Emotion):
        known = ", ".join(Emotion)
        return Problem(path=path, reason=f"line {line}: emotion is {values['emotion']!r}, not one of {known}")
    try:
        duration_s = float(values["duration_s"])
    except ValueError:
        duration_s = math.nan
    if not 0 < duration_s < math.inf:
        return Problem(path=path, reason=f"line {line}: duration_s is {values['duration_s']!r}, not a positive number")
    fields = {column: values[column] for column in COLUMNS if column not in ("emotion", "duration_s")}
    return ManifestRow(**fields, emotion=Emotion(values["emotion"]), duration_s=duration_s)


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write `rows` as a manifest that `read_manifest` reads back unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([getattr(row, column) for column in COLUMNS])
    partial.replace(path)


def manifest_sha256(rows: Iterable[ManifestRow]) -> str:
    """SHA-256 of what `rows` say, whatever their order."""
    lines = sorted("\x1f".join(str(getattr(row, column)) for column in COLUMNS) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def content_sha256(path: Path) -> str:
    """SHA-256 of a file's encoded audio without its container.

    Two files with the same sound and different tags, names or Ogg serial numbers have the same one.

    Raises
    ------
    OSError, av.error.FFmpegError
        The file cannot be read or holds no audio.
    """
    digest = hashlib.sha256()
    with av.open(str(path), mode="r", metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise OSError(f"{path.name} holds no audio")
        for packet in container.demux(audio=0):
            digest.update(bytes(packet))
    return digest.hexdigest()


def content_hashes(rows: Sequence[ManifestRow], audio: Path) -> tuple[dict[str, str], list[Problem]]:
    """`content_sha256` of every row's file below the folder `audio`, by path, and the files without one."""
    hashes: dict[str, str] = {}
    problems: list[Problem] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, found in zip(rows, pool.map(lambda row: _try_content_sha256(audio / row.path), rows), strict=True):
            if isinstance(found, str):
                hashes[row.path] = found
            else:
                problems.append(Problem(path=row.path, reason=str(found)))
    return hashes, problems


def _try_content_sha256(path: Path) -> str | Exception:
    try:
        return content_sha256(path)
    except (OSError, av.error.FFmpegError) as error:
        return error


def index_folder(
    folder: Path, *, advance: Callable[[int], None] = lambda _: None, started: Callable[[int], None] = lambda _: None
) -> tuple[list[ManifestRow], list[Problem]]:
    """Rows for all recordings below `folder` whose names are those of a known corpus, and what is wrong with the rest.

    Duration and SHA-256 are those of the files found. Left out and named as problems: files that cannot be read, that
    are digital silence, and copies: a later copy with the same label, every copy where labels contradict each other.

    Parameters
    ----------
    folder
        Searched with everything below it; files whose suffix is not one of audio are passed over.
    advance, started
        Told how many files were done, from several threads, and before that how many there are.
    """
    paths = sorted(
        (path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    started(len(paths))

    def index_and_count(path: Path) -> ManifestRow | Problem:
        found = _index_file(path, path.relative_to(folder).as_posix())
        advance(1)
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        indexed = list(pool.map(index_and_count, paths))
    copies: defaultdict[str, list[ManifestRow]] = defaultdict(list)
    for found in indexed:
        if isinstance(found, ManifestRow):
            copies[found.sha256_original].append(found)
    checked = [_check_copies(found, copies) if isinstance(found, ManifestRow) else found for found in indexed]
    rows = [found for found in checked if isinstance(found, ManifestRow)]
    problems = [found for found in checked if isinstance(found, Problem)]
    return rows, problems


def keep_published_hashes(rows: Iterable[ManifestRow], earlier: Iterable[ManifestRow]) -> list[ManifestRow]:
    """`rows` with the `sha256_original` that an earlier manifest of the same folder gives for the same path.

    A file that was encoded anew since it was published has another hash than the one by which models know it
    (`training.training_record`).
    """
    published = {row.path: row.sha256_original for row in earlier if row.sha256_original}
    return [replace(row, sha256_original=published.get(row.path, row.sha256_original)) for row in rows]


def _index_file(path: Path, name: str) -> ManifestRow | Problem:
    named = recognise_name(PurePosixPath(name))
    if not isinstance(named, NamedRecording):
        return Problem(path=name, reason=named)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        samples, sample_rate = soundfile.read(path, dtype="float32")
    except (OSError, soundfile.LibsndfileError) as error:
        return Problem(path=name, reason=f"cannot be read ({error})")
    if not len(samples):
        return Problem(path=name, reason="holds no samples")
    if not np.any(samples):
        return Problem(path=name, reason="is digital silence")
    duration_s = round(len(samples) / sample_rate, 3)
    return ManifestRow(path=name, duration_s=duration_s, sha256_original=digest, **asdict(named))


def _check_copies(row: ManifestRow, copies: dict[str, list[ManifestRow]]) -> ManifestRow | Problem:
    same = copies[row.sha256_original]
    others = ", ".join(other.path for other in same if other.path != row.path)
    if len({other.emotion for other in same}) > 1:
        return Problem(path=row.path, reason=f"is byte for byte {others}, whose label contradicts its own")
    if row.path != same[0].path:
        return Problem(path=row.path, reason=f"is a copy of {same[0].path}")
    return row
