"""`python -m training custom`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from core.config import Settings, settings_of_this_machine
from core.data_set_files import is_table, label_files
from core.errors import AudioError, TelepathyError
from core.features.audio import DecodeLimits, decode
from core.features.clip_stream import LabelledClip, read_clips
from core.features.containers import SUFFIXES
from core.inference.registry import find_model
from training.augment import AUGMENTATIONS, parse_plan
from training.custom import HEAD_ONLY, CustomPlan, CustomTraining, Tell, make_custom
from training.custom_splits import Protocol
from training.errors import CustomTrainingError, TrainingError
from training.retrain_commands import be_modest, for_whoever_started_this, print_words, require_name

DEFAULTS = CustomPlan()


def custom_command(
    folder: Annotated[
        str, typer.Argument(help="Folder of clips, with a CSV of labels or one folder for each; - for standard input.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new model: small letters, digits, hyphens.")],
    labels: Annotated[str, typer.Option(help="Labels to learn, with commas between; none for all.")] = "",
    model: Annotated[str, typer.Option(help="Model whose encoder hears; none for the one of the settings.")] = "",
    parent: Annotated[Path | None, typer.Option(help="Folder of that model, instead of --model.")] = None,
    network: Annotated[
        str,
        typer.Option(
            help="head: a new head on that encoder; or, from random weights, bilstm, convolutional, transformer."
        ),
    ] = HEAD_ONLY,
    epochs: Annotated[int, typer.Option(min=1, max=500, help="Rounds over the clips.")] = DEFAULTS.n_epochs,
    learning_rate: Annotated[float, typer.Option(min=1e-6, max=1e-1)] = DEFAULTS.learning_rate,
    protocol: Annotated[Protocol, typer.Option(help="How it is judged.")] = DEFAULTS.protocol,
    augment: Annotated[
        str, typer.Option(help=f"Augmentations, such as noise=0.5,room: {', '.join(AUGMENTATIONS)}.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    models: Annotated[Path | None, typer.Option(help="Folder of the new model; none for data_dir/models.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder for checkpoints.")] = None,
    author: Annotated[str, typer.Option(help="Who asked for it, for the card.")] = "",
    data_set: Annotated[str, typer.Option(help="What the data set is called, for the card.")] = "",
    n_clips: Annotated[int, typer.Option(help="How many clips standard input brings.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of words.")] = False,
) -> None:
    """Make a model of your own clips and labels. Stopped or killed, the same command goes on where it was.

    One core at low priority: beside a workbench that serves, it takes what is left over.
    """
    tell = for_whoever_started_this() if as_json else print_words
    try:
        be_modest()
        if network != HEAD_ONLY:
            from training import custom_network  # tensorflow, which a head does not need

            custom_network.be_modest()
        settings = settings_of_this_machine()
        start = parent or find_model(
            settings.models_dir, model or settings.model, installed_dir=settings.installed_models_dir
        )
        into = (models or settings.installed_models_dir) / require_name(name)
        if (into / "card.json").exists():
            raise typer.BadParameter(f"there is a model called {name!r}", param_hint="--name")
        asked = CustomTraining(
            parent=start,
            into=into,
            run=run or settings.data_dir / "training" / name,
            author=author,
            data_set=data_set or Path(folder).name,
            plan=replace(
                DEFAULTS,
                network=network,
                n_epochs=epochs,
                learning_rate=learning_rate,
                protocol=protocol,
                strengths=_strengths(augment),
                seed=seed,
            ),
        )
        clips: Iterable[LabelledClip]
        if folder == "-":
            clips = read_clips(sys.stdin.buffer)
        else:
            found = sorted(_files(Path(folder)))
            chosen, problems = _labelled(Path(folder), found, {each for each in labels.split(",") if each})
            for path, reason in problems:
                tell({"event": "problem", "path": path, "reason": reason})
            clips, n_clips = _decoded(Path(folder), chosen, settings, tell), len(chosen)
        make_custom(asked, clips, n_clips=n_clips, tell=tell)
    except EOFError:  # whoever sent the clips has ended, and begins anew
        raise typer.Exit(1) from None
    except (TelepathyError, TrainingError) as error:
        tell({"event": "failed", "reason": str(error)})
        raise typer.Exit(1) from error


def _strengths(text: str) -> dict[str, float]:
    try:
        return dict(parse_plan(text, seed=0).strengths)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--augment") from error


def _files(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        raise CustomTrainingError(f"there is no folder {folder}")
    for where, _, names in os.walk(folder):
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES or is_table(name):
                yield (Path(where) / name).relative_to(folder).as_posix()


def _labelled(
    folder: Path, found: list[str], wanted: set[str]
) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Path, label and speaker of each clip that is wanted; and what is wrong with others."""
    tables = {name: (folder / name).read_bytes() for name in found if is_table(name)}
    known, problems = label_files([name for name in found if not is_table(name)], tables)
    chosen = [
        (name, known[name].label, known[name].speaker)
        for name in found
        if name in known and (not wanted or known[name].label in wanted)
    ]
    return chosen, [(problem.name, problem.sentence) for problem in problems]


def _decoded(
    folder: Path, chosen: list[tuple[str, str, str]], settings: Settings, tell: Tell
) -> Iterator[LabelledClip]:
    for path, label, speaker in chosen:
        try:
            audio = decode((folder / path).read_bytes(), limits=DecodeLimits.from_settings(settings))
        except AudioError as error:
            tell({"event": "problem", "path": path, "reason": str(error)})
            continue
        yield LabelledClip(name=path, label=label, speaker=speaker, waveform=audio.waveform)


if __name__ == "__main__":  # what a workbench starts: half of what `python -m training` would have to load
    typer.run(custom_command)
