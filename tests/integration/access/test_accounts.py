"""Accounts: who may make and change them, and that somebody can always administer."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from core.access.access import FIRST_ADMIN, Access
from core.domain import LinkKind, Role, Scope
from core.errors import (
    AddressTakenError,
    ForbiddenError,
    InvalidCredentialsError,
    InvalidLinkError,
    InvalidParameterError,
    LastAdminError,
    UnknownUserError,
    WeakPasswordError,
)
from tests.integration.access.people import (
    BROWSER,
    PASSWORD,
    audited,
    caller,
    make_admin,
    make_key,
    make_user,
    signed_in,
)


def opened_with(access, **changes):
    """The same accounts under other settings, beside the ones that are open."""
    return Access.open(dataclasses.replace(access.settings, **changes))


def test_nobody_can_sign_in_to_a_fresh_installation(access):
    assert access.users() == []
    assert not access.is_set_up()
    for password in ("", "admin", "password", "telepathy"):
        for email in ("admin", "admin@localhost", "telepathy"):
            with pytest.raises(InvalidCredentialsError):
                access.sign_in(email=email, password=password, **BROWSER)


def test_set_up_link_opens_the_first_admin_s_account(access):
    token = access.set_up_link()
    assert access.peek_link(token) is LinkKind.SET_UP
    into = access.use_link(token, **BROWSER)
    assert (into.user.email, into.user.role, into.user.has_password) == (FIRST_ADMIN, Role.ADMIN, False)
    assert access.caller_of_token(into.access_token).reader.sees_everything
    assert not access.is_set_up()
    access.set_password(into.user.id, new=PASSWORD, keeps_session=into.session_id)
    assert access.is_set_up()
    assert access.set_up_link() is None
    assert access.sign_in(email="Admin@Localhost", password=PASSWORD, **BROWSER).user.id == into.user.id


def test_set_up_is_offered_again_until_an_admin_has_a_password_and_to_one_account(access):
    first = access.set_up_link()
    second = access.set_up_link()
    assert first != second
    assert len(access.users()) == 1
    access.use_link(second, **BROWSER)
    with pytest.raises(InvalidLinkError):
        access.use_link(first, **BROWSER)
    third = access.set_up_link()
    assert access.use_link(third, **BROWSER).user.email == FIRST_ADMIN


def test_set_up_link_leads_to_the_admin_that_the_operator_made(access):
    made = make_user(access, "grace@example.org", Role.ADMIN, password=None)
    assert access.use_link(access.set_up_link(), **BROWSER).user.id == made.id
    assert [user.email for user in access.users()] == ["grace@example.org"]


def test_first_admin_who_was_disabled_is_not_the_end(access):
    make_user(access, FIRST_ADMIN, Role.VIEWER)
    access.change_active(access.user_by_email(FIRST_ADMIN).id, False, by=None)
    into = access.use_link(access.set_up_link(), **BROWSER)
    assert (into.user.email, into.user.role) == (FIRST_ADMIN, Role.ADMIN)


def test_admin_who_came_by_single_sign_on_counts_as_set_up(access):
    admin = make_user(access, "grace@example.org", Role.ADMIN, password=None)
    signed_in(access, admin)
    assert not access.is_set_up()
    with_single_sign_on = opened_with(access, single_sign_on=True)
    assert with_single_sign_on.is_set_up()
    with_single_sign_on.close()


def test_account_is_kept_as_it_was_made(access):
    made = access.create_user(" Ada@Example.ORG ", "  Ada   Byron ", Role.ANNOTATOR, "pro", by=None, password=PASSWORD)
    assert (made.email, made.name, made.role, made.plan) == ("ada@example.org", "Ada Byron", Role.ANNOTATOR, "pro")
    assert made.is_active
    assert made.has_password
    assert access.user(made.id) == made
    assert access.user_by_email("ADA@example.org") == made
    assert access.users() == [made]


def test_there_is_one_account_for_an_address(access):
    make_user(access)
    with pytest.raises(AddressTakenError, match=r"ada@example\.org"):
        make_user(access, "ADA@EXAMPLE.ORG")
    assert len(access.users()) == 1


def test_threads_that_register_one_address_at_once_make_one_account(access):
    start = threading.Barrier(6)

    def make(_):
        start.wait()
        try:
            return make_user(access)
        except AddressTakenError:
            return None

    with ThreadPoolExecutor(6) as pool:
        made = [user for user in pool.map(make, range(6)) if user is not None]
    assert access.users() == made
    assert len(made) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\x1b[31mb", "\u202eevil"])
def test_name_that_cannot_be_shown_is_refused(access, name):
    with pytest.raises(InvalidParameterError, match="name"):
        access.create_user("ada@example.org", name, Role.ANALYST, by=None)


def test_unknown_plan_is_refused_with_those_that_there_are(access):
    with pytest.raises(InvalidParameterError, match="free, pro, enterprise"):
        access.create_user("ada@example.org", "Ada", Role.ANALYST, "gold", by=None)
    user = make_user(access)
    with pytest.raises(InvalidParameterError, match="free, pro, enterprise"):
        access.change_plan(user.id, "gold", by=None)


def test_plan_that_the_settings_no_longer_have_is_that_of_new_accounts(access):
    user = make_user(access)
    access.change_plan(user.id, "pro", by=None)
    assert caller(access, user).plan == "pro"
    access.settings.plans.pop("pro")
    assert caller(access, user).plan == access.settings.new_user_plan


def test_weak_password_makes_no_account(access):
    with pytest.raises(WeakPasswordError):
        make_user(access, password="ada@example.org")
    assert access.users() == []
    assert audited(access) == []


def test_registration_is_by_invitation_unless_set_otherwise(access):
    with pytest.raises(ForbiddenError, match="takes an invitation"):
        access.register(email="ada@example.org", name="Ada", password=PASSWORD)
    token = access.invite(email="Ada@example.org", role=Role.ANNOTATOR, by=None)
    assert access.peek_link(token) is LinkKind.INVITATION
    with pytest.raises(ForbiddenError, match=r"for ada@example\.org"):
        access.register(email="eve@example.org", name="Eve", password=PASSWORD, invitation=token)
    user = access.register(email="ada@example.org", name="Ada", password=PASSWORD, invitation=token)
    assert user.role is Role.ANNOTATOR
    assert access.sign_in(email="ada@example.org", password=PASSWORD, **BROWSER).user.id == user.id
    with pytest.raises(InvalidLinkError):
        access.register(email="ada@example.org", name="Ada", password=PASSWORD, invitation=token)


def test_invitation_cannot_be_replaced_by_another_link(access):
    user = make_user(access)
    for token in (access.reset_link(user.id), access.set_up_link(), "made up"):
        with pytest.raises(InvalidLinkError):
            access.register(email="eve@example.org", name="Eve", password=PASSWORD, invitation=token)
    assert "eve@example.org" not in {each.email for each in access.users()}


def test_open_registration_gives_the_role_and_plan_of_the_settings(access):
    for_all = opened_with(access, registration="open", new_user_role="viewer", new_user_plan="pro")
    user = for_all.register(email="ada@example.org", name="Ada", password=PASSWORD)
    assert (user.role, user.plan) == (Role.VIEWER, "pro")
    assert audited(access)[-1] == ("ada@example.org", "user.create", "ada@example.org")
    for_all.close()


def test_closed_registration_refuses_invitations_too(access):
    token = access.invite(email="ada@example.org", role=Role.ANALYST, by=None)
    closed = opened_with(access, registration="closed")
    with pytest.raises(ForbiddenError):
        closed.register(email="ada@example.org", name="Ada", password=PASSWORD, invitation=token)
    with pytest.raises(ForbiddenError):
        closed.use_link(token, **BROWSER)
    with pytest.raises(ForbiddenError):
        closed.invite(email="eve@example.org", role=Role.ANALYST, by=None)
    assert closed.users() == []
    closed.close()


def test_invitation_makes_an_account_when_it_is_used(access):
    token = access.invite(email="ada@example.org", role=Role.VIEWER, by=None)
    into = access.use_link(token, new_password=PASSWORD, name="Ada Byron", **BROWSER)
    assert (into.user.email, into.user.name, into.user.role) == ("ada@example.org", "Ada Byron", Role.VIEWER)
    assert access.sign_in(email="ada@example.org", password=PASSWORD, **BROWSER).user.id == into.user.id


def test_only_the_newest_invitation_counts_and_none_for_whom_is_here(access):
    first = access.invite(email="ada@example.org", role=Role.ADMIN, by=None)
    second = access.invite(email="ada@example.org", role=Role.VIEWER, by=None)
    with pytest.raises(InvalidLinkError):
        access.peek_link(first)
    assert access.use_link(second, **BROWSER).user.role is Role.VIEWER
    with pytest.raises(AddressTakenError):
        access.invite(email="ada@example.org", role=Role.ADMIN, by=None)


def test_single_sign_on_finds_the_account_and_makes_one_only_where_registration_allows(access):
    known = make_user(access)
    assert access.find_or_create_user("ADA@example.org", "Ada").id == known.id
    with pytest.raises(ForbiddenError):
        access.find_or_create_user("eve@example.org", "Eve")
    access.invite(email="grace@example.org", role=Role.ADMIN, by=None)
    invited = access.find_or_create_user("grace@example.org", "Grace")
    assert (invited.role, invited.has_password) == (Role.ADMIN, False)
    assert access.find_or_create_user("grace@example.org", "Grace") == invited
    for_all = opened_with(access, registration="open")
    assert for_all.find_or_create_user("eve@example.org", "").name == "eve"
    for_all.close()
    closed = opened_with(access, registration="closed")
    with pytest.raises(ForbiddenError):
        closed.find_or_create_user("mallory@example.org", "Mallory")
    closed.close()


def test_account_that_somebody_else_registered_for_an_address_is_no_trap_for_its_owner(access):
    for_all = opened_with(access, registration="open")
    trap = for_all.register(email="ada@example.org", name="Eve", password=PASSWORD)
    session, key = signed_in(for_all, trap), make_key(for_all, trap)
    for_all.find_or_create_user("ada@example.org", "Ada")
    with pytest.raises(InvalidCredentialsError):
        for_all.sign_in(email="ada@example.org", password=PASSWORD, **BROWSER)
    with pytest.raises(InvalidCredentialsError):
        for_all.caller_of_token(session.access_token)
    with pytest.raises(InvalidCredentialsError):
        for_all.caller_of_key(key)
    later = signed_in(for_all, trap)
    for_all.find_or_create_user("ada@example.org", "Ada")
    assert for_all.caller_of_token(later.access_token).user.id == trap.id
    for_all.close()


def test_single_sign_on_leaves_an_account_alone_whose_address_is_proved(access):
    user = make_user(access)
    access.find_or_create_user("ada@example.org", "Ada")
    assert access.sign_in(email="ada@example.org", password=PASSWORD, **BROWSER).user.id == user.id


def test_changes_hold_from_the_next_request_on(access):
    admin, user = make_admin(access), make_user(access)
    token = signed_in(access, user).access_token
    access.change_role(user.id, Role.VIEWER, by=admin)
    access.change_plan(user.id, "pro", by=admin)
    now = access.caller_of_token(token)
    assert (now.user.role, now.plan) == (Role.VIEWER, "pro")
    access.change_role(user.id, Role.ADMIN, by=admin)
    assert Scope.ADMIN in access.caller_of_token(token).scopes
    access.change_role(user.id, Role.ANALYST, by=admin)
    assert Scope.ADMIN not in access.caller_of_token(token).scopes


def test_changes_are_in_the_audit_log_once_each(access):
    admin, user = make_admin(access), make_user(access)
    n_before = len(audited(access))
    for _ in range(2):
        access.change_role(user.id, Role.VIEWER, by=admin)
        access.change_plan(user.id, "pro", by=admin)
        access.change_active(user.id, False, by=admin)
    access.change_active(user.id, True, by=admin)
    assert audited(access)[n_before:] == [
        ("grace@example.org", f"user.{what}", "ada@example.org") for what in ("role", "plan", "disable", "enable")
    ]


def test_only_admins_change_accounts(access):
    admin, other = make_admin(access), make_user(access)
    forbidden = [
        caller(access, other),
        access.caller_of_key(make_key(access, admin.user, Scope.READ)),
        dataclasses.replace(caller(access, other), scopes=frozenset(Scope)),
    ]
    n_before = len(audited(access))
    for by in forbidden:
        for attempt in (
            lambda by: access.change_role(other.id, Role.ADMIN, by=by),
            lambda by: access.change_plan(other.id, "enterprise", by=by),
            lambda by: access.change_active(admin.user.id, False, by=by),
            lambda by: access.create_user("eve@example.org", "Eve", Role.ADMIN, by=by),
            lambda by: access.invite(email="eve@example.org", role=Role.ADMIN, by=by),
            lambda by: access.reset_link(admin.user.id, by=by),
            lambda by: access.rotate_signing_key(by=by),
        ):
            with pytest.raises(ForbiddenError):
                attempt(by)
    assert len(audited(access)) == n_before
    assert access.caller_of_key(make_key(access, admin.user, Scope.ADMIN)).reader.sees_everything


def test_unknown_account_is_said(access):
    for attempt in (
        lambda: access.user(uuid4()),
        lambda: access.user_by_email("eve@example.org"),
        lambda: access.change_role(uuid4(), Role.ADMIN, by=None),
        lambda: access.set_password(uuid4(), new=PASSWORD),
        lambda: access.create_key(uuid4(), "x", frozenset({Scope.READ}), by=None),
    ):
        with pytest.raises(UnknownUserError):
            attempt()


def test_the_last_admin_stays(access):
    admin = make_admin(access)
    with pytest.raises(LastAdminError):
        access.change_role(admin.user.id, Role.ANALYST, by=admin)
    with pytest.raises(LastAdminError):
        access.change_active(admin.user.id, False, by=None)
    other = make_admin(access, "alan@example.org")
    access.change_active(other.user.id, False, by=admin)
    with pytest.raises(LastAdminError):  # one who is disabled cannot administer
        access.change_role(admin.user.id, Role.ANALYST, by=admin)
    assert access.user(admin.user.id).role is Role.ADMIN


def test_admins_who_remove_each_other_at_once_leave_one(access):
    admins = [make_admin(access, f"admin{number}@example.org") for number in range(6)]
    start = threading.Barrier(6)

    def remove(number):
        start.wait()
        try:
            if number % 2:
                access.change_active(admins[number].user.id, False, by=admins[number])
            else:
                access.change_role(admins[number].user.id, Role.VIEWER, by=None)
        except LastAdminError:
            return "kept"
        return "removed"

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(remove, range(6)))
    assert sorted(results) == ["kept"] + ["removed"] * 5
    assert sum(user.role is Role.ADMIN and user.is_active for user in access.users()) == 1


def test_projects_that_are_shared_come_with_the_caller(access):
    user, project = make_user(access), uuid4()
    access.project_ids_of = lambda user_id: frozenset({project}) if user_id == user.id else frozenset()
    session = signed_in(access, user)
    for who in (
        access.caller_of_token(session.access_token),
        access.caller_of_page(session.access_token, None),
        access.caller_of_key(make_key(access, user)),
    ):
        assert who.reader.project_ids == {project}
        assert not who.reader.sees_everything
