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


@pytest.mark.parametrize("n_days", [1, 3])
def test_answer_times_lie_on_an_axis_of_whole_days(n_days):
    buckets = [bucket(MIDNIGHT + n * DAY) for n in range(n_days)]
    figure = usage_charts.latency(buckets, DAY, UTC, LIGHT)
    first = MIDNIGHT.replace(tzinfo=None)
    assert figure.layout.xaxis.range == (first, first + n_days * DAY)


@pytest.mark.parametrize(("n_predictions", "step"), [(1, 1), (4, 1), (5, None), (0, None)])
def test_few_answers_are_counted_in_whole_ones(n_predictions, step):
    bins = [ConfidenceBin(confidence=Interval(low=0.4, high=0.5), n_predictions=n_predictions)]
    assert usage_charts.confidence(bins, LIGHT).layout.yaxis.dtick == step
