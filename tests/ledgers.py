"""A usage ledger that only remembers."""

from __future__ import annotations

from core.domain import UsageEvent


class RememberedUsage:
    """Takes the place of `core.usage.UsageLedger` where no store is."""

    n_waiting = n_lost = 0

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []

    def note(self, *events: UsageEvent) -> None:
        self.events.extend(events)
