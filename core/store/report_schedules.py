"""Scheduled reports, and a ledger of what became of them. They are their owner's: members of a project see none."""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Row, and_, delete, func, select, update

from core.domain import Reader
from core.errors import InvalidParameterError, StoreError
from core.store.engine import MAX_ATTEMPTS, Store, try_again
from core.store.predictions import PredictionFilter
from core.store.schema import report_events, report_schedules
from core.store.visibility import owned

MAX_RUNS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSchedule:
    """A report that is made and mailed again and again."""

    id: UUID
    owner_id: UUID
    """With whose eyes it looks."""
    title: str
    filter: PredictionFilter
    """Without a period of its own."""
    period: str
    """Which stretch before the moment it is due: a value of `core.reports.schedules.ReportPeriod`."""
    format: str
    """A value of `core.reports.report.ReportFormat`."""
    cron: str
    timezone: str
    recipients: tuple[str, ...]
    is_paused: bool
    stopped_because: str
    """Why it stopped by itself, in a sentence; empty otherwise."""
    counts_from: datetime
    """Times up to this moment are not due: when it was made, changed, or went on after a pause."""
    created_at: datetime


class ReportRunState(enum.StrEnum):
    """Where one making and mailing of a report stands."""

    WAITING = "waiting"
    """For its turn, or for another attempt."""
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRun:
    """One making and mailing of a scheduled report."""

    id: UUID
    schedule_id: UUID
    owner_id: UUID
    first_due_at: datetime
    """The first of the moments that it makes up for; that of `due_at` where none was missed."""
    due_at: datetime
    is_by_hand: bool
    """Whether somebody asked for it, rather than the clock."""
    began_at: datetime
    state: ReportRunState = ReportRunState.WAITING
    n_attempts: int = 0
    """That failed, and were tried again or not."""
    last_attempt_at: datetime | None = None
    delivered_to: tuple[str, ...] = ()
    sentence: str = ""
    """What went wrong last."""
    n_predictions: int | None = None
    """That it told of; None while it was not made."""
    ended_at: datetime | None = None


class ReportEvent(enum.StrEnum):
    """What can happen to a run."""

    BEGUN = "begun"
    DELIVERED = "delivered"
    """To one recipient."""
    REFUSED = "refused"
    """For good, for one recipient."""
    ATTEMPT_FAILED = "attempt_failed"
    SENT = "sent"
    FAILED = "failed"


_FILTER = TypeAdapter(PredictionFilter)


def insert_report_schedule(store: Store, *, schedule: ReportSchedule) -> ReportSchedule:
    """Keep a new schedule."""
    store.append("keeping a scheduled report", (report_schedules, [_values(schedule)]))
    return schedule


def select_report_schedule(store: Store, *, schedule_id: UUID, reader: Reader) -> ReportSchedule | None:
    """The schedule with this id; None where there is none, or it is another's."""
    question = select(*report_schedules.columns).where(
        report_schedules.c.id == schedule_id, owned(reader, report_schedules)
    )
    with store.transaction("reading a scheduled report") as connection:
        row = connection.execute(question).one_or_none()
    return None if row is None else _schedule(row)


def select_report_schedules(store: Store, *, reader: Reader) -> list[ReportSchedule]:
    """All of one's own, or everybody's for those who see everything; the oldest first."""
    question = select(*report_schedules.columns).where(owned(reader, report_schedules))
    with store.transaction("reading scheduled reports") as connection:
        rows = connection.execute(question.order_by(report_schedules.c.created_at, report_schedules.c.id)).all()
    return [_schedule(row) for row in rows]


def update_report_schedule(store: Store, *, schedule: ReportSchedule, reader: Reader) -> bool:
    """Keep `schedule` in place of the one of its id; False where that is gone, or another's."""
    values = {name: value for name, value in _values(schedule).items() if name not in {"id", "owner_id", "created_at"}}
    change = (
        update(report_schedules)
        .where(report_schedules.c.id == schedule.id, owned(reader, report_schedules))
        .values(**values)
    )

    def act() -> bool:
        with store.transaction("changing a scheduled report") as connection:
            return connection.execute(change).rowcount > 0

    return try_again(act)


def delete_report_schedule(store: Store, *, schedule_id: UUID, reader: Reader) -> bool:
    """Delete a schedule with its history; False where there is none, or it is another's."""
    if select_report_schedule(store, schedule_id=schedule_id, reader=reader) is None:
        return False

    def act() -> None:
        with store.transaction("deleting a scheduled report") as connection:
            connection.execute(delete(report_events).where(report_events.c.schedule_id == schedule_id))
            connection.execute(
                delete(report_schedules).where(report_schedules.c.id == schedule_id, owned(reader, report_schedules))
            )

    try_again(act)
    return True


def insert_report_run(store: Store, *, run: ReportRun) -> bool:
    """Begin a run; False when one of its id was begun before: of several processes one gets it."""
    return insert_report_event(store, run=run, event=ReportEvent.BEGUN, at=run.began_at)


def insert_report_event(
    store: Store,
    *,
    run: ReportRun,
    event: ReportEvent,
    at: datetime,
    recipient: str = "",
    attempt: int = 0,
    sentence: str = "",
    n_predictions: int | None = None,
) -> bool:
    """Note what happened to a run; False when just that had happened before."""
    row = {
        "run_id": run.id,
        "event": event.value,
        "recipient": recipient,
        "attempt": attempt,
        "schedule_id": run.schedule_id,
        "owner_id": run.owner_id,
        "happened_at": at,
        "first_due_at": run.first_due_at,
        "due_at": run.due_at,
        "is_by_hand": run.is_by_hand,
        "sentence": sentence,
        "n_predictions": n_predictions,
    }
    columns = report_events.c
    is_this = and_(
        columns.run_id == run.id,
        columns.event == event.value,
        columns.recipient == recipient,
        columns.attempt == attempt,
    )
    for number in range(MAX_ATTEMPTS):
        with store.transaction("looking at a scheduled report") as connection:
            if connection.execute(select(func.count()).select_from(report_events).where(is_this)).scalar_one():
                return False
        try:
            store.append("keeping what became of a scheduled report", (report_events, [row]))
        except StoreError:
            if number == MAX_ATTEMPTS - 1:
                raise
            time.sleep(0.01 * 2**number)  # the same at the same moment elsewhere: the next look finds it
        else:
            return True
    return False


def select_report_run(store: Store, *, run_id: UUID, reader: Reader) -> ReportRun | None:
    """The run with this id; None where there is none, or it is another's."""
    question = select(*report_events.columns).where(report_events.c.run_id == run_id, owned(reader, report_events))
    with store.transaction("reading what became of a scheduled report") as connection:
        rows = connection.execute(question.order_by(report_events.c.happened_at)).all()
    return next(iter(_runs(rows)), None)


def select_report_runs(store: Store, *, schedule_id: UUID, reader: Reader, limit: int = 20) -> list[ReportRun]:
    """The newest runs of a schedule, newest first."""
    if not 1 <= limit <= MAX_RUNS:
        raise InvalidParameterError("limit", str(limit), f"a whole number from 1 to {MAX_RUNS}")
    columns = report_events.c
    begun = (
        select(columns.run_id)
        .where(columns.schedule_id == schedule_id, columns.event == ReportEvent.BEGUN.value)
        .where(owned(reader, report_events))
        .order_by(columns.happened_at.desc(), columns.run_id)
        .limit(limit)
    )
    return _select_runs(store, reader, begun)


def select_waiting_report_runs(store: Store, *, reader: Reader) -> list[ReportRun]:
    """Runs that were begun and have not ended, newest first."""
    columns = report_events.c
    ended = select(columns.run_id).where(columns.event.in_([ReportEvent.SENT.value, ReportEvent.FAILED.value]))
    begun = select(columns.run_id).where(columns.event == ReportEvent.BEGUN.value, columns.run_id.not_in(ended))
    return _select_runs(store, reader, begun)


def select_last_due(store: Store, *, reader: Reader) -> dict[UUID, datetime]:
    """When each schedule was due last, of those that ever were; what was asked for by hand does not count."""
    columns = report_events.c
    question = (
        select(columns.schedule_id, func.max(columns.due_at, type_=columns.due_at.type))
        .where(columns.event == ReportEvent.BEGUN.value, columns.is_by_hand.is_(False), owned(reader, report_events))
        .group_by(columns.schedule_id)
    )
    with store.transaction("reading when reports were due") as connection:
        return {row[0]: row[1] for row in connection.execute(question)}


def _select_runs(store: Store, reader: Reader, wanted: Any) -> list[ReportRun]:
    question = select(*report_events.columns).where(report_events.c.run_id.in_(wanted), owned(reader, report_events))
    with store.transaction("reading what became of scheduled reports") as connection:
        rows = connection.execute(question.order_by(report_events.c.happened_at)).all()
    return sorted(_runs(rows), key=lambda run: (run.began_at, run.id), reverse=True)


def _runs(rows: Sequence[Row[Any]]) -> list[ReportRun]:
    """Runs from their events, which stand in the order of time."""
    runs: dict[UUID, ReportRun] = {}
    for row in rows:
        begun = ReportRun(
            id=row.run_id,
            schedule_id=row.schedule_id,
            owner_id=row.owner_id,
            first_due_at=row.first_due_at,
            due_at=row.due_at,
            is_by_hand=row.is_by_hand,
            began_at=row.happened_at,
        )
        runs[row.run_id] = _after(runs.get(row.run_id, begun), row)
    return list(runs.values())


def _after(run: ReportRun, row: Row[Any]) -> ReportRun:
    event = ReportEvent(row.event)
    n_predictions = run.n_predictions if row.n_predictions is None else row.n_predictions
    if event is ReportEvent.DELIVERED:
        return replace(run, delivered_to=(*run.delivered_to, row.recipient), n_predictions=n_predictions)
    if event is ReportEvent.REFUSED:
        return replace(run, sentence=" ".join(filter(None, (run.sentence, row.sentence))))
    if event is ReportEvent.ATTEMPT_FAILED:
        return replace(run, n_attempts=row.attempt, last_attempt_at=row.happened_at, sentence=row.sentence)
    if event in {ReportEvent.SENT, ReportEvent.FAILED}:
        state = ReportRunState.SENT if event is ReportEvent.SENT else ReportRunState.FAILED
        sentence = row.sentence if event is ReportEvent.FAILED or row.sentence else ""
        return replace(run, state=state, ended_at=row.happened_at, sentence=sentence, n_predictions=n_predictions)
    return run


def _values(schedule: ReportSchedule) -> dict[str, Any]:
    return {
        **{name: value for name, value in asdict(schedule).items() if name not in {"filter", "recipients"}},
        "filter": _FILTER.dump_json(schedule.filter, exclude_defaults=True).decode(),
        "recipients": json.dumps(schedule.recipients),
    }


def _schedule(row: Row[Any]) -> ReportSchedule:
    kept = row._mapping
    plain = {name: kept[name] for name in ReportSchedule.__dataclass_fields__ if name not in {"filter", "recipients"}}
    filter = _FILTER.validate_json(row.filter)  # its sequences come back as lists
    filter = replace(
        filter,
        emotions=tuple(filter.emotions),
        model_versions=tuple(filter.model_versions),
        sources=tuple(filter.sources),
    )
    return ReportSchedule(**plain, filter=filter, recipients=tuple(json.loads(row.recipients)))
