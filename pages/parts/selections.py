"""What a reader marked in a chart, as bounds for a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from core.domain import Label, label_of
from core.store.predictions import TimeBucket

Selection = Mapping[str, Any]
"""Streamlit's `plotly_chart` selection: `points` and `box`, as plotly.js gives them."""

BUCKET_LENGTHS = {
    TimeBucket.MINUTE: timedelta(minutes=1),
    TimeBucket.HOUR: timedelta(hours=1),
    TimeBucket.DAY: timedelta(days=1),
    TimeBucket.WEEK: timedelta(weeks=1),
    TimeBucket.MONTH: timedelta(days=31),
}
MOST_BUCKETS = 120
"""More bars than this cannot be told apart."""


def emotion_of(selection: Selection) -> Label | None:
    """The emotion whose bar was clicked."""
    for point in selection.get("points", ()):
        return label_of(point["customdata"])
    return None


def ranges_of(
    selection: Selection, *, width: float, height: float
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The stretch of x and of y that was framed, or that the clicked cell of `width` by `height` covers."""
    for box in selection.get("box", ()):
        return _sorted(box["x"]), _sorted(box["y"])
    for point in selection.get("points", ()):
        x, y = float(point["x"]), float(point["y"])
        return (x - width / 2, x + width / 2), (y - height / 2, y + height / 2)
    return None


def stretch_of(selection: Selection, *, bucket: TimeBucket, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """The stretch of time that was framed, or the bucket that was clicked; whole minutes, UTC."""
    length = BUCKET_LENGTHS[bucket]
    for box in selection.get("box", ()):
        start, end = sorted(datetime.fromisoformat(text) for text in box["x"])
        return _to_utc(start, zone), _to_utc(end + timedelta(seconds=59), zone)
    starts = [datetime.fromisoformat(point["x"]) for point in selection.get("points", ())]
    return (_to_utc(min(starts), zone), _to_utc(max(starts) + length, zone)) if starts else None


def bucket_for(span: timedelta) -> TimeBucket:
    """The finest bucket of which not more than `MOST_BUCKETS` cover `span`."""
    for bucket, length in BUCKET_LENGTHS.items():
        if span <= MOST_BUCKETS * length:
            return bucket
    return TimeBucket.MONTH


def _sorted(ends: Sequence[float]) -> tuple[float, float]:
    low, high = sorted(float(end) for end in ends)
    return low, high


def _to_utc(moment: datetime, zone: tzinfo) -> datetime:
    return moment.replace(tzinfo=zone, second=0, microsecond=0).astimezone(UTC)
