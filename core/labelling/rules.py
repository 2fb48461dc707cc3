"""What labelling takes and what it refuses: limits of settings and of ratings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from unicodedata import category
from uuid import UUID

from core.domain import LabellingSettings, RatedSegment, Rating
from core.errors import InvalidParameterError

MAX_OVERLAP = 9
MAX_LABELS = 9
"""As many as there are keys."""
MAX_LABEL = 30
MAX_RATING_NOTE = 1000
MAX_SEGMENTS = 500
BEYOND_S = 0.02
"""So far beyond a recording's end a segment may end: tools round to milliseconds or to frames."""
MAX_WRONG_TOLD = 10
"""Segments that are told one by one."""
MAX_INSTRUCTIONS = 10_000


def require_settings(settings: LabellingSettings, members: set[UUID]) -> None:
    """Raise InvalidParameterError where a setting is out of place."""
    labels = settings.labels
    if not 2 <= len(labels) <= MAX_LABELS or len(set(labels)) < len(labels):
        raise InvalidParameterError("labels", str(len(labels)), f"2 to {MAX_LABELS} labels, each once")
    for label in labels:
        if not label.strip() or label != label.strip() or len(label) > MAX_LABEL or not label.isprintable():
            raise InvalidParameterError("labels", repr(label[:40]), f"1 to {MAX_LABEL} printable characters each")
    if not 1 <= settings.overlap <= MAX_OVERLAP:
        raise InvalidParameterError("overlap", str(settings.overlap), f"a whole number from 1 to {MAX_OVERLAP}")
    strangers = set(settings.annotators) - members
    if strangers:
        raise InvalidParameterError(
            "annotators", str(min(strangers)), "members of the project: share it with them first"
        )
    shares = settings.queues.values()
    if sum(shares) != 100 or min(shares, default=0) < 0:
        raise InvalidParameterError("queues", str(sum(shares)), "shares in per cent that add up to 100")
    text = settings.instructions
    is_plain = all(character in "\n\r\t" or category(character) not in {"Cc", "Cs"} for character in text)
    if len(text) > MAX_INSTRUCTIONS or not is_plain:
        expected = f"at most {MAX_INSTRUCTIONS:,} characters, in as many lines as you like, without control characters"
        raise InvalidParameterError("instructions", f"{len(text):,} characters", expected)
    for label in settings.gold.values():
        if label not in labels:
            raise InvalidParameterError("gold", repr(label), f"one of {', '.join(labels)}")


def require_rating(rating: Rating, settings: LabellingSettings) -> None:
    """Raise InvalidParameterError where a rating says what the project does not ask."""
    known = f"one of {', '.join(settings.labels)}"
    ways = [rating.label is not None, rating.flag is not None, bool(rating.segments)]
    if sum(ways) != 1:
        raise InvalidParameterError("rating", "none" if not any(ways) else "several", "one of label, flag or segments")
    for name, label in (("label", rating.label), ("second", rating.second)):
        if label is not None and label not in settings.labels:
            raise InvalidParameterError(name, repr(label), known)
    if rating.intensity is not None and rating.intensity not in {1, 2, 3}:
        raise InvalidParameterError("intensity", str(rating.intensity), "1, 2 or 3")
    if len(rating.note) > MAX_RATING_NOTE:
        raise InvalidParameterError("note", f"{len(rating.note)} characters", f"at most {MAX_RATING_NOTE}")
    if not 0 <= rating.spent_s < float("inf"):
        raise InvalidParameterError("spent_s", str(rating.spent_s), "seconds, 0 or more")
    if len(rating.segments) > MAX_SEGMENTS:
        raise InvalidParameterError("segments", str(len(rating.segments)), f"at most {MAX_SEGMENTS}")
    for segment in rating.segments:
        if segment.label not in settings.labels:
            raise InvalidParameterError("segments", repr(segment.label), known)


def segments_within(segments: Sequence[RatedSegment], duration_s: float) -> tuple[RatedSegment, ...]:
    """The same segments, those that reach at most `BEYOND_S` over the end of their recording cut there.

    Raises InvalidParameterError, which names every segment that begins before the recording, ends beyond it, or does
    not end after it begins.
    """
    cut = [dataclasses.replace(each, end_s=min(each.end_s, duration_s)) for each in segments]
    wrong = [
        f"from {each.start_s:g} to {each.end_s:g} s" + (f" (number {number})" if len(segments) > 1 else "")
        for number, (each, fitting) in enumerate(zip(segments, cut, strict=True), 1)
        if not (0 <= each.start_s < fitting.end_s and each.end_s <= duration_s + BEYOND_S)
    ]
    if wrong:
        if len(wrong) > MAX_WRONG_TOLD:
            wrong = [*wrong[:MAX_WRONG_TOLD], f"{len(wrong) - MAX_WRONG_TOLD:,} more"]
        expected = f"a start before its end, both within the {duration_s:g} s of the recording"
        raise InvalidParameterError("segments", "; ".join(wrong), expected)
    return tuple(cut)
