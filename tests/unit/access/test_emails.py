"""E-mail addresses as names of accounts."""

from __future__ import annotations

import pytest

from core.access.emails import normalise_email
from core.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ada@example.org", "ada@example.org"),
        ("  Ada.Lovelace@Example.ORG\n", "ada.lovelace@example.org"),
        ("admin@localhost", "admin@localhost"),
        ("Ada@Office.Local", "ada@office.local"),
        ("ada+key@example.org", "ada+key@example.org"),
        ("jose\u0301@example.org", "jos\u00e9@example.org"),
        ("ada@xn--bcher-kva.org", "ada@b\u00fccher.org"),
    ],
)
def test_one_address_is_written_one_way(typed, kept):
    assert normalise_email(typed) == kept
    assert normalise_email(kept) == kept


@pytest.mark.parametrize(
    "typed",
    [
        *("", "@", "ada", "ada@", "@example.org", "ada@example", "ada@@example.org", "ada@exa mple.org"),
        *("ada@example.org\0", "ada\r\nBcc: all@example.org", "Ada <ada@example.org>", "ada@[127.0.0.1]"),
        *("\udc80@example.org", "a" * 300 + "@example.org", "ada@localhost.", "<script>@localhost", "a b@localhost"),
    ],
)
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(InvalidParameterError, match="an e-mail address"):
        normalise_email(typed)
