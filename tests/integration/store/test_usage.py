"""What the usage ledger keeps, and what it answers. Every answer is compared with plain Python."""

from __future__ import annotations

import inspect
import random
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
import pytest

from core.domain import Emotion, MonthUsage, OwnLabel, Reader
from core.errors import InvalidParameterError, StoreError
from core.store import usage as ledger
from core.store.predictions import TimeBucket
from core.store.usage import (
    UsageFilter,
    count_usage_by_confidence,
    count_usage_by_emotion,
    count_usage_by_status,
    insert_usage_events,
    select_month_usage,
    select_month_usage_by_user,
    select_usage_by_key,
    select_usage_by_plan,
    select_usage_by_route,
    select_usage_by_user,
    select_usage_events,
    select_usage_over_time,
    select_usage_summary,
)
from tests.factories import make_usage_event

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BOB = UUID(int=1), UUID(int=2)
ANNS_KEY, BOBS_KEY = UUID(int=11), UUID(int=12)
ADMIN = Reader(user_id=UUID(int=9), sees_everything=True)


@pytest.fixture
def crowd(store):
    """Events that differ in everything a filter looks at; some requests have further recordings."""
    randomness = random.Random(1)
    made = []
    for _ in range(150):
        user, key, plan = randomness.choice(
            [(ANN, ANNS_KEY, "free"), (ANN, None, "free"), (BOB, BOBS_KEY, "pro"), (None, None, None)]
        )
        status = randomness.choice([200, 200, 200, 201, 404, 422, 429, 500, 503])
        n_predictions = randomness.choice([0, 1]) if status < 300 else 0
        first = make_usage_event(
            at=NOON + timedelta(hours=randomness.randrange(200), microseconds=randomness.choice([0, 1])),
            user_id=user,
            key_id=key,
            plan=plan,
            route=randomness.choice(["/api/v1/predict", "/api/v1/batch-predict", "/explain"]),
            method=randomness.choice(["POST", "PAGE"]),
            status=status,
            duration_ms=randomness.choice([2.0, 30.5, 41.25, 900.0, 2500.0]),
            n_predictions=n_predictions,
            audio_s=randomness.choice([0.5, 5.0, 60.0]) * n_predictions,
            emotion=randomness.choice(list(Emotion)[:5]) if n_predictions else None,
            confidence=randomness.choice([0.2, 0.25, 0.61, 0.99, 1.0]) if n_predictions else None,
        )
        made.append(first)
        if n_predictions and first.route.endswith("batch-predict"):
            made += [replace(make_usage_event(), **shared(first)) for _ in range(2)]
    insert_usage_events(store, events=made)
    return made


def shared(first):
    names = ("at", "user_id", "key_id", "plan", "route", "method", "status", "request_id")
    return {name: getattr(first, name) for name in names} | {"duration_ms": None}


def requests(events):
    return [event for event in events if not event.is_further]


def quantiles(events):
    durations = [event.duration_ms for event in requests(events)]
    return [pytest.approx(value) for value in np.quantile(durations, [0.5, 0.95, 0.99])]


def same_figures(figures, events):
    whole = requests(events)
    assert figures.n_requests == len(whole)
    assert figures.n_refused == sum(400 <= event.status < 500 for event in whole)
    assert figures.n_failed == sum(event.status >= 500 for event in whole)
    assert figures.n_calls == sum(event.n_predictions > 0 for event in events)
    assert figures.n_predictions == sum(event.n_predictions for event in events)
    assert figures.audio_s == pytest.approx(sum(event.audio_s for event in events))
    assert figures.last_at == max(event.at for event in events)
    return True


def grouped(events, *names):
    groups = defaultdict(list)
    for event in events:
        groups[tuple(getattr(event, name) for name in names)].append(event)
    return dict(groups)


def test_events_come_back_as_they_went_in_newest_first_page_by_page(store, crowd):
    found, cursor = [], None
    while True:
        page = select_usage_events(store, reader=ADMIN, limit=7, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == sorted(crowd, key=lambda event: (event.at, event.id), reverse=True)


def test_an_event_with_nothing_known_is_kept(store):
    bare = make_usage_event(n_predictions=0, audio_s=0.0, emotion=None, confidence=None, model_version=None, address="")
    insert_usage_events(store, events=[bare])
    insert_usage_events(store, events=[])
    assert select_usage_events(store, reader=ADMIN).items == (bare,)


def test_a_second_try_keeps_what_the_first_did_not(store):
    events = [make_usage_event() for _ in range(4)]
    insert_usage_events(store, events=events[:2])
    insert_usage_events(store, events=events, may_be_there=True)
    insert_usage_events(store, events=events, may_be_there=True)
    assert sorted(select_usage_events(store, reader=ADMIN).items, key=lambda event: event.id) == events


def test_a_closed_store_says_what_it_was_asked_for(store):
    store.close()
    with pytest.raises(StoreError, match="appending to the usage ledger"):
        insert_usage_events(store, events=[make_usage_event()])


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_of_no_or_too_many_lines_is_refused(store, limit):
    with pytest.raises(InvalidParameterError, match="limit"):
        select_usage_events(store, reader=ADMIN, limit=limit)


def test_summary_counts_requests_and_takes_quantiles_of_their_time(store, crowd):
    summary = select_usage_summary(store, reader=ADMIN)
    assert same_figures(summary.figures, crowd)
    assert [summary.latency.p50_ms, summary.latency.p95_ms, summary.latency.p99_ms] == quantiles(crowd)
    assert summary.first_at == min(event.at for event in crowd)


def test_summary_of_nothing_says_nothing(store):
    summary = select_usage_summary(store, reader=ADMIN)
    assert summary.figures == ledger.UsageFigures(
        n_requests=0, n_refused=0, n_failed=0, n_calls=0, n_predictions=0, audio_s=0.0, last_at=None
    )
    assert summary.latency == ledger.Latency(p50_ms=None, p95_ms=None, p99_ms=None)
    assert summary.first_at is None


def test_summary_of_further_recordings_alone_has_no_latency(store):
    insert_usage_events(store, events=[make_usage_event(duration_ms=None)])
    summary = select_usage_summary(store, reader=ADMIN)
    assert (summary.figures.n_requests, summary.figures.n_predictions) == (0, 1)
    assert summary.latency.p95_ms is None


@pytest.mark.parametrize("bucket", [TimeBucket.HOUR, TimeBucket.DAY])
def test_over_time_is_in_order_and_leaves_empty_buckets_out(store, crowd, bucket):
    def start(event):
        return event.at.replace(minute=0, second=0, microsecond=0, **({"hour": 0} if bucket is TimeBucket.DAY else {}))

    buckets = defaultdict(list)
    for event in crowd:
        buckets[start(event)].append(event)
    found = select_usage_over_time(store, reader=ADMIN, bucket=bucket)
    assert [each.started_at for each in found] == sorted(buckets)
    for each in found:
        assert same_figures(each.figures, buckets[each.started_at])
        assert each.latency.p95_ms == quantiles(buckets[each.started_at])[1]


def test_by_user_key_route_and_plan(store, crowd):
    by_user = select_usage_by_user(store, reader=ADMIN)
    groups = grouped(crowd, "user_id")
    assert {(each.user_id,) for each in by_user} == set(groups)
    assert all(same_figures(each.figures, groups[(each.user_id,)]) for each in by_user)
    assert [each.figures.n_calls for each in by_user] == sorted((e.figures.n_calls for e in by_user), reverse=True)
    by_key = select_usage_by_key(store, reader=ADMIN)
    groups = grouped(crowd, "key_id", "user_id")
    assert {(each.key_id, each.user_id) for each in by_key} == set(groups)
    assert all(same_figures(each.figures, groups[each.key_id, each.user_id]) for each in by_key)
    by_route = select_usage_by_route(store, reader=ADMIN)
    groups = grouped(crowd, "method", "route")
    assert {(each.method, each.route) for each in by_route} == set(groups)
    for each in by_route:
        events = groups[each.method, each.route]
        assert same_figures(each.figures, events)
        assert [each.latency.p50_ms, each.latency.p95_ms, each.latency.p99_ms] == quantiles(events)
    by_plan = select_usage_by_plan(store, reader=ADMIN)
    groups = grouped(crowd, "plan")
    assert {(each.plan,) for each in by_plan} == set(groups) == {("free",), ("pro",), (None,)}
    assert all(same_figures(each.figures, groups[(each.plan,)]) for each in by_plan)


def test_statuses_emotions_and_confidences_are_counted(store, crowd):
    statuses = Counter((event.route, event.status) for event in requests(crowd))
    found = count_usage_by_status(store, reader=ADMIN)
    assert {(each.route, each.status): each.n_requests for each in found} == statuses
    assert [each.n_requests for each in found] == sorted(statuses.values(), reverse=True)
    emotions = Counter(event.emotion for event in crowd)
    assert count_usage_by_emotion(store, reader=ADMIN) == {emotion: emotions[emotion] for emotion in Emotion}
    bins = count_usage_by_confidence(store, reader=ADMIN, n_bins=4)
    known = Counter(min(3, int(event.confidence * 4)) for event in crowd if event.confidence is not None)
    assert [each.n_predictions for each in bins] == [known[number] for number in range(4)]
    assert [(each.confidence.low, each.confidence.high) for each in bins] == [
        (0, 0.25),
        (0.25, 0.5),
        (0.5, 0.75),
        (0.75, 1),
    ]
    with pytest.raises(InvalidParameterError, match="n_bins"):
        count_usage_by_confidence(store, reader=ADMIN, n_bins=0)
    own = [make_usage_event(emotion=OwnLabel(label), n_predictions=1) for label in ("keen", "bored", "keen")]
    insert_usage_events(store, events=own)
    counts = count_usage_by_emotion(store, reader=ADMIN)
    assert list(counts.items())[-2:] == [(OwnLabel("bored"), 1), (OwnLabel("keen"), 2)]
    assert [counts[emotion] for emotion in Emotion] == [emotions[emotion] for emotion in Emotion]


@pytest.mark.parametrize(
    ("restricted", "holds"),
    [
        (UsageFilter(since=NOON + timedelta(hours=100)), lambda event: event.at >= NOON + timedelta(hours=100)),
        (UsageFilter(before=NOON + timedelta(hours=100)), lambda event: event.at < NOON + timedelta(hours=100)),
        (UsageFilter(user_id=BOB), lambda event: event.user_id == BOB),
        (UsageFilter(key_id=ANNS_KEY), lambda event: event.key_id == ANNS_KEY),
        (UsageFilter(route="/explain"), lambda event: event.route == "/explain"),
        (UsageFilter(status_class=4), lambda event: 400 <= event.status <= 499),
        (
            UsageFilter(user_id=ANN, route="/explain", status_class=2),
            lambda event: event.user_id == ANN and event.route == "/explain" and event.status < 300,
        ),
    ],
)
def test_filters_restrict(store, crowd, restricted, holds):
    expected = [event for event in crowd if holds(event)]
    assert 0 < len(expected) < len(crowd)
    assert same_figures(select_usage_summary(store, reader=ADMIN, filter=restricted).figures, expected)


QUESTIONS = {
    name: question
    for name, question in inspect.getmembers(ledger, inspect.isfunction)
    if name.startswith(("select_", "count_")) and question.__module__ == ledger.__name__
}
FURTHER = {
    "select_usage_over_time": {"bucket": TimeBucket.DAY},
    "select_usage_overview": {"bucket": TimeBucket.DAY},
    "select_month_usage_by_user": {"month_start": datetime(2026, 3, 1, tzinfo=UTC)},
}


@pytest.mark.parametrize("name", sorted(set(QUESTIONS) - {"select_month_usage"}))
def test_every_question_sees_ones_own_lines_only(store, crowd, name):
    """As Bob, over all lines; and as an admin, over his lines alone: the answers are the same."""
    ask = QUESTIONS[name]
    assert inspect.signature(ask).parameters["reader"].default is inspect.Parameter.empty
    further = FURTHER.get(name, {})
    before = ask(store, reader=Reader(user_id=BOB), **further)
    assert before != ask(store, reader=ADMIN, **further)
    mine = [event for event in crowd if event.user_id == BOB]
    with store.transaction("starting anew") as connection:
        connection.execute(ledger.usage_events.delete())
    insert_usage_events(store, events=mine)
    assert before == ask(store, reader=ADMIN, **further)


def test_month_is_one_of_the_calendar_and_counts_what_costs_inference(store):
    month = datetime(2026, 12, 1, tzinfo=UTC)
    mine = {"user_id": ANN, "plan": "free"}
    insert_usage_events(
        store,
        events=[
            make_usage_event(at=month - timedelta(microseconds=1), **mine),
            make_usage_event(at=month, audio_s=2.0, **mine),
            make_usage_event(at=month, audio_s=3.0, duration_ms=None, **mine),
            make_usage_event(at=datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), audio_s=4.0, key_id=ANNS_KEY, **mine),
            make_usage_event(at=month + timedelta(days=3), n_predictions=0, audio_s=0.0, status=422, **mine),
            make_usage_event(at=datetime(2027, 1, 1, tzinfo=UTC), **mine),
            make_usage_event(at=month, user_id=BOB, audio_s=1.0),
            make_usage_event(at=month, user_id=None),
        ],
    )
    assert select_month_usage(store, user_id=ANN, month_start=month) == MonthUsage(n_calls=3, audio_s=9.0)
    nobody = select_month_usage(store, user_id=UUID(int=77), month_start=month)
    assert nobody == MonthUsage(n_calls=0, audio_s=0.0)
    assert select_month_usage_by_user(store, reader=ADMIN, month_start=month) == {
        ANN: MonthUsage(n_calls=3, audio_s=9.0),
        BOB: MonthUsage(n_calls=1, audio_s=1.0),
    }
