"""`python -m training compare`: networks, augmentations, or ways to use the teacher, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from core.terminal import say

app = typer.Typer(
    help="Train networks, augmentations or uses of the teacher side by side, and tabulate them.", no_args_is_help=True
)

ManifestOption = Annotated[Path, typer.Option(help="Manifest of the recordings.")]
AudioOption = Annotated[Path, typer.Option(help="Folder that the manifest's paths begin in.")]
CacheOption = Annotated[Path, typer.Option(help="Folder of decoded recordings; shared with `train`.")]
RunOption = Annotated[Path, typer.Option(help="Folder for checkpoints, logs and tables.")]
TrainingOption = Annotated[int, typer.Option(min=32, help="Recordings drawn for training.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="Epochs per trial.")]
SeedOption = Annotated[int, typer.Option(help="Seed of every draw but the splits', which is 0.")]
NetworkOption = Annotated[str, typer.Option(help="bilstm, convolutional, transformer, or linear (takes seconds).")]
ThreadsOption = Annotated[int, typer.Option(min=0, help="Threads for training; 0 takes every core.")]

_CORPORA = Path("..") / "shared" / "corpora"
_CACHE = Path("data/runs/telepathy/cache")
_RUN = Path("data/runs/compare")


@app.command("networks")
def networks_command(
    manifest: ManifestOption = _CORPORA / "manifest.csv",
    audio: AudioOption = _CORPORA,
    cache: CacheOption = _CACHE,
    run: RunOption = _RUN,
    n_training: TrainingOption = 2_000,
    n_epochs: EpochsOption = 6,
    seed: SeedOption = 0,
    n_threads: ThreadsOption = 0,
) -> None:
    """Train every network on the 80/10/10 split and on one speaker-independent fold, and print the table."""
    from training.compare import Budget, Places, compare_networks, networks_table

    _limit_threads(n_threads)
    rows = compare_networks(
        Places(manifest=manifest, audio=audio, cache=cache, run=run),
        budget=Budget(n_training=n_training, n_epochs=n_epochs, seed=seed),
    )
    Console().print(Markdown(networks_table(rows)))


@app.command("augmentations")
def augmentations_command(
    manifest: ManifestOption = _CORPORA / "manifest.csv",
    audio: AudioOption = _CORPORA,
    cache: CacheOption = _CACHE,
    run: RunOption = _RUN,
    n_training: TrainingOption = 2_000,
    n_epochs: EpochsOption = 6,
    seed: SeedOption = 0,
    network: NetworkOption = "convolutional",
    n_threads: ThreadsOption = 0,
) -> None:
    """Train one network with none, each one, all, and all but one augmentation, and print the table."""
    from training.compare import Budget, Places, compare_augmentations

    _limit_threads(n_threads)
    table = compare_augmentations(
        Places(manifest=manifest, audio=audio, cache=cache, run=run),
        budget=Budget(n_training=n_training, n_epochs=n_epochs, seed=seed),
        network=network,
    )
    Console().print(Markdown(table))


@app.command("teacher")
def teacher_command(
    manifest: ManifestOption = _CORPORA / "manifest.csv",
    audio: AudioOption = _CORPORA,
    teacher: Annotated[Path, typer.Option(help="Weights of Whisper tiny.en's encoder.")] = Path("..")
    / "shared"
    / "encoders"
    / "whisper-tiny.en-encoder.npz",
    run: Annotated[Path, typer.Option(help="Folder of `train`, whose caches are used.")] = Path("data/runs/telepathy"),
    fold: Annotated[int, typer.Option(min=1, max=5, help="Speaker-independent fold.")] = 1,
    n_threads: ThreadsOption = 0,
) -> None:
    """Put heads on the frozen teacher, with and without attention, fine-tune its upper blocks, and print the table."""
    from training.adapt import compare_methods
    from training.train import Places

    _limit_threads(n_threads)
    places = Places(manifest=manifest, audio=audio, teacher=teacher, run=run)
    Console().print(Markdown(compare_methods(places, fold=fold)))


@app.command("corpora")
def corpora_command(
    manifest: ManifestOption = _CORPORA / "manifest.csv",
    audio: AudioOption = _CORPORA,
    run: Annotated[Path, typer.Option(help="Folder of `train`, whose embeddings are used.")] = Path(
        "data/runs/telepathy"
    ),
    n_threads: ThreadsOption = 0,
) -> None:
    """Fit a head to each corpus alone, ask it about all of the others, and print the table."""
    from training.cross_corpus import compare_corpora
    from training.train import Places

    _limit_threads(n_threads)
    try:
        table = compare_corpora(Places(manifest=manifest, audio=audio, teacher=Path(), run=run))
    except FileNotFoundError as error:
        how = f"python -m training train --model telepathy --run {run}"
        say(Console(stderr=True), f"{error.filename} is missing: make it with `{how}`.", style="red")
        raise typer.Exit(1) from error
    Console().print(Markdown(table))


def _limit_threads(n_threads: int) -> None:
    import tensorflow as tf

    if n_threads:
        tf.config.threading.set_intra_op_parallelism_threads(n_threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
