"""What each role may do: the one table of pages and of the scopes that a role can ever have."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain import Role, Scope

EVERYBODY = frozenset(Role)
ANALYSTS = frozenset({Role.ANALYST, Role.ANNOTATOR, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})

PAGES: Mapping[str, frozenset[Role]] = {
    "analyse": EVERYBODY,
    "live": EVERYBODY,
    "explain": EVERYBODY,
    "account": EVERYBODY,
    "usage": EVERYBODY,
    "explore": ANALYSTS,
    "projects": ANALYSTS,
    "people": ADMINS,
    "admin": ADMINS,
}
"""Who may open a page, by the stem of its file."""

ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.VIEWER: frozenset({Scope.PREDICT, Scope.READ}),
    Role.ANALYST: frozenset({Scope.PREDICT, Scope.READ, Scope.DELETE}),
    Role.ANNOTATOR: frozenset({Scope.PREDICT, Scope.READ, Scope.DELETE}),
    Role.ADMIN: frozenset(Scope),
}
"""What somebody who is signed in may ask for, and the most that their keys can."""


def may_open(role: Role, page: str) -> bool:
    """Whether a role may open a page; nobody may open one that is not in the table.

    >>> may_open(Role.VIEWER, "analyse"), may_open(Role.VIEWER, "admin")
    (True, False)
    """
    return role in PAGES.get(page, frozenset())
