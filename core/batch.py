"""`python -m core.batch FOLDER --out results.parquet`: score a folder of recordings, without a server and a store."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.config import Settings, settings_of_this_machine
from core.domain import Emotion
from core.errors import InvalidParameterError, SourceError, TelepathyError
from core.features.containers import SUFFIXES
from core.inference.bulk import GROUP, Heard, hear_many
from core.inference.recogniser import Recogniser, require_passes
from core.inference.registry import find_model
from core.reports.predictions_csv import BYTE_ORDER_MARK, own_probabilities, without_formula
from core.terminal import say

COLUMNS = (
    *("file", "emotion", "confidence", "abstained"),
    *(f"probability_{emotion}" for emotion in Emotion),
    *("predictive_entropy_nats", "expected_entropy_nats", "mutual_information_nats", "duration_s", "snr_db"),
    *("speech_ratio", "model_version", "n_passes", "problem_code", "problem", "own_probabilities"),
)
FORMATS = (".parquet", ".csv", ".jsonl")
_NUMBERS = {
    name for name in COLUMNS if name.startswith("probability_") or name.endswith(("_nats", "_s", "_db", "_ratio"))
}

Row = dict[str, Any]
"""One value for each of `COLUMNS`; None where there is none."""

app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Folder with recordings, looked into with all its folders.")],
    out: Annotated[Path, typer.Option(help="File for the results: .parquet, .csv or .jsonl.")],
    model: Annotated[str | None, typer.Option(help="Name of the model; the one of the settings if left out.")] = None,
    n_passes: Annotated[int | None, typer.Option(help="Forward passes behind each answer, 2 to 500.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads; as many as cores if left out.")] = None,
) -> None:
    """Score every recording in a folder and write one row for each, with its answer or its problem."""
    console = Console(stderr=True)
    try:
        settings = settings_of_this_machine()
        settings = replace(settings, model=model or settings.model, n_passes=n_passes or settings.n_passes)
        rows = score_folder(folder, out, settings=settings, workers=workers or os.cpu_count() or 1, console=console)
    except TelepathyError as error:
        say(console, str(error), style="red")
        raise typer.Exit(1) from error
    n_problems = sum(bool(row["problem_code"]) for row in rows)
    say(console, f"{len(rows) - n_problems:,} scored, {n_problems:,} with a problem: {out}")
    if n_problems == len(rows):
        raise typer.Exit(1)


def score_folder(folder: Path, out: Path, *, settings: Settings, workers: int, console: Console) -> list[Row]:
    """Score the recordings below `folder` and write their rows to `out`, in the order of their names.

    Raises
    ------
    InvalidParameterError
        `out` has no ending that is written, is in no folder or cannot be written, or the number of passes is out of
        place.
    SourceError
        There is no such folder, or it holds no recordings.
    ModelError
        The model cannot be used.
    """
    if out.suffix.lower() not in FORMATS:
        raise InvalidParameterError("out", out.name, f"a file that ends in {', '.join(FORMATS)}")
    if not out.parent.is_dir():  # told before the work, not after it
        raise InvalidParameterError("out", str(out), "a file in a folder that exists")
    require_passes(settings.n_passes)
    if not folder.is_dir():
        raise SourceError(str(folder), "there is no such folder")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise SourceError(str(folder), f"it holds no recordings ({', '.join(sorted(SUFFIXES))})")
    recogniser = Recogniser.open(
        find_model(settings.models_dir, settings.model, installed_dir=settings.installed_models_dir),
        installed_dir=settings.installed_models_dir,
        n_interpreters=workers,
    )
    rows: dict[Path, Row] = {}
    columns = (TextColumn("Scoring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console) as progress,
        ThreadPoolExecutor(workers, thread_name_prefix="batch") as threads,
    ):
        task = progress.add_task("", total=len(files))
        for group in _scored(files, folder, recogniser, settings, threads, workers):
            rows |= group
            progress.advance(task, len(group))
    ordered = [rows[file] for file in files]
    try:
        write_rows(ordered, out)
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidParameterError("out", str(out), f"a file that can be written ({why})") from error
    return ordered


def _scored(
    files: Sequence[Path],
    folder: Path,
    recogniser: Recogniser,
    settings: Settings,
    threads: ThreadPoolExecutor,
    workers: int,
) -> Iterator[dict[Path, Row]]:
    """Groups of rows as they are done; few wait, so that memory does not grow with the folder."""
    groups = iter([files[first : first + GROUP] for first in range(0, len(files), GROUP)])
    under_way: set[Future[dict[Path, Row]]] = set()
    while True:
        for group in groups:
            under_way.add(threads.submit(_score, group, folder, recogniser, settings))
            if len(under_way) > 2 * workers:
                break
        if not under_way:
            return
        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


def _score(files: Sequence[Path], folder: Path, recogniser: Recogniser, settings: Settings) -> dict[Path, Row]:
    rows: dict[Path, Row] = {}
    sounds: dict[Path, bytes] = {}
    for file in files:
        try:
            sounds[file] = file.read_bytes()
        except OSError as error:
            rows[file] = _problem(file, folder, SourceError(file.name, (error.strerror or str(error)).lower()))
    heard = hear_many(
        list(sounds.values()), recogniser=recogniser, settings=settings, n_passes=settings.n_passes, timeline=False
    )  # no row holds a timeline, and the answer is the same without
    for file, result in zip(sounds, heard, strict=True):
        rows[file] = _answer(file, folder, result) if isinstance(result, Heard) else _problem(file, folder, result)
    return rows


def _answer(file: Path, folder: Path, heard: Heard) -> Row:
    recognition, row = heard.recognition, _empty(file, folder)
    emotion = max(recognition.probabilities, key=lambda each: recognition.probabilities[each])
    return row | {
        "emotion": emotion.value,
        "confidence": recognition.probabilities[emotion],
        "abstained": recognition.abstained,
        **{
            f"probability_{each}": value
            for each, value in recognition.probabilities.items()
            if isinstance(each, Emotion)
        },
        "own_probabilities": own_probabilities(recognition.probabilities),
        "predictive_entropy_nats": recognition.uncertainty.predictive_entropy_nats,
        "expected_entropy_nats": recognition.uncertainty.expected_entropy_nats,
        "mutual_information_nats": recognition.uncertainty.mutual_information_nats,
        "duration_s": heard.audio.waveform.duration_s,
        "snr_db": heard.quality.snr_db,
        "speech_ratio": heard.quality.speech_ratio,
        "model_version": recognition.model_version,
        "n_passes": recognition.n_passes,
    }


def _problem(file: Path, folder: Path, error: TelepathyError) -> Row:
    return _empty(file, folder) | {"problem_code": error.code, "problem": str(error)}


def _empty(file: Path, folder: Path) -> Row:
    texts = {"problem_code": "", "problem": "", "own_probabilities": ""}
    return dict.fromkeys(COLUMNS) | {"file": file.relative_to(folder).as_posix()} | texts


def write_rows(rows: Sequence[Row], out: Path) -> None:
    """Write `rows` in the format of the ending of `out`; whole or not at all."""
    unfinished = out.with_name(f".{out.name}.partial")
    try:
        if out.suffix.lower() == ".parquet":
            _write_parquet(rows, unfinished)
        elif out.suffix.lower() == ".csv":
            unfinished.write_text(_csv(rows), encoding="utf-8", newline="")
        else:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            unfinished.write_text("".join(lines), encoding="utf-8")
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    import pandas as pd  # not needed for the other formats

    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    kinds = dict.fromkeys([*_NUMBERS, "confidence"], "float64") | {"abstained": "boolean", "n_passes": "Int64"}
    frame.astype(kinds).to_parquet(path, index=False)


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return BYTE_ORDER_MARK + text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return without_formula(value)
    return "" if value is None else value


if __name__ == "__main__":
    sys.exit(app())
