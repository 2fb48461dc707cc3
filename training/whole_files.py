"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader finds the old content or the new, never half of it."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name where the disk can do that, else a copy; neither is ever changed in place."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
