"""Counts in moving windows, by the library `limits`: in Redis for all processes, or in the memory of this one."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, TypeVar

import structlog
from limits import RateLimitItem, parse_many
from limits.errors import ConfigurationError
from limits.storage import MemoryStorage, RedisStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from core.errors import InvalidSettingError

Result = TypeVar("Result")

log = structlog.get_logger(__name__)

REDIS_TIMEOUT_S = 0.5
REDIS_AGAIN_S = 5.0
"""How long counts stay in memory after Redis failed, before it is asked again: a call waits for one timeout at most."""
MAX_WINDOWS = 100_000
"""Of one kind, in memory: what was used longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Window:
    """So much in such a time, for one of a kind."""

    item: RateLimitItem
    kind: str
    """What is counted by: key, user, address, ..."""
    whose: str

    @property
    def name(self) -> str:
        """Unique among the windows of one call, such as `user-minute`."""
        unit = self.item.GRANULARITY.name
        return f"{self.kind}-{unit}" if self.item.multiples == 1 else f"{self.kind}-{self.item.multiples}-{unit}s"

    @property
    def length_s(self) -> int:
        return self.item.get_expiry()


@dataclass(frozen=True, slots=True)
class Standing:
    """How full a window is."""

    window: Window
    remaining: int
    frees_after_s: float
    """Until the oldest in it leaves, or the whole window's length where it is empty."""

    @property
    def is_full(self) -> bool:
        return self.remaining < 1

    @property
    def retry_after_s(self) -> int:
        """Whole seconds, at least one, after which a full window has room."""
        return max(1, math.ceil(self.frees_after_s))


@functools.cache
def items_of(limits: str) -> tuple[RateLimitItem, ...]:
    """The windows that `limits` names, such as `10 per second; 5000 per day`, the shortest first.

    Of several with the same length the tightest is kept.
    """
    tightest: dict[int, RateLimitItem] = {}
    for item in parse_many(limits):
        known = tightest.get(item.get_expiry())
        if known is None or item.amount < known.amount:
            tightest[item.get_expiry()] = item
    return tuple(tightest[length_s] for length_s in sorted(tightest))


class WindowMemory(MemoryStorage):
    """The memory storage of `limits` for moving windows, bounded, without threads.

    The library's own starts a thread every 10 ms that walks all windows (0.33 s for 100,000) and never drops a key, so
    that callers from ever new addresses fill memory and stop the process. Not safe between threads: whoever uses it
    holds a lock, which makes looking and counting one step too.
    """

    def __init__(self, max_windows: int = MAX_WINDOWS, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._max_windows = max_windows
        self._clock = clock
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()
        """By key: when each call was counted, the newest last."""
        self._emptied_at: dict[str, float] = {}
        """By key: when its newest call will have left its window."""

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = self._clock()
        moments = self._moments.get(key, deque())
        while moments and moments[0] <= now - expiry:
            moments.popleft()
        if len(moments) + amount > limit:
            return False
        moments.extend([now] * amount)
        self._moments[key] = moments
        self._moments.move_to_end(key)
        self._emptied_at[key] = now + expiry
        self._forget(now)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        now = self._clock()
        moments = self._moments.get(key)
        if moments is None:
            return now, 0
        while moments and moments[0] <= now - expiry:
            moments.popleft()
        return (moments[0], len(moments)) if moments else (now, 0)

    def clear(self, key: str) -> None:
        self._moments.pop(key, None)
        self._emptied_at.pop(key, None)

    def __len__(self) -> int:
        return len(self._moments)

    def _forget(self, now: float) -> None:
        """Drop what is empty among those unused longest, two for each new one at most, and what is too many."""
        for key in list(islice(self._moments, 2)):
            if self._emptied_at[key] <= now:
                self.clear(key)
        while len(self._moments) > self._max_windows:
            self.clear(next(iter(self._moments)))


class _Counts(Protocol):
    """Where windows are counted."""

    def standings(self, windows: Sequence[Window]) -> list[Standing]: ...

    def hit(self, windows: Sequence[Window]) -> bool:
        """Count one in each; whether all had room."""

    def clear(self, windows: Sequence[Window]) -> None: ...


class _InMemory:
    """In this process, for whoever holds the lock. Each kind by itself: calls from many addresses cannot push failures
    to sign in out of memory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limiters: dict[str, MovingWindowRateLimiter] = {}

    def standings(self, windows: Sequence[Window]) -> list[Standing]:
        found = []
        for each in windows:
            resets_at, remaining = self._limiter(each.kind).get_window_stats(each.item, each.kind, each.whose)
            found.append(_standing(each, remaining, resets_at - self._clock()))
        return found

    def hit(self, windows: Sequence[Window]) -> bool:
        return all(self._limiter(each.kind).hit(each.item, each.kind, each.whose) for each in windows)

    def clear(self, windows: Sequence[Window]) -> None:
        for each in windows:
            self._limiter(each.kind).clear(each.item, each.kind, each.whose)

    def _limiter(self, kind: str) -> MovingWindowRateLimiter:
        if kind not in self._limiters:
            self._limiters[kind] = MovingWindowRateLimiter(WindowMemory(clock=self._clock))
        return self._limiters[kind]


class _InRedis:
    """For all processes, by the scripts of the library's storage. Its strategies would ask once for each window, twice:
    here all of them go in one message."""

    def __init__(self, storage: RedisStorage, clock: Callable[[], float]) -> None:
        self.storage = storage
        self._clock = clock

    def standings(self, windows: Sequence[Window]) -> list[Standing]:
        now = self._clock()
        with self._pipeline() as pipeline:
            for each in windows:
                arguments = [now - each.length_s, each.item.amount]
                self.storage.lua_moving_window([self._key(each)], arguments, client=pipeline)
            answers = pipeline.execute()
        return [
            _standing(each, each.item.amount - answer[1], float(answer[0]) + each.length_s - now)
            if answer
            else _standing(each, each.item.amount, each.length_s)
            for each, answer in zip(windows, answers, strict=True)
        ]

    def hit(self, windows: Sequence[Window]) -> bool:
        now = self._clock()
        with self._pipeline() as pipeline:
            for each in windows:
                arguments = [now, each.item.amount, each.length_s, 1]
                self.storage.lua_acquire_moving_window([self._key(each)], arguments, client=pipeline)
            return all(pipeline.execute())

    def clear(self, windows: Sequence[Window]) -> None:
        self.storage.storage.delete(*(self._key(each) for each in windows))

    def _key(self, window: Window) -> str:
        return self.storage.prefixed_key(window.item.key_for(window.kind, window.whose))

    def _pipeline(self) -> Any:
        return self.storage.storage.pipeline(transaction=False)


class Windows:
    """Where calls are counted. Safe to share between threads.

    While Redis cannot be reached, each process counts for itself in memory, from zero: the workbench goes on answering,
    and a caller gets at most one allowance more for each process. Refusing everybody would hand whoever can disturb
    Redis the whole service.
    """

    def __init__(
        self,
        redis: RedisStorage | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = None if redis is None else _InRedis(redis, clock)
        self._memory = _InMemory(clock)
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._redis_again_s = -math.inf

    @classmethod
    def open(cls, redis_url: str, *, monotonic: Callable[[], float] = time.monotonic) -> Windows:
        """In the Redis of this URL, or in memory where it is empty. Redis need not answer yet.

        Raises
        ------
        InvalidSettingError
            `redis_url` is no address of a Redis.
        """
        if not redis_url:
            return cls()
        try:
            storage = storage_from_string(
                redis_url,
                socket_timeout=REDIS_TIMEOUT_S,
                socket_connect_timeout=REDIS_TIMEOUT_S,
                # Its own three retries with growing pauses would hold a call for seconds. One is for a connection
                # that a restart of Redis has closed.
                retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]
            )
        except (ConfigurationError, ValueError) as error:
            raise InvalidSettingError("redis_url", "no such address", "like redis://host:6379/0") from error
        if type(storage) is not RedisStorage:
            raise InvalidSettingError("redis_url", "the address of something else", "like redis://host:6379/0")
        return cls(storage, monotonic=monotonic)

    @property
    def may_wait(self) -> bool:
        """Whether counting asks another machine: an event loop then has it done by a thread."""
        return self._redis is not None and self._monotonic() >= self._redis_again_s

    def take(self, windows: Sequence[Window]) -> tuple[bool, list[Standing]]:
        """Count one in each of `windows`, or in none where one is full; whether it was counted, and how they stand.

        In memory that is one step. In Redis each window by itself never lets more through than it may; when processes
        race for the last place of one that is not the fullest, whoever loses has been counted in others.
        """

        def take(counts: _Counts) -> tuple[bool, list[Standing]]:
            standings = counts.standings(windows)
            if any(standing.is_full for standing in standings):
                return False, standings
            # The fullest first: where others race for it, it is the one that refuses, before any other was counted in.
            fullest, *others = (each.window for each in sorted(standings, key=lambda standing: standing.remaining))
            if counts.hit([fullest]) and (not others or counts.hit(others)):
                return True, [replace(standing, remaining=standing.remaining - 1) for standing in standings]
            standings = counts.standings(windows)
            if not any(standing.is_full for standing in standings):  # it has moved on since
                standings = [
                    replace(each, remaining=0 if each.window == fullest else each.remaining) for each in standings
                ]
            return False, standings

        return self._with_counts(take) if windows else (True, [])

    def look(self, windows: Sequence[Window]) -> list[Standing]:
        """How `windows` stand, without counting."""
        return self._with_counts(lambda counts: counts.standings(windows))

    def forget(self, windows: Sequence[Window]) -> None:
        """Empty `windows`, wherever they are counted."""
        self._with_counts(lambda counts: counts.clear(windows))
        with self._lock:
            self._memory.clear(windows)

    def close(self) -> None:
        if self._redis is not None:
            self._redis.storage.storage.close()

    def _with_counts(self, do: Callable[[_Counts], Result]) -> Result:
        if self._redis is not None and self.may_wait:
            try:
                return do(self._redis)
            except RedisError as error:
                self._redis_again_s = self._monotonic() + REDIS_AGAIN_S
                log.warning("limits are counted in memory: Redis cannot be asked", reason=type(error).__name__)
        with self._lock:
            return do(self._memory)


def _standing(window: Window, remaining: int, frees_after_s: float) -> Standing:
    return Standing(window, max(0, remaining), min(max(0.0, frees_after_s), float(window.length_s)))
