"""The pages to sign in, register, set up and reset by, and what they refuse."""

from __future__ import annotations

import dataclasses
import re

import pytest
import structlog
from starlette.testclient import TestClient

from api.application import create_api
from api.routes_sign_in import safe_next
from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE
from core.access.guards import SignInGuard
from core.access.windows import Windows
from core.domain import LinkKind, Role
from core.errors import MailError
from tests.callers import PASSWORD, make_user
from tests.integration.api.test_auth import ELSEWHERE
from tests.problems import refused
from tests.signed_in import OPENED_BY_A_PERSON

HERE = {"origin": "http://testserver"}
FORMS = ["/sign-in", "/register", "/forgot", "/set-up", "/link", "/sign-out"]


@pytest.fixture
def browser(api):
    """A client that keeps cookies and follows nothing."""
    return TestClient(api, follow_redirects=False)


@pytest.fixture
def user(workbench):
    return make_user(workbench, Role.ANALYST, email="ada@example.org")


def sign_in(browser, *, email="ada@example.org", password=PASSWORD, headers=HERE, **more):
    return browser.post("/sign-in", data={"email": email, "password": password} | more, headers=headers)


def is_signed_in(browser) -> bool:
    return browser.get("/api/v1/auth/me").status_code == 200


def test_right_password_opens_a_session(browser, user):
    answer = sign_in(browser, next="/explore?emotion=sad")
    assert (answer.status_code, answer.headers["location"]) == (303, "/explore?emotion=sad")
    assert is_signed_in(browser)
    assert browser.get("/sign-in?next=/live").headers["location"] == "/live"


def test_cookies_are_out_of_reach_of_scripts_and_sent_over_https_alone(browser, user, workbench):
    workbench.settings = dataclasses.replace(workbench.settings, public_url="https://telepathy.example.org")
    answer = sign_in(browser, headers={"origin": "https://telepathy.example.org"})
    for each in answer.headers.get_list("set-cookie"):
        assert all(wanted in each.lower() for wanted in ("httponly", "secure", "samesite=lax", "path=/", "expires="))
        assert each.startswith("__Host-"), "so that no other host of the domain sets it"


@pytest.mark.parametrize(
    ("given", "base_url", "forwarded", "is_https"),
    [
        ({"public_url": "https://telepathy.example.org"}, "http://testserver", {}, True),
        ({"trusted_proxies": 1}, "http://testserver", {"x-forwarded-proto": "https"}, True),
        ({}, "https://testserver", {}, True),
        ({"trusted_proxies": 1}, "http://testserver", {"x-forwarded-proto": "http"}, False),
        ({}, "http://testserver", {"x-forwarded-proto": "https"}, False),
    ],
)
def test_cookies_are_for_https_alone_where_the_browser_speaks_it(
    api, user, workbench, given, base_url, forwarded, is_https
):
    workbench.settings = dataclasses.replace(workbench.settings, **given)
    browser = TestClient(api, base_url, follow_redirects=False, headers=forwarded)
    answer = sign_in(browser, headers={"origin": given.get("public_url", base_url)})
    assert answer.status_code == 303
    kept = answer.headers.get_list("set-cookie")
    assert [("; Secure" in each, each.startswith("__Host-telepathy_")) for each in kept] == [(is_https, is_https)] * 2
    values = {each.partition("=")[0]: each.partition("=")[2].partition(";")[0] for each in kept}
    fresh = TestClient(api, base_url, headers=forwarded)
    for names, status in ((values, 200), ({name.removeprefix("__Host-"): values[name] for name in values}, 401)):
        sent = "; ".join(f"{name}={value}" for name, value in names.items())
        answer = fresh.get("/api/v1/auth/me", headers={"Cookie": sent})
        assert answer.status_code == (status if is_https else 200)


def test_signing_out_takes_away_the_cookies_of_https_too(browser, user):
    sign_in(browser)
    gone = browser.post("/sign-out", headers=HERE).headers.get_list("set-cookie")
    assert sorted(each.partition("=")[0] for each in gone) == sorted(
        [SESSION_COOKIE, REFRESH_COOKIE, f"__Host-{SESSION_COOKIE}", f"__Host-{REFRESH_COOKIE}"]
    )
    assert all("Secure" in each for each in gone if each.startswith("__Host-")), "or browsers leave them as they are"


def test_wrong_password_and_unknown_account_look_alike(browser, user):
    wrong = sign_in(browser, password="not this one at all")
    unknown = sign_in(browser, email="eve@example.org", password="not this one at all")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert wrong.text.replace("ada@", "x@") == unknown.text.replace("eve@", "x@")
    assert "is not right" in wrong.text
    assert not browser.cookies


def test_guessing_is_counted_and_refused_at_every_door(settings, workbench, user):
    workbench.sign_in_guard = SignInGuard(Windows(), dataclasses.replace(settings, sign_in_attempts_per_account=2))
    browser = TestClient(create_api(lambda: workbench), follow_redirects=False)
    assert sign_in(browser, password="wrong wrong wrong").status_code == 401
    assert sign_in(browser).status_code == 303, "the right password forgets the wrong ones"
    assert sign_in(browser, password="wrong wrong wrong").status_code == 401
    guess = {"email": "ADA@example.org", "password": "wrong wrong wrong"}
    refused(browser.post("/api/v1/auth/token", json=guess), 401, "invalid_credentials")
    answer = sign_in(browser)
    assert answer.status_code == 429
    assert "2 attempts at one account" in answer.text
    again = browser.post("/api/v1/auth/token", json=guess)
    refused(again, 429, "rate_limited")
    assert int(again.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/explore?emotion=sad#x", "/explore?emotion=sad#x"),
        ("/", "/"),
        *((evil, "/") for evil in ("//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil.example")),
        *(
            (evil, "/")
            for evil in ("javascript:alert(1)", "evil.example", "", "/\tevil", "/a\nb", "///evil", "http:/x")
        ),
        *((evil, "/") for evil in ("/sign-in", "/sign-out?x", "//[::1", "/x\r\nSet-Cookie: a=b", "/\x00")),
    ],
)
def test_next_stays_on_this_site(target, kept):
    assert safe_next(target) == kept


def test_forms_of_other_sites_are_refused(browser, user):
    """The one to sign in by too: nobody is signed in as somebody else by a page they happen to visit."""
    data = {"email": "ada@example.org", "password": PASSWORD, "token": "x"}
    for path in FORMS:
        for told in ELSEWHERE:
            refused(browser.post(path, data=data, headers=told), 403, "cross_site_request")
    assert not browser.cookies


def test_form_must_be_a_form_and_short(browser):
    assert browser.post("/sign-in", json={"email": "a"}, headers=HERE).status_code == 415
    refused(browser.post("/sign-in", data={"email": "x" * 100_000}, headers=HERE), 413, "body_too_large")
    assert browser.post("/sign-in", content=b"\xff=%ff", headers=HERE | FORM_TYPE).status_code == 400


FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("path", FORMS)
def test_pages_run_no_scripts_and_load_nothing_from_elsewhere(browser, path):
    page = browser.get(path)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "same-origin"
    assert "<script" not in page.text
    assert not re.search(r"(?:https?:)?//\w", page.text)
    for name in re.findall(r'(?:src|href)="(/sign-in/assets/[^"]+)"', page.text):
        assert browser.get(name).status_code == 200, name


def test_what_the_pages_load_is_here_and_nothing_else(browser):
    for name in ("style.css", "logo.svg", "serif.woff2", "sans.woff2"):
        assert len(browser.get(f"/sign-in/assets/{name}").content) > 500
    for name in ("base.html", "..%2fbase.html", "x.woff2"):
        assert browser.get(f"/sign-in/assets/{name}").status_code == 404


def test_what_somebody_typed_is_shown_as_text(browser):
    evil = '"><script>alert(1)</script>'
    for answer in (
        sign_in(browser, email=evil, password="x", next=f"/{evil}"),
        browser.get("/set-up", params={"token": evil}),
        browser.get("/link", params={"token": evil}),
        browser.get("/sign-in", params={"next": f"/{evil}"}),
    ):
        assert "<script" not in answer.text


# The set-up link


def test_set_up_link_that_a_person_opens_signs_in_at_once_and_once(browser, workbench):
    token = workbench.access.set_up_link()
    answer = browser.get("/set-up", params={"token": token}, headers=OPENED_BY_A_PERSON)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?sample=first")
    assert browser.get("/api/v1/auth/me").json()["role"] == "admin"
    again = browser.get("/set-up", params={"token": token}, headers=OPENED_BY_A_PERSON)
    assert again.status_code == 403
    assert "Each start of Telepathy prints a new link" in again.text


@pytest.mark.parametrize(
    "changed",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-mode": "no-cors"},
        {"sec-fetch-dest": "iframe"},
        {"sec-fetch-user": "?0"},
        {"sec-purpose": "prefetch;prerender"},
        {"sec-fetch-site": ""},
    ],
)
def test_set_up_link_that_anything_else_opens_shows_a_button(browser, workbench, changed):
    token = workbench.access.set_up_link()
    page = browser.get("/set-up", params={"token": token}, headers=OPENED_BY_A_PERSON | changed)
    assert page.status_code == 200
    assert not browser.cookies
    assert workbench.access.peek_link(token) is LinkKind.SET_UP
    answer = browser.post("/set-up", data={"token": token}, headers=HERE)
    assert answer.status_code == 303
    assert is_signed_in(browser)


def test_sign_in_page_tells_of_the_terminal_until_an_admin_has_been_here(browser, workbench):
    assert "the terminal shows a link" in browser.get("/sign-in").text
    token = workbench.access.set_up_link()
    assert "the terminal shows a link" in browser.get("/sign-in").text
    assert browser.post("/set-up", data={"token": token}, headers=HERE).status_code == 303
    browser.cookies.clear()
    assert "the terminal" not in browser.get("/sign-in").text


def test_set_up_takes_no_other_link(browser, workbench, user):
    token = workbench.access.reset_link(user.id)
    assert browser.get("/set-up", params={"token": token}, headers=OPENED_BY_A_PERSON).status_code == 403
    assert browser.post("/set-up", data={"token": token}, headers=HERE).status_code == 403
    assert workbench.access.peek_link(token) is LinkKind.PASSWORD_RESET


# Invitations and resets


def test_looking_at_a_link_uses_nothing(browser, workbench, user):
    token = workbench.access.reset_link(user.id)
    for _ in range(3):
        assert browser.get("/link", params={"token": token}, headers=OPENED_BY_A_PERSON).status_code == 200
    assert not browser.cookies
    assert workbench.access.peek_link(token) is LinkKind.PASSWORD_RESET


def test_reset_link_sets_another_password_and_ends_other_sessions(api, browser, workbench, user):
    old = TestClient(api, follow_redirects=False)
    sign_in(old)
    token = workbench.access.reset_link(user.id)
    weak = browser.post("/link", data={"token": token, "password": "short"}, headers=HERE)
    assert weak.status_code == 422
    assert "has 5 characters" in weak.text
    answer = browser.post("/link", data={"token": token, "password": "another long and odd sentence"}, headers=HERE)
    assert answer.status_code == 303
    assert is_signed_in(browser)
    assert not is_signed_in(old)
    assert sign_in(TestClient(api)).status_code == 401
    assert browser.post("/link", data={"token": token, "password": "x" * 20}, headers=HERE).status_code == 403


def test_invitation_makes_an_account_of_its_role(browser, workbench):
    token = workbench.access.invite(email="grace@example.org", role=Role.ANNOTATOR, by=None)
    shown = browser.get("/link", params={"token": token}).text
    assert "Welcome" in shown
    assert "invited as <strong>grace@example.org</strong>" in shown
    data = {"token": token, "name": "Grace", "password": "seven lonely compilers dancing"}
    assert browser.post("/link", data=data, headers=HERE).status_code == 303
    me = browser.get("/api/v1/auth/me").json()
    assert (me["email"], me["name"], me["role"]) == ("grace@example.org", "Grace", "annotator")


# Registering and forgetting


@pytest.mark.parametrize("registration", ["open", "invitation", "closed"])
def test_registration_follows_its_setting(settings, workbench, registration):
    changed = dataclasses.replace(settings, registration=registration)
    workbench.settings = workbench.access.settings = changed
    browser = TestClient(create_api(lambda: workbench), follow_redirects=False)
    data = {"email": "eve@example.org", "name": "Eve", "password": "a sentence of many words"}
    is_open = registration == "open"
    assert ('action="/register"' in browser.get("/register").text) == is_open
    assert browser.post("/register", data=data, headers=HERE).status_code == (303 if is_open else 403)
    assert is_signed_in(browser) == is_open
    if is_open:
        assert browser.get("/api/v1/auth/me").json()["role"] == "analyst"
        assert browser.post("/register", data=data, headers=HERE).status_code == 409


def test_open_registration_does_not_tell_whether_an_address_has_an_account(browser, workbench, user, monkeypatch):
    monkeypatch.setattr(workbench, "settings", dataclasses.replace(workbench.settings, registration="open"))
    monkeypatch.setattr(workbench.access, "settings", workbench.settings)
    links, mails = [], []
    workbench.mail_link = lambda *link: links.append(link)
    monkeypatch.setattr(workbench, "mail", mails.append)
    answers = {
        email: browser.post("/register", data={"email": email}, headers=HERE)
        for email in ("ada@example.org", "eve@example.org")
    }
    assert {answer.status_code for answer in answers.values()} == {200}
    assert len({answer.text.replace(email, "") for email, answer in answers.items()}) == 1
    [(kind, email, token)] = links
    assert (kind, email) == (LinkKind.INVITATION, "eve@example.org")
    assert workbench.access.look_at_link(token).role == workbench.settings.new_user_role
    [told] = mails
    assert told.to == "ada@example.org"
    assert "already" in told.text
    assert browser.post("/register", data={"email": "no address"}, headers=HERE).status_code == 422


def test_forgotten_password_is_answered_alike_for_all(browser, workbench, user):
    mailed = []
    workbench.mail_link = lambda kind, email, token: mailed.append((kind, email, token))
    known = browser.post("/forgot", data={"email": "ada@example.org"}, headers=HERE)
    unknown = browser.post("/forgot", data={"email": "eve@example.org"}, headers=HERE)
    assert known.text.replace("ada@", "x@") == unknown.text.replace("eve@", "x@")
    [(kind, email, token)] = mailed
    assert (kind, email) == (LinkKind.PASSWORD_RESET, "ada@example.org")
    assert workbench.access.peek_link(token) is LinkKind.PASSWORD_RESET


def test_link_goes_to_the_address_of_the_account_however_it_was_typed(browser, workbench, user):
    mailed = []
    workbench.mail_link = lambda kind, email, token: mailed.append(email)
    browser.post("/forgot", data={"email": " Ada@Example.ORG "}, headers=HERE)
    assert mailed == ["ada@example.org"]


def test_nobody_fills_a_mailbox_by_asking_again(browser, workbench, user):
    mailed = []
    workbench.mail_link = lambda kind, email, token: mailed.append(email)
    for _ in range(6):
        assert browser.post("/forgot", data={"email": "ada@example.org"}, headers=HERE).status_code == 200
    assert mailed == ["ada@example.org"] * 3


def test_mail_that_fails_is_answered_alike_and_logged(browser, workbench, user):
    def fail(*_: object) -> None:
        raise MailError("the server is away")

    workbench.mail_link = fail
    with structlog.testing.capture_logs() as logged:
        answer = browser.post("/forgot", data={"email": "ada@example.org"}, headers=HERE)
    assert answer.status_code == 200
    warned = [entry["event"] for entry in logged if entry["log_level"] == "warning"]
    assert warned == ["a link to a new password was not mailed"]


def test_without_a_mail_server_an_admin_is_named(browser):
    assert "Ask an admin" in browser.get("/forgot").text
    assert "Ask an admin" in browser.post("/forgot", data={"email": "ada@example.org"}, headers=HERE).text


def test_signing_out_ends_the_session_and_forgets_the_cookies(browser, workbench, user):
    sign_in(browser)
    kept = dict(browser.cookies)
    assert browser.get("/sign-out").status_code == 200
    assert is_signed_in(browser), "a GET changes nothing"
    answer = browser.post("/sign-out", headers=HERE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert not {SESSION_COOKIE, REFRESH_COOKIE} & set(browser.cookies)
    assert workbench.access.caller_of_page(kept[SESSION_COOKIE], kept[REFRESH_COOKIE]) is None
