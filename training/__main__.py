"""`python -m training`: make, judge and compare models. What needs tensorflow is imported only when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.terminal import say
from training import (
    compare_commands,
    corpora_commands,
    custom_commands,
    prosody_commands,
    retrain_commands,
    whisper_commands,
)
from training.errors import TrainingError
from training.evaluate import card_command, cross_corpus_command, evaluate_command, models_command
from training.splits import splits_command

SHARED = Path("..") / "shared"

app = typer.Typer(help="Make, judge and compare the models of Telepathy.", no_args_is_help=True, add_completion=False)
app.add_typer(corpora_commands.app, name="corpora")
app.add_typer(compare_commands.app, name="compare")
app.add_typer(whisper_commands.app, name="whisper")
app.command("splits")(splits_command)
app.command("evaluate")(evaluate_command)
app.command("cross-corpus")(cross_corpus_command)
app.command("card")(card_command)
app.command("models")(models_command)
app.command("retrain")(retrain_commands.retrain_command)
app.command("custom")(custom_commands.custom_command)
app.command("base-sample")(retrain_commands.base_sample_command)
app.command("references")(prosody_commands.references_command)
app.command("surrogate")(prosody_commands.surrogate_command)


@app.command("train")
def train_command(
    manifest: Annotated[Path, typer.Option(help="Manifest of the recordings.")] = SHARED / "corpora" / "manifest.csv",
    audio: Annotated[Path, typer.Option(help="Folder that the manifest's paths begin in.")] = SHARED / "corpora",
    teacher: Annotated[Path, typer.Option(help="Weights of Whisper tiny.en's encoder.")] = SHARED
    / "encoders"
    / "whisper-tiny.en-encoder.npz",
    run: Annotated[Path, typer.Option(help="Folder for checkpoints, caches and figures.")] = Path(
        "data/runs/telepathy"
    ),
    models: Annotated[Path, typer.Option(help="Folder that the models are written into.")] = Path("data/models"),
    model: Annotated[str, typer.Option(help="telepathy, telepathy-commercial, whisper or all.")] = "all",
) -> None:
    """Make the committed models from the corpora. Stopped or killed, the same command goes on where it was."""
    from training.train import Places, make_models
    from training.whisper_model import NAME, make_whisper

    places = Places(manifest=manifest, audio=audio, teacher=teacher, run=run, models=models)
    try:
        if model != NAME:
            make_models(places, model=model)
        if model in ("all", NAME):
            make_whisper(places)
    except TrainingError as error:
        say(Console(stderr=True), str(error), style="red")
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
