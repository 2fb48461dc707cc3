"""The page Webhooks: made, shown its secret once, tried out, changed, and its log read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.domain import Role, WebhookEndpoint
from core.identifiers import new_id
from pages.parts.webhooks import described, event_title
from tests.webhook_server import webhook_server


@pytest.fixture
def settings(settings):
    return replace(settings, allowed_networks="127.0.0.0/8")


def text_of(app) -> str:
    shown = [*app.markdown, *app.error, *app.warning, *app.info, *app.caption, *app.subheader, *app.code]
    return "\n".join(each.value for each in shown)


def make(app, url: str, *, name: str = "", events: tuple[str, ...] = ()):
    app.text_input(key="webhooks_new_0_url").set_value(url)
    app.text_input(key="webhooks_new_0_description").set_value(name)
    app.button_group(key="webhooks_new_0_events").set_value(list(events))
    return app.button(key="webhooks_make").click().run()


def test_webhook_from_its_making_to_its_end(open_page, workbench, sign_in):
    owner = sign_in(Role.ANALYST)
    user = workbench.access.caller_of_page(owner.access_token, owner.refresh_token).user
    app = open_page("webhooks")
    assert "No webhooks yet" in text_of(app)
    with webhook_server() as server:
        app = make(app, f"{server.url}/hook", name="Archive *it*", events=("recording.deleted",))
        assert not app.exception
        [secret] = [code.value for code in app.code if code.value.startswith("whsec_")]
        assert app.text_input(key="webhooks_new_1_url").value == ""
        app.button(key="webhooks_secret_taken").click().run()
        assert secret not in text_of(app)
        assert "Told of recording deleted" in text_of(app)
        assert "Archive \\*it\\*" in text_of(app)
        assert "Press Test to try it out" in text_of(app)
        [endpoint] = workbench.webhooks.endpoints(user.id)
        key = f"webhooks_{endpoint.id}"
        app.button(key=f"{key}_test").click().run()
        [delivery] = workbench.webhooks.deliveries(endpoint.id, owner_id=user.id)
        workbench.webhooks.attempt(delivery.id, 1)
        app.run()
        assert server.headers[0]["webhook-id"] == delivery.message.sent_id
        [frame] = app.dataframe
        assert frame.value.iloc[0].tolist()[:4] == ["Test", ["taken"], 1, "204"]
    app.text_input(key=f"{key}_description").set_value("Store")
    app.button(key=f"{key}_save").click().run()
    assert "Log of Store" in text_of(app)
    app.button(key=f"{key}_rotate").click().run()
    assert "signs too, until" in text_of(app)
    assert [code.value for code in app.code if code.value.startswith("whsec_")] != [secret]
    app.button(key=f"{key}_switch").click().run()
    assert "It was switched off by hand" in text_of(app)
    app.button(key=f"{key}_delete").click().run()
    assert "No webhooks yet" in text_of(app)


def test_address_that_is_refused_says_why_and_stays_in_the_form(open_page):
    app = make(open_page("webhooks"), "http://169.254.169.254/")
    assert "does not lead to the public internet" in text_of(app)
    assert app.text_input(key="webhooks_new_0_url").value == "http://169.254.169.254/"


@pytest.mark.parametrize(("role", "sees"), [(Role.ANNOTATOR, False), (Role.ADMIN, True)])
def test_events_of_admins_are_offered_to_admins(open_page, sign_in, role, sees):
    sign_in(role)
    offered = open_page("webhooks").button_group(key="webhooks_new_0_events").options
    assert ("Alert" in [getattr(option, "content", option) for option in offered]) is sees


def test_description_says_what_it_is_told_of():
    endpoint = WebhookEndpoint(
        id=new_id(),
        owner_id=new_id(),
        url="https://hooks.example.org/",
        description="",
        event_types=frozenset(),
        created_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    )
    assert described(endpoint, UTC) == "Told of everything; made 01 Mar 2026, 12:00 UTC."
    some = replace(endpoint, event_types=frozenset({"batch.failed", "prediction.created"}))
    assert described(some, UTC).startswith("Told of new answer, batch failed;")
    assert event_title("something.new") == "something.new"
