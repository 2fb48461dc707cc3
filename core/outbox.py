"""Sending in the background: who asked goes on at once, and what the other side does not take is tried again."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from core.errors import DeliveryError

MAX_WAITING = 500
"""More are refused: during an outage alerts and links would fill the memory otherwise."""
WAITS_S = (2.0, 15.0, 60.0, 300.0)
"""Before the second to the fifth attempt: a restart of a mail server takes seconds, greylisting minutes."""

log = structlog.get_logger(__name__)


class Outbox:
    """A thread that delivers, each in its turn. What waits is kept in memory only: the end of the process loses what
    the other side has not taken by the deadline of `close`, and says how much in the log.

    Parameters
    ----------
    waits_s
        How long to wait after each failed attempt; one more than there are waits is made.
    """

    def __init__(self, *, waits_s: Sequence[float] = WAITS_S, max_waiting: int = MAX_WAITING) -> None:
        self._waits_s = tuple(waits_s)
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, str, Callable[[], None], int]] = []
        """When, a number that breaks ties, what, how, and the attempts so far; a heap."""
        self._numbers = itertools.count()
        self._n_delivering = 0
        self._n_attempts = 0
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def put(self, what: str, deliver: Callable[[], None]) -> bool:
        """Call `deliver` soon, and again when it raises `DeliveryError`. False when too much waits already.

        `what` names it in the log, such as "an alert by mail": no address, no link.
        """
        with self._changed:
            if self._is_closing or len(self._due) >= self._max_waiting:
                log.error("not taken for delivery", what=what, n_waiting=len(self._due))
                return False
            heapq.heappush(self._due, (time.monotonic(), next(self._numbers), what, deliver, 0))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return True

    @property
    def n_waiting(self) -> int:
        """Deliveries that are still to be made, the one under way included."""
        with self._changed:
            return len(self._due) + self._n_delivering

    def wait_for_attempts(self, n: int, *, timeout_s: float) -> bool:
        """Whether at least `n` attempts have ended, well or badly, before the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._n_attempts >= n, timeout_s)

    def close(self, *, deadline_s: float) -> None:
        """Try everything that waits once more, without further waiting, until the deadline. Safe to call twice."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(deadline_s)
        with self._changed:
            n_lost = len(self._due) + self._n_delivering
            if n_lost:
                log.error("deliveries lost at the end of the process", n=n_lost)
            self._due.clear()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            what, deliver, n_before = taken
            failure = _failure_of(deliver, what)
            with self._changed:
                self._n_delivering = 0
                if failure is not None:
                    self._keep_for_later(failure, what, deliver, n_before)
                self._n_attempts += 1
                self._changed.notify_all()

    def _next(self) -> tuple[str, Callable[[], None], int] | None:
        """What is due, once it is; None when all is done and nothing further comes."""
        with self._changed:
            while True:
                if self._due and (self._is_closing or self._due[0][0] <= time.monotonic()):
                    _, _, what, deliver, n_before = heapq.heappop(self._due)
                    self._n_delivering = 1
                    return what, deliver, n_before
                if self._is_closing:
                    return None
                self._changed.wait(max(0.0, self._due[0][0] - time.monotonic()) if self._due else None)

    def _keep_for_later(self, failure: DeliveryError, what: str, deliver: Callable[[], None], n_before: int) -> None:
        if failure.is_final or n_before >= len(self._waits_s) or self._is_closing:
            log.error("given up", what=what, n_attempts=n_before + 1, reason=str(failure))
            return
        wait_s = self._waits_s[n_before]
        log.warning("not delivered yet", what=what, next_attempt_s=wait_s, reason=str(failure))
        heapq.heappush(self._due, (time.monotonic() + wait_s, next(self._numbers), what, deliver, n_before + 1))


def _failure_of(deliver: Callable[[], None], what: str) -> DeliveryError | None:
    try:
        deliver()
    except DeliveryError as failure:
        return failure
    except Exception as error:  # a mistake in the program: loud in the log, and the others still go out
        log.error("delivery failed unexpectedly", what=what, exc_info=error)
    return None
