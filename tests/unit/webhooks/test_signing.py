"""Signatures, checked by the specification's own public library."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from core.webhooks.signing import PREFIX, SECRET_BYTES, key_of, new_secret, signature, signed_headers

BODY = '{"type":"prediction.created","data":{"name":"Größe"}}'.encode()


def signed(*secrets: str, body: bytes = BODY, age_s: float = 0.0) -> dict[str, str]:
    return dict(signed_headers(secrets, message_id="msg_1", timestamp=int(time.time() - age_s), body=body))


def test_secret_is_random_and_of_the_form_that_receivers_know():
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith(PREFIX)
    assert len(key_of(first)) == SECRET_BYTES


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_!!!", PREFIX + base64.b64encode(bytes(23)).decode(), base64.b64encode(bytes(32)).decode()],
)
def test_what_is_no_secret_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match=r"^not a secret of webhooks$"):
        key_of(text)


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
def test_signature_is_the_one_of_the_public_library(key, text):
    secret = PREFIX + base64.b64encode(key).decode()
    theirs = Webhook(secret).sign("msg_1", datetime.fromtimestamp(1_770_000_000, UTC), text)
    assert signature(secret, message_id="msg_1", timestamp=1_770_000_000, body=text.encode()) == theirs


def test_receiver_takes_what_was_signed():
    secret = new_secret()
    assert Webhook(secret).verify(BODY, signed(secret))["type"] == "prediction.created"


def test_during_a_rotation_receivers_with_either_secret_take_it():
    old, new, other = new_secret(), new_secret(), new_secret()
    headers = signed(new, old)
    assert len(headers["webhook-signature"].split()) == 2
    assert Webhook(old).verify(BODY, headers) == Webhook(new).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(BODY, headers)


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({}, BODY + b" "),
        ({"webhook-id": "msg_2"}, BODY),
        ({"webhook-timestamp": "soon"}, BODY),
        ({"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}, BODY),
    ],
    ids=["body", "id", "timestamp", "signature"],
)
def test_receiver_refuses_what_was_changed_on_its_way(change, body):
    secret = new_secret()
    if "webhook-timestamp" in change:  # within what the receiver allows, a second later than what was signed
        change = {"webhook-timestamp": str(int(signed(secret)["webhook-timestamp"]) + 1)}
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(body, signed(secret) | change)


@pytest.mark.parametrize("age_s", [600, -600])
def test_receiver_refuses_what_is_old_or_ahead_of_time(age_s):
    secret = new_secret()
    with pytest.raises(WebhookVerificationError, match=r"too (old|new)"):
        Webhook(secret).verify(BODY, signed(secret, age_s=age_s))
