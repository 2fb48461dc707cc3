"""Ratings as an audformat database (audeering): a header `db.yaml` and tables as CSV, with a column for each annotator.

The table `emotion` holds what whole recordings are called, `segments` what stretches of them are; `second`,
`intensity`, `flag`, `note`, `seconds_spent`, `answer_shown`, `rated_at` and `rating_id` hold the rest. Written and read
without the package audformat: it takes seconds to load, and its reader runs whatever a YAML or pickle file says.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]

from core.domain import RatedSegment
from core.labelling.formats.file_ratings import FileProblem, FileRating, Files, Reading, recording_of, stem_of, text_of
from core.labelling.formats.values import rating_from

_WHOLE, _SEGMENTS = "emotion", "segments"
_EXTRA: Mapping[str, tuple[str, Mapping[str, object], Callable[[FileRating], str]]] = {
    "second": ("second", {"dtype": "str"}, lambda rating: rating.second or ""),
    "intensity": (
        "intensity",
        {"dtype": "int", "minimum": 1, "maximum": 3},
        lambda rating: "" if rating.intensity is None else str(rating.intensity),
    ),
    "flag": ("flag", {"dtype": "str"}, lambda rating: "" if rating.flag is None else rating.flag.value),
    "note": ("note", {"dtype": "str"}, lambda rating: rating.note),
    "seconds_spent": ("spent_s", {"dtype": "float"}, lambda rating: repr(rating.spent_s)),
    "answer_shown": ("answer_shown", {"dtype": "str"}, lambda rating: rating.answer_shown or ""),
    "rated_at": ("rated_at", {"dtype": "str"}, lambda rating: rating.rated_at.isoformat() if rating.rated_at else ""),
    "rating_id": ("rating_id", {"dtype": "str"}, lambda rating: str(rating.rating_id or "")),
}
"""By table: the field it holds, its scheme, and the field's text."""
MAX_HEADER_BYTES = 500_000
"""Reading a megabyte of YAML takes eight seconds of a core; headers have some kilobytes."""
_DURATION = re.compile(r"^(?:(\d+) days? )?(?:\+)?(\d+):(\d\d):(\d\d(?:\.\d+)?)$")


def write_audformat(ratings: Sequence[FileRating]) -> Files:
    """A database of all ratings."""
    annotators = sorted({rating.annotator for rating in ratings})
    whole = [rating for rating in ratings if rating.label is not None]
    tables: dict[str, list[list[str]]] = {
        _WHOLE: _rows(annotators, [((_file(each),), each.annotator, each.label or "") for each in whole]),
        _SEGMENTS: _rows(
            annotators,
            [
                ((_file(each), _duration(segment.start_s), _duration(segment.end_s)), each.annotator, segment.label)
                for each in ratings
                for segment in each.segments
            ],
        ),
    }
    for name, (_, _, cell) in _EXTRA.items():
        tables[name] = _rows(
            annotators, [((_file(each),), each.annotator, cell(each)) for each in ratings if cell(each)]
        )
    tables = {name: rows for name, rows in tables.items() if rows}
    labels = sorted(
        {rating.label for rating in whole if rating.label}
        | {each.label for rating in ratings for each in rating.segments}
        | {rating.second for rating in ratings if rating.second}
    )
    header: dict[str, object] = {
        "name": "telepathy",
        "source": "Telepathy",
        "usage": "unrestricted",
        "languages": [],
        "description": "Ratings of a labelling project.",
        "schemes": {"emotion": {"dtype": "str", "labels": labels}}
        | {name: dict(scheme) for name, (_, scheme, _) in _EXTRA.items() if name in tables and name != "second"},
        "raters": {name: {"type": "human"} for name in annotators},
        "tables": {
            name: {
                "type": "segmented" if name == _SEGMENTS else "filewise",
                "columns": {
                    annotator: {
                        "scheme_id": "emotion" if name in (_WHOLE, _SEGMENTS, "second") else name,
                        "rater_id": annotator,
                    }
                    for annotator in annotators
                },
            }
            for name in tables
        },
    }
    files = {"db.yaml": yaml.safe_dump(header, allow_unicode=True, sort_keys=False).encode()}
    for name, rows in tables.items():
        text = io.StringIO()
        index = ["file", "start", "end"] if name == _SEGMENTS else ["file"]
        csv.writer(text, lineterminator="\n").writerows([[*index, *annotators], *rows])
        files[f"db.{name}.csv"] = text.getvalue().encode()
    return files


def _rows(annotators: Sequence[str], cells: Sequence[tuple[tuple[str, ...], str, str]]) -> list[list[str]]:
    """A line for each file or segment, with a cell for each annotator."""
    by_index: dict[tuple[str, ...], dict[str, str]] = {}
    for index, annotator, text in cells:
        by_index.setdefault(index, {})[annotator] = text
    return [[*index, *(said.get(each, "") for each in annotators)] for index, said in by_index.items()]


def _file(rating: FileRating) -> str:
    suffix = re.sub(r"[^\w.]", "", PurePosixPath(rating.recording_name).suffix)
    return f"recordings/{stem_of(rating)}{suffix or '.wav'}"


def _duration(seconds: float) -> str:
    """As pandas writes a time: to the nanosecond."""
    whole, nanoseconds = divmod(round(seconds * 1e9), 1_000_000_000)
    days, rest = divmod(whole, 86_400)
    return f"{days} days {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}.{nanoseconds:09}"


def _seconds(text: str) -> float:
    """Seconds of a time as pandas writes it, or of a plain number. Raises ValueError."""
    found = _DURATION.match(text.strip())
    if found is None:
        return float(text)
    days, hours, minutes, seconds = found.groups()
    return int(days or 0) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def read_audformat(files: Files) -> Reading:
    """Ratings of every table whose columns have the scheme `emotion`, and what `_EXTRA` says besides."""
    problems: list[FileProblem] = []
    found: dict[tuple[str, str], FileRating] = {}
    extras: dict[tuple[str, str], dict[str, str]] = {}
    header_path = next((path for path in files if PurePosixPath(path).suffix in (".yaml", ".yml")), None)
    if header_path is None:
        return Reading(ratings=[], problems=[FileProblem(where="archive", sentence="There is no header, db.yaml.")])
    try:
        if len(files[header_path]) > MAX_HEADER_BYTES:
            raise ValueError("the header is too long")
        header = yaml.safe_load(text_of(files[header_path]))
        tables: dict[str, Any] = dict(header["tables"])
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValueError, RecursionError) as error:
        sentence = f"This is no header of an audformat database: {type(error).__name__}."
        return Reading(ratings=[], problems=[FileProblem(where=header_path, sentence=sentence)])
    stem = header_path.rsplit(".", 1)[0]
    for name, table in tables.items():
        path = f"{stem}.{name}.csv"
        if path not in files:
            problems.append(FileProblem(where=header_path, sentence=f"The table {str(name)!r} has no file {path}."))
            continue
        for where, file, bounds, annotator, scheme, text in _cells(path, files[path], table, problems):
            if name in _EXTRA:
                extras.setdefault((file, annotator), {})[_EXTRA[name][0]] = text
            elif scheme == "emotion" or name == "emotion":
                before = found.get((file, annotator)) or _empty(where, file, annotator)
                found[(file, annotator)] = _with(before, bounds, text, where)
    for key, values in extras.items():
        rating = found.get(key) or _empty(key[0], *key)
        try:
            extra = rating_from({"recording_name": key[0]} | values, where=rating.where)
        except ValueError as error:
            problems.append(FileProblem(where=rating.where, sentence=str(error)))
            continue
        found[key] = replace(
            extra,
            recording_id=rating.recording_id,
            recording_name=rating.recording_name,
            annotator=rating.annotator,
            label=rating.label,
            segments=rating.segments,
            segment_places=rating.segment_places,
        )
    return Reading(ratings=list(found.values()), problems=problems)


def _empty(where: str, file: str, annotator: str) -> FileRating:
    recording_id, name = recording_of(file)
    return FileRating(where=where, recording_id=recording_id, recording_name=name, duration_s=None, annotator=annotator)


def _with(rating: FileRating, bounds: tuple[float, float] | None, label: str, where: str) -> FileRating:
    if bounds is None:
        return replace(rating, label=label)
    segment = RatedSegment(start_s=bounds[0], end_s=bounds[1], label=label)
    return replace(rating, segments=(*rating.segments, segment), segment_places=(*rating.segment_places, where))


def _cells(
    path: str, data: bytes, table: object, problems: list[FileProblem]
) -> Iterator[tuple[str, str, tuple[float, float] | None, str, str, str]]:
    """Where it stands, file, bounds, annotator, scheme and text of every cell that holds something."""
    columns = table.get("columns") if isinstance(table, dict) else None
    if not isinstance(columns, dict):
        problems.append(FileProblem(where=path, sentence="The header names no columns of this table."))
        return
    try:
        rows = csv.DictReader(io.StringIO(text_of(data), newline=""))
        for row in rows:
            where, file = f"{path}, line {rows.line_num}", row.get("file") or ""
            try:
                bounds = (_seconds(row["start"]), _seconds(row["end"])) if row.get("start") and row.get("end") else None
            except ValueError:
                problems.append(FileProblem(where=where, sentence="start and end are no times."))
                continue
            for column, about in columns.items():
                text, about = row.get(str(column)) or "", about if isinstance(about, dict) else {}
                if text and file:
                    annotator = str(about.get("rater_id") or column)
                    yield where, file, bounds, annotator, str(about.get("scheme_id") or ""), text
    except (UnicodeDecodeError, csv.Error) as error:
        problems.append(FileProblem(where=path, sentence=f"This is no CSV in UTF-8: {error}."))
