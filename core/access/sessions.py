"""Signing in, going on, and every way in which a session ends."""

from __future__ import annotations

import dataclasses
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from core.access import passwords, tokens
from core.access.ground import MAX_NAME, Ground, storable
from core.access.roles import ROLE_SCOPES
from core.domain import Caller, Reader, Role, Scope, Session, User
from core.errors import (
    ForbiddenError,
    InvalidCredentialsError,
    UnknownUserError,
)
from core.identifiers import new_id
from core.store.one_time_links import (
    delete_one_time_links,
    update_one_time_links_revoked,
)
from core.store.sessions import (
    KeptSession,
    delete_sessions,
    insert_session,
    select_kept_session,
    select_sessions,
    update_session_refresh,
    update_session_revoked,
    update_sessions_revoked,
)
from core.store.users import (
    select_password_hash,
    update_password,
    update_user,
)

log = structlog.get_logger(__name__)

REFRESH_GRACE = timedelta(seconds=30)
"""How long the refresh token before still gives the one after it: tabs that ask at once, answers that got lost."""
FORGETTING = timedelta(days=30)
"""How long expired sessions and links are kept."""
MAX_USER_AGENT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """What somebody who just signed in, or refreshed, goes on with."""

    user: User
    session_id: UUID
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session_expires_at: datetime


class Sessions(Ground):
    """The part of `Access` that knows who is signed in."""

    def sign_in(self, *, email: str, password: str, address: str, user_agent: str) -> SignedIn:
        """Begin a session with a password.

        Raises
        ------
        InvalidCredentialsError
            Address or password is not right, or the account is disabled: the same sentence after the same time.
        """
        user = self._user_of_typed(email)
        password_hash = None if user is None or not user.is_active else self._password_hash(user.id)
        if not passwords.is_password(password, password_hash) or user is None or password_hash is None:
            raise InvalidCredentialsError
        fresh = passwords.hash_password(password) if passwords.is_outdated(password_hash) else None
        with self.store.exclusive("signing in"):
            if self._password_hash(user.id) != password_hash:
                raise InvalidCredentialsError  # it was changed meanwhile
            if fresh is not None:
                update_password(self.store, user_id=user.id, password_hash=fresh)
            user = self.user(user.id)
            if not user.is_active:
                raise InvalidCredentialsError
            return self._begin_session(user, address=address, user_agent=user_agent)

    def _password_hash(self, user_id: UUID) -> str | None:
        return select_password_hash(self.store, user_id=user_id)

    def start_session(self, user: User, *, address: str, user_agent: str) -> SignedIn:
        """Begin a session of somebody whose identity is proved. Raises ForbiddenError when the account is disabled."""
        with self.store.exclusive("signing in"):
            user = self.user(user.id)
            if not user.is_active:
                raise ForbiddenError("This account is disabled. Ask an admin to enable it.")
            return self._begin_session(user, address=address, user_agent=user_agent)

    def _begin_session(self, user: User, *, address: str, user_agent: str) -> SignedIn:
        now = datetime.now(UTC)
        delete_sessions(self.store, expired_before=now - FORGETTING)
        delete_one_time_links(self.store, expired_before=now - FORGETTING)
        session = Session(
            id=new_id(),
            user_id=user.id,
            created_at=now,
            expires_at=now + timedelta(days=self.settings.session_days),
            refreshed_at=now,
            address=storable(address)[:MAX_NAME],
            user_agent=storable(user_agent)[:MAX_USER_AGENT],
            revoked_at=None,
        )
        refresh_token = tokens.new_refresh_token(session.id)
        insert_session(self.store, session=session, refresh_hash=tokens.token_hash(refresh_token))
        update_user(self.store, user_id=user.id, last_sign_in_at=now)
        return self._signed_in(dataclasses.replace(user, last_sign_in_at=now), session, refresh_token)

    def _signed_in(self, user: User, session: Session, refresh_token: str) -> SignedIn:
        lifetime = min(self._token_lifetime, session.expires_at - datetime.now(UTC))
        return SignedIn(
            user=user,
            session_id=session.id,
            access_token=tokens.sign_token(
                self._signing_keys, user_id=user.id, session_id=session.id, lifetime=lifetime
            ),
            refresh_token=refresh_token,
            session_expires_at=session.expires_at,
        )

    @property
    def _token_lifetime(self) -> timedelta:
        return timedelta(minutes=self.settings.access_token_minutes)

    def refresh(self, refresh_token: str) -> SignedIn:
        """Exchange a refresh token for the next one and a new access token.

        Within `REFRESH_GRACE` the token before gives the same answer again; later, somebody else has a copy of it: the
        session ends.

        Raises
        ------
        InvalidCredentialsError
            The token is none, or its session has ended.
        """
        session_id = tokens.session_of_refresh_token(refresh_token)
        with self.store.exclusive("refreshing a session"):
            now = datetime.now(UTC)
            kept = select_kept_session(self.store, session_id=session_id)
            if kept is None or not _is_alive(kept, now):
                raise InvalidCredentialsError("The session has ended. Sign in again.")
            presented = tokens.token_hash(refresh_token)
            if hmac.compare_digest(presented, kept.refresh_hash):
                fresh = tokens.next_refresh_token(refresh_token, self._signing_keys.current())
                update_session_refresh(
                    self.store,
                    session_id=session_id,
                    refresh_hash=tokens.token_hash(fresh),
                    previous_refresh_hash=presented,
                    at=now,
                )
                return self._signed_in(kept.user, kept.session, fresh)
            if _is_previous(presented, kept, now):
                for key in self._signing_keys.all():
                    again = tokens.next_refresh_token(refresh_token, key)
                    if hmac.compare_digest(tokens.token_hash(again), kept.refresh_hash):
                        return self._signed_in(kept.user, kept.session, again)
            else:
                update_session_revoked(self.store, session_id=session_id, at=now)
                self._audit("session.reuse", kept.user.email, None, session=session_id)
                log.warning("a refresh token was used twice; its session has ended", session=str(session_id))
        raise InvalidCredentialsError("The session has ended. Sign in again.")

    def sign_out(self, session_id: UUID) -> None:
        """End a session; nothing happens when it has ended before."""
        update_session_revoked(self.store, session_id=session_id, at=datetime.now(UTC))

    def sign_out_everywhere(self, user_id: UUID) -> None:
        """End all sessions of an account."""
        with self.store.exclusive("ending sessions"):
            user = self.user(user_id)
            n_sessions = update_sessions_revoked(self.store, user_id=user_id, at=datetime.now(UTC))
            self._audit("session.revoke_all", user.email, None, actor=user.email, n_sessions=n_sessions)

    def sessions_of(self, user_id: UUID) -> list[Session]:
        """The living sessions of an account, the newest first."""
        return select_sessions(self.store, user_id=user_id, at=datetime.now(UTC))

    def set_password(
        self, user_id: UUID, *, new: str, old: str | None = None, keeps_session: UUID | None = None
    ) -> None:
        """Give an account another password; its other sessions and its links end.

        `old` is compared when it is given. Without it, whoever calls has made sure that the account's owner asks, by a
        link or because there was no password yet.

        Raises
        ------
        InvalidCredentialsError
            `old` is not the password.
        WeakPasswordError, UnknownUserError
            `new` is too weak, or there is no such account.
        """
        user = self.user(user_id)
        password_hash = self._password_hash(user_id)
        if old is not None and not passwords.is_password(old, password_hash):
            raise InvalidCredentialsError("The present password is not right.")
        fresh = self._hash_of_strong(new, user.email, user.name)
        with self.store.exclusive("changing a password"):
            if old is not None and self._password_hash(user_id) != password_hash:
                raise InvalidCredentialsError("The present password is not right.")
            self._write_password(user, fresh, keeps_session=keeps_session)

    def _write_password(self, user: User, password_hash: str | None, *, keeps_session: UUID | None) -> None:
        now = datetime.now(UTC)
        update_password(self.store, user_id=user.id, password_hash=password_hash)
        n_sessions = update_sessions_revoked(self.store, user_id=user.id, at=now, besides=keeps_session)
        update_one_time_links_revoked(self.store, email=user.email, at=now)
        self._audit("user.password", user.email, None, actor=user.email, n_sessions_ended=n_sessions)

    def caller_of_token(self, token: str) -> Caller:
        """Who holds this signed token. Raises InvalidCredentialsError when it or its session has ended, or is none."""
        return self._caller_of_session(tokens.read_token(self._signing_keys, token))

    def caller_of_page(self, access_token: str | None, refresh_token: str | None) -> Caller | None:
        """Who looks at a page, by the cookies that its connection began with; None when nobody is signed in.

        The connection outlives the signed token, and cookies cannot be changed on it: an expired token will do while
        its session lives. Where the token is unreadable, the refresh token says which session it is.
        """
        return self._caller_of_cookies(access_token, refresh_token, allows_expired=True)

    def caller_of_request(self, access_token: str | None, refresh_token: str | None) -> Caller | None:
        """Who sends a request, by the cookies that came with it; None when nobody is signed in.

        They are those that the browser holds now, so an expired token, which somebody else may have kept, counts for
        nothing; the refresh token beside it says which session it is.
        """
        return self._caller_of_cookies(access_token, refresh_token, allows_expired=False)

    def _caller_of_cookies(
        self, access_token: str | None, refresh_token: str | None, *, allows_expired: bool
    ) -> Caller | None:
        if access_token:
            try:
                claims = tokens.read_token(self._signing_keys, access_token, allows_expired=allows_expired)
                return self._caller_of_session(claims)
            except InvalidCredentialsError:
                pass
        if refresh_token:
            try:
                return self._caller_of_refresh_token(refresh_token)
            except InvalidCredentialsError:
                pass
        return None

    def _caller_of_session(self, claims: tokens.Claims) -> Caller:
        return self._caller_of_session_id(claims.user_id, claims.session_id)

    def _caller_of_session_id(self, user_id: UUID, session_id: UUID | None) -> Caller:
        kept = None if session_id is None else select_kept_session(self.store, session_id=session_id)
        if kept is None or kept.user.id != user_id:
            raise InvalidCredentialsError("The session has ended. Sign in again.", is_guess=False)
        return self._caller_of_kept(kept)

    def _caller_of_refresh_token(self, refresh_token: str) -> Caller:
        session_id = tokens.session_of_refresh_token(refresh_token)
        kept = select_kept_session(self.store, session_id=session_id)
        presented = tokens.token_hash(refresh_token)
        if kept is None or not (
            hmac.compare_digest(presented, kept.refresh_hash) or _is_previous(presented, kept, datetime.now(UTC))
        ):
            raise InvalidCredentialsError("The session has ended. Sign in again.")
        return self._caller_of_kept(kept)

    def _caller_of_kept(self, kept: KeptSession) -> Caller:
        if not _is_alive(kept, datetime.now(UTC)):
            raise InvalidCredentialsError("The session has ended. Sign in again.", is_guess=False)
        return self._caller(
            kept.user, scopes=ROLE_SCOPES[kept.user.role], plan=kept.user.plan, session_id=kept.session.id
        )

    def caller_on_behalf(self, user_id: UUID) -> Caller | None:
        """Who somebody would be as a caller now, for what they left to be done without them; None where they are
        disabled, or deleted."""
        try:
            user = self.user(user_id)
        except UnknownUserError:
            return None
        return self._caller(user, scopes=ROLE_SCOPES[user.role], plan=user.plan) if user.is_active else None

    def _caller(
        self,
        user: User,
        *,
        scopes: frozenset[Scope],
        plan: str,
        key_id: UUID | None = None,
        session_id: UUID | None = None,
    ) -> Caller:
        reader = Reader(
            user_id=user.id,
            project_ids=self.project_ids_of(user.id),
            sees_everything=user.role is Role.ADMIN and Scope.ADMIN in scopes,
        )
        known_plan = plan if plan in self.settings.plans else self.settings.new_user_plan
        return Caller(user=user, scopes=scopes, reader=reader, plan=known_plan, key_id=key_id, session_id=session_id)


def _is_alive(kept: KeptSession, at: datetime) -> bool:
    return kept.user.is_active and kept.session.revoked_at is None and kept.session.expires_at > at


def _is_previous(presented: str, kept: KeptSession, at: datetime) -> bool:
    """Whether this is the hash of the refresh token before, exchanged a moment ago."""
    return (
        kept.previous_refresh_hash is not None
        and hmac.compare_digest(presented, kept.previous_refresh_hash)
        and at - kept.session.refreshed_at <= REFRESH_GRACE
    )
