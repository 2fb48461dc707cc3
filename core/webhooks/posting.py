"""A message to a program elsewhere: JSON by POST."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx

from core.errors import WebhookError
from core.webhooks.signing import signed_headers

TIMEOUT_S = 10.0
"""To connect, and for each part of the answer."""
LATER = {408, 425, 429}
"""Refusals that another attempt may change; all others of 4xx stay."""


def is_webhook_url(url: str) -> bool:
    """Whether `url` is one that messages can be posted to: http or https, with a host.

    >>> is_webhook_url("https://hooks.example.org/x"), is_webhook_url("file:///etc/passwd"), is_webhook_url("https://")
    (True, False, False)
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def post_json(url: str, message: Mapping[str, object], *, message_id: str = "", signs_with: Sequence[str] = ()) -> None:
    """Post `message` and return once the other side answered 2xx. Redirects are not followed, answers not read.

    With secrets in `signs_with` it is signed, now, as `core.webhooks.signing` says; `message_id` is what it is known by
    there, the same each time that it is sent.

    Raises
    ------
    WebhookError
        It was not taken. The sentence names the host and not the rest of the URL, which often is a secret.
    """
    if not is_webhook_url(url):
        raise WebhookError("an unknown host", "its address is none of http or https", is_final=True)
    host = urlsplit(url).hostname or ""
    body = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    headers = {"User-Agent": "Telepathy", "Content-Type": "application/json"}
    if signs_with:
        headers |= signed_headers(signs_with, message_id=message_id, timestamp=int(time.time()), body=body)
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise WebhookError(host, f"it cannot be reached ({type(error).__name__})") from None
    if 300 <= status < 400:
        raise WebhookError(host, f"it answered {status}, and redirects are not followed", is_final=True)
    if not 200 <= status < 300:
        raise WebhookError(host, f"it answered {status}", is_final=400 <= status < 500 and status not in LATER)
