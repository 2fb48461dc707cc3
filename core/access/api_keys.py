"""API keys as text: `tel_live_`, 40 random characters, 6 of a checksum; base 62, so that a double click selects all."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

START = "tel_live_"
N_RANDOM = 40
"""238 random bits; 190 when the first and last four characters, which are shown in lists, are known."""
N_CHECKSUM = 6
"""62 ** 6 is above 2 ** 32, all values of a CRC-32."""
N_SHOWN = len(START) + 4

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(rf"{START}[0-9A-Za-z]{{{N_RANDOM + N_CHECKSUM}}}", re.ASCII)


def new_key() -> str:
    """A new key, for the one who asked for it and nobody else."""
    body = START + "".join(secrets.choice(_ALPHABET) for _ in range(N_RANDOM))
    return body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Whether this can be a key at all: most mistakes and guesses are refused without asking the store.

    >>> is_well_formed(new_key())
    True
    >>> is_well_formed(new_key()[:-1] + "-")
    False
    """
    return _FORM.fullmatch(key) is not None and _checksum(key[:-N_CHECKSUM]) == key[-N_CHECKSUM:]


def key_hash(key: str) -> str:
    """What is kept of a key. Plain SHA-256: a key has 238 random bits, which no one tries through."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(N_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
