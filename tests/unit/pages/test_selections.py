"""What was marked in a chart, as bounds for a filter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.domain import Emotion
from core.store.predictions import TimeBucket
from pages.parts.selections import MOST_BUCKETS, bucket_for, emotion_of, ranges_of, stretch_of

NOTHING = {"points": [], "box": [], "lasso": []}


def test_a_clicked_bar_is_its_emotion():
    assert emotion_of(NOTHING | {"points": [{"customdata": "sad", "x": 3}]}) is Emotion.SAD
    assert emotion_of(NOTHING) is None


def test_a_frame_is_its_bounds_however_it_was_drawn():
    framed = NOTHING | {"box": [{"x": [0.8, 0.5], "y": [0.2, 1.4]}]}
    assert ranges_of(framed, width=0.1, height=0.1) == ((0.5, 0.8), (0.2, 1.4))


def test_a_clicked_cell_is_its_own_width_and_height():
    (left, right), (low, high) = ranges_of(NOTHING | {"points": [{"x": 0.5, "y": 1.0}]}, width=0.04, height=0.1)
    assert (left, right) == pytest.approx((0.48, 0.52))
    assert (low, high) == pytest.approx((0.95, 1.05))
    assert ranges_of(NOTHING, width=0.04, height=0.1) is None


def test_a_stretch_of_time_is_read_at_the_readers_clock():
    framed = NOTHING | {"box": [{"x": ["2026-07-01 10:00:12.5", "2026-07-01 09:00"], "y": [0, 1]}]}
    start, end = stretch_of(framed, bucket=TimeBucket.HOUR, zone=ZoneInfo("Europe/Berlin"))
    assert start == datetime(2026, 7, 1, 7, 0, tzinfo=UTC)
    assert end == datetime(2026, 7, 1, 8, 1, tzinfo=UTC)


def test_clicked_buckets_are_covered_whole():
    clicked = NOTHING | {"points": [{"x": "2026-07-02"}, {"x": "2026-07-01"}]}
    assert stretch_of(clicked, bucket=TimeBucket.DAY, zone=UTC) == (
        datetime(2026, 7, 1, tzinfo=UTC),
        datetime(2026, 7, 3, tzinfo=UTC),
    )
    assert stretch_of(NOTHING, bucket=TimeBucket.DAY, zone=UTC) is None


@pytest.mark.parametrize(
    ("span", "bucket"),
    [
        (timedelta(0), TimeBucket.MINUTE),
        (timedelta(hours=3), TimeBucket.HOUR),
        (timedelta(days=30), TimeBucket.DAY),
        (timedelta(days=365), TimeBucket.WEEK),
        (timedelta(days=365 * 5), TimeBucket.MONTH),
        (timedelta(days=365 * 50), TimeBucket.MONTH),
    ],
)
def test_buckets_are_the_finest_that_can_be_told_apart(span, bucket):
    assert bucket_for(span) is bucket
    assert bucket_for(timedelta(minutes=MOST_BUCKETS)) is TimeBucket.MINUTE
