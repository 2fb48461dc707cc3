"""`python -m core.labelling import-folder`: recordings of a folder into a project, for whoever runs this machine."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from core.config import settings_of_this_machine
from core.errors import TelepathyError
from core.labelling.folders import import_folder
from core.own_files import keep_new_files_private
from core.workbench import open_workbench

commands = typer.Typer(help="Labelling.", add_completion=False, no_args_is_help=True)


@commands.callback()
def main() -> None:
    """Labelling, for whoever runs this machine."""


@commands.command("import-folder")
def import_folder_command(
    folder: Annotated[Path, typer.Argument(help="Looked into with all its folders.")],
    project_id: Annotated[UUID, typer.Argument(help="Id of the project, as `GET /api/v1/projects` shows it.")],
    consent: Annotated[bool, typer.Option(help="Those who speak agreed to being recorded for its purpose.")] = False,
) -> None:
    """Take every recording of a folder into a project; what it holds already is left out.

    Works while the workbench runs where the store is in PostgreSQL; stop the workbench first where it is in a file.
    """
    with closing(open_workbench(settings_of_this_machine())) as workbench:
        found = import_folder(workbench, folder, project_id, agrees=consent)
    for problem in found.problems:
        typer.echo(f"{problem.path}: {problem.reason}", err=True)
    typer.echo(f"{found.n_new:,} new, {found.n_known:,} known already, {len(found.problems):,} with a problem")
    if not found.n_new and not found.n_known:
        raise typer.Exit(1)


if __name__ == "__main__":
    keep_new_files_private()
    try:
        commands()
    except TelepathyError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
