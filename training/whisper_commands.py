"""`python -m training whisper`: install the encoder that the strong model needs and OpenAI publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.prompt import Confirm

from core.config import Settings, settings_of_this_machine
from core.errors import TelepathyError
from core.inference.registry import find_model
from core.terminal import say
from training.errors import LicenceDeclinedError, TrainingError
from training.whisper_checkpoint import CITATION, LICENCE, NAME, PAGE, PUBLISHED, fetch_checkpoint

MODEL = "whisper"
DOWNLOADS = "downloads"

app = typer.Typer(help="The strong model: our head on the frozen encoder of Whisper tiny.en.", no_args_is_help=True)
console = Console()


@app.callback()
def main() -> None:
    """Keep `install` a command of its own while it is the only one."""


@app.command("install")
def install_command(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Weights that are here already: tiny.en.pt, or its encoder as .npz."),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence without asking.")
    ] = False,
) -> None:
    """Make the encoder of the model `whisper` on this machine; without --from its weights are downloaded."""
    try:
        settings = settings_of_this_machine()
        model = find_model(settings.models_dir, MODEL)
        given = source or (Path(settings.whisper_encoder) if settings.whisper_encoder else None)
        console.print(f"[bold]{NAME}[/bold], licence: [bold]{LICENCE}[/bold], published at {PAGE}", soft_wrap=True)
        console.print(f"Please cite: {CITATION}", soft_wrap=True)
        weights = given or _download(settings, is_accepted=accept_licence)
        from training.whisper_install import install

        folder = install(
            weights,
            model=model,
            installed_dir=settings.installed_models_dir,
            doing=lambda what: say(console, f"{what} ..."),
        )
    except (TelepathyError, TrainingError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"The encoder was not installed: {error.filename or settings.data_dir}: {error.strerror}.")
    say(console, f"Installed in {folder}.")
    say(console, "Start with TELEPATHY_MODEL=whisper, or name the model `whisper` in a request.")


def _download(settings: Settings, *, is_accepted: bool) -> Path:
    folder = settings.data_dir / DOWNLOADS
    path = folder / PUBLISHED.name
    if not path.exists() and not (
        is_accepted or Confirm.ask(f"Download it ({PUBLISHED.url})?", console=console, default=False)
    ):
        raise LicenceDeclinedError(NAME, LICENCE)
    columns = ("Fetching {task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(PUBLISHED.name, total=PUBLISHED.n_bytes)
        return fetch_checkpoint(folder, received=lambda n_bytes: progress.advance(task, n_bytes))


def _fail(sentence: str) -> NoReturn:
    say(console, sentence, style="red")
    raise typer.Exit(1)
