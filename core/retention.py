"""Deleting recordings whose time is over: of each project by its own period, of all others by that of the settings.

What else has to be done every hour runs beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from core.domain import NOBODY, PROCESS, Recording
from core.errors import UnknownRecordingError
from core.store.idempotency import LIFETIME, delete_idempotency_keys
from core.store.recordings import select_known_hashes, select_recordings, select_recordings_past_term
from core.store.usage_days import sum_up_days

if TYPE_CHECKING:
    from core.workbench import Workbench

log = structlog.get_logger(__name__)

KIND = "retention"
HOURLY = "23 * * * *"
"""Not at the full hour, when everybody else's clocks strike."""
STRAY_AFTER = timedelta(hours=1)
"""Longer than any analysis takes."""
_AT_ONCE = 500


def delete_expired(workbench: Workbench, now: datetime, *, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Delete every recording first sent longer ago than it is to be kept; returns how many. Noted in the audit log.

    It is kept for the shortest period of all places it has been in. Asks `is_stopping` before each; the rest waits for
    another time then.

    Raises
    ------
    StoreError
        A store could not be read or changed; what was deleted before that is noted.
    """
    periods: list[tuple[UUID | None, int, str]] = [
        (project.id, project.retention_days, str(project.id))
        for project in workbench.projects.list_for(PROCESS)
        if project.retention_days is not None
    ]
    if workbench.settings.retention_days:
        periods.append((None, workbench.settings.retention_days, "outside projects"))
    n_deleted = 0
    for project_id, days, subject in periods:
        older = partial(
            select_recordings,
            workbench.store,
            reader=PROCESS,
            project_id=project_id,
            created_before=now - timedelta(days=days),
            limit=_AT_ONCE,
        )
        n_deleted += _delete_all(workbench, older, is_stopping, subject=subject, days=days)
    past = partial(select_recordings_past_term, workbench.store, reader=PROCESS, at=now, limit=_AT_ONCE)
    return n_deleted + _delete_all(workbench, past, is_stopping, subject="where they were before")


def _delete_all(
    workbench: Workbench,
    select_expired: Callable[[], list[Recording]],
    is_stopping: Callable[[], bool],
    *,
    subject: str,
    **details: object,
) -> int:
    """Delete what is selected until nothing is, and note how many under `subject`."""
    n_deleted = 0
    try:
        while True:
            expired = select_expired()
            for recording in expired:
                if is_stopping():
                    return n_deleted
                try:
                    workbench.delete_recording(recording.id, reader=PROCESS)
                except UnknownRecordingError:
                    continue  # its owner, or another process, was faster
                n_deleted += 1
            if len(expired) < _AT_ONCE:
                return n_deleted
    finally:
        if n_deleted:
            workbench.access.audit("recordings.expire", subject, None, recordings=n_deleted, **details)


def delete_stray_sounds(workbench: Workbench, now: datetime, *, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Delete sounds without a recording, as a process that is killed between the two leaves behind; returns how many.

    What is younger than `STRAY_AFTER` may be on its way, and what `Workbench.sounds_in_use` names waits for its turn.

    Raises
    ------
    StoreError
        Store or sounds cannot be read.
    """
    n_deleted = 0
    files = workbench.recording_files
    hashes = files.hashes()
    while some := list(islice(hashes, _AT_ONCE)):
        if is_stopping():
            break
        in_use = select_known_hashes(workbench.store, hashes=some, reader=PROCESS)
        for others in workbench.sounds_in_use:
            in_use |= others(some)
        for sha256 in some:
            if sha256 not in in_use and files.is_older(sha256, now - STRAY_AFTER):
                workbench.delete_stray_sound(sha256)
                n_deleted += 1
    return n_deleted


def keep_time(workbench: Workbench) -> None:
    """Have what is over deleted by a job, at the start of the process and then every hour."""
    jobs = workbench.jobs
    jobs.register(KIND, delete_what_is_over, title="Deleting what is over", is_housekeeping=True)

    def begin() -> None:
        jobs.schedule(KIND, HOURLY, kind=KIND, owner=NOBODY)
        jobs.enqueue(KIND, owner=NOBODY)

    jobs.when_started(begin)


def delete_what_is_over(workbench: Workbench, due_at: str = "") -> None:
    """The job: recordings whose time is over, sounds without a recording, keys of requests after a day, and ended jobs
    after a while; and the usage of days that are over is summed up.
    """
    now, run = datetime.now(UTC), workbench.jobs.current()

    def is_stopping() -> bool:
        return run is not None and run.is_stopping

    n_deleted = delete_expired(workbench, now, is_stopping=is_stopping)
    if n_deleted:
        workbench.jobs.note(f"Recordings deleted: {n_deleted:,}.")
    n_stray = delete_stray_sounds(workbench, now, is_stopping=is_stopping)
    if n_stray:
        log.warning("sounds without a recording were deleted", sounds=n_stray)
    delete_idempotency_keys(workbench.store, reader=PROCESS, before=now - LIFETIME)
    workbench.batches.give_up(now)
    workbench.jobs.forget_ended(now)
    sum_up_days(workbench.store, now=now, is_stopping=is_stopping)
