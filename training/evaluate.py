"""Score any manifest by the served way: bytes, decoding, LiteRT model, Monte Carlo dropout, as the API answers.

`python -m training evaluate --model NAME --manifest FILE --audio FOLDER`; docs/evaluation.md says what comes out.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn
from zlib import crc32

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.config import REPOSITORY, Settings, settings_of_this_machine
from core.errors import EncoderMissingError, TelepathyError
from core.features.audio import decode
from core.features.speech import speech_span
from core.features.waveform import DecodeLimits, Waveform
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model, read_card
from core.terminal import say
from training.corpora import ManifestRow, Problem, manifest_sha256, read_manifest
from training.disturbances import CLEAN, DISTURBANCES, Disturbance
from training.errors import TrainingError
from training.report import cross_corpus_matrix, first_score, publish_model_card, write_report
from training.score_tables import print_scores
from training.scores import (
    EMOTIONS,
    SCHEMA,
    VOTES,
    Evaluation,
    RobustnessScores,
    ScoredRecording,
    evaluation_to_json,
    read_votes,
    score_robustness,
    summarise_answers,
)
from training.splits import read_split
from training.training_record import TrainingRecord, read_training_record

N_VOICES = 60
"""Recordings from which babble is drawn."""
N_ROBUSTNESS = 200
"""Recordings that the command disturbs if not told otherwise: each costs one answer more for every disturbance."""
MIN_PLAIN_PASSES = 2
"""The fewest passes the recogniser runs; without dropout all are alike."""

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """A model as it is served, and the settings it is served with."""

    recogniser: Recogniser
    settings: Settings
    record: TrainingRecord

    @property
    def limits(self) -> DecodeLimits:
        """What serving accepts."""
        return DecodeLimits.from_settings(self.settings)


def answer_recording(answering: Answering, row: ManifestRow, data: bytes) -> ScoredRecording:
    """What the served model says of the bytes of one recording.

    Raises
    ------
    TelepathyError
        The recording is refused, as the API would refuse it.
    """
    settings = answering.settings
    waveform = decode(data, limits=answering.limits).waveform
    given = {
        "seed": settings.seed,
        "window_s": settings.window_s,
        "hop_s": settings.hop_s,
        "abstention_confidence": settings.abstention_confidence,
        "timeline": False,
    }
    served = answering.recogniser.recognise(waveform, n_passes=settings.n_passes, **given)
    plain = answering.recogniser.without_dropout().recognise(waveform, n_passes=MIN_PLAIN_PASSES, **given)
    return ScoredRecording(
        row=row,
        exposure=answering.record.exposure(row),
        probabilities=tuple(served.probabilities.get(emotion, 0.0) for emotion in EMOTIONS),
        plain_confidence=max(plain.probabilities.values()),
        predictive_entropy_nats=served.uncertainty.predictive_entropy_nats,
        expected_entropy_nats=served.uncertainty.expected_entropy_nats,
        mutual_information_nats=served.uncertainty.mutual_information_nats,
        is_abstained=served.abstained,
    )


def answer_manifest(
    answering: Answering, rows: Sequence[ManifestRow], audio: Path, *, n_workers: int, advance: Advance
) -> tuple[list[ScoredRecording], list[Problem]]:
    """Answers for all recordings of a manifest, and those that were refused or cannot be read, in its order."""

    def answer(row: ManifestRow) -> ScoredRecording | Problem:
        return _answer_or_problem(answering, row, lambda: (audio / row.path).read_bytes(), advance)

    with ThreadPoolExecutor(n_workers) as pool:
        answers = list(pool.map(answer, rows))
    scored = [found for found in answers if isinstance(found, ScoredRecording)]
    return scored, [found for found in answers if isinstance(found, Problem)]


def _answer_or_problem(
    answering: Answering, row: ManifestRow, read: Callable[[], bytes], advance: Advance
) -> ScoredRecording | Problem:
    try:
        return answer_recording(answering, row, read())
    except (TelepathyError, OSError) as error:
        return Problem(path=row.path, reason=str(error))
    except (ValueError, RuntimeError) as error:
        # A fault of ours rather than of the recording: named as such, and no reason to lose the others.
        return Problem(path=row.path, reason=f"unforeseen {type(error).__name__}: {error}")
    finally:
        advance(1)


def measure_robustness(
    answering: Answering,
    rows: Sequence[ManifestRow],
    audio: Path,
    *,
    protocol: str,
    n_recordings: int,
    seed: int,
    n_resamples: int,
    n_workers: int,
    advance: Advance,
    disturbances: Sequence[Disturbance] = DISTURBANCES,
) -> tuple[RobustnessScores, ...]:
    """Answers for a sample of the recordings, as they are and disturbed in each of the ways.

    Parameters
    ----------
    rows
        Recordings that could be answered.
    n_recordings
        Size of the sample, drawn evenly without regard to corpus or label.
    """
    generator = np.random.default_rng([seed, 1])
    sample = [rows[index] for index in np.sort(generator.permutation(len(rows))[:n_recordings])]
    if not sample:
        return ()
    limits = answering.limits
    talkers = [sample[index] for index in generator.permutation(len(sample))[:N_VOICES]]
    voices = [
        (row.speaker, _speech(decode((audio / row.path).read_bytes(), limits=limits).waveform)) for row in talkers
    ]

    def answer(task: tuple[Disturbance, ManifestRow]) -> ScoredRecording | Problem:
        disturbance, row = task

        def disturbed() -> bytes:
            waveform = _read(audio / row.path, limits)
            others = [voice for speaker, voice in voices if speaker != row.speaker] or [voice for _, voice in voices]
            chance = np.random.default_rng([seed, crc32(disturbance.name.encode()), crc32(row.path.encode())])
            return disturbance.disturb(waveform, others, chance)

        return _answer_or_problem(answering, row, disturbed, advance)

    scores = []
    with ThreadPoolExecutor(n_workers) as pool:
        clean: dict[str, ScoredRecording] = {}
        for disturbance in (CLEAN, *disturbances):
            answers = list(pool.map(answer, ((disturbance, row) for row in sample)))
            answered = {found.row.path: found for found in answers if isinstance(found, ScoredRecording)}
            clean = clean or answered
            scores.append(
                score_robustness(
                    disturbance.name,
                    disturbance.description,
                    clean,
                    answered,
                    n_refused=len(sample) - len(answered),
                    protocol=protocol,
                    known=answering.recogniser.card.emotions,
                    n_resamples=n_resamples,
                    seed=seed,
                )
            )
    return tuple(scores)


def _read(path: Path, limits: DecodeLimits) -> Waveform:
    return decode(path.read_bytes(), limits=limits).waveform


def _speech(waveform: Waveform) -> NDArray[np.float32]:
    start, end = speech_span(waveform)
    return waveform.samples[start:end]


def evaluate_model(
    answering: Answering,
    rows: Sequence[ManifestRow],
    audio: Path,
    *,
    manifest_name: str,
    part: str = "",
    votes: Path | None = None,
    n_robustness: int = 0,
    seed: int = 0,
    n_resamples: int = 1000,
    n_workers: int = 2,
    started: Callable[[int], None] = lambda n_answers: None,
    advance: Advance = lambda n_answers: None,
) -> tuple[Evaluation, list[ScoredRecording]]:
    """Everything `evaluate` measures, and the answers behind it.

    Parameters
    ----------
    rows
        The part of a manifest to score; `manifest_name` and `part` say of which.
    audio
        Folder that the rows' paths are relative to.
    votes
        CREMA-D's votes, where there are any.
    n_robustness
        Recordings to disturb, all where there are fewer; 0 measures no robustness.
    started, advance
        Told how many answers are to come, and how many have.
    """
    n_sampled = min(n_robustness, len(rows))
    started(len(rows) + n_sampled * (1 + len(DISTURBANCES)))
    scored, problems = answer_manifest(answering, rows, audio, n_workers=n_workers, advance=advance)
    card, settings = answering.recogniser.card, answering.settings
    protocol = (
        f"{part or 'all'} of {manifest_name}; served LiteRT model {card.version}, mean of {settings.n_passes} passes, "
        f"{len(card.emotions)} outputs; nothing was fitted to these recordings by this evaluation"
    )
    robustness = measure_robustness(
        answering,
        [recording.row for recording in scored],
        audio,
        protocol=protocol,
        n_recordings=n_sampled,
        seed=seed,
        n_resamples=n_resamples,
        n_workers=n_workers,
        advance=advance,
    )
    evaluation = summarise_answers(
        scored,
        protocol=protocol,
        known=card.emotions,
        model={
            "name": card.name,
            "version": card.version,
            "licence": card.licence,
            "is_commercial_use_allowed": card.is_commercial_use_allowed,
            "emotions": [str(emotion) for emotion in card.emotions],
            "size_bytes": card.size_bytes,
            "corpora_heard": None if answering.record.corpora is None else list(answering.record.corpora),
        },
        settings={
            "n_passes": settings.n_passes,
            "seed": settings.seed,
            "abstention_confidence": settings.abstention_confidence,
            "window_s": settings.window_s,
            "hop_s": settings.hop_s,
            "evaluation_seed": seed,
        },
        manifest={"name": manifest_name, "part": part, "sha256": manifest_sha256(rows), "n_rows": len(rows)},
        record=answering.record,
        votes=read_votes(votes) if votes else {},
        robustness=robustness,
        problems=problems,
        n_resamples=n_resamples,
        seed=seed,
    )
    return evaluation, scored


def write_predictions(path: Path, scored: Sequence[ScoredRecording]) -> None:
    """One row for each recording: label, answer, probabilities and doubt, to compare models clip by clip."""
    columns = ["path", "corpus", "speaker", "exposure", "label", "answer", *EMOTIONS]
    measures = ("plain_confidence", "predictive_entropy_nats", "expected_entropy_nats", "mutual_information_nats")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *measures, "is_abstained"])
        for one in scored:
            answer = EMOTIONS[int(np.argmax(one.probabilities))]
            writer.writerow(
                [one.row.path, one.row.corpus, one.row.speaker, one.exposure, one.row.emotion, answer]
                + [f"{probability:.6f}" for probability in one.probabilities]
                + [f"{getattr(one, measure):.6f}" for measure in measures]
                + [int(one.is_abstained)]
            )


# -- command line

console = Console()


def evaluate_command(
    manifest: Annotated[Path, typer.Option(help="Manifest of the recordings to score.")],
    audio: Annotated[Path, typer.Option(help="Folder that the manifest's paths are relative to.")],
    model: Annotated[str | None, typer.Option(help="Name of the model; the one that serves if not given.")] = None,
    split: Annotated[Path | None, typer.Option(help="Score only a part of the manifest: a split file.")] = None,
    part: Annotated[str, typer.Option(help="Which part of the split: training, validation or test.")] = "test",
    robustness: Annotated[
        int, typer.Option(min=0, help="Recordings to disturb, all where there are fewer; 0 measures no robustness.")
    ] = N_ROBUSTNESS,
    out_json: Annotated[Path | None, typer.Option("--json", help="Write everything as JSON.")] = None,
    out_html: Annotated[Path | None, typer.Option("--html", help="Write a report with plots.")] = None,
    out_predictions: Annotated[Path | None, typer.Option("--predictions", help="Write every answer as CSV.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of bootstrap, sample and disturbances.")] = 0,
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap resamples.")] = 1000,
    workers: Annotated[int, typer.Option(min=1, help="Recordings answered at the same time.")] = os.cpu_count() or 1,
) -> None:
    """Score a manifest through the served model: accuracy, calibration, doubt, robustness, all with their protocol."""
    try:
        settings = settings_of_this_machine()
        name = model or settings.model
        folder = find_model(settings.models_dir, name)
        answering = Answering(
            recogniser=Recogniser.open(folder, installed_dir=settings.installed_models_dir, n_interpreters=workers),
            settings=settings,
            record=read_training_record(folder),
        )
        rows, unread = read_manifest(manifest)
        chosen = part_name = ""
        if split is not None:
            rows, part_name = _part(rows, split, part)
            chosen = f"{part} part of {part_name}"
    except (TelepathyError, TrainingError) as error:
        _fail(str(error))
    if not rows:
        _fail(f"{manifest} holds no recording to score.")
    for wanted in (out_json, out_html, out_predictions):
        _require_writable(wanted)
    columns = (TextColumn("Answering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("")
        evaluation, scored = evaluate_model(
            answering,
            rows,
            audio,
            manifest_name=manifest.name,
            part=chosen,
            votes=manifest.parent / VOTES,
            n_robustness=robustness,
            seed=seed,
            n_resamples=resamples,
            n_workers=workers,
            started=lambda n_answers: progress.update(task, total=n_answers),
            advance=lambda n_answers: progress.advance(task, n_answers),
        )
    evaluation = dataclasses.replace(evaluation, problems=(*unread, *evaluation.problems))
    for problem in evaluation.problems:
        say(console, f"left out: {problem.path}: {problem.reason}", style="yellow")
    print_scores(evaluation, console)
    if not scored:
        _fail("No recording could be scored.")
    if out_json is not None:
        out_json.write_text(evaluation_to_json(evaluation), encoding="utf-8")
        say(console, f"Figures written to {out_json}")
    if out_html is not None:
        write_report(evaluation, out_html)
        say(console, f"Report written to {out_html}")
    if out_predictions is not None:
        write_predictions(out_predictions, scored)
        say(console, f"Answers written to {out_predictions}")


def models_command() -> None:
    """List the models there are: terms, size, whether they are installed, and their first score with its protocol."""
    table = Table("model", "licence", "commercial use", "MB", "installed", "first score", show_lines=True)
    settings = settings_of_this_machine()
    for card_file in sorted(settings.models_dir.glob("*/card.json")):
        try:
            card = read_card(card_file.parent, installed_dir=settings.installed_models_dir)
        except TelepathyError as problem:
            say(console, str(problem), style="yellow")
            continue
        table.add_row(
            card.version,
            card.licence,
            "allowed" if card.is_commercial_use_allowed else "not allowed",
            f"{card.size_bytes / 1e6:.1f}",
            "yes" if card.is_installed else f"no: {EncoderMissingError.command}",
            first_score(card_file.parent),
        )
    if not table.row_count:
        _fail("There is no model yet. Make one with `make model`.")
    console.print(table)


def cross_corpus_command(
    evaluations: Annotated[list[Path], typer.Argument(help="JSON files of `evaluate`, one for each model.")],
) -> None:
    """Set models that learnt from different corpora side by side: unweighted average recall by corpus."""
    try:
        read = [json.loads(path.read_text(encoding="utf-8")) for path in evaluations]
    except (OSError, ValueError) as error:
        _fail(f"An evaluation cannot be read: {error}.")
    for path, evaluation in zip(evaluations, read, strict=True):
        if not isinstance(evaluation, dict) or evaluation.get("schema") != SCHEMA:
            _fail(f"{path} is no evaluation of the kind {SCHEMA}; make it again with `evaluate --json`.")
    say(console, cross_corpus_matrix(read))
    console.print("UAR in percent among each corpus's own labels; * heard in training, ? not stated.", markup=False)


def card_command(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    docs: Annotated[Path, typer.Option(help="Folder for the page.")] = REPOSITORY / "docs" / "models",
) -> None:
    """Write the readable model card of MODEL from its card.json."""
    try:
        page = publish_model_card(find_model(settings_of_this_machine().models_dir, model), docs)
    except TelepathyError as error:
        _fail(str(error))
    say(console, f"Model card written to {page}")


def _require_writable(path: Path | None) -> None:
    """Find out before an hour of answers that they cannot be written."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        _fail(f"{path} cannot be written ({error.strerror}).")


def _part(rows: Sequence[ManifestRow], path: Path, part: str) -> tuple[list[ManifestRow], str]:
    split = read_split(path)
    if part not in ("training", "validation", "test"):
        _fail(f"There is no part {part!r} of a split, only training, validation and test.")
    wanted = set(getattr(split, part))
    return [row for row in rows if row.path in wanted], f"{split.name}, {split.protocol}"


def _fail(sentence: str) -> NoReturn:
    say(console, sentence, style="red")
    raise typer.Exit(1)
