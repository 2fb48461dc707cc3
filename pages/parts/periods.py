"""Stretches of time that usage is looked at over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import streamlit as st

from core.store.predictions import TimeBucket
from core.store.usage import UsageFilter

LENGTHS = {
    "24 hours": timedelta(hours=24),
    "7 days": timedelta(days=7),
    "30 days": timedelta(days=30),
    "90 days": timedelta(days=90),
}
ALWAYS = "All time"
DEFAULT = "30 days"
SHORT = {"24 hours": "24 h", ALWAYS: "All"}
"""What five buttons have room for on a telephone."""
BUCKET_LENGTHS = {TimeBucket.HOUR: timedelta(hours=1), TimeBucket.DAY: timedelta(days=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A stretch of time up to now."""

    name: str
    since: datetime | None
    """None for all that there is."""
    bucket: TimeBucket
    """What its charts count in."""

    @property
    def filter(self) -> UsageFilter:
        return UsageFilter(since=self.since)

    @property
    def bucket_length(self) -> timedelta:
        return BUCKET_LENGTHS[self.bucket]

    @property
    def words(self) -> str:
        """As part of a sentence: `in the last 30 days`."""
        return "so far" if self.since is None else f"in the last {self.name}"


def choose(*, key: str) -> Period:
    """Draw the choice; gives what is chosen. Whole hours and days, so that the first bar of a chart is a whole one."""
    name = st.segmented_control(
        "Period",
        [*LENGTHS, ALWAYS],
        format_func=lambda name: SHORT.get(name, name),
        default=DEFAULT,
        required=True,
        key=key,
        label_visibility="collapsed",
    )
    return period(str(name), datetime.now(UTC))


def period(name: str, now: datetime) -> Period:
    """The period of this name that ends at `now`; its first bucket is a whole one.

    Examples
    --------
    >>> period("7 days", datetime(2026, 11, 25, 13, 37, tzinfo=UTC)).since.isoformat()
    '2026-11-19T00:00:00+00:00'
    >>> period("24 hours", datetime(2026, 11, 25, 13, 37, tzinfo=UTC)).since.isoformat()
    '2026-11-24T14:00:00+00:00'
    """
    bucket = TimeBucket.HOUR if name == "24 hours" else TimeBucket.DAY
    if name not in LENGTHS:
        return Period(name=name, since=None, bucket=bucket)
    whole = now.replace(minute=0, second=0, microsecond=0)
    whole = whole if bucket is TimeBucket.HOUR else whole.replace(hour=0)
    return Period(name=name, since=whole - LENGTHS[name] + BUCKET_LENGTHS[bucket], bucket=bucket)
