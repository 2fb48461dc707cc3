"""Deleting recordings whose time is over: of each project by its own period, of all others by that of the settings.

What else has to be done every hour runs beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from core.domain import PROCESS
from core.errors import TelepathyError, UnknownRecordingError
from core.store.recordings import select_known_hashes, select_recordings
from core.store.usage_days import sum_up_days

if TYPE_CHECKING:
    from core.workbench import Workbench

log = structlog.get_logger(__name__)

INTERVAL_S = 3600.0
STRAY_AFTER = timedelta(hours=1)
"""Longer than any analysis takes."""
_AT_ONCE = 500


def delete_expired(workbench: Workbench, now: datetime, *, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Delete every recording first sent longer ago than it is to be kept; returns how many. Noted in the audit log.

    Asks `is_stopping` before each; the rest waits for another time then.

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
    return sum(
        _delete_older(workbench, project_id, days, subject, now, is_stopping) for project_id, days, subject in periods
    )


def _delete_older(
    workbench: Workbench,
    project_id: UUID | None,
    days: int,
    subject: str,
    now: datetime,
    is_stopping: Callable[[], bool],
) -> int:
    n_deleted = 0
    try:
        while True:
            expired = select_recordings(
                workbench.store,
                reader=PROCESS,
                project_id=project_id,
                created_before=now - timedelta(days=days),
                limit=_AT_ONCE,
            )
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
            workbench.access.audit("recordings.expire", subject, None, recordings=n_deleted, days=days)


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
        in_use = select_known_hashes(workbench.store, hashes=some)
        for others in workbench.sounds_in_use:
            in_use |= others(some)
        for sha256 in some:
            if sha256 not in in_use and files.is_older(sha256, now - STRAY_AFTER):
                workbench.delete_stray_sound(sha256)
                n_deleted += 1
    return n_deleted


class RetentionClock:
    """Deletes what has expired and sums up the usage of days that are over, at once and then every hour, in a thread of
    its own until it is stopped.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the recording that is being deleted."""
        self._stops.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        self._try("deleting sounds without a recording", self._delete_stray_sounds)
        while not self._stops.is_set():
            self._try("deleting recordings whose time is over", self._delete_expired)
            self._try("summing up the usage of days that are over", self._sum_up_usage)
            self._stops.wait(INTERVAL_S)

    def _try(self, doing: str, chore: Callable[[], None]) -> None:
        try:
            chore()
        except TelepathyError as error:
            log.warning(f"{doing} has to wait", reason=str(error))
        except Exception as error:  # a mistake in the program ends no promise: loud, and tried again in an hour
            log.error(f"{doing} failed", exc_info=error)

    def _delete_expired(self) -> None:
        n_deleted = delete_expired(self._workbench, datetime.now(UTC), is_stopping=self._stops.is_set)
        if n_deleted:
            log.info("recordings whose time was over were deleted", recordings=n_deleted)

    def _delete_stray_sounds(self) -> None:
        n_deleted = delete_stray_sounds(self._workbench, datetime.now(UTC), is_stopping=self._stops.is_set)
        if n_deleted:
            log.warning("sounds without a recording were deleted", sounds=n_deleted)

    def _sum_up_usage(self) -> None:
        sum_up_days(self._workbench.store, now=datetime.now(UTC), is_stopping=self._stops.is_set)
