"""Accounts, sessions and keys made quickly."""

from __future__ import annotations

from core.access.access import Access, SignedIn
from core.domain import Caller, Role, Scope, User
from core.store.audit import select_audit_entries

PASSWORD = "a quiet walk at dusk"
BROWSER = {"address": "192.0.2.7", "user_agent": "Firefox"}


def make_user(
    access: Access, email: str = "ada@example.org", role: Role = Role.ANALYST, *, password: str | None = PASSWORD
) -> User:
    return access.create_user(email, "Ada Byron", role, by=None, password=password)


def signed_in(access: Access, user: User) -> SignedIn:
    return access.start_session(user, **BROWSER)


def caller(access: Access, user: User) -> Caller:
    return access.caller_of_token(signed_in(access, user).access_token)


def make_admin(access: Access, email: str = "grace@example.org") -> Caller:
    return caller(access, make_user(access, email, Role.ADMIN))


def make_key(access: Access, user: User, *scopes: Scope) -> str:
    return access.create_key(user.id, "notebook", frozenset(scopes or {Scope.PREDICT}), by=None)[1]


def audited(access: Access) -> list[tuple[str, str, str]]:
    """Actor, action and subject of all entries of the audit log, the oldest first."""
    entries = select_audit_entries(access.store, limit=1000)
    return [(entry.actor, entry.action, entry.subject) for entry in reversed(entries)]
