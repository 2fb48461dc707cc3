"""Time that passes when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime


class Clock:
    """Seconds since 1970 that stand still until they are moved."""

    def __init__(self, start: datetime = datetime(2026, 3, 15, 12, tzinfo=UTC)) -> None:
        self.seconds = start.timestamp()

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def pass_s(self, seconds: float) -> None:
        self.seconds += seconds
