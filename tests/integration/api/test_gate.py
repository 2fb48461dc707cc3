"""The gate before the pages, around something that answers everything: what it lets through, and to whom."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from datetime import timedelta

import pytest
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.application import is_of_the_api
from api.gate import Gate, HeldUploads
from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE
from core.access.guards import PageGuard
from core.access.tokens import sign_token
from core.access.windows import Windows
from core.errors import StoreError, UploadTooLargeError
from tests.callers import make_user


async def everything(scope, receive, send):
    """What stands behind the gate."""
    if scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        if scope["path"].endswith("/stays"):
            await socket.receive()
        await socket.close()
    else:
        await PlainTextResponse("inside")(scope, receive, send)


@pytest.fixture
def browser(workbench):
    gate = Gate(everything, get_workbench=lambda: workbench, is_of_the_api=is_of_the_api)
    return TestClient(gate, follow_redirects=False)


@pytest.fixture
def signed_in(workbench):
    return workbench.access.start_session(make_user(workbench), address="", user_agent="")


def cookies_of(signed_in, **changed: str) -> dict[str, str]:
    cookies = {SESSION_COOKIE: signed_in.access_token, REFRESH_COOKIE: signed_in.refresh_token} | changed
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items() if value)}


@pytest.mark.parametrize("path", ["/static/js/index.js", "/favicon.png", "/_stcore/health", "/api/v1/x", "/healthz"])
def test_what_is_the_same_for_everybody_is_open(browser, path):
    assert browser.get(path).text == "inside"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/", "/sign-in"),
        ("/explore", "/sign-in?next=/explore"),
        ("/explore?a=1&b=%26", "/sign-in?next=/explore%3Fa%3D1%26b%3D%2526"),
        ("/apix", "/sign-in?next=/apix"),
        ("/healthz/x", "/sign-in?next=/healthz/x"),
        ("/staticx", "/sign-in?next=/staticx"),
        ("/auth/login", None),
        ("/oauth2callback?code=x", None),
        ("/media/x.wav", None),
        ("/_stcore/healthz", None),
    ],
)
def test_strangers_are_led_to_the_sign_in_page_from_pages_and_refused_elsewhere(browser, path, location):
    answer = browser.get(path)
    if location is None:
        refused_without_id(answer)
    else:
        assert (answer.status_code, answer.headers["location"]) == (303, location)
        assert answer.headers["cache-control"] == "no-store"


def refused_without_id(answer) -> None:
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_signed_in"
    assert "www-authenticate" in answer.headers


def test_who_is_signed_in_gets_in(browser, signed_in):
    for path in ("/", "/media/x.wav"):
        answer = browser.get(path, headers=cookies_of(signed_in))
        assert answer.text == "inside"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert "set-cookie" not in answer.headers


def test_page_opened_with_an_old_token_gets_new_cookies(browser, workbench, signed_in):
    keys, session_id = workbench.access._signing_keys, signed_in.session_id
    expired = sign_token(keys, user_id=signed_in.user.id, session_id=session_id, lifetime=timedelta(minutes=-5))
    headers = cookies_of(signed_in, **{SESSION_COOKIE: expired})
    assert browser.get("/media/x", headers=headers).headers.get("set-cookie") is None
    answer = browser.get("/explore", headers=headers)
    assert answer.text == "inside"
    names = [each.partition("=")[0] for each in answer.headers.get_list("set-cookie")]
    assert names == [SESSION_COOKIE, REFRESH_COOKIE]
    workbench.access.caller_of_token(answer.cookies[SESSION_COOKIE])
    assert answer.cookies[REFRESH_COOKIE] != signed_in.refresh_token


def test_page_opened_after_the_end_of_a_session_forgets_its_cookies(browser, workbench, signed_in):
    workbench.access.sign_out(signed_in.session_id)
    answer = browser.get("/explore", headers=cookies_of(signed_in))
    assert answer.status_code == 303
    assert all('=""' in each for each in answer.headers.get_list("set-cookie"))
    assert len(answer.headers.get_list("set-cookie")) == 4, "those of https too"


def opens(browser, headers: dict[str, str]) -> bool:
    try:
        with browser.websocket_connect("/_stcore/stream", headers=headers):
            return True
    except WebSocketDisconnect:
        return False


def test_sockets_open_for_pages_of_this_site_alone(browser, signed_in):
    cookies = cookies_of(signed_in)
    assert opens(browser, cookies | {"origin": "http://testserver"})
    assert not opens(browser, {"origin": "http://testserver"})
    assert not opens(browser, cookies | {"origin": "http://localhost:3000"})
    assert not opens(browser, cookies)


def test_one_person_has_some_pages_open_at_a_time(browser, workbench, signed_in, monkeypatch):
    monkeypatch.setattr("api.gate.MAX_OPEN_PAGES", 2)
    headers = cookies_of(signed_in) | {"origin": "http://testserver"}
    somebody = workbench.access.start_session(make_user(workbench), address="", user_agent="")
    with ExitStack() as pages:
        for _ in range(2):
            pages.enter_context(browser.websocket_connect("/_stcore/stays", headers=headers))
        assert not opens(browser, headers)
        assert opens(browser, cookies_of(somebody) | {"origin": "http://testserver"})
        assert browser.get("/", headers=headers).text == "inside", "only what stays open counts"
    assert opens(browser, headers)


def test_one_person_opens_some_pages_a_minute(browser, workbench, signed_in, monkeypatch):
    monkeypatch.setattr("core.access.guards.PAGES_PER_MINUTE", 2)
    workbench.page_guard = PageGuard(Windows())
    headers = cookies_of(signed_in) | {"origin": "http://testserver"}
    assert [opens(browser, headers) for _ in range(3)] == [True, True, False]


def test_uploads_come_from_pages_of_this_site_alone(browser, signed_in):
    cookies, path = cookies_of(signed_in), "/_stcore/upload_file/a/b"
    for method in ("PUT", "POST", "DELETE"):
        assert browser.request(method, path, headers=cookies | {"origin": "http://testserver"}).text == "inside"
        assert browser.request(method, path, headers=cookies).status_code == 403
        assert browser.request(method, path, headers={"origin": "http://testserver"}).status_code == 401


def test_nobody_fills_the_memory_with_files_that_pages_hold(workbench, signed_in, monkeypatch):
    held = {"a": 0, "b": 0}
    behind = Gate(
        everything, get_workbench=lambda: workbench, is_of_the_api=is_of_the_api, bytes_held=lambda page: held[page]
    )
    browser = TestClient(behind, follow_redirects=False)
    monkeypatch.setattr("api.gate.MAX_HELD_MB", 1.0)

    def put(page, n_bytes=300_000, who=signed_in, method="PUT"):
        headers = cookies_of(who) | {"origin": "http://testserver"}
        return browser.request(method, f"/_stcore/upload_file/{page}/f", headers=headers, content=bytes(n_bytes))

    assert put("a").text == "inside"
    held |= {"a": 500_000, "b": 300_000}
    answer = put("b")
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_large")
    assert "hold, with this file, has 1.1 MB" in answer.json()["detail"]
    assert put("b", 100_000).text == "inside"
    assert put("b", method="DELETE").text == "inside"
    somebody = workbench.access.start_session(make_user(workbench), address="", user_agent="")
    assert put("b", 600_000, who=somebody).text == "inside", "what others hold does not count"
    held["a"] = 0
    assert put("b", 700_000).text == "inside", "a page that was closed holds nothing"


def test_files_that_arrive_at_once_are_counted_together(workbench, signed_in, monkeypatch):
    monkeypatch.setattr("api.gate.MAX_HELD_MB", 1.0)
    uploads = HeldUploads(lambda page: 0)

    def upload(*headers):
        path = "/_stcore/upload_file/a/b"
        return HTTPConnection({"type": "http", "method": "PUT", "path": path, "headers": list(headers)})

    large = upload((b"content-length", b"600000"))
    uploads.require_room(large, signed_in.user.id)
    with uploads.arriving(large, signed_in.user.id), pytest.raises(UploadTooLargeError):
        uploads.require_room(large, signed_in.user.id)
    uploads.require_room(large, signed_in.user.id)
    with pytest.raises(UploadTooLargeError):
        uploads.require_room(upload(), signed_in.user.id)


def test_trouble_with_the_accounts_opens_nothing(browser, workbench, signed_in):
    workbench.access.close()
    answer = browser.get("/explore", headers=cookies_of(signed_in))
    assert (answer.status_code, answer.json()["code"]) == (503, "store")


def test_before_there_is_a_workbench_nothing_is_open():
    def fail():
        raise StoreError("opening it", "another process holds it")

    gate = Gate(everything, get_workbench=fail, is_of_the_api=is_of_the_api)
    assert TestClient(gate).get("/").status_code == 503


def test_single_sign_on_opens_its_addresses_when_it_is_set(browser, workbench):
    workbench.settings = dataclasses.replace(workbench.settings, single_sign_on=True)
    assert browser.get("/auth/login?provider=x").text == "inside"
    assert browser.get("/oauth2callback").text == "inside"
    refused_without_id(browser.get("/auth/logout"))
    answer = browser.get("/", headers={"Cookie": "_streamlit_user=x"})
    assert answer.headers["location"] == "/sign-in/vouched"


def test_over_https_no_cookie_counts_that_another_host_of_the_domain_could_have_set(browser, workbench, signed_in):
    workbench.settings = dataclasses.replace(workbench.settings, public_url="https://telepathy.example.org")
    assert browser.get("/", headers=cookies_of(signed_in)).status_code == 303
    own = {"Cookie": cookies_of(signed_in)["Cookie"].replace("telepathy_", "__Host-telepathy_")}
    assert browser.get("/", headers=own).text == "inside"
    keys = workbench.access._signing_keys
    expired = sign_token(
        keys, user_id=signed_in.user.id, session_id=signed_in.session_id, lifetime=timedelta(minutes=-5)
    )
    own["Cookie"] = own["Cookie"].replace(signed_in.access_token, expired)
    renewed = browser.get("/", headers=own).headers.get_list("set-cookie")
    assert [each.startswith("__Host-telepathy_") and "Secure" in each for each in renewed] == [True, True]
