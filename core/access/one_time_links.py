"""One-time links: into the first admin's account, to an account of one's own, to another password."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

from core.access import tokens
from core.access.emails import normalise_email
from core.access.ground import require_admin, tidy_name
from core.access.sessions import Sessions, SignedIn
from core.domain import Caller, LinkKind, OneTimeLink, Role, User
from core.errors import (
    AddressTakenError,
    InvalidLinkError,
)
from core.store.one_time_links import (
    insert_one_time_link,
    select_invitation,
    select_one_time_link,
    update_one_time_link_used,
    update_one_time_links_revoked,
)
from core.store.users import (
    select_user,
    select_user_by_email,
    update_email_proven,
    update_user,
)

FIRST_ADMIN = "admin@localhost"


class OneTimeLinks(Sessions):
    """The part of `Access` that hands out links and lets people in by them."""

    def is_set_up(self) -> bool:
        """Whether some admin can sign in without a link."""

        def can_sign_in(user: User) -> bool:
            return user.has_password or (self.settings.single_sign_on and user.last_sign_in_at is not None)

        return any(user.role is Role.ADMIN and user.is_active and can_sign_in(user) for user in self.users())

    def has_admin(self) -> bool:
        """Whether some admin has been here, or could be: the set-up link that was printed is not needed any more."""
        admins = [user for user in self.users() if user.role is Role.ADMIN and user.is_active]
        return any(admin.has_password or admin.last_sign_in_at is not None for admin in admins)

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

    def invite(self, *, email: str, role: Role, by: Caller | None) -> str:
        """The token of a link that makes an account of this role. An earlier invitation of the address ends.

        Raises
        ------
        AddressTakenError
            There is an account with this address.
        ForbiddenError, InvalidParameterError
            Who asks is no admin, registration is closed, or the address is none.
        """
        require_admin(by)
        self._require_registration(is_invited=True)
        address = normalise_email(email)
        with self.store.exclusive("inviting somebody"):
            if select_user_by_email(self.store, email=address) is not None:
                raise AddressTakenError(address)
            update_one_time_links_revoked(self.store, email=address, at=datetime.now(UTC))
            return self._new_link(LinkKind.INVITATION, email=address, role=role, by=by)

    def registration_link(self, email: str) -> str | None:
        """The token of a link by which the owner of an address makes an account; None where it has one already.

        It is for their mailbox alone: whoever asked is not told which it was.

        Raises
        ------
        ForbiddenError, InvalidParameterError
            Registration is not open, or the address is none.
        """
        self._require_registration(is_invited=False)
        address, now = normalise_email(email), datetime.now(UTC)
        with self.store.exclusive("offering an account"):
            if select_user_by_email(self.store, email=address) is not None:
                return None
            invitation = select_invitation(self.store, email=address, at=now)
            role = None if invitation is None else invitation.role
            return self._new_link(
                LinkKind.INVITATION, email=address, role=role or Role(self.settings.new_user_role), by=None
            )

    def reset_link(self, email_or_id: str | UUID, *, by: Caller | None = None) -> str | None:
        """The token of a link that sets the first or another password of an account; None where there is no account, or
        a disabled one.

        Who offers this to strangers says the same sentence for both, and sends the mail after that.
        """
        if by is not None:
            require_admin(by)
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
        name = tidy_name(name or link.email.partition("@")[0]) if known is None else known.name
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
