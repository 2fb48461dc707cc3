"""The guard against server-side request forgery: every way to write an address of the inside is found."""

from __future__ import annotations

import httpcore
import pytest

from core.errors import AddressRefusedError
from core.webhooks.address_guard import (
    Pinned,
    PinnedBackend,
    is_allowed,
    is_public,
    networks_of,
    pin,
    system_addresses,
)

PUBLIC = "9.9.9.9"


def resolver(*answers: list[str]):
    """Answers in turn, the last one for ever; keeps what it was asked."""
    left = list(answers)

    def resolve(host: str) -> list[str]:
        resolve.asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    resolve.asked = []
    return resolve


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1", "203.0.113.9"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::1"),
        *("", "localhost", "1.2.3", "not an address"),
    ],
)
def test_address_of_the_inside_is_refused(address):
    assert not is_allowed(address)


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "172.32.0.1", "100.128.0.1", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"]
)
def test_address_of_the_public_internet_is_taken(address):
    assert is_allowed(address)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0", "localhost", "::1"),
        *("::ffff:127.0.0.1", "::ffff:7f00:1", "0x7F.0x0.0x0.0x1", "017700000001"),
    ],
)
def test_every_spelling_of_this_machine_is_seen_through(host):
    """By the resolver that connections are made with: whatever it understands is what counts."""
    with pytest.raises(AddressRefusedError, match="does not lead to the public internet"):
        pin(host, resolve=system_addresses)


def test_refusal_does_not_tell_where_a_name_leads():
    with pytest.raises(AddressRefusedError) as caught:
        pin("db.internal", resolve=resolver(["10.11.12.13"]))
    assert "10.11.12.13" not in str(caught.value)
    assert "db.internal" in str(caught.value)


def test_one_bad_address_among_good_ones_refuses_the_host():
    with pytest.raises(AddressRefusedError):
        pin("mixed.example.org", resolve=resolver([PUBLIC, "10.0.0.1"]))


def test_host_that_leads_nowhere_is_refused():
    def nowhere(host: str) -> list[str]:
        raise OSError("no such host")

    for resolve in (nowhere, resolver([])):
        with pytest.raises(AddressRefusedError, match="no such host is known"):
            pin("missing.example.org", resolve=resolve)
    with pytest.raises(AddressRefusedError):
        pin("a" * 70 + ".example.org", resolve=system_addresses)  # longer than a label may be


def test_allowed_network_opens_itself_and_nothing_else():
    allowed = networks_of("10.1.0.0/16, 127.0.0.0/8,fd12::/16")
    assert pin("inside", allowed_networks=allowed, resolve=resolver(["10.1.2.3"])).addresses == ("10.1.2.3",)
    assert is_allowed("::ffff:10.1.2.3", allowed_networks=allowed)
    assert is_allowed("fd12::1", allowed_networks=allowed)
    assert not is_allowed("10.2.0.1", allowed_networks=allowed)
    assert not is_allowed("169.254.169.254", allowed_networks=allowed)
    assert not is_public(Pinned(host="inside", addresses=(PUBLIC, "10.1.2.3")))


@pytest.mark.parametrize("text", ["10.1.0.0/33", "10.1.2.3/8", "everything", "10.0.0.0/8;127.0.0.1"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        networks_of(text)


def test_name_that_leads_elsewhere_later_is_asked_about_once():
    """DNS rebinding: the second answer, of whoever owns the name, would be this machine."""
    resolve = resolver([PUBLIC], ["127.0.0.1"])
    pinned = pin("rebound.example.org", resolve=resolve)
    connected = []

    class Inner(httpcore.MockBackend):
        def connect_tcp(self, host, *_args, **_kwargs):
            connected.append(host)
            return httpcore.MockStream([b""])

    backend = PinnedBackend(pinned, deadline_s=5.0)
    backend._inner = Inner([])
    backend.connect_tcp("rebound.example.org", 443)
    assert connected == [PUBLIC]
    assert resolve.asked == ["rebound.example.org"]
    with pytest.raises(AddressRefusedError):
        pin("rebound.example.org", resolve=resolve)


def test_connection_to_another_host_is_refused():
    backend = PinnedBackend(Pinned(host="a.example.org", addresses=(PUBLIC,)), deadline_s=5.0)
    with pytest.raises(httpcore.ConnectError, match="not the host that was checked"):
        backend.connect_tcp("b.example.org", 443)


def test_nothing_is_begun_after_the_deadline():
    backend = PinnedBackend(Pinned(host="a.example.org", addresses=(PUBLIC,)), deadline_s=0.0)
    with pytest.raises(httpcore.ReadTimeout):
        backend.connect_tcp("a.example.org", 443)
