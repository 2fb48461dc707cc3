"""Accounts in a real browser on a real process: set-up link, wrong password, sign-out, reset, key, second person."""

from __future__ import annotations

import contextlib
import re
import time

import httpx2
import pytest
from playwright.sync_api import Error, Page, Route

from tests.browser.conftest import DESKTOP, PHONE, Visit
from tests.bundles import TINY
from tests.process import running_app
from tests.signed_in import set_up_path

PASSWORD, ANOTHER = "violet tram over wet gravel", "another long and odd sentence"
REFUSALS = re.compile(r"status of 40[13]")
"""What the browser's console says of a refusal that a test asked for."""


@pytest.fixture(scope="module")
def app(tmp_path_factory, chromium_path):
    """A process that nobody has set up yet; its token lives so short that pages have to renew it."""
    data_dir = tmp_path_factory.mktemp("data")
    with running_app(
        data_dir, signs_in=False, models_dir=TINY.parent, model="tiny", access_token_minutes=0.1
    ) as started:
        yield started


@pytest.fixture
def stranger(browser, app):
    """Opens a browser without cookies."""
    contexts = []

    def begin(size: tuple[int, int] = DESKTOP) -> Visit:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        context.set_default_timeout(90_000)
        contexts.append(context)
        begun = Visit(page=context.new_page(), app=app)
        begun.watch()
        return begun

    yield begin
    for context in contexts:
        context.close()


def sign_in(here: Visit, email: str, password: str) -> None:
    here.page.goto(f"{here.app.url}/sign-in")
    here.page.get_by_label("E-mail address", exact=True).fill(email)
    here.page.get_by_label("Password", exact=True).fill(password)
    here.page.get_by_role("button", name="Sign in").click()


def asked_to_sign_in(page: Page) -> str:
    """Waits for the form, not the address: signing out goes through a page that submits itself, which ends the first
    navigation with an error; answers the address."""
    page.get_by_label("Password", exact=True).wait_for()
    return page.url


def menu(here: Visit, name: str, entry: str) -> None:
    here.page.get_by_text(name, exact=True).first.click()
    here.page.get_by_role("menuitem", name=entry).click()


def test_from_the_printed_link_to_a_second_person(stranger, app):
    here = stranger()
    page = here.page

    # One click on the printed link: signed in, with a first answer.
    page.goto(app.url + set_up_path(app.log))
    page.locator(".telepathy-verdict").wait_for()
    here.settle()
    assert "token" not in page.url

    # A password of one's own.
    menu(here, "Admin", "Account")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Save password").click()
    page.get_by_text("The new password is saved").wait_for()

    # A key, shown once, that works.
    page.get_by_label("Name", exact=True).fill("notebook")
    page.get_by_role("button", name="Make the key").click()
    shown = page.locator(".st-key-account_key_shown code")
    shown.wait_for()
    key = shown.inner_text().strip()
    me = httpx2.get(f"{app.url}/api/v1/auth/me", headers={"X-API-Key": key}, timeout=60)
    assert me.json()["email"] == "admin@localhost"
    page.get_by_role("button", name="I have it").click()
    shown.wait_for(state="detached")

    # Somebody else is invited.
    menu(here, "Admin", "People")
    page.get_by_text("Invite somebody").click()
    page.get_by_label("E-mail address", exact=True).fill("grace@example.org")
    page.get_by_role("button", name="Make the invitation").click()
    link = page.locator(".st-key-people_link_shown code")
    link.wait_for()
    invitation = link.inner_text().strip()
    assert here.console_errors == []
    assert here.other_hosts == []

    # The second person comes in by it, on a telephone, and sees no page of admins.
    there = stranger(PHONE)
    there.page.goto(app.url + invitation[invitation.index("/link") :])
    assert not there.is_wider_than_the_window()
    there.page.get_by_label("Name", exact=True).fill("Grace")
    there.page.get_by_label("New password", exact=True).fill(ANOTHER)
    there.page.get_by_role("button", name="Make my account").click()
    there.page.get_by_role("heading", name="Analyse").wait_for()
    there.settle()
    there.open("people")
    assert there.page.get_by_role("heading", name="People").count() == 0

    # Signing out closes the page and what it had open elsewhere.
    menu(here, "Admin", "Sign out")
    assert asked_to_sign_in(page) == f"{app.url}/sign-in"
    page.goto(f"{app.url}/explore?emotion=sad")
    assert page.url == f"{app.url}/sign-in?next=/explore%3Femotion%3Dsad"

    # A wrong password is refused, the right one leads back.
    page.get_by_label("E-mail address", exact=True).fill("admin@localhost")
    page.get_by_label("Password", exact=True).fill("not this one at all")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").get_by_text("is not right").wait_for()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/explore?emotion=sad")
    page.get_by_role("heading", name="Explore").wait_for()
    assert [each for each in here.console_errors if not REFUSALS.search(each)] == []


def test_open_page_renews_its_session_and_keeps_what_is_on_it(stranger, app):
    here = stranger()
    sign_in(here, "grace@example.org", ANOTHER)
    here.page.get_by_role("heading", name="Analyse").wait_for()
    here.open("account")
    here.page.get_by_label("Name", exact=True).fill("half typed")
    before = {each["name"]: each["value"] for each in here.page.context.cookies()}
    with here.page.expect_response("**/api/v1/auth/refresh") as renewed:
        pass
    assert renewed.value.status == 204
    after = {each["name"]: each["value"] for each in here.page.context.cookies()}
    assert before.keys() == after.keys()
    assert before["telepathy_session"] != after["telepathy_session"]
    assert here.page.get_by_label("Name", exact=True).input_value() == "half typed"


def test_a_renewal_goes_on_when_its_page_is_left(stranger, app):
    """Without `keepalive` the browser drops the answer and its cookies, and the next renewal ends the session."""
    here = stranger()
    sign_in(here, "grace@example.org", ANOTHER)
    here.page.get_by_role("heading", name="Analyse").wait_for()
    here.settle()
    asked = here.page.evaluate(
        """() => new Promise(resolve => {
            window.fetch = (address, options) => {
                resolve([address, options.keepalive]);
                return new Promise(() => {});
            };
            localStorage.setItem("telepathy_renewed_at", "0");
            document.dispatchEvent(new Event("visibilitychange"));
        })"""
    )
    assert asked == ["/api/v1/auth/refresh", True]


def test_reset_link_signs_in_with_another_password_and_closes_open_pages(stranger, app):
    admin = stranger()
    sign_in(admin, "admin@localhost", PASSWORD)
    admin.page.get_by_role("heading", name="Analyse").wait_for()
    grace = stranger()
    sign_in(grace, "grace@example.org", ANOTHER)
    grace.page.get_by_role("heading", name="Analyse").wait_for()
    grace.settle()

    answer = admin.page.request.get(f"{app.url}/api/v1/auth/me")
    assert answer.json()["role"] == "admin"
    admin.open("people")
    admin.page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
    box = admin.page.locator("[data-testid=stDataFrame]").first.bounding_box()
    admin.page.mouse.click(box["x"] + 18, box["y"] + 38 * 2 + 19)  # the tick of the second account
    admin.page.get_by_role("button", name="Link to a new password").click()
    link = admin.page.locator(".st-key-people_link_shown code")
    link.wait_for()
    reset = link.inner_text().strip()

    other = stranger()
    other.page.goto(app.url + reset[reset.index("/link") :])
    other.page.get_by_label("New password", exact=True).fill(PASSWORD)
    other.page.get_by_role("button", name="Save and sign in").click()
    other.page.get_by_role("heading", name="Analyse").wait_for()

    # The page that was open closes by itself, when it would renew its session.
    assert asked_to_sign_in(grace.page).startswith(f"{app.url}/sign-in")


def test_who_signs_out_is_led_away_also_where_that_takes_longer_than_a_try(stranger):
    here = stranger()
    sign_in(here, "admin@localhost", PASSWORD)
    here.page.get_by_role("heading", name="Analyse").wait_for()
    here.settle()

    def answer_late(route: Route) -> None:
        time.sleep(4.0)
        with contextlib.suppress(Error):  # given up for the next try
            route.continue_()

    here.page.route(re.compile("/sign-(in|out)$"), answer_late)
    menu(here, "Admin", "Sign out")
    here.page.get_by_label("Password", exact=True).wait_for(timeout=60_000)
