"""Files that are there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader finds the old content or the new, never half of it."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def digest_of(*settings: object) -> str:
    """Eight hexadecimal digits of what something was made with, for its name: another plan is then another file.

    Examples
    --------
    >>> digest_of({"rate": 1, "epochs": 2}) == digest_of({"epochs": 2, "rate": 1}) != digest_of({"rate": 1})
    True
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name where the disk can do that, else a copy; neither is ever changed in place."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
