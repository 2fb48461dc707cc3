"""Secrets are found by shape and by name, and what is none stays as it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.redaction import HIDDEN, redact, redact_event, redact_value
from tests.secrets_of_tests import API_KEY, FERNET_KEY, JWT, PASSWORD

GENTLY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"key {API_KEY} is revoked", API_KEY[9:]),
        (f"X-API-Key: {API_KEY}", API_KEY[9:]),
        (f"Authorization: Bearer {JWT}", JWT),
        (f"token {JWT}.", JWT),
        ("Authorization: Basic dXNlcjpodW50ZXIyMg==", "dXNlcjpodW50ZXIyMg"),
        ("{'authorization': 'Bearer opaque-and-long-enough'}", "opaque"),
        (f"Cookie: telepathy_session={JWT}; telepathy_refresh=abc.def; theme=dark", "abc.def"),
        ("GET /link?token=Zm9vYmFy-_123 HTTP/1.1", "Zm9vYmFy"),
        ("GET /link?a=1&token=Zm9vYmFy%2D#x", "Zm9vYmFy"),
        ("https://h/link?token%3DZm9vYmFy", "Zm9vYmFy"),
        ("GET /oauth2callback?state=abcdef&code=4%2F0Adeu5B", "0Adeu5B"),
        ("GET /oauth2callback?state=abcdef&code=4%2F0Adeu5B", "abcdef"),
        ('{"email": "ann@example.org", "password": "correct horse battery"}', "horse"),
        ("{'old_password': b'correct horse', 'new': 1}", "horse"),
        ("password=hunter22&email=x", "hunter22"),
        ("smtp://me:hunter%4022@mail.example.org:587", "hunter"),
        ("postgresql+psycopg://me:hun@ter22@db/telepathy", "ter22"),
        ("redis://:hunter22@host:6379/0", "hunter22"),
        ("the secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw of", "MfKQ9r8G"),
        (f"InvalidToken: {Fernet(FERNET_KEY).encrypt(b'x').decode()}", "gAAAAA"),
    ],
)
def test_secret_in_a_text_is_hidden(text, secret):
    assert secret in text
    assert secret not in redact(text)
    assert HIDDEN in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The recording lasts 0.10 s; at least 0.3 s are needed.",
        "GET /api/v1/predictions?limit=10&cursor=WyJuZXdlc3Qi",
        "The setting 'smtp_url' is no address of a mail server; it must be smtp://...",
        "The password is too short.",
        "http://127.0.0.1:8501/api/v1/predict answered 200",
        "telepathy-0123456789ab",
        "2026-03-01T12:00:00Z at 12:30",
        "n_tokens_left",
        "ann@example.org takes no mail",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_names_hide_whatever_stands_there_at_any_depth():
    event = {
        "event": "x",
        "request": {"headers": [{"Authorization": "a"}, {"X-API-Key": "b"}, {"Set-Cookie": "c"}], "password": 12345},
        "settings": {"smtp_url": "d", "metrics_token": "e", "secret_keys": "f", "log_level": "info"},
        "refresh_token": ["g"],
        "cookie": "",
    }
    shown = redact_event(None, "info", event)
    assert shown["request"] == {
        "headers": [{"Authorization": HIDDEN}, {"X-API-Key": HIDDEN}, {"Set-Cookie": HIDDEN}],
        "password": HIDDEN,
    }
    assert shown["settings"] == {
        "smtp_url": HIDDEN,
        "metrics_token": HIDDEN,
        "secret_keys": HIDDEN,
        "log_level": "info",
    }
    assert (shown["refresh_token"], shown["cookie"], shown["event"]) == (HIDDEN, "", "x")


def test_sound_is_shown_by_its_size():
    assert redact_value({"data": b"RIFF\0\0", "waveform": np.zeros((3, 2)), "many": [bytearray(7)]}) == {
        "data": "[6 bytes]",
        "waveform": "[array (3, 2)]",
        "many": ["[7 bytes]"],
    }


class Talkative:
    def __repr__(self) -> str:
        return f"Talkative(password='{PASSWORD}')"


def test_objects_that_tell_too_much_are_cut():
    assert PASSWORD not in str(redact_value({"made": [Talkative()]}))


def test_structure_without_end_has_one():
    nested: list[object] = []
    nested.append(nested)
    assert "[list]" in str(redact_value(nested))


@GENTLY
@given(st.text(), st.sampled_from([API_KEY, JWT]), st.text())
def test_keys_and_tokens_are_found_between_whatever_stands_around(before, secret, after):
    assert secret not in redact(f"{before} {secret} {after}")


@GENTLY
@given(
    st.recursive(
        st.text() | st.integers() | st.binary(), lambda each: st.lists(each) | st.dictionaries(st.text(), each)
    )
)
def test_whatever_is_logged_can_be_written(value):
    json.dumps(redact_value(value))


def test_url_with_an_address_in_its_query_stays():
    text = "http://127.0.0.1:8501/people?email=ann@example.org and basic understanding"
    assert redact(text) == text


def test_long_text_takes_time_in_proportion_to_its_length():
    steps = [len(redact(character * 200_000)) for character in ("a", "-", "/", ".", "=", " ", "eyJ", "token", "://a:")]
    assert min(steps) >= 200_000
