"""Making accounts and changing them; somebody can always administer."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from core.access.emails import normalise_email
from core.access.ground import require_admin, tidy_name
from core.access.one_time_links import OneTimeLinks
from core.domain import Caller, LinkKind, Role, User
from core.errors import (
    ForbiddenError,
    InvalidLinkError,
    LastAdminError,
)
from core.store.api_keys import (
    update_api_keys_revoked,
)
from core.store.one_time_links import (
    select_invitation,
    update_one_time_links_revoked,
)
from core.store.sessions import (
    update_sessions_revoked,
)
from core.store.users import (
    count_other_active_admins,
    select_is_email_proven,
    select_user_by_email,
    update_email_proven,
    update_password,
    update_user,
)


class Accounts(OneTimeLinks):
    """The part of `Access` that makes and changes accounts."""

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
        require_admin(by)
        address, name = normalise_email(email), tidy_name(name)
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
        address, name = normalise_email(email), tidy_name(name)
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
                tidy_name(name or address.partition("@")[0]),
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
        require_admin(by)
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
        require_admin(by)
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
        require_admin(by)
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

    def change_account(self, user_id: UUID, *, role: Role, plan: str, is_active: bool, by: Caller | None) -> User:
        """Change role, plan and whether an account may sign in: all of it, or nothing. Raises like each alone."""
        with self.store.exclusive("changing an account"):
            self.change_role(user_id, role, by=by)
            self.change_plan(user_id, plan, by=by)
            return self.change_active(user_id, is_active, by=by)

    def end_account(self, user_id: UUID, *, by: Caller | None) -> User:
        """Shut an account before it is deleted: its sessions, keys and links end on their next request.

        Raises
        ------
        ForbiddenError
            It is another's, and `by` is no admin.
        LastAdminError
            Nobody would be left who can administer.
        UnknownUserError
            There is no such account.
        """
        with self.store.exclusive("ending an account"):
            user, now = self.user(user_id), datetime.now(UTC)
            if by is not None and by.user.id != user_id and not by.reader.sees_everything:
                raise ForbiddenError("Only its owner and admins can delete an account.")
            self._require_another_admin(user)
            update_sessions_revoked(self.store, user_id=user_id, at=now)
            update_api_keys_revoked(self.store, user_id=user_id, at=now)
            update_one_time_links_revoked(self.store, email=user.email, at=now)
            update_user(self.store, user_id=user_id, is_active=False)
            return user

    def _require_another_admin(self, user: User) -> None:
        """Raises LastAdminError where `user` is the only active admin; true only inside an exclusive transaction."""
        is_admin = user.role is Role.ADMIN and user.is_active
        if is_admin and count_other_active_admins(self.store, user_id=user.id) == 0:
            raise LastAdminError
