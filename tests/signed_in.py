"""Somebody signed in to a real process: by the set-up link that its start prints, as an operator would."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx2

OPENED_BY_A_PERSON = {
    "sec-fetch-site": "none",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "sec-fetch-user": "?1",
}
"""What a browser says when somebody opens an address themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The first admin: the cookies of their browser, and a key for programs."""

    cookies: dict[str, str]
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """What a program of theirs sends."""
        return {"X-API-Key": self.key}


def set_up_path(log: Path) -> str:
    """The set-up link that the process printed, from its path on."""
    found = re.search(r"http://\S+(/set-up\?token=\S+)", log.read_text())
    assert found is not None, log.read_text()
    return found[1]


def first_admin(url: str, log: Path) -> Admin:
    """Open the set-up link and make a key. It works once, as the link does."""
    with httpx2.Client(base_url=url, timeout=60) as client:
        answer = client.get(set_up_path(log), headers=OPENED_BY_A_PERSON)
        assert answer.status_code == 303, answer.text
        scopes = ["predict", "read", "delete", "admin"]
        made = client.post("/api/v1/keys", json={"name": "tests", "scopes": scopes}, headers={"origin": url})
        agreed = client.post("/api/v1/account/consent", headers={"origin": url})
        agreed.raise_for_status()
        return Admin(cookies=dict(client.cookies), key=made.raise_for_status().json()["key"])
