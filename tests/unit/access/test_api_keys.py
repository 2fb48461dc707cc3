"""API keys as text."""

from __future__ import annotations

import hashlib
import math
import re
import string

import pytest

from core.access import api_keys


def test_key_begins_as_announced_and_has_160_random_bits_and_more():
    key = api_keys.new_key()
    assert re.fullmatch(r"tel_live_[0-9A-Za-z]{46}", key)
    n_unknown = api_keys.N_RANDOM - (api_keys.N_SHOWN - len(api_keys.START)) - 4
    assert n_unknown * math.log2(62) > 160


def test_keys_differ_and_use_the_whole_alphabet():
    keys = {api_keys.new_key() for _ in range(500)}
    assert len(keys) == 500
    assert {sign for key in keys for sign in key[len(api_keys.START) :]} == set(string.digits + string.ascii_letters)


def test_every_changed_character_and_swapped_pair_is_noticed_without_the_store():
    key = api_keys.new_key()
    for place in range(len(api_keys.START), len(key)):
        other = "a" if key[place] != "a" else "b"
        assert not api_keys.is_well_formed(key[:place] + other + key[place + 1 :])
        if place + 1 < len(key) and key[place] != key[place + 1]:
            assert not api_keys.is_well_formed(key[:place] + key[place + 1] + key[place] + key[place + 2 :])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: "",
        lambda key: key[:-1],
        lambda key: key + "0",
        lambda key: key + "\n",
        lambda key: " " + key,
        lambda key: key.replace("tel_live_", "tel_test_"),
        lambda key: key.upper(),
        lambda key: key[:-1] + "\u0660",  # a digit, but none of ASCII
        lambda key: key[:-1] + "\udc80",
        lambda key: "tel_live_" + "'" * 46,
        lambda key: key * 1000,
    ],
)
def test_malformed_key_is_told_by_its_form(spoil):
    assert not api_keys.is_well_formed(spoil(api_keys.new_key()))


def test_what_is_kept_is_sha_256_of_the_whole_key():
    key = api_keys.new_key()
    assert api_keys.key_hash(key) == hashlib.sha256(key.encode()).hexdigest()
