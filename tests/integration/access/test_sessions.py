"""Sessions: signing in, going on, and every way in which they end."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from core.access import passwords, tokens
from core.access import sessions as sessions_module
from core.access.access import Access
from core.domain import Role
from core.errors import ForbiddenError, InvalidCredentialsError, InvalidLinkError, WeakPasswordError
from core.store import access_schema as schema
from core.store.users import select_password_hash
from tests.integration.access.people import BROWSER, PASSWORD, audited, caller, make_key, make_user, signed_in

NEW_PASSWORD = "seven swans over the lake"


def moved_back(access, session_id, **ages):
    """Let times of a session be so long ago."""
    changes = {name: datetime.now(UTC) - age for name, age in ages.items()}
    with access.store.transaction("ageing a session") as connection:
        connection.execute(update(schema.sessions).where(schema.sessions.c.id == session_id).values(changes))


def is_refused(access, session):
    """Whether every door is closed to a session."""
    try:
        access.caller_of_token(session.access_token)
    except InvalidCredentialsError:
        pass
    else:
        return False
    try:
        access.refresh(session.refresh_token)
    except InvalidCredentialsError:
        pass
    else:
        return False
    return access.caller_of_page(session.access_token, session.refresh_token) is None


def everything_kept(access):
    with access.store.transaction("reading everything") as connection:
        return str([connection.execute(select(table)).all() for table in schema.metadata.sorted_tables])


def test_signing_in_says_who_and_for_how_long(access):
    user = make_user(access)
    into = access.sign_in(email="Ada@example.org", password=PASSWORD, **BROWSER)
    assert into.user.id == user.id
    assert into.user.last_sign_in_at is not None
    assert access.user(user.id).last_sign_in_at == into.user.last_sign_in_at
    in_14_days = datetime.now(UTC) + timedelta(days=14)
    assert abs(into.session_expires_at - in_14_days) < timedelta(minutes=1)
    who = access.caller_of_token(into.access_token)
    assert (who.user.id, who.session_id, who.key_id) == (user.id, into.session_id, None)
    (session,) = access.sessions_of(user.id)
    assert (session.id, session.address, session.user_agent) == (into.session_id, "192.0.2.7", "Firefox")


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.org", "not the password"),
        ("ada@example.org", ""),
        ("eve@example.org", PASSWORD),
        ("no address", PASSWORD),
        ("", ""),
        ("ada@example.org\0", PASSWORD),
        ("disabled@example.org", PASSWORD),
        ("linked@example.org", ""),
        ("linked@example.org", PASSWORD),
    ],
)
def test_wrong_address_and_wrong_password_cannot_be_told_apart(access, monkeypatch, email, password):
    make_user(access)
    make_user(access, "linked@example.org", password=None)
    access.change_active(make_user(access, "disabled@example.org").id, False, by=None)
    n_verified = []
    whole = passwords.is_password
    monkeypatch.setattr(passwords, "is_password", lambda *given: n_verified.append(1) or whole(*given))
    with pytest.raises(InvalidCredentialsError) as refusal:
        access.sign_in(email=email, password=password, **BROWSER)
    assert str(refusal.value) == "The e-mail address or the password is not right."
    assert len(n_verified) == 1


def test_secrets_are_not_in_the_store(access):
    user = make_user(access)
    session, key, link = signed_in(access, user), make_key(access, user), access.reset_link(user.id)
    refreshed = access.refresh(session.refresh_token)
    kept = everything_kept(access)
    for secret in (PASSWORD, session.access_token, session.refresh_token, refreshed.refresh_token, key, link):
        assert secret not in kept
        assert secret.rpartition(".")[2] not in kept
    assert session.access_token not in repr(session)
    assert session.refresh_token not in repr(session)


def test_password_hash_of_old_parameters_is_renewed_at_the_next_sign_in(access, monkeypatch):
    user = make_user(access)
    old = select_password_hash(access.store, user_id=user.id)
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    access.sign_in(email=user.email, password=PASSWORD, **BROWSER)
    renewed = select_password_hash(access.store, user_id=user.id)
    assert "t=1" in old
    assert "t=2" in renewed
    access.sign_in(email=user.email, password=PASSWORD, **BROWSER)
    assert select_password_hash(access.store, user_id=user.id) == renewed


def test_what_browsers_call_themselves_is_cut_and_cannot_harm_the_store(access):
    user = make_user(access)
    access.start_session(user, address="\0" * 3 + "a" * 500, user_agent="Mo\0zilla\udc80" + "x" * 10_000)
    (session,) = access.sessions_of(user.id)
    assert len(session.address) == 200
    assert len(session.user_agent) == 300
    assert session.user_agent.startswith("Mozilla?x")


def test_sign_out_ends_this_session_and_no_other(access):
    user = make_user(access)
    one, other = signed_in(access, user), signed_in(access, user)
    access.sign_out(one.session_id)
    access.sign_out(one.session_id)
    assert is_refused(access, one)
    assert access.caller_of_token(other.access_token).user.id == user.id
    assert [session.id for session in access.sessions_of(user.id)] == [other.session_id]


def test_sign_out_everywhere_ends_all_of_one_account(access):
    ada, eve = make_user(access), make_user(access, "eve@example.org")
    sessions, other = [signed_in(access, ada) for _ in range(3)], signed_in(access, eve)
    access.sign_out_everywhere(ada.id)
    assert all(is_refused(access, session) for session in sessions)
    assert not is_refused(access, other)
    assert audited(access)[-1] == ("ada@example.org", "session.revoke_all", "ada@example.org")


def test_session_ends_when_its_time_is_over(access):
    session = signed_in(access, make_user(access))
    moved_back(access, session.session_id, expires_at=timedelta(seconds=1))
    assert is_refused(access, session)


def test_access_token_lives_no_longer_than_its_session(access):
    short = Access.open(dataclasses.replace(access.settings, session_days=0.001))
    session = signed_in(short, make_user(short))
    claims = tokens.jwt.decode(session.access_token, options={"verify_signature": False})
    assert claims["exp"] <= session.session_expires_at.timestamp() + 1
    short.close()


def test_sessions_and_links_that_expired_long_ago_are_forgotten(access):
    user = make_user(access)
    old, recent = signed_in(access, user), signed_in(access, user)
    access.reset_link(user.id)
    moved_back(access, old.session_id, expires_at=timedelta(days=31))
    moved_back(access, recent.session_id, expires_at=timedelta(days=29))
    with access.store.transaction("ageing links") as connection:
        connection.execute(update(schema.one_time_links).values(expires_at=datetime.now(UTC) - timedelta(days=31)))
    newest = signed_in(access, user)
    with access.store.transaction("looking") as connection:
        kept = set(connection.execute(select(schema.sessions.c.id)).scalars())
        assert connection.execute(select(schema.one_time_links.c.email)).all() == []
    assert kept == {recent.session_id, newest.session_id}


def test_refreshing_gives_another_token_of_the_same_session(access):
    session = signed_in(access, make_user(access))
    seen = {session.refresh_token}
    for _ in range(5):
        again = access.refresh(session.refresh_token)
        assert again.session_id == session.session_id
        assert again.session_expires_at == session.session_expires_at
        assert access.caller_of_token(again.access_token).session_id == session.session_id
        session = again
        seen.add(session.refresh_token)
    assert len(seen) == 6


def test_tabs_that_refresh_at_once_get_the_same_token_and_stay_signed_in(access):
    session = signed_in(access, make_user(access))
    start = threading.Barrier(6)

    def refresh(_):
        start.wait()
        return access.refresh(session.refresh_token).refresh_token

    with ThreadPoolExecutor(6) as pool:
        given = set(pool.map(refresh, range(6)))
    assert len(given) == 1
    assert access.refresh(given.pop()).session_id == session.session_id


def test_refresh_token_used_again_after_the_grace_ends_the_session(access):
    session = signed_in(access, make_user(access))
    following = access.refresh(session.refresh_token)
    moved_back(access, session.session_id, refreshed_at=sessions_module.REFRESH_GRACE + timedelta(seconds=1))
    with pytest.raises(InvalidCredentialsError):
        access.refresh(session.refresh_token)
    assert is_refused(access, following)
    assert audited(access)[-1][1:] == ("session.reuse", "ada@example.org")


def test_refresh_token_from_long_before_ends_the_session_even_within_the_grace(access):
    session = signed_in(access, make_user(access))
    following = access.refresh(access.refresh(session.refresh_token).refresh_token)
    with pytest.raises(InvalidCredentialsError):
        access.refresh(session.refresh_token)
    assert is_refused(access, following)


def test_grace_outlasts_a_rotation_of_the_signing_key(access):
    session = signed_in(access, make_user(access))
    following = access.refresh(session.refresh_token)
    access.rotate_signing_key()
    assert access.refresh(session.refresh_token).refresh_token == following.refresh_token
    access.rotate_signing_key(at_once=True)
    with pytest.raises(InvalidCredentialsError):
        access.refresh(session.refresh_token)
    assert access.refresh(following.refresh_token).session_id == session.session_id


def test_refresh_token_of_another_session_is_no_way_in(access):
    one, other = signed_in(access, make_user(access)), signed_in(access, make_user(access, "eve@example.org"))
    mixed = one.refresh_token.partition(".")[0] + "." + other.refresh_token.partition(".")[2]
    with pytest.raises(InvalidCredentialsError):
        access.refresh(mixed)
    assert access.caller_of_page(None, mixed) is None
    assert not is_refused(access, other)


def test_page_goes_on_with_an_expired_token_while_its_session_lives(access):
    user = make_user(access)
    session = signed_in(access, user)
    expired = tokens.sign_token(
        access._signing_keys, user_id=user.id, session_id=session.session_id, lifetime=timedelta(hours=-1)
    )
    with pytest.raises(InvalidCredentialsError, match="expired"):
        access.caller_of_token(expired)
    assert access.caller_of_page(expired, None).user.id == user.id
    access.sign_out(session.session_id)
    assert access.caller_of_page(expired, None) is None


def test_page_without_readable_token_goes_by_its_refresh_token(access):
    session = signed_in(access, make_user(access))
    for token in (None, "", "a.b.c"):
        assert access.caller_of_page(token, session.refresh_token).session_id == session.session_id
    access.refresh(session.refresh_token)
    assert access.caller_of_page(None, session.refresh_token).session_id == session.session_id
    moved_back(access, session.session_id, refreshed_at=sessions_module.REFRESH_GRACE + timedelta(seconds=1))
    assert access.caller_of_page(None, session.refresh_token) is None
    assert access.caller_of_token(session.access_token).session_id == session.session_id  # looking revokes nothing


def test_page_of_nobody_has_no_caller(access):
    make_user(access)
    for pair in ((None, None), ("", ""), ("x", "y"), ("x" * 10_000, "y" * 10_000)):
        assert access.caller_of_page(*pair) is None


def test_token_of_one_account_with_the_session_of_another_is_refused(access):
    ada, eve = make_user(access), make_user(access, "eve@example.org")
    session = signed_in(access, eve)
    mixed = tokens.sign_token(
        access._signing_keys, user_id=ada.id, session_id=session.session_id, lifetime=timedelta(minutes=1)
    )
    with pytest.raises(InvalidCredentialsError):
        access.caller_of_token(mixed)
    assert access.caller_of_page(mixed, None) is None


def test_new_password_ends_other_sessions_and_links_and_keeps_this_one(access):
    user = make_user(access)
    here, elsewhere, link = signed_in(access, user), signed_in(access, user), access.reset_link(user.id)
    access.set_password(user.id, old=PASSWORD, new=NEW_PASSWORD, keeps_session=here.session_id)
    assert access.caller_of_token(here.access_token).user.id == user.id
    assert is_refused(access, elsewhere)
    with pytest.raises(InvalidLinkError):
        access.use_link(link, **BROWSER)
    with pytest.raises(InvalidCredentialsError):
        access.sign_in(email=user.email, password=PASSWORD, **BROWSER)
    assert access.sign_in(email=user.email, password=NEW_PASSWORD, **BROWSER).user.id == user.id
    assert ("ada@example.org", "user.password", "ada@example.org") in audited(access)


def test_new_password_keeps_no_session_unless_told(access):
    user = make_user(access)
    session = signed_in(access, user)
    access.set_password(user.id, new=NEW_PASSWORD)
    assert is_refused(access, session)


def test_password_changes_only_for_whom_knows_the_old_one_and_to_a_good_one(access):
    user = make_user(access)
    session = signed_in(access, user)
    with pytest.raises(InvalidCredentialsError, match="present password"):
        access.set_password(user.id, old="not the password", new=NEW_PASSWORD)
    with pytest.raises(WeakPasswordError):
        access.set_password(user.id, old=PASSWORD, new="ada@example.org!")
    assert not is_refused(access, session)
    assert access.sign_in(email=user.email, password=PASSWORD, **BROWSER)


def test_keys_outlive_a_change_of_password(access):
    user = make_user(access)
    key = make_key(access, user)
    access.set_password(user.id, new=NEW_PASSWORD)
    assert access.caller_of_key(key).user.id == user.id


def test_disabled_account_is_refused_at_every_door_at_once(access):
    user = make_user(access)
    session, key, link = signed_in(access, user), make_key(access, user), access.reset_link(user.id)
    access.change_active(user.id, False, by=None)
    assert is_refused(access, session)
    with pytest.raises(InvalidCredentialsError):
        access.caller_of_key(key)
    with pytest.raises(InvalidLinkError):
        access.use_link(link, **BROWSER)
    with pytest.raises(ForbiddenError, match="disabled"):
        access.start_session(user, **BROWSER)
    assert access.reset_link(user.id) is None
    access.change_active(user.id, True, by=None)
    assert is_refused(access, session)  # what ended stays so
    assert access.caller_of_key(key).user.id == user.id
    assert caller(access, user).user.is_active


def test_sign_in_that_raced_a_new_password_is_refused(access, monkeypatch):
    user = make_user(access)
    whole = passwords.is_password

    def slow(password, kept):
        answer = whole(password, kept)
        monkeypatch.setattr(passwords, "is_password", whole)
        access.set_password(user.id, new=NEW_PASSWORD)
        return answer

    monkeypatch.setattr(passwords, "is_password", slow)
    with pytest.raises(InvalidCredentialsError):
        access.sign_in(email=user.email, password=PASSWORD, **BROWSER)
    assert access.sessions_of(user.id) == []


def test_reset_link_signs_in_and_sets_the_password(access):
    user = make_user(access)
    old = signed_in(access, user)
    token = access.reset_link(email_or_id="ADA@example.org")
    with pytest.raises(WeakPasswordError):
        access.use_link(token, new_password="ada@example.org!", **BROWSER)
    into = access.use_link(token, new_password=NEW_PASSWORD, **BROWSER)
    assert access.caller_of_token(into.access_token).user.id == user.id
    assert is_refused(access, old)
    assert access.sign_in(email=user.email, password=NEW_PASSWORD, **BROWSER)
    with pytest.raises(InvalidLinkError):
        access.peek_link(token)


def test_unknown_address_gets_no_reset_link(access):
    assert access.reset_link("eve@example.org") is None
    assert access.reset_link("no address") is None


def test_link_is_used_once_however_many_try(access):
    user = make_user(access)
    token, start = access.reset_link(user.id), threading.Barrier(6)

    def use(_):
        start.wait()
        try:
            return access.use_link(token, **BROWSER)
        except InvalidLinkError:
            return None

    with ThreadPoolExecutor(6) as pool:
        into = [each for each in pool.map(use, range(6)) if each is not None]
    assert len(into) == 1
    assert len(access.sessions_of(user.id)) == 1


def test_looking_at_a_link_does_not_use_it(access):
    token = access.reset_link(make_user(access).id)
    for _ in range(3):
        access.peek_link(token)
    assert access.look_at_link(token).email == "ada@example.org"
    assert access.use_link(token, **BROWSER)


def test_using_one_link_ends_the_others_of_its_account(access):
    user, other = make_user(access), make_user(access, "eve@example.org")
    tokens_of_user = [access.reset_link(user.id) for _ in range(3)]
    token_of_other = access.reset_link(other.id)
    access.use_link(tokens_of_user[1], **BROWSER)
    for token in tokens_of_user:
        with pytest.raises(InvalidLinkError):
            access.use_link(token, **BROWSER)
    assert access.use_link(token_of_other, **BROWSER).user.id == other.id


def test_expired_and_made_up_links_are_refused(access):
    token = access.reset_link(make_user(access).id)
    with access.store.transaction("ageing links") as connection:
        connection.execute(update(schema.one_time_links).values(expires_at=datetime.now(UTC)))
    for each in (token, "", "made up", "\udc80", "x" * 100_000):
        with pytest.raises(InvalidLinkError):
            access.peek_link(each)
        with pytest.raises(InvalidLinkError):
            access.use_link(each, **BROWSER)


def test_links_are_in_the_audit_log_without_their_tokens(access):
    user = make_user(access, role=Role.VIEWER)
    access.use_link(access.reset_link(user.id), **BROWSER)
    assert [entry for entry in audited(access) if entry[1].startswith("link.")] == [
        ("telepathy", "link.create", "ada@example.org"),
        ("ada@example.org", "link.use", "ada@example.org"),
    ]
