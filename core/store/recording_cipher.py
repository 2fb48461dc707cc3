"""How a recording is encrypted: in chunks, so that no more than one is held at a time, by AES-256-GCM.

    magic (8) | id of the key (8) | salt (16) | chunk | chunk | ... | last chunk

Each recording has a key of its own, derived from the secret key and its salt (HKDF-SHA-256, RFC 5869), so that nonces
may simply count. A nonce holds the chunk's number and whether it is the last (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizár, CRYPTO 2015): chunks cannot be left out, swapped, repeated or cut off. Header and
content hash are authenticated with every chunk: a recording cannot take the place of another.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.secrets import KEY_BYTES, KEY_ID_BYTES, SecretKey, Vault

MAGIC = b"TELEREC\x01"
SALT_BYTES = 16
HEADER_BYTES = len(MAGIC) + KEY_ID_BYTES + SALT_BYTES
CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16


class TamperedError(Exception):
    """Not, or no longer, what was encrypted."""


def encrypted(plain: BinaryIO, key: SecretKey, sha256: str) -> Iterator[bytes]:
    """The blocks of `plain`, whose content hash is `sha256`, encrypted with `key`."""
    header = MAGIC + bytes.fromhex(key.id) + secrets.token_bytes(SALT_BYTES)
    yield header
    cipher, associated = _cipher(key, header), header + sha256.encode()
    for nonce, chunk in _numbered(plain, CHUNK_BYTES):
        yield cipher.encrypt(nonce, chunk, associated)


def decrypted(sealed: BinaryIO, vault: Vault, sha256: str) -> Iterator[bytes]:
    """The chunks of a recording that `encrypted` made. Each is authentic; whether all are there, the end tells.

    Raises
    ------
    SecretError
        The key is not at hand.
    TamperedError
        Something was changed, moved or cut off.
    """
    header = sealed.read(HEADER_BYTES)
    key_id = key_id_of(header)
    if key_id is None:
        raise TamperedError("the header is not whole")
    cipher = _cipher(vault.key(key_id, f"The recording {sha256}"), header)
    associated = header + sha256.encode()
    for nonce, chunk in _numbered(sealed, CHUNK_BYTES + TAG_BYTES):
        try:
            yield cipher.decrypt(nonce, chunk, associated)
        except InvalidTag as error:
            raise TamperedError("a chunk is not what it was") from error


def key_id_of(head: bytes) -> str | None:
    """The id of the key that a recording beginning with `head` was encrypted with; None where it is not encrypted."""
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        return None
    return head[len(MAGIC) : len(MAGIC) + KEY_ID_BYTES].hex()


def _cipher(key: SecretKey, header: bytes) -> AESGCM:
    salt = header[-SALT_BYTES:]
    derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"telepathy recording")
    return AESGCM(derive.derive(key.material))


def _numbered(file: BinaryIO, n_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of `file`, each with its nonce; at least one, which may be empty."""
    number, chunk = 0, file.read(n_bytes)
    while True:
        following = file.read(n_bytes) if len(chunk) == n_bytes else b""
        yield struct.pack(">3xQ?", number, not following), chunk
        if not following:
            return
        number, chunk = number + 1, following
