"""How much a caller may ask for: calls in moving windows, calls at a time, and a month's quota. One way in for all."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from limits import RateLimitItem

from core.access.addresses import network_of
from core.access.quotas import MonthlyQuotas, QuotaStanding, UsedThisMonth
from core.access.windows import Standing, Window, Windows, items_of
from core.config import PROBE_LIMITS, Settings
from core.domain import Caller, MonthUsage
from core.errors import QuotaExceededError, RateLimitedError
from core.plans import Plan

BUSY_AGAIN_S = 1
"""When to come back after too many calls at a time: one of them may have ended by then."""
_THREADS = 8
"""Ask Redis and the ledger on behalf of event loops."""
_BY = {
    "key": "with one key",
    "user": "by one account",
    "address": "from one network address",
    "probe": "of this kind from one network address",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who asks, and for what, as far as limits go."""

    address: str
    """The caller's network address."""
    user_id: UUID | None = None
    """None where nobody has to say who they are: only the address counts then."""
    key_id: UUID | None = None
    plan: Plan | None = None
    """Of the key or the user."""
    plan_name: str = ""
    costs_inference: bool = False
    """Whether the call counts on the month's quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A call that was let in."""

    headers: Mapping[str, str]
    """How the caller's limits stand, for the answer."""
    standings: tuple[Standing, ...] = ()
    """Of the windows."""


def plan_of(caller: Caller, settings: Settings) -> tuple[Plan, str]:
    """The plan of a caller and its name; that of new accounts where the settings have lost the caller's."""
    name = caller.plan if caller.plan in settings.plans else settings.new_user_plan
    return settings.plans[name], name


def call_of(caller: Caller | None, settings: Settings, *, address: str, costs_inference: bool) -> Call:
    """A call by `caller`, or by nobody known, from a network address."""
    if caller is None:
        return Call(address=address, costs_inference=costs_inference)
    plan, plan_name = plan_of(caller, settings)
    return Call(
        address=address,
        user_id=caller.user.id,
        key_id=caller.key_id,
        plan=plan,
        plan_name=plan_name,
        costs_inference=costs_inference,
    )


class CallLimits:
    """Limits of one process, or of all that share a Redis. Safe to share between threads and event loops."""

    def __init__(
        self,
        windows: Windows,
        *,
        address_limits: str,
        probe_limits: str = PROBE_LIMITS,
        used_this_month: UsedThisMonth | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._windows = windows
        self._address_items = items_of(address_limits)
        self._probe_items = items_of(probe_limits)
        self._probes = Windows.open("")
        self._quotas = MonthlyQuotas(used_this_month or _nothing_used, now=now)
        self._seats: Counter[tuple[str, UUID | None]] = Counter()
        self._seats_changing = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="limits")

    @classmethod
    def open(cls, settings: Settings, windows: Windows | None = None) -> CallLimits:
        """As the settings say; in `windows`, or in some of its own.

        Raises
        ------
        InvalidSettingError
            `redis_url` is not right.
        """
        return cls(
            windows or Windows.open(settings.redis_url),
            address_limits=settings.address_limits,
            probe_limits=settings.probe_limits,
        )

    @property
    def used_this_month(self) -> UsedThisMonth:
        """Asked what a user has used this month, at most every `core.access.quotas.READ_AGAIN_S`; may be replaced."""
        return self._quotas.used_this_month

    @used_this_month.setter
    def used_this_month(self, used: UsedThisMonth) -> None:
        self._quotas.used_this_month = used

    @asynccontextmanager
    async def admit(self, call: Call) -> AsyncIterator[Admission]:
        """Let a call in for as long as the context lasts, on an event loop.

        A call that ends by an exception costs nothing of the month's quota; what it took of the windows stays taken.

        Raises
        ------
        RateLimitedError
            Too many calls in one of the windows, or at a time. Nothing is counted then.
        QuotaExceededError
            The month's allowance is used up.
        """
        with self._seat(call):
            if self._may_wait(call):
                decided = asyncio.get_running_loop().run_in_executor(self._threads, self._decide, call)
                try:
                    admission = await asyncio.shield(decided)
                except asyncio.CancelledError:
                    decided.add_done_callback(lambda done: self._take_back(call) if not done.exception() else None)
                    raise
            else:
                admission = self._decide(call)
            with self._taken_back_on_failure(call):
                yield admission

    @contextmanager
    def admit_now(self, call: Call) -> Iterator[Admission]:
        """As `admit`, in the calling thread."""
        with self._seat(call):
            admission = self._decide(call)
            with self._taken_back_on_failure(call):
                yield admission

    def require_quota(self, call: Call) -> None:
        """Raise QuotaExceededError where the month's allowance is used up. Nothing is counted."""
        if call.user_id is not None and call.plan is not None:
            self._quotas.reserve(call.user_id, call.plan, call.plan_name)
            self._quotas.give_back(call.user_id)

    def take_more(self, call: Call, n_calls: int, admission: Admission) -> Admission:
        """Count `n_calls` more on the month's quota, all or none: of a batch, which has been let in as one call.

        Raises
        ------
        QuotaExceededError
            Fewer are left. Nothing is counted then.
        """
        if call.user_id is None or call.plan is None or n_calls == 0:
            return admission
        try:
            quota = self._quotas.reserve(call.user_id, call.plan, call.plan_name, n_calls=n_calls)
        except QuotaExceededError as error:
            n_left = error.n_left + 1  # the one it was let in as is about to be given back
            refusal = QuotaExceededError(error.plan, error.allowance, error.retry_after_s, n_left=n_left)
            standing = self._quotas.standing(call.user_id, call.plan)
            refusal.headers = header_fields(admission.standings, standing and replace(standing, remaining=n_left))
            raise refusal from None
        return replace(admission, headers=header_fields(admission.standings, quota))

    def give_back(self, call: Call, n_calls: int) -> None:
        """Take back calls of a batch that got no answer."""
        if call.user_id is not None and n_calls > 0:
            self._quotas.give_back(call.user_id, n_calls=n_calls)

    def admit_probe(self, address: str) -> None:
        """Count a look at how the process is; in memory always, so that none waits for Redis.

        Raises
        ------
        RateLimitedError
            Too many came from this address.
        """
        windows = [Window(item, "probe", network_of(address)) for item in self._probe_items]
        is_taken, standings = self._probes.take(windows)
        if not is_taken:
            fullest = max((each for each in standings if each.is_full), key=lambda each: each.retry_after_s)
            raise RateLimitedError(_sentence(fullest.window), fullest.retry_after_s)

    def require_sound(self, caller: Caller, settings: Settings, *, audio_s: float) -> None:
        """Raise QuotaExceededError where `audio_s` seconds, heard and not counted yet, use up the month's allowance."""
        plan, plan_name = plan_of(caller, settings)
        self._quotas.require_sound(caller.user.id, plan, plan_name, audio_s=audio_s)

    def add_audio(self, user_id: UUID, audio_s: float) -> None:
        """Count seconds of sound that were judged, until the ledger tells of them."""
        self._quotas.add_audio(user_id, audio_s)

    def used(self, user_id: UUID) -> MonthUsage:
        """What a user has used this month."""
        return self._quotas.used(user_id)

    def close(self) -> None:
        self._threads.shutdown()
        self._windows.close()

    @contextmanager
    def _seat(self, call: Call) -> Iterator[None]:
        """One of the calls that a key (or a user without one) may have under way in this process."""
        seat = ("user", call.user_id) if call.key_id is None else ("key", call.key_id)
        if call.plan is None or seat[1] is None:
            yield
            return
        with self._seats_changing:
            if self._seats[seat] >= call.plan.max_concurrent:
                raise RateLimitedError(f"{_calls(call.plan.max_concurrent)} {_BY[seat[0]]} at a time", BUSY_AGAIN_S)
            self._seats[seat] += 1
        try:
            yield
        finally:
            with self._seats_changing:
                self._seats[seat] -= 1
                if not self._seats[seat]:
                    del self._seats[seat]

    def _may_wait(self, call: Call) -> bool:
        return self._windows.may_wait or (
            call.costs_inference and call.user_id is not None and self._quotas.must_read(call.user_id)
        )

    def _decide(self, call: Call) -> Admission:
        quota: QuotaStanding | None = None
        if call.costs_inference and call.user_id is not None and call.plan is not None:
            try:
                quota = self._quotas.reserve(call.user_id, call.plan, call.plan_name)
            except QuotaExceededError as error:
                standings = self._windows.look(self._windows_of(call))
                error.headers = header_fields(standings, self._quotas.standing(call.user_id, call.plan))
                raise
        try:
            is_taken, standings = self._windows.take(self._windows_of(call))
        except BaseException:
            self._take_back(call)
            raise
        if not is_taken:
            self._take_back(call)
            # In whole seconds: windows of one call are filled microseconds apart, and the first names the caller best.
            fullest = max((each for each in standings if each.is_full), key=lambda each: each.retry_after_s)
            refusal = RateLimitedError(_sentence(fullest.window), fullest.retry_after_s)
            refusal.headers = header_fields(standings, quota and replace(quota, remaining=quota.remaining + 1))
            raise refusal
        return Admission(headers=header_fields(standings, quota), standings=tuple(standings))

    @contextmanager
    def _taken_back_on_failure(self, call: Call) -> Iterator[None]:
        try:
            yield
        except Exception:  # but not of whoever leaves before the answer, which was worked on all the same
            self._take_back(call)
            raise

    def _take_back(self, call: Call) -> None:
        if call.costs_inference and call.user_id is not None and call.plan is not None:
            self._quotas.give_back(call.user_id)

    def _windows_of(self, call: Call) -> list[Window]:
        windows = [Window(item, "address", network_of(call.address)) for item in self._address_items]
        items: Sequence[RateLimitItem] = () if call.plan is None else items_of(call.plan.limits)
        if call.user_id is not None:
            windows = [Window(item, "user", call.user_id.hex) for item in items] + windows
        if call.key_id is not None:
            windows = [Window(item, "key", call.key_id.hex) for item in items] + windows
        return windows


def header_fields(standings: Sequence[Standing], quota: QuotaStanding | None) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10: lists of structured fields."""
    policies = [f'"{each.window.name}";q={each.window.item.amount};w={each.window.length_s}' for each in standings]
    limits = [f'"{each.window.name}";r={each.remaining};t={each.retry_after_s}' for each in standings]
    if quota is not None:
        policies.append(f'"month";q={quota.allowed};w={quota.month_s}')
        limits.append(f'"month";r={quota.remaining};t={quota.ends_after_s}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)}


def _sentence(window: Window) -> str:
    unit = window.item.GRANULARITY.name
    per = unit if window.item.multiples == 1 else f"{window.item.multiples} {unit}s"
    return f"{_calls(window.item.amount)} per {per} {_BY[window.kind]}"


def _calls(n_calls: int) -> str:
    return "1 call" if n_calls == 1 else f"{n_calls:,} calls"


def _nothing_used(_user_id: UUID, _month_start: datetime) -> MonthUsage:
    return MonthUsage(n_calls=0, audio_s=0.0)
