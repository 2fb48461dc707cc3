"""How long it takes to find out who asks, on SQLite: `python -m benchmarks.access`."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from core.access.access import Access
from core.config import Settings
from core.domain import Role, Scope

N_USERS, N_CALLS = 500, 2000


def median_and_p99_ms(call: Callable[[], object]) -> tuple[float, float]:
    times_ms = []
    for _ in range(N_CALLS):
        started_s = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - started_s) * 1e3)
    return statistics.median(times_ms), statistics.quantiles(times_ms, n=100)[98]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        access = Access.open(Settings(data_dir=Path(folder)))
        for number in range(N_USERS):
            user = access.create_user(f"user{number}@example.org", "User", Role.ANALYST, by=None)
            _, key = access.create_key(user.id, "benchmark", frozenset({Scope.READ}), by=None)
            session = access.start_session(user, address="", user_agent="")
        calls: dict[str, Callable[[], object]] = {
            "an API key": lambda: access.caller_of_key(key),
            "a token": lambda: access.caller_of_token(session.access_token),
            "a page's cookies": lambda: access.caller_of_page(session.access_token, session.refresh_token),
        }
        print(f"{N_USERS} accounts with a key and a session each, {N_CALLS} calls, median and 99th percentile:")
        for name, call in calls.items():
            median_ms, p99_ms = median_and_p99_ms(call)
            print(f"{name:>18}: {median_ms:.2f} ms, {p99_ms:.2f} ms")
        access.close()


if __name__ == "__main__":
    main()
