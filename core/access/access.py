"""Who asks, and what they may: the one door to accounts, sessions, one-time links and API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from core.access import passwords, tokens
from core.access.accounts import Accounts
from core.access.ground import require_admin
from core.access.keys import Keys, is_valid_key
from core.access.one_time_links import FIRST_ADMIN
from core.access.roles import ROLE_SCOPES
from core.access.sessions import SignedIn
from core.access.signing_keys import SigningKeys
from core.config import Settings
from core.domain import Caller
from core.errors import InvalidCredentialsError
from core.store.access_store import open_access_store
from core.store.api_keys import select_api_key
from core.store.users import select_user

__all__ = ["FIRST_ADMIN", "Access", "SignedIn", "is_valid_key"]


class Access(Accounts, Keys):
    """Accounts of one process. Safe to share between threads; close it once, at the end."""

    @staticmethod
    def open(settings: Settings, *, process: str = "telepathy") -> Access:
        """Open the access store and the signing keys, and make what is missing.

        `process` is who the audit log says acted where no caller did.

        Raises
        ------
        StoreError, MigrationError
            Store or keys cannot be opened.
        """
        keys = SigningKeys.open(settings.data_dir / "keys")
        access = Access(settings, open_access_store(settings.access_location), keys, process=process)
        passwords.prepare_for_strangers()
        return access

    def caller_again(self, caller: Caller) -> Caller:
        """`caller` as they are now, some time after they showed who they are: for what goes on for long.

        Raises
        ------
        InvalidCredentialsError
            The key or session was revoked or has expired, or the account was disabled or deleted.
        """
        if caller.key_id is None and caller.session_id is None:
            return caller
        if caller.key_id is None:
            return self._caller_of_session_id(caller.user.id, caller.session_id)
        key, user = select_api_key(self.store, key_id=caller.key_id), select_user(self.store, user_id=caller.user.id)
        if key is None or user is None or not user.is_active or not is_valid_key(key, datetime.now(UTC)):
            raise InvalidCredentialsError("The API key was revoked or has expired, or its account was disabled.")
        return self._caller_with_key(user, key)

    def caller_on_behalf_of(self, user_id: UUID, *, key_id: UUID | None) -> Caller:
        """Who sent work that goes on without them, as they are now, with no more than their key may.

        A key that has expired since, as one does some time after its rotation, was right when it sent the work.

        Raises
        ------
        InvalidCredentialsError
            The key was revoked, or the account was disabled or deleted.
        """
        user = select_user(self.store, user_id=user_id)
        if user is None or not user.is_active:
            raise InvalidCredentialsError("The account was disabled or deleted.")
        if key_id is None:
            return self._caller(user, scopes=ROLE_SCOPES[user.role], plan=user.plan)
        key = select_api_key(self.store, key_id=key_id)
        if key is None or key.revoked_at is not None:
            raise InvalidCredentialsError("The API key that it was sent with was revoked.")
        return self._caller_with_key(user, key)

    def close(self) -> None:
        """Write what is still to be noted, and close the store. A second call does nothing."""
        self._noting.shutdown()
        self.store.close()

    def rotate_signing_key(self, *, at_once: bool = False, by: Caller | None = None) -> str:
        """Sign tokens with a new key, and say which; the old one verifies until the last it signed has expired.

        `at_once` forgets it now, as after a leak: pages go on by their refresh tokens, programs sign in again.
        """
        require_admin(by)
        with self.store.exclusive("rotating the signing key"):
            keeps_for = timedelta(0) if at_once else self._token_lifetime + timedelta(seconds=2 * tokens.LEEWAY_S)
            key = self._signing_keys.rotate(keeps_for=keeps_for)
            self._audit("signing_key.rotate", key.kid, by, at_once=at_once)
            return key.kid
