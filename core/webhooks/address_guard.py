"""Guard against server-side request forgery: where the process connects to when somebody else names the address.

A name is resolved once. Every address it leads to has to be on the public internet, or in a network that the settings
allow; and the connection is then made to the addresses that were checked, whatever the name leads to by then. The name
itself is still what the certificate is checked against, and what stands in `Host`.

Without this, whoever names an address could have the process ask what only the process can reach: its own ports, the
machines beside it, the cloud's metadata service.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore

from core.errors import AddressRefusedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str], Sequence[str]]
"""From a host's name to its addresses; raises OSError when there is none."""

REFUSED_NETWORKS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        # What `is_global` of older Pythons lets through, by the IANA registries of special-purpose addresses
        "192.0.0.0/24",
        "::/96",  # IPv4-compatible, long out of use
        "64:ff9b:1::/48",  # NAT64 inside one network
        "2001::/32",  # Teredo, which carries addresses of IPv4
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",  # site-local, the older private addresses
        "168.63.129.16/32",  # public by its number, and yet Azure's own host beside each of its machines
    )
)
_MAPPED, _NAT64, _6TO4 = (ipaddress.IPv6Network(text) for text in ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """A host, and the addresses it led to when they were checked: the only ones to connect to."""

    host: str
    addresses: tuple[str, ...]


def networks_of(text: str) -> tuple[Network, ...]:
    """The networks in `text`, separated by commas. Raises ValueError for what is none.

    >>> networks_of("10.1.0.0/16, ::1")
    (IPv4Network('10.1.0.0/16'), IPv6Network('::1/128'))
    """
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def system_addresses(host: str) -> list[str]:
    """What this machine's resolver says. It also reads `2130706433` and `0x7f.1` as the addresses they stand for."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def pin(host: str, *, allowed_networks: Iterable[Network] = (), resolve: Resolve = system_addresses) -> Pinned:
    """Where `host` leads, once that is seen to be harmless.

    One address that is refused refuses the host: which of several is taken is up to the resolver, and to whoever
    answers it.

    Raises
    ------
    AddressRefusedError
        There is no such host, or it leads somewhere private. The sentence does not say where: names of the inside
        would be told to whoever tries them.
    """
    try:
        addresses = tuple(resolve(host))
    except (OSError, UnicodeError, ValueError):
        addresses = ()
    if not addresses:
        raise AddressRefusedError(host, "no such host is known")
    allowed = tuple(allowed_networks)
    if not all(is_allowed(address, allowed_networks=allowed) for address in addresses):
        raise AddressRefusedError(
            host, "it does not lead to the public internet; the setting `allowed_networks` can allow further networks"
        )
    return Pinned(host=host, addresses=addresses)


def is_allowed(address: str, *, allowed_networks: Iterable[Network] = ()) -> bool:
    """Whether `address` may be connected to: on the public internet, or in one of `allowed_networks`.

    >>> [is_allowed(a) for a in ("9.9.9.9", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "2002:a00:1::")]
    [True, False, False, False, False]
    >>> is_allowed("::ffff:10.0.0.1", allowed_networks=networks_of("10.0.0.0/8"))
    True
    """
    return all(_is_allowed(meant, tuple(allowed_networks)) for meant in _meant(address))


def is_public(pinned: Pinned) -> bool:
    """Whether all of its addresses are on the public internet, whatever else is allowed."""
    return all(is_allowed(address) for address in pinned.addresses)


def _meant(address: str) -> list[Address]:
    """The addresses that packets for `address` reach: an IPv6 address may carry one of IPv4 inside it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return [ipaddress.IPv4Address(0)]
    if isinstance(found, ipaddress.IPv4Address):
        return [found]
    number = int(found)
    if found in _MAPPED:
        return [ipaddress.IPv4Address(number & 0xFFFF_FFFF)]
    if found in _NAT64:
        return [found, ipaddress.IPv4Address(number & 0xFFFF_FFFF)]
    if found in _6TO4:
        return [found, ipaddress.IPv4Address(number >> 80 & 0xFFFF_FFFF)]
    return [found]


def _is_allowed(address: Address, allowed_networks: tuple[Network, ...]) -> bool:
    if any(address in network for network in allowed_networks):
        return True
    if address in _NAT64 or address in _6TO4:
        return True  # as far as it goes: what counts is the address inside, which is asked about too
    if any(address in network for network in REFUSED_NETWORKS):
        return False
    return address.is_global and not address.is_multicast


class PinnedBackend(httpcore.NetworkBackend):
    """Connects `httpcore` to the addresses of a `Pinned`, and to nothing else; all within one deadline.

    Parameters
    ----------
    deadline_s
        From now, for connecting, sending and reading together: a time-out for each part could be stretched for ever
        by whoever sends a byte now and then.
    """

    def __init__(self, pinned: Pinned, *, deadline_s: float) -> None:
        self._pinned = pinned
        self._ends_s = time.monotonic() + deadline_s
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first of the addresses that answers."""
        failure: Exception = httpcore.ConnectError("no address")
        if host.casefold() != self._pinned.host.casefold():
            raise httpcore.ConnectError("not the host that was checked")
        for address in self._pinned.addresses:
            try:
                stream = self._inner.connect_tcp(address, port, _left_s(self._ends_s), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Timed(stream, self._ends_s)
        raise failure


def _left_s(ends_s: float) -> float:
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise httpcore.ReadTimeout("the deadline is over")
    return left_s


class _Timed(httpcore.NetworkStream):
    """A connection on which nothing lasts beyond the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, ends_s: float) -> None:
        self._inner = inner
        self._ends_s = ends_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left_s(self._ends_s))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left_s(self._ends_s))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self._inner.start_tls(ssl_context, server_hostname, _left_s(self._ends_s)), self._ends_s)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
