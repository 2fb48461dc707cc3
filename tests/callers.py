"""Somebody who asks: accounts, keys and headers for tests, and what stands for accounts where none are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from core.domain import Caller, Reader, Role, Scope, User
from core.errors import InvalidCredentialsError
from core.identifiers import new_id
from core.workbench import Workbench

PASSWORD = "violet tram over wet gravel"
ANY_KEY = {"X-API-Key": "tel_live_anything"}
"""What a `FakeAccess` takes for an admin's key."""


def make_user(
    workbench: Workbench, role: Role = Role.ANALYST, *, email: str | None = None, password: str | None = PASSWORD
) -> User:
    """An account with a password, or without, which has agreed to recordings outside projects."""
    email = email or f"{role.value}-{new_id().hex[-8:]}@example.org"
    user = workbench.access.create_user(email, f"Test {role.value}", role, "enterprise", by=None, password=password)
    workbench.projects.agree(user.id, None)
    return user


def key_header(
    workbench: Workbench, *, role: Role = Role.ADMIN, scopes: Iterable[Scope] = tuple(Scope), user: User | None = None
) -> dict[str, str]:
    """The header with a key of somebody new in `role`, or of `user`."""
    owner = user or make_user(workbench, role, password=None)  # a hash would cost every test 0.2 s
    _, key = workbench.access.create_key(owner.id, "tests", frozenset(scopes), by=None)
    return {"X-API-Key": key}


def caller_of(user: User) -> Caller:
    """Somebody with an account, in a browser."""
    reader = Reader(user_id=user.id, sees_everything=user.role is Role.ADMIN)
    return Caller(user=user, scopes=frozenset(Scope), reader=reader, plan=user.plan)


def make_fake_caller(role: Role = Role.ADMIN, scopes: Iterable[Scope] = tuple(Scope), **given: object) -> Caller:
    """A caller without an account."""
    user = User(
        id=new_id(),
        email="somebody@example.org",
        name="Somebody",
        role=role,
        plan="enterprise",
        is_active=True,
        has_password=True,
        created_at=datetime.now(UTC),
        last_sign_in_at=None,
    )
    reader = Reader(user_id=user.id, sees_everything=role is Role.ADMIN)
    return Caller(user=user, scopes=frozenset(scopes), reader=reader, plan=user.plan, **given)  # type: ignore[arg-type]


class FakeAccess:
    """Takes any key for that of one caller; knows no sessions."""

    is_key = True
    """Whether what it takes is a key; a person is signed in otherwise."""

    def __init__(self, role: Role = Role.ADMIN, scopes: Iterable[Scope] = tuple(Scope)) -> None:
        self._caller = make_fake_caller(role, scopes)

    def caller_of_key(self, key: str) -> Caller:
        return replace(self._caller, key_id=new_id()) if self.is_key else self._caller

    def caller_of_token(self, token: str) -> Caller:
        raise InvalidCredentialsError("The token is not valid. Sign in again.")

    def caller_of_request(self, access_token: str | None, refresh_token: str | None) -> Caller | None:
        return None

    def caller_of_page(self, access_token: str | None, refresh_token: str | None) -> Caller | None:
        return None

    def caller_again(self, caller: Caller) -> Caller:
        return caller

    def is_set_up(self) -> bool:
        return True

    def user(self, user_id: UUID) -> User:
        return self._caller.user
