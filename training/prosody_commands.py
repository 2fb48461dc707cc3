"""`python -m training references` and `surrogate`: what the Explain page compares and explains by. Imported lazily."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from core.config import settings_of_this_machine
from core.errors import TelepathyError
from core.terminal import say
from training.errors import TrainingError

SHARED_CORPORA = Path("..") / "shared" / "corpora"

Manifest = Annotated[Path, typer.Option(help="Manifest of the recordings.")]
Audio = Annotated[Path, typer.Option(help="Folder that the manifest's paths begin in.")]
Run = Annotated[Path, typer.Option(help="Folder that keeps what was measured and answered.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that measure, at low priority.")]


def references_command(
    manifest: Manifest = SHARED_CORPORA / "manifest.csv",
    audio: Audio = SHARED_CORPORA,
    run: Run = Path("data/runs/prosody"),
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("data/references/prosody.json"),
    workers: Workers = 1,
) -> None:
    """Measure how voices of the corpora usually sound, neutral and in all emotions."""
    from training.prosody_references import write_references
    from training.prosody_sample import open_sample

    try:
        write_references(out, open_sample(manifest, audio=audio, folder=run, n_workers=workers))
    except (TrainingError, TelepathyError) as error:
        _fail(str(error))
    say(Console(), f"References written to {out}")


def surrogate_command(
    model: Annotated[str, typer.Option(help="Name of the model to imitate.")] = "telepathy",
    models: Annotated[Path, typer.Option(help="Folder that the models stand in.")] = Path("data/models"),
    manifest: Manifest = SHARED_CORPORA / "manifest.csv",
    audio: Audio = SHARED_CORPORA,
    run: Run = Path("data/runs/prosody"),
    workers: Workers = 1,
) -> None:
    """Fit trees that imitate a model's answers from prosody, and measure how well on held-out speakers."""
    from training.prosody_sample import open_sample
    from training.surrogate import make_surrogate

    try:
        measured = open_sample(manifest, audio=audio, folder=run, n_workers=workers)
        fidelity = make_surrogate(
            model, models_dir=models, measured=measured, audio=audio, run=run, settings=settings_of_this_machine()
        )
    except (TrainingError, TelepathyError) as error:
        _fail(str(error))
    Console().print_json(data=fidelity)


def _fail(sentence: str) -> NoReturn:
    say(Console(stderr=True), sentence, style="red")
    raise typer.Exit(1)
