"""What a browser's cookies are called, for those who set them and for those who read them."""

from __future__ import annotations

from core.config import Settings

SESSION_COOKIE = "telepathy_session"
"""The signed token (JWT)."""
REFRESH_COOKIE = "telepathy_refresh"
"""The token that gets the next one."""
FROM_HERE = "__Host-"
"""Begins their names over https. Browsers take such cookies from this very host alone; others of its domain could put a
session of theirs in the place of a visitor's otherwise (RFC 6265bis, section 4.1.3.2)."""


def cookie_name(name: str, *, is_https: bool) -> str:
    """`name` as the browser knows it."""
    return FROM_HERE + name if is_https else name


def is_https(settings: Settings, *, scheme: str, forwarded_proto: str) -> bool:
    """Whether a browser speaks https: to this process, or to a proxy that the settings tell of.

    Parameters
    ----------
    scheme
        Of the request as it came here.
    forwarded_proto
        Its `X-Forwarded-Proto`, which counts where `trusted_proxies` do.

    Examples
    --------
    >>> is_https(Settings(trusted_proxies=1), scheme="http", forwarded_proto="https")
    True
    >>> is_https(Settings(), scheme="http", forwarded_proto="https")
    False
    """
    if settings.public_url.startswith("https:") or scheme in ("https", "wss"):
        return True
    return settings.trusted_proxies > 0 and forwarded_proto.partition(",")[0].strip().lower() == "https"
