"""A model of somebody's own as a durable job: a child process hears the clips of a data set and learns from them.

The child (`python -m training custom`) works at niceness 10 on one core, so that the process goes on serving. Clips are
decoded here and go to it through a pipe: no sound leaves the (encrypted) store for a disk. It keeps a checkpoint after
every round: when the process ends, the child ends with it, and the job goes on where it was.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

from core.config import Settings
from core.domain import Caller, DataSetClip, Job, Reader
from core.errors import CustomTrainingFailedError, InvalidParameterError, StoreError
from core.features.clip_stream import end_clips, write_clip
from core.jobs.runs import Lane
from core.models.child import doing_and_time_left, said_by
from core.models.data_sets import DataSetSummary
from core.models.retraining import name_of_author, require_name
from core.models.versions import HEAD_ONLY, CustomRound, read_custom_rounds

if TYPE_CHECKING:
    from core.workbench import Workbench

KIND = "train"
MIN_PER_LABEL = 5
MIN_SPEAKERS = 3
MAX_EPOCHS = 500
STRATIFIED, SPEAKERS = "stratified", "speakers"
PROTOCOLS = (STRATIFIED, SPEAKERS)
HEAD = HEAD_ONLY
BILSTM, CONVOLUTIONAL, TRANSFORMER = "bilstm", "convolutional", "transformer"
NETWORKS = (HEAD, BILSTM, CONVOLUTIONAL, TRANSFORMER)
"""All but the head begin with random weights, and learn what to hear from the clips as well."""
AUGMENTATIONS = ("speed", "room", "noise", "gain", "telephone", "spec_augment", "mixup")
STRENGTH = 0.5
"""Of each augmentation that is chosen."""
N_FITS_BY_SPEAKERS = 6
_START_S, _CLIP_S, _SOUND_SHARE, _COPIES = 6.0, 0.01, 0.02, 2
_STEP_S = 0.004
"""Processor time: of the start, of one clip and of each second of it heard once, of one step over 32 clips."""
_NETWORK_START_S, _NETWORK_CLIP_S = 12.0, 0.003
"""Processor time of a network's start, tensorflow included, and of one clip that it is shown."""
_FIT_S = {BILSTM: 18.0, CONVOLUTIONAL: 10.0, TRANSFORMER: 13.0}
_ROUND_S = {BILSTM: 0.0049, CONVOLUTIONAL: 0.0050, TRANSFORMER: 0.0048}
"""Of one fit whatever its length, and of one round for each second of sound: measured on 64 clips of 3 s, one core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomPlan:
    """What somebody chooses; the defaults are those of `training.custom`."""

    network: str = HEAD
    n_epochs: int = 30
    learning_rate: float = 1e-3
    protocol: str = STRATIFIED
    augmentations: tuple[str, ...] = ()
    seed: int = 0


def register(workbench: Workbench) -> None:
    """Let `workbench.jobs` make such models. Before its start."""
    workbench.jobs.register(KIND, train, title="Training", lane=Lane.TRAINING)


def begin(
    workbench: Workbench,
    data_set_id: UUID,
    *,
    name: str,
    by: Caller,
    labels: Sequence[str] = (),
    plan: CustomPlan | None = None,
) -> Job:
    """Have a model called `name` made of a data set.

    Parameters
    ----------
    labels
        Which to learn; none for all.

    Raises
    ------
    UnknownDataSetError
        There is no such data set of theirs.
    ModelNameTakenError, InvalidParameterError
        The name is taken, or none; a setting is out of place.
    CustomTrainingFailedError
        There is too little to learn from, or a head is wanted and the deployed model has no encoder for it.
    JobsNotRunningError, StoreError
        It could not be begun.
    """
    plan = plan or CustomPlan()
    require_plan(plan)
    summary = workbench.data_sets.data_set(data_set_id, reader=by.reader)
    obstacle = obstacle_of(chosen_clips(summary, labels), plan)
    if obstacle:
        raise CustomTrainingFailedError(obstacle)
    parent = workbench.models.version(workbench.models.deployed)
    if plan.network == HEAD and not parent.has_own_encoder:
        raise CustomTrainingFailedError(
            f"{parent.card.name!r} has no encoder that another head can be put on; deploy a model that has, or choose "
            "another network"
        )
    require_name(workbench, name)
    return workbench.jobs.enqueue(
        KIND,
        owner=by.user.id,
        title=f"Training {name}",
        arguments={
            "name": name,
            "parent": parent.card.version,
            "data_set_id": str(data_set_id),
            "data_set": summary.data_set.name,
            "labels": list(labels),
            "author": str(by.user.id),
            "user_id": str(by.user.id),
            "sees_everything": by.reader.sees_everything,
            "plan": asdict(plan) | {"augmentations": list(plan.augmentations)},
        },
    )


def chosen_clips(summary: DataSetSummary, labels: Sequence[str]) -> list[DataSetClip]:
    """The good clips of a set that have one of `labels`, of none of them all. Raises InvalidParameterError."""
    unknown = [label for label in labels if label not in summary.labels]
    if unknown:
        raise InvalidParameterError("labels", repr(unknown[0]), f"labels of the data set: {', '.join(summary.labels)}")
    return [clip for clip in summary.good if not labels or clip.label in labels]


def require_plan(plan: CustomPlan) -> None:
    """Raise InvalidParameterError for a setting that is out of place."""
    if plan.network not in NETWORKS:
        raise InvalidParameterError("network", repr(plan.network), f"one of {', '.join(NETWORKS)}")
    if plan.protocol not in PROTOCOLS:
        raise InvalidParameterError("protocol", repr(plan.protocol), f"one of {', '.join(PROTOCOLS)}")
    if not 1 <= plan.n_epochs <= MAX_EPOCHS:
        raise InvalidParameterError("n_epochs", str(plan.n_epochs), f"a whole number from 1 to {MAX_EPOCHS}")
    if not 1e-6 <= plan.learning_rate <= 0.1:
        raise InvalidParameterError("learning_rate", f"{plan.learning_rate:g}", "a number from 0.000001 to 0.1")
    for name in plan.augmentations:
        if name not in AUGMENTATIONS:
            raise InvalidParameterError("augmentations", repr(name), f"some of {', '.join(AUGMENTATIONS)}")


def obstacle_of(clips: Sequence[DataSetClip], plan: CustomPlan) -> str:
    """What is missing for a model of these clips; empty where nothing is."""
    counts = Counter(clip.label for clip in clips)
    if len(counts) < 2:
        return f"there are clips of {len(counts)} label{'' if len(counts) == 1 else 's'}, and at least two are needed"
    label, n_least = min(counts.items(), key=lambda pair: (pair[1], pair[0]))
    if n_least < MIN_PER_LABEL:
        return f"the label {label!r} has {n_least} clips, and at least {MIN_PER_LABEL} are needed"
    if plan.protocol == SPEAKERS:
        speakers = {clip.speaker for clip in clips}
        if "" in speakers:
            return "not every clip says its speaker, so that none can be kept apart"
        if len(speakers) < MIN_SPEAKERS:
            return f"there are {len(speakers)} speakers, and at least {MIN_SPEAKERS} are needed to keep them apart"
    return ""


def estimate_s(clips: Sequence[DataSetClip], plan: CustomPlan) -> float:
    """About how long it takes on a machine that does little else."""
    n_copies = _COPIES if set(plan.augmentations) - {"mixup"} else 0
    sound_s = sum(clip.duration_s for clip in clips)
    if plan.network != HEAD:
        n_fits = N_FITS_BY_SPEAKERS if plan.protocol == SPEAKERS else 1
        rounds_s = plan.n_epochs * sound_s * _ROUND_S[plan.network]
        seeing_s = (1 + n_copies) * (_NETWORK_CLIP_S * len(clips) + _SOUND_SHARE * sound_s * (n_copies > 0))
        return _NETWORK_START_S + seeing_s + n_fits * (_FIT_S[plan.network] + rounds_s)
    hearing = (1 + n_copies) * (_CLIP_S * len(clips) + _SOUND_SHARE * sound_s)
    n_examples = len(clips) * (1 + n_copies) * (2 if "mixup" in plan.augmentations else 1)
    n_steps = plan.n_epochs * max(1, n_examples // 32) * (N_FITS_BY_SPEAKERS if plan.protocol == SPEAKERS else 1)
    return _START_S + hearing + n_steps * _STEP_S


def curve(settings: Settings, name: str) -> tuple[CustomRound, ...]:
    """The rounds so far of the training that makes the model called `name`."""
    for folder in sorted(_runs(settings).glob(f"{'?' * 32}-{name}")):
        if rounds := read_custom_rounds(folder / "rounds.json"):
            return rounds
    return ()


def forget_data_set(settings: Settings, data_set_id: UUID) -> None:
    """Delete what trainings from a data set keep until they end: embeddings and checkpoints. Raises StoreError."""
    for folder in sorted(_runs(settings).glob(f"{data_set_id.hex}-*")):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # the training has ended
        except OSError as error:
            raise StoreError("forgetting a data set", str(error)) from error


def train(
    workbench: Workbench,
    name: str,
    parent: str,
    data_set_id: str,
    data_set: str,
    labels: Sequence[str],
    author: str,
    user_id: str,
    sees_everything: bool,
    plan: Mapping[str, Any],
) -> str:
    """The job; gives the new version."""
    jobs = workbench.jobs
    author = name_of_author(workbench, author)
    reader = Reader(user_id=UUID(user_id), sees_everything=sees_everything)
    made = _learn(
        workbench,
        name=name,
        parent=parent,
        data_set_id=UUID(data_set_id),
        data_set=data_set,
        labels=labels,
        author=author,
        reader=reader,
        plan=plan,
    )
    jobs.step("audit", _audit, workbench, made, author, data_set)
    return made


def _learn(
    workbench: Workbench,
    *,
    name: str,
    parent: str,
    data_set_id: UUID,
    data_set: str,
    labels: Sequence[str],
    author: str,
    reader: Reader,
    plan: Mapping[str, Any],
) -> str:
    """Run the child until it is done; its version. Perhaps the child of a process that was killed has made it."""
    jobs, settings = workbench.jobs, workbench.settings
    folder = settings.installed_models_dir / name
    if (folder / "card.json").exists():
        return workbench.models.version(name).card.version
    summary = workbench.data_sets.data_set(data_set_id, reader=reader)
    clips = chosen_clips(summary, labels)
    run = _runs(settings) / f"{data_set_id.hex}-{name}"
    run.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "training.custom_commands", "-", "--json", "--name", name),
        *("--parent", str(workbench.models.folder(parent)), "--models", str(settings.installed_models_dir)),
        *("--run", str(run), "--author", author, "--data-set", data_set, "--n-clips", str(len(clips))),
        *("--network", str(plan["network"]), "--epochs", str(plan["n_epochs"])),
        *("--learning-rate", str(plan["learning_rate"]), "--protocol", str(plan["protocol"])),
        *("--augment", ",".join(f"{each}={STRENGTH}" for each in plan["augmentations"]), "--seed", str(plan["seed"])),
    ]

    def feed(stream: BinaryIO) -> None:
        for clip in workbench.data_sets.labelled_clips(summary, clips):
            write_clip(stream, clip)
        end_clips(stream)

    version, reason = "", "the program that learns ended without a word"
    with contextlib.closing(said_by(command, workbench, feed=feed)) as told:
        for said in told:
            if said["event"] == "failed":
                reason = str(said["reason"])
            elif said["event"] == "done":
                version = str(said["version"])
            else:
                jobs.tell(said.get("share", 0.0), doing_and_time_left(said))
            if said.get("is_final_fit"):
                jobs.note(_sentence(said))
    if not version:
        raise CustomTrainingFailedError(reason)
    return version


def _audit(workbench: Workbench, version: str, author: str, data_set: str) -> None:
    workbench.access.audit("model.train", version, None, data_set=data_set, author=author)


def _sentence(said: Mapping[str, Any]) -> str:
    return (
        f"Round {said['round']}: loss {said['loss_nats']:.3f} nats, mean recall {said['training_uar']:.0%} of what it "
        f"learns from, {said['validation_uar']:.0%} of what it does not."
    )


def _runs(settings: Settings) -> Path:
    return settings.data_dir / "training"
