"""Who asks, and what they may: the one door to accounts, sessions, one-time links and API keys."""

from __future__ import annotations

import dataclasses
import hmac
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from core.access import api_keys as key_text
from core.access import passwords, tokens
from core.access.emails import normalise_email
from core.access.roles import ROLE_SCOPES
from core.access.signing_keys import SigningKeys
from core.config import Settings
from core.domain import ApiKey, AuditEntry, Caller, LinkKind, OneTimeLink, Reader, Role, Scope, Session, User
from core.errors import (
    AddressTakenError,
    ForbiddenError,
    InvalidCredentialsError,
    InvalidLinkError,
    InvalidParameterError,
    LastAdminError,
    StoreError,
    UnknownKeyError,
    UnknownUserError,
)
from core.identifiers import new_id
from core.store.access_store import AccessStore, open_access_store
from core.store.api_keys import (
    insert_api_key,
    select_api_key,
    select_api_keys,
    select_kept_key,
    update_api_key_expiry,
    update_api_key_revoked,
    update_api_key_used,
    update_api_keys_revoked,
)
from core.store.audit import insert_audit_entry
from core.store.one_time_links import (
    delete_one_time_links,
    insert_one_time_link,
    select_invitation,
    select_one_time_link,
    update_one_time_link_used,
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
    count_other_active_admins,
    insert_user,
    select_is_email_proven,
    select_password_hash,
    select_user,
    select_user_by_email,
    select_users,
    update_email_proven,
    update_password,
    update_user,
)

log = structlog.get_logger(__name__)

FIRST_ADMIN = "admin@localhost"
REFRESH_GRACE = timedelta(seconds=30)
"""How long the refresh token before still gives the one after it: tabs that ask at once, answers that got lost."""
LAST_USE_PRECISION = timedelta(minutes=1)
"""`last_used_at` of keys is no newer than this: a row is not written for every call."""
FORGETTING = timedelta(days=30)
"""How long expired sessions and links are kept."""
MAX_NAME, MAX_USER_AGENT = 200, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """What somebody who just signed in, or refreshed, goes on with."""

    user: User
    session_id: UUID
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    session_expires_at: datetime


class Access:
    """Accounts of one process. Safe to share between threads; close it once, at the end."""

    def __init__(self, settings: Settings, store: AccessStore, keys: SigningKeys, *, process: str) -> None:
        self.settings = settings
        self.store = store
        self.project_ids_of: Callable[[UUID], frozenset[UUID]] = _no_projects
        """The projects that are shared with an account."""
        self._signing_keys = keys
        self._process = process
        self._noting = ThreadPoolExecutor(1, thread_name_prefix="key-use")
        self._being_noted: set[UUID] = set()
        self._being_noted_changing = threading.Lock()

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

    def close(self) -> None:
        """Write what is still to be noted, and close the store. A second call does nothing."""
        self._noting.shutdown()
        self.store.close()

    # Accounts

    def is_set_up(self) -> bool:
        """Whether some admin can sign in without a link."""

        def can_sign_in(user: User) -> bool:
            return user.has_password or (self.settings.single_sign_on and user.last_sign_in_at is not None)

        return any(user.role is Role.ADMIN and user.is_active and can_sign_in(user) for user in self.users())

    def set_up_link(self) -> str | None:
        """The token of a fresh link into the first admin's account, which is made if need be; None once set up."""
        with self.store.exclusive("making a set-up link"):
            if self.is_set_up():
                return None
            admins = [user for user in self.users() if user.role is Role.ADMIN and user.is_active]
            admin = admins[0] if admins else self._first_admin()
            return self._new_link(LinkKind.SET_UP, user=admin, by=None)

    def _first_admin(self) -> User:
        known = select_user_by_email(self.store, email=FIRST_ADMIN)
        if known is None:
            return self._add_user(FIRST_ADMIN, "Admin", Role.ADMIN, self.settings.new_user_plan, by=None)
        self._audit("user.enable", known.email, None)
        update_user(self.store, user_id=known.id, role=Role.ADMIN, is_active=True)
        return self.user(known.id)

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

    def create_user(
        self,
        email: str,
        name: str,
        role: Role,
        plan: str | None = None,
        *,
        by: Caller | None,
        password: str | None = None,
    ) -> User:
        """Make an account; without a password, a link from `reset_link` opens it.

        Raises
        ------
        AddressTakenError
            There is one with this address.
        WeakPasswordError, InvalidParameterError, ForbiddenError
            The password, the address, the name, or who asks is not right.
        """
        _require_admin(by)
        address, name = normalise_email(email), _tidy_name(name)
        plan = self._known_plan(plan or self.settings.new_user_plan)
        password_hash = self._hash_of_strong(password, address, name)
        with self.store.exclusive("making an account"):
            return self._add_user(address, name, role, plan, by=by, password_hash=password_hash, is_email_proven=True)

    def register(self, *, email: str, name: str, password: str, invitation: str | None = None) -> User:
        """Make an account for oneself, as far as the setting `registration` allows.

        Raises
        ------
        ForbiddenError
            Accounts cannot be made, or not without an invitation, or the invitation is somebody else's.
        InvalidLinkError
            The invitation was used, has expired, or never was.
        AddressTakenError, WeakPasswordError, InvalidParameterError
            Address, password or name is not right.
        """
        self._require_registration(is_invited=invitation is not None)
        address, name = normalise_email(email), _tidy_name(name)
        password_hash = self._hash_of_strong(password, address, name)
        with self.store.exclusive("registering an account"):
            role = Role(self.settings.new_user_role)
            if invitation is not None:
                link = self._use(invitation)
                if link.kind is not LinkKind.INVITATION or link.role is None:
                    raise InvalidLinkError
                if link.email != address:
                    raise ForbiddenError(f"The invitation is for {link.email}. Register with that address.")
                role = link.role
            return self._add_user(
                address,
                name,
                role,
                self.settings.new_user_plan,
                by=None,
                actor=address,
                password_hash=password_hash,
                is_email_proven=invitation is not None,
            )

    def _require_registration(self, *, is_invited: bool) -> None:
        registration = self.settings.registration
        if registration == "closed":
            raise ForbiddenError("Nobody can register here. Ask an admin for an account.")
        if registration == "invitation" and not is_invited:
            raise ForbiddenError("Registering here takes an invitation. Ask an admin for one.")

    def find_or_create_user(self, email: str, name: str) -> User:
        """The account of somebody whom single sign-on vouches for; a new one where `registration` lets them make it.

        With `invitation`, that takes one that is still open; with `closed`, an account has to be there.

        An address that nobody had proved to be theirs, registered openly, may be a trap laid by somebody else: its
        password, sessions and keys end here.

        Raises
        ------
        ForbiddenError
            There is no account and none may be made.
        InvalidParameterError
            The address is none.
        """
        address = normalise_email(email)
        with self.store.exclusive("finding an account"):
            user = select_user_by_email(self.store, email=address)
            if user is not None:
                if not select_is_email_proven(self.store, user_id=user.id):
                    self._take_over(user)
                return self.user(user.id)
            invitation = select_invitation(self.store, email=address, at=datetime.now(UTC))
            self._require_registration(is_invited=invitation is not None)
            role = Role(self.settings.new_user_role)
            if invitation is not None and invitation.role is not None:
                role = invitation.role
                update_one_time_links_revoked(self.store, email=address, at=datetime.now(UTC))
            return self._add_user(
                address,
                _tidy_name(name or address.partition("@")[0]),
                role,
                self.settings.new_user_plan,
                by=None,
                actor=address,
                is_email_proven=True,
            )

    def _take_over(self, user: User) -> None:
        now = datetime.now(UTC)
        update_password(self.store, user_id=user.id, password_hash=None)
        update_email_proven(self.store, user_id=user.id)
        update_sessions_revoked(self.store, user_id=user.id, at=now)
        update_api_keys_revoked(self.store, user_id=user.id, at=now)
        update_one_time_links_revoked(self.store, email=user.email, at=now)
        self._audit("user.prove_address", user.email, None, actor=user.email)

    def change_role(self, user_id: UUID, role: Role, *, by: Caller | None) -> User:
        """Give an account another role, which holds from its next request on.

        Raises
        ------
        LastAdminError
            There would be no active admin.
        UnknownUserError, ForbiddenError
            There is no such account, or who asks is no admin.
        """
        _require_admin(by)
        with self.store.exclusive("changing a role"):
            user = self.user(user_id)
            if user.role is role:
                return user
            self._require_another_admin(user)
            update_user(self.store, user_id=user_id, role=role)
            self._audit("user.role", user.email, by, old=user.role, new=role)
            return self.user(user_id)

    def change_plan(self, user_id: UUID, plan: str, *, by: Caller | None) -> User:
        """Give an account another plan. Raises InvalidParameterError, UnknownUserError, ForbiddenError."""
        _require_admin(by)
        plan = self._known_plan(plan)
        with self.store.exclusive("changing a plan"):
            user = self.user(user_id)
            if user.plan != plan:
                update_user(self.store, user_id=user_id, plan=plan)
                self._audit("user.plan", user.email, by, old=user.plan, new=plan)
            return self.user(user_id)

    def change_active(self, user_id: UUID, is_active: bool, *, by: Caller | None) -> User:
        """Disable an account, or enable it again. Disabled, its sessions and links end and its keys rest at once.

        Raises
        ------
        LastAdminError
            There would be no active admin.
        UnknownUserError, ForbiddenError
            There is no such account, or who asks is no admin.
        """
        _require_admin(by)
        with self.store.exclusive("disabling or enabling an account"):
            user = self.user(user_id)
            if user.is_active == is_active:
                return user
            if not is_active:
                self._require_another_admin(user)
                update_sessions_revoked(self.store, user_id=user_id, at=datetime.now(UTC))
                update_one_time_links_revoked(self.store, email=user.email, at=datetime.now(UTC))
            update_user(self.store, user_id=user_id, is_active=is_active)
            self._audit("user.enable" if is_active else "user.disable", user.email, by)
            return self.user(user_id)

    def _require_another_admin(self, user: User) -> None:
        """Raises LastAdminError where `user` is the only active admin; true only inside an exclusive transaction."""
        is_admin = user.role is Role.ADMIN and user.is_active
        if is_admin and count_other_active_admins(self.store, user_id=user.id) == 0:
            raise LastAdminError

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

    # Passwords and sessions

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

    def _user_of_typed(self, email: str) -> User | None:
        try:
            return select_user_by_email(self.store, email=normalise_email(email))
        except InvalidParameterError:
            return None

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
            address=_storable(address)[:MAX_NAME],
            user_agent=_storable(user_agent)[:MAX_USER_AGENT],
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

    def _hash_of_strong(self, password: str | None, email: str, name: str) -> str | None:
        if password is None:
            return None
        passwords.require_strong(password, email=email, name=name)
        return passwords.hash_password(password)

    # One-time links

    def invite(self, *, email: str, role: Role, by: Caller | None) -> str:
        """The token of a link that makes an account of this role. An earlier invitation of the address ends.

        Raises
        ------
        AddressTakenError
            There is an account with this address.
        ForbiddenError, InvalidParameterError
            Who asks is no admin, registration is closed, or the address is none.
        """
        _require_admin(by)
        self._require_registration(is_invited=True)
        address = normalise_email(email)
        with self.store.exclusive("inviting somebody"):
            if select_user_by_email(self.store, email=address) is not None:
                raise AddressTakenError(address)
            update_one_time_links_revoked(self.store, email=address, at=datetime.now(UTC))
            return self._new_link(LinkKind.INVITATION, email=address, role=role, by=by)

    def reset_link(self, email_or_id: str | UUID, *, by: Caller | None = None) -> str | None:
        """The token of a link that sets the first or another password of an account; None where there is no account, or
        a disabled one.

        Who offers this to strangers says the same sentence for both, and sends the mail after that.
        """
        if by is not None:
            _require_admin(by)
        with self.store.exclusive("making a one-time link"):
            if isinstance(email_or_id, UUID):
                user = select_user(self.store, user_id=email_or_id)
            else:
                user = self._user_of_typed(email_or_id)
            if user is None or not user.is_active:
                return None
            return self._new_link(LinkKind.PASSWORD_RESET, user=user, by=by)

    def _new_link(
        self,
        kind: LinkKind,
        *,
        by: Caller | None,
        user: User | None = None,
        email: str = "",
        role: Role | None = None,
    ) -> str:
        token, now = secrets.token_urlsafe(32), datetime.now(UTC)
        link = OneTimeLink(
            kind=kind,
            user_id=None if user is None else user.id,
            email=email if user is None else user.email,
            role=role,
            created_at=now,
            expires_at=now + timedelta(hours=self.settings.link_hours),
        )
        insert_one_time_link(self.store, link=link, token_hash=tokens.token_hash(token))
        details = {"kind": kind} if role is None else {"kind": kind, "role": role}
        self._write_audit("link.create", link.email, by, None, details)
        return token

    def peek_link(self, token: str) -> LinkKind:
        """What a link is for, without using it. Raises InvalidLinkError."""
        return self.look_at_link(token).kind

    def look_at_link(self, token: str) -> OneTimeLink:
        """A link, without using it. Raises InvalidLinkError."""
        link = select_one_time_link(self.store, token_hash=tokens.token_hash(token), at=datetime.now(UTC))
        if link is None:
            raise InvalidLinkError
        return link

    def use_link(
        self,
        token: str,
        *,
        address: str,
        user_agent: str,
        new_password: str | None = None,
        name: str | None = None,
    ) -> SignedIn:
        """Sign in with a link, and set a password where one is given: all of it, or the link can be used again.

        All other links of the account end. An invitation makes the account, called `name`, or as its address is before
        the @.

        Raises
        ------
        InvalidLinkError
            It was used, has expired, or never was.
        WeakPasswordError, InvalidParameterError
            The new password is too weak, or the name is none.
        AddressTakenError, ForbiddenError
            The invited address has an account by now, or registration was closed.
        """
        link = self.look_at_link(token)
        known = None if link.user_id is None else self.user(link.user_id)
        name = _tidy_name(name or link.email.partition("@")[0]) if known is None else known.name
        password_hash = self._hash_of_strong(new_password, link.email, name)
        with self.store.exclusive("using a one-time link"):
            user = self._account_of(self._use(token), name)
            if password_hash is not None:
                self._write_password(user, password_hash, keeps_session=None)
            return self._begin_session(self.user(user.id), address=address, user_agent=user_agent)

    def _use(self, token: str) -> OneTimeLink:
        now = datetime.now(UTC)
        link = update_one_time_link_used(self.store, token_hash=tokens.token_hash(token), at=now)
        if link is None:
            raise InvalidLinkError
        update_one_time_links_revoked(self.store, email=link.email, at=now)
        self._audit("link.use", link.email, None, actor=link.email, kind=link.kind)
        return link

    def _account_of(self, link: OneTimeLink, name: str) -> User:
        if link.role is not None:
            self._require_registration(is_invited=True)
            plan = self.settings.new_user_plan
            return self._add_user(link.email, name, link.role, plan, by=None, actor=link.email, is_email_proven=True)
        user = None if link.user_id is None else select_user(self.store, user_id=link.user_id)
        if user is None or not user.is_active:
            raise InvalidLinkError
        update_email_proven(self.store, user_id=user.id)
        return user

    # Who asks

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
        if (
            kept is None
            or not hmac.compare_digest(kept.key_hash, presented)
            or not is_valid_key(kept.key, now)
            or not kept.user.is_active
        ):
            raise InvalidCredentialsError("The API key is not valid: it is not whole, was revoked, or has expired.")
        self._note_use(kept.key, now)
        return self._caller(
            kept.user,
            scopes=kept.key.scopes & ROLE_SCOPES[kept.user.role],
            plan=kept.key.plan or kept.user.plan,
            key_id=kept.key.id,
        )

    def caller_of_token(self, token: str) -> Caller:
        """Who holds this signed token. Raises InvalidCredentialsError when it or its session has ended, or is none."""
        return self._caller_of_session(tokens.read_token(self._signing_keys, token))

    def caller_of_page(self, access_token: str | None, refresh_token: str | None) -> Caller | None:
        """Who looks at a page, by the cookies that its connection began with; None when nobody is signed in.

        The connection outlives the signed token, and cookies cannot be changed on it: an expired token will do while
        its session lives. Where the token is unreadable, the refresh token says which session it is.
        """
        if access_token:
            try:
                return self._caller_of_session(tokens.read_token(self._signing_keys, access_token, allows_expired=True))
            except InvalidCredentialsError:
                pass
        if refresh_token:
            try:
                return self._caller_of_refresh_token(refresh_token)
            except InvalidCredentialsError:
                pass
        return None

    def _caller_of_session(self, claims: tokens.Claims) -> Caller:
        kept = select_kept_session(self.store, session_id=claims.session_id)
        if kept is None or kept.user.id != claims.user_id:
            raise InvalidCredentialsError("The session has ended. Sign in again.")
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
            raise InvalidCredentialsError("The session has ended. Sign in again.")
        return self._caller(
            kept.user, scopes=ROLE_SCOPES[kept.user.role], plan=kept.user.plan, session_id=kept.session.id
        )

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

    # API keys

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
        name = _tidy_name(name)
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise InvalidParameterError("expires_at", expires_at.isoformat(), "in the future")
        if plan is not None:
            _require_admin(by, what="Only admins give a key another plan than its owner's.")
            self._known_plan(plan)
        with self.store.exclusive("making an API key"):
            user = self.user(user_id)
            self._require_scopes(user, scopes, by)
            return self._add_key(user, name, scopes, expires_at=expires_at, plan=plan, by=by)

    def _require_scopes(self, user: User, scopes: frozenset[Scope], by: Caller | None) -> None:
        """Raises unless `by` may give a key of `user` these scopes: no more than the role has, or than they have."""
        if by is not None and by.user.id != user.id:
            _require_admin(by, what="Only admins make keys for others.")
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
        if key is None or (by is not None and by.user.id != key.user_id and not _is_admin(by)):
            raise UnknownKeyError(key_id)
        return key

    # The rest

    def rotate_signing_key(self, *, at_once: bool = False, by: Caller | None = None) -> str:
        """Sign tokens with a new key, and say which; the old one verifies until the last it signed has expired.

        `at_once` forgets it now, as after a leak: pages go on by their refresh tokens, programs sign in again.
        """
        _require_admin(by)
        with self.store.exclusive("rotating the signing key"):
            keeps_for = timedelta(0) if at_once else self._token_lifetime + timedelta(seconds=2 * tokens.LEEWAY_S)
            key = self._signing_keys.rotate(keeps_for=keeps_for)
            self._audit("signing_key.rotate", key.kid, by, at_once=at_once)
            return key.kid

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


def is_valid_key(key: ApiKey, at: datetime) -> bool:
    """Whether a key is neither revoked nor expired at this time; its owner may be disabled all the same."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > at)


def _is_alive(kept: KeptSession, at: datetime) -> bool:
    return kept.user.is_active and kept.session.revoked_at is None and kept.session.expires_at > at


def _is_previous(presented: str, kept: KeptSession, at: datetime) -> bool:
    """Whether this is the hash of the refresh token before, exchanged a moment ago."""
    return (
        kept.previous_refresh_hash is not None
        and hmac.compare_digest(presented, kept.previous_refresh_hash)
        and at - kept.session.refreshed_at <= REFRESH_GRACE
    )


def _is_admin(by: Caller) -> bool:
    return by.user.role is Role.ADMIN and Scope.ADMIN in by.scopes


def _require_admin(by: Caller | None, *, what: str = "Only admins may do this.") -> None:
    """None is this machine's operator, or the process itself."""
    if by is not None and not _is_admin(by):
        raise ForbiddenError(what)


def _tidy_name(name: str) -> str:
    tidy = " ".join(_storable(name).split())
    if not tidy or len(tidy) > MAX_NAME or not tidy.isprintable():
        raise InvalidParameterError("name", repr(tidy[:50]), f"1 to {MAX_NAME} printable characters")
    return tidy


def _storable(said: str) -> str:
    """Without what no database can hold: the NUL character and lone surrogates."""
    return said.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _no_projects(_user_id: UUID) -> frozenset[UUID]:
    return frozenset()
