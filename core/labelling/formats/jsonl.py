"""Ratings as JSON Lines: an object for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from core.domain import RatedSegment
from core.labelling.formats.file_ratings import FileProblem, FileRating, Files, Reading, text_of
from core.labelling.formats.values import VALUES, rating_from, values_of

_NUMBERS = ("duration_s", "spent_s", "intensity")


def write_jsonl(ratings: Sequence[FileRating]) -> Files:
    """All ratings as one file."""
    return {"ratings.jsonl": "".join(f"{_line(rating)}\n" for rating in ratings).encode()}


def _line(rating: FileRating) -> str:
    values: dict[str, object] = {name: value or None for name, value in values_of(rating).items()}
    values |= {name: getattr(rating, name) for name in _NUMBERS}
    values["segments"] = [
        {"start_s": each.start_s, "end_s": each.end_s, "label": each.label} for each in rating.segments
    ]
    return json.dumps(values, ensure_ascii=False)


def read_jsonl(files: Files) -> Reading:
    """Ratings of every line of every file."""
    ratings: list[FileRating] = []
    problems: list[FileProblem] = []
    for path, data in files.items():
        try:
            lines = text_of(data).split("\n")
        except UnicodeDecodeError as error:
            problems.append(FileProblem(where=path, sentence=f"This is no text in UTF-8: {error}."))
            continue
        for number, line in enumerate(lines, 1):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                ratings.append(_rating(line, where))
            except (ValueError, RecursionError) as error:
                problems.append(FileProblem(where=where, sentence=_said(error)))
    return Reading(ratings=ratings, problems=problems)


def _said(error: Exception) -> str:
    return f"This is no JSON: {error}." if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)


def _rating(line: str, where: str) -> FileRating:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("An object in braces is needed.")
    values = {name: "" if found.get(name) is None else str(found[name]) for name in VALUES}
    return replace(rating_from(values, where=where), segments=segments_from(found.get("segments") or []))


def segments_from(found: object) -> tuple[RatedSegment, ...]:
    """Segments as objects with `start_s`, `end_s` and `label`. Raises ValueError."""
    if not isinstance(found, list):
        raise ValueError("segments is no list.")
    segments = []
    for each in found:
        try:
            segments.append(
                RatedSegment(start_s=float(each["start_s"]), end_s=float(each["end_s"]), label=str(each["label"]))
            )
        except (TypeError, KeyError, ValueError):
            raise ValueError("A segment needs start_s, end_s and label.") from None
    return tuple(segments)
