"""DBOS as we run it: quiet, in JSON, without its console; imported once jobs start, since it takes a second.

DBOS is one per process, with workflows at module level. Its workflows here are three: `job` and `delivery` run whatever
was enqueued, `scheduled_run` enqueues what a schedule says. What uses DBOS beyond its documented interface stands here
alone.
"""

from __future__ import annotations

import contextvars
import json
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, TypeVar

from dbos import DBOS, DBOSConfig, Serializer
from dbos._error import DBOSException
from dbos._sys_db import WorkflowStatus

from core.errors import TelepathyError
from core.jobs.runs import BaseStop, Lane

APPLICATION_VERSION = "1"
"""DBOS resumes work of the same version only. Ours stays: steps are named, and what they return keeps its shape."""
MAX_ATTEMPTS = 100
"""Starts of one job after which it counts as failed: it ends the process each time."""
UNEXPECTED = "Something went wrong that is a mistake in the program; the log of the process tells more."

WORKERS = {Lane.HEAVY: 8, Lane.LIGHT: 4, Lane.DELIVERIES: 16, Lane.TRAINING: 1}
"""Jobs of a lane that run at a time in one process."""
WORKERS_PER_OWNER = {Lane.HEAVY: 2, Lane.LIGHT: 2, Lane.DELIVERIES: 4, Lane.TRAINING: 1}
"""Of those, how many may be one person's: the others' are for others."""

ENQUEUED = ["job", "delivery"]
"""Workflows that are enqueued one by one, by name."""

MAX_COUNTED = 10_000
"""Of jobs looked at together."""

T = TypeVar("T")
Runner = Callable[[str, str, dict[str, Any]], Any]
"""Takes the id of a job, its kind and its arguments."""


class StoredError(Exception):
    """An error as a job left it: its sentence and its code."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.code = code


class JsonSerializer(Serializer):
    """JSON instead of DBOS's pickles: what is read back from a database should not be able to run."""

    def name(self) -> str:
        return "telepathy_json"

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=_encoded, separators=(",", ":"), ensure_ascii=False)

    def deserialize(self, text: str) -> Any:
        return json.loads(text, object_hook=_decoded)


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"$datetime": value.isoformat()}
    if isinstance(value, StoredError):
        return {"$error": str(value), "code": value.code}
    if isinstance(value, TelepathyError):
        return {"$error": str(value), "code": value.code}
    if isinstance(value, BaseException):
        return {"$error": UNEXPECTED, "code": type(value).__name__}
    raise TypeError(f"{type(value).__name__} is not JSON; jobs take and give JSON")


def _decoded(value: dict[str, Any]) -> Any:
    if "$datetime" in value:
        return datetime.fromisoformat(value["$datetime"])
    if "$error" in value:
        return StoredError(value["$error"], value["code"])
    return value


_runner: Runner | None = None


@DBOS.workflow(name="job", max_recovery_attempts=MAX_ATTEMPTS)
def job(kind: str, arguments: dict[str, Any]) -> Any:
    """Whatever was enqueued, but deliveries."""
    return _enqueued(kind, arguments)


@DBOS.workflow(name="delivery", max_recovery_attempts=MAX_ATTEMPTS)
def delivery(kind: str, arguments: dict[str, Any]) -> Any:
    """A delivery, by a name of its own: what is stopped is in no lane, so the lane does not tell it from other jobs."""
    return _enqueued(kind, arguments)


def _enqueued(kind: str, arguments: dict[str, Any]) -> Any:
    if _runner is None:
        raise _NotTaken
    return _runner(str(DBOS.workflow_id), kind, arguments)


@DBOS.workflow(name="scheduled_run", max_recovery_attempts=MAX_ATTEMPTS)
def scheduled_run(due_at: datetime, context: dict[str, Any]) -> Any:
    """What a schedule says, when it says so."""
    if _runner is None:
        raise _NotTaken
    return _runner(str(DBOS.workflow_id), SCHEDULED, {"due_at": due_at.isoformat(), "schedule": context})


SCHEDULED = "$scheduled"


class _NotTaken(BaseStop):
    """The process is about to end: the job stays where it is."""


def launch(
    url: str, *, executor_id: str, runner: Runner, level: int, polling_interval_s: float, notices_every_s: float
) -> None:
    """Start DBOS. From here on jobs run, those that a former process left first."""
    global _runner
    _runner = runner
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())  # it would write to stderr by itself otherwise; ours are the root's
    config: DBOSConfig = {
        "name": "telepathy",
        "system_database_url": url,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "serializer": JsonSerializer(),
        "log_level": logging.getLevelName(level),
        "enable_otlp": False,
        "scheduler_polling_interval_sec": 10.0,
        "notification_listener_polling_interval_sec": notices_every_s,
        "sys_db_pool_size": 8,
    }
    DBOS(config=config)
    DBOS.launch()
    for lane in Lane:
        DBOS.register_queue(
            lane,
            worker_concurrency=WORKERS[lane],
            partition_worker_concurrency=WORKERS_PER_OWNER[lane],
            polling_interval_sec=polling_interval_s,
            on_conflict="always_update",
        )


def _outside(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call DBOS as if no job called: within a job it would keep each question as one of the job's steps."""
    return contextvars.Context().run(function, *args, **kwargs)


def enqueue(
    job_id: str,
    kind: str,
    arguments: Mapping[str, Any],
    *,
    owner: str,
    lane: Lane,
    priority: int,
    delay_s: float,
    attributes: dict[str, Any],
) -> None:
    """Put a job into its lane; nothing happens where there is one by this id."""
    _outside(
        DBOS.enqueue_workflow_with_options,
        {
            "workflow_name": "delivery" if lane is Lane.DELIVERIES else "job",
            "queue_name": lane,
            "workflow_id": job_id,
            "app_version": APPLICATION_VERSION,
            "authenticated_user": owner,
            "queue_partition_key": owner,
            "priority": priority,
            "attributes": attributes,
            **({"delay_seconds": delay_s} if delay_s > 0 else {}),
        },
        kind,
        dict(arguments),
    )


def status(job_id: str) -> WorkflowStatus | None:
    """What DBOS knows of a job."""
    found = _outside(DBOS.list_workflows, workflow_ids=[job_id], name=ENQUEUED, load_input=False)
    return found[0] if found else None


def statuses(*, owner: str | None, states: list[str] | None, limit: int) -> list[WorkflowStatus]:
    """What DBOS knows of the jobs, deliveries left out, newest first."""
    return _outside(
        DBOS.list_workflows,
        user=owner,
        status=states,
        name="job",
        limit=limit,
        sort_desc=True,
        load_input=False,
    )


def waiting() -> tuple[int, float | None]:
    """How many jobs wait for their turn, and the Unix time from which the oldest does; delayed ones do not count."""
    found = _outside(
        DBOS.list_workflows, status=["ENQUEUED"], name=ENQUEUED, limit=MAX_COUNTED, load_input=False, load_output=False
    )
    times = [each.created_at / 1e3 for each in found if each.created_at is not None]
    return len(found), min(times, default=None)


def forget(before: datetime, *, kinds: Collection[str] | None) -> None:
    """Forget jobs that ended before: all for None, or of some kinds those that succeeded, with what schedules did."""
    ended = ["SUCCESS"] if kinds is not None else ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
    found = _outside(
        DBOS.list_workflows,
        status=ended,
        completed_before=before.isoformat(),
        limit=MAX_COUNTED,
        load_input=False,
        load_output=False,
    )
    ids = [
        each.workflow_id
        for each in found
        if kinds is None or each.name == "scheduled_run" or (each.attributes or {}).get("kind") in kinds
    ]
    if ids:
        _outside(DBOS.delete_workflows, ids)


def delete(job_ids: list[str]) -> None:
    """Forget jobs, whatever became of them."""
    _outside(DBOS.delete_workflows, job_ids)


def states_of(job_ids: list[str]) -> dict[str, str]:
    """The state of each, by id."""
    found = _outside(DBOS.list_workflows, workflow_ids=job_ids, load_input=False, load_output=False)
    return {each.workflow_id: each.status for each in found}


def note(job_id: str, attributes: dict[str, Any]) -> None:
    """Change attributes of a job: by the database itself, as DBOS would make a step of it inside a job."""
    _database().update_workflow_attributes(job_id, attributes, merge=True)


def stop(job_id: str) -> None:
    """Take a job out of its lane, or have it stop at its next step."""
    _outside(DBOS.cancel_workflow, job_id)


def resume(job_id: str, lane: Lane) -> None:
    """Put a stopped job back into its lane; steps that are done stay done."""
    _outside(DBOS.resume_workflow, job_id, queue_name=lane)


def repeat(job_id: str, lane: Lane, owner: str) -> None:
    """Put a failed job back into its lane; steps that succeeded stay done, the one that failed is done again."""
    steps = _outside(DBOS.list_workflow_steps, job_id)
    last = max(steps, key=lambda step: step["function_id"], default=None)
    again = 1 if last is None else last["function_id"] + (0 if last["error"] is not None else 1)
    _outside(DBOS.rewind_workflow, job_id, start_step=again, queue_name=lane, queue_partition_key=owner)


def schedule(name: str, cron: str, timezone: str, context: dict[str, Any], *, makes_up_missed: bool) -> None:
    """Keep a schedule; one of the same name is replaced, and stays paused where it was."""
    _outside(
        DBOS.apply_schedules,
        [
            {
                "schedule_name": name,
                "workflow_fn": scheduled_run,
                "schedule": cron,
                "context": context,
                "automatic_backfill": makes_up_missed,
                "cron_timezone": timezone,
            }
        ],
    )


def unschedule(name: str) -> None:
    """Forget a schedule."""
    _outside(DBOS.delete_schedule, name)


def step(name: str, function: Callable[..., T], *args: Any) -> T:
    """Within a job: do something once, and give its result again when asked again."""
    return DBOS.run_step({"name": name}, function, *args)


def stop_taking() -> None:
    """Take nothing more out of the lanes, and let no schedule fire."""
    for event in _instance().background_thread_stop_events:
        event.set()


def executors_at_work() -> set[str]:
    """Processes that have begun jobs and not ended them, by their executor ids."""
    found = _outside(DBOS.list_workflows, status=["PENDING"], limit=MAX_COUNTED, load_input=False, load_output=False)
    return {each.executor_id for each in found if each.executor_id}


def hand_back(executor_id: str, still_running: set[str]) -> int:
    """Put what this process had begun, and does not run any more, back into the lanes; how many."""
    database = _database()
    begun = [each.workflow_id for each in database.get_pending_workflows(executor_id, APPLICATION_VERSION)]
    return sum(
        database.reenqueue_for_recovery(job_id, [executor_id], Lane.LIGHT)
        for job_id in begun
        if job_id not in still_running
    )


def shut_down() -> None:
    """End DBOS. Another may be launched afterwards."""
    global _runner
    _runner = None
    DBOS.destroy()


def _instance() -> DBOS:
    from dbos._dbos import _get_dbos_instance

    return _get_dbos_instance()


def _database() -> Any:
    return _instance()._sys_db


__all__ = ["DBOSException", "StoredError"]
