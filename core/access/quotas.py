"""What a month's plan still allows: read from the usage ledger now and then, counted up here in between."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from core.domain import MonthUsage
from core.errors import QuotaExceededError
from core.plans import Plan
from core.store.usage import month_of

UsedThisMonth = Callable[[UUID, datetime], MonthUsage]
"""What a user has used since that beginning of a month, as the ledger knows it."""

READ_AGAIN_S = 30.0
"""How old the ledger's figure may be. With one process nothing is missed in between. With several, a user may go over a
quota by what the others answered in this time, which the plan's rate limits bound."""
MAX_USERS = 10_000
"""Remembered at a time; for others the ledger is read again."""


@dataclass(slots=True)
class _Count:
    month_start: datetime
    n_calls: int
    audio_s: float
    read_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStanding:
    """How much of a month's calls is left."""

    allowed: int
    remaining: int
    month_s: int
    """Length of the month."""
    ends_after_s: int
    """Whole seconds, at least one, until the next one begins."""


class MonthlyQuotas:
    """Counts of every user who called lately. Safe to share between threads."""

    def __init__(self, used_this_month: UsedThisMonth, *, now: Callable[[], datetime]) -> None:
        self.used_this_month = used_this_month
        self._now = now
        self._counts: OrderedDict[UUID, _Count] = OrderedDict()
        self._lock = threading.Lock()

    def must_read(self, user_id: UUID) -> bool:
        """Whether the next question about this user asks the ledger, which takes as long as the store does."""
        now = self._now()
        with self._lock:
            return self._fresh(user_id, now) is None

    def used(self, user_id: UUID) -> MonthUsage:
        """What a user has used this month, calls under way included."""
        now = self._now()
        self._read_if_old(user_id, now)
        with self._lock:
            count = self._counts[user_id]
            return MonthUsage(n_calls=count.n_calls, audio_s=count.audio_s)

    def reserve(self, user_id: UUID, plan: Plan, plan_name: str, *, n_calls: int = 1) -> QuotaStanding | None:
        """Count some calls, all or none; how many are left, or None without end.

        Sound is counted when its length is known (`add_audio`), so the calls that are under way while the allowance is
        used up still get their answers.

        Raises
        ------
        QuotaExceededError
            The allowance of calls or of sound is used up. Nothing is counted then.
        """
        now = self._now()
        self._read_if_old(user_id, now)
        ends_after_s = _ends_after_s(now)
        with self._lock:
            count = self._counts[user_id]
            if plan.calls_per_month is not None and count.n_calls + n_calls > plan.calls_per_month:
                n_left = max(0, plan.calls_per_month - count.n_calls)
                raise QuotaExceededError(plan_name, f"{plan.calls_per_month:,} calls", ends_after_s, n_left=n_left)
            if plan.audio_s_per_month is not None and count.audio_s >= plan.audio_s_per_month:
                raise QuotaExceededError(plan_name, f"{plan.audio_s_per_month:,.0f} seconds of sound", ends_after_s)
            count.n_calls += n_calls
            return _standing(count.n_calls, plan, now)

    def require_sound(self, user_id: UUID, plan: Plan, plan_name: str, *, audio_s: float) -> None:
        """See that `audio_s` more seconds, heard and not counted yet, are within the allowance. Nothing is counted.

        Raises
        ------
        QuotaExceededError
            They are not.
        """
        if plan.audio_s_per_month is not None and self.used(user_id).audio_s + audio_s >= plan.audio_s_per_month:
            ends_after_s = _ends_after_s(self._now())
            raise QuotaExceededError(plan_name, f"{plan.audio_s_per_month:,.0f} seconds of sound", ends_after_s)

    def standing(self, user_id: UUID, plan: Plan) -> QuotaStanding | None:
        """How many of the month's calls are left, or None without end. Nothing is counted."""
        return _standing(self.used(user_id).n_calls, plan, self._now())

    def give_back(self, user_id: UUID, *, n_calls: int = 1) -> None:
        """Take back calls that were counted and then refused, or failed."""
        with self._lock:
            count = self._counts.get(user_id)
            if count is not None:
                count.n_calls = max(0, count.n_calls - n_calls)

    def add_audio(self, user_id: UUID, audio_s: float) -> None:
        """Count sound that was judged."""
        with self._lock:
            count = self._counts.get(user_id)
            if count is not None:
                count.audio_s += audio_s

    def _read_if_old(self, user_id: UUID, now: datetime) -> None:
        start = month_of(now)[0]
        with self._lock:
            if self._fresh(user_id, now) is not None:
                return
            known = self._counts.get(user_id)
            if known is not None and known.month_start == start:
                known.read_at = now  # whoever comes while this one reads goes by what is known
        used = self.used_this_month(user_id, start)
        with self._lock:
            known = self._counts.get(user_id)
            if known is None or known.month_start != start:
                self._counts[user_id] = _Count(start, used.n_calls, used.audio_s, now)
            else:
                # The ledger is written a little later than calls are counted here: the larger figure knows more.
                known.n_calls = max(known.n_calls, used.n_calls)
                known.audio_s = max(known.audio_s, used.audio_s)
            self._counts.move_to_end(user_id)
            while len(self._counts) > MAX_USERS:
                self._counts.popitem(last=False)

    def _fresh(self, user_id: UUID, now: datetime) -> _Count | None:
        count = self._counts.get(user_id)
        if count is None or count.month_start != month_of(now)[0]:
            return None
        return count if (now - count.read_at).total_seconds() < READ_AGAIN_S else None


def _ends_after_s(now: datetime) -> int:
    return max(1, math.ceil((month_of(now)[1] - now).total_seconds()))


def _standing(n_calls: int, plan: Plan, now: datetime) -> QuotaStanding | None:
    if plan.calls_per_month is None:
        return None
    start, end = month_of(now)
    return QuotaStanding(
        allowed=plan.calls_per_month,
        remaining=max(0, plan.calls_per_month - n_calls),
        month_s=int((end - start).total_seconds()),
        ends_after_s=_ends_after_s(now),
    )
