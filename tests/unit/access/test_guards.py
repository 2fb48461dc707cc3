"""Guessing passwords and keys: slow, by account and by address, and the same for accounts that do not exist."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.access.guards import KeyGuard, SignInGuard
from core.access.windows import Windows
from core.config import Settings
from core.errors import InvalidCredentialsError, RateLimitedError
from tests.clocks import Clock

SETTINGS = Settings(sign_in_attempts_per_account=3, sign_in_attempts_per_address=5)
HOME, ELSEWHERE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def windows(clock):
    return Windows(clock=clock)


@pytest.fixture
def guard(windows):
    return SignInGuard(windows, SETTINGS)


def fail(guard: SignInGuard, email: str, address: str) -> None:
    with pytest.raises(InvalidCredentialsError), guard.attempt(email, address):
        raise InvalidCredentialsError


def test_account_waits_after_so_many_failures_from_wherever(guard, clock):
    for address in (HOME, ELSEWHERE, "192.0.2.1"):
        fail(guard, "ada@example.org", address)
        clock.pass_s(60)
    with pytest.raises(RateLimitedError, match="More than 3 attempts at one account within 15 minutes") as refused:
        guard.check("ada@example.org", "192.0.2.2")
    assert refused.value.retry_after_s == 12 * 60
    clock.pass_s(12 * 60)
    guard.check("ada@example.org", "192.0.2.2")


def test_one_account_has_many_spellings(guard):
    for email in ("ada@example.org", " Ada@Example.ORG ", "ADA@example.org"):
        fail(guard, email, HOME)
    with pytest.raises(RateLimitedError):
        guard.check("ada@example.org", HOME)


def test_address_waits_whichever_accounts_it_tried(guard):
    for number in range(5):
        fail(guard, f"nobody{number}@example.org", HOME)
    with pytest.raises(RateLimitedError, match="5 attempts from one network address"):
        guard.check("ada@example.org", HOME)
    guard.check("ada@example.org", ELSEWHERE)


def test_success_forgets_the_accounts_failures_but_not_the_addresses(guard):
    for _ in range(2):
        fail(guard, "ada@example.org", HOME)
        fail(guard, "bob@example.org", HOME)
    with guard.attempt("ada@example.org", HOME):
        pass
    for _ in range(2):
        fail(guard, "ada@example.org", ELSEWHERE)
    guard.check("ada@example.org", ELSEWHERE)
    fail(guard, "carl@example.org", HOME)
    with pytest.raises(RateLimitedError, match="network address"):
        guard.check("dora@example.org", HOME)


def test_other_errors_are_no_guesses(guard):
    for _ in range(10):
        with pytest.raises(OSError, match="disk"), guard.attempt("ada@example.org", HOME):
            raise OSError("disk")
    guard.check("ada@example.org", HOME)
    assert not guard._under_way


def test_attempts_at_once_get_no_more_guesses_than_one_after_the_other(guard):
    ready, guesses = threading.Barrier(20), []
    all_asked = threading.Barrier(20)

    def guess() -> None:
        ready.wait(timeout=60)
        try:
            with guard.attempt("ada@example.org", HOME):
                guesses.append("guess")
                all_asked.wait(timeout=60)
                raise InvalidCredentialsError
        except RateLimitedError:
            all_asked.wait(timeout=60)
        except InvalidCredentialsError:
            pass

    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(guess) for _ in range(20)]:
            done.result()
    assert len(guesses) == 3
    with pytest.raises(RateLimitedError):
        guard.check("ada@example.org", HOME)


def test_wrong_keys_and_wrong_passwords_of_one_address_count_together(windows, guard):
    keys = KeyGuard(windows, SETTINGS)
    for _ in range(3):
        keys.count_failure(HOME)
    for _ in range(2):
        fail(guard, "ada@example.org", HOME)
    with pytest.raises(RateLimitedError, match="network address"):
        keys.check(HOME)
    with pytest.raises(RateLimitedError, match="network address"):
        guard.check("bob@example.org", HOME)
    keys.check(ELSEWHERE)


def test_key_guesser_cannot_change_addresses_within_an_ipv6_network(windows):
    keys = KeyGuard(windows, SETTINGS)
    for number in range(5):
        keys.count_failure(f"2001:db8:1:2::{number:x}")
    with pytest.raises(RateLimitedError):
        keys.check("2001:db8:1:2:dead:beef:0:1")


def test_failures_at_a_full_account_still_count_for_the_address(guard):
    for _ in range(3):
        guard.count_failure("ada@example.org", HOME)
    for _ in range(2):
        guard.count_failure("ada@example.org", HOME)
    with pytest.raises(RateLimitedError, match="network address"):
        guard.check("bob@example.org", HOME)
