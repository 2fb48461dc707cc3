"""One-time links: set-up, invitation, reset of a password. Of their tokens only SHA-256 hashes are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, select, update

from core.domain import LinkKind, OneTimeLink, Role
from core.store.access_schema import one_time_links
from core.store.engine import Store


def insert_one_time_link(store: Store, *, link: OneTimeLink, token_hash: str) -> OneTimeLink:
    """Keep a new link."""
    row = {
        "token_hash": token_hash,
        "kind": link.kind.value,
        "user_id": link.user_id,
        "email": link.email,
        "role": None if link.role is None else link.role.value,
        "created_at": link.created_at,
        "expires_at": link.expires_at,
        "used_at": None,
        "revoked_at": None,
    }
    store.append("keeping a one-time link", (one_time_links, [row]))
    return link


def select_one_time_link(store: Store, *, token_hash: str, at: datetime) -> OneTimeLink | None:
    """The link with this token, when it can still be used at this time."""
    with store.transaction("reading a one-time link") as connection:
        row = connection.execute(
            select(*one_time_links.columns).where(one_time_links.c.token_hash == token_hash, _is_open(at))
        ).one_or_none()
    return None if row is None else _link(row)


def select_invitation(store: Store, *, email: str, at: datetime) -> OneTimeLink | None:
    """The newest invitation of this address that can still be used at this time."""
    question = (
        select(*one_time_links.columns)
        .where(one_time_links.c.email == email, one_time_links.c.kind == LinkKind.INVITATION.value, _is_open(at))
        .order_by(one_time_links.c.created_at.desc())
        .limit(1)
    )
    with store.transaction("reading an invitation") as connection:
        row = connection.execute(question).one_or_none()
    return None if row is None else _link(row)


def update_one_time_link_used(store: Store, *, token_hash: str, at: datetime) -> OneTimeLink | None:
    """Use a link: of any number of callers at once, one gets it and all others None."""
    with store.transaction("using a one-time link") as connection:
        row = connection.execute(
            update(one_time_links)
            .where(one_time_links.c.token_hash == token_hash, _is_open(at))
            .values(used_at=at)
            .returning(*one_time_links.columns)
        ).one_or_none()
    return None if row is None else _link(row)


def update_one_time_links_revoked(store: Store, *, email: str, at: datetime) -> int:
    """Make all links of this address useless; how many."""
    with store.transaction("revoking one-time links") as connection:
        return connection.execute(
            update(one_time_links).where(one_time_links.c.email == email, _is_open(at)).values(revoked_at=at)
        ).rowcount


def delete_one_time_links(store: Store, *, expired_before: datetime) -> int:
    """Forget links that expired long ago; how many."""
    with store.transaction("forgetting old links") as connection:
        return connection.execute(delete(one_time_links).where(one_time_links.c.expires_at < expired_before)).rowcount


def _is_open(at: datetime) -> ColumnElement[bool]:
    columns = one_time_links.c
    return columns.used_at.is_(None) & columns.revoked_at.is_(None) & (columns.expires_at > at)


def _link(row: Row[Any]) -> OneTimeLink:
    return OneTimeLink(
        kind=LinkKind(row.kind),
        user_id=row.user_id,
        email=row.email,
        role=None if row.role is None else Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
