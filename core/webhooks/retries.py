"""When a message that was not taken is sent again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MINUTE_S, HOUR_S = 60.0, 3600.0
WAITS_S = (
    5.0,
    5 * MINUTE_S,
    30 * MINUTE_S,
    *(hours * HOUR_S for hours in (2, 5, 10, 14, 20, 24)),
)
"""Before the second to the tenth attempt; the specification's own schedule, three days and some hours together."""
JITTER_SHARE = 0.2
"""How much longer a wait may get: messages that failed together shall not come back together."""
MAX_RETRY_AFTER_S = 24 * HOUR_S
"""Who asks for a longer pause is asked again after this."""


def wait_s(
    n_attempts: int,
    *,
    retry_after_s: float | None = None,
    chance: Callable[[], float] = random.random,
) -> float | None:
    """Seconds from the failed attempt number `n_attempts` to the next; None when there is none.

    `retry_after_s` is what the receiver asked for: it lengthens the wait and never shortens it.

    >>> [wait_s(n, chance=lambda: 0.0) for n in (1, 2, 9, 10)]
    [5.0, 300.0, 86400.0, None]
    >>> wait_s(1, retry_after_s=120, chance=lambda: 0.0)
    120.0
    """
    if n_attempts > len(WAITS_S):
        return None
    wanted_s = max(WAITS_S[n_attempts - 1], min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
    return wanted_s * (1 + JITTER_SHARE * chance())


def seconds_of(retry_after: str | None, *, now: datetime) -> float | None:
    """What a header `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a time; None when it says nothing.

    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> [seconds_of(text, now=noon) for text in ("120", "Sun, 01 Mar 2026 12:00:30 GMT", "soon", None)]
    [120.0, 30.0, None, None]
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())
