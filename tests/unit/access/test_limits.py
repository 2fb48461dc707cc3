"""Admissions: who waits, for how long, what it costs, and what the answer's headers say."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.access.limits import Call, CallLimits
from core.access.quotas import READ_AGAIN_S, month_of
from core.access.windows import Windows
from core.config import Settings
from core.domain import MonthUsage
from core.errors import QuotaExceededError, RateLimitedError
from core.identifiers import new_id
from core.plans import default_plans
from tests.clocks import Clock

PLAN = replace(
    default_plans()["free"],
    limits="3 per second; 10 per minute",
    calls_per_month=100,
    audio_s_per_month=60.0,
    max_concurrent=2,
)
ENDLESS = replace(PLAN, calls_per_month=None, audio_s_per_month=None, limits="1000000 per day", max_concurrent=1000)


def call(**changes) -> Call:
    return Call(**({"address": "198.51.100.7", "user_id": new_id(), "plan": PLAN, "plan_name": "free"} | changes))


class Ledger:
    """What a usage ledger would say, and how often it was asked."""

    def __init__(self, n_calls: int = 0, audio_s: float = 0.0) -> None:
        self.usage = MonthUsage(n_calls=n_calls, audio_s=audio_s)
        self.asked: list[datetime] = []

    def __call__(self, _user_id, month_start) -> MonthUsage:
        self.asked.append(month_start)
        return self.usage


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def limits(clock, ledger):
    opened = CallLimits(Windows(clock=clock), address_limits="20 per minute", used_this_month=ledger, now=clock.now)
    yield opened
    opened.close()


def answers(limits: CallLimits, asked: Call, n_calls: int) -> list[str]:
    """`n_calls` one after the other: `let in`, or the code of the refusal."""
    found = []
    for _ in range(n_calls):
        try:
            with limits.admit_now(asked):
                found.append("let in")
        except (RateLimitedError, QuotaExceededError) as error:
            found.append(error.code)
    return found


def test_burst_is_refused_with_a_sentence_and_the_time_to_wait(limits, clock):
    asked = call()
    assert answers(limits, asked, 3) == ["let in"] * 3
    with pytest.raises(RateLimitedError, match=r"^More than 3 calls per second by one account\. Try again in 1 s\.$"):
        limits.admit_now(asked).__enter__()
    clock.pass_s(1)
    assert answers(limits, asked, 1) == ["let in"]


def test_longest_wait_counts_when_several_windows_are_full(limits, clock):
    asked = call()
    for _ in range(3):
        answers(limits, asked, 3)
        clock.pass_s(2)
    answers(limits, asked, 3)
    with pytest.raises(RateLimitedError) as refused:
        limits.admit_now(asked).__enter__()
    assert refused.value.retry_after_s == 54
    assert refused.value.limit == "10 calls per minute by one account"


def test_one_key_is_limited_and_so_are_all_keys_of_a_user_together(limits):
    user_id, first, second = new_id(), new_id(), new_id()
    assert answers(limits, call(user_id=user_id, key_id=first), 2) == ["let in"] * 2
    assert answers(limits, call(user_id=user_id, key_id=second), 2) == ["let in", "rate_limited"]
    with pytest.raises(RateLimitedError, match="by one account"):
        limits.admit_now(call(user_id=user_id, key_id=second)).__enter__()


def test_one_address_is_limited_whoever_calls_from_it(limits):
    found = [answers(limits, call(), 1)[0] for _ in range(21)]
    assert found == ["let in"] * 20 + ["rate_limited"]
    assert answers(limits, call(address="198.51.100.8"), 1) == ["let in"]


def test_ipv6_callers_cannot_change_addresses_within_their_network(limits):
    found = [answers(limits, call(address=f"2001:db8:1:2::{number:x}"), 1)[0] for number in range(21)]
    assert found[-1] == "rate_limited"


def test_call_that_the_address_refuses_costs_its_user_nothing(limits, ledger):
    asked = call(costs_inference=True)
    for _ in range(20):
        answers(limits, call(), 1)
    assert answers(limits, asked, 5) == ["rate_limited"] * 5
    assert limits.used(asked.user_id).n_calls == 0
    assert answers(limits, replace(asked, address="203.0.113.1"), 3) == ["let in"] * 3


def test_nobody_in_particular_is_limited_by_address_only(limits):
    anybody = Call(address="198.51.100.7")
    assert answers(limits, anybody, 21) == ["let in"] * 20 + ["rate_limited"]


def test_headers_name_every_window_and_what_is_left(limits):
    with limits.admit_now(call(key_id=new_id(), costs_inference=True)) as admission:
        assert admission.headers == {
            "RateLimit-Policy": '"key-second";q=3;w=1, "key-minute";q=10;w=60, "user-second";q=3;w=1, '
            '"user-minute";q=10;w=60, "address-minute";q=20;w=60, "month";q=100;w=2678400',
            "RateLimit": '"key-second";r=2;t=1, "key-minute";r=9;t=60, "user-second";r=2;t=1, '
            '"user-minute";r=9;t=60, "address-minute";r=19;t=60, "month";r=99;t=1425600',
        }


STRUCTURED_ITEM = re.compile(r'"[\x20-\x21\x23-\x5b\x5d-\x7e]*"(;[a-z*][a-z0-9_.*-]*=-?[0-9]{1,15})+')
"""A String with integer parameters (RFC 9651, sections 3.1.2, 3.3.1 and 3.3.3)."""


def test_headers_are_lists_of_structured_fields_with_and_without_a_refusal(limits):
    asked, seen = call(costs_inference=True), []
    for _ in range(5):
        try:
            with limits.admit_now(asked) as admission:
                seen.append(admission.headers)
        except RateLimitedError as error:
            seen.append(error.headers)
    assert len(seen) == 5
    for headers in seen:
        for value in headers.values():
            items = value.split(", ")
            assert all(STRUCTURED_ITEM.fullmatch(item) for item in items)
        names = [[item.partition(";")[0] for item in value.split(", ")] for value in headers.values()]
        assert names[0] == names[1]
    assert '"user-second";r=0;t=1' in seen[-1]["RateLimit"]
    assert '"user-minute";r=7' in seen[-1]["RateLimit"]
    assert '"month";r=97' in seen[-1]["RateLimit"]


def test_month_is_refused_when_its_calls_are_used_up_and_begins_anew(limits, ledger, clock):
    ledger.usage = MonthUsage(n_calls=99, audio_s=0.0)
    asked = call(costs_inference=True)
    assert answers(limits, asked, 2) == ["let in", "quota_exceeded"]
    with pytest.raises(QuotaExceededError, match="The plan 'free' allows 100 calls a month") as refused:
        limits.admit_now(asked).__enter__()
    assert refused.value.retry_after_s == (datetime(2026, 4, 1, tzinfo=UTC) - clock.now()).total_seconds()
    assert '"month";r=0;t=1425600' in refused.value.headers["RateLimit"]
    ledger.usage = MonthUsage(n_calls=0, audio_s=0.0)
    clock.pass_s(refused.value.retry_after_s)
    assert answers(limits, asked, 1) == ["let in"]
    assert ledger.asked[-1] == datetime(2026, 4, 1, tzinfo=UTC)


def test_call_refused_by_the_quota_takes_no_window(limits, ledger):
    ledger.usage = MonthUsage(n_calls=100, audio_s=0.0)
    asked = call(costs_inference=True)
    assert answers(limits, asked, 30) == ["quota_exceeded"] * 30
    assert answers(limits, replace(asked, costs_inference=False), 1) == ["let in"]


def test_sound_is_counted_when_its_length_is_known(limits, ledger):
    asked = call(costs_inference=True)
    with limits.admit_now(asked):
        limits.add_audio(asked.user_id, 59.0)
    with limits.admit_now(asked):
        limits.add_audio(asked.user_id, 59.0)
    with pytest.raises(QuotaExceededError, match="60 seconds of sound"):
        limits.admit_now(asked).__enter__()
    assert limits.used(asked.user_id) == MonthUsage(n_calls=2, audio_s=118.0)


@pytest.mark.parametrize("plan", [replace(PLAN, calls_per_month=0), replace(PLAN, audio_s_per_month=0.0)])
def test_quota_of_nothing_allows_nothing_that_costs_inference(limits, plan):
    assert answers(limits, call(plan=plan, costs_inference=True), 1) == ["quota_exceeded"]
    assert answers(limits, call(plan=plan), 1) == ["let in"]


def test_plan_without_end_has_no_month_in_its_headers(limits):
    with limits.admit_now(call(plan=ENDLESS, costs_inference=True)) as admission:
        assert "month" not in admission.headers["RateLimit"]


def test_calls_that_read_cost_no_quota(limits):
    asked = call()
    answers(limits, asked, 3)
    assert limits.used(asked.user_id).n_calls == 0


def test_call_that_fails_costs_no_quota(limits):
    asked = call(costs_inference=True)
    with pytest.raises(ValueError, match="not audio"), limits.admit_now(asked):
        raise ValueError("not audio")
    assert limits.used(asked.user_id).n_calls == 0


def test_ledger_is_asked_once_in_a_while_and_never_makes_a_count_smaller(limits, ledger, clock):
    asked = call(costs_inference=True)
    answers(limits, asked, 2)
    assert len(ledger.asked) == 1
    clock.pass_s(READ_AGAIN_S)
    ledger.usage = MonthUsage(n_calls=1, audio_s=2.0)  # written a little later than counted
    assert limits.used(asked.user_id) == MonthUsage(n_calls=2, audio_s=2.0)
    clock.pass_s(READ_AGAIN_S)
    ledger.usage = MonthUsage(n_calls=60, audio_s=2.0)  # another process answered many
    assert limits.used(asked.user_id).n_calls == 60
    assert len(ledger.asked) == 3


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        (datetime(2026, 1, 31, 23, 59, tzinfo=UTC), (2026, 1), (2026, 2)),
        (datetime(2026, 12, 1, tzinfo=UTC), (2026, 12), (2027, 1)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), (2028, 2), (2028, 3)),
    ],
)
def test_month_begins_and_ends_in_utc(moment, start, end):
    assert month_of(moment) == (datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


def test_calls_of_one_key_at_a_time_are_capped_and_other_keys_go_on(limits):
    user_id, first, second = new_id(), new_id(), new_id()
    busy = call(user_id=user_id, key_id=first)
    with limits.admit_now(busy), limits.admit_now(busy):
        with pytest.raises(RateLimitedError, match=r"More than 2 calls with one key at a time\. Try again in 1 s"):
            limits.admit_now(busy).__enter__()
        assert answers(limits, call(user_id=user_id, key_id=second), 1) == ["let in"]
    assert not limits._seats


def test_seat_is_free_again_after_every_kind_of_end(limits, ledger):
    asked = call(costs_inference=True, plan=replace(PLAN, max_concurrent=1))
    with pytest.raises(RuntimeError), limits.admit_now(asked):
        raise RuntimeError
    answers(limits, asked, 3)
    ledger.usage = MonthUsage(n_calls=1000, audio_s=0.0)
    answers(limits, asked, 2)
    assert not limits._seats


def test_event_loop_is_admitted_like_a_thread_and_shares_its_counts(limits):
    asked = call(costs_inference=True)

    async def ask() -> str:
        try:
            async with limits.admit(asked) as admission:
                return admission.headers["RateLimit"].split(", ")[0]
        except RateLimitedError as error:
            return error.code

    assert [asyncio.run(ask()) for _ in range(2)] == ['"user-second";r=2;t=1', '"user-second";r=1;t=1']
    assert answers(limits, asked, 2) == ["let in", "rate_limited"]
    assert asyncio.run(ask()) == "rate_limited"


def test_50_calls_at_once_get_exactly_the_limit_and_pay_for_no_more(ledger):
    limits = CallLimits(Windows(), address_limits="1000 per day", used_this_month=ledger)
    plan = replace(ENDLESS, limits="20 per hour; 500 per day", calls_per_month=1000)
    asked = call(plan=plan, costs_inference=True)

    async def ask() -> bool:
        try:
            async with limits.admit(asked):
                await asyncio.sleep(0)
                return True
        except RateLimitedError:
            return False

    async def scenario() -> list[bool]:
        return await asyncio.gather(*(ask() for _ in range(50)))

    assert sum(asyncio.run(scenario())) == 20
    assert limits.used(asked.user_id).n_calls == 20
    limits.close()


def test_last_call_of_a_month_is_given_to_one_of_many(ledger):
    limits = CallLimits(Windows(), address_limits="1000 per day", used_this_month=ledger)
    ledger.usage = MonthUsage(n_calls=99, audio_s=0.0)
    asked = call(plan=replace(ENDLESS, calls_per_month=100), costs_inference=True)
    found, ready = [], threading.Barrier(16)

    def ask() -> None:
        ready.wait(timeout=60)
        found.extend(answers(limits, asked, 1))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["let in"] + ["quota_exceeded"] * 15
    limits.close()


def test_slow_ledger_does_not_hold_the_event_loop(ledger):
    release, asked_for = threading.Event(), threading.Event()

    def slow(_user_id, _month_start) -> MonthUsage:
        asked_for.set()
        assert release.wait(timeout=60)
        return MonthUsage(n_calls=0, audio_s=0.0)

    limits = CallLimits(Windows(), address_limits="1000 per day", used_this_month=slow)

    async def ask() -> None:
        async with limits.admit(call(costs_inference=True)):
            pass

    async def scenario() -> None:
        waiting = asyncio.create_task(ask())
        while not asked_for.is_set():
            await asyncio.sleep(0)
        async with limits.admit(call()):  # meanwhile
            assert not waiting.done()
        release.set()
        await waiting

    asyncio.run(scenario())
    limits.close()


def test_caller_who_leaves_while_the_ledger_is_asked_pays_nothing_and_holds_no_seat():
    release, asked_for = threading.Event(), threading.Event()

    def slow(_user_id, _month_start) -> MonthUsage:
        asked_for.set()
        assert release.wait(timeout=60)
        return MonthUsage(n_calls=0, audio_s=0.0)

    limits = CallLimits(Windows(), address_limits="1000 per day", used_this_month=slow)
    asked = call(costs_inference=True)

    async def ask() -> None:
        async with limits.admit(asked):
            raise AssertionError("was let in")

    async def scenario() -> None:
        waiting = asyncio.create_task(ask())
        while not asked_for.is_set():
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()
        while limits._quotas._counts.get(asked.user_id) is None or limits.used(asked.user_id).n_calls:
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert not limits._seats
    limits.close()


def test_settings_give_limits_in_memory(tmp_path):
    limits = CallLimits.open(Settings(data_dir=tmp_path, address_limits="1 per minute"))
    assert answers(limits, Call(address="198.51.100.7"), 2) == ["let in", "rate_limited"]
    limits.close()
