"""Scheduled reports: due by the clock or by hand, made with their owner's eyes of that moment, mailed, tried again.

Everything that happens is a line of a ledger, written as soon as it has happened: a process that ends in the middle
leaves a run that the next look finds, and nobody who has the report already gets it again. Times that were missed while
nothing was running are made up for by one report over all of them.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import structlog

from core.access.access import Access
from core.access.emails import normalise_email
from core.access.projects import Projects
from core.access.roles import may_open
from core.config import Settings
from core.domain import PROCESS, Caller, Reader
from core.errors import (
    ForbiddenError,
    InvalidParameterError,
    MailError,
    RequestError,
    TelepathyError,
    UnknownProjectError,
    UnknownScheduleError,
)
from core.identifiers import new_id
from core.mail import Attachment, Mailer
from core.reports.report import MAX_TITLE, MEDIA_TYPES, Report, ReportFormat, ReportRequest, file_name
from core.reports.reports import Reports
from core.reports.timing import day_begins, find_zone, last_due, next_due, require_cron, timing_words
from core.store.engine import Store
from core.store.predictions import EVERYTHING, PredictionFilter
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

MAX_RECIPIENTS = 20
MAX_SCHEDULES = 50
"""Of one owner."""
MAX_ATTACHMENT_BYTES = 18_000_000
"""Grows by a third on its way; many servers take 25 MB."""
WAITS = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
)
"""Before the second to the seventh attempt: outages of a night are survived."""
_RUNS = UUID("8f7c2f2a-3f0e-5a51-9a54-0a8fd4a5b6d1")
"""Namespace of the ids of runs; any UUID that nothing else uses."""

log = structlog.get_logger(__name__)


class ReportPeriod(enum.StrEnum):
    """Which stretch before the moment it is due a scheduled report tells of; days are those of its time zone."""

    DAY = "day"
    """The day before."""
    WEEK = "week"
    """The week before, from Monday to Sunday."""
    MONTH = "month"
    """The month before."""
    SEVEN_DAYS = "7_days"
    THIRTY_DAYS = "30_days"
    SINCE_LAST = "since_last"
    """Since it was due the time before."""
    ALL = "all"


PERIOD_WORDS = {
    ReportPeriod.DAY: "the day before",
    ReportPeriod.WEEK: "the week before",
    ReportPeriod.MONTH: "the month before",
    ReportPeriod.SEVEN_DAYS: "the 7 days before",
    ReportPeriod.THIRTY_DAYS: "the 30 days before",
    ReportPeriod.SINCE_LAST: "since the time before",
    ReportPeriod.ALL: "everything so far",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDraft:
    """What somebody wants of a scheduled report."""

    title: str
    filter: PredictionFilter = EVERYTHING
    period: ReportPeriod
    format: ReportFormat = ReportFormat.PDF
    cron: str
    timezone: str
    recipients: Sequence[str]


class ReportSchedules:
    """The scheduled reports of a process. Safe to share between threads, and between processes on one store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        access: Access,
        projects: Projects,
        reports: Reports,
        mailer: Mailer,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._store = store
        self._access = access
        self._projects = projects
        self._reports = reports
        self._mailer = mailer
        self.now = now
        self.on_sent: Callable[[ReportRun, ReportSchedule], None] | None = None
        """Told of every report once everybody has it."""

    def create(self, draft: ScheduleDraft, *, by: Caller) -> ReportSchedule:
        """Keep a new schedule of `by`.

        Raises
        ------
        InvalidParameterError
            Title, times, zone or recipients are out of place, or there are too many schedules.
        UnknownProjectError
            The filter names a project that is not shared with them.
        """
        if len(select_report_schedules(self._store, reader=Reader(user_id=by.user.id))) >= MAX_SCHEDULES:
            raise InvalidParameterError(
                "schedules", f"more than {MAX_SCHEDULES}", f"at most {MAX_SCHEDULES} of each owner"
            )
        now = self.now()
        schedule = self._checked(
            draft,
            by,
            ReportSchedule(
                id=new_id(),
                owner_id=by.user.id,
                title="",
                filter=EVERYTHING,
                period="",
                format="",
                cron="",
                timezone="",
                recipients=(),
                is_paused=False,
                stopped_because="",
                counts_from=now,
                created_at=now,
            ),
        )
        insert_report_schedule(self._store, schedule=schedule)
        self._audit("create", schedule, by)
        return schedule

    def change(self, schedule_id: UUID, draft: ScheduleDraft, *, by: Caller) -> ReportSchedule:
        """Put `draft` in place of what a schedule says. Raises like `create`, and UnknownScheduleError."""
        before = self.find(schedule_id, reader=by.reader)
        owner = self._access.caller_on_behalf(before.owner_id)
        if owner is None:
            raise ForbiddenError("The account of its owner is disabled: the scheduled report can only be deleted.")
        after = self._checked(draft, owner, before)
        if (after.cron, after.timezone) != (before.cron, before.timezone):
            after = replace(after, counts_from=self.now())
        self._keep(after, by)
        self._audit("change", after, by)
        return after

    def set_paused(self, schedule_id: UUID, is_paused: bool, *, by: Caller) -> ReportSchedule:
        """Have a schedule rest, or go on from now: times that pass meanwhile are not made up for.

        Raises
        ------
        UnknownScheduleError
            There is no such schedule of theirs.
        """
        schedule = self.find(schedule_id, reader=by.reader)
        if schedule.is_paused == is_paused:
            return schedule
        changed = replace(schedule, is_paused=is_paused)
        if not is_paused:
            changed = replace(changed, counts_from=self.now(), stopped_because="")
        self._keep(changed, by)
        self._audit("pause" if is_paused else "resume", changed, by)
        return changed

    def delete(self, schedule_id: UUID, *, by: Caller) -> None:
        """Delete a schedule with its history. Raises UnknownScheduleError."""
        schedule = self.find(schedule_id, reader=by.reader)
        delete_report_schedule(self._store, schedule_id=schedule_id, reader=by.reader)
        self._audit("delete", schedule, by)

    def find(self, schedule_id: UUID, *, reader: Reader) -> ReportSchedule:
        """The schedule with this id. Raises UnknownScheduleError where there is none that is theirs."""
        schedule = select_report_schedule(self._store, schedule_id=schedule_id, reader=reader)
        if schedule is None:
            raise UnknownScheduleError(schedule_id)
        return schedule

    def list_for(self, reader: Reader) -> list[ReportSchedule]:
        """One's own, or everybody's for those who see everything."""
        return select_report_schedules(self._store, reader=reader)

    def runs(self, schedule_id: UUID, *, reader: Reader, limit: int = 20) -> list[ReportRun]:
        """What became of a schedule, newest first. Raises UnknownScheduleError."""
        self.find(schedule_id, reader=reader)
        return select_report_runs(self._store, schedule_id=schedule_id, reader=reader, limit=limit)

    def next_due_at(self, schedule: ReportSchedule) -> datetime | None:
        """When it is due next; None while it is paused."""
        return None if schedule.is_paused else next_due(schedule.cron, ZoneInfo(schedule.timezone), self.now())

    def run_now(self, schedule_id: UUID, *, by: Caller) -> ReportRun:
        """Begin a run besides those of the clock, also of a paused schedule. Raises UnknownScheduleError."""
        schedule = self.find(schedule_id, reader=by.reader)
        now = self.now()
        run = self._run(schedule, new_id(), first_due_at=now, due_at=now, is_by_hand=True)
        insert_report_run(self._store, run=run)
        self._audit("run", schedule, by)
        return run

    def look(self) -> list[ReportRun]:
        """Begin what is due, and give all runs whose turn has come: new ones, and those to be tried again."""
        now = self.now()
        known = select_last_due(self._store, reader=PROCESS)
        for schedule in select_report_schedules(self._store, reader=PROCESS):
            if not schedule.is_paused:
                self._begin_due(schedule, known.get(schedule.id), now)
        return [run for run in select_waiting_report_runs(self._store, reader=PROCESS) if self._is_its_turn(run, now)]

    def _begin_due(self, schedule: ReportSchedule, known: datetime | None, now: datetime) -> None:
        zone = ZoneInfo(schedule.timezone)
        since = schedule.counts_from if known is None else max(known, schedule.counts_from)
        first = next_due(schedule.cron, zone, since)
        if first > now:
            return
        due = last_due(schedule.cron, zone, now)
        run_id = uuid5(_RUNS, f"{schedule.id}\n{due.isoformat()}")
        run = self._run(schedule, run_id, first_due_at=first, due_at=due, is_by_hand=False)
        if insert_report_run(self._store, run=run):
            log.info("a scheduled report is due", schedule=str(schedule.id), run=str(run.id))

    def _run(
        self, schedule: ReportSchedule, run_id: UUID, *, first_due_at: datetime, due_at: datetime, is_by_hand: bool
    ) -> ReportRun:
        return ReportRun(
            id=run_id,
            schedule_id=schedule.id,
            owner_id=schedule.owner_id,
            first_due_at=first_due_at,
            due_at=due_at,
            is_by_hand=is_by_hand,
            began_at=self.now(),
        )

    @staticmethod
    def _is_its_turn(run: ReportRun, now: datetime) -> bool:
        return run.last_attempt_at is None or run.last_attempt_at + WAITS[run.n_attempts - 1] <= now

    def deliver(self, run_id: UUID) -> ReportRun:
        """Make a report and mail it to those who lack it; the run as it stands then.

        What fails for a while is noted, and tried again when `look` says so; nothing is raised for it.

        Raises
        ------
        UnknownScheduleError
            There is no such run.
        StoreError
            It could not be noted what happened.
        """
        run = select_report_run(self._store, run_id=run_id, reader=PROCESS)
        if run is None:
            raise UnknownScheduleError(run_id)
        if run.state is ReportRunState.WAITING:
            try:
                self._deliver(run)
            except Exception:
                self._fail_attempt(
                    run, "It could not be made or sent by a mistake in the program; the log tells which."
                )
                raise
        return select_report_run(self._store, run_id=run_id, reader=PROCESS) or run

    def _deliver(self, run: ReportRun) -> None:
        schedule = select_report_schedule(self._store, schedule_id=run.schedule_id, reader=PROCESS)
        if schedule is None:
            self._note(run, ReportEvent.FAILED, sentence="The scheduled report was deleted.")
            return
        owner = self._access.caller_on_behalf(schedule.owner_id)
        obstacle = self._obstacle(schedule, owner)
        if obstacle or owner is None:
            self._stop(run, schedule, obstacle)
            return
        try:
            report, attachment = self._make(run, schedule, owner)
        except RequestError as error:  # another attempt would find the same
            self._note(run, ReportEvent.FAILED, sentence=str(error))
            return
        except TelepathyError as error:
            self._fail_attempt(run, str(error))
            return
        self._mail(run, schedule, owner, report, attachment)

    def _obstacle(self, schedule: ReportSchedule, owner: Caller | None) -> str:
        """Why a schedule cannot go on, in a sentence; empty where it can."""
        if owner is None:
            return "It stopped: the account of its owner is disabled or deleted."
        if not may_open(owner.user.role, "reports"):
            return f"It stopped: the role of its owner, {owner.user.role.value}, makes no reports."
        if schedule.filter.project_id is not None:
            try:
                self._projects.find(schedule.filter.project_id, owner.reader)
            except UnknownProjectError:
                return "It stopped: its project is gone, or no longer shared with its owner."
        return ""

    def _stop(self, run: ReportRun, schedule: ReportSchedule, because: str) -> None:
        """Have a schedule rest for good, and tell those who wait for it."""
        stopped = replace(schedule, is_paused=True, stopped_because=because)
        update_report_schedule(self._store, schedule=stopped, reader=PROCESS)
        self._access.audit("report_schedule.stop", str(schedule.id), None, because=because)
        log.warning("a scheduled report stopped", schedule=str(schedule.id), reason=because)
        text = f"You will get the report \u201c{schedule.title}\u201d no more. {because}\n"
        for number, recipient in enumerate(schedule.recipients):
            try:
                subject = f"Ended: {schedule.title}"
                self._mailer.send(recipient, subject, text, message_id=f"{run.id.hex}.end.{number}")
            except MailError as error:
                log.warning("the end of a scheduled report was not told", schedule=str(schedule.id), reason=str(error))
        self._note(run, ReportEvent.FAILED, sentence=because)

    def _make(self, run: ReportRun, schedule: ReportSchedule, owner: Caller) -> tuple[Report, Attachment]:
        zone = ZoneInfo(schedule.timezone)
        begin, end = self._bounds(run, schedule, zone)
        project_id = schedule.filter.project_id
        request = ReportRequest(
            title=schedule.title,
            filter=replace(schedule.filter, created_from=begin, created_before=end),
            project_name="" if project_id is None else self._projects.find(project_id, owner.reader).name,
            zone=zone,
            made_for=owner.user.name,
        )
        report = self._reports.assemble(request, reader=owner.reader)
        file, format = io.BytesIO(), ReportFormat(schedule.format)
        self._reports.write(report, format, file, reader=owner.reader)
        data = file.getvalue()
        if len(data) > MAX_ATTACHMENT_BYTES:
            raise InvalidParameterError(
                "format",
                f"{format.value}, which makes a file of {len(data) / 1e6:.0f} MB",
                f"one whose file has at most {MAX_ATTACHMENT_BYTES / 1e6:.0f} MB, or the period shorter",
            )
        return report, Attachment(name=file_name(report, format), media_type=MEDIA_TYPES[format], data=data)

    def _bounds(
        self, run: ReportRun, schedule: ReportSchedule, zone: ZoneInfo
    ) -> tuple[datetime | None, datetime | None]:
        period = ReportPeriod(schedule.period)
        if period is ReportPeriod.SINCE_LAST:
            return self._due_before(run, schedule), run.due_at
        return bounds_of(period, run.first_due_at, run.due_at, zone)

    def _due_before(self, run: ReportRun, schedule: ReportSchedule) -> datetime:
        """When it was due before this run, as the clock says; not before the schedule was made."""
        zone = ZoneInfo(schedule.timezone)
        earlier = last_due(schedule.cron, zone, run.first_due_at - timedelta(microseconds=1))
        return max(earlier, min(schedule.created_at, run.first_due_at))

    def _mail(
        self, run: ReportRun, schedule: ReportSchedule, owner: Caller, report: Report, attachment: Attachment
    ) -> None:
        failure, n = "", report.n_predictions
        for number, recipient in enumerate(schedule.recipients):
            if recipient in run.delivered_to:
                continue
            try:
                self._require_allowed(recipient)
                self._mailer.send(
                    recipient,
                    f"{schedule.title}: {report.period}"[:200],
                    mail_text(schedule, report, owner),
                    attachments=[attachment],
                    message_id=f"{run.id.hex}.{number}",
                )
            except (InvalidParameterError, MailError) as error:
                if isinstance(error, MailError) and not (error.is_final and error.is_of_recipient):
                    failure = str(error)
                    continue
                insert_report_event(
                    self._store,
                    run=run,
                    event=ReportEvent.REFUSED,
                    at=self.now(),
                    recipient=recipient,
                    sentence=str(error),
                )
                continue
            insert_report_event(
                self._store, run=run, event=ReportEvent.DELIVERED, at=self.now(), recipient=recipient, n_predictions=n
            )
        if failure:
            self._fail_attempt(run, failure)
            return
        ended = select_report_run(self._store, run_id=run.id, reader=PROCESS) or run
        if not ended.delivered_to:
            self._note(run, ReportEvent.FAILED, sentence=ended.sentence, n_predictions=n)
            return
        refused = ended.sentence if len(ended.delivered_to) < len(schedule.recipients) else ""
        self._note(run, ReportEvent.SENT, sentence=refused, n_predictions=n)
        if self.on_sent is not None:
            self.on_sent(ended, schedule)

    def _fail_attempt(self, run: ReportRun, sentence: str) -> None:
        attempt = run.n_attempts + 1
        insert_report_event(
            self._store, run=run, event=ReportEvent.ATTEMPT_FAILED, at=self.now(), attempt=attempt, sentence=sentence
        )
        if attempt > len(WAITS):
            self._note(run, ReportEvent.FAILED, sentence=f"Given up after {attempt} attempts. {sentence}")

    def _note(self, run: ReportRun, event: ReportEvent, *, sentence: str, n_predictions: int | None = None) -> None:
        insert_report_event(
            self._store, run=run, event=event, at=self.now(), sentence=sentence, n_predictions=n_predictions
        )

    def _checked(self, draft: ScheduleDraft, owner: Caller, before: ReportSchedule) -> ReportSchedule:
        title = " ".join(draft.title.split())
        if not title or len(title) > MAX_TITLE or not title.isprintable():
            raise InvalidParameterError("title", repr(title[:50]), f"1 to {MAX_TITLE} printable characters")
        if draft.filter.project_id is not None:
            self._projects.find(draft.filter.project_id, owner.reader)
        find_zone(draft.timezone)
        return replace(
            before,
            title=title,
            filter=replace(draft.filter, created_from=None, created_before=None),
            period=draft.period.value,
            format=draft.format.value,
            cron=require_cron(draft.cron),
            timezone=draft.timezone,
            recipients=self._recipients(draft.recipients),
        )

    def _recipients(self, addresses: Sequence[str]) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(normalise_email(address) for address in addresses))
        if not 1 <= len(found) <= MAX_RECIPIENTS:
            raise InvalidParameterError("recipients", f"{len(found)} addresses", f"1 to {MAX_RECIPIENTS} addresses")
        for address in found:
            self._require_allowed(address)
        return found

    def _require_allowed(self, address: str) -> None:
        """See that reports may be mailed to `address`: that of an active account, or of a domain of the settings."""
        domains = {each.strip().lower() for each in self._settings.report_recipient_domains.split(",") if each.strip()}
        if "*" in domains or address.rpartition("@")[2] in domains:
            return
        if any(user.email == address and user.is_active for user in self._access.users()):
            return
        also = f", or one at {', '.join(sorted(domains))}" if domains else ""
        raise InvalidParameterError("recipients", repr(address), f"the address of an active account here{also}")

    def _keep(self, schedule: ReportSchedule, by: Caller) -> None:
        if not update_report_schedule(self._store, schedule=schedule, reader=by.reader):
            raise UnknownScheduleError(schedule.id)

    def _audit(self, action: str, schedule: ReportSchedule, by: Caller) -> None:
        self._access.audit(
            f"report_schedule.{action}",
            str(schedule.id),
            by,
            title=schedule.title,
            recipients=", ".join(schedule.recipients),
        )


def bounds_of(
    period: ReportPeriod, first_due: datetime, due: datetime, zone: ZoneInfo
) -> tuple[datetime | None, datetime | None]:
    """From when, and until before when, a report tells: that of the first moment it makes up for, to that of the last.

    Examples
    --------
    >>> noon = datetime(2026, 3, 30, 10, tzinfo=UTC)
    >>> [f"{end:%d %b %H:%M}" for end in bounds_of(ReportPeriod.DAY, noon, noon, ZoneInfo("Europe/Berlin"))]
    ['28 Mar 23:00', '29 Mar 22:00']
    >>> [f"{end:%d %b %H:%M}" for end in bounds_of(ReportPeriod.MONTH, noon, noon, ZoneInfo("UTC"))]
    ['01 Feb 00:00', '01 Mar 00:00']
    """
    first, last = first_due.astimezone(zone).date(), due.astimezone(zone).date()
    if period is ReportPeriod.DAY:
        begin, end = first - timedelta(days=1), last
    elif period is ReportPeriod.WEEK:
        begin, end = first - timedelta(days=first.weekday() + 7), last - timedelta(days=last.weekday())
    elif period is ReportPeriod.MONTH:
        begin, end = (first.replace(day=1) - timedelta(days=1)).replace(day=1), last.replace(day=1)
    elif period in {ReportPeriod.SEVEN_DAYS, ReportPeriod.THIRTY_DAYS}:
        begin, end = first - timedelta(days=7 if period is ReportPeriod.SEVEN_DAYS else 30), last
    else:
        return None, due
    return day_begins(begin, zone), day_begins(end, zone)


def mail_text(schedule: ReportSchedule, report: Report, owner: Caller) -> str:
    """What the mail says around the file."""
    count = "1 prediction" if report.n_predictions == 1 else f"{report.n_predictions:,} predictions"
    lines = [f"{name}: {value}" for name, value in report.filter_lines]
    filters = "\n".join(lines) or "Filters: none"
    return (
        f"{schedule.title}\n\n{report.period} ({report.zone_name}): {count}.\n{filters}\n\n"
        f"The report is attached.\n\n"
        f"{owner.user.name} ({owner.user.email}) has it sent to you {timing_words(schedule.cron)}"
        f" ({schedule.timezone}). Ask them to end it.\n"
    )
