"""Files of others on the same machine stay unread, and folders of others stay as they are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from core.config import PREFIX, REPOSITORY
from core.own_files import make_own_folder


def mode_of(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_is_made_for_its_owner_and_one_that_is_there_is_closed_to_others(tmp_path):
    new, old = tmp_path / "new", tmp_path / "old"
    old.mkdir()
    old.chmod(0o775)
    with capture_logs() as said:
        make_own_folder(new)
        make_own_folder(old)
    assert (mode_of(new), mode_of(old)) == (0o700, 0o700)
    assert said == []


def test_folder_that_everybody_shares_stays_as_it_is_and_the_log_says_so(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with capture_logs() as said:
        make_own_folder(shared)
    assert mode_of(shared) == 0o1777
    assert [line["log_level"] for line in said] == ["warning"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_folder_of_somebody_else_stays_as_it_is_and_the_log_says_so(tmp_path):
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o770)
    os.chown(volume, 65_534, -1)
    with capture_logs() as said:
        make_own_folder(volume)
    assert mode_of(volume) == 0o770
    assert [line["log_level"] for line in said] == ["warning"]


@pytest.mark.parametrize(
    "command",
    [["core.access", "user", "create", "ada@example.org"], ["core.store", "migrate"]],
    ids=["core.access", "core.store"],
)
def test_commands_write_for_their_owner_alone(tmp_path, command):
    data_dir = tmp_path / "data"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env=environ | {f"{PREFIX}DATA_DIR": str(data_dir)},
        umask=0o022,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    kept = [data_dir, *data_dir.rglob("*")]
    assert len(kept) > 1
    assert not {str(path) for path in kept if mode_of(path) & 0o077}
