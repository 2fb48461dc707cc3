"""Whose lines of the usage ledger they are: accounts and keys by name, as far as there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from core.domain import NOBODY, ApiKey, Reader, User
from core.workbench import Workbench

NOT_SIGNED_IN = "not signed in"
NO_KEY = "without a key"
DELETED = "no longer there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Accounts and keys by their ids."""

    users: Mapping[UUID, User] = field(default_factory=dict)
    keys: Mapping[UUID, ApiKey] = field(default_factory=dict)

    def user(self, user_id: UUID | None) -> str:
        """The e-mail address of an account."""
        if user_id is None or user_id == NOBODY:
            return NOT_SIGNED_IN
        known = self.users.get(user_id)
        return _unknown(user_id) if known is None else known.email

    def key(self, key_id: UUID | None) -> str:
        """The name of a key and how it begins."""
        if key_id is None:
            return NO_KEY
        known = self.keys.get(key_id)
        return _unknown(key_id) if known is None else f"{known.name} ({known.prefix}\u2026{known.last_four})"

    @property
    def emails(self) -> dict[UUID, str]:
        return {user_id: user.email for user_id, user in self.users.items()}

    @property
    def key_names(self) -> dict[UUID, str]:
        return {key_id: key.name for key_id, key in self.keys.items()}


def _unknown(some_id: UUID) -> str:
    return f"{DELETED} ({str(some_id)[-6:]})"


def names_of_all(workbench: Workbench) -> Names:
    """Every account and key, for admins."""
    access = workbench.access
    return Names(
        users={user.id: user for user in access.users()},
        keys={key.id: key for key in access.all_keys()},
    )


def names_of_one(workbench: Workbench, user: User) -> Names:
    """One account, and its keys."""
    return Names(users={user.id: user}, keys={key.id: key for key in workbench.access.keys_of(user.id)})


def names_in_project(workbench: Workbench, project_id: UUID, reader: Reader) -> Names:
    """Those who share a project."""
    return Names(users={user.id: user for user in workbench.projects.members(project_id, reader)})


def last_use(key: ApiKey, in_ledger: datetime | None) -> datetime | None:
    """When a key was used last, by its own record or by the ledger, whichever is later."""
    known = [moment for moment in (key.last_used_at, in_ledger) if moment is not None]
    return max(known, default=None)
