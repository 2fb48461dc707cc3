"""Scheduled reports and their ledger, on each database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.domain import PROCESS, Emotion, Reader, Source
from core.identifiers import new_id
from core.store.predictions import PredictionFilter
from core.store.report_schedules import (
    ReportEvent,
    ReportRun,
    ReportRunState,
    ReportSchedule,
    delete_report_schedule,
    insert_report_event,
    insert_report_run,
    insert_report_schedule,
    select_last_due,
    select_report_run,
    select_report_runs,
    select_report_schedule,
    select_report_schedules,
    select_waiting_report_runs,
    update_report_schedule,
)

NOW = datetime(2026, 3, 16, 9, tzinfo=UTC)
ANNA, BORIS = Reader(user_id=new_id()), Reader(user_id=new_id())


def make_schedule(**given: object) -> ReportSchedule:
    schedule = ReportSchedule(
        id=new_id(),
        owner_id=ANNA.user_id,
        title="Größe",
        filter=PredictionFilter(
            emotions=(Emotion.SAD,), sources=(Source.API,), min_confidence=0.5, abstained=False, project_id=new_id()
        ),
        period="day",
        format="pdf",
        cron="0 7 * * *",
        timezone="Europe/Berlin",
        recipients=("a@example.org", "b@example.org"),
        is_paused=False,
        stopped_because="",
        counts_from=NOW,
        created_at=NOW,
    )
    return replace(schedule, **given)


def make_run(schedule: ReportSchedule, **given: object) -> ReportRun:
    run = ReportRun(
        id=new_id(),
        schedule_id=schedule.id,
        owner_id=schedule.owner_id,
        first_due_at=NOW,
        due_at=NOW,
        is_by_hand=False,
        began_at=NOW,
    )
    return replace(run, **given)


def test_schedule_comes_back_as_it_was_kept_for_its_owner_alone(store):
    schedule = insert_report_schedule(store, schedule=make_schedule())
    for reader in (ANNA, PROCESS):
        assert select_report_schedule(store, schedule_id=schedule.id, reader=reader) == schedule
    member = Reader(user_id=BORIS.user_id, project_ids=frozenset({schedule.filter.project_id}))
    for stranger in (BORIS, member):
        assert select_report_schedule(store, schedule_id=schedule.id, reader=stranger) is None
        assert select_report_schedules(store, reader=stranger) == []
        assert not update_report_schedule(store, schedule=replace(schedule, title="x"), reader=stranger)
        assert not delete_report_schedule(store, schedule_id=schedule.id, reader=stranger)
    assert update_report_schedule(store, schedule=replace(schedule, title="New", is_paused=True), reader=ANNA)
    [changed] = select_report_schedules(store, reader=ANNA)
    assert (changed.title, changed.is_paused) == ("New", True)


def test_run_is_what_its_events_say(store):
    schedule = insert_report_schedule(store, schedule=make_schedule())
    run = make_run(schedule)
    assert insert_report_run(store, run=run)
    assert not insert_report_run(store, run=run)
    assert select_waiting_report_runs(store, reader=PROCESS) == [run]
    later = NOW + timedelta(minutes=1)
    insert_report_event(store, run=run, event=ReportEvent.ATTEMPT_FAILED, at=NOW, attempt=1, sentence="down")
    insert_report_event(
        store, run=run, event=ReportEvent.DELIVERED, at=later, recipient="a@example.org", n_predictions=7
    )
    waiting = select_report_run(store, run_id=run.id, reader=ANNA)
    assert (waiting.state, waiting.n_attempts, waiting.last_attempt_at) == (ReportRunState.WAITING, 1, NOW)
    assert (waiting.delivered_to, waiting.sentence) == (("a@example.org",), "down")
    insert_report_event(store, run=run, event=ReportEvent.SENT, at=later, n_predictions=7)
    [ended] = select_report_runs(store, schedule_id=schedule.id, reader=ANNA)
    assert (ended.state, ended.ended_at, ended.sentence, ended.n_predictions) == (ReportRunState.SENT, later, "", 7)
    assert select_waiting_report_runs(store, reader=PROCESS) == []
    assert select_report_runs(store, schedule_id=schedule.id, reader=BORIS) == []
    assert select_report_run(store, run_id=run.id, reader=BORIS) is None


def test_last_due_counts_what_the_clock_began(store):
    schedule = insert_report_schedule(store, schedule=make_schedule())
    assert select_last_due(store, reader=PROCESS) == {}
    for days, by_hand in ((0, False), (1, False), (2, True)):
        insert_report_run(store, run=make_run(schedule, due_at=NOW + timedelta(days=days), is_by_hand=by_hand))
    assert select_last_due(store, reader=PROCESS) == {schedule.id: NOW + timedelta(days=1)}
    assert select_last_due(store, reader=BORIS) == {}


def test_deleted_schedule_takes_its_history_along(store):
    schedule = insert_report_schedule(store, schedule=make_schedule())
    insert_report_run(store, run=make_run(schedule))
    assert delete_report_schedule(store, schedule_id=schedule.id, reader=ANNA)
    assert select_report_schedules(store, reader=PROCESS) == []
    assert select_waiting_report_runs(store, reader=PROCESS) == []


@pytest.mark.parametrize("n_threads", [8])
def test_of_many_that_begin_the_same_run_one_does(store, n_threads):
    run = make_run(insert_report_schedule(store, schedule=make_schedule()))
    with ThreadPoolExecutor(n_threads) as pool:
        begun = list(pool.map(lambda _: insert_report_run(store, run=run), range(n_threads)))
    assert sum(begun) == 1
