"""What happened becomes a message in the store: whoever it happened to goes on at once.

A message waits in memory while the one before it is written, and no longer: some milliseconds, within which a `kill -9`
loses it. Once it stands in the store, nothing loses it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from core.domain import PROCESS, WebhookDelivery, WebhookMessage
from core.errors import StoreError, TelepathyError
from core.store.engine import Store
from core.store.webhooks import insert_webhook_messages, select_known_message_ids

MAX_WAITING = 10_000
"""Messages that may wait while the store refuses. Those that come on top are lost, and counted."""
CLOSE_DEADLINE_S = 5.0
_BATCH = 500
_TRY_AGAIN_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message, and the deliveries it makes."""

    message: WebhookMessage
    deliveries: tuple[WebhookDelivery, ...]


class Intake:
    """Takes messages without delay and writes them on a thread of its own. Safe to share between threads.

    Parameters
    ----------
    hand_over
        Called with the deliveries that have been written; what it fails at, `look_around` finds.
    look_around
        Called by the same thread every `look_every_s`.
    """

    def __init__(
        self,
        store: Store,
        *,
        hand_over: Callable[[Sequence[WebhookDelivery]], None],
        look_around: Callable[[], None],
        look_every_s: float,
    ) -> None:
        self._store = store
        self._hand_over = hand_over
        self._look_around = look_around
        self._look_every_s = look_every_s
        self._changed = threading.Condition()
        self._waiting: deque[Accepted] = deque()
        self._n_put = 0
        self._n_settled = 0
        self._n_lost = 0
        self._is_closing = False
        self._gives_up_at_s = float("inf")
        self._thread: threading.Thread | None = None

    @property
    def n_lost(self) -> int:
        """Messages that could not be kept since the process began."""
        with self._changed:
            return self._n_lost

    def put(self, accepted: Accepted) -> None:
        """Have `accepted` written. Takes microseconds, waits for nothing and never raises."""
        with self._changed:
            if self._is_closing or len(self._waiting) >= MAX_WAITING:
                self._n_lost += 1
                return
            self._waiting.append(accepted)
            self._n_put += 1
            self._begin()
            self._changed.notify_all()

    def start(self) -> None:
        """Look around from now on; messages are written without this too."""
        with self._changed:
            self._begin()

    def _begin(self) -> None:
        if self._thread is None and not self._is_closing:
            self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
            self._thread.start()

    def flush(self, *, deadline_s: float = CLOSE_DEADLINE_S) -> bool:
        """Wait until all that was put before is written and handed over; whether that is done."""
        with self._changed:
            wanted = self._n_put
            return self._changed.wait_for(lambda: self._n_settled >= wanted, deadline_s)

    def close(self, *, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Write what waits, then stop. What the store refuses up to the deadline is lost, and logged."""
        with self._changed:
            self._is_closing = True
            self._gives_up_at_s = min(self._gives_up_at_s, time.monotonic() + deadline_s)
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(deadline_s + _TRY_AGAIN_S)
        with self._changed:
            if self._waiting:
                log.error("messages of webhooks lost at the end of the process", n=len(self._waiting))
            self._n_lost += len(self._waiting)
            self._waiting.clear()

    def _run(self) -> None:
        looks_at_s = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._waiting or self._is_closing, max(0.0, looks_at_s - time.monotonic())
                )
                batch = list(itertools.islice(self._waiting, _BATCH))
                if not batch and self._is_closing:
                    return
            if batch and not self._write(batch):
                return
            if self._store.is_closed:
                return
            if time.monotonic() >= looks_at_s and not self._is_closing:
                looks_at_s = time.monotonic() + self._look_every_s
                _guarded(self._look_around)

    def _write(self, batch: list[Accepted]) -> bool:
        """Write `batch`, once the store takes it; False when there is no more time to try."""
        is_first = True
        while True:
            try:
                known = set() if is_first else self._known(batch)
                # Told twice while the first waits, a message would be refused as its own copy, for ever.
                new = {each.message.id: each for each in batch if each.message.id not in known}.values()
                insert_webhook_messages(
                    self._store,
                    messages=[each.message for each in new],
                    deliveries=[delivery for each in new for delivery in each.deliveries],
                )
                break
            except StoreError as error:
                if is_first:
                    log.warning("webhooks wait for the store", n_waiting=len(batch), reason=str(error))
                is_first = False
                if not self._may_try_again():
                    return False
        deliveries = [delivery for each in batch for delivery in each.deliveries]
        _guarded(lambda: self._hand_over(deliveries))
        with self._changed:
            for _ in batch:
                self._waiting.popleft()
            self._n_settled += len(batch)
            self._changed.notify_all()
        return True

    def _known(self, batch: Sequence[Accepted]) -> set[object]:
        """Those that an earlier try, whose end nobody was told, has kept."""
        ids = [each.message.id for each in batch]
        return set(select_known_message_ids(self._store, message_ids=ids, reader=PROCESS))

    def _may_try_again(self) -> bool:
        with self._changed:
            if time.monotonic() >= self._gives_up_at_s:
                return False
            self._changed.wait(0.1 if self._is_closing else _TRY_AGAIN_S)
            return True


def _guarded(act: Callable[[], None]) -> None:
    try:
        act()
    except TelepathyError as error:
        log.warning("webhooks: something waits for the next look around", reason=str(error))
    except Exception as error:  # a mistake in one thing must not end the thread that keeps all others
        log.error("webhooks: something went wrong in the background", exc_info=error)
