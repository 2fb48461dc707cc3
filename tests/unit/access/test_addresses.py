"""Callers' addresses: what trusted proxies say counts, what callers make up does not."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access.addresses import UNKNOWN, caller_address, network_of

ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "n_proxies", "expected"),
    [
        ("198.51.100.7", [], 0, "198.51.100.7"),
        ("198.51.100.7", ["6.6.6.6"], 0, "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7"], 1, "198.51.100.7"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.7"], 1, "198.51.100.7"),
        ("10.0.0.2", ["6.6.6.6, 198.51.100.7, 10.0.0.1"], 2, "198.51.100.7"),
        ("10.0.0.2", ["6.6.6.6", "198.51.100.7", "10.0.0.1"], 2, "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7:51234"], 1, "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::1]:443"], 1, "2001:db8::1"),
        ("10.0.0.1", ["2001:0db8:0:0::1"], 1, "2001:db8::1"),
        ("10.0.0.1", ["::ffff:198.51.100.7"], 1, "198.51.100.7"),
        ("::ffff:198.51.100.7", [], 0, "198.51.100.7"),
        ("fe80::1%eth0", [], 0, "fe80::1"),
        (None, [], 0, UNKNOWN),
        ("", ["198.51.100.7"], 0, UNKNOWN),
        ("testclient", [], 0, UNKNOWN),
    ],
)
def test_address_is_what_the_outermost_trusted_proxy_saw(peer, forwarded_for, n_proxies, expected):
    assert caller_address(peer, forwarded_for, n_proxies) == expected


@pytest.mark.parametrize(
    "garbage", ["", "unknown", "_hidden", "6.6.6", "1.2.3.4.5", "\x00", "[]", "a:b:c", "6.6.6.6/8"]
)
def test_garbage_where_the_address_should_be_leaves_the_peer(garbage):
    assert caller_address("10.0.0.1", [garbage], 1) == "10.0.0.1"


def test_request_that_missed_a_proxy_counts_as_its_peer():
    assert caller_address("198.51.100.7", ["6.6.6.6"], 2) == "198.51.100.7"
    assert caller_address("198.51.100.7", [], 1) == "198.51.100.7"


@given(made_up=st.lists(st.text(max_size=40), max_size=4), seen=ADDRESSES, inner=st.lists(ADDRESSES, max_size=3))
def test_nothing_that_a_caller_sends_changes_the_address(made_up, seen, inner):
    forwarded_for = [*made_up, ", ".join([seen, *inner])]
    found = caller_address("10.0.0.1", forwarded_for, 1 + len(inner))
    assert found == caller_address(seen, [], 0)


@given(peer=st.text(max_size=60), forwarded_for=st.lists(st.text(max_size=60), max_size=5), n=st.integers(0, 10))
def test_answer_is_an_address_or_says_that_it_is_unknown(peer, forwarded_for, n):
    found = caller_address(peer, forwarded_for, n)
    assert found == UNKNOWN or str(ipaddress.ip_address(found)) == found


def test_ipv6_addresses_of_one_network_count_together_and_ipv4_alone():
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff:ffff:ffff:ffff") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("198.51.100.7") != network_of("198.51.100.8")
    assert network_of("nonsense") == UNKNOWN
