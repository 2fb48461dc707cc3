"""Passwords: what is good enough, and how one is kept (Argon2id, RFC 9106)."""

from __future__ import annotations

import functools
import re
import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import WeakPasswordError

MIN_LENGTH = 12
MAX_LENGTH = 256
"""Longer ones are refused: hashing them would take whoever asks no effort and us some."""
MIN_LEFT = 6
"""Characters that have to be left once what others can guess is taken out."""

HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
"""The second recommended option of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes."""

_hashing = threading.BoundedSemaphore(2)
"""Two at a time: sign-ins that come in a rush take 128 MiB and not 64 MiB each."""

_GUESSED = (
    *("password", "passwort", "passphrase", "motdepasse", "contrasena", "telepathy", "administrator", "admin"),
    *("qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "qwerty", "qwertz", "azerty", "asdfgh"),
    *("1q2w3e4r5t6y", "1q2w3e4r", "1qaz2wsx", "letmein", "welcome", "iloveyou", "changeme", "trustno", "secret"),
    *("abcdefghijklmnopqrstuvwxyz", "abcdefgh", "dragon", "monkey", "football", "baseball", "superman", "default"),
    *("sunshine", "princess", "correcthorsebatterystaple", "correct horse battery staple", "login", "user", "test"),
)
"""Words that lists of leaked passwords are made of, and keys that lie side by side."""


def normalise_password(password: str) -> str:
    """The same characters however a keyboard composed them (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def require_strong(password: str, *, email: str, name: str = "") -> None:
    """Raises WeakPasswordError when the password is short, long, or easily guessed by who knows whose it is."""
    text = normalise_password(password)
    if len(text) < MIN_LENGTH:
        raise WeakPasswordError(f"has {len(text)} characters")
    if len(text) > MAX_LENGTH:
        raise WeakPasswordError(f"has {len(text):,} characters, and {MAX_LENGTH} are the most that is read")
    if text.isdecimal():
        raise WeakPasswordError("is made of digits only")
    if len(set(text.casefold())) < MIN_LEFT:
        raise WeakPasswordError(f"uses fewer than {MIN_LEFT} different characters")
    own_words = [email, *re.split(r"[\W_]+", email), name, *re.split(r"\W+", name)]
    if _is_little_left(text, own_words):
        raise WeakPasswordError("is made of your name or address")
    if _is_little_left(text, [*own_words, *_GUESSED]):
        raise WeakPasswordError("is made of words that are guessed first")


def _is_little_left(text: str, words: list[str]) -> bool:
    """Whether `text` without these words, digits and signs has fewer than `MIN_LEFT` different letters."""
    left = text.casefold()
    for word in sorted((word.casefold() for word in words if len(word) >= 3), key=len, reverse=True):
        left = left.replace(word, " ")
    if left == text.casefold():
        return False
    return len({character for character in left if character.isalpha()}) < MIN_LEFT


def hash_password(password: str) -> str:
    """What is kept of a password: its hash with salt and parameters."""
    with _hashing:
        return HASHER.hash(_encoded(password))


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether the password is the one of this hash. Without a hash it is not, after the same time."""
    is_readable = password_hash is not None and len(password) <= MAX_LENGTH
    with _hashing:
        try:
            HASHER.verify(password_hash if password_hash is not None else _hash_of_nobody(), _encoded(password))
        except (VerificationError, InvalidHashError):
            return False
    return is_readable


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than new ones are."""
    return HASHER.check_needs_rehash(password_hash)


@functools.cache
def _hash_of_nobody() -> str:
    return HASHER.hash(secrets.token_bytes(32))


def prepare_for_strangers() -> None:
    """Make the hash that unknown accounts are compared with, so that the first of them takes no longer than others."""
    _hash_of_nobody()


def _encoded(password: str) -> bytes:
    return normalise_password(password[:MAX_LENGTH]).encode("utf-8", "surrogatepass")
