"""What is secret where others may look: sealed with AES-256-GCM, under keys of the operator or of a file of its own.

A sealed text is `t1.KEY.BODY`: the id of its key, then nonce, ciphertext and tag in base64url. Its context (which
column of which row it stands in) is authenticated with it, so that it cannot be moved to another place.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.config import Settings
from core.errors import InvalidSettingError, SecretError, StoreError

KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
"""Random for each text: 2**32 texts may be sealed with one key (NIST SP 800-38D, section 8.3)."""
VERSION = "t1"
KEY_FILE = "secret.key"
"""In the folder `keys` of `data_dir`: one key a line, the first encrypts."""
_NEEDED = "keys as `python -m core.access secret-key` makes them, separated by commas"


@dataclass(frozen=True, slots=True, repr=False)
class SecretKey:
    """32 random bytes, with an id by which what they sealed is known."""

    material: bytes

    @property
    def id(self) -> str:
        """16 hexadecimal digits, which say nothing about the key."""
        return hashlib.sha256(b"telepathy key id" + self.material).hexdigest()[: 2 * KEY_ID_BYTES]

    def __repr__(self) -> str:
        return f"SecretKey({self.id})"


def new_secret_key() -> str:
    """A key for the setting `secret_keys`, as text of 43 characters."""
    return _text(secrets.token_bytes(KEY_BYTES))


def parsed_keys(text: str) -> tuple[SecretKey, ...]:
    """The keys in `text`, separated by commas or lines, each once.

    Raises
    ------
    ValueError
        There is none, or something else stands among them. The message does not show it.
    """
    parts = [part.strip() for line in text.splitlines() for part in line.split(",")]
    keys = tuple(dict.fromkeys(SecretKey(_bytes(part)) for part in parts if part))
    if not keys or any(len(key.material) != KEY_BYTES for key in keys):
        raise ValueError("not a secret key")
    return keys


class Vault:
    """Seals with its first key, opens with any. Safe to share between threads."""

    def __init__(self, keys: tuple[SecretKey, ...], *, file: Path | None = None) -> None:
        self._keys = keys
        self._file = file
        self._reading = threading.Lock()

    @classmethod
    def open(cls, settings: Settings) -> Vault:
        """With the keys of the settings, or those of the file in `data_dir`, which is made when it is missing.

        Raises
        ------
        InvalidSettingError
            `secret_keys` holds something else.
        StoreError
            The file cannot be made or read, or holds something else.
        """
        if settings.secret_keys:
            try:
                return cls(parsed_keys(settings.secret_keys))
            except ValueError as error:
                raise InvalidSettingError("secret_keys", "something else", _NEEDED) from error
        file = settings.data_dir / "keys" / KEY_FILE
        return cls(_keys_of_file(file), file=file)

    @property
    def sealing_key(self) -> SecretKey:
        """The one that encrypts."""
        return self._keys[0]

    def key(self, key_id: str, what: str) -> SecretKey:
        """The key with this id. A file is read again for one that another process has added since.

        Raises
        ------
        SecretError
            It is not at hand. `what` is what the sentence says cannot be decrypted.
        """
        for is_new in (False, True):
            if is_new and self._file is not None:
                with self._reading:
                    self._keys = _keys_of_file(self._file)
            for key in self._keys:
                if key.id == key_id:
                    return key
        raise SecretError(what)

    def seal(self, plain: bytes | str, context: str) -> str:
        """`plain` so that only the key opens it, in the same `context` only."""
        data = plain.encode() if isinstance(plain, str) else plain
        key, nonce = self.sealing_key, secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(key.material).encrypt(nonce, data, _associated(key.id, context))
        return f"{VERSION}.{key.id}.{_text(nonce + sealed)}"

    def unseal(self, sealed: str, context: str) -> bytes:
        """What was sealed.

        Raises
        ------
        SecretError
            No key at hand fits, it was sealed in another context, or is no longer what was sealed.
        """
        what = f"The secret of {context}"
        version, _, rest = sealed.partition(".")
        key_id, _, body = rest.partition(".")
        try:
            data = _bytes(body)
        except ValueError as error:
            raise SecretError(what) from error
        if version != VERSION or len(data) <= NONCE_BYTES:
            raise SecretError(what)
        key = self.key(key_id, what)
        try:
            return AESGCM(key.material).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _associated(key_id, context))
        except InvalidTag as error:
            raise SecretError(what) from error

    def is_current(self, sealed: str) -> bool:
        """Whether `sealed` was sealed with the key that encrypts now."""
        return sealed.startswith(f"{VERSION}.{self.sealing_key.id}.")

    def add_key(self) -> SecretKey:
        """Make a new key the one that encrypts, in the file; older ones still open. Other processes find it there.

        Raises
        ------
        StoreError
            The keys stand in the settings, or the file cannot be written.
        """
        if self._file is None:
            raise StoreError("adding a secret key", "the keys stand in the setting `secret_keys`; put a new one first")
        with self._reading:
            known = _keys_of_file(self._file)
            keys = (*parsed_keys(new_secret_key()), *known)
            try:
                _write_privately(self._file, keys).replace(self._file)
                _push_to_disk(self._file.parent)
            except OSError as error:
                raise StoreError("adding a secret key", error.strerror or str(error)) from error
            self._keys = keys
            return keys[0]


def _associated(key_id: str, context: str) -> bytes:
    return f"{VERSION}.{key_id}.{context}".encode()


def _keys_of_file(file: Path) -> tuple[SecretKey, ...]:
    """The keys in `file`; made with a new one where it is missing, the same by all processes that start at once."""
    try:
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = _write_privately(file, parsed_keys(new_secret_key()))
            with contextlib.suppress(FileExistsError):
                os.link(partial, file)  # whole or not at all, and only for the first who comes
            partial.unlink()
            _push_to_disk(file.parent)
        return parsed_keys(file.read_text(encoding="ascii"))
    except OSError as error:
        raise StoreError(f"opening the secret keys in {file}", error.strerror or str(error)) from error
    except ValueError as error:
        raise StoreError(f"opening the secret keys in {file}", "something else stands in the file") from error


def _write_privately(file: Path, keys: tuple[SecretKey, ...]) -> Path:
    """A file beside `file` with `keys` that nobody else may read, safe on disk."""
    partial = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write("".join(f"{_text(key.material)}\n" for key in keys))
        opened.flush()
        os.fsync(opened.fileno())
    return partial


def _push_to_disk(folder: Path) -> None:
    """Make the names in `folder` survive a power cut: what is sealed is lost without its key."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    """What `text` stands for in base64url; ValueError where it is none, or not as `_text` writes it."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64url") from error
    if _text(data) != text:
        raise ValueError("not base64url")
    return data
