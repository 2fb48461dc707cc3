"""Charts of usage on a day with hardly any of it: axes that can be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.domain import Interval
from core.store.usage import ConfidenceBin, Latency, UsageFigures, UsageInBucket
from pages.parts import usage_charts
from pages.parts.theme import LIGHT

DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
FIGURES = UsageFigures(
    n_requests=1, n_refused=0, n_failed=0, n_calls=1, n_predictions=1, audio_s=2.0, last_at=MIDNIGHT + DAY / 2
)


def bucket(started_at: datetime) -> UsageInBucket:
    return UsageInBucket(started_at=started_at, figures=FIGURES, latency=Latency(p50_ms=20.0, p95_ms=30.0, p99_ms=40.0))


@pytest.mark.parametrize(("n_days", "n_shown"), [(1, 7), (3, 7), (9, 9)])
@pytest.mark.parametrize(
    "chart",
    [
        usage_charts.latency,
        usage_charts.requests,
        lambda buckets, *rest: usage_charts.predictions_per_minute(buckets, DAY, MIDNIGHT + 90 * DAY, *rest[1:]),
    ],
    ids=["latency", "requests", "predictions"],
)
def test_times_lie_on_an_axis_of_whole_days_and_a_day_alone_is_no_wide_block(chart, n_days, n_shown):
    buckets = [bucket(MIDNIGHT + n * DAY) for n in range(n_days)]
    figure = chart(buckets, DAY, UTC, LIGHT)
    end = (MIDNIGHT + n_days * DAY).replace(tzinfo=None)
    assert figure.layout.xaxis.range == (end - n_shown * DAY, end)


def test_one_prediction_in_a_day_is_drawn_without_a_prefix_of_physics():
    figure = usage_charts.predictions_per_minute([bucket(MIDNIGHT)], DAY, MIDNIGHT + 2 * DAY, UTC, LIGHT)
    assert figure.layout.yaxis.tickformat == ",~r"


@pytest.mark.parametrize(("n_predictions", "step"), [(1, 1), (4, 1), (5, None), (0, None)])
def test_few_answers_are_counted_in_whole_ones(n_predictions, step):
    bins = [ConfidenceBin(confidence=Interval(low=0.4, high=0.5), n_predictions=n_predictions)]
    assert usage_charts.confidence(bins, LIGHT).layout.yaxis.dtick == step
