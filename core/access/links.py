"""Where one-time links lead: the addresses that people open, for mails, the log and the command line."""

from __future__ import annotations

from urllib.parse import quote

from core.config import Settings
from core.domain import LinkKind

LINK_PATHS = {
    LinkKind.SET_UP: "/set-up",
    LinkKind.INVITATION: "/link",
    LinkKind.PASSWORD_RESET: "/link",
}
PORT = 8501
"""Where `make run` starts the workbench."""


def link_address(settings: Settings, kind: LinkKind, token: str, *, port: int = PORT) -> str:
    """The whole address of a link: below `public_url`, or on this machine.

    >>> link_address(Settings(), LinkKind.SET_UP, "abc")
    'http://localhost:8501/set-up?token=abc'
    """
    start = settings.public_url.rstrip("/") or f"http://localhost:{port}"
    return f"{start}{LINK_PATHS[kind]}?token={quote(token, safe='')}"
