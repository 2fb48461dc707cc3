"""Where one-time links lead: the addresses that people open, for mails, the log and the command line."""

from __future__ import annotations

import contextlib
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
PORT_FILE = "port"
"""In the data folder: the port, and `https` behind it where the process has a certificate."""


def note_port(settings: Settings, port: int, *, is_https: bool = False) -> None:
    """Have links that other programs print lead to this process. A folder that cannot be written costs only that."""
    with contextlib.suppress(OSError):
        (settings.data_dir / PORT_FILE).write_text(f"{port} https\n" if is_https else f"{port}\n")


def noted_port(settings: Settings) -> tuple[int, bool]:
    """Where the workbench on this data runs, or ran last, and whether it speaks https itself.

    Where `make run` starts it, if it never did.
    """
    try:
        port, *scheme = (settings.data_dir / PORT_FILE).read_text().split()
        return int(port), scheme == ["https"]
    except (OSError, ValueError):
        return PORT, False


def link_address(settings: Settings, kind: LinkKind, token: str, *, port: int = PORT, is_https: bool = False) -> str:
    """The whole address of a link: below `public_url`, or on this machine, by https where the process itself speaks it.

    >>> link_address(Settings(), LinkKind.SET_UP, "abc")
    'http://localhost:8501/set-up?token=abc'
    >>> link_address(Settings(), LinkKind.SET_UP, "abc", is_https=True)
    'https://localhost:8501/set-up?token=abc'
    """
    start = settings.public_url.rstrip("/") or f"{'https' if is_https else 'http'}://localhost:{port}"
    return f"{start}{LINK_PATHS[kind]}?token={quote(token, safe='')}"
