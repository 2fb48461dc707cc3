"""A rating as it stands in a file, what is wrong with a file, and the names of files that are about one recording."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath
from uuid import UUID

from core.domain import RatedSegment, RatingFlag

Files = Mapping[str, bytes]
"""By path inside an archive, or by the one file's name."""
WHOLE_TOLERANCE_S = 0.02
"""A stretch that ends this near a recording's end covers it: tools round to milliseconds or to frames."""
_ID = re.compile(r"(?:^|-)([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRating:
    """What a file says that one annotator said of one recording."""

    where: str
    """File and line, or what else finds it; for problems."""
    recording_id: UUID | None
    recording_name: str
    """Without meaning where there is an id."""
    duration_s: float | None
    annotator: str
    """An e-mail address, an id, or any name."""
    label: str | None = None
    second: str | None = None
    intensity: int | None = None
    flag: RatingFlag | None = None
    note: str = ""
    segments: tuple[RatedSegment, ...] = ()
    segment_places: tuple[str, ...] = field(default=(), compare=False)
    """Where each of the segments stands; empty where that is `where`."""
    spent_s: float = 0.0
    answer_shown: str | None = None
    rated_at: datetime | None = None
    rating_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """Something in a file that was left out."""

    where: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file holds: what could be read, and what not."""

    ratings: Sequence[FileRating]
    problems: Sequence[FileProblem]


def stem_of(rating: FileRating) -> str:
    """The name, without ending, of a file about the rating's recording: for people its name, for programs its id."""
    stem = re.sub(r"[^\w.-]+", "_", PurePosixPath(rating.recording_name).stem).strip("._-")[:60]
    return f"{stem}-{rating.recording_id}" if stem else str(rating.recording_id)


def recording_of(path: str) -> tuple[UUID | None, str]:
    """The recording that a file is about, by its name: the id it ends with, and the name before that.

    >>> recording_of("a/call-0190b0e4-0000-7000-8000-000000000001.TextGrid")
    (UUID('0190b0e4-0000-7000-8000-000000000001'), 'call')
    >>> recording_of("call 7.eaf")
    (None, 'call 7')
    """
    pure = PurePosixPath(path)
    stem = pure.name.removesuffix(pure.suffix)
    found = _ID.search(stem)
    if found is None:
        return None, stem
    return UUID(found[1]), stem[: found.start()]


def stretches_of(rating: FileRating) -> list[RatedSegment]:
    """A rating as stretches of time, for formats that know nothing else: the whole recording where it has a label."""
    if rating.segments:
        return list(rating.segments)
    label = rating.label if rating.flag is None else f"({rating.flag.value})"
    return [] if label is None else [RatedSegment(start_s=0.0, end_s=rating.duration_s or 0.0, label=label)]


def settled(rating: FileRating, duration_s: float) -> FileRating:
    """A rating that is one stretch over the whole of a recording of `duration_s` as one of all of it."""
    if len(rating.segments) != 1 or rating.label is not None:
        return rating
    [only] = rating.segments
    for flag in RatingFlag:
        if only.label == f"({flag.value})":
            return replace(rating, segments=(), segment_places=(), flag=flag)
    if only.start_s <= WHOLE_TOLERANCE_S and abs(only.end_s - duration_s) <= WHOLE_TOLERANCE_S:
        return replace(rating, segments=(), segment_places=(), label=only.label)
    return rating


def by_recording(ratings: Sequence[FileRating]) -> dict[UUID | None, list[FileRating]]:
    """The ratings of each recording, in the order given."""
    found: dict[UUID | None, list[FileRating]] = {}
    for rating in ratings:
        found.setdefault(rating.recording_id, []).append(rating)
    return found


def lanes_of(rating: FileRating) -> list[tuple[str, list[RatedSegment]]]:
    """A rating's stretches in tiers in which none overlap: the annotator's, then `NAME (2)` and so on."""
    lanes: list[list[RatedSegment]] = []
    for stretch in sorted(stretches_of(rating), key=lambda each: (each.start_s, each.end_s)):
        lane = next((lane for lane in lanes if lane[-1].end_s <= stretch.start_s), None)
        if lane is None:
            lanes.append([stretch])
        else:
            lane.append(stretch)
    return [(rating.annotator if n == 1 else f"{rating.annotator} ({n})", lane) for n, lane in enumerate(lanes, 1)]


def annotator_of_lane(name: str) -> str:
    """The annotator whose tier this is.

    >>> annotator_of_lane("ann@example.org (2)"), annotator_of_lane("Ann")
    ('ann@example.org', 'Ann')
    """
    return re.sub(r" \(\d+\)$", "", name).strip()


def text_of(data: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark. Raises UnicodeDecodeError."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def merged(ratings: Sequence[FileRating]) -> list[FileRating]:
    """One rating for each recording and annotator, with the segments of all of theirs."""
    found: dict[tuple[object, ...], FileRating] = {}
    for rating in ratings:
        key = (rating.recording_id, rating.recording_name, rating.annotator)
        before = found.get(key)
        found[key] = rating if before is None else joined(before, rating)
    return [_in_order(each) for each in found.values()]


def placed(rating: FileRating) -> list[tuple[RatedSegment, str]]:
    """The segments of a rating, each with where it stands."""
    places = rating.segment_places or (rating.where,) * len(rating.segments)
    return list(zip(rating.segments, places, strict=True))


def joined(before: FileRating, rating: FileRating) -> FileRating:
    """A rating with the segments of another after its own."""
    return _with([*placed(before), *placed(rating)], before)


def _in_order(rating: FileRating) -> FileRating:
    return _with(sorted(placed(rating), key=lambda each: (each[0].start_s, each[0].end_s, each[0].label)), rating)


def _with(segments: Sequence[tuple[RatedSegment, str]], rating: FileRating) -> FileRating:
    return replace(
        rating,
        segments=tuple(segment for segment, _ in segments),
        segment_places=tuple(place for _, place in segments),
    )
