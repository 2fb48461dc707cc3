"""Prosody of a stratified sample of recordings, measured once and kept: every new model is explained with the same.

Praat takes 67 ms for a second of speech, far longer than the model. So what was measured is kept recording by
recording in a CSV of the run folder: stopped or killed, measuring goes on where it was.
"""

from __future__ import annotations

import csv
import hashlib
import io
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path

import structlog

from core.config import settings_of_this_machine
from core.domain import Emotion
from core.errors import TelepathyError
from core.features import prosody as prosody_module
from core.features import speech as speech_module
from core.features.audio import decode
from core.features.prosody import Prosody, measure_speech_prosody
from core.features.waveform import DecodeLimits
from training.corpora import ManifestRow, Problem, read_manifest
from training.errors import SurrogateError
from training.progress import Progress
from training.whole_files import write_atomically

COUNTS = ("n_syllables", "n_pauses")
_FIELDS = tuple(field.name for field in fields(Prosody))


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePlan:
    """How many recordings each cell of corpus, sex and emotion gives at most."""

    n_per_cell: int = 40
    n_by_corpus: Mapping[str, int]
    """For corpora that give another number."""
    n_neutral: int = 150
    """Of every cell of neutral speech: references are made from these."""
    seed: int = 0

    def n(self, corpus: str, emotion: Emotion) -> int:
        """How many recordings of `emotion` the cells of `corpus` give."""
        usual = self.n_by_corpus.get(corpus, self.n_per_cell)
        return max(usual, self.n_neutral) if emotion is Emotion.NEUTRAL else usual


PLAN = SamplePlan(n_by_corpus={"CREMA-D": 120, "nEMO": 80})
"""CREMA-D gives more, since `telepathy-commercial` may learn from nothing else, and has 79 of the 113 speakers; nEMO
because its manifest does not name the sexes, so that its cells are twice as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRecording:
    """One recording of the sample and the prosody of its speech."""

    row: ManifestRow
    prosody: Prosody


def open_sample(manifest: Path, *, audio: Path, folder: Path, n_workers: int) -> list[MeasuredRecording]:
    """The sample of a manifest's recordings with their prosody, measured where it was not yet.

    Recordings that are refused are named in the log and left out.

    Raises
    ------
    ManifestError
        The manifest cannot be used.
    SurrogateError
        Not one recording could be measured.
    """
    rows, _ = read_manifest(manifest)
    measured, problems = measure_sample(draw_sample(rows, PLAN), audio=audio, folder=folder, n_workers=n_workers)
    log = structlog.get_logger("training")
    for problem in problems:
        log.warning("left out", path=problem.path, reason=problem.reason)
    if not measured:
        raise SurrogateError("not one recording could be measured")
    return measured


def draw_sample(rows: Sequence[ManifestRow], plan: SamplePlan) -> list[ManifestRow]:
    """The same recordings from the same rows, whatever their order: cell by cell, speakers taking turns.

    Which recordings of a speaker come first is drawn by hash, so that a larger plan holds all of a smaller one.
    """
    cells: defaultdict[tuple[str, str, Emotion], defaultdict[str, list[ManifestRow]]]
    cells = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: _lot(row.path, plan.seed)):
        cells[row.corpus, row.sex, row.emotion][row.speaker].append(row)
    drawn = []
    for corpus, sex, emotion in sorted(cells):
        by_speaker = cells[corpus, sex, emotion]
        speakers = sorted(by_speaker, key=lambda speaker: _lot(speaker, plan.seed))
        turns = max(map(len, by_speaker.values()))
        in_turn = [
            by_speaker[speaker][turn]
            for turn in range(turns)
            for speaker in speakers
            if turn < len(by_speaker[speaker])
        ]
        drawn += in_turn[: plan.n(corpus, emotion)]
    return drawn


def _lot(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def measuring_version() -> str:
    """Of what measures: Praat's version and the source of settings and trimming, as 12 hexadecimal digits."""
    digest = hashlib.sha256(version("praat-parselmouth").encode())
    for module in (prosody_module, speech_module):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:12]


def measure_sample(
    rows: Sequence[ManifestRow], *, audio: Path, folder: Path, n_workers: int
) -> tuple[list[MeasuredRecording], list[Problem]]:
    """Prosody of the speech in each recording, in the order of `rows`, and the recordings without one.

    Parameters
    ----------
    audio
        Folder that the rows' paths are relative to.
    folder
        Holds what was measured before and is given what is measured now.
    n_workers
        Processes that measure, each at low priority: threads gain nothing, Praat holds Python's lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"prosody-{measuring_version()}.csv"
    found = _read_kept(kept)
    missing = [row for row in rows if row.sha256_original not in found]
    problems: dict[str, str] = {}
    is_new = not kept.exists() or not kept.stat().st_size
    context = multiprocessing.get_context("spawn")
    with kept.open("a", encoding="utf-8", newline="") as file, Progress("measure prosody", len(missing)) as progress:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(["sha256_original", *_FIELDS])
        with ProcessPoolExecutor(n_workers, mp_context=context, initializer=os.nice, initargs=(5,)) as pool:
            limits = DecodeLimits.from_settings(settings_of_this_machine())
            paths = [audio / row.path for row in missing]
            for row, made in zip(missing, pool.map(partial(_measure, limits=limits), paths, chunksize=8), strict=True):
                if isinstance(made, Prosody):
                    found[row.sha256_original] = made
                    values = asdict(made).values()
                    writer.writerow([row.sha256_original, *("" if value is None else value for value in values)])
                    file.flush()
                else:
                    problems[row.path] = made
                progress.advance()
    measured = [
        MeasuredRecording(row=row, prosody=found[row.sha256_original]) for row in rows if row.path not in problems
    ]
    return measured, [Problem(path=path, reason=reason) for path, reason in problems.items()]


def _measure(path: Path, *, limits: DecodeLimits) -> Prosody | str:
    try:
        return measure_speech_prosody(decode(path.read_bytes(), limits=limits).waveform)
    except (TelepathyError, OSError) as error:
        return str(error)


def _read_kept(path: Path) -> dict[str, Prosody]:
    """What stands in `path`; a last line cut short by a kill is taken away, to be measured again."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_atomically(path, whole)
    return {
        record["sha256_original"]: Prosody(**{name: _value(name, record[name]) for name in _FIELDS})
        for record in csv.DictReader(io.StringIO(whole))
    }


def _value(name: str, text: str) -> float | int | None:
    if text == "":
        return None
    return int(text) if name in COUNTS else float(text)
