"""What one admission costs: `python -m benchmarks.limits`. In memory, and in a Redis where `redis-server` is installed.

A call of a key counts in the eight windows of its plan and address (free: three by key, three by user, two by address),
and in the month's quota.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace
from uuid import UUID

from core.access.limits import Call, CallLimits
from core.access.windows import MAX_WINDOWS, Windows
from core.plans import default_plans
from tests.redis_server import RedisMissingError, running_redis

N_CALLS = 500
N_AT_ONCE = 50
PLAN = replace(
    default_plans()["free"],
    limits="100000 per second; 100000 per minute; 5000 per day",
    calls_per_month=None,
    audio_s_per_month=None,
    max_concurrent=1000,
)
ADDRESS_LIMITS = "100000 per minute; 100000 per day"


def call(number: int) -> Call:
    return Call(
        address=f"198.51.{number // 200 % 200}.{number % 200}",
        user_id=UUID(int=number),
        key_id=UUID(int=number),
        plan=PLAN,
        plan_name="free",
        costs_inference=True,
    )


def measure(name: str, limits: CallLimits) -> None:
    asked = call(0)
    durations_us, began_s = [], time.process_time()
    for _ in range(N_CALLS):
        started = time.perf_counter()
        with limits.admit_now(asked):
            pass
        durations_us.append((time.perf_counter() - started) * 1e6)
    processor_us = (time.process_time() - began_s) * 1e6 / N_CALLS
    one_us, many_us = asyncio.run(_on_a_loop(limits))
    p50, p99 = statistics.median(durations_us), statistics.quantiles(durations_us, n=100)[98]
    print(
        f"{name:32} thread: median {p50:6.0f} us, p99 {p99:6.0f} us, processor {processor_us:5.0f} us   "
        f"event loop: median {one_us:6.0f} us, {N_AT_ONCE} at once {many_us:6.0f} us each"
    )


async def _on_a_loop(limits: CallLimits) -> tuple[float, float]:
    """Microseconds of an admission by itself, and of each when many are asked for at once."""

    async def admit(number: int) -> None:
        async with limits.admit(call(number)):
            pass

    durations_us = []
    for _ in range(N_CALLS):
        started = time.perf_counter()
        await admit(1)
        durations_us.append((time.perf_counter() - started) * 1e6)
    started = time.perf_counter()
    for _ in range(10):
        await asyncio.gather(*(admit(number) for number in range(N_AT_ONCE)))
    return statistics.median(durations_us), (time.perf_counter() - started) * 1e6 / (10 * N_AT_ONCE)


def main() -> None:
    limits = CallLimits(Windows(), address_limits=ADDRESS_LIMITS)
    measure("memory", limits)
    for number in range(MAX_WINDOWS // 6):
        with limits.admit_now(call(number)):
            pass
    measure(f"memory, {MAX_WINDOWS // 6:,} other callers", limits)
    limits.close()
    try:
        with running_redis() as server:
            limits = CallLimits(Windows.open(server.url), address_limits=ADDRESS_LIMITS)
            measure("Redis on this machine", limits)
            limits.close()
    except RedisMissingError as missing:
        print(missing)


if __name__ == "__main__":
    main()
