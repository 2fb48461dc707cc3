"""Who called, by network address: what a proxy that is trusted says, and nothing that a caller can make up."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

UNKNOWN = "unknown"
"""The address of a caller without one, such as by a local socket."""
IPV6_NETWORK_BITS = 64
"""What one household or one rented machine is given: it has 2**64 addresses to change among."""


def caller_address(peer: str | None, forwarded_for: Iterable[str], trusted_proxies: int) -> str:
    """The caller's network address, in its shortest spelling.

    Each proxy appends to `X-Forwarded-For` the address that it was called from, so the entry that counts is the
    `trusted_proxies`-th from the right. Whatever stands left of it was sent by the caller and is ignored. Where that
    entry is missing or no address, the request did not come through all proxies, and the peer's address counts.

    Parameters
    ----------
    peer
        The other end of the connection.
    forwarded_for
        The values of every `X-Forwarded-For` of the request, in their order.
    trusted_proxies
        How many proxies in front append to it; 0 ignores it.

    Examples
    --------
    >>> caller_address("10.0.0.2", ["6.6.6.6, 198.51.100.7, 10.0.0.1"], 2)
    '198.51.100.7'
    >>> caller_address("198.51.100.7", ["6.6.6.6"], 0)
    '198.51.100.7'
    """
    own = (_address(peer) if peer else None) or UNKNOWN
    if trusted_proxies < 1:
        return own
    entries = [entry.strip() for value in forwarded_for for entry in value.split(",")]
    if len(entries) < trusted_proxies:
        return own
    return _address(entries[-trusted_proxies]) or own


def network_of(address: str) -> str:
    """What limits count together: an IPv4 address alone, an IPv6 address with its /64.

    >>> network_of("2001:db8:1:2:3:4:5:6")
    '2001:db8:1:2::/64'
    >>> network_of("198.51.100.7")
    '198.51.100.7'
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), IPV6_NETWORK_BITS), strict=False))


def _address(text: str) -> str | None:
    """The address in `text`, which may carry a port, brackets or a zone; None where there is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
