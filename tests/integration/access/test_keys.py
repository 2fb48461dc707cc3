"""API keys: made, used, rotated, revoked; and what they may."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core.access import keys as keys_module
from core.access.access import Access
from core.access.api_keys import is_well_formed, new_key
from core.domain import Role, Scope
from core.errors import (
    ForbiddenError,
    InvalidCredentialsError,
    InvalidParameterError,
    StoreError,
    UnknownKeyError,
)
from core.identifiers import new_id
from core.store import access_schema as schema
from tests.integration.access.people import audited, caller, make_admin, make_key, make_user

DAY = timedelta(days=1)
READ = frozenset({Scope.READ})


def changed(access, key_id, **changes):
    """Write columns of a key as no door allows."""
    with access.store.transaction("changing a key") as connection:
        connection.execute(update(schema.api_keys).where(schema.api_keys.c.id == key_id).values(changes))


def kept(access, key_id):
    return next(key for key in access.all_keys() if key.id == key_id)


def written(access):
    """Wait for what is noted in the background."""
    access._noting.submit(lambda: None).result()


def test_key_acts_for_its_owner_within_its_scopes(access):
    user = make_user(access)
    key, secret = access.create_key(user.id, " my  notebook ", frozenset({Scope.PREDICT, Scope.READ}), by=None)
    assert is_well_formed(secret)
    assert (key.name, key.user_id, key.last_used_at, key.revoked_at) == ("my notebook", user.id, None, None)
    assert secret.startswith(key.prefix)
    assert secret.endswith(key.last_four)
    assert (len(key.prefix), len(key.last_four)) == (13, 4)
    who = access.caller_of_key(secret)
    assert (who.user.id, who.key_id, who.session_id, who.plan) == (user.id, key.id, None, "free")
    assert who.scopes == {Scope.PREDICT, Scope.READ}
    assert access.keys_of(user.id)[0].scopes == who.scopes


def test_malformed_key_is_refused_without_asking_the_store(access, monkeypatch):
    monkeypatch.setattr(keys_module, "select_kept_key", lambda *_, **__: pytest.fail("the store was asked"))
    for secret in ("", "x", "tel_live_", new_key()[:-1], new_key()[:-1] + "\u0660", new_key() + "\n", "\udc80", "\0"):
        with pytest.raises(InvalidCredentialsError):
            access.caller_of_key(secret)


def test_well_formed_key_of_nobody_is_refused(access):
    make_key(access, make_user(access))
    with pytest.raises(InvalidCredentialsError, match="API key"):
        access.caller_of_key(new_key())


def test_hashes_are_compared_in_constant_time(access, monkeypatch):
    secret = make_key(access, make_user(access))
    compared = []
    whole = keys_module.hmac.compare_digest
    monkeypatch.setattr(keys_module.hmac, "compare_digest", lambda *pair: compared.append(pair) or whole(*pair))
    access.caller_of_key(secret)
    assert len(compared) == 1


def test_revoked_key_is_refused_on_the_very_next_request_in_every_process(access):
    user = make_user(access)
    key, secret = access.create_key(user.id, "notebook", READ, by=None)
    other = Access.open(access.settings)
    assert other.caller_of_key(secret).key_id == key.id
    access.revoke_key(key.id, by=None)
    for each in (other, access):
        with pytest.raises(InvalidCredentialsError):
            each.caller_of_key(secret)
    access.revoke_key(key.id, by=None)
    assert [entry[1:] for entry in audited(access)].count(("key.revoke", str(key.id))) == 1
    other.close()


def test_expired_key_is_refused(access):
    user = make_user(access)
    key, secret = access.create_key(user.id, "notebook", READ, expires_at=datetime.now(UTC) + DAY, by=None)
    assert access.caller_of_key(secret)
    changed(access, key.id, expires_at=datetime.now(UTC))
    with pytest.raises(InvalidCredentialsError):
        access.caller_of_key(secret)


def test_key_that_would_never_be_valid_is_not_made(access):
    user = make_user(access)
    with pytest.raises(InvalidParameterError, match="expires_at"):
        access.create_key(user.id, "notebook", READ, expires_at=datetime.now(UTC) - DAY, by=None)
    with pytest.raises(InvalidParameterError, match="scopes"):
        access.create_key(user.id, "notebook", frozenset(), by=None)
    for name in ("", "\t", "x" * 201, "a\0\x07"):
        with pytest.raises(InvalidParameterError, match="name"):
            access.create_key(user.id, name, READ, by=None)
    assert access.all_keys() == []


def test_role_bounds_what_a_key_may(access):
    viewer, analyst = make_user(access, role=Role.VIEWER), make_user(access, "eve@example.org")
    for user in (viewer, analyst):
        with pytest.raises(ForbiddenError, match="admin"):
            access.create_key(user.id, "x", frozenset({Scope.READ, Scope.ADMIN}), by=None)
    admin = make_admin(access)
    secret = make_key(access, admin.user, *Scope)
    assert access.caller_of_key(secret).reader.sees_everything
    make_admin(access, "alan@example.org")
    access.change_role(admin.user.id, Role.VIEWER, by=None)
    demoted = access.caller_of_key(secret)
    assert demoted.scopes == {Scope.PREDICT, Scope.READ, Scope.DELETE}
    assert not demoted.reader.sees_everything


def test_admin_s_key_without_the_scope_sees_only_what_is_their_own(access):
    admin = make_admin(access)
    who = access.caller_of_key(make_key(access, admin.user, Scope.READ, Scope.PREDICT, Scope.DELETE))
    assert not who.reader.sees_everything
    assert who.reader.user_id == admin.user.id


def test_key_of_another_plan_is_for_admins_to_give(access):
    admin, user = make_admin(access), make_user(access)
    with pytest.raises(ForbiddenError, match="plan"):
        access.create_key(user.id, "x", READ, plan="enterprise", by=caller(access, user))
    _, secret = access.create_key(user.id, "x", READ, plan="pro", by=admin)
    assert access.caller_of_key(secret).plan == "pro"
    with pytest.raises(InvalidParameterError, match="plan"):
        access.create_key(user.id, "x", READ, plan="gold", by=admin)


def test_key_cannot_make_a_stronger_key(access):
    user = make_user(access)
    weak = access.caller_of_key(make_key(access, user, Scope.READ))
    with pytest.raises(ForbiddenError, match="predict"):
        access.create_key(user.id, "x", frozenset({Scope.READ, Scope.PREDICT}), by=weak)
    made, _ = access.create_key(user.id, "x", READ, by=weak)
    assert made.scopes == READ
    strong, _ = access.create_key(user.id, "strong", frozenset({Scope.DELETE}), by=caller(access, user))
    with pytest.raises(ForbiddenError):
        access.rotate_key(strong.id, by=weak, overlap=DAY)


def test_one_s_keys_are_nobody_else_s_to_touch(access):
    ada, eve, admin = make_user(access), make_user(access, "eve@example.org"), make_admin(access)
    key, secret = access.create_key(ada.id, "notebook", READ, by=caller(access, ada))
    as_eve = caller(access, eve)
    with pytest.raises(ForbiddenError):
        access.create_key(ada.id, "x", READ, by=as_eve)
    for attempt in (
        lambda: access.revoke_key(key.id, by=as_eve),
        lambda: access.rotate_key(key.id, by=as_eve, overlap=DAY),
        lambda: access.revoke_key(new_id(), by=admin),
    ):
        with pytest.raises(UnknownKeyError):
            attempt()
    assert access.caller_of_key(secret).key_id == key.id
    assert [each.id for each in access.keys_of(eve.id)] == []
    assert [each.id for each in access.all_keys()] == [key.id]
    access.revoke_key(key.id, by=admin)
    assert audited(access)[-1] == ("grace@example.org", "key.revoke", str(key.id))


def test_rotation_leaves_two_valid_keys_until_the_overlap_is_over(access):
    user = make_user(access)
    old, old_secret = access.create_key(user.id, "notebook", READ, by=None)
    new, new_secret = access.rotate_key(old.id, by=caller(access, user), overlap=DAY)
    assert (new.name, new.scopes, new.plan, new.expires_at) == (old.name, old.scopes, old.plan, None)
    assert new.replaces_id == old.id
    assert access.caller_of_key(old_secret).key_id == old.id
    assert access.caller_of_key(new_secret).key_id == new.id
    ends_in = kept(access, old.id).expires_at - datetime.now(UTC)
    assert timedelta(hours=23) < ends_in <= DAY
    changed(access, old.id, expires_at=datetime.now(UTC))
    with pytest.raises(InvalidCredentialsError):
        access.caller_of_key(old_secret)
    assert access.caller_of_key(new_secret).key_id == new.id


def test_rotation_without_overlap_ends_the_old_key_at_once(access):
    old, old_secret = access.create_key(make_user(access).id, "notebook", READ, by=None)
    _, secret = access.rotate_key(old.id, by=None, overlap=timedelta(0))
    with pytest.raises(InvalidCredentialsError):
        access.caller_of_key(old_secret)
    assert access.caller_of_key(secret)


def test_rotated_key_lives_as_long_as_the_old_one_was_made_for(access):
    user = make_user(access)
    old, _ = access.create_key(user.id, "x", READ, expires_at=datetime.now(UTC) + 30 * DAY, by=None)
    changed(access, old.id, created_at=old.created_at - 20 * DAY, expires_at=old.expires_at - 20 * DAY)
    new, _ = access.rotate_key(old.id, by=None, overlap=100 * DAY)
    assert abs(new.expires_at - datetime.now(UTC) - 30 * DAY) < timedelta(minutes=1)
    assert kept(access, old.id).expires_at == old.expires_at - 20 * DAY  # an overlap never prolongs


def test_key_is_rotated_once_and_while_it_is_valid(access):
    user = make_user(access)
    old, _ = access.create_key(user.id, "x", READ, by=None)
    access.rotate_key(old.id, by=None, overlap=DAY)
    with pytest.raises(ForbiddenError, match="rotated before"):
        access.rotate_key(old.id, by=None, overlap=DAY)
    ended, _ = access.create_key(user.id, "y", READ, by=None)
    access.revoke_key(ended.id, by=None)
    with pytest.raises(ForbiddenError, match="has ended"):
        access.rotate_key(ended.id, by=None, overlap=DAY)
    with pytest.raises(InvalidParameterError, match="overlap"):
        access.rotate_key(old.id, by=None, overlap=-DAY)


def test_rotations_at_once_make_one_key(access):
    old, _ = access.create_key(make_user(access).id, "x", READ, by=None)
    start = threading.Barrier(5)

    def rotate(_):
        start.wait()
        try:
            return access.rotate_key(old.id, by=None, overlap=DAY)[0].id
        except ForbiddenError:
            return None

    with ThreadPoolExecutor(5) as pool:
        made = [each for each in pool.map(rotate, range(5)) if each is not None]
    assert len(made) == 1
    assert {key.id for key in access.all_keys()} == {old.id, *made}


def test_rotation_drops_scopes_that_the_role_lost(access):
    make_admin(access)
    user = make_admin(access, "alan@example.org").user
    key, _ = access.create_key(user.id, "x", frozenset({Scope.READ, Scope.ADMIN}), by=None)
    access.change_role(user.id, Role.VIEWER, by=None)
    assert access.rotate_key(key.id, by=None, overlap=DAY)[0].scopes == READ


def test_last_use_is_noted_at_most_once_a_minute(access):
    key, secret = access.create_key(make_user(access).id, "x", READ, by=None)
    before = datetime.now(UTC)
    access.caller_of_key(secret)
    written(access)
    first = kept(access, key.id).last_used_at
    assert before <= first <= datetime.now(UTC)
    for _ in range(5):
        access.caller_of_key(secret)
    written(access)
    assert kept(access, key.id).last_used_at == first
    changed(access, key.id, last_used_at=first - timedelta(minutes=2))
    access.caller_of_key(secret)
    written(access)
    assert kept(access, key.id).last_used_at >= first


def test_request_does_not_wait_for_the_note_of_its_use_nor_fail_with_it(access, monkeypatch):
    _, secret = access.create_key(make_user(access).id, "x", READ, by=None)
    is_released, n_tries = threading.Event(), []

    def failing(*_, **__):
        n_tries.append(1)
        is_released.wait(30)
        raise StoreError("noting", "the disk is full")

    monkeypatch.setattr(keys_module, "update_api_key_used", failing)
    for _ in range(3):
        access.caller_of_key(secret)  # while the first note still waits
    is_released.set()
    written(access)
    assert len(n_tries) == 1
    access.caller_of_key(secret)
    written(access)
    assert len(n_tries) == 2


def test_use_is_noted_before_the_store_closes(settings):
    access = Access.open(settings)
    key, secret = access.create_key(make_user(access).id, "x", READ, by=None)
    access.caller_of_key(secret)
    access.close()
    access.close()
    again = Access.open(settings)
    assert kept(again, key.id).last_used_at is not None
    again.close()


def test_use_of_a_key_while_the_process_stops_still_answers(access):
    _, secret = access.create_key(make_user(access).id, "x", READ, by=None)
    access._noting.shutdown()
    assert access.caller_of_key(secret).scopes == READ
