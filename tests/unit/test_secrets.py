"""Sealed texts: opened by their key in their place, by nothing else; keys that do not show."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Settings
from core.errors import InvalidSettingError, SecretError, StoreError
from core.secrets import Vault, new_secret_key, parsed_keys

OLD, NEW = new_secret_key(), new_secret_key()
CONTEXT = "webhooks.secret:7"


def vault(*keys: str) -> Vault:
    return Vault.open(Settings(secret_keys=",".join(keys)))


@given(st.binary(max_size=2000), st.text(max_size=50))
def test_what_is_sealed_comes_back_in_its_context(plain, context):
    opened = vault(OLD)
    assert opened.unseal(opened.seal(plain, context), context) == plain


def test_text_is_sealed_as_utf8_and_twice_differently():
    opened = vault(OLD)
    first, second = opened.seal("gehört", CONTEXT), opened.seal("gehört", CONTEXT)
    assert first != second
    assert opened.unseal(first, CONTEXT).decode() == "gehört"
    assert "geh" not in first
    assert base64.urlsafe_b64encode("gehört".encode()).decode().rstrip("=") not in first


def test_secret_does_not_open_in_another_place():
    opened = vault(OLD)
    with pytest.raises(SecretError, match=r"webhooks\.secret:8"):
        opened.unseal(opened.seal("mine", CONTEXT), "webhooks.secret:8")


def test_wrong_key_says_which_secret_and_shows_nothing_of_it():
    sealed = vault(OLD).seal("mine", CONTEXT)
    with pytest.raises(SecretError, match=r"^The secret of webhooks\.secret:7 cannot be decrypted") as refused:
        vault(NEW).unseal(sealed, CONTEXT)
    assert sealed not in str(refused.value)


def test_every_changed_character_is_noticed():
    opened = vault(OLD)
    sealed = opened.seal("mine", CONTEXT)
    for position, character in enumerate(sealed):
        other = "A" if character != "A" else "B"
        with pytest.raises(SecretError):
            opened.unseal(sealed[:position] + other + sealed[position + 1 :], CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(SecretError):
            opened.unseal(sealed[:length], CONTEXT)


@given(st.text(max_size=200))
def test_what_was_never_sealed_is_a_secret_error(text):
    with pytest.raises(SecretError):
        vault(OLD).unseal(text, CONTEXT)


def test_rotation_seals_with_the_first_key_and_opens_with_all():
    sealed = vault(OLD).seal("mine", CONTEXT)
    both = vault(NEW, OLD)
    assert not both.is_current(sealed)
    assert both.unseal(sealed, CONTEXT) == b"mine"
    renewed = both.seal(both.unseal(sealed, CONTEXT), CONTEXT)
    assert both.is_current(renewed)
    assert vault(NEW).unseal(renewed, CONTEXT) == b"mine"
    with pytest.raises(SecretError):
        vault(OLD).unseal(renewed, CONTEXT)


def test_keys_may_be_separated_by_commas_and_spaces_and_named_twice():
    assert parsed_keys(f" {OLD} , {NEW},\n{OLD}\n") == parsed_keys(f"{OLD},{NEW}")


@pytest.mark.parametrize(
    "text",
    [",,", "short", OLD + "A", OLD[:-1], f"{OLD};{NEW}", "=" * 43, "é" * 43, f"{OLD},password"],
    ids=["nothing", "short", "longer", "shorter", "semicolon", "padding", "letters", "a word beside"],
)
def test_what_is_no_key_is_an_invalid_setting_that_does_not_show_it(text):
    with pytest.raises(InvalidSettingError, match="secret_keys") as refused:
        Vault.open(Settings(secret_keys=text))
    assert text not in str(refused.value)


def test_keys_show_nowhere():
    opened = vault(OLD)
    material = parsed_keys(OLD)[0].material
    shown = repr(opened) + repr(opened.sealing_key) + repr(Settings(secret_keys=OLD))
    assert OLD not in shown
    assert material.hex() not in shown
    assert repr(material) not in shown


def test_new_keys_differ_and_hold_256_bits():
    keys = {new_secret_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(base64.urlsafe_b64decode(key + "=")) == 32 for key in keys)


def test_keys_of_the_settings_are_not_added_to():
    with pytest.raises(StoreError, match="secret_keys"):
        vault(OLD).add_key()
