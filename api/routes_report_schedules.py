"""Scheduled reports: kept, changed, paused, sent at once, and what became of each."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.access import Asking, OpenWorkbench, ReaderOf
from api.once import OnceRoute
from api.routes_predictions import Text, refusals
from api.routes_reports import FilterShape, TimeZone
from api.schemas import Shape
from core.errors import InvalidParameterError
from core.report_jobs import begin_report_now
from core.reports.report import MAX_TITLE, ReportFormat
from core.reports.schedules import MAX_RECIPIENTS, ReportPeriod, ScheduleDraft
from core.reports.timing import daily, monthly, timing_words, weekly
from core.store.report_schedules import MAX_RUNS, ReportRun, ReportRunState, ReportSchedule
from core.workbench import Workbench

router = APIRouter(prefix="/api/v1", tags=["reports"], route_class=OnceRoute)


class Every(enum.StrEnum):
    """How often, where no line of cron is given."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Weekday(enum.StrEnum):
    """A day of the week."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


Title = Annotated[Text, Field(min_length=1, max_length=MAX_TITLE)]
Address = Annotated[str, StringConstraints(max_length=254)]
Recipients = Annotated[list[Address], Field(min_length=1, max_length=MAX_RECIPIENTS)]
Cron = Annotated[str, Field(max_length=100, description="Five fields, at most once an hour: `30 7 * * 1`.")]


class TimesAsked(Shape):
    """When a report is due: a line of cron, or `every` with what belongs to it."""

    cron: Cron | None = None
    every: Every | None = None
    at: str = Field(default="07:00", max_length=5, description="Time of day, with `every`.")
    weekday: Weekday = Field(default=Weekday.MONDAY, description="With `every` `week`.")
    day: int = Field(default=1, description="With `every` `month`: 1 to 28, or 31 for the last.")

    def as_cron(self) -> str | None:
        """The line of cron; None where nothing is said."""
        if self.cron is not None and self.every is not None:
            raise InvalidParameterError("every", "given beside cron", "left out, or cron left out")
        if self.every is Every.DAY:
            return daily(self.at)
        if self.every is Every.WEEK:
            return weekly(list(Weekday).index(self.weekday), self.at)
        if self.every is Every.MONTH:
            return monthly(self.day, self.at)
        return self.cron


class ScheduleAsked(TimesAsked):
    """A scheduled report as it is to be."""

    title: Title
    filter: FilterShape = FilterShape()
    period: ReportPeriod = ReportPeriod.DAY
    format: ReportFormat = ReportFormat.PDF
    timezone: TimeZone = Field(default="UTC", description="Of the times and of the days it counts in.")
    recipients: Recipients


class ScheduleChange(TimesAsked):
    """What is to be different; what is left out stays."""

    title: Title | None = None
    filter: FilterShape | None = None
    period: ReportPeriod | None = None
    format: ReportFormat | None = None
    timezone: TimeZone | None = None
    recipients: Recipients | None = None
    is_paused: bool | None = None


class ScheduleShape(Shape):
    """A scheduled report."""

    id: UUID
    owner_id: UUID
    title: str
    filter: FilterShape
    period: ReportPeriod
    format: ReportFormat
    cron: str
    when: str = Field(description="The line of cron in words.", examples=["every Monday at 07:00"])
    timezone: str
    recipients: list[str]
    is_paused: bool
    stopped_because: str = Field(description="Why it stopped by itself; empty otherwise.")
    next_due_at: datetime | None = Field(description="Null while it is paused.")
    created_at: datetime

    @classmethod
    def of(cls, schedule: ReportSchedule, *, next_due_at: datetime | None) -> Self:
        return cls(
            id=schedule.id,
            owner_id=schedule.owner_id,
            title=schedule.title,
            filter=FilterShape.of(schedule.filter),
            period=ReportPeriod(schedule.period),
            format=ReportFormat(schedule.format),
            cron=schedule.cron,
            when=timing_words(schedule.cron),
            timezone=schedule.timezone,
            recipients=list(schedule.recipients),
            is_paused=schedule.is_paused,
            stopped_because=schedule.stopped_because,
            next_due_at=next_due_at,
            created_at=schedule.created_at,
        )


class ScheduleListShape(Shape):
    """Scheduled reports, the oldest first."""

    items: list[ScheduleShape]


class RunShape(Shape):
    """One making and mailing of a scheduled report."""

    id: UUID
    due_at: datetime
    first_due_at: datetime = Field(description="The first of the times it makes up for; `due_at` if none was missed.")
    is_by_hand: bool
    state: ReportRunState
    n_attempts: int = Field(description="That failed.")
    delivered_to: list[str]
    sentence: str = Field(description="What went wrong last; empty otherwise.")
    n_predictions: int | None
    began_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, run: ReportRun) -> Self:
        return cls(
            id=run.id,
            due_at=run.due_at,
            first_due_at=run.first_due_at,
            is_by_hand=run.is_by_hand,
            state=run.state,
            n_attempts=run.n_attempts,
            delivered_to=list(run.delivered_to),
            sentence=run.sentence,
            n_predictions=run.n_predictions,
            began_at=run.began_at,
            ended_at=run.ended_at,
        )


class RunListShape(Shape):
    """Runs, the newest first."""

    items: list[RunShape]


@router.get("/report-schedules", summary="List scheduled reports", responses=refusals(503))
def list_report_schedules(workbench: OpenWorkbench, reader: ReaderOf) -> ScheduleListShape:
    """Yours; for admins, everybody's."""
    return ScheduleListShape(items=[_shape(workbench, each) for each in workbench.report_schedules.list_for(reader)])


@router.post(
    "/report-schedules",
    status_code=201,
    summary="Schedule a report",
    responses=refusals(400, 404, 422, 503),
)
async def schedule_report(
    asked: ScheduleAsked, response: Response, caller: Asking, workbench: OpenWorkbench
) -> ScheduleShape:
    """Have a report made and mailed again and again, of what you may see each time."""
    cron = asked.as_cron()
    if cron is None:
        raise InvalidParameterError("cron", "missing", "given, or `every`")
    draft = ScheduleDraft(
        title=asked.title,
        filter=asked.filter.as_filter(),
        period=asked.period,
        format=asked.format,
        cron=cron,
        timezone=asked.timezone,
        recipients=asked.recipients,
    )

    schedule = await run_in_threadpool(workbench.report_schedules.create, draft, by=caller)
    response.headers["Location"] = f"/api/v1/report-schedules/{schedule.id}"
    return _shape(workbench, schedule)


@router.get("/report-schedules/{schedule_id}", summary="Read a scheduled report", responses=refusals(404, 422, 503))
def read_report_schedule(schedule_id: UUID, workbench: OpenWorkbench, reader: ReaderOf) -> ScheduleShape:
    """When it is due next, and whether it rests."""
    return _shape(workbench, workbench.report_schedules.find(schedule_id, reader=reader))


@router.patch(
    "/report-schedules/{schedule_id}", summary="Change a scheduled report", responses=refusals(400, 404, 422, 503)
)
def change_report_schedule(
    schedule_id: UUID, asked: ScheduleChange, caller: Asking, workbench: OpenWorkbench
) -> ScheduleShape:
    """Change what is given and leave the rest; `is_paused` has it rest, or go on from now."""
    schedules = workbench.report_schedules
    schedule = schedules.find(schedule_id, reader=caller.reader)
    draft = _changed(schedule, asked)
    if draft is not None:
        schedule = schedules.change(schedule_id, draft, by=caller)
    if asked.is_paused is not None:
        schedule = schedules.set_paused(schedule_id, asked.is_paused, by=caller)
    return _shape(workbench, schedule)


@router.delete(
    "/report-schedules/{schedule_id}",
    status_code=204,
    summary="Delete a scheduled report",
    response_class=Response,
    responses=refusals(404, 422, 503),
)
def delete_report_schedule(schedule_id: UUID, caller: Asking, workbench: OpenWorkbench) -> Response:
    """Deletes it with its history."""
    workbench.report_schedules.delete(schedule_id, by=caller)
    return Response(status_code=204)


@router.post(
    "/report-schedules/{schedule_id}/run",
    status_code=202,
    summary="Send a scheduled report now",
    responses=refusals(404, 422, 503),
)
async def run_report_schedule(schedule_id: UUID, caller: Asking, workbench: OpenWorkbench) -> RunShape:
    """Begins one besides those of the clock, also while it is paused; its history tells what became of it."""
    return RunShape.of(await run_in_threadpool(begin_report_now, workbench, schedule_id, by=caller))


@router.get(
    "/report-schedules/{schedule_id}/runs",
    summary="Read what became of a scheduled report",
    responses=refusals(404, 422, 503),
)
def list_report_runs(
    schedule_id: UUID,
    workbench: OpenWorkbench,
    reader: ReaderOf,
    limit: Annotated[int, Query(ge=1, le=MAX_RUNS)] = 20,
) -> RunListShape:
    """Each making and mailing, the newest first."""
    runs = workbench.report_schedules.runs(schedule_id, reader=reader, limit=limit)
    return RunListShape(items=[RunShape.of(run) for run in runs])


def _changed(schedule: ReportSchedule, asked: ScheduleChange) -> ScheduleDraft | None:
    """What the schedule is to be; None where only its rest is spoken of."""
    if not asked.model_fields_set - {"is_paused"}:
        return None
    return ScheduleDraft(
        title=schedule.title if asked.title is None else asked.title,
        filter=schedule.filter if asked.filter is None else asked.filter.as_filter(),
        period=ReportPeriod(schedule.period) if asked.period is None else asked.period,
        format=ReportFormat(schedule.format) if asked.format is None else asked.format,
        cron=asked.as_cron() or schedule.cron,
        timezone=asked.timezone or schedule.timezone,
        recipients=asked.recipients or schedule.recipients,
    )


def _shape(workbench: Workbench, schedule: ReportSchedule) -> ScheduleShape:
    return ScheduleShape.of(schedule, next_due_at=workbench.report_schedules.next_due_at(schedule))
