"""Rotation: everything under the first key, stopped and started again, without losing what cannot be read."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid, insert, select, update

from core.access.secret_commands import Rotation, rotate
from core.config import PREFIX, REPOSITORY, Settings
from core.domain import PROCESS, WebhookEndpoint
from core.errors import SecretError
from core.identifiers import new_id
from core.secrets import Vault, new_secret_key
from core.store.engine import open_store
from core.store.recording_files import RecordingFiles
from core.store.sealed_columns import WEBHOOK_SECRET, SealedColumn, update_sealed
from core.store.webhooks import insert_webhook_endpoint, select_webhook_secrets

OLD, NEW, LOST = new_secret_key(), new_secret_key(), new_secret_key()


def settings_of(folder, keys: str, **changes) -> Settings:
    return Settings(data_dir=folder, secret_keys=keys, **changes)


def files_of(settings: Settings) -> RecordingFiles:
    return RecordingFiles(
        settings.recordings_location, vault=Vault.open(settings), encrypts=settings.encrypt_recordings
    )


def rotated(settings: Settings, **options) -> Rotation:
    return rotate(settings, Vault.open(settings), **options)


def test_recordings_move_to_the_first_key_and_the_old_one_may_go(tmp_path):
    before = settings_of(tmp_path, OLD, encrypt_recordings=True)
    plain = RecordingFiles(before.recordings_location).write(b"plain")
    old = files_of(before).write(b"old")
    both = settings_of(tmp_path, f"{NEW},{OLD}", encrypt_recordings=True)
    seen = []
    done = rotated(both, started=seen.append, advance=lambda: seen.append("one"))
    assert done == Rotation(n_texts=0, n_recordings=2, problems=())
    assert seen == [2, "one", "one"]
    after = files_of(settings_of(tmp_path, NEW))
    assert (after.read(plain), after.read(old)) == (b"plain", b"old")
    assert rotated(both).n_recordings == 0


def test_plain_recordings_stay_plain_unless_the_settings_ask(tmp_path):
    plain = RecordingFiles(settings_of(tmp_path, OLD).recordings_location).write(b"plain")
    old = files_of(settings_of(tmp_path, OLD, encrypt_recordings=True)).write(b"old")
    assert rotated(settings_of(tmp_path, f"{NEW},{OLD}")).n_recordings == 1
    assert RecordingFiles(settings_of(tmp_path, NEW).recordings_location).read(plain) == b"plain"
    assert files_of(settings_of(tmp_path, NEW)).read(old) == b"old"


@pytest.mark.parametrize("n_done", [0, 1, 5, 9])
def test_stopped_rotation_leaves_all_readable_and_goes_on_with_the_rest(tmp_path, n_done):
    before = files_of(settings_of(tmp_path, OLD, encrypt_recordings=True))
    hashes = {before.write(bytes([number])): bytes([number]) for number in range(10)}
    both = settings_of(tmp_path, f"{NEW},{OLD}", encrypt_recordings=True)
    calls = itertools.count(1)

    def stop_after_some() -> None:
        if next(calls) > n_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotated(both, advance=stop_after_some)
    assert {sha256: files_of(both).read(sha256) for sha256 in hashes} == hashes
    assert rotated(both).n_recordings == 10 - n_done - 1
    assert {sha256: files_of(settings_of(tmp_path, NEW)).read(sha256) for sha256 in hashes} == hashes


def test_recording_that_cannot_be_read_does_not_keep_the_others_from_it(tmp_path):
    lost = files_of(settings_of(tmp_path, LOST, encrypt_recordings=True)).write(b"lost")
    old = files_of(settings_of(tmp_path, OLD, encrypt_recordings=True)).write(b"old")
    both = settings_of(tmp_path, f"{NEW},{OLD}", encrypt_recordings=True)
    done = rotated(both)
    assert done.n_recordings == 1
    [sentence] = done.problems
    assert lost in sentence
    assert files_of(settings_of(tmp_path, NEW)).read(old) == b"old"
    assert files_of(settings_of(tmp_path, LOST)).read(lost) == b"lost"


def run_command(folder, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environ |= {"TELEPATHY_DATA_DIR": str(folder)} | {PREFIX + name: value for name, value in settings.items()}
    command = [sys.executable, "-m", "core.access", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=120)


def test_command_prints_a_key_and_nothing_else(tmp_path):
    done = run_command(tmp_path / "nothing", "secret-key")
    assert (done.returncode, done.stderr) == (0, "")
    assert files_of(settings_of(tmp_path, done.stdout.strip(), encrypt_recordings=True)).write(b"usable")
    assert not (tmp_path / "nothing").exists()


def test_command_makes_a_key_in_the_file_and_puts_everything_under_it(tmp_path):
    running = files_of(settings_of(tmp_path, "", encrypt_recordings=True))
    sha256 = running.write(b"old")
    done = run_command(tmp_path, "rotate-secrets", "--new-key", ENCRYPT_RECORDINGS="true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 recordings and 0 secrets are newly under key")
    assert running.read(sha256) == b"old"  # by a process that was open before
    assert files_of(settings_of(tmp_path, "")).is_current(sha256)


def test_command_names_what_it_could_not_read_and_ends_with_1(tmp_path):
    lost = files_of(settings_of(tmp_path, LOST, encrypt_recordings=True)).write(b"lost")
    done = run_command(tmp_path, "rotate-secrets", SECRET_KEYS=NEW)
    assert done.returncode == 1
    assert lost in done.stderr
    assert done.stdout.endswith("1 could not be.\n")
    refused = run_command(tmp_path, "rotate-secrets", "--new-key", SECRET_KEYS=NEW)
    assert refused.returncode == 1
    assert "`secret_keys`" in refused.stderr
    assert "Traceback" not in refused.stderr


table = Table(
    "made_up_hooks", MetaData(), Column("id", Uuid, primary_key=True), Column("secret", Text), Column("note", Text)
)
SECRETS = SealedColumn(column=table.c.secret, key=table.c.id)


@pytest.fixture
def hooks(store_url):
    """Three rows, two of them with secrets under the old key, in each database in turn."""
    vault, ids = Vault.open(Settings(secret_keys=OLD)), [new_id() for _ in range(3)]
    with open_store(store_url) as store:
        with store.transaction("making a table") as connection:
            table.create(connection)
            for position, row_id in enumerate(ids):
                sealed = None if position == 2 else vault.seal(f"secret {position}", SECRETS.context(row_id))
                connection.execute(insert(table).values(id=row_id, secret=sealed, note="kept"))
        yield store, ids


def secrets_of(store, vault: Vault) -> dict:
    with store.transaction("reading") as connection:
        rows = connection.execute(select(table.c.id, table.c.secret)).all()
    return {key: None if text is None else vault.unseal(text, SECRETS.context(key)) for key, text in rows}


def test_sealed_texts_move_to_the_first_key(hooks):
    store, ids = hooks
    both, new = (Vault.open(Settings(secret_keys=keys)) for keys in (f"{NEW},{OLD}", NEW))
    assert sorted(update_sealed(store, both, SECRETS)) == sorted(SECRETS.context(row_id) for row_id in ids[:2])
    assert secrets_of(store, new) == {ids[0]: b"secret 0", ids[1]: b"secret 1", ids[2]: None}
    assert list(update_sealed(store, both, SECRETS)) == []


def test_text_changed_meanwhile_is_kept(hooks):
    store, ids = hooks
    both = Vault.open(Settings(secret_keys=f"{NEW},{OLD}"))
    moving = update_sealed(store, both, SECRETS)
    first = next(moving)
    [other] = [row_id for row_id in ids[:2] if SECRETS.context(row_id) != first]
    with store.transaction("changing") as connection:
        changed = both.seal("changed", SECRETS.context(other))
        connection.execute(update(table).where(table.c.id == other).values(secret=changed))
    assert list(moving) == []
    assert secrets_of(store, both)[other] == b"changed"


def test_text_moved_to_another_row_is_refused(hooks):
    store, ids = hooks
    both = Vault.open(Settings(secret_keys=f"{NEW},{OLD}"))
    with store.transaction("moving") as connection:
        text = connection.execute(select(table.c.secret).where(table.c.id == ids[0])).scalar_one()
        connection.execute(update(table).where(table.c.id == ids[1]).values(secret=text))
    with pytest.raises(SecretError):
        list(update_sealed(store, both, SECRETS))


def test_rotation_covers_the_columns_that_are_registered(tmp_path):
    old, row_id = settings_of(tmp_path, OLD), new_id()
    with open_store(old.store_location) as store, store.transaction("making a table") as connection:
        table.create(connection)
        sealed = Vault.open(old).seal("mine", SECRETS.context(row_id))
        connection.execute(insert(table).values(id=row_id, secret=sealed))
    assert rotated(settings_of(tmp_path, f"{NEW},{OLD}"), sealed_columns=(SECRETS,)).n_texts == 1
    [problem] = rotated(settings_of(tmp_path, LOST), sealed_columns=(SECRETS,)).problems
    assert str(row_id) in problem


def test_store_that_another_process_holds_is_told_and_recordings_move_all_the_same(tmp_path):
    """A DuckDB file is the running process's alone."""
    old = files_of(settings_of(tmp_path, OLD, encrypt_recordings=True)).write(b"old")
    holding = "import sys; from core.store.engine import open_store; open_store(sys.argv[1]); print('held'); input()"
    both = settings_of(tmp_path, f"{NEW},{OLD}")
    command = [sys.executable, "-c", holding, both.store_location]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        done = rotated(both)
        process.stdin.close()
    assert done.n_recordings == 1
    [sentence] = done.problems
    assert "holds the lock" in sentence
    assert files_of(settings_of(tmp_path, NEW)).read(old) == b"old"


def test_secrets_of_webhooks_are_covered(tmp_path):
    endpoint = WebhookEndpoint(
        id=new_id(),
        owner_id=new_id(),
        url="https://hooks.example.org/",
        description="",
        event_types=frozenset(),
        created_at=datetime.now(UTC),
    )
    sealed = Vault.open(settings_of(tmp_path, OLD)).seal("whsec_x", WEBHOOK_SECRET.context(endpoint.id))
    with open_store(settings_of(tmp_path, OLD).store_location) as store:
        insert_webhook_endpoint(store, endpoint=endpoint, sealed_secret=sealed)
    assert rotated(settings_of(tmp_path, f"{NEW},{OLD}")).n_texts == 1
    new = Vault.open(settings_of(tmp_path, NEW))
    with open_store(settings_of(tmp_path, NEW).store_location) as store:
        kept = select_webhook_secrets(store, endpoint_id=endpoint.id, reader=PROCESS)
    assert new.unseal(kept.secret, WEBHOOK_SECRET.context(endpoint.id)) == b"whsec_x"
