"""Sums of whole days give what the ledger itself gives, whatever is written when."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from core.domain import Emotion, OwnLabel, Reader
from core.store.predictions import TimeBucket
from core.store.schema import usage_days
from core.store.usage import (
    UsageFilter,
    count_usage_by_confidence,
    count_usage_by_emotion,
    count_usage_by_status,
    insert_usage_events,
    select_month_usage_by_user,
    select_usage_by_key,
    select_usage_by_plan,
    select_usage_by_route,
    select_usage_by_user,
    select_usage_over_time,
    select_usage_overview,
    select_usage_summary,
)
from core.store.usage_days import coverage_of, empty_histogram, quantile_of, sum_up_days
from tests.factories import make_usage_event

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 6, 1, tzinfo=UTC)
ANN, BOB = UUID(int=1), UUID(int=2)
ADMIN = Reader(user_id=UUID(int=9), sees_everything=True)
DAY = timedelta(days=1)


def make_ledger(seed, n, *, days=12.0):
    """Lines that differ in everything that is summed up; the third day has none."""
    randomness = random.Random(seed)
    made = []
    for _ in range(n):
        at = START + timedelta(microseconds=randomness.randrange(round(days * 86_400_000_000)))
        if at.day == 3:
            continue
        user, key, plan = randomness.choice(
            [(ANN, UUID(int=11), "free"), (ANN, None, "free"), (BOB, UUID(int=12), "pro"), (None, None, None)]
        )
        method, route = randomness.choice(
            [("POST", "/api/v1/predict"), ("GET", "/api/v1/predictions"), ("WEBSOCKET", "/api/v1/stream")]
        )
        status = randomness.choice([200, 200, 200, 404, 429, 500])
        n_predictions = randomness.choice([0, 1]) if status == 200 else 0
        first = make_usage_event(
            at=at,
            user_id=user,
            key_id=key,
            plan=plan,
            method=method,
            route=route,
            status=status,
            duration_ms=randomness.choice([0.0, randomness.lognormvariate(4, 1)]),
            n_predictions=n_predictions,
            audio_s=randomness.choice([0.5, 5.0, 61.25]) * n_predictions,
            emotion=randomness.choice([*Emotion, OwnLabel("bored")]) if n_predictions else None,
            confidence=randomness.choice([0.0, 0.1, 0.25, 0.61, 0.99, 1.0]) if n_predictions else None,
        )
        made.append(first)
        if n_predictions:
            made.append(replace(first, id=make_usage_event().id, duration_ms=None))
    return made


def answers(store, reader, asked):
    """Everything that a usage page asks, with times of answers told apart from what is counted."""
    ask = {"reader": reader, "filter": asked}
    summary = select_usage_summary(store, **ask)
    over_time = [select_usage_over_time(store, bucket=bucket, **ask) for bucket in TimeBucket]
    routes = select_usage_by_route(store, **ask)
    counted = [
        summary.figures,
        summary.first_at,
        [[(each.started_at, each.figures) for each in buckets] for buckets in over_time],
        select_usage_by_user(store, **ask),
        select_usage_by_key(store, **ask),
        [(each.method, each.route, each.figures) for each in routes],
        select_usage_by_plan(store, **ask),
        count_usage_by_status(store, **ask),
        count_usage_by_emotion(store, **ask),
        count_usage_by_confidence(store, **ask),
        count_usage_by_confidence(store, n_bins=7, **ask),
        select_month_usage_by_user(store, reader=reader, month_start=START),
    ]
    for bucket, buckets in zip(TimeBucket, over_time, strict=True):
        whole = select_usage_overview(store, bucket=bucket, **ask)
        assert _rounded([getattr(whole, field.name) for field in fields(whole)]) == _rounded(
            [summary, buckets, counted[3], counted[4], routes, *counted[6:10]]
        )
    latencies = [summary.latency, *(each.latency for each in routes)]
    latencies += [each.latency for buckets in over_time for each in buckets]
    return counted, [time for each in latencies for time in (each.p50_ms, each.p95_ms, each.p99_ms)]


def same(found, expected):
    """Whether two answers are equal; sums of seconds of sound may be added up in another order."""
    counted, times = found
    assert times == [None if time is None else pytest.approx(time, rel=0.01, abs=0.01) for time in expected[1]]
    for one, other in zip(counted, expected[0], strict=True):
        assert _rounded(one) == _rounded(other)
    return True


def _rounded(value):
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if hasattr(value, "audio_s"):
        return replace(value, audio_s=round(value.audio_s, 6))
    return replace(value, figures=_rounded(value.figures)) if hasattr(value, "figures") else value


def covered_days(store, *, since=None, before=None):
    with store.snapshot("looking") as connection:
        return coverage_of(connection, since=since, before=before).days


def test_sums_of_days_give_what_the_ledger_gives(store):
    insert_usage_events(store, events=make_ledger(1, 300, days=6))
    asked = [
        (ADMIN, UsageFilter()),
        (ADMIN, UsageFilter(since=START + DAY / 3, before=START + 4.7 * DAY)),
        (Reader(user_id=ANN), UsageFilter(since=START + DAY)),
        (ADMIN, UsageFilter(route="/api/v1/predict")),
    ]
    of_lines = [answers(store, *each) for each in asked]
    assert covered_days(store) == ()
    assert sum_up_days(store, now=NOW) == 5
    assert covered_days(store) == ((START, START + 5 * DAY),)
    assert all(same(answers(store, *each), expected) for each, expected in zip(asked, of_lines, strict=True))


def test_a_line_that_comes_late_counts_at_once_and_its_day_is_summed_up_again(store):
    insert_usage_events(store, events=make_ledger(3, 120, days=4))
    assert sum_up_days(store, now=NOW) == 5
    assert sum_up_days(store, now=NOW) == 0
    late = make_usage_event(at=START + DAY * 1.5, user_id=ANN, audio_s=2.5)
    before = select_usage_summary(store, reader=ADMIN).figures
    insert_usage_events(store, events=[late])
    assert select_usage_summary(store, reader=ADMIN).figures.n_requests == before.n_requests + 1
    assert covered_days(store) == ((START, START + DAY), (START + 2 * DAY, START + 5 * DAY))
    assert sum_up_days(store, now=NOW) == 1
    assert covered_days(store) == ((START, START + 5 * DAY),)
    after = select_usage_summary(store, reader=ADMIN).figures
    assert (after.n_requests, after.audio_s) == (before.n_requests + 1, pytest.approx(before.audio_s + 2.5))


def test_todays_lines_are_told_from_the_ledger_and_make_no_day_late(store):
    insert_usage_events(store, events=[make_usage_event(at=datetime.now(UTC), user_id=ANN)])
    assert sum_up_days(store, now=datetime.now(UTC)) == 0
    assert select_usage_summary(store, reader=Reader(user_id=ANN)).figures.n_requests == 1


def test_a_day_that_has_just_ended_is_left_alone(store):
    insert_usage_events(store, events=make_ledger(4, 40, days=2))
    assert sum_up_days(store, now=START + 2 * DAY + timedelta(minutes=59)) == 1
    assert sum_up_days(store, now=START + 2 * DAY + timedelta(minutes=60)) == 1


def test_summing_up_stops_when_it_is_told_to_and_goes_on_later(store):
    insert_usage_events(store, events=make_ledger(5, 60, days=5))
    told = iter([False, False, True])
    assert sum_up_days(store, now=START + 6 * DAY, is_stopping=lambda: next(told)) == 2
    assert sum_up_days(store, now=START + 6 * DAY) == 3


def test_a_late_day_has_one_mark_and_not_two(store):
    insert_usage_events(store, events=[make_usage_event(at=START)])
    sum_up_days(store, now=START + 2 * DAY)
    insert_usage_events(store, events=[make_usage_event(at=START)])
    sum_up_days(store, now=START + 2 * DAY)
    with store.snapshot("looking") as connection:
        assert connection.execute(select(usage_days.c.day, usage_days.c.n_late)).all() == [(START, 2)]


def test_an_empty_ledger_has_nothing_to_sum_up(store):
    assert sum_up_days(store, now=NOW) == 0


def test_the_quantile_of_no_answers_is_unknown():
    assert quantile_of(empty_histogram(), 0.5) is None
