"""Limits that processes share: a real Redis, real processes, and what happens when it is killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import pytest

from core.access.guards import SignInGuard
from core.access.limits import Call, CallLimits
from core.access.windows import REDIS_AGAIN_S, Window, Windows, items_of
from core.config import REPOSITORY, Settings
from core.errors import RateLimitedError
from core.plans import default_plans
from tests.redis_server import running_redis

USER = UUID(int=1)
PLAN = replace(default_plans()["free"], limits="20 per hour; 1000 per day", max_concurrent=1000)
CALL = Call(address="198.51.100.7", user_id=USER, plan=PLAN, plan_name="free")


@pytest.fixture
def limits(redis_server, tmp_path):
    opened = CallLimits.open(Settings(data_dir=tmp_path, redis_url=redis_server.url))
    yield opened
    opened.close()


@pytest.fixture
def own_redis(redis_server):
    """A Redis of this test's own, to be killed."""
    with running_redis() as server:
        yield server


class Seconds:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def is_let_in(limits: CallLimits, call: Call = CALL) -> bool:
    try:
        with limits.admit_now(call):
            return True
    except RateLimitedError:
        return False


CALLER = """
import sys
from uuid import UUID
from core.access.limits import Call, CallLimits
from core.config import Settings
from core.errors import RateLimitedError
from dataclasses import replace
from core.plans import default_plans
plan = replace(default_plans()["free"], limits="20 per hour; 1000 per day", max_concurrent=1000)
limits = CallLimits.open(Settings(redis_url=sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
n_let_in = 0
for _ in range(50):
    try:
        with limits.admit_now(Call(address="198.51.100.7", user_id=UUID(int=1), plan=plan, plan_name="free")):
            n_let_in += 1
    except RateLimitedError:
        pass
print(n_let_in, flush=True)
limits.close()
"""


def test_two_processes_share_a_limit(redis_server, limits):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, redis_server.url],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    let_in = [int(child.communicate(timeout=120)[0]) for child in children]
    assert sum(let_in) == 20
    with pytest.raises(RateLimitedError) as refused:
        limits.admit_now(CALL).__enter__()
    assert 3500 < refused.value.retry_after_s <= 3600
    assert '"user-hour";r=0' in refused.value.headers["RateLimit"]


def test_50_event_loop_calls_at_once_get_exactly_the_limit(limits):
    async def ask() -> bool:
        try:
            async with limits.admit(CALL):
                return True
        except RateLimitedError:
            return False

    async def scenario() -> list[bool]:
        return await asyncio.gather(*(ask() for _ in range(50)))

    assert sum(asyncio.run(scenario())) == 20
    assert not is_let_in(limits)


def test_no_window_lets_too_many_through_when_processes_race(redis_server):
    processes = [Windows.open(redis_server.url) for _ in range(2)]
    both = [Window(item, "user", "ada") for item in items_of("20 per hour; 1000 per day")]
    ready = threading.Barrier(50)

    def take(number: int) -> bool:
        ready.wait(timeout=60)
        return processes[number % 2].take(both)[0]

    with ThreadPoolExecutor(50) as pool:
        taken = list(pool.map(take, range(50)))
    assert sum(taken) == 20
    hour, day = processes[0].look(both)
    assert hour.remaining == 0
    assert day.remaining == 980  # the fuller window refused first: no loser was counted
    for process in processes:
        process.close()


def test_calls_that_are_refused_leave_nothing_in_redis(limits, redis_server):
    for _ in range(30):
        is_let_in(limits)
    windows = Windows.open(redis_server.url)
    hour, day = windows.look([Window(item, "user", USER.hex) for item in items_of(PLAN.limits)])
    assert (hour.remaining, day.remaining) == (0, 980)
    windows.close()


def test_failures_to_sign_in_are_shared_and_no_address_stands_in_redis(redis_server):
    settings = Settings(sign_in_attempts_per_account=3)
    first, second = (Windows.open(redis_server.url) for _ in range(2))
    for windows in (first, second, first):
        SignInGuard(windows, settings).count_failure("ada@example.org", "198.51.100.7")
    with pytest.raises(RateLimitedError):
        SignInGuard(second, settings).check("ada@example.org", "203.0.113.1")
    assert not [key for key in redis_server.key_names() if "ada" in key or "example" in key]
    SignInGuard(second, settings).forget("ada@example.org")
    SignInGuard(first, settings).check("ada@example.org", "203.0.113.1")
    first.close()
    second.close()


def test_killed_redis_leaves_the_limits_of_each_process(own_redis):
    seconds = Seconds()
    windows = Windows.open(own_redis.url, monotonic=seconds)
    limits = CallLimits(windows, address_limits="1000 per day")
    assert [is_let_in(limits) for _ in range(21)] == [True] * 20 + [False]
    own_redis.kill()
    assert [is_let_in(limits) for _ in range(21)] == [True] * 20 + [False]  # from zero, in memory
    seconds.now_s += REDIS_AGAIN_S
    assert not is_let_in(limits)  # asked again, in vain
    own_redis.start()
    assert not is_let_in(limits)  # not asked again yet
    seconds.now_s += REDIS_AGAIN_S
    assert [is_let_in(limits) for _ in range(21)] == [True] * 20 + [False]  # empty after its restart
    assert own_redis.key_names()
    limits.close()


def test_redis_that_restarts_between_two_calls_is_not_missed(own_redis):
    limits = CallLimits.open(Settings(redis_url=own_redis.url))
    assert is_let_in(limits)
    own_redis.kill()
    own_redis.start()
    assert is_let_in(limits)
    assert own_redis.key_names()
    limits.close()


def test_workbench_starts_while_redis_is_away():
    limits = CallLimits.open(Settings(redis_url="redis://127.0.0.1:1/0"))
    assert [is_let_in(limits) for _ in range(21)] == [True] * 20 + [False]
    limits.close()


def test_redis_that_hangs_is_given_up(own_redis):
    """A stopped process keeps its connections: only a timeout tells."""
    limits = CallLimits.open(Settings(redis_url=own_redis.url))
    assert is_let_in(limits)
    own_redis.pause()
    assert [is_let_in(limits) for _ in range(21)] == [True] * 20 + [False]
    limits.close()
