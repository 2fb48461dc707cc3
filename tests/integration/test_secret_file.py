"""The file of secret keys: made once, private, whole, the same for all who start at once."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest

from core.config import REPOSITORY, Settings
from core.errors import SecretError, StoreError
from core.secrets import KEY_FILE, Vault, new_secret_key


def open_vault(folder) -> Vault:
    return Vault.open(Settings(data_dir=folder))


def test_first_start_makes_a_key_that_nobody_else_may_read(tmp_path):
    sealed = open_vault(tmp_path).seal("mine", "here")
    file = tmp_path / "keys" / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert open_vault(tmp_path).unseal(sealed, "here") == b"mine"
    assert list(file.parent.iterdir()) == [file]


STARTER = """
import sys
from pathlib import Path
from core.config import Settings
from core.secrets import Vault
print("ready", flush=True)
sys.stdin.readline()
print(Vault.open(Settings(data_dir=Path(sys.argv[1]))).sealing_key.id)
"""


def test_processes_that_start_at_once_have_the_same_key(tmp_path):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, str(tmp_path)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    ids = {child.communicate(timeout=120)[0] for child in children}
    assert ids == {open_vault(tmp_path).sealing_key.id + "\n"}


def test_added_key_seals_and_is_found_by_a_vault_that_was_open_before(tmp_path):
    before = open_vault(tmp_path)
    old = before.seal("old", "here")
    adding = open_vault(tmp_path)
    assert adding.add_key() == adding.sealing_key != before.sealing_key
    new = adding.seal("new", "here")
    assert before.unseal(new, "here") == b"new"
    assert before.sealing_key == adding.sealing_key
    assert adding.unseal(old, "here") == b"old"
    assert stat.S_IMODE((tmp_path / "keys" / KEY_FILE).stat().st_mode) == 0o600


def test_lost_key_is_told(tmp_path):
    opened = open_vault(tmp_path)
    sealed = opened.seal("mine", "here")
    (tmp_path / "keys" / KEY_FILE).write_text(new_secret_key())
    with pytest.raises(SecretError):
        open_vault(tmp_path).unseal(sealed, "here")


@pytest.mark.parametrize("text", ["", "nonsense", "\xff\xfe"])
def test_damaged_file_is_not_replaced_by_a_new_key(tmp_path, text):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / KEY_FILE).write_text(text)
    with pytest.raises(StoreError, match="something else stands in the file"):
        open_vault(tmp_path)
    assert (tmp_path / "keys" / KEY_FILE).read_text() == text


def test_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(StoreError, match="secret keys"):
        open_vault(tmp_path)
