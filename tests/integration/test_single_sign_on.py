"""Single sign-on through Streamlit's OIDC, with a real provider and a real process."""

from __future__ import annotations

import httpx2
import pytest

from tests.bundles import TINY
from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, running_provider
from tests.process import RunningApp, free_port, running_app

ADA = {"email": "Ada@Example.org", "email_verified": True, "name": "Ada"}


@pytest.fixture(scope="module")
def provider():
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def app(provider, tmp_path_factory):
    data_dir, port = tmp_path_factory.mktemp("data"), free_port()
    secrets = data_dir / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text(
        f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "a long secret that only this process knows"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"
"""
    )
    settings = {"models_dir": TINY.parent, "model": "tiny", "single_sign_on": True, "registration": "open"}
    with running_app(data_dir, port=port, **settings) as started:
        yield started


@pytest.fixture
def browser(app):
    with httpx2.Client(base_url=app.url, timeout=60, follow_redirects=True) as opened:
        yield opened


def sign_on(browser: httpx2.Client, provider: IdentityProvider, **claims: object) -> httpx2.Response:
    provider.claims = claims
    return browser.get("/sign-in/provider", params={"next": "/explore"})


def test_who_is_vouched_for_gets_a_session_of_ours(app: RunningApp, provider, browser):
    answer = sign_on(browser, provider, **ADA)
    assert (answer.status_code, answer.url.path) == (200, "/explore")
    me = browser.get("/api/v1/auth/me").json()
    assert (me["email"], me["name"], me["role"]) == ("ada@example.org", "Ada", "analyst")
    assert not [name for name in browser.cookies if name.startswith("_streamlit_user")], "it is exchanged once"
    browser.post("/sign-out", headers={"origin": app.url})
    assert browser.get("/").url.path == "/sign-in"
    sign_on(browser, provider, **ADA)
    assert browser.get("/api/v1/auth/me").json()["id"] == me["id"]


@pytest.mark.parametrize("verified", [False, None, "false"])
def test_address_that_is_not_verified_opens_nothing(provider, browser, verified):
    answer = sign_on(browser, provider, **ADA | {"email_verified": verified})
    assert answer.status_code == 401
    assert "has not verified" in answer.text
    assert browser.get("/api/v1/auth/me").status_code == 401
    assert not [name for name in browser.cookies if name.startswith("_streamlit_user")]


def test_answer_that_nobody_signed_opens_nothing(app, browser):
    browser.cookies.set("_streamlit_user", "e30|forged", domain="127.0.0.1")
    answer = browser.get("/explore")
    assert answer.url.path == "/sign-in/vouched"
    assert answer.status_code == 401
    assert "vouched for nobody" in answer.text
    assert browser.get("/api/v1/auth/me").status_code == 401


def test_sign_in_page_offers_it(browser):
    assert "/sign-in/provider?next=/live" in browser.get("/sign-in?next=/live").text
