"""The fields of a rating as text, for formats that hold all of them by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from core.domain import RatingFlag
from core.labelling.formats.file_ratings import FileRating

T = TypeVar("T")

VALUES = (
    "rating_id",
    "recording_id",
    "recording_name",
    "duration_s",
    "annotator",
    "label",
    "second",
    "intensity",
    "flag",
    "note",
    "spent_s",
    "answer_shown",
    "rated_at",
)


def values_of(rating: FileRating) -> dict[str, str]:
    """Every field but the segments; empty where there is none."""
    return {
        "rating_id": _text(rating.rating_id),
        "recording_id": _text(rating.recording_id),
        "recording_name": rating.recording_name,
        "duration_s": "" if rating.duration_s is None else repr(rating.duration_s),
        "annotator": rating.annotator,
        "label": _text(rating.label),
        "second": _text(rating.second),
        "intensity": _text(rating.intensity),
        "flag": _text(rating.flag),
        "note": rating.note,
        "spent_s": repr(rating.spent_s),
        "answer_shown": _text(rating.answer_shown),
        "rated_at": "" if rating.rated_at is None else rating.rated_at.isoformat(),
    }


def rating_from(values: Mapping[str, str], *, where: str) -> FileRating:
    """The rating that these fields hold. Raises ValueError with a sentence that names the first one out of place."""
    recording_id = _parsed(values, "recording_id", UUID, "an id")
    if recording_id is None and not values.get("recording_name"):
        raise ValueError("It names no recording, neither by id nor by name.")
    return FileRating(
        where=where,
        rating_id=_parsed(values, "rating_id", UUID, "an id"),
        recording_id=recording_id,
        recording_name=values.get("recording_name", ""),
        duration_s=_parsed(values, "duration_s", _seconds, "seconds"),
        annotator=values.get("annotator", ""),
        label=values.get("label") or None,
        second=values.get("second") or None,
        intensity=_parsed(values, "intensity", int, "1, 2 or 3"),
        flag=_parsed(values, "flag", RatingFlag, " or ".join(RatingFlag)),
        note=values.get("note", ""),
        spent_s=_parsed(values, "spent_s", _seconds, "seconds") or 0.0,
        answer_shown=values.get("answer_shown") or None,
        rated_at=_parsed(values, "rated_at", moment, "a time such as 2026-01-31T12:00:00Z"),
    )


def moment(text: str) -> datetime:
    """A time as ISO 8601; UTC where it names no zone. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(text)
    return seconds


def _parsed(values: Mapping[str, str], name: str, parse: Callable[[str], T], wanted: str) -> T | None:
    text = values.get(name, "")
    if not text:
        return None
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"{name} is {text[:50]!r}; {wanted} is needed.") from None


def _text(value: object) -> str:
    return "" if value is None else str(value)
