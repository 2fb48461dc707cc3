"""Commands about the keys that encrypt: make one, and put everything under the newest.

`secret_commands.register(commands)` adds them to `python -m core.access`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from core.config import Settings, settings_of_this_machine
from core.errors import SecretError, StoreError, UnknownRecordingError
from core.secrets import Vault, new_secret_key
from core.store.engine import open_store
from core.store.recording_files import RecordingFiles
from core.store.sealed_columns import SEALED_COLUMNS, SealedColumn, update_sealed

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What `rotate` did."""

    n_texts: int
    """Secrets in the store that were sealed anew."""
    n_recordings: int
    """That were encrypted anew, or for the first time."""
    problems: tuple[str, ...]
    """A sentence for each that could not be, and stays as it was."""


def rotate(
    settings: Settings,
    vault: Vault,
    *,
    sealed_columns: tuple[SealedColumn, ...] = SEALED_COLUMNS,
    started: Callable[[int], None] = lambda n_recordings: None,
    advance: Callable[[], None] = lambda: None,
) -> Rotation:
    """Put what is sealed in the store, and the recordings, under the vault's first key.

    Recordings that are plain are encrypted when the settings ask for it, and left alone otherwise. What is under the
    first key already is not touched, so that it may be stopped and started again at any moment. One that cannot be
    read does not keep the others from it.

    Raises
    ------
    StoreError
        The folder of recordings cannot be opened.
    """
    problems: list[str] = []
    n_texts = 0
    if sealed_columns:
        try:
            with open_store(settings.store_location) as store:
                for column in sealed_columns:
                    try:
                        n_texts += sum(1 for _ in update_sealed(store, vault, column))
                    except SecretError as error:
                        problems.append(str(error))
        except StoreError as error:  # a DuckDB file is the running process's alone; recordings go on meanwhile
            problems.append(str(error))
    files = RecordingFiles(settings.recordings_location, vault=vault, encrypts=settings.encrypt_recordings)
    kept = [(place, sha256) for place in (files, *files.all_waiting()) for sha256 in sorted(place.hashes())]
    started(len(kept))
    n_recordings = 0
    for place, sha256 in kept:
        try:
            if not place.is_current(sha256):
                place.renew(sha256)
                n_recordings += 1
        except UnknownRecordingError:
            pass  # deleted meanwhile
        except (SecretError, StoreError) as error:
            problems.append(str(error))
        advance()
    return Rotation(n_texts=n_texts, n_recordings=n_recordings, problems=tuple(problems))


def secret_key() -> None:
    """Print a new key for the setting `secret_keys`, and nothing else."""
    typer.echo(new_secret_key())


def rotate_secrets(
    new_key: Annotated[
        bool, typer.Option(help="First make a new key in the file of keys; not where the settings give them.")
    ] = False,
) -> None:
    """Encrypt all secrets and recordings anew under the first key. May be stopped, and goes on when run again."""
    settings = settings_of_this_machine()
    vault = Vault.open(settings)
    if new_key:
        vault.add_key()
    console = Console(stderr=True)
    columns = (TextColumn("Recordings"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=None)
            done = rotate(
                settings,
                vault,
                started=lambda n_recordings: progress.update(task, total=n_recordings),
                advance=lambda: progress.advance(task),
            )
    except KeyboardInterrupt:
        typer.echo("Stopped. What was done is whole; run it again for the rest.", err=True)
        sys.exit(INTERRUPTED)
    for sentence in done.problems:
        typer.echo(sentence, err=True)
    typer.echo(
        f"{done.n_recordings:,} recordings and {done.n_texts:,} secrets are newly under key {vault.sealing_key.id}; "
        f"{len(done.problems):,} could not be."
    )
    if done.problems:
        sys.exit(1)


def register(commands: typer.Typer) -> None:
    """Add `secret-key` and `rotate-secrets`."""
    commands.command("secret-key")(secret_key)
    commands.command("rotate-secrets")(rotate_secrets)
