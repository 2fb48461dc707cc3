"""What every part of `Access` stands on: settings, store, signing keys, the audit log, accounts as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from core.access import passwords
from core.access.emails import normalise_email
from core.access.roles import is_admin
from core.access.signing_keys import SigningKeys
from core.config import Settings
from core.domain import AuditEntry, Caller, Role, User
from core.errors import (
    AddressTakenError,
    ForbiddenError,
    InvalidParameterError,
    UnknownUserError,
)
from core.identifiers import new_id
from core.store.access_store import AccessStore
from core.store.audit import insert_audit_entry
from core.store.users import (
    insert_user,
    select_user,
    select_user_by_email,
    select_users,
)

MAX_NAME = 200


class Ground:
    """Accounts as they are, and the audit log."""

    def __init__(self, settings: Settings, store: AccessStore, keys: SigningKeys, *, process: str) -> None:
        self.settings = settings
        self.store = store
        self.project_ids_of: Callable[[UUID], frozenset[UUID]] = _no_projects
        """The projects that are shared with an account."""
        self._signing_keys = keys
        self._process = process

    def users(self) -> list[User]:
        """Every account, the oldest first."""
        return select_users(self.store)

    def user(self, user_id: UUID) -> User:
        """The account with this id. Raises UnknownUserError."""
        user = select_user(self.store, user_id=user_id)
        if user is None:
            raise UnknownUserError(user_id)
        return user

    def user_by_email(self, email: str) -> User:
        """The account with this address. Raises UnknownUserError, or InvalidParameterError when it is no address."""
        address = normalise_email(email)
        user = select_user_by_email(self.store, email=address)
        if user is None:
            raise UnknownUserError(address)
        return user

    def _user_of_typed(self, email: str) -> User | None:
        try:
            return select_user_by_email(self.store, email=normalise_email(email))
        except InvalidParameterError:
            return None

    def _add_user(
        self,
        address: str,
        name: str,
        role: Role,
        plan: str,
        *,
        by: Caller | None,
        actor: str | None = None,
        password_hash: str | None = None,
        is_email_proven: bool = False,
    ) -> User:
        if select_user_by_email(self.store, email=address) is not None:
            raise AddressTakenError(address)
        user = User(
            id=new_id(),
            email=address,
            name=name,
            role=role,
            plan=plan,
            is_active=True,
            has_password=password_hash is not None,
            created_at=datetime.now(UTC),
            last_sign_in_at=None,
        )
        insert_user(self.store, user=user, password_hash=password_hash, is_email_proven=is_email_proven)
        self._audit("user.create", address, by, actor=actor, role=role, plan=plan)
        return user

    def _known_plan(self, plan: str) -> str:
        if plan not in self.settings.plans:
            raise InvalidParameterError("plan", repr(plan), f"one of {', '.join(self.settings.plans)}")
        return plan

    def _require_registration(self, *, is_invited: bool) -> None:
        registration = self.settings.registration
        if registration == "closed":
            raise ForbiddenError("Nobody can register here. Ask an admin for an account.")
        if registration == "invitation" and not is_invited:
            raise ForbiddenError("Registering here takes an invitation. Ask an admin for one.")

    def _hash_of_strong(self, password: str | None, email: str, name: str) -> str | None:
        if password is None:
            return None
        passwords.require_strong(password, email=email, name=name)
        return passwords.hash_password(password)

    def audit(self, action: str, subject: str, by: Caller | None, **details: object) -> AuditEntry:
        """Note in the audit log who did what; `by` None is this process itself."""
        return self._write_audit(action, subject, by, None, details)

    def _audit(
        self, action: str, subject: str, by: Caller | None, *, actor: str | None = None, **details: object
    ) -> None:
        self._write_audit(action, subject, by, actor, details)

    def _write_audit(
        self, action: str, subject: str, by: Caller | None, actor: str | None, details: Mapping[str, object]
    ) -> AuditEntry:
        return insert_audit_entry(
            self.store,
            actor_id=None if by is None else by.user.id,
            actor=actor or (self._process if by is None else by.user.email),
            action=action,
            subject=subject,
            details={name: str(value) for name, value in details.items()},
        )


def require_admin(by: Caller | None, *, what: str = "Only admins may do this.") -> None:
    """None is this machine's operator, or the process itself."""
    if by is not None and not is_admin(by):
        raise ForbiddenError(what)


def tidy_name(name: str) -> str:
    tidy = " ".join(storable(name).split())
    if not tidy or len(tidy) > MAX_NAME or not tidy.isprintable():
        raise InvalidParameterError("name", repr(tidy[:50]), f"1 to {MAX_NAME} printable characters")
    return tidy


def storable(said: str) -> str:
    """Without what no database can hold: the NUL character and lone surrogates."""
    return said.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _no_projects(_user_id: UUID) -> frozenset[UUID]:
    return frozenset()
