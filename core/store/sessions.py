"""Sessions: who is signed in where. Of refresh tokens only SHA-256 hashes are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select, update

from core.domain import Session, User
from core.store.access_schema import sessions, users
from core.store.engine import Store
from core.store.users import HAS_PASSWORD, USER_COLUMNS, user_of


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSession:
    """A session with its owner and the hashes of its refresh tokens."""

    session: Session
    user: User
    refresh_hash: str = field(repr=False)
    previous_refresh_hash: str | None = field(repr=False)


def insert_session(store: Store, *, session: Session, refresh_hash: str) -> Session:
    """Keep a new session."""
    row = {
        "id": session.id,
        "user_id": session.user_id,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "refresh_hash": refresh_hash,
        "previous_refresh_hash": None,
        "refreshed_at": session.refreshed_at,
        "address": session.address,
        "user_agent": session.user_agent,
        "revoked_at": session.revoked_at,
    }
    store.append("keeping a session", (sessions, [row]))
    return session


def select_kept_session(store: Store, *, session_id: UUID) -> KeptSession | None:
    """The session with this id, expired and revoked ones too."""
    question = (
        select(*sessions.columns, *USER_COLUMNS, HAS_PASSWORD)
        .join(users, users.c.id == sessions.c.user_id)
        .where(sessions.c.id == session_id)
    )
    with store.transaction("reading a session") as connection:
        row = connection.execute(question).one_or_none()
    if row is None:
        return None
    fields = row._mapping
    return KeptSession(
        session=_session(row),
        user=user_of(row),
        refresh_hash=fields[sessions.c.refresh_hash],
        previous_refresh_hash=fields[sessions.c.previous_refresh_hash],
    )


def select_sessions(store: Store, *, user_id: UUID, at: datetime) -> list[Session]:
    """The sessions of an account that are alive at this time, the newest first."""
    question = (
        select(*sessions.columns)
        .where(sessions.c.user_id == user_id, sessions.c.revoked_at.is_(None), sessions.c.expires_at > at)
        .order_by(sessions.c.id.desc())
    )
    with store.transaction("reading sessions") as connection:
        return [_session(row) for row in connection.execute(question)]


def update_session_refresh(
    store: Store, *, session_id: UUID, refresh_hash: str, previous_refresh_hash: str, at: datetime
) -> None:
    """Exchange the refresh token of a session."""
    changes = {
        "refresh_hash": refresh_hash,
        "previous_refresh_hash": previous_refresh_hash,
        "refreshed_at": at,
    }
    with store.transaction("refreshing a session") as connection:
        connection.execute(update(sessions).where(sessions.c.id == session_id).values(changes))


def update_session_revoked(store: Store, *, session_id: UUID, at: datetime) -> bool:
    """End a session; False when it had ended before, or never was."""
    alive = sessions.c.revoked_at.is_(None)
    with store.transaction("ending a session") as connection:
        done = connection.execute(update(sessions).where(sessions.c.id == session_id, alive).values(revoked_at=at))
        return done.rowcount > 0


def update_sessions_revoked(store: Store, *, user_id: UUID, at: datetime, besides: UUID | None = None) -> int:
    """End all sessions of an account, but for `besides`; how many."""
    condition = (sessions.c.user_id == user_id) & sessions.c.revoked_at.is_(None)
    if besides is not None:
        condition &= sessions.c.id != besides
    with store.transaction("ending sessions") as connection:
        return connection.execute(update(sessions).where(condition).values(revoked_at=at)).rowcount


def delete_sessions(store: Store, *, expired_before: datetime) -> int:
    """Forget sessions that expired long ago; how many."""
    with store.transaction("forgetting old sessions") as connection:
        return connection.execute(delete(sessions).where(sessions.c.expires_at < expired_before)).rowcount


def _session(row: Row[*tuple[Any, ...]]) -> Session:
    fields = row._mapping
    return Session(
        id=fields[sessions.c.id],
        user_id=fields[sessions.c.user_id],
        created_at=fields[sessions.c.created_at],
        expires_at=fields[sessions.c.expires_at],
        refreshed_at=fields[sessions.c.refreshed_at],
        address=fields[sessions.c.address],
        user_agent=fields[sessions.c.user_agent],
        revoked_at=fields[sessions.c.revoked_at],
    )
