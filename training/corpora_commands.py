"""`python -m training corpora`: fetch corpora, and write the manifest of a folder of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.prompt import Confirm
from rich.table import Table

from core.config import REPOSITORY
from core.terminal import say
from training.corpora import (
    AUDIO_SUFFIXES,
    ManifestRow,
    Problem,
    index_folder,
    keep_published_hashes,
    read_manifest,
    write_manifest,
)
from training.downloads import PUBLISHERS, FetchProgress, Publisher, RemoteFile, adopt_folder, fetch_corpus
from training.errors import ManifestError, TrainingError

CORPORA_FOLDER = REPOSITORY / "data" / "corpora"
"""Where fetched corpora go; ignored by git."""
MANIFEST = "manifest.csv"
PUBLISHED_SUFFIX = ".wav"
"""All five publishers hand out WAV, and models remember its hashes; a file of another kind was encoded anew."""

app = typer.Typer(help="Fetch corpora of emotional speech, and write their manifest.", no_args_is_help=True)
console = Console()


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(help="Folder with one or more corpora, under their published names.")],
    out: Annotated[Path | None, typer.Option(help="Manifest to write; FOLDER/manifest.csv if not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a manifest that is there already.")] = False,
) -> None:
    """Write the manifest of all recordings in FOLDER, and name every file that is left out.

    Where FOLDER holds a manifest.csv, hashes of published files that it gives are kept for the same paths.
    """
    if not folder.is_dir():
        _fail(f"There is no folder {folder}.")
    path = out or folder / MANIFEST
    if path.exists() and not force:
        _fail(f"{path} is there already. Choose another place with --out, or replace it with --force.")
    earlier = _earlier_rows(folder / MANIFEST)
    columns = (TextColumn("Reading recordings"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("")
        rows, problems = index_folder(
            folder,
            started=lambda n_files: progress.update(task, total=n_files),
            advance=lambda n_files: progress.advance(task, n_files),
        )
    _print_problems(problems)
    if not rows:
        _fail(f"{folder} holds no recording of a known corpus. docs/corpora.md lists the names that are recognised.")
    kept = keep_published_hashes(rows, earlier)
    try:
        write_manifest(path, kept)
    except OSError as error:
        _fail(f"The manifest cannot be written to {path} ({error.strerror}). Choose another place with --out.")
    console.print(_summary(rows))
    say(console, f"{len(rows):,} recordings written to {path}, {len(problems):,} files left out.")
    _print_hashes(rows, kept, folder)


@app.command()
def fetch(
    corpus: Annotated[str, typer.Argument(help=f"One of {', '.join(PUBLISHERS)}.")],
    out: Annotated[Path, typer.Option(help="Folder for corpora.")] = CORPORA_FOLDER,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of a corpus that you received by registration (SAVEE).")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence without asking.")
    ] = False,
) -> None:
    """Download CORPUS from its publisher; the same command goes on where an earlier one stopped."""
    publisher = PUBLISHERS.get(corpus.lower())
    if publisher is None:
        _fail(f"There is no corpus {corpus!r} to fetch. Known: {', '.join(PUBLISHERS)}.")

    def is_accepted(asked: Publisher) -> bool:
        _print_licence(asked)
        return accept_licence or Confirm.ask("Do you accept these terms?", console=console, default=False)

    try:
        if folder is not None and publisher.list_files is not None:
            _fail(f"{publisher.corpus} is downloaded; --folder is for corpora that need a registration.")
        if folder is None:
            target = _fetch(publisher, out, is_accepted)
        else:
            target, problems = adopt_folder(publisher, folder, out, is_accepted=is_accepted)
            _print_problems(problems)
    except TrainingError as error:
        _fail(str(error))
    n_recordings = sum(path.suffix.lower() in AUDIO_SUFFIXES for path in target.rglob("*"))
    say(console, f"{n_recordings:,} recordings stand in {target}; {publisher.n_recordings:,} are published.")
    say(console, f"Next: python -m training corpora index {out}")


def _fetch(publisher: Publisher, out: Path, is_accepted: Callable[[Publisher], bool]) -> Path:
    """Fetch with one bar: over bytes where the publisher says how many there are, else over files."""
    columns = (
        TextColumn("Fetching {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[n_done]:,} of {task.fields[n_files]:,} files, {task.fields[megabytes]:,.1f} MB"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console)
    task = progress.add_task(publisher.corpus, total=None, start=False, n_done=0, n_files=0, megabytes=0.0)
    lock = Lock()
    counts_bytes = False
    n_bytes_received = n_done = 0

    def started(n_files: int, n_bytes: int | None) -> None:
        nonlocal counts_bytes
        counts_bytes = n_bytes is not None
        progress.update(task, total=n_bytes if counts_bytes else n_files, n_files=n_files)
        progress.start_task(task)
        progress.start()

    def received(n_bytes: int) -> None:
        nonlocal n_bytes_received
        with lock:
            n_bytes_received += n_bytes
            progress.update(task, advance=n_bytes if counts_bytes else 0, megabytes=n_bytes_received / 1e6)

    def finished(_: RemoteFile) -> None:
        nonlocal n_done
        with lock:
            n_done += 1
            progress.update(task, advance=0 if counts_bytes else 1, n_done=n_done)

    told = FetchProgress(started=started, received=received, finished=finished)
    try:
        return fetch_corpus(publisher, out, is_accepted=is_accepted, progress=told)
    finally:
        progress.stop()


def _earlier_rows(manifest: Path) -> list[ManifestRow]:
    """Rows of the manifest that a folder holds, none where there is none."""
    if not manifest.exists():
        return []
    try:
        rows, problems = read_manifest(manifest)
    except ManifestError as error:
        _fail(f"{error} The one there may hold hashes of published files: mend it, or move it out of the folder first.")
    for problem in problems:
        sentence = f"{manifest}, {problem.path}: {problem.reason}; its hash is not kept"
        say(console, sentence, style="yellow")
    return rows


def _print_hashes(found: list[ManifestRow], written: list[ManifestRow], folder: Path) -> None:
    """Say which hashes are those of published files: by them alone a model is known to have heard a recording."""
    same = [now for before, now in zip(found, written, strict=True) if before.sha256_original == now.sha256_original]
    if len(same) < len(written):
        sentence = (
            f"{len(written) - len(same):,} files have another hash than {folder / MANIFEST} gave: they count as "
            "encoded anew, and the hash given there is kept."
        )
        say(console, sentence)
    n_unknown = sum(not row.path.lower().endswith(PUBLISHED_SUFFIX) for row in same)
    if n_unknown:
        sentence = (
            f"{n_unknown:,} recordings are no WAV, as published ones are, and no manifest in {folder} tells the hash "
            "of the published file: the hash written is that of the file found. A model that heard these recordings "
            "does not know them by it, so `evaluate` will say of them at best that it heard their speakers. Scores on "
            "them are a test only for a model that heard none of these speakers."
        )
        say(console, sentence, style="yellow")


def _summary(rows: list[ManifestRow]) -> Table:
    table = Table("corpus", "recordings", "speakers", "hours", "emotions", "licence")
    for corpus, n_recordings in sorted(Counter(row.corpus for row in rows).items()):
        own = [row for row in rows if row.corpus == corpus]
        table.add_row(
            corpus,
            f"{n_recordings:,}",
            str(len({row.speaker for row in own})),
            f"{sum(row.duration_s for row in own) / 3600:.2f}",
            str(len({row.emotion for row in own})),
            own[0].licence,
        )
    return table


def _print_licence(publisher: Publisher) -> None:
    console.print(f"[bold]{publisher.corpus}[/bold], licence: [bold]{publisher.licence}[/bold]", soft_wrap=True)
    console.print(publisher.terms, soft_wrap=True)
    console.print(f"Published at {publisher.page}", soft_wrap=True)
    console.print(f"Please cite: {publisher.citation}", soft_wrap=True)


def _print_problems(problems: list[Problem]) -> None:
    for problem in problems:
        say(console, f"left out: {problem.path}: {problem.reason}", style="yellow")


def _fail(sentence: str) -> NoReturn:
    say(console, sentence, style="red")
    raise typer.Exit(1)
