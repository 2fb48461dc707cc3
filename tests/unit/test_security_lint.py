"""What a linter knows of insecure code, and that what is installed is what was chosen."""

from __future__ import annotations

import re
import subprocess
import sys

from core.config import REPOSITORY

OURS = ("app.py", "api", "core", "pages", "training")


def test_bandit_finds_nothing_of_medium_severity_or_above():
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "--severity-level", "medium", *OURS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


def test_bandit_would_find_something(tmp_path):
    (tmp_path / "bad.py").write_text("import pickle\npickle.loads(input().encode())\n")
    command = [sys.executable, "-m", "bandit", "--quiet", "--severity-level", "medium", str(tmp_path / "bad.py")]
    assert subprocess.run(command, capture_output=True, timeout=300, check=False).returncode == 1


def test_everything_installed_is_pinned_to_one_version():
    pins = {}
    for name in ("requirements.txt", "constraints.txt"):
        for line in (REPOSITORY / name).read_text().splitlines():
            what = line.split("#")[0].strip()
            if what:
                match = re.fullmatch(r"([A-Za-z0-9._-]+)(\[[a-z,]+\])?==([^\s*]+)", what)
                assert match, f"{name}: {line!r} is not pinned by =="
                package = match[1].lower().replace("_", "-")
                assert pins.setdefault(package, match[3]) == match[3], f"{package} is pinned twice, differently"
