"""Ratings as CSV (RFC 4180): a line for each rating, or for each segment of one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace

from core.domain import RatedSegment
from core.labelling.formats.file_ratings import FileProblem, FileRating, Files, Reading, joined, text_of
from core.labelling.formats.values import VALUES, rating_from, values_of

COLUMNS = (*VALUES, "start_s", "end_s")
"""`start_s` and `end_s` bound the segment that `label` is about; both are empty where that is all of a recording."""
_RUN = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run as a formula at the beginning of a cell (OWASP, "CSV injection")."""


def write_csv(ratings: Sequence[FileRating]) -> Files:
    """All ratings as one file."""
    text = io.StringIO()
    lines = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
    lines.writeheader()
    for rating in ratings:
        values = values_of(rating)
        for segment in rating.segments:
            of_segment = {"label": segment.label, "start_s": repr(segment.start_s), "end_s": repr(segment.end_s)}
            lines.writerow({name: _safe(value) for name, value in (values | of_segment).items()})
        if not rating.segments:
            lines.writerow({name: _safe(value) for name, value in values.items()})
    return {"ratings.csv": ("\ufeff" + text.getvalue()).encode()}


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith((*_RUN, "'")) else cell


def _as_it_was(cell: str | None) -> str:
    text = (cell or "").strip()
    return text[1:] if text.startswith("'") and text[1:].startswith((*_RUN, "'")) else text


def read_csv(files: Files) -> Reading:
    """Ratings of every file; commas or semicolons separate, the header names the columns in any order."""
    ratings: list[FileRating] = []
    problems: list[FileProblem] = []
    for path, data in files.items():
        try:
            text = text_of(data)
            header = text.split("\n", 1)[0]
            rows = csv.DictReader(
                io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ","
            )
            lacking = _lacking(rows.fieldnames or ())
            if lacking:
                problems.append(FileProblem(where=path, sentence=f"There is no column {lacking} in its first line."))
                continue
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                cells = {name: _as_it_was(row[name]) for name in COLUMNS if isinstance(row.get(name), str)}
                try:
                    ratings.append(_rating(cells, where))
                except ValueError as error:
                    problems.append(FileProblem(where=where, sentence=str(error)))
        except (UnicodeDecodeError, csv.Error) as error:
            problems.append(FileProblem(where=path, sentence=f"This is no CSV in UTF-8: {error}."))
    return Reading(ratings=_joined(ratings), problems=problems)


def _lacking(columns: Sequence[str]) -> str:
    if not {"recording_id", "recording_name"} & set(columns):
        return "'recording_id' or 'recording_name'"
    return "" if {"label", "flag"} & set(columns) else "'label'"


def _rating(cells: dict[str, str], where: str) -> FileRating:
    rating = rating_from(cells, where=where)
    if not cells.get("start_s") and not cells.get("end_s"):
        return rating
    if rating.label is None:
        raise ValueError("A segment needs a label.")
    start_s, end_s = (_seconds(cells, name) for name in ("start_s", "end_s"))
    return replace(rating, label=None, segments=(RatedSegment(start_s=start_s, end_s=end_s, label=rating.label),))


def _seconds(cells: dict[str, str], name: str) -> float:
    try:
        return float(cells.get(name, ""))
    except ValueError:
        raise ValueError(f"{name} is {cells.get(name)!r}; seconds are needed.") from None


def _joined(ratings: Sequence[FileRating]) -> list[FileRating]:
    """Lines of one rating, each with a segment, as one."""
    found: dict[tuple[object, ...], FileRating] = {}
    for number, rating in enumerate(ratings):
        about = (rating.recording_id, rating.recording_name, rating.annotator, rating.rating_id)
        key = about if rating.segments else (*about, number)
        before = found.get(key)
        found[key] = rating if before is None else joined(before, rating)
    return list(found.values())
