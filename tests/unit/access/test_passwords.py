"""Passwords: which are good enough, and what is kept of them."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from core.access import passwords
from core.errors import WeakPasswordError

GOOD = "a quiet walk at dusk"


@pytest.fixture
def cheap(monkeypatch):
    """Parameters that take a millisecond."""
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "HASHER", hasher)
    passwords._hash_of_nobody.cache_clear()
    yield hasher
    passwords._hash_of_nobody.cache_clear()


@pytest.mark.parametrize(
    "password", [GOOD, "Zr4!kPq9#mTx", "drei Kamele, zwei Monde", "ножницы и бумага", "correct-mule-battery-lamp"]
)
def test_password_that_others_cannot_guess_is_taken(password):
    passwords.require_strong(password, email="ada@example.org", name="Ada Lovelace")


@pytest.mark.parametrize(
    ("password", "what"),
    [
        ("short phrase"[:11], "has 11 characters"),
        ("x" * 5 + "y" * 400, "256 are the most"),
        ("903417556120", "digits only"),
        ("abababababab", "different characters"),
        ("ada@example.org", "your name or address"),
        ("ADA@Example.org!!2026", "your name or address"),
        ("lovelace-ada-1815", "your name or address"),
        ("password1234", "guessed first"),
        ("PassWord-PassWord", "guessed first"),
        ("qwertyuiop12", "guessed first"),
        ("1q2w3e4r5t6y7u", "guessed first"),
        ("telepathy2026!", "guessed first"),
        ("correct horse battery staple", "guessed first"),
        ("letmein-letmein-1", "guessed first"),
    ],
)
def test_password_that_others_can_guess_is_refused_with_the_reason(password, what):
    with pytest.raises(WeakPasswordError, match=what):
        passwords.require_strong(password, email="ada@example.org", name="Ada Lovelace")


def test_length_is_counted_after_unicode_is_composed():
    decomposed = "e\u0301" * 6 + "abcde"  # 17 code points, 11 characters
    with pytest.raises(WeakPasswordError, match="has 11 characters"):
        passwords.require_strong(decomposed, email="ada@example.org")


def test_hash_is_argon2id_with_the_parameters_of_rfc_9106():
    kept = passwords.hash_password(GOOD)
    parameters = extract_parameters(kept)
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (64 * 1024, 3, 4)
    assert passwords.is_password(GOOD, kept)


def test_the_right_password_fits_and_no_other(cheap):
    kept = passwords.hash_password(GOOD)
    assert GOOD not in kept
    assert passwords.hash_password(GOOD) != kept
    assert passwords.is_password(GOOD, kept)
    assert not passwords.is_password(GOOD + " ", kept)
    assert not passwords.is_password(GOOD.upper(), kept)
    assert not passwords.is_password("", kept)


def test_one_password_typed_on_two_keyboards_is_one(cheap):
    kept = passwords.hash_password("caf\u00e9 au lait \ufb01n")
    assert passwords.is_password("cafe\u0301 au lait fin", kept)


def test_lone_surrogates_and_nul_are_wrong_passwords_and_no_crash(cheap):
    kept = passwords.hash_password(GOOD)
    for strange in ("\udc80" * 12, "\0" * 12, "x" * 100_000):
        assert not passwords.is_password(strange, kept)


def test_what_lies_beyond_the_longest_password_is_not_ignored(cheap):
    longest = GOOD + "x" * (passwords.MAX_LENGTH - len(GOOD))
    kept = passwords.hash_password(longest)
    assert passwords.is_password(longest, kept)
    assert not passwords.is_password(longest + "y", kept)


@pytest.mark.parametrize("damaged", ["", "plain", "$argon2id$v=19$m=64,t=1,p=1$x"])
def test_hash_that_cannot_be_read_fits_no_password(cheap, damaged):
    assert not passwords.is_password(GOOD, damaged)


def test_unknown_account_costs_one_hash_like_a_known_one(cheap, monkeypatch):
    kept = passwords.hash_password(GOOD)
    passwords.prepare_for_strangers()
    verified, made = [], []

    class Counting:
        """Says how often it was asked."""

        def verify(self, kept, password):
            verified.append(extract_parameters(kept))
            return cheap.verify(kept, password)

        def hash(self, password):
            made.append(password)
            return cheap.hash(password)

    monkeypatch.setattr(passwords, "HASHER", Counting())
    assert not passwords.is_password("a wrong password", kept)
    assert not passwords.is_password("a wrong password", None)
    assert len(verified) == 2
    assert verified[0] == verified[1]
    assert made == []


def test_nobody_knows_the_password_of_unknown_accounts(cheap):
    assert not passwords.is_password("", None)
    assert not passwords.is_password(GOOD, None)


def test_hash_of_other_parameters_is_outdated(cheap):
    old = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash(GOOD)
    assert passwords.is_outdated(old)
    assert passwords.is_password(GOOD, old)
    assert not passwords.is_outdated(passwords.hash_password(GOOD))
