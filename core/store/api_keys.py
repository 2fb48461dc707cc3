"""API keys: everything about them but the keys themselves, of which only SHA-256 hashes are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, or_, select, update

from core.domain import ApiKey, Scope, User
from core.store.access_schema import api_keys, users
from core.store.engine import Store
from core.store.users import HAS_PASSWORD, USER_COLUMNS, user_of

KEY_COLUMNS = tuple(column for column in api_keys.columns if column is not api_keys.c.key_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptKey:
    """An API key with its owner and the hash of the key itself."""

    key: ApiKey
    user: User
    key_hash: str = field(repr=False)


def insert_api_key(store: Store, *, key: ApiKey, key_hash: str) -> ApiKey:
    """Keep a new key."""
    row = {
        "id": key.id,
        "user_id": key.user_id,
        "name": key.name,
        "key_hash": key_hash,
        "prefix": key.prefix,
        "last_four": key.last_four,
        "scopes": " ".join(sorted(key.scopes)),
        "plan": key.plan,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "replaces_id": key.replaces_id,
    }
    store.append("keeping an API key", (api_keys, [row]))
    return key


def select_kept_key(store: Store, *, key_hash: str) -> KeptKey | None:
    """The key with this hash, expired and revoked ones too."""
    question = (
        select(*api_keys.columns, *USER_COLUMNS, HAS_PASSWORD)
        .join(users, users.c.id == api_keys.c.user_id)
        .where(api_keys.c.key_hash == key_hash)
    )
    with store.transaction("reading an API key") as connection:
        row = connection.execute(question).one_or_none()
    if row is None:
        return None
    return KeptKey(key=_key(row), user=user_of(row), key_hash=row._mapping[api_keys.c.key_hash])


def select_api_key(store: Store, *, key_id: UUID) -> ApiKey | None:
    """The key with this id."""
    with store.transaction("reading an API key") as connection:
        row = connection.execute(select(*KEY_COLUMNS).where(api_keys.c.id == key_id)).one_or_none()
    return None if row is None else _key(row)


def select_api_keys(store: Store, *, user_id: UUID | None = None) -> list[ApiKey]:
    """The keys of an account, or of everybody, the newest first."""
    question = select(*KEY_COLUMNS).order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
    if user_id is not None:
        question = question.where(api_keys.c.user_id == user_id)
    with store.transaction("reading API keys") as connection:
        return [_key(row) for row in connection.execute(question)]


def update_api_key_revoked(store: Store, *, key_id: UUID, at: datetime) -> bool:
    """Revoke a key; False when it had been before, or never was."""
    condition = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
    with store.transaction("revoking an API key") as connection:
        return connection.execute(update(api_keys).where(condition).values(revoked_at=at)).rowcount > 0


def update_api_keys_revoked(store: Store, *, user_id: UUID, at: datetime) -> int:
    """Revoke all keys of an account; how many."""
    condition = (api_keys.c.user_id == user_id) & api_keys.c.revoked_at.is_(None)
    with store.transaction("revoking API keys") as connection:
        return connection.execute(update(api_keys).where(condition).values(revoked_at=at)).rowcount


def update_api_key_expiry(store: Store, *, key_id: UUID, expires_at: datetime) -> None:
    """Let a key end at another time."""
    with store.transaction("changing an API key") as connection:
        connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(expires_at=expires_at))


def update_api_key_used(store: Store, *, key_id: UUID, at: datetime, unless_since: datetime) -> None:
    """Remember when a key was last used, unless that was after `unless_since` anyway."""
    is_stale = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < unless_since)
    with store.transaction("noting the use of an API key") as connection:
        connection.execute(update(api_keys).where(api_keys.c.id == key_id, is_stale).values(last_used_at=at))


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    fields = row._mapping
    return ApiKey(
        id=fields[api_keys.c.id],
        user_id=fields[api_keys.c.user_id],
        name=fields[api_keys.c.name],
        prefix=fields[api_keys.c.prefix],
        last_four=fields[api_keys.c.last_four],
        scopes=frozenset(Scope(scope) for scope in fields[api_keys.c.scopes].split()),
        plan=fields[api_keys.c.plan],
        created_at=fields[api_keys.c.created_at],
        expires_at=fields[api_keys.c.expires_at],
        last_used_at=fields[api_keys.c.last_used_at],
        revoked_at=fields[api_keys.c.revoked_at],
        replaces_id=fields[api_keys.c.replaces_id],
    )
