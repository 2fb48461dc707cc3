"""Which code made something."""

from __future__ import annotations

import subprocess
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[1]
_CODE = ("training", "core", "requirements.txt")


def commit_of_this_code() -> str:
    """Commit that is checked out, with "+" where code differs from it; empty outside a repository."""

    def git(*words: str) -> str:
        ran = subprocess.run(["git", *words], capture_output=True, text=True, check=False, cwd=_REPOSITORY)
        return ran.stdout.strip()

    commit = git("rev-parse", "HEAD")
    return commit + ("+" if commit and git("status", "--porcelain", "--", *_CODE) else "")
