"""The usage ledger as requests see it: noting a call costs them microseconds, and a thread of its own writes it down.

What is noted waits in memory for at most `FLUSH_EVERY_S`, or until `FLUSH_EVENTS` wait, and is then written in one
transaction. docs/usage.md says what a `kill -9` can lose, and tests hold it to that.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import itertools
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from core.config import Settings
from core.domain import Caller, Label, LiveSummary, Prediction, UsageEvent
from core.errors import (
    AccessError,
    AudioError,
    QuotaExceededError,
    RateLimitedError,
    RequestError,
    StoreError,
    TelepathyError,
)
from core.identifiers import new_id
from core.inference.attribution import Attribution
from core.store.engine import Store
from core.store.usage import insert_usage_events

FLUSH_EVERY_S = 1.0
"""The longest that a line waits before it is written; so long can a `kill -9` reach back, and the write under way."""
FLUSH_EVENTS = 500
"""Written at once when so many wait."""
MAX_WAITING = 50_000
"""Lines that may wait while the store refuses, some 50 MB of memory. Those that come on top are lost, and counted."""
CLOSE_DEADLINE_S = 5.0
"""Time that the last lines get to be written at the end of the process."""
PAGE, WEBSOCKET, WEBRTC = "PAGE", "WEBSOCKET", "WEBRTC"
"""What stands for the method of HTTP where there is none."""
_BATCH = 2_000
_TRY_AGAIN_S = 1.0
_MAX_TEXT = 200
_IPV4_PREFIX, _IPV6_PREFIX = 24, 48
_SECRET_BYTES = 32
_HASH_CHARACTERS = 32

log = structlog.get_logger(__name__)


class UsageLedger:
    """Takes lines without delay and writes them on a thread of its own. Safe to share between threads; close it once.

    Parameters
    ----------
    store
        Where the ledger stands; it has to stay open until `close` has returned.
    settings
        Say how addresses are kept.

    Raises
    ------
    StoreError
        The key that addresses are hashed with cannot be made or read.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._addresses = AddressKeeper(settings)
        self._changed = threading.Condition()
        self._waiting: deque[UsageEvent] = deque()
        self._n_noted = 0
        self._n_settled = 0
        """Written, or given up on."""
        self._n_lost = 0
        self._is_hurried = False
        self._is_closing = False
        self._give_up_at_s = float("inf")
        self._writer = threading.Thread(target=self._write_until_closed, name="usage-ledger", daemon=True)
        self._writer.start()

    @property
    def n_lost(self) -> int:
        """Lines that could not be kept since the process began."""
        with self._changed:
            return self._n_lost

    @property
    def n_waiting(self) -> int:
        """Lines noted and not yet written."""
        with self._changed:
            return self._n_noted - self._n_settled

    def note(self, *events: UsageEvent) -> None:
        """Have `events` written soon. Takes some microseconds, waits for nothing and never raises.

        When `MAX_WAITING` lines wait already, since the store has refused for long, these are lost and counted.
        """
        kept = [_bounded(event, self._addresses.kept(event.address)) for event in events]
        with self._changed:
            n_room = 0 if self._is_closing else max(0, MAX_WAITING - len(self._waiting))
            self._n_lost += len(kept) - len(kept[:n_room])
            was_empty = not self._waiting
            self._waiting.extend(kept[:n_room])
            self._n_noted += len(kept[:n_room])
            if was_empty or len(self._waiting) >= FLUSH_EVENTS:
                self._changed.notify_all()

    def kept_address(self, address: str) -> str:
        """What the setting `usage_address` has kept of `address`."""
        return self._addresses.kept(address)

    def flush(self, *, deadline_s: float = CLOSE_DEADLINE_S) -> bool:
        """Have all that was noted before written now; whether that is done."""
        with self._changed:
            wanted = self._n_noted
            self._is_hurried = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._n_settled >= wanted, deadline_s)

    def close(self, *, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Write what waits, then stop. What the store refuses up to the deadline is lost, and logged. Safe to call
        twice.
        """
        with self._changed:
            self._is_closing = True
            self._give_up_at_s = time.monotonic() + deadline_s
            self._changed.notify_all()
        self._writer.join(deadline_s + _TRY_AGAIN_S)
        with self._changed:
            n_unwritten = len(self._waiting)
            self._n_lost += n_unwritten
            self._waiting.clear()
        if n_unwritten:
            log.error("usage ledger closed before everything was written", n_lost=n_unwritten)

    def _write_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                self._changed.wait_for(self._is_due, FLUSH_EVERY_S)
            if not self._write_all():
                return

    def _is_due(self) -> bool:
        return len(self._waiting) >= FLUSH_EVENTS or self._is_hurried or self._is_closing

    def _write_all(self) -> bool:
        """Write what waits, batch by batch; False once there is no more time to try."""
        refused_since_s: float | None = None
        n_singly = 0
        while True:
            with self._changed:
                batch = list(itertools.islice(self._waiting, 1 if n_singly else _BATCH))
                if not batch:
                    self._is_hurried = False
                    return True
            try:
                insert_usage_events(self._store, events=batch, may_be_there=refused_since_s is not None)
            except StoreError as error:
                if refused_since_s is None:
                    refused_since_s = time.monotonic()
                    log.warning("usage ledger waits for the store", n_waiting=len(batch), reason=str(error))
                if not self._may_try_again():
                    return False
                continue
            except (
                Exception
            ) as error:  # a line that no column takes, which must neither end this thread nor lose others
                if len(batch) > 1:
                    n_singly = len(batch)
                    continue
                log.error("usage ledger could not write a line", exc_info=error)
                with self._changed:
                    self._n_lost += 1
            if refused_since_s is not None:
                waited_s = time.monotonic() - refused_since_s
                log.warning("usage ledger writes again", after_s=round(waited_s, 1), n_lost=self.n_lost)
                refused_since_s = None
            self._settle(len(batch))
            n_singly = max(0, n_singly - len(batch))

    def _settle(self, n_lines: int) -> None:
        with self._changed:
            n_here = min(n_lines, len(self._waiting))
            self._n_lost -= n_lines - n_here  # `close` could not wait, took them for lost, and then they were written
            for _ in range(n_here):
                self._waiting.popleft()
            self._n_settled += n_lines
            self._changed.notify_all()

    def _may_try_again(self) -> bool:
        """Wait a while; False when the ledger is closing and its time is over."""
        with self._changed:
            self._is_hurried = False
            self._changed.wait_for(lambda: self._is_hurried or self._is_closing, _TRY_AGAIN_S)
            if not self._is_closing:
                return True
            remaining_s = self._give_up_at_s - time.monotonic()
        if remaining_s <= 0:
            return False
        time.sleep(min(_TRY_AGAIN_S / 10, remaining_s))
        return True


def _bounded(event: UsageEvent, address: str) -> UsageEvent:
    """`event` with texts that both databases take: PostgreSQL keeps no NUL characters."""
    return replace(
        event,
        route=_text(event.route),
        method=_text(event.method),
        request_id=_text(event.request_id),
        address=_text(address),
    )


def _text(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()[:_MAX_TEXT]


class AddressKeeper:
    """How the setting `usage_address` has network addresses kept."""

    def __init__(self, settings: Settings) -> None:
        self._way = settings.usage_address
        self._secret = b""
        if self._way == "hashed":
            path = settings.data_dir / "usage-address.key"
            try:
                self._secret = _secret(path)
            except OSError as error:
                raise StoreError(f"making {path}", error.strerror or str(error)) from error

    def kept(self, address: str) -> str:
        """What is kept of `address`; empty when that is nothing."""
        if self._way == "none" or not address:
            return ""
        if self._way == "full":
            return address
        if self._way == "hashed":
            return hmac.new(self._secret, address.encode(), hashlib.sha256).hexdigest()[:_HASH_CHARACTERS]
        return truncated(address)


def truncated(address: str) -> str:
    """The network that an address belongs to: the first 24 bits of IPv4, the first 48 of IPv6.

    What is no address gives nothing.

    Examples
    --------
    >>> truncated("192.0.2.77"), truncated("2001:db8:1:2::3"), truncated("::ffff:192.0.2.77"), truncated("testclient")
    ('192.0.2.0/24', '2001:db8:1::/48', '192.0.2.0/24', '')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    bits = _IPV4_PREFIX if parsed.version == 4 else _IPV6_PREFIX
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def _secret(path: Path) -> bytes:
    """The key of the hashes, made at first: without one, all four thousand million addresses could be tried."""
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(unfinished, path)
        unfinished.unlink()
    return path.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of a model, as far as the ledger tells of it."""

    audio_s: float
    emotion: Label | None
    confidence: float | None
    model_version: str | None


class Use:
    """What one call has had of the models so far. Whoever answers the call adds to it."""

    def __init__(self) -> None:
        self._answers: list[Answer] = []

    @property
    def answers(self) -> tuple[Answer, ...]:
        return tuple(self._answers)

    def add(
        self,
        *,
        audio_s: float,
        emotion: Label | None = None,
        confidence: float | None = None,
        model_version: str | None = None,
    ) -> None:
        """Count one answer about `audio_s` seconds of sound."""
        self._answers.append(
            Answer(audio_s=audio_s, emotion=emotion, confidence=confidence, model_version=model_version)
        )

    def add_prediction(self, prediction: Prediction) -> None:
        """Count the answer about a recording."""
        self.add(
            audio_s=prediction.duration_s,
            emotion=prediction.emotion,
            confidence=prediction.confidence,
            model_version=prediction.model_version,
        )

    def add_summary(self, summary: LiveSummary, *, model_version: str) -> None:
        """Count a whole live stream as one answer."""
        if summary.duration_s <= 0:
            return
        probabilities = summary.probabilities
        emotion = max(probabilities, key=lambda each: probabilities[each]) if probabilities else None
        self.add(
            audio_s=summary.duration_s,
            emotion=emotion,
            confidence=None if emotion is None else probabilities[emotion],
            model_version=model_version,
        )

    def add_attribution(self, attribution: Attribution) -> None:
        """Count an explanation of one window."""
        top = max(attribution.probabilities, key=lambda emotion: attribution.probabilities[emotion])
        self.add(
            audio_s=attribution.window.end_s - attribution.window.start_s,
            emotion=top,
            confidence=attribution.probabilities[top],
            model_version=attribution.model_version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who called what, as far as it is known before it is answered."""

    route: str
    method: str
    caller: Caller | None
    request_id: str
    address: str


def events_of(call: Call, use: Use, *, began_at: datetime, status: int, duration_ms: float) -> list[UsageEvent]:
    """The lines of a call that has been answered: one, and one more for each further recording in it."""
    caller = call.caller
    first, *further = use.answers or (None,)

    def line(answer: Answer | None, duration_ms: float | None) -> UsageEvent:
        return UsageEvent(
            id=new_id(),
            at=began_at,
            user_id=None if caller is None else caller.user.id,
            key_id=None if caller is None else caller.key_id,
            plan=None if caller is None else caller.plan,
            route=call.route,
            method=call.method,
            status=status,
            duration_ms=duration_ms,
            n_predictions=0 if answer is None else 1,
            audio_s=0.0 if answer is None else answer.audio_s,
            emotion=None if answer is None else answer.emotion,
            confidence=None if answer is None else answer.confidence,
            model_version=None if answer is None else answer.model_version,
            request_id=call.request_id,
            address=call.address,
        )

    return [line(first, duration_ms), *(line(answer, None) for answer in further)]


@contextlib.contextmanager
def noting(ledger: UsageLedger, call: Call, *, waited_s: float = 0.0) -> Iterator[Use]:
    """Note `call` once what happens inside is over, with the status that an exception stands for.

    `waited_s` is how long it had waited for its turn before that.
    """
    use = Use()
    began_at, started_s = datetime.now(UTC), time.perf_counter() - waited_s
    status = 200
    try:
        yield use
    except BaseException as error:
        status = status_of(error)
        raise
    finally:
        duration_ms = (time.perf_counter() - started_s) * 1e3
        ledger.note(*events_of(call, use, began_at=began_at, status=status, duration_ms=duration_ms))


def note_refusal(ledger: UsageLedger, call: Call, error: TelepathyError) -> None:
    """Note a call that was refused before anything was done for it."""
    events = events_of(call, Use(), began_at=datetime.now(UTC), status=status_of(error), duration_ms=0.0)
    ledger.note(*events)


def note_stream(ledger: UsageLedger, call: Call, summary: LiveSummary, model_version: str) -> None:
    """Note a live stream that has just ended."""
    use = Use()
    use.add_summary(summary, model_version=model_version)
    began_at = datetime.now(UTC) - timedelta(seconds=summary.duration_s)
    ledger.note(*events_of(call, use, began_at=began_at, status=200, duration_ms=summary.duration_s * 1e3))


def status_of(error: BaseException) -> int:
    """The status of HTTP that stands for an error on a page; the API has a finer table."""
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            return status
    return 500


_STATUSES: Mapping[type[BaseException], int] = {
    AudioError: 422,
    RequestError: 422,
    RateLimitedError: 429,
    QuotaExceededError: 429,
    AccessError: 403,
    TelepathyError: 503,
}
