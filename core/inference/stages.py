"""Where the time of one analysis goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimer:
    """Adds up the wall time spent in named stages. For one analysis, so for one thread."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the `with` towards `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent_ms = (time.perf_counter() - started) * 1e3
            self.milliseconds[name] = self.milliseconds.get(name, 0.0) + spent_ms
