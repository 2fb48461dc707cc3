"""API keys: made, used, rotated, revoked."""

from __future__ import annotations

import hmac
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from core.access import api_keys as key_text
from core.access.ground import require_admin, tidy_name
from core.access.roles import ROLE_SCOPES, is_admin
from core.access.sessions import Sessions
from core.access.signing_keys import SigningKeys
from core.config import Settings
from core.domain import ApiKey, Caller, Scope, User
from core.errors import (
    ForbiddenError,
    InvalidCredentialsError,
    InvalidParameterError,
    StoreError,
    UnknownKeyError,
)
from core.identifiers import new_id
from core.store.access_store import AccessStore
from core.store.api_keys import (
    insert_api_key,
    select_api_key,
    select_api_keys,
    select_kept_key,
    update_api_key_expiry,
    update_api_key_revoked,
    update_api_key_used,
)

log = structlog.get_logger(__name__)

LAST_USE_PRECISION = timedelta(minutes=1)
"""`last_used_at` of keys is no newer than this: a row is not written for every call."""


class Keys(Sessions):
    """The part of `Access` that knows API keys."""

    def __init__(self, settings: Settings, store: AccessStore, keys: SigningKeys, *, process: str) -> None:
        super().__init__(settings, store, keys, process=process)
        self._noting = ThreadPoolExecutor(1, thread_name_prefix="key-use")
        self._being_noted: set[UUID] = set()
        self._being_noted_changing = threading.Lock()

    def caller_of_key(self, key: str) -> Caller:
        """Whose key this is, and what it may. Asks the store each time: what was revoked is refused at once.

        Raises
        ------
        InvalidCredentialsError
            It is no key, was revoked or has expired, or its owner is disabled.
        """
        now = datetime.now(UTC)
        kept, presented = None, ""
        if key_text.is_well_formed(key):
            presented = key_text.key_hash(key)
            kept = select_kept_key(self.store, key_hash=presented)
        if kept is not None and not hmac.compare_digest(kept.key_hash, presented):
            kept = None
        if kept is None or not is_valid_key(kept.key, now) or not kept.user.is_active:
            sentence = "The API key is not valid: it is not whole, was revoked, or has expired."
            raise InvalidCredentialsError(sentence, is_guess=kept is None)
        self._note_use(kept.key, now)
        return self._caller_with_key(kept.user, kept.key)

    def _caller_with_key(self, user: User, key: ApiKey) -> Caller:
        scopes = key.scopes & ROLE_SCOPES[user.role]
        return self._caller(user, scopes=scopes, plan=key.plan or user.plan, key_id=key.id)

    def _note_use(self, key: ApiKey, now: datetime) -> None:
        """Have another thread write `last_used_at`: no call waits for it, or fails with it."""
        if key.last_used_at is not None and now - key.last_used_at < LAST_USE_PRECISION:
            return
        with self._being_noted_changing:
            if key.id in self._being_noted:
                return
            self._being_noted.add(key.id)
        try:
            self._noting.submit(self._write_use, key.id, now)
        except RuntimeError:
            log.info("the use of an API key was not noted: the process is about to stop", key=str(key.id))

    def _write_use(self, key_id: UUID, now: datetime) -> None:
        try:
            update_api_key_used(self.store, key_id=key_id, at=now, unless_since=now - LAST_USE_PRECISION)
        except StoreError as error:
            log.warning("the use of an API key was not noted", key=str(key_id), reason=str(error))
        finally:
            with self._being_noted_changing:
                self._being_noted.discard(key_id)

    def keys_of(self, user_id: UUID) -> list[ApiKey]:
        """The keys of an account, the newest first; ended ones too."""
        return select_api_keys(self.store, user_id=user_id)

    def all_keys(self) -> list[ApiKey]:
        """Everybody's keys, the newest first; ended ones too."""
        return select_api_keys(self.store)

    def create_key(
        self,
        user_id: UUID,
        name: str,
        scopes: frozenset[Scope],
        *,
        expires_at: datetime | None = None,
        plan: str | None = None,
        by: Caller | None,
    ) -> tuple[ApiKey, str]:
        """Make a key: what is kept of it, and the key itself, which nobody can be shown again.

        Raises
        ------
        ForbiddenError
            Who asks is neither its owner nor an admin, or may not give these scopes or another plan.
        InvalidParameterError
            Name, scopes, expiry or plan is not right.
        UnknownUserError
            There is no such account.
        """
        name = tidy_name(name)
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise InvalidParameterError("expires_at", expires_at.isoformat(), "in the future")
        if plan is not None:
            require_admin(by, what="Only admins give a key another plan than its owner's.")
            self._known_plan(plan)
        with self.store.exclusive("making an API key"):
            user = self.user(user_id)
            self._require_scopes(user, scopes, by)
            return self._add_key(user, name, scopes, expires_at=expires_at, plan=plan, by=by)

    def _require_scopes(self, user: User, scopes: frozenset[Scope], by: Caller | None) -> None:
        """Raises unless `by` may give a key of `user` these scopes: no more than the role has, or than they have."""
        if by is not None and by.user.id != user.id:
            require_admin(by, what="Only admins make keys for others.")
        if not scopes:
            raise InvalidParameterError("scopes", "empty", f"one or more of {', '.join(Scope)}")
        allowed = ROLE_SCOPES[user.role] if by is None else ROLE_SCOPES[user.role] & by.scopes
        if not scopes <= allowed:
            excess = ", ".join(sorted(scopes - allowed))
            raise ForbiddenError(f"A key with the scope {excess} is more than {user.email} may have, or you may give.")

    def _add_key(
        self,
        user: User,
        name: str,
        scopes: frozenset[Scope],
        *,
        expires_at: datetime | None,
        plan: str | None,
        by: Caller | None,
        replaces_id: UUID | None = None,
    ) -> tuple[ApiKey, str]:
        text = key_text.new_key()
        key = ApiKey(
            id=new_id(),
            user_id=user.id,
            name=name,
            prefix=text[: key_text.N_SHOWN],
            last_four=text[-4:],
            scopes=scopes,
            plan=plan,
            created_at=datetime.now(UTC),
            expires_at=expires_at,
            last_used_at=None,
            revoked_at=None,
            replaces_id=replaces_id,
        )
        insert_api_key(self.store, key=key, key_hash=key_text.key_hash(text))
        self._audit("key.create", str(key.id), by, owner=user.email, name=name, scopes=" ".join(sorted(scopes)))
        return key, text

    def rotate_key(self, key_id: UUID, *, by: Caller | None, overlap: timedelta) -> tuple[ApiKey, str]:
        """A new key like an old one, which ends after `overlap` and until then is valid beside it.

        The new one lives as long as the old one was made for.

        Raises
        ------
        UnknownKeyError
            There is no such key, or it is somebody else's.
        ForbiddenError
            It has ended, was rotated before, or has scopes that who asks may not give.
        """
        if overlap < timedelta(0):
            raise InvalidParameterError("overlap", str(overlap), "0 or more")
        with self.store.exclusive("rotating an API key"):
            now, old = datetime.now(UTC), self._key_for(key_id, by)
            if not is_valid_key(old, now):
                raise ForbiddenError(f"The API key {old.name!r} has ended. Make a new one instead.")
            if any(other.replaces_id == key_id for other in self.keys_of(old.user_id)):
                raise ForbiddenError(f"The API key {old.name!r} was rotated before. Rotate the one that replaced it.")
            owner = self.user(old.user_id)
            scopes = old.scopes & ROLE_SCOPES[owner.role]
            self._require_scopes(owner, scopes, by)
            lifetime = None if old.expires_at is None else old.expires_at - old.created_at
            made = self._add_key(
                owner,
                old.name,
                scopes,
                expires_at=None if lifetime is None else now + lifetime,
                plan=old.plan,
                by=by,
                replaces_id=old.id,
            )
            ends_at = now + overlap if old.expires_at is None else min(old.expires_at, now + overlap)
            update_api_key_expiry(self.store, key_id=old.id, expires_at=ends_at)
            self._audit("key.rotate", str(old.id), by, new=made[0].id, ends_at=ends_at.isoformat())
            return made

    def revoke_key(self, key_id: UUID, *, by: Caller | None) -> None:
        """End a key: its next request is refused. Raises UnknownKeyError when it is none, or somebody else's."""
        with self.store.exclusive("revoking an API key"):
            key = self._key_for(key_id, by)
            if update_api_key_revoked(self.store, key_id=key_id, at=datetime.now(UTC)):
                self._audit("key.revoke", str(key_id), by, owner=self.user(key.user_id).email, name=key.name)

    def _key_for(self, key_id: UUID, by: Caller | None) -> ApiKey:
        key = select_api_key(self.store, key_id=key_id)
        if key is None or (by is not None and by.user.id != key.user_id and not is_admin(by)):
            raise UnknownKeyError(key_id)
        return key


def is_valid_key(key: ApiKey, at: datetime) -> bool:
    """Whether a key is neither revoked nor expired at this time; its owner may be disabled all the same."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > at)
