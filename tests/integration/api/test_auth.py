"""Who asks: keys, tokens and cookies; two at once, forged and ended ones; other sites."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from api.access import is_same_origin
from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE
from core.access.guards import KeyGuard
from core.access.tokens import sign_token
from core.access.windows import Windows
from core.config import Settings
from core.domain import Role, Scope
from tests.callers import PASSWORD, key_header, make_user
from tests.integration.api.fakes import ROOMY_PLANS
from tests.problems import refused

ME = "/api/v1/auth/me"
SAME_ORIGIN = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}


@pytest.fixture
def stranger(api):
    """A client that sends nothing by itself."""
    return TestClient(api, client=("203.0.113.7", 50_000))


@pytest.fixture
def user(workbench):
    return make_user(workbench, Role.ANALYST, email="ada@example.org")


@pytest.fixture
def signed_in(workbench, user):
    return workbench.access.start_session(user, address="", user_agent="")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookies_of(signed_in) -> dict[str, str]:
    return {"Cookie": f"{SESSION_COOKIE}={signed_in.access_token}; {REFRESH_COOKIE}={signed_in.refresh_token}"}


def token_by_password(client, **asked: object):
    return client.post("/api/v1/auth/token", json={"email": "ada@example.org", "password": PASSWORD} | asked)


def test_who_says_nothing_is_told_how_to_say_who_they_are(stranger):
    answer = stranger.get(ME)
    assert "X-API-Key" in refused(answer, 401, "not_signed_in")["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="telepathy"'


def test_key_is_taken_in_either_header(stranger, workbench, user):
    header = key_header(workbench, user=user, scopes=[Scope.READ])
    for headers in (header, bearer(header["X-API-Key"])):
        body = stranger.get(ME, headers=headers).json()
        assert (body["email"], body["role"], body["scopes"]) == ("ada@example.org", "analyst", ["read"])
        assert body["key_id"] is not None


def test_token_is_given_for_the_password_and_taken(stranger, user):
    body = token_by_password(stranger).json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 15 * 60
    me = stranger.get(ME, headers=bearer(body["access_token"])).json()
    assert (me["id"], me["key_id"]) == (str(user.id), None)


def test_wrong_password_and_unknown_account_are_told_alike(stranger, user):
    wrong = refused(token_by_password(stranger, password="wrong horse wrong battery"), 401, "invalid_credentials")
    unknown = refused(token_by_password(stranger, email="nobody@example.org"), 401, "invalid_credentials")
    assert wrong["detail"] == unknown["detail"]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({}, 422, "invalid_parameter"),
        ({"email": "ada@example.org"}, 422, "invalid_parameter"),
        ({"refresh_token": "x", "password": "y"}, 422, "invalid_parameter"),
        ({"email": "a", "password": "b", "admin": True}, 422, "invalid_parameter"),
        ([1], 422, "invalid_parameter"),
        ({"refresh_token": "x"}, 401, "invalid_credentials"),
    ],
)
def test_odd_requests_for_a_token_are_refused(stranger, asked, status, code):
    refused(stranger.post("/api/v1/auth/token", json=asked), status, code)


def test_password_out_of_place_is_not_repeated(stranger):
    answer = token_by_password(stranger, password="p" * 2000)
    refused(answer, 422, "invalid_parameter")
    assert "pppp" not in answer.text


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [(b"email=a", "application/x-www-form-urlencoded", 415), (b"{", "application/json", 400), (b"", None, 415)],
)
def test_body_that_is_no_json_is_refused(stranger, content, content_type, status):
    headers = {} if content_type is None else {"content-type": content_type}
    assert stranger.post("/api/v1/auth/token", content=content, headers=headers).status_code == status


def test_body_without_end_is_refused(stranger):
    body = json.dumps({"email": "x" * 100_000}).encode()
    answer = stranger.post("/api/v1/auth/token", content=body, headers={"content-type": "application/json"})
    assert "65,536 bytes" in refused(answer, 413, "body_too_large")["detail"]


def test_refresh_token_gets_the_next_pair(stranger, user):
    first = token_by_password(stranger).json()
    second = stranger.post("/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]}).json()
    assert second["refresh_token"] != first["refresh_token"]
    third = stranger.post("/api/v1/auth/token", json={"refresh_token": second["refresh_token"]}).json()
    assert stranger.get(ME, headers=bearer(third["access_token"])).status_code == 200


def test_signing_out_ends_the_token_at_once(stranger, user):
    token = token_by_password(stranger).json()
    headers = bearer(token["access_token"])
    assert stranger.post("/api/v1/auth/sign-out", headers=headers).status_code == 204
    refused(stranger.get(ME, headers=headers), 401, "invalid_credentials")
    again = stranger.post("/api/v1/auth/refresh", json={"refresh_token": token["refresh_token"]})
    refused(again, 401, "invalid_credentials")


def test_another_password_ends_the_token_at_once(stranger, workbench, user):
    token = token_by_password(stranger).json()["access_token"]
    workbench.access.set_password(user.id, new="quite another long sentence")
    refused(stranger.get(ME, headers=bearer(token)), 401, "invalid_credentials")


def test_disabled_account_is_refused_on_the_next_request(stranger, workbench, user, signed_in):
    key = key_header(workbench, user=user, scopes=[Scope.READ])
    workbench.access.change_active(user.id, False, by=None)
    refused(stranger.get(ME, headers=key), 401, "invalid_credentials")
    refused(stranger.get(ME, headers=bearer(signed_in.access_token)), 401, "invalid_credentials")
    refused(stranger.get(ME, headers=cookies_of(signed_in)), 401, "not_signed_in")


def test_two_credentials_at_once_are_refused(stranger, workbench, user, signed_in):
    key = key_header(workbench, user=user, scopes=[Scope.READ])
    answer = stranger.get(ME, headers=key | bearer(signed_in.access_token))
    assert "Two different" in refused(answer, 401, "invalid_credentials")["detail"]
    assert stranger.get(ME, headers=key | bearer(key["X-API-Key"])).status_code == 200


def test_key_counts_beside_the_cookies_that_a_browser_sends_anyway(stranger, workbench, user, signed_in):
    other = make_user(workbench, Role.VIEWER)
    key = key_header(workbench, user=other, scopes=[Scope.READ])
    assert stranger.get(ME, headers=key | cookies_of(signed_in)).json()["email"] == other.email


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer"])
def test_header_that_is_no_token_is_refused(stranger, authorization):
    refused(stranger.get(ME, headers={"Authorization": authorization}), 401, "invalid_credentials")


@pytest.mark.parametrize("key", ["tel_live_", "tel_live_" + "a" * 40, "x", "' OR 1=1 --", "tel_live_\u00e9"])
def test_key_that_is_none_is_refused(stranger, key):
    refused(stranger.get(ME, headers={b"X-API-Key": key.encode()}), 401, "invalid_credentials")


def forged(signed_in, secret: object, algorithm: str, **changed: object) -> str:
    claims = jwt.decode(signed_in.access_token, options={"verify_signature": False}) | changed
    header = jwt.get_unverified_header(signed_in.access_token)
    return jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": header["kid"]})  # type: ignore[arg-type]


def test_forged_tokens_are_refused(stranger, signed_in, user, workbench):
    past = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    own_key = workbench.access._signing_keys.current().secret
    assert stranger.get(ME, headers=bearer(forged(signed_in, own_key, "HS256"))).status_code == 200
    for token in (
        forged(signed_in, None, "none"),
        forged(signed_in, "k" * 32, "HS256"),
        forged(signed_in, own_key, "HS512"),
        forged(signed_in, own_key, "HS256", aud="another"),
        forged(signed_in, own_key, "HS256", exp=past),
        forged(signed_in, own_key, "HS256", iat=datetime.now(UTC).timestamp() + 3600),
        forged(signed_in, own_key, "HS256", sub=str(make_user(workbench).id)),
        signed_in.access_token[:-2] + "xx",
        signed_in.refresh_token,
    ):
        refused(stranger.get(ME, headers=bearer(token)), 401, "invalid_credentials")


def test_cookies_of_a_browser_are_taken(stranger, signed_in):
    assert stranger.get(ME, headers=cookies_of(signed_in)).json()["email"] == "ada@example.org"


def test_expired_cookie_counts_with_its_refresh_token_alone(stranger, workbench, signed_in):
    keys, session_id = workbench.access._signing_keys, signed_in.session_id
    expired = sign_token(keys, user_id=signed_in.user.id, session_id=session_id, lifetime=timedelta(minutes=-5))
    refused(stranger.get(ME, headers={"Cookie": f"{SESSION_COOKIE}={expired}"}), 401, "not_signed_in")
    both = f"{SESSION_COOKIE}={expired}; {REFRESH_COOKIE}={signed_in.refresh_token}"
    assert stranger.get(ME, headers={"Cookie": both}).status_code == 200


CHANGING = [("POST", "/api/v1/keys"), ("POST", "/api/v1/predict"), ("POST", "/api/v1/auth/sign-out")]


ELSEWHERE = [
    {},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://testserver.evil.example"},
    {"origin": "http://testserver", "sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "none"},
    {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
]
"""What browsers say of requests that no page of this site made."""


@pytest.mark.parametrize(("method", "path"), CHANGING)
def test_cookies_do_not_count_for_pages_of_other_sites(stranger, signed_in, method, path):
    for told in ELSEWHERE:
        answer = stranger.request(method, path, headers=cookies_of(signed_in) | told)
        refused(answer, 403, "cross_site_request")


def test_cookies_count_for_a_page_of_this_site(stranger, signed_in):
    asked = {"name": "from a page", "scopes": ["read"]}
    for told in (SAME_ORIGIN, {"origin": "http://testserver"}, {"sec-fetch-site": "same-origin"}):
        assert stranger.post("/api/v1/keys", json=asked, headers=cookies_of(signed_in) | told).status_code == 201


def test_public_address_counts_as_this_site():
    settings = Settings(public_url="https://telepathy.example.org/")
    assert is_same_origin({"origin": "https://telepathy.example.org", "host": "10.0.0.7:8501"}, settings)
    assert not is_same_origin({"origin": "https://telepathy.example.org", "host": "10.0.0.7:8501"}, Settings())
    assert not is_same_origin({"origin": "", "host": ""}, Settings())


def test_browser_renews_its_cookies(stranger, workbench, signed_in):
    answer = stranger.post("/api/v1/auth/refresh", headers=cookies_of(signed_in) | SAME_ORIGIN)
    assert (answer.status_code, answer.content) == (204, b"")
    set_cookies = answer.headers.get_list("set-cookie")
    assert [each.partition("=")[0] for each in set_cookies] == [SESSION_COOKIE, REFRESH_COOKIE]
    for each in set_cookies:
        attributes = each.lower()
        assert all(wanted in attributes for wanted in ("httponly", "samesite=lax", "path=/"))
        assert "secure" not in attributes
    assert answer.cookies[REFRESH_COOKIE] != signed_in.refresh_token
    refused(stranger.post("/api/v1/auth/refresh", headers=cookies_of(signed_in)), 403, "cross_site_request")


def test_stream_asks_too(stranger, workbench, user, signed_in):
    def status(headers: dict[str, str]) -> int:
        try:
            with stranger.websocket_connect("/api/v1/stream", headers=headers):
                return 101
        except WebSocketDenialResponse as denied:
            return denied.status_code

    key = key_header(workbench, user=user, scopes=[Scope.PREDICT])
    assert status({}) == 401
    assert status(key) == 101
    assert status(key_header(workbench, user=user, scopes=[Scope.READ])) == 403
    assert status(cookies_of(signed_in) | {"origin": "http://testserver"}) == 101
    assert status(cookies_of(signed_in) | {"origin": "http://evil.example"}) == 403
    assert status(cookies_of(signed_in)) == 403, "a browser says where a WebSocket comes from"


def test_readiness_tells_paths_to_admins_only(stranger, workbench, user):
    public = stranger.get("/readyz").json()
    assert {check["name"] for check in public["checks"]} == {"model", "store", "disk"}
    assert all(check.keys() == {"name", "ok"} for check in public["checks"])
    analyst = stranger.get("/readyz", headers=key_header(workbench, user=user, scopes=[Scope.READ])).json()
    assert analyst == public
    told = stranger.get("/readyz", headers=key_header(workbench)).json()
    assert all(check["sentence"] for check in told["checks"])


def test_metrics_are_for_this_machine_or_for_the_token(api, stranger, settings, workbench):
    here = TestClient(api, "http://localhost", client=("127.0.0.1", 50_000))
    refused(stranger.get("/metrics"), 403, "forbidden")
    assert here.get("/metrics").status_code == 200
    assert TestClient(api, "http://localhost", client=("::1", 50_000)).get("/metrics").status_code == 200
    refused(here.get("/metrics", headers={"x-forwarded-for": "127.0.0.1"}), 403, "forbidden")
    workbench.settings = Settings(metrics_token="a token of Prometheus")
    refused(here.get("/metrics"), 401, "invalid_credentials")
    refused(stranger.get("/metrics", headers=bearer("another")), 401, "invalid_credentials")
    assert stranger.get("/metrics", headers=bearer("a token of Prometheus")).status_code == 200


def test_guessing_keys_is_limited_by_address(api, workbench, settings, user):
    workbench.key_guard = KeyGuard(Windows(), replace(settings, sign_in_attempts_per_address=3))
    key = key_header(workbench, user=user, scopes=[Scope.READ])
    guesser, other = (TestClient(api, client=(address, 50_000)) for address in ("203.0.113.7", "203.0.113.8"))
    for number in range(3):
        refused(guesser.get(ME, headers={"X-API-Key": f"tel_live_{number}"}), 401, "invalid_credentials")
    answer = guesser.get(ME, headers=key)
    refused(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 0
    assert other.get(ME, headers=key).status_code == 200


def test_what_was_right_and_has_ended_is_no_guess_and_locks_nobody_out(api, workbench, settings, user, signed_in):
    workbench.key_guard = KeyGuard(Windows(), replace(settings, sign_in_attempts_per_address=1))
    made, revoked = workbench.access.create_key(user.id, "old", frozenset({Scope.READ}), by=None)
    workbench.access.revoke_key(made.id, by=None)
    expired = sign_token(
        workbench.access._signing_keys,
        user_id=user.id,
        session_id=signed_in.session_id,
        lifetime=timedelta(minutes=-5),
    )
    workbench.access.sign_out(signed_in.session_id)
    client = TestClient(api, client=("203.0.113.7", 50_000))
    for given in ({"X-API-Key": revoked}, bearer(expired), bearer(signed_in.access_token)) * 2:
        refused(client.get(ME, headers=given), 401, "invalid_credentials")
    right = key_header(workbench, user=user, scopes=[Scope.READ])
    assert client.get(ME, headers=right).status_code == 200
    forged = expired[:-4] + ("AAAA" if expired[-4:] != "AAAA" else "BBBB")
    refused(client.get(ME, headers=bearer(forged)), 401, "invalid_credentials")
    refused(client.get(ME, headers=right), 429, "rate_limited")


def test_limits_of_the_plan_hold_at_every_route_that_asks(api, workbench, settings, user):
    tight = replace(ROOMY_PLANS["enterprise"], limits="2 per minute")
    workbench.settings = replace(settings, plans=ROOMY_PLANS | {"enterprise": tight})
    client = TestClient(api, headers=key_header(workbench, user=user, scopes=[Scope.READ]))
    first = client.get(ME)
    assert "r=1" in first.headers["ratelimit"]
    client.get("/api/v1/models")
    refused(client.get(ME), 429, "rate_limited")
    assert client.get("/healthz").status_code == 200
