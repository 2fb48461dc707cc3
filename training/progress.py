"""Progress with time left, on a terminal and in a log file alike."""

from __future__ import annotations

import time
from types import TracebackType

import structlog

_REPORT_EVERY_S = 15.0


class Progress:
    """Counts work done and says every quarter of a minute how far it is and how long the rest will take."""

    def __init__(self, name: str, total: int, *, unit: str = "recordings") -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0
        self._started = self._reported = time.monotonic()
        self._log = structlog.get_logger("training")

    def __enter__(self) -> Progress:
        return self

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more as done."""
        self.done += amount
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY_S:
            self._reported = now
            left_s = (now - self._started) / max(self.done, 1) * (self.total - self.done)
            self._log.info(self.name, done=f"{self.done}/{self.total} {self.unit}", left_s=round(left_s))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._log.info(self.name, finished_in_s=round(time.monotonic() - self._started, 1))
