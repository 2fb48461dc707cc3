"""Reading refusals: every test that expects one checks its whole shape."""

from __future__ import annotations

import httpx2


def refused(answer: httpx2.Response, status: int, code: str) -> dict:
    """The problem in `answer`, after checking that it is one."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == f"urn:telepathy:problem:{code}"
    assert body["title"]
    assert body["instance"].startswith("/")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["detail"].endswith(".")
    return body
