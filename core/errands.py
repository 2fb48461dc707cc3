"""Work in the recogniser's threads that somebody waits for, and sees how far it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import TimeoutError as NotYetError
from typing import Generic, TypeVar

from core.inference.executor import InferenceExecutor

T = TypeVar("T")
Progress = Callable[[float, str], None]
"""Told how much is done, from 0 to 1, and what is being done."""

_LOOK_EVERY_S = 0.1


class Errand(Generic[T]):
    """One job, begun once. Any number of threads may wait for it, and it goes on when none does.

    Raises
    ------
    BusyError, ShuttingDownError
        It cannot be begun.
    """

    def __init__(self, executor: InferenceExecutor, job: Callable[[Progress], T]) -> None:
        self._latest = (0.0, "Waiting for its turn")
        self._future = executor.submit(job, self._remember)

    def _remember(self, share: float, doing: str) -> None:
        self._latest = (share, doing)

    @property
    def has_failed(self) -> bool:
        """Whether it ended without a result: then another is needed."""
        return self._future.done() and (self._future.cancelled() or self._future.exception() is not None)

    def wait(self, progress: Progress) -> T:
        """Its result; until that is there, `progress` is told, by the thread that waits. Raises what the job raised."""
        while True:
            try:
                return self._future.result(timeout=0 if self._future.done() else _LOOK_EVERY_S)
            except NotYetError:
                if self._future.done():
                    raise
                progress(*self._latest)
