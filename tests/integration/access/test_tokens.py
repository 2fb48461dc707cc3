"""Signed tokens: which are believed; and the keys that sign them."""

from __future__ import annotations

import base64
import dataclasses
import hmac
import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from core.access import signing_keys, tokens
from core.access.signing_keys import FILE, SigningKeys
from core.access.tokens import Claims, read_token, sign_token
from core.config import REPOSITORY
from core.errors import InvalidCredentialsError, StoreError

USER, SESSION = uuid4(), uuid4()
MINUTE = timedelta(minutes=1)


@pytest.fixture
def keys(tmp_path):
    return SigningKeys.open(tmp_path / "keys")


def claims(**changes):
    now = datetime.now(UTC).timestamp()
    good = {
        "aud": "telepathy",
        "iss": "telepathy",
        "iat": now,
        "exp": now + 60,
        "sub": str(USER),
        "sid": str(SESSION),
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def forged(keys, *, secret=None, algorithm="HS256", headers=None, **changes):
    """A token made with our own key, but for what is changed."""
    key = keys.current()
    given = {"kid": key.kid} if headers is None else headers
    return jwt.encode(claims(**changes), key.secret if secret is None else secret, algorithm=algorithm, headers=given)


def by_hand(header, payload, signature=b""):
    """A token put together without a library that might refuse to."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_token_says_who_it_was_made_for(keys):
    token = sign_token(keys, user_id=USER, session_id=SESSION, lifetime=MINUTE)
    assert read_token(keys, token) == Claims(user_id=USER, session_id=SESSION)
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == ("HS256", keys.current().kid)
    payload = jwt.decode(token, options={"verify_signature": False})
    assert set(payload) == {"aud", "iss", "iat", "exp", "sub", "sid"}
    assert payload["exp"] - payload["iat"] == pytest.approx(60)


def test_token_forged_with_our_own_key_is_believed(keys):
    """What the refusals below rest on: they change one thing each."""
    assert read_token(keys, forged(keys)) == Claims(user_id=USER, session_id=SESSION)


HOUR_AGO = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
IN_AN_HOUR = datetime.now(UTC).timestamp() + 3600


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "somebody-else"},
        {"aud": ["somebody-else"]},
        {"iss": "somebody-else"},
        {"exp": HOUR_AGO},
        {"iat": IN_AN_HOUR},
        {"nbf": IN_AN_HOUR},
        *({name: None} for name in tokens.REQUIRED),
        {"sub": "not an id"},
        {"sub": 7},
        {"sid": "not an id"},
        {"sid": 7},
        {"sid": ["x"]},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"secret": b"0" * 64},
        {"algorithm": "HS512"},
        {"algorithm": "HS384"},
        {"headers": {}},
        {"headers": {"kid": "0" * 16}},
        {"headers": {"kid": "../../etc/passwd"}},
        {"headers": {"kid": ""}},
    ],
    ids=lambda change: " ".join(change),
)
def test_forged_token_is_refused(keys, change):
    with pytest.raises(InvalidCredentialsError):
        read_token(keys, forged(keys, **change))


def test_token_without_algorithm_is_refused_however_it_is_written(keys):
    for algorithm in ("none", "None", "NONE", "nOnE", "", None):
        header = {"alg": algorithm, "typ": "JWT", "kid": keys.current().kid}
        with pytest.raises(InvalidCredentialsError):
            read_token(keys, by_hand(header, claims()))


def test_token_signed_with_a_public_key_algorithm_is_refused(keys):
    pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(InvalidCredentialsError):
        read_token(keys, forged(keys, secret=pair, algorithm="RS256"))


def test_every_changed_bit_of_a_token_is_noticed(keys):
    token = forged(keys)
    head, payload, signature = token.split(".")
    changed = claims(sub=str(uuid4()))
    other = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    for spoilt in (f"{head}.{other}.{signature}", f"{head}.{payload}.", f"{head}.{payload}", f"{head}.{payload}.AAAA"):
        with pytest.raises(InvalidCredentialsError):
            read_token(keys, spoilt)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "x" * 100_000, "e30.e30.e30", "bnVsbA.bnVsbA.x", "\udc80.a.b", "\0", "W10.W10.x"]
)
def test_what_is_no_token_is_refused(keys, text):
    with pytest.raises(InvalidCredentialsError):
        read_token(keys, text)


def test_key_confusion_by_an_own_header_is_no_way_in(keys):
    own = b"k" * 64
    for extra in ({"jwk": {"kty": "oct", "k": "azz"}}, {"jku": "http://127.0.0.1/keys"}, {"x5u": "http://127.0.0.1/"}):
        header = {"alg": "HS256", "typ": "JWT", "kid": keys.current().kid} | extra
        unsigned = by_hand(header, claims()).rpartition(".")[0]
        signature = hmac.digest(own, unsigned.encode(), "sha256")
        with pytest.raises(InvalidCredentialsError):
            read_token(keys, by_hand(header, claims(), signature))


def test_expired_token_says_so_and_pages_may_read_it(keys):
    token = forged(keys, exp=HOUR_AGO, iat=HOUR_AGO - 60)
    with pytest.raises(InvalidCredentialsError, match="has expired"):
        read_token(keys, token)
    assert read_token(keys, token, allows_expired=True).session_id == SESSION
    for change in ({"aud": "x"}, {"secret": b"0" * 64}, {"exp": None}):
        with pytest.raises(InvalidCredentialsError):
            read_token(keys, forged(keys, **{"exp": HOUR_AGO} | change), allows_expired=True)


def test_signing_keys_are_their_owner_s_alone(tmp_path):
    SigningKeys.open(tmp_path / "keys")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / FILE).stat().st_mode) == 0o600
    assert [file.name for file in (tmp_path / "keys").iterdir()] == [FILE]


def test_signing_key_is_long_and_hidden_in_repr(keys):
    key = keys.current()
    assert len(key.secret) == 64
    assert repr(key.secret) not in repr(key)
    assert base64.b64encode(key.secret).decode() not in repr(key)


def test_keys_are_the_same_after_a_restart(tmp_path, keys):
    token = forged(keys)
    assert read_token(SigningKeys.open(tmp_path / "keys"), token).user_id == USER


def test_threads_and_processes_that_start_at_once_share_one_key(tmp_path):
    folder = tmp_path / "keys"
    code = (
        "import sys, pathlib; from core.access.signing_keys import SigningKeys; "
        "sys.stdin.readline(); print(SigningKeys.open(pathlib.Path(sys.argv[1])).current().kid)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    with ThreadPoolExecutor(8) as pool:
        found = {opened.current().kid for opened in pool.map(SigningKeys.open, [folder] * 8)}
    for child in children:
        found.add(child.communicate(timeout=60)[0].strip())
    assert len(found) == 1


def test_old_key_verifies_until_what_it_signed_has_expired(keys):
    token, old = forged(keys, exp=datetime.now(UTC).timestamp() + 7200), keys.current()
    new = keys.rotate(keeps_for=timedelta(hours=1))
    assert keys.current() == new
    assert new.secret != old.secret
    assert read_token(keys, token).user_id == USER
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert keys.find(old.kid, at=in_an_hour - MINUTE) is not None
    assert keys.find(old.kid, at=in_an_hour) is None
    assert keys.find(new.kid, at=in_an_hour) == new


def test_several_rotations_keep_every_key_that_still_verifies(keys):
    first = forged(keys)
    keys.rotate(keeps_for=timedelta(hours=1))
    second = forged(keys)
    keys.rotate(keeps_for=timedelta(hours=1))
    assert [read_token(keys, token).user_id for token in (first, second, forged(keys))] == [USER] * 3
    keys.rotate(keeps_for=timedelta(0))
    assert len(keys.all()) == 1
    for token in (first, second):
        with pytest.raises(InvalidCredentialsError):
            read_token(keys, token)


def test_rotation_never_lets_a_key_verify_for_longer(keys):
    old = keys.current()
    keys.rotate(keeps_for=MINUTE)
    ends_at = keys.find(old.kid, at=datetime.now(UTC)).retires_at
    keys.rotate(keeps_for=timedelta(hours=1))
    assert keys.find(old.kid, at=datetime.now(UTC)).retires_at == ends_at


def test_keys_rotated_by_another_process_are_noticed(tmp_path, keys):
    token = forged(keys)
    other = SigningKeys.open(tmp_path / "keys")
    other.rotate(keeps_for=timedelta(0))
    assert keys.current() == other.current()
    with pytest.raises(InvalidCredentialsError):
        read_token(keys, token)
    assert read_token(keys, forged(other)).user_id == USER


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[{}]", '[{"kid": "a", "secret": "****", "created_at": "x", "retires_at": null}]']
)
def test_damaged_file_of_keys_is_said_and_not_replaced(tmp_path, text):
    SigningKeys.open(tmp_path / "keys")
    file = tmp_path / "keys" / FILE
    file.write_text(text)
    with pytest.raises(StoreError, match="signing-keys"):
        SigningKeys.open(tmp_path / "keys")
    assert file.read_text() == text


def test_short_key_is_refused(tmp_path, keys):
    short = dataclasses.replace(keys.current(), secret=b"short")
    (tmp_path / "keys" / FILE).unlink()
    signing_keys._write(tmp_path / "keys" / FILE, [short])
    with pytest.raises(StoreError, match="too short"):
        keys.current()


def test_refresh_token_names_its_session_and_the_next_takes_the_key(keys):
    first = tokens.new_refresh_token(SESSION)
    assert tokens.session_of_refresh_token(first) == SESSION
    assert tokens.new_refresh_token(SESSION) != first
    second = tokens.next_refresh_token(first, keys.current())
    assert tokens.session_of_refresh_token(second) == SESSION
    assert second == tokens.next_refresh_token(first, keys.current())
    assert second != tokens.next_refresh_token(first, keys.rotate(keeps_for=MINUTE))


@pytest.mark.parametrize("text", ["", ".", "a" * 32 + ".", "g" * 32 + "." + "a" * 43, "\udc80", "1" * 32, "x" * 5000])
def test_what_is_no_refresh_token_is_refused(text):
    with pytest.raises(InvalidCredentialsError):
        tokens.session_of_refresh_token(text)
