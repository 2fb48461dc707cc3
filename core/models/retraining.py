"""Retraining as a durable job: hear the corrected recordings, start a child process that learns, watch it, tell.

The child (`python -m training retrain`) works at niceness 10 on one core, so that the process goes on serving. It keeps
a checkpoint after every round: when the process ends, the child ends with it, and the job goes on where it was.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from core.config import Settings
from core.domain import PROCESS, Caller, ConsensusLabel, Emotion, Job, JobState, Reader
from core.errors import (
    AudioError,
    InvalidParameterError,
    ModelNameTakenError,
    RetrainingFailedError,
    StoreError,
    UnknownRecordingError,
    UnknownUserError,
)
from core.evaluation.label_shares import label_shares
from core.inference.embedding import embed_recording
from core.jobs.runs import Lane
from core.models.child import doing_and_time_left, said_by
from core.models.versions import TrainingRound, read_rounds
from core.store.recordings import select_recording
from core.store.training_uses import insert_training_uses

if TYPE_CHECKING:
    from core.workbench import Workbench

FORGOTTEN = "forgotten_ids"
"""In a file of embeddings: recordings that were deleted after they were listened to."""
KIND = "retrain"
MIN_CORRECTIONS = 5
MAX_CORRECTIONS = 5_000
UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HEARING_S, _ROUND_S, _START_S = 0.05, 0.2, 5.0
"""Processor time of one recording, of one round of 1,024 replayed clips, and of the rest; measured on one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedRecording:
    """What people say of a recording that is kept here."""

    recording_id: UUID
    shares: Mapping[Emotion, float]
    """By emotion, above 0; whatever they sum to."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingPlan:
    """What somebody chooses; the defaults are those of `training.refit`."""

    n_epochs: int = 20
    learning_rate: float = 3e-4
    correction_share: float = 0.3


_BOUNDS = {"n_epochs": (1, 200), "learning_rate": (1e-6, 1e-2), "correction_share": (0.01, 0.99)}


_TITLES = ("Retraining ", "Training ")
"""What the titles of jobs begin with that make a model; its name follows."""


def register(workbench: Workbench) -> None:
    """Let `workbench.jobs` do retrainings. Before its start."""
    workbench.jobs.register(KIND, retrain, title="Retraining", lane=Lane.TRAINING)


def begin(
    workbench: Workbench,
    corrections: Sequence[CorrectedRecording],
    *,
    name: str,
    source: str,
    by: Caller,
    plan: RetrainingPlan | None = None,
) -> Job:
    """Have a new model called `name` made of the deployed one.

    Parameters
    ----------
    source
        Where the corrections come from, in words for the card.

    Raises
    ------
    ModelNameTakenError, InvalidParameterError
        The name is taken, or none; too few or too many corrections; the plan is out of place.
    RetrainingFailedError
        The deployed model cannot be retrained.
    JobsNotRunningError, StoreError
        It could not be begun.
    """
    plan = plan or RetrainingPlan()
    _require_plan(plan)
    by_id = {one.recording_id: one for one in corrections}
    if not MIN_CORRECTIONS <= len(by_id) <= MAX_CORRECTIONS:
        wanted = f"from {MIN_CORRECTIONS} to {MAX_CORRECTIONS:,} recordings"
        raise InvalidParameterError("corrections", f"{len(by_id)} recordings", wanted)
    parent = workbench.models.version(workbench.models.deployed)
    if not parent.can_be_retrained:
        raise RetrainingFailedError(f"{parent.card.name!r} has no encoder of its own; deploy one that has")
    require_name(workbench, name)
    return workbench.jobs.enqueue(
        KIND,
        owner=by.user.id,
        title=f"Retraining {name}",
        arguments={
            "name": name,
            "parent": parent.card.version,
            "source": source,
            "author": str(by.user.id),
            "sees_everything": by.reader.sees_everything,
            "user_id": str(by.user.id),
            "project_ids": sorted(map(str, by.reader.project_ids)),
            "corrections": [
                {
                    "recording_id": str(one.recording_id),
                    "shares": {emotion.value: share for emotion, share in one.shares.items()},
                    "weight": one.weight,
                }
                for one in by_id.values()
            ],
            "plan": {
                "n_epochs": plan.n_epochs,
                "learning_rate": plan.learning_rate,
                "correction_share": plan.correction_share,
            },
        },
    )


def _require_plan(plan: RetrainingPlan) -> None:
    """What `training.retrain_commands` takes: it would end without a word otherwise."""
    for name, (low, high) in _BOUNDS.items():
        value = getattr(plan, name)
        if not low <= value <= high:
            raise InvalidParameterError(name, f"{value:g}", f"from {low:g} to {high:g}")


def require_name(workbench: Workbench, name: str) -> None:
    """Raise unless a new model can be called `name`: ModelNameTakenError, InvalidParameterError."""
    if not _NAME.fullmatch(name) or len(name) > 40:
        raise InvalidParameterError("name", repr(name), "small letters, digits and hyphens, 40 at most")
    if name in taken_names(workbench):
        raise ModelNameTakenError(name)


def taken_names(workbench: Workbench) -> set[str]:
    """Names of the models that there are, and of those that are being made."""
    jobs = workbench.jobs.list_jobs(reader=PROCESS, states=UNFINISHED) if workbench.jobs.is_running else []
    names = {job.title.removeprefix(begin) for job in jobs for begin in _TITLES if job.title.startswith(begin)}
    return names | {version.card.name for version in workbench.models.list_versions()[0]}


def read_corrections(text: str) -> tuple[list[CorrectedRecording], list[str]]:
    """Rows of a CSV with `recording_id` and either `label` or a column for each emotion; and what is wrong with others.

    Raises
    ------
    InvalidParameterError
        It has no such columns.
    """
    reader = csv.DictReader(text.splitlines())
    columns = set(reader.fieldnames or ())
    if "recording_id" not in columns or not columns & {"label", *Emotion}:
        found = ", ".join(sorted(filter(None, columns))) or "none"
        raise InvalidParameterError("columns", found, "recording_id and label, or recording_id and emotions")
    rows: list[CorrectedRecording] = []
    problems: list[str] = []
    for number, record in enumerate(reader, start=1):
        said = record["recording_id"] or ""
        try:
            recording_id = UUID(said)
        except ValueError:
            problems.append(f"Row {number}: recording_id is {said!r}, not the id of a recording.")
            continue
        try:
            rows.append(CorrectedRecording(recording_id=recording_id, shares=label_shares(record)))
        except (ValueError, TypeError) as error:
            problems.append(f"Row {number}: {error}.")
    return rows, problems


def corrections_of(labels: Sequence[ConsensusLabel]) -> tuple[list[CorrectedRecording], int]:
    """What a model can learn of a labelling project's consensus, and of how many recordings it can learn nothing.

    Labels that are no emotion ("can't tell", ...) do not count; where nothing else was said, nothing is learnt.
    """
    found: list[CorrectedRecording] = []
    for label in labels:
        shares = {
            Emotion(name): share for name, share in label.probabilities.items() if share > 0 and name in set(Emotion)
        }
        if shares:
            found.append(CorrectedRecording(recording_id=label.recording_id, shares=shares))
    return found, len(labels) - len(found)


def estimate_s(n_corrections: int, plan: RetrainingPlan) -> float:
    """About how long a retraining takes on a machine that does little else."""
    return n_corrections * _HEARING_S + 6 * plan.n_epochs * _ROUND_S + _START_S


def curve(settings: Settings, name: str) -> tuple[TrainingRound, ...]:
    """The rounds so far of the retraining that makes the model called `name`."""
    return read_rounds(_run_folder(settings, name) / "rounds.json")


def retrain(
    workbench: Workbench,
    *,
    name: str,
    parent: str,
    source: str,
    author: str,
    sees_everything: bool,
    user_id: str,
    project_ids: Sequence[str],
    corrections: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
) -> str:
    """The job: the version that came of it. Called again from its beginning after a restart."""
    jobs = workbench.jobs
    reader = Reader(
        user_id=UUID(user_id), project_ids=frozenset(map(UUID, project_ids)), sees_everything=sees_everything
    )
    run = _run_folder(workbench.settings, name)
    said = hashlib.sha256(json.dumps([parent, *corrections], sort_keys=True).encode()).hexdigest()
    heard = run.with_name(f"{run.name}-{said[:12]}.npz")
    if not heard.exists():
        _hear(workbench, corrections, parent=parent, reader=reader, file=heard)
    author = name_of_author(workbench, author)
    learnt = _learn(workbench, heard, run, name=name, parent=parent, source=source, author=author, plan=plan)
    jobs.step("training uses", _note_uses, workbench, learnt, heard)
    jobs.step("audit", _audit, workbench, learnt, author, parent)
    heard.unlink(missing_ok=True)
    jobs.note(workbench.models.version(name).retrained.gate.sentence)  # type: ignore[union-attr]
    return learnt


def _hear(
    workbench: Workbench, corrections: Sequence[Mapping[str, Any]], *, parent: str, reader: Reader, file: Path
) -> None:
    """Embeddings of the recordings, as `training.corrections.load_corrections` reads them."""
    recogniser = workbench.recogniser(parent)
    embeddings, shares, weights, recording_ids = [], [], [], []
    for number, each in enumerate(corrections):
        doing = f"Listening to recording {number + 1:,} of {len(corrections):,}"
        workbench.jobs.tell(0.05 * number / len(corrections), doing)
        recording_id = UUID(each["recording_id"])
        try:
            recording = select_recording(workbench.store, recording_id=recording_id, reader=reader)
            if recording is None:
                raise UnknownRecordingError(recording_id)
            sound = workbench.recording_files.read(recording.sha256)
            embeddings.append(embed_recording(recogniser, sound, settings=workbench.settings))
        except (AudioError, UnknownRecordingError, StoreError) as error:
            workbench.jobs.note(f"Left out: {error}")
            continue
        total = sum(each["shares"].values())
        shares.append([each["shares"].get(emotion.value, 0.0) / total for emotion in Emotion])
        weights.append(each["weight"])
        recording_ids.append(str(recording_id))
    if len(embeddings) < MIN_CORRECTIONS:
        raise RetrainingFailedError(
            f"{len(embeddings)} of {len(corrections)} recordings could be heard, and {MIN_CORRECTIONS} are needed"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.part")
    with partial.open("wb") as opened:
        np.savez(
            opened,
            embeddings=np.stack(embeddings),
            shares=np.array(shares, np.float32),
            weights=np.array(weights, np.float32),
            speakers=np.array([""] * len(embeddings), np.str_),
            recording_ids=np.array(recording_ids, np.str_),
        )
    partial.replace(file)


def _learn(
    workbench: Workbench,
    heard: Path,
    run: Path,
    *,
    name: str,
    parent: str,
    source: str,
    author: str,
    plan: Mapping[str, Any],
) -> str:
    """Run the child until it is done; its version. Perhaps the child of a process that was killed has made it."""
    jobs, settings = workbench.jobs, workbench.settings
    folder = settings.installed_models_dir / name
    if (folder / "card.json").exists():
        return workbench.models.version(name).card.version
    command = [
        *(sys.executable, "-m", "training.retrain_commands", str(heard), "--json", "--name", name),
        *("--parent", str(workbench.models.folder(parent)), "--models", str(settings.installed_models_dir)),
        *("--run", str(run), "--author", author, "--source", source),
        *("--epochs", str(plan["n_epochs"]), "--learning-rate", str(plan["learning_rate"])),
        *("--correction-share", str(plan["correction_share"])),
    ]
    version, reason = "", "the program that learns ended without a word"
    with contextlib.closing(said_by(command, workbench)) as told:
        for said in told:
            if said["event"] == "failed":
                reason = str(said["reason"])
            elif said["event"] == "done":
                version = str(said["version"])
            else:
                jobs.tell(0.05 + 0.95 * said.get("share", 0.0), doing_and_time_left(said))
            if said.get("is_final_fit"):
                jobs.note(_sentence(said))
    if not version:
        raise RetrainingFailedError(reason)
    return version


def forget_recording(settings: Settings, recording_id: UUID) -> None:
    """Drop what a recording sounded like from the embeddings that retrainings keep until they end, but not that they
    may have learnt from it.

    Raises
    ------
    StoreError
        They cannot be read or written.
    """
    for heard in sorted((settings.data_dir / "retraining").glob("*.npz")):
        try:
            with np.load(heard) as kept:
                arrays = dict(kept)
            stays = arrays["recording_ids"] != str(recording_id)
            if stays.all():
                continue
            gone = [*arrays.pop(FORGOTTEN, np.array([], np.str_)), str(recording_id)]
            partial = heard.with_name(f"{heard.name}.part")
            with partial.open("wb") as opened:
                arrays = {name: array[stays] for name, array in arrays.items()}
                np.savez(opened, allow_pickle=False, **{FORGOTTEN: np.array(gone, np.str_)}, **arrays)
            partial.replace(heard)
        except FileNotFoundError:
            continue  # the retraining has ended
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"forgetting a recording in {heard.name}", str(error)) from error


def _note_uses(workbench: Workbench, version: str, heard: Path) -> None:
    with np.load(heard) as kept:
        names = [*kept["recording_ids"].tolist(), *(kept[FORGOTTEN].tolist() if FORGOTTEN in kept else [])]
    recording_ids = [UUID(each) for each in names]
    insert_training_uses(workbench.store, model_version=version, recording_ids=recording_ids)


def _audit(workbench: Workbench, version: str, author: str, parent: str) -> None:
    workbench.access.audit("model.retrain", version, None, parent=parent, author=author)


def name_of_author(workbench: Workbench, author: str) -> str:
    """The address of whoever asked, now; jobs know them by their id, which stays where they have left since."""
    with contextlib.suppress(ValueError, UnknownUserError):
        return workbench.access.user(UUID(author)).email
    return author


def _sentence(said: Mapping[str, Any]) -> str:
    uar = f", recall on validation speakers {said['validation_uar']:.1%}" if "validation_uar" in said else ""
    right = f"corrections right {said['corrections_accuracy']:.0%}"
    return f"Round {said['round']}: loss {said['loss_nats']:.3f} nats{uar}, {right}."


def _run_folder(settings: Settings, name: str) -> Path:
    return settings.data_dir / "retraining" / name
