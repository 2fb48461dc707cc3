"""`python -m core.store`: migrate the store, or check it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from core.config import settings_of_this_machine
from core.domain import PROCESS
from core.errors import TelepathyError
from core.own_files import keep_new_files_private
from core.store.engine import Store, open_store, require_current_schema, select_schema_version
from core.store.predictions import count_predictions
from core.store.recordings import count_recordings

Url = Annotated[str, typer.Option(help="Path or URL of the store; the settings say where it is otherwise.")]

commands = typer.Typer(help="The store of recordings and predictions.", add_completion=False, no_args_is_help=True)


@commands.command()
def migrate(url: Url = "") -> None:
    """Bring the schema up to date; an empty store gets its tables."""
    with open_store(url or settings_of_this_machine().store_location) as store:
        _say(store)


@commands.command()
def check(url: Url = "") -> None:
    """Say whether the store can be read and written, and what is in it. Changes nothing."""
    with open_store(url or settings_of_this_machine().store_location, migrates=False) as store:
        require_current_schema(store)
        store.require_writable()
        _say(store)


def _say(store: Store) -> None:
    typer.echo(
        f"{store.name}: schema {select_schema_version(store)}, {count_recordings(store, reader=PROCESS):,} recordings, "
        f"{count_predictions(store, reader=PROCESS):,} predictions."
    )


if __name__ == "__main__":
    keep_new_files_private()
    try:
        commands()
    except TelepathyError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
