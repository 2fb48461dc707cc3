"""`python -m training retrain` and `base-sample`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import threadpoolctl
import typer
from rich.console import Console

from core.config import REPOSITORY, settings_of_this_machine
from core.errors import TelepathyError
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model
from core.terminal import say
from training.corpora import read_manifest
from training.corrections import Corrections, embed_corrections, load_corrections, read_corrections
from training.errors import TrainingError
from training.refit import RefitPlan
from training.retrain import Retraining, Tell, retrain

NICENESS = 10
CORPORA = REPOSITORY.parent / "shared" / "corpora"
DEFAULTS = RefitPlan()
console = Console(stderr=True)


def retrain_command(
    corrections: Annotated[
        Path, typer.Argument(help="CSV or JSON lines of corrections, or .npz with their embeddings.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new model: letters, digits, hyphens.")],
    model: Annotated[str, typer.Option(help="Model to start from; none for the one of the settings.")] = "",
    parent: Annotated[Path | None, typer.Option(help="Folder of the model to start from, instead of --model.")] = None,
    audio: Annotated[Path, typer.Option(help="Folder that the paths of the corrections begin in.")] = Path(),
    models: Annotated[Path | None, typer.Option(help="Folder of the new model; none for data_dir/models.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder for checkpoints.")] = None,
    author: Annotated[str, typer.Option(help="Who asked for it, for the card.")] = "",
    source: Annotated[str, typer.Option(help="Where the corrections come from, for the card.")] = "",
    epochs: Annotated[int, typer.Option(min=1, max=200, help="Rounds over the corrections.")] = DEFAULTS.n_epochs,
    learning_rate: Annotated[float, typer.Option(min=1e-6, max=1e-2)] = DEFAULTS.learning_rate,
    correction_share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="How much of the loss is that of the corrections.")
    ] = DEFAULTS.correction_share,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of words.")] = False,
) -> None:
    """Make a new model from corrections. Stopped or killed, the same command goes on where it was.

    One core at low priority: beside a workbench that serves, it takes what is left over.
    """
    tell = for_whoever_started_this() if as_json else print_words
    try:
        be_modest()
        settings = settings_of_this_machine()
        start = parent or find_model(
            settings.models_dir, model or settings.model, installed_dir=settings.installed_models_dir
        )
        into = (models or settings.installed_models_dir) / require_name(name)
        if into.exists() and (into / "card.json").exists():
            raise typer.BadParameter(f"there is a model called {name!r}", param_hint="--name")
        at = run or settings.data_dir / "retraining" / name
        found = _corrections(corrections, audio, start, at.with_name(f"{at.name}-embedded.npz"), tell)
        plan = RefitPlan(n_epochs=epochs, learning_rate=learning_rate, correction_share=correction_share, seed=seed)
        asked = Retraining(parent=start, into=into, run=at, author=author, source=source or corrections.name, plan=plan)
        retrain(asked, found, tell=tell)
    except (TelepathyError, TrainingError) as error:
        tell({"event": "failed", "reason": str(error)})
        raise typer.Exit(1) from error


def base_sample_command(
    model: Annotated[str, typer.Argument(help="Model whose sample is made.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of what it learnt from.")] = CORPORA / "manifest.csv",
    audio: Annotated[Path, typer.Option(help="Folder that the manifest's paths begin in.")] = CORPORA,
    models: Annotated[Path, typer.Option(help="Folder of the models.")] = REPOSITORY / "data" / "models",
    cache: Annotated[Path, typer.Option(help="Folder that keeps embeddings.")] = REPOSITORY / "data/runs/embedded",
    n_recordings: Annotated[int, typer.Option(min=100, help="How many the sample holds.")] = 2400,
    n_heard: Annotated[int, typer.Option(min=100, help="How many are embedded to draw them from.")] = 4000,
) -> None:
    """Write what a retraining replays, `base.npz`, beside a model's card."""
    from training.base_sample import SHAREABLE_LICENCES, make_base_sample
    from training.embedded import embed_files
    from training.training_record import Exposure, read_training_record

    be_modest()
    folder = find_model(models, model)
    record = read_training_record(folder)
    rows, _ = read_manifest(manifest)
    heard = [row for row in rows if record.exposure(row) is Exposure.LABEL_HEARD and row.licence in SHAREABLE_LICENCES]
    heard.sort(key=lambda row: row.sha256_original)
    recogniser = Recogniser.open(folder)
    names = [row.path for row in heard[:n_heard]]
    embedded = embed_files(recogniser, names, lambda path: (audio / path).read_bytes(), cache=cache / f"{model}.npz")
    n_kept = make_base_sample(heard, embedded, folder=folder, n_recordings=n_recordings)
    say(console, f"{n_kept} recordings in {folder / 'base.npz'}")


def _corrections(file: Path, audio: Path, parent: Path, cache: Path, tell: Tell) -> Corrections:
    if file.suffix == ".npz":
        return load_corrections(file)
    rows, problems = read_corrections(file)
    tell({"event": "doing", "share": 0.0, "doing": f"Listening to {len(rows)} recordings"})
    cache.parent.mkdir(parents=True, exist_ok=True)
    found, unheard = embed_corrections(
        rows, Recogniser.open(parent), lambda path: (audio / path).read_bytes(), cache=cache
    )
    for problem in [*problems, *unheard]:
        tell({"event": "problem", "path": problem.path, "reason": problem.reason})
    return found


def require_name(name: str) -> str:
    """`name`, where a model can be called so."""
    if not name or not all(part.isalnum() and part.isascii() and part == part.lower() for part in name.split("-")):
        raise typer.BadParameter("small letters, digits and hyphens", param_hint="--name")
    return name


def be_modest() -> None:
    """One core, after everybody else."""
    if os.nice(0) < NICENESS:
        os.nice(NICENESS - os.nice(0))
    threadpoolctl.threadpool_limits(limits=1)


def for_whoever_started_this() -> Tell:
    """Prints JSON, and ends this program once the one that started it has ended: nobody reads on."""
    starter = os.getppid()

    def tell(said: Mapping[str, Any]) -> None:
        if os.getppid() != starter:
            raise SystemExit(1)
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

    return tell


def print_words(said: Mapping[str, Any]) -> None:
    """For people."""
    words = " ".join(f"{name} {value}" for name, value in said.items() if name != "event")
    say(console, f"{said['event']}: {words}")


if __name__ == "__main__":  # what a workbench starts: half of what `python -m training` would have to load
    typer.run(retrain_command)
