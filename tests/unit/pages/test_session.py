"""What a page knows of the connection that it was opened by."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.config import Settings
from pages.parts import session


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
