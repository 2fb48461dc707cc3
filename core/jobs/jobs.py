"""Jobs: work that is done in the background, step by step, and goes on where it stopped when the process ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid5

import structlog

from core.config import Settings
from core.domain import Job, JobLogLine, JobState, Reader
from core.errors import (
    InvalidParameterError,
    JobsNotRunningError,
    JobStateError,
    StoreError,
    TelepathyError,
    UnknownJobError,
)
from core.identifiers import new_id
from core.jobs.runs import JobStopped, Lane, Run, current_run
from core.store.jobs_database import JobsDatabaseError, Liveness, prepare_jobs_database

if TYPE_CHECKING:
    from types import ModuleType

    from core.workbench import Workbench

log = structlog.get_logger(__name__)
T = TypeVar("T")

WATCH_EVERY_S = 0.5
"""How often progress is written down, and whether somebody cancelled is asked, while a job runs."""
LOOK_FOR_OTHERS_EVERY_S = 30.0
"""How often a process looks for jobs of processes that are gone, where several share a PostgreSQL."""
NORMAL = 100
"""Priority of jobs that nobody gave one. Lower goes first; it decides among the jobs of one owner."""
MAX_JOBS = 500
KEPT_FOR, HOUSEKEEPING_KEPT_FOR = timedelta(days=90), timedelta(days=1)
"""How long jobs that have ended are remembered."""
_SCHEDULED = UUID("0b3f1c7e-7d0e-5c4e-9f0e-2a8f2f3c9b11")
"""Namespace of the ids of scheduled jobs; any UUID that nothing else uses."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.WARNING, "warning": logging.WARNING, "error": logging.ERROR}
"""Of DBOS's log by ours: at "info" it tells of its own affairs."""

JobFunction = Callable[..., Any]
"""`function(workbench, **arguments)`: called again from its beginning when the process ended meanwhile. What happens
inside `Jobs.step` happens once; everything else must be harmless to repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    function: JobFunction
    title: str
    lane: Lane
    is_housekeeping: bool


class Jobs:
    """The durable jobs of one process. Nothing runs before `start`; one at a time can be started in a process."""

    def __init__(self, workbench: Workbench, settings: Settings) -> None:
        self._workbench = workbench
        self._settings = settings
        self._kinds: dict[str, _Kind] = {}
        self._runtime: ModuleType | None = None
        self._changing = threading.Condition()
        self._runs: dict[str, Run] = {}
        self._is_closing = False
        self._executor_id = ""
        self._liveness: Liveness | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._watch: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether this process takes jobs."""
        return self._runtime is not None and not self._is_closing

    def register(
        self,
        kind: str,
        function: JobFunction,
        *,
        title: str,
        lane: Lane = Lane.LIGHT,
        is_housekeeping: bool = False,
    ) -> None:
        """Say what jobs called `kind` do. Before `start`: what waits from before begins then.

        `title` is what people read of jobs that were enqueued without one. Housekeeping is forgotten a day after it
        has succeeded, other jobs after `KEPT_FOR`.
        """
        self._kinds[kind] = _Kind(function=function, title=title, lane=lane, is_housekeeping=is_housekeeping)

    def when_started(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once jobs run: to keep schedules, or to enqueue what was left."""
        self._callbacks.append(callback)

    def start(self, *, polling_interval_s: float = 0.5) -> None:
        """Begin to run jobs, those that a former process left unfinished first.

        Raises
        ------
        InvalidSettingError
            `jobs_url` is none.
        StoreError
            Its database cannot be opened.
        """
        if self._runtime is not None:
            return
        url = prepare_jobs_database(self._settings.jobs_location)
        from core.jobs import runtime  # DBOS: a second that only processes with jobs should take

        self._runtime = runtime
        self._is_closing = False
        try:
            self._executor_id = self._announced(url)
            runtime.launch(
                url,
                executor_id=self._executor_id,
                runner=self._run,
                level=_LEVELS[self._settings.log_level],
                polling_interval_s=polling_interval_s,
                notices_every_s=min(1.0, polling_interval_s),
            )
        except Exception as error:
            self._runtime = None
            if self._liveness is not None:
                self._liveness.close()
                self._liveness = None
            with contextlib.suppress(Exception):
                runtime.shut_down()
            raise StoreError("opening the database of jobs", type(error).__name__) from error
        self._watch = threading.Thread(target=self._watch_runs, name="jobs-watch", daemon=True)
        self._watch.start()
        self.take_over()
        for callback in self._callbacks:
            callback()

    def _announced(self, url: str) -> str:
        """The name of this process, by which it finds what it had begun before it was killed.

        The same after every start on the same machine, unless another process there has it.
        """
        place = f"{socket.gethostname()}\n{self._settings.data_dir.resolve()}"
        name = hashlib.sha256(place.encode()).hexdigest()[:16]
        if url.startswith("sqlite"):
            return name
        self._liveness = Liveness(url)
        if not self._liveness.announce(name):
            name = new_id().hex
            self._liveness.announce(name)
        return name

    def take_over(self) -> int:
        """Put what processes had begun that are there no longer back into the lanes; how many jobs.

        Only where several share a PostgreSQL; a single one finds its own at its start.
        """
        runtime, liveness = self._started(), self._liveness
        if liveness is None:
            return 0
        n_handed_back = 0
        with _speaking_plainly("looking for jobs that nobody does any more"):
            for name in runtime.executors_at_work() - {self._executor_id}:
                if not liveness.is_there(name):
                    n_handed_back += runtime.hand_back(name, set())
        if n_handed_back:
            log.info("jobs of a process that is gone were taken over", jobs=n_handed_back)
        return n_handed_back

    def _started(self) -> ModuleType:
        if self._runtime is None or self._is_closing:
            raise JobsNotRunningError
        return self._runtime

    def enqueue(
        self,
        kind: str,
        *,
        owner: UUID,
        job_id: UUID | None = None,
        priority: int = NORMAL,
        arguments: Mapping[str, Any] | None = None,
        title: str = "",
        delay_s: float = 0.0,
    ) -> Job:
        """Have `kind` done with `arguments`, which are JSON, for `owner`; the job as it stands.

        The same `job_id` again gives the job that is there. `delay_s` keeps it waiting that long at least.

        Raises
        ------
        JobsNotRunningError
            This process has not started its jobs, or is about to end.
        StoreError
            It could not be written down.
        """
        runtime = self._started()
        known = self._kinds[kind]
        job_id = job_id or new_id()
        with _speaking_plainly("enqueueing a job"):
            runtime.enqueue(
                str(job_id),
                kind,
                json.loads(json.dumps(dict(arguments or {}))),
                owner=str(owner),
                lane=known.lane,
                priority=priority,
                delay_s=delay_s,
                attributes={
                    "kind": kind,
                    "title": title or known.title,
                    "created_at": datetime.now(UTC).isoformat(),
                },
            )
            return self._require(job_id)

    def job(self, job_id: UUID, *, reader: Reader) -> Job:
        """The job by this id. Raises UnknownJobError where there is none that `reader` may see."""
        job = self._require(job_id)
        if not reader.sees_everything and job.owner_id != reader.user_id:
            raise UnknownJobError(job_id)
        return job

    def list_jobs(
        self, *, reader: Reader, states: Collection[JobState] | None = None, limit: int = MAX_JOBS
    ) -> list[Job]:
        """Jobs that `reader` may see, newest first; None for any state.

        Without deliveries of webhooks, one for each attempt: they have a log of their own and would crowd out the rest.
        """
        runtime = self._started()
        wanted = None if states is None else sorted({name for state in states for name in _STATES[state]})
        owner = None if reader.sees_everything else str(reader.user_id)
        with _speaking_plainly("listing jobs"):
            found = runtime.statuses(owner=owner, states=wanted, limit=min(limit, MAX_JOBS))
        jobs = [_job(each) for each in found]
        return [job for job in jobs if states is None or job.state in states]

    def cancel(self, job_id: UUID, *, reader: Reader) -> Job:
        """End it, wherever it is: it stops at its next step. Raises UnknownJobError, JobStateError."""
        return self._stop(job_id, reader, is_paused=False)

    def pause(self, job_id: UUID, *, reader: Reader) -> Job:
        """Have it stop at its next step, until `resume`. Raises UnknownJobError, JobStateError."""
        return self._stop(job_id, reader, is_paused=True)

    def _stop(self, job_id: UUID, reader: Reader, *, is_paused: bool) -> Job:
        runtime = self._started()
        job = self.job(job_id, reader=reader)
        stoppable = {JobState.QUEUED, JobState.RUNNING} | (set() if is_paused else {JobState.PAUSED})
        if job.state not in stoppable:
            raise JobStateError(job.state, "pause" if is_paused else "cancel")
        with _speaking_plainly("stopping a job"):
            runtime.note(str(job_id), {"paused": is_paused})
            runtime.stop(str(job_id))
            with self._changing:
                run = self._runs.get(str(job_id))
            if run is not None:
                run.stop()
            return self._require(job_id)

    def resume(self, job_id: UUID, *, reader: Reader) -> Job:
        """Let a paused job go on. Raises UnknownJobError, JobStateError."""
        runtime = self._started()
        job = self.job(job_id, reader=reader)
        if job.state is not JobState.PAUSED:
            raise JobStateError(job.state, "resume")
        with _speaking_plainly("resuming a job"):
            runtime.note(str(job_id), {"paused": False})
            runtime.resume(str(job_id), self._lane(job.kind))
            return self._require(job_id)

    def retry(self, job_id: UUID, *, reader: Reader) -> Job:
        """Have a failed or cancelled job go on from the step that failed. Raises UnknownJobError, JobStateError."""
        runtime = self._started()
        job = self.job(job_id, reader=reader)
        if job.state not in {JobState.FAILED, JobState.CANCELLED}:
            raise JobStateError(job.state, "retry")
        with _speaking_plainly("retrying a job"):
            if job.state is JobState.CANCELLED:
                runtime.resume(str(job_id), self._lane(job.kind))
            else:
                runtime.repeat(str(job_id), self._lane(job.kind), str(job.owner_id))
            return self._require(job_id)

    def schedule(
        self,
        name: str,
        cron: str,
        timezone: str = "UTC",
        *,
        kind: str,
        owner: UUID,
        arguments: Mapping[str, Any] | None = None,
        title: str = "",
        makes_up_missed: bool = True,
    ) -> None:
        """Have `kind` enqueued whenever `cron` says, in `timezone`; a schedule called `name` is replaced.

        The function gets `due_at` besides its arguments: when it was due, as ISO 8601. Of the runs that were missed
        while nothing was running the last is made up for, once, unless `makes_up_missed` is false.

        Raises
        ------
        InvalidParameterError
            `cron` or `timezone` is none.
        """
        runtime = self._started()
        context = {
            "name": name,
            "kind": kind,
            "owner": str(owner),
            "arguments": dict(arguments or {}),
            "title": title,
            "cron": cron,
            "timezone": timezone,
        }
        try:
            with _speaking_plainly("keeping a schedule"):
                runtime.schedule(name, cron, timezone, context, makes_up_missed=makes_up_missed)
        except runtime.DBOSException as error:
            raise InvalidParameterError("cron", f"{cron} ({timezone})", "five fields, such as 0 8 * * 1") from error

    def unschedule(self, name: str) -> None:
        """Forget a schedule; nothing happens where there is none."""
        runtime = self._started()
        with _speaking_plainly("ending a schedule"):
            runtime.unschedule(name)

    def forget_ended(self, now: datetime) -> None:
        """Forget jobs that ended long ago, and housekeeping that succeeded a while ago."""
        runtime = self._started()
        kinds = {name for name, kind in self._kinds.items() if kind.is_housekeeping}
        with _speaking_plainly("forgetting jobs"):
            runtime.forget(now - KEPT_FOR, kinds=None)
            runtime.forget(now - HOUSEKEEPING_KEPT_FOR, kinds=kinds)

    def forget_all(self, owner: UUID) -> int:
        """Cancel and forget all jobs of `owner`; how many. One that still stops is forgotten with the old ones."""
        runtime, n_forgotten = self._started(), 0
        theirs = Reader(user_id=owner)
        for job in self.list_jobs(reader=theirs, states=(JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)):
            with contextlib.suppress(UnknownJobError, JobStateError):
                self.cancel(job.id, reader=theirs)
        with _speaking_plainly("forgetting jobs"):
            while found := runtime.statuses(owner=str(owner), states=None, limit=MAX_JOBS):
                with self._changing:
                    ids = [each.workflow_id for each in found if each.workflow_id not in self._runs]
                if not ids:
                    break
                runtime.delete(ids)
                n_forgotten += len(ids)
        return n_forgotten

    def waiting(self) -> tuple[int, float]:
        """How many jobs wait for their turn, and for how many seconds the oldest has. For monitoring."""
        runtime = self._started()
        with _speaking_plainly("counting jobs"):
            n_waiting, oldest = runtime.waiting()
        return n_waiting, 0.0 if oldest is None else max(0.0, time.time() - oldest)

    def step(self, name: str, function: Callable[..., T], *args: Any) -> T:
        """Inside a job: have `function(*args)` done once. Its result, which is JSON, is kept and given again.

        Raises what `function` raises; that is kept and raised again too, until the job is retried. Outside jobs it is
        an ordinary call.
        """
        run = current_run.get()
        if run is None:
            return function(*args)
        run.require_going_on()
        result: T = self._started().step(name, function, *args)
        return result

    def current(self) -> Run | None:
        """Inside a job: what is known of it while it runs, for threads that it starts; None outside."""
        return current_run.get()

    def tell(self, share: float, doing: str) -> None:
        """Inside a job: how much is done, from 0 to 1, and what is being done. Stops the job where that is asked."""
        if (run := current_run.get()) is not None:
            run.require_going_on()
            run.tell(share, doing)

    def note(self, sentence: str) -> None:
        """Inside a job: add a line to its log."""
        if (run := current_run.get()) is not None:
            run.note(sentence)

    def _lane(self, kind: str) -> Lane:
        return self._kinds[kind].lane if kind in self._kinds else Lane.LIGHT

    def _require(self, job_id: UUID) -> Job:
        runtime = self._started()
        with _speaking_plainly("reading a job"):
            found = runtime.status(str(job_id))
        if found is None:
            raise UnknownJobError(job_id)
        return _job(found)

    def _run(self, job_id: str, kind: str, arguments: dict[str, Any]) -> Any:
        """Do a job, in a thread of DBOS."""
        runtime = self._started_or_stop()
        if kind == runtime.SCHEDULED:
            return self._enqueue_scheduled(arguments["due_at"], arguments["schedule"])
        if kind not in self._kinds:
            raise JobStateError(JobState.QUEUED, f"do (nothing here knows what {kind} is)")
        found = runtime.status(job_id)
        run = Run(job_id, log=list((found.attributes or {}).get("log", [])) if found else [])
        with self._changing:
            if self._is_closing:
                raise JobStopped
            self._runs[job_id] = run
            self._changing.notify_all()
        token = current_run.set(run)
        try:
            result = self._kinds[kind].function(self._workbench, **arguments)
            run.finish()
            return result
        except TelepathyError as error:
            _stopped_instead(run, error)
            run.note(str(error))
            log.warning("a job failed", job=job_id, kind=kind, reason=str(error))
            raise
        except Exception as error:
            _stopped_instead(run, error)
            run.note(runtime.UNEXPECTED)
            log.error("a job failed by a mistake in the program", job=job_id, kind=kind, exc_info=error)
            raise
        finally:
            current_run.reset(token)
            run.end()
            self._write_down(run)
            with self._changing:
                self._runs.pop(job_id, None)
                self._changing.notify_all()

    def _started_or_stop(self) -> ModuleType:
        if self._runtime is None or self._is_closing:
            raise JobStopped
        return self._runtime

    def _enqueue_scheduled(self, due_at: str, schedule: dict[str, Any]) -> str | None:
        """Enqueue what a schedule says; nothing for one that was missed when a later one was missed too."""
        from zoneinfo import ZoneInfo

        from croniter import croniter

        due = datetime.fromisoformat(due_at)
        following = croniter(schedule["cron"], due.astimezone(ZoneInfo(schedule["timezone"]))).get_next(datetime)
        if following <= datetime.now(UTC):
            return None
        job = self.enqueue(
            schedule["kind"],
            owner=UUID(schedule["owner"]),
            job_id=uuid5(_SCHEDULED, f"{schedule['name']}\n{due.astimezone(UTC).isoformat()}"),
            arguments={**schedule["arguments"], "due_at": due_at},
            title=schedule["title"],
        )
        return str(job.id)

    def _watch_runs(self) -> None:
        """While jobs run: write down how far they are, and stop those that were cancelled from elsewhere.

        Now and then, look for what processes had begun that are gone.
        """
        look_again_s = time.monotonic() + LOOK_FOR_OTHERS_EVERY_S
        while True:
            with self._changing:
                self._changing.wait_for(
                    lambda: self._runs or self._runtime is None,
                    None if self._liveness is None else LOOK_FOR_OTHERS_EVERY_S,
                )
                if self._runtime is None:
                    return
                runs = dict(self._runs)
            try:
                if self._liveness is not None and time.monotonic() >= look_again_s and not self._is_closing:
                    look_again_s = time.monotonic() + LOOK_FOR_OTHERS_EVERY_S
                    self.take_over()
                states = self._runtime.states_of(list(runs))
                for job_id, run in runs.items():
                    if states.get(job_id) == "CANCELLED":
                        run.stop()
                    self._write_down(run)
            except (
                JobsDatabaseError,
                StoreError,
                JobsNotRunningError,
            ) as error:  # the next look may succeed; no job depends on this one
                log.warning("the progress of jobs was not written down", reason=type(error).__name__)
            with self._changing:
                self._changing.wait_for(lambda: self._runtime is None, timeout=WATCH_EVERY_S)

    def _write_down(self, run: Run) -> None:
        with run.writing:
            news = run.news()
            runtime = self._runtime
            if news is None or runtime is None:
                return
            try:
                runtime.note(run.job_id, news)
            except JobsDatabaseError as error:
                log.warning("the progress of a job was not written down", job=run.job_id, reason=type(error).__name__)

    def close(self, *, deadline_s: float = 5.0) -> None:
        """Stop every job at its next step and hand it back: the next process, or another one, goes on with it.

        Jobs that do not come to a step by the deadline are handed back by the next start. Safe to call twice.
        """
        with self._changing:
            runtime = self._runtime
            if runtime is None or self._is_closing:
                return
            self._is_closing = True
            for run in self._runs.values():
                run.stop()
        runtime.stop_taking()
        ends_s = time.monotonic() + deadline_s
        with self._changing:
            self._changing.wait_for(lambda: not self._runs, timeout=max(0.0, ends_s - time.monotonic()))
            still_running = set(self._runs)
        try:
            n_handed_back = runtime.hand_back(self._executor_id, still_running)
            if n_handed_back or still_running:
                log.info("jobs were handed back", jobs=n_handed_back, still_running=len(still_running))
        except JobsDatabaseError as error:
            log.warning("jobs were not handed back: the next start finds them", reason=type(error).__name__)
        with self._changing:
            self._runtime = None
            self._changing.notify_all()
        if self._watch is not None:
            self._watch.join()
        runtime.shut_down()
        if self._liveness is not None:
            self._liveness.close()
            self._liveness = None


_STATES = {
    JobState.QUEUED: ("ENQUEUED", "DELAYED"),
    JobState.RUNNING: ("PENDING",),
    JobState.PAUSED: ("CANCELLED",),
    JobState.SUCCEEDED: ("SUCCESS",),
    JobState.FAILED: ("ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"),
    JobState.CANCELLED: ("CANCELLED",),
}
"""DBOS's names of each state. A paused job is a cancelled one that is meant to go on."""


def _job(status: Any) -> Job:
    attributes: dict[str, Any] = status.attributes or {}
    state = next(state for state, names in _STATES.items() if status.status in names)
    if state is JobState.PAUSED and not attributes.get("paused"):
        state = JobState.CANCELLED
    ended_at = _kept_time(attributes, "ended_at")
    if ended_at is None and status.completed_at is not None:
        ended_at = _time(status.completed_at)  # cancelled before it began
    error = ""
    if state is JobState.FAILED:
        error = str(status.error) if status.error is not None else "It ended the process each time it was tried."
    return Job(
        id=UUID(status.workflow_id),
        kind=attributes.get("kind", ""),
        title=attributes.get("title", ""),
        owner_id=UUID(status.authenticated_user),
        state=state,
        progress=1.0 if state is JobState.SUCCEEDED else float(attributes.get("progress", 0.0)),
        doing=attributes.get("doing", ""),
        created_at=_kept_time(attributes, "created_at") or _time(status.created_at),
        started_at=_kept_time(attributes, "started_at"),
        ended_at=ended_at if state.has_ended else None,
        error=error,
        log=tuple(
            JobLogLine(at=datetime.fromisoformat(line["at"]), sentence=line["sentence"])
            for line in attributes.get("log", [])
        ),
    )


def _kept_time(attributes: Mapping[str, Any], name: str) -> datetime | None:
    """A time that we wrote down: those of DBOS are whole seconds in SQLite."""
    text = attributes.get(name)
    return None if text is None else datetime.fromisoformat(text)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1e3, UTC)


def _stopped_instead(run: Run, error: Exception) -> None:
    """Raise JobStopped for an error of a job that was to stop: what it needs may have been closed under it."""
    if run.is_stopping:
        raise JobStopped from error


@contextlib.contextmanager
def _speaking_plainly(doing: str) -> Iterator[None]:
    """Errors of the database of jobs as StoreError."""
    try:
        yield
    except JobsDatabaseError as error:
        raise StoreError(doing, type(error).__name__) from error
