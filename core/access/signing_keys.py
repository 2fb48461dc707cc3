"""The keys that tokens are signed with: a file in the data folder, read again when another process changed it."""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.errors import StoreError

FILE = "signing-keys.json"
_N_BYTES = 64
"""What HMAC-SHA-256 takes in one block (RFC 2104, section 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key."""

    kid: str
    """Its name, in the header of every token that it signed."""
    secret: bytes = field(repr=False)
    created_at: datetime
    retires_at: datetime | None = None
    """When it stops verifying: by then, the last token that it signed has expired. None for the one that signs."""


class SigningKeys:
    """All keys in the file, the newest first. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[SigningKey, ...] = ()

    @staticmethod
    def open(folder: Path) -> SigningKeys:
        """The keys kept in `folder`; the first one is made where there is none. Raises StoreError."""
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                _make_first(path)
        except OSError as error:
            raise StoreError(f"writing {path}", error.strerror or str(error)) from error
        keys = SigningKeys(path)
        keys.current()
        return keys

    def current(self) -> SigningKey:
        """The key that signs."""
        return self.all()[0]

    def find(self, kid: str, *, at: datetime) -> SigningKey | None:
        """The key of this name, unless it has retired."""
        for key in self.all():
            if key.kid == kid and (key.retires_at is None or key.retires_at > at):
                return key
        return None

    def all(self) -> tuple[SigningKey, ...]:
        """Every key; read from the file when that is another than before. Raises StoreError."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            with self._reading:
                if seen != self._seen:
                    self._keys = _read(self._path)
                    self._seen = seen
                return self._keys
        except OSError as error:
            raise StoreError(f"reading {self._path}", error.strerror or str(error)) from error

    def rotate(self, *, keeps_for: timedelta) -> SigningKey:
        """Sign with a new key from now on; the old one verifies for `keeps_for` more. One caller at a time."""
        now = datetime.now(UTC)
        retired = [
            SigningKey(
                kid=key.kid,
                secret=key.secret,
                created_at=key.created_at,
                retires_at=now + keeps_for if key.retires_at is None else min(key.retires_at, now + keeps_for),
            )
            for key in self.all()
        ]
        new = _new_key(now)
        kept = [new, *(key for key in retired if key.retires_at is not None and key.retires_at > now)]
        fresh = self._path.with_name(f".{FILE}.{new.kid}")
        try:
            _write(fresh, kept)
            fresh.replace(self._path)
        except OSError as error:
            raise StoreError(f"writing {self._path}", error.strerror or str(error)) from error
        return new


def _make_first(path: Path) -> None:
    """Of several processes that start at once, one makes the file, whole, and all read that."""
    key = _new_key(datetime.now(UTC))
    fresh = path.with_name(f".{FILE}.{key.kid}")
    _write(fresh, [key])
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _new_key(at: datetime) -> SigningKey:
    return SigningKey(kid=secrets.token_hex(8), secret=secrets.token_bytes(_N_BYTES), created_at=at)


def _write(path: Path, keys: list[SigningKey]) -> None:
    table = [
        {
            "kid": key.kid,
            "secret": base64.b64encode(key.secret).decode(),
            "created_at": key.created_at.isoformat(),
            "retires_at": None if key.retires_at is None else key.retires_at.isoformat(),
        }
        for key in keys
    ]
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:  # noqa: PTH123
        json.dump(table, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> tuple[SigningKey, ...]:
    try:
        keys = tuple(
            SigningKey(
                kid=str(row["kid"]),
                secret=base64.b64decode(row["secret"], validate=True),
                created_at=datetime.fromisoformat(row["created_at"]),
                retires_at=None if row["retires_at"] is None else datetime.fromisoformat(row["retires_at"]),
            )
            for row in json.loads(path.read_text())
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"reading {path}", "it is not a file of signing keys") from error
    if not keys or any(len(key.secret) < _N_BYTES // 2 for key in keys):
        raise StoreError(f"reading {path}", "it holds no key, or one that is too short")
    return keys
