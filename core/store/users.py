"""Accounts. Their password hashes never leave this module but in the one function that is named for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select, update

from core.domain import Role, User
from core.store.access_schema import users
from core.store.engine import Store

USER_COLUMNS = tuple(column for column in users.columns if column is not users.c.password_hash)
"""What `user_of` needs, but for whether there is a password."""
HAS_PASSWORD = users.c.password_hash.is_not(None).label("has_password")


def insert_user(store: Store, *, user: User, password_hash: str | None, is_email_proven: bool) -> User:
    """Keep a new account. Raises StoreError when its address or id is there already."""
    row = {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role.value,
        "plan": user.plan,
        "is_active": user.is_active,
        "password_hash": password_hash,
        "is_email_proven": is_email_proven,
        "created_at": user.created_at,
        "last_sign_in_at": user.last_sign_in_at,
    }
    store.append("keeping an account", (users, [row]))
    return user


def select_user(store: Store, *, user_id: UUID) -> User | None:
    """The account with this id."""
    return _select_one(store, users.c.id == user_id)


def select_user_by_email(store: Store, *, email: str) -> User | None:
    """The account with this address, which is normalised already."""
    return _select_one(store, users.c.email == email)


def select_users(store: Store) -> list[User]:
    """Every account, the oldest first."""
    with store.transaction("reading accounts") as connection:
        rows = connection.execute(select(*USER_COLUMNS, HAS_PASSWORD).order_by(users.c.created_at, users.c.id)).all()
    return [user_of(row) for row in rows]


def select_password_hash(store: Store, *, user_id: UUID) -> str | None:
    """The hash of this account's password; None where it has none, or there is no such account."""
    with store.transaction("reading an account") as connection:
        return connection.execute(select(users.c.password_hash).where(users.c.id == user_id)).scalar_one_or_none()


def select_is_email_proven(store: Store, *, user_id: UUID) -> bool:
    """Whether somebody has shown that the address of this account is theirs, or an admin has vouched for it."""
    with store.transaction("reading an account") as connection:
        return bool(connection.execute(select(users.c.is_email_proven).where(users.c.id == user_id)).scalar())


def count_other_active_admins(store: Store, *, user_id: UUID) -> int:
    """How many admins who may sign in there are besides this one."""
    condition = (users.c.role == Role.ADMIN.value) & users.c.is_active & (users.c.id != user_id)
    with store.transaction("counting admins") as connection:
        return connection.execute(select(func.count()).select_from(users).where(condition)).scalar_one()


def update_user(
    store: Store,
    *,
    user_id: UUID,
    role: Role | None = None,
    plan: str | None = None,
    is_active: bool | None = None,
    last_sign_in_at: datetime | None = None,
) -> None:
    """Change what is not None."""
    given = {
        "role": None if role is None else role.value,
        "plan": plan,
        "is_active": is_active,
        "last_sign_in_at": last_sign_in_at,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    with store.transaction("changing an account") as connection:
        connection.execute(update(users).where(users.c.id == user_id).values(changes))


def update_password(store: Store, *, user_id: UUID, password_hash: str | None) -> None:
    """Give an account another password, or none."""
    with store.transaction("changing a password") as connection:
        connection.execute(update(users).where(users.c.id == user_id).values(password_hash=password_hash))


def update_email_proven(store: Store, *, user_id: UUID) -> None:
    """Remember that the address of this account was shown to be its owner's."""
    with store.transaction("changing an account") as connection:
        connection.execute(update(users).where(users.c.id == user_id).values(is_email_proven=True))


def _select_one(store: Store, condition: ColumnElement[bool]) -> User | None:
    with store.transaction("reading an account") as connection:
        row = connection.execute(select(*USER_COLUMNS, HAS_PASSWORD).where(condition)).one_or_none()
    return None if row is None else user_of(row)


def user_of(row: Row[*tuple[Any, ...]]) -> User:
    """The account in a row of `USER_COLUMNS` and `HAS_PASSWORD`, and others maybe, of users alone."""
    fields = row._mapping
    return User(
        id=fields[users.c.id],
        email=fields[users.c.email],
        name=fields[users.c.name],
        role=Role(fields[users.c.role]),
        plan=fields[users.c.plan],
        is_active=fields[users.c.is_active],
        has_password=fields[HAS_PASSWORD],
        created_at=fields[users.c.created_at],
        last_sign_in_at=fields[users.c.last_sign_in_at],
    )
