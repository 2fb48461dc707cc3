"""Tokens: signed ones that expire within minutes (JWT, HS256) and refresh tokens that are exchanged for new ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from core.access.signing_keys import SigningKey, SigningKeys
from core.errors import InvalidCredentialsError

ALGORITHM = "HS256"
AUDIENCE = "telepathy"
ISSUER = "telepathy"
REQUIRED = ("aud", "iss", "iat", "exp", "sub", "sid")
LEEWAY_S = 5
"""What clocks of several machines may differ by."""
MAX_LENGTH = 4096
"""Longer ones are none of ours, which have about 300 characters."""
_N_REFRESH_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token says, once its signature is proved."""

    user_id: UUID
    session_id: UUID


def sign_token(keys: SigningKeys, *, user_id: UUID, session_id: UUID, lifetime: timedelta) -> str:
    """A token that says who is signed in, until it expires."""
    key, now = keys.current(), datetime.now(UTC)
    claims = {
        "aud": AUDIENCE,
        "iss": ISSUER,
        "iat": now.timestamp(),
        "exp": (now + lifetime).timestamp(),
        "sub": str(user_id),
        "sid": str(session_id),
    }
    return jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid})


def read_token(keys: SigningKeys, token: str, *, allows_expired: bool = False) -> Claims:
    """What a token says. Raises InvalidCredentialsError unless one of our keys signed it, for us, and it holds."""
    try:
        if len(token) > MAX_LENGTH:
            raise jwt.InvalidTokenError("too long")
        header = jwt.get_unverified_header(token)
        key = keys.find(str(header.get("kid")), at=datetime.now(UTC))
        if key is None:
            raise jwt.InvalidTokenError("no such key")
        claims = jwt.decode(
            token,
            key.secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY_S,
            options={"require": list(REQUIRED), "verify_exp": not allows_expired},
        )
        return Claims(user_id=UUID(claims["sub"]), session_id=UUID(claims["sid"]))
    except jwt.ExpiredSignatureError as error:
        raise InvalidCredentialsError("The token has expired. Refresh it, or sign in again.", is_guess=False) from error
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise InvalidCredentialsError("The token is not valid. Sign in again.") from error


def new_refresh_token(session_id: UUID) -> str:
    """The first refresh token of a session."""
    return _refresh_token(session_id, secrets.token_bytes(_N_REFRESH_BYTES))


def next_refresh_token(token: str, key: SigningKey) -> str:
    """The token that `token` is exchanged for: of two tabs that ask at once, both get the same one.

    Nobody without the signing key can work it out, and the store keeps only its hash.
    """
    digest = hmac.digest(key.secret, b"refresh " + token.encode(), "sha256")
    return _refresh_token(session_of_refresh_token(token), digest)


def session_of_refresh_token(token: str) -> UUID:
    """The session that a refresh token says it belongs to. Raises InvalidCredentialsError when it is no such token."""
    try:
        session, _, rest = token.partition(".")
        if len(session) == 32 and len(rest) == 43 and token.isascii():
            return UUID(session)
    except ValueError:
        pass
    raise InvalidCredentialsError("The session is not valid. Sign in again.")


def _refresh_token(session_id: UUID, random: bytes) -> str:
    return f"{session_id.hex}.{base64.urlsafe_b64encode(random).rstrip(b'=').decode()}"


def token_hash(token: str) -> str:
    """What is kept of a refresh token or a one-time link. Plain SHA-256: both have 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
