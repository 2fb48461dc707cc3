"""Webhooks, posted to a real server."""

from __future__ import annotations

import json

import pytest

from core.errors import WebhookError
from core.webhooks.posting import post_json
from tests.process import free_port
from tests.webhook_server import webhook_server


def test_message_arrives_as_json():
    with webhook_server() as server:
        post_json(f"{server.url}/hook?x=1", {"text": "Größe", "value": 1.5})
    assert json.loads(server.bodies[0]) == {"text": "Größe", "value": 1.5}
    assert server.paths == ["/hook?x=1"]
    assert server.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "is_final"), [(500, False), (503, False), (429, False), (404, True), (410, True), (199 + 200, True)]
)
def test_refusal_says_whether_it_is_final(status, is_final):
    with (
        webhook_server((status, {})) as server,
        pytest.raises(WebhookError, match=rf"The webhook at 127\.0\.0\.1 .* it answered {status}") as caught,
    ):
        post_json(f"{server.url}/secret-path", {})
    assert caught.value.is_final is is_final
    assert "secret-path" not in str(caught.value)


def test_redirect_is_not_followed():
    with webhook_server() as target, webhook_server((307, {"Location": f"{target.url}/inner"})) as server:
        with pytest.raises(WebhookError, match="answered 307, and redirects are not followed") as caught:
            post_json(server.url, {})
        assert caught.value.is_final
        assert target.bodies == []


def test_nobody_there_is_told_and_may_be_tried_again():
    with pytest.raises(WebhookError, match=r"cannot be reached \(ConnectError\)") as caught:
        post_json(f"http://127.0.0.1:{free_port()}/secret-path", {})
    assert not caught.value.is_final
    assert "secret-path" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "example.org", "http://", "http://[::1"])
def test_only_addresses_of_the_web_are_posted_to(url):
    with pytest.raises(WebhookError, match="none of http or https") as caught:
        post_json(url, {})
    assert caught.value.is_final
