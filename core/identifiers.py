"""Identifiers that sort by the time they were made: UUID version 7 of RFC 9562, section 5.7."""

from __future__ import annotations

import secrets
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last_ticks = 0


def new_id() -> UUID:
    """A new UUIDv7, greater than every one this process made before.

    48 bits of Unix milliseconds, then 12 bits of the fraction of the millisecond (RFC 9562, section 6.2, method 3),
    then 62 random bits. When the clock stands still or steps back, the last value is counted up instead.
    """
    global _last_ticks
    with _lock:
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        _last_ticks = ticks = max(_last_ticks + 1, milliseconds << 12 | (nanoseconds << 12) // 1_000_000)
    version, variant = 0x7, 0b10
    high = ticks >> 12 << 16 | version << 12 | ticks & 0xFFF
    return UUID(int=high << 64 | variant << 62 | secrets.randbits(62))
