"""A job while it runs: how far it is, what it has to say, and whether it is to stop."""

from __future__ import annotations

import contextvars
import enum
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any

MAX_LOG_LINES = 100
"""The newest stay."""


class Lane(enum.StrEnum):
    """Where jobs wait: one long job must not keep the short ones waiting."""

    HEAVY = "heavy"
    """Batches: much inference."""
    LIGHT = "light"
    """Reports, deletions."""
    DELIVERIES = "deliveries"
    """Webhooks: they wait for others' servers, which may hang."""
    TRAINING = "training"
    """Training of models: one at a time."""


class BaseStop(BaseException):
    """Not an Exception: nothing between a job and its runner may take it for a failure and keep it as one."""


class JobStopped(BaseStop):
    """A job was cancelled or paused, or the process is about to end: it goes no further here."""


class Run:
    """One job that is running in this process. Any thread may tell; the watch writes it down."""

    def __init__(self, job_id: str, *, log: list[dict[str, str]]) -> None:
        self.job_id = job_id
        self._changing = threading.Lock()
        self._progress = 0.0
        self._doing = ""
        self._log: deque[dict[str, str]] = deque(log, maxlen=MAX_LOG_LINES)
        self._is_new = True
        self.writing = threading.Lock()
        """Held while news are taken and written down: an older state must not be written after a newer one."""
        self._stops = threading.Event()
        self._started_at = datetime.now(UTC)
        self._ended_at: datetime | None = None

    def tell(self, share: float, doing: str) -> None:
        """How much is done, from 0 to 1, and what is being done."""
        with self._changing:
            self._progress, self._doing, self._is_new = min(1.0, max(0.0, share)), doing, True

    def finish(self) -> None:
        """Note that all is done. What was told as such stays: it says what came of it."""
        if self._progress < 1.0:
            self.tell(1.0, "")

    def note(self, sentence: str) -> None:
        """Add a line to the job's log."""
        with self._changing:
            self._log.append({"at": datetime.now(UTC).isoformat(), "sentence": sentence})
            self._is_new = True

    def end(self) -> None:
        """Note when it ended, for whichever reason."""
        with self._changing:
            self._ended_at, self._is_new = datetime.now(UTC), True

    def stop(self) -> None:
        """Have it stop at the next occasion."""
        self._stops.set()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stops.is_set()

    def require_going_on(self) -> None:
        """Raise JobStopped where it was told to stop."""
        if self._stops.is_set():
            raise JobStopped

    def news(self) -> dict[str, Any] | None:
        """What changed since this was asked last; None where nothing did."""
        with self._changing:
            if not self._is_new:
                return None
            self._is_new = False
            return {
                "progress": self._progress,
                "doing": self._doing,
                "log": list(self._log),
                "started_at": self._started_at.isoformat(),
                "ended_at": None if self._ended_at is None else self._ended_at.isoformat(),
            }


current_run: contextvars.ContextVar[Run | None] = contextvars.ContextVar("current_run", default=None)
