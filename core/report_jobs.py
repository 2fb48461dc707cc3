"""Scheduled reports as jobs: a clock begins those that are due, and each is made and mailed as a job of its owner."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import structlog

from core.domain import Caller
from core.errors import DeliveryError, JobsNotRunningError, TelepathyError
from core.store.report_schedules import ReportRun, ReportRunState

if TYPE_CHECKING:
    from core.workbench import Workbench

KIND = "report"
LOOK_EVERY_S = 20.0
"""Reports are due at whole minutes."""

log = structlog.get_logger(__name__)


def send_report(workbench: Workbench, *, run_id: str) -> None:
    """Make and mail one report. Harmless to repeat: who has it already gets it no second time.

    Raises
    ------
    DeliveryError
        Somebody does not have it yet; the clock begins another job for the next attempt.
    """
    run = workbench.report_schedules.deliver(UUID(run_id))
    if run.state is not ReportRunState.SENT:
        raise DeliveryError(run.sentence)


def begin_report(workbench: Workbench, run: ReportRun) -> None:
    """Have the next attempt of a run made by a job; once, however often this is called.

    Raises
    ------
    JobsNotRunningError
        This process has no jobs; the clock of another begins it.
    """
    workbench.jobs.enqueue(
        KIND,
        owner=run.owner_id,
        job_id=uuid5(run.id, f"attempt {run.n_attempts + 1}"),
        arguments={"run_id": str(run.id)},
        title=f"Report by e-mail, due {run.due_at:%Y-%m-%d %H:%M} UTC",
    )


def begin_report_now(workbench: Workbench, schedule_id: UUID, *, by: Caller) -> ReportRun:
    """Begin a run that somebody asks for. In a process without jobs it waits for the clock of another.

    Raises
    ------
    UnknownScheduleError
        There is no such schedule of theirs.
    """
    run = workbench.report_schedules.run_now(schedule_id, by=by)
    with contextlib.suppress(JobsNotRunningError):
        begin_report(workbench, run)
    return run


class ReportClock:
    """Looks for reports that are due or to be tried again, in a thread of its own until it is stopped."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report-clock", daemon=True)
        workbench.jobs.register(KIND, send_report, title="Report by e-mail")

    def start(self) -> None:
        """Begin. What was missed while nothing was running is begun at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the look that is under way."""
        self._stops.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Begin what is due now."""
        for run in self._workbench.report_schedules.look():
            begin_report(self._workbench, run)

    def _run(self) -> None:
        while not self._stops.is_set():
            try:
                self.look()
            except JobsNotRunningError:
                return  # the process is about to end
            except TelepathyError as error:
                log.warning("scheduled reports were not looked for", reason=str(error))
            except Exception as error:  # a mistake in the program stops no other report: loud, and tried again
                log.error("looking for scheduled reports failed", exc_info=error)
            self._stops.wait(LOOK_EVERY_S)
