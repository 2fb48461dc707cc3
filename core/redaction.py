"""What never leaves by logs or crash reports: passwords, keys, tokens, cookies, one-time links, and sound.

By shape, wherever it stands in a text, and by name, whatever it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

HIDDEN = "[hidden]"
MAX_DEPTH = 8
"""Deeper structures are shown as their type."""

_NAMES = (
    r"(?:passwords?|passwd|secrets?(?:[_-]keys?)?|tokens?|api[_-]?keys?|credentials?|signature|authorization|cookies?"
    r"|dsn)"
)
_URL_NAMES = r"(?:smtp|redis|store|recordings|webhook)_url"
_SECRET_NAME = re.compile(rf"(?:.*[_-])?(?:{_NAMES}|{_URL_NAMES})", re.IGNORECASE)
_NOT_YET = r"(?!\[hidden\])"
"""What is hidden already stays as it is: texts come by here more than once."""
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # API keys of ours, JSON web tokens, what Fernet makes
    (re.compile(r"tel_live_[0-9A-Za-z_]+"), f"tel_live_{HIDDEN}"),
    (re.compile(r"whsec_[0-9A-Za-z+/=]+"), f"whsec_{HIDDEN}"),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]{2,}(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"\bgAAAAA[\w-]{20,}={0,2}"), HIDDEN),
    # scheme://user:password@host
    (re.compile(rf"(://[^\s/:@\"']*):{_NOT_YET}[^\s/?#\"'<>]*@"), rf"\1:{HIDDEN}@"),
    # header lines and dictionaries in texts: to the end of the line, since cookies hold spaces
    (
        re.compile(
            r"((?:^|[\s\"'{(,\[])(?:authorization|cookie|set-cookie|x-api-key)[\"']?\s*[:=,]\s*)[^\r\n]+", re.IGNORECASE
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(bearer)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # token=..., "password": "...", TELEPATHY_SMTP_URL=...; and what single sign-on brings back
    (
        re.compile(
            rf"({_NAMES}(?:%3D|[\"']?\s*[=:]\s*)){_NOT_YET}(?:[bu]?\"[^\"]*\"|[bu]?'[^']*'|[^\s&\"'<>,;)}}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"([?&](?:code|state|key|sig)=){_NOT_YET}[^\s&#\"'<>]+", re.IGNORECASE), rf"\1{HIDDEN}"),
)


def redact(text: str) -> str:
    """`text` without what it holds of secrets.

    >>> redact("GET /link?token=abc123&x=1")
    'GET /link?token=[hidden]&x=1'
    >>> redact("smtp://me:p@ss:w@mail.example.org/")
    'smtp://me:[hidden]@mail.example.org/'
    """
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def redact_value(value: Any, *, depth: int = 0) -> Any:
    """`value` without secrets: texts by their shape, mappings by names too, bytes and arrays by their size alone."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"[array {tuple(value.shape)}]"
    if depth >= MAX_DEPTH:
        return f"[{type(value).__name__}]"
    if isinstance(value, Mapping):
        return {
            redact(str(key)): HIDDEN if is_secret_name(str(key)) and each else redact_value(each, depth=depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(each, depth=depth + 1) for each in value]
    return redact(str(value))


def is_secret_name(name: str) -> bool:
    """Whether what is called so is never shown.

    >>> [is_secret_name(n) for n in ("password", "X-API-Key", "refresh_token", "key_id", "n_tokens_left", "path")]
    [True, True, True, False, False, False]
    """
    return _SECRET_NAME.fullmatch(name) is not None


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor of structlog that does this to every line; to be the last before it is written."""
    for key, value in event.items():
        event[key] = HIDDEN if is_secret_name(key) and value else redact_value(value)
    return event
