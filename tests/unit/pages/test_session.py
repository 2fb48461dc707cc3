"""What a page knows of the connection that it was opened by."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.config import Settings
from core.domain import Role
from core.errors import NotSignedInError
from pages.parts import session
from tests.callers import make_fake_caller


@pytest.mark.parametrize(
    ("trusted_proxies", "forwarded_for", "expected"),
    [
        (0, ["198.51.100.7"], "10.0.0.2"),
        (1, ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
        (1, [], "10.0.0.2"),
    ],
)
def test_page_is_asked_for_by_whom_trusted_proxies_name(monkeypatch, trusted_proxies, forwarded_for, expected):
    headers = SimpleNamespace(get_all={"X-Forwarded-For": forwarded_for}.__getitem__)
    monkeypatch.setattr(session.st, "context", SimpleNamespace(ip_address="10.0.0.2", headers=headers))
    settings = Settings(trusted_proxies=trusted_proxies)
    monkeypatch.setattr(session, "workbench", lambda: SimpleNamespace(settings=settings))
    assert session.address() == expected


@pytest.mark.parametrize(
    ("given", "forwarded_proto", "certificate", "expected"),
    [
        ({}, None, "", "plain"),
        ({}, "https", "", "plain"),
        ({}, None, "/etc/cert.pem", "of https"),
        ({"trusted_proxies": 1}, "https", "", "of https"),
        ({"public_url": "https://telepathy.example.org"}, None, "", "of https"),
    ],
)
def test_page_reads_the_cookies_that_signing_in_sets(monkeypatch, given, forwarded_proto, certificate, expected):
    cookies = {"telepathy_session": "plain", "__Host-telepathy_session": "of https"}
    context = SimpleNamespace(cookies=cookies, headers={"X-Forwarded-Proto": forwarded_proto})
    monkeypatch.setattr(session.st, "context", context)
    monkeypatch.setattr(session.st, "get_option", {"server.sslCertFile": certificate}.__getitem__)
    monkeypatch.setattr(session, "workbench", lambda: SimpleNamespace(settings=Settings(**given)))
    assert session._cookie("telepathy_session") == expected


def test_download_of_an_open_page_is_made_for_who_is_signed_in_when_it_begins(monkeypatch):
    who = [make_fake_caller(Role.ADMIN)]
    access = SimpleNamespace(caller_of_page=lambda *cookies: who[0] if cookies == ("token", "token") else None)
    monkeypatch.setattr(session, "workbench", lambda: SimpleNamespace(access=access))
    monkeypatch.setattr(session, "_cookie", lambda name: "token")
    begin = session.at_download(lambda caller: caller.user.role.encode())
    monkeypatch.setattr(session, "_cookie", lambda name: None)  # there is no page any more that could be asked
    assert begin() == b"admin"
    who[0] = make_fake_caller(Role.ANALYST)
    assert begin() == b"analyst"
    who[0] = None
    with pytest.raises(NotSignedInError):
        begin()
