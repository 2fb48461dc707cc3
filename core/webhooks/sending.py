"""One attempt: a signed message to an address that others named."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore
import httpx

from core import __version__
from core.errors import InvalidParameterError, WebhookError
from core.webhooks.address_guard import Pinned, PinnedBackend, is_public

MAX_URL = 2000
HOST = re.compile(r"[A-Za-z0-9._:-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the receiver said: the first line and one header. The rest is not read."""

    status: int
    retry_after: str | None
    duration_ms: float


def host_of(url: str) -> str:
    """The host in the address of an endpoint, as the resolver is asked for it.

    Raises
    ------
    InvalidParameterError
        It is no address to post to: not http or https, without a host, with a user or password in it.
    """
    expected = "an address such as https://HOST/PATH, without user and password"
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii")
        is_usable = (
            parsed.scheme in ("http", "https")
            and HOST.fullmatch(host) is not None
            and not parsed.userinfo
            and not parsed.fragment
        )
        is_usable = is_usable and len(url) <= MAX_URL and (parsed.port is None or 0 < parsed.port < 65536)
    except (httpx.InvalidURL, ValueError):
        raise InvalidParameterError("url", "no address", expected) from None
    if not is_usable:
        raise InvalidParameterError("url", "an address that nothing can be posted to", expected)
    return host


def require_safe_scheme(url: str, pinned: Pinned) -> None:
    """See that what goes over the public internet is encrypted. Raises InvalidParameterError."""
    if httpx.URL(url).scheme != "https" and is_public(pinned):
        raise InvalidParameterError("url", "one of http", "one of https: what is sent there could be read on its way")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    pinned: Pinned,
    timeout_s: float,
    ssl_context: ssl.SSLContext | None = None,
) -> Answer:
    """Post `body`, to the addresses of `pinned` alone, and give what was answered, 2xx or not.

    Raises
    ------
    WebhookError
        There was no answer in time. The sentence names the host alone.
    """
    began_s = time.perf_counter()
    parsed = httpx.URL(url)
    sent = {
        "Host": parsed.netloc.decode("ascii"),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": f"Telepathy/{__version__}",
        "Connection": "close",
        **headers,
    }
    backend = PinnedBackend(pinned, deadline_s=timeout_s)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=ssl_context, network_backend=backend, retries=0) as pool,
            pool.stream("POST", _address(parsed), headers=[*sent.items()], content=body) as response,
        ):
            retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
            return Answer(
                status=response.status,
                retry_after=None if retry_after is None else retry_after.decode("latin-1"),
                duration_ms=(time.perf_counter() - began_s) * 1e3,
            )
    except httpcore.TimeoutException:
        raise WebhookError(pinned.host, f"it did not answer within {timeout_s:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise WebhookError(pinned.host, _reason(error)) from None


def _address(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return "it speaks no TLS that can be understood"
    if isinstance(error, httpcore.ProtocolError):
        return "what it answered is not HTTP"
    return "it cannot be reached"
