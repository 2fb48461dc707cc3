"""What commands say on a terminal."""

from __future__ import annotations

from rich.console import Console


def say(console: Console, sentence: str, *, style: str | None = None) -> None:
    """Print `sentence` as it is: no path or command in it is broken across lines, no bracket in it is markup."""
    console.print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)
