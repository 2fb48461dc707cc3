"""Sentences on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from core.terminal import say

LONG = "a_folder_with_a_name_that_no_line_of_a_terminal_holds" * 2


def test_paths_are_said_whole_with_their_brackets() -> None:
    text = io.StringIO()
    say(Console(file=text, width=40), f"Written to /data/[old]/{LONG}/answers.csv", style="red")
    assert text.getvalue() == f"Written to /data/[old]/{LONG}/answers.csv\n"
