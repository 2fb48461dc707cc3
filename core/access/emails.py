"""E-mail addresses as names of accounts: written one way, without asking any server."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

from core.errors import InvalidParameterError

MAX_LENGTH = 254
"""RFC 5321, section 4.5.3.1.3, without the brackets around it."""
_INTRANET = ("localhost", "local", "internal", "test")
"""Domains that no mail crosses the internet to, which email-validator refuses and offices use."""


def normalise_email(email: str) -> str:
    """The address in lower case and Unicode's composed form.

    >>> normalise_email(" Ada@Example.ORG")
    'ada@example.org'
    >>> normalise_email("admin@localhost")
    'admin@localhost'

    Raises
    ------
    InvalidParameterError
        It cannot be an e-mail address.
    """
    text = email.strip()
    domain = text.rpartition("@")[2].lower()
    is_intranet = any(domain == name or domain.endswith("." + name) for name in _INTRANET)
    ending = ".org" if is_intranet else ""
    try:
        found = validate_email(text + ending, check_deliverability=False).normalized.lower().removesuffix(ending)
    except (EmailNotValidError, UnicodeError) as error:
        raise InvalidParameterError("email", repr(email[:MAX_LENGTH]), "an e-mail address") from error
    return found
