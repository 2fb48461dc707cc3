"""The recogniser's own threads, with a bounded queue: neither pages nor API can stall each other, or it."""

from __future__ import annotations

import contextvars
import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from core.errors import BusyError, ShuttingDownError

P = ParamSpec("P")
T = TypeVar("T")

_N_DURATIONS = 32
"""Recent jobs whose mean duration foretells the next ones."""
_FIRST_GUESS_S = 1.0
_LONGEST_RETRY_S = 60


class InferenceExecutor:
    """Runs jobs on `n_workers` threads; at most `n_queue` more may wait, and the next is refused at once."""

    def __init__(self, *, n_workers: int, n_queue: int) -> None:
        self.n_workers = n_workers
        self.n_queue = n_queue
        self._threads = ThreadPoolExecutor(max_workers=n_workers, thread_name_prefix="inference")
        self._changed = threading.Condition()
        self._n_waiting = 0
        self._n_running = 0
        self._is_open = True
        self._durations_s: deque[float] = deque(maxlen=_N_DURATIONS)

    @property
    def n_waiting(self) -> int:
        """Jobs accepted and not yet begun."""
        with self._changed:
            return self._n_waiting

    @property
    def n_running(self) -> int:
        """Jobs begun and not yet ended."""
        with self._changed:
            return self._n_running

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `function(*args, **kwargs)` run by a worker, first come, first served.

        Raises
        ------
        BusyError
            As many jobs wait as may; it says when to come back, from how long recent jobs took.
        ShuttingDownError
            The executor takes no more jobs.
        """
        with self._changed:
            if not self._is_open:
                raise ShuttingDownError
            if self._n_waiting + self._n_running >= self.n_workers + self.n_queue:
                raise BusyError(self._n_waiting, self._retry_after_s())
            self._n_waiting += 1
            # What it writes to the log carries the id of the request that it is for.
            job = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
            future = self._threads.submit(self._run, job)
        future.add_done_callback(self._forget_when_cancelled)
        return future

    def _run(self, job: Callable[[], T]) -> T:
        with self._changed:
            self._n_waiting -= 1
            self._n_running += 1
        started_s = _now_s()
        try:
            return job()
        finally:
            with self._changed:
                self._n_running -= 1
                self._durations_s.append(_now_s() - started_s)
                self._changed.notify_all()

    def wait_until_idle(self, *, timeout_s: float) -> bool:
        """Wait while anybody waits for an answer, at most so long; whether nobody does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._n_waiting + self._n_running == 0, timeout=timeout_s)

    def _forget_when_cancelled(self, future: Future[T]) -> None:
        if future.cancelled():
            with self._changed:
                self._n_waiting -= 1
                self._changed.notify_all()

    def _retry_after_s(self) -> int:
        """Seconds until the jobs that wait now have begun."""
        durations = self._durations_s
        typical_s = sum(durations) / len(durations) if durations else _FIRST_GUESS_S
        return min(_LONGEST_RETRY_S, max(1, math.ceil((self._n_waiting + 1) * typical_s / self.n_workers)))

    def shutdown(self, *, deadline_s: float) -> bool:
        """Take no more jobs and finish those accepted; whether all of them ended by the deadline.

        What still waits at the deadline is cancelled, so that its caller hears of it; what runs then is left alone.
        """
        with self._changed:
            self._is_open = False
            is_drained = self._changed.wait_for(lambda: self._n_waiting + self._n_running == 0, timeout=deadline_s)
        self._threads.shutdown(wait=is_drained, cancel_futures=True)
        return is_drained


def _now_s() -> float:
    return time.monotonic()
