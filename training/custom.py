"""A model of somebody's own data set and labels, with a card that says what it is worth.

Read top to bottom: clips are heard; a fit for each division of the protocol, the last of which ships; a temperature
from each fit's validation clips; scores, confusion and calibration from test clips that no fit of theirs heard; a
bundle that serving loads like any other. Each fit keeps a checkpoint after every round: killed, the same call goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.domain import Emotion, ModelCard
from core.evaluation.classification import unweighted_average_recall
from core.features.clip_stream import LabelledClip
from core.features.log_mel import N_MELS
from core.features.waveform import TARGET_SAMPLE_RATE_HZ
from core.inference.recogniser import Recogniser
from core.inference.registry import CARD, ENCODER, VERSION_DIGITS, read_card, weights_digest
from training.augment import Plan
from training.calibrate import fit_temperature, mean_probabilities
from training.custom_head import HeadLearner, hear
from training.custom_splits import Division, by_speakers, require_enough, stratified
from training.custom_splits import Protocol as JudgingProtocol
from training.errors import CustomTrainingError
from training.score_entry import score_entry
from training.whole_files import write_atomically

HEAD_ONLY = "head"
"""A new head on the encoder of a model that is at hand. Any other network begins with random weights."""
_HEARING, _SEEING = 0.7, 0.05
"""Share of the time that clips take until a head, or a network, begins to learn: 151 clips of 4 s, thirty rounds."""
Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomPlan:
    """How it learns; the defaults serve sets of some dozens to some thousands of clips."""

    network: str = HEAD_ONLY
    n_epochs: int = 30
    learning_rate: float = 1e-3
    protocol: JudgingProtocol = JudgingProtocol.STRATIFIED
    strengths: Mapping[str, float] | None = None
    """Of augmentations, by name; None for none."""
    seed: int = 0

    @property
    def augmentation(self) -> Plan:
        """Every augmentation that is on happens to half of the copies."""
        return Plan(strengths=dict(self.strengths or {}), seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomTraining:
    """What is asked for."""

    parent: Path
    """Folder of the model whose encoder hears."""
    into: Path
    """Folder of the new model; its name is the model's."""
    run: Path
    """Folder for checkpoints and embeddings; no sound."""
    author: str
    data_set: str
    """What its owner calls it, for the card."""
    plan: CustomPlan


class Fitted(Protocol):
    """A model that learnt, and what it says of the clips."""

    def logits(self, indices: NDArray[np.intp]) -> NDArray[np.float32]:
        """(n_clips, n_labels), with every unit kept."""

    def pass_logits(self, indices: NDArray[np.intp]) -> NDArray[np.float32]:
        """(n_passes, n_clips, n_labels), with dropout."""

    def write(self, folder: Path) -> dict[str, Any]:
        """Write both graphs; gives what the card has to say of them under `serving`."""


class Clips(Protocol):
    """The clips as a learner has them."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Of each."""

    @property
    def speakers(self) -> tuple[str, ...]:
        """Of each; empty where nobody says."""

    @property
    def duration_s(self) -> float:
        """Of all together."""

    def __len__(self) -> int:
        """How many."""


class Learner(Protocol):
    """What fits models to clips."""

    def fit(
        self, training: NDArray[np.intp], *, checkpoint: Path, after_round: Callable[[int, float, Any], None]
    ) -> Fitted:
        """A model that learnt from the clips `training`; `after_round` is told number, loss in nats and the model."""


def make_custom(
    asked: CustomTraining, clips: Iterable[LabelledClip], *, n_clips: int, tell: Tell = lambda said: None
) -> ModelCard:
    """Make the model; gives its card.

    Parameters
    ----------
    clips
        In an order that is the same each time, so that a call that was killed finds its embeddings again.
    n_clips
        How many come, to say how far it is.

    Raises
    ------
    CustomTrainingError
        There is too little to learn from or to judge by, there is no such network, or the model whose encoder is to
        hear has none of its own.
    """
    parent_card = read_card(asked.parent)
    if asked.plan.network == HEAD_ONLY and not (asked.parent / ENCODER).is_file():
        raise CustomTrainingError(f"{parent_card.name!r} has no encoder of its own to hear through")
    _begin_run(asked, parent_card)
    heard, learner_of = _meet(asked, iter(clips), n_clips=n_clips, tell=tell)
    require_enough(heard.labels, heard.speakers, asked.plan.protocol)
    classes = _in_order(heard.labels)
    labels = np.array([classes.index(label) for label in heard.labels])
    learner = learner_of(classes)
    divisions = divide(asked.plan, labels, heard.speakers)
    watcher = _Watcher(tell, asked, labels, n_fits=len(divisions))
    judged: list[tuple[NDArray[np.intp], NDArray[np.float64]]] = []
    fitted: Fitted | None = None
    temperature = 1.0
    for number, division in enumerate(divisions):
        watcher.begin(number, division)
        fitted = learner.fit(
            division.training, checkpoint=asked.run / f"fit-{number}.npz", after_round=watcher.after_round
        )
        temperature = fit_temperature(fitted.pass_logits(division.validation), labels[division.validation])
        if len(division.test):
            judged.append(
                (division.test, mean_probabilities(fitted.pass_logits(division.test), temperature=temperature))
            )
    assert fitted is not None
    tell({"event": "doing", "share": 0.98, "doing": "Writing the model"})
    card = _write_bundle(asked, parent_card, fitted, heard, classes, labels, judged, temperature, watcher.rounds)
    shutil.rmtree(asked.run, ignore_errors=True)
    tell({"event": "done", "share": 1.0, "name": card.name, "version": card.version})
    return card


def divide(plan: CustomPlan, labels: NDArray[np.int64], speakers: Sequence[str]) -> list[Division]:
    """The fits of a protocol; the last one ships."""
    if plan.protocol is JudgingProtocol.SPEAKERS:
        return by_speakers(labels, speakers, seed=plan.seed)
    return [stratified(labels, seed=plan.seed)]


def _meet(
    asked: CustomTraining, clips: Iterator[LabelledClip], *, n_clips: int, tell: Tell
) -> tuple[Clips, Callable[[tuple[str, ...]], Learner]]:
    """The clips as the network that was chosen has them, and what fits it to them once the labels are in order."""
    plan = asked.plan
    after_clip = _listening(n_clips, tell, plan)
    settings: dict[str, Any] = {
        "n_epochs": plan.n_epochs,
        "learning_rate": plan.learning_rate,
        "augmentation": plan.augmentation,
        "seed": plan.seed,
    }
    if plan.network == HEAD_ONLY:
        recogniser = Recogniser.open(asked.parent)
        cache = asked.run / "heard.npz"
        heard = hear(clips, recogniser, plan.augmentation, cache=cache, after_clip=after_clip)
        tell({"event": "doing", "share": _HEARING, "doing": "Begins to learn"})
        return heard, lambda classes: HeadLearner(heard, classes, parent=asked.parent, **settings)
    # Ten seconds and 1 GB of tensorflow, which a head does not need.
    from training.custom_network import NetworkLearner, see
    from training.networks import NETWORKS

    if plan.network not in NETWORKS:
        raise CustomTrainingError(f"there is no network {plan.network!r}, only {', '.join((HEAD_ONLY, *NETWORKS))}")
    seen = see(clips, plan.augmentation, after_clip=after_clip)
    tell({"event": "doing", "share": _SEEING, "doing": "Building the network"})
    return seen, lambda classes: NetworkLearner(seen, classes, network=plan.network, **settings)


def _hearing_share(plan: CustomPlan) -> float:
    return _HEARING if plan.network == HEAD_ONLY else _SEEING


def _listening(n_clips: int, tell: Tell, plan: CustomPlan) -> Callable[[int], None]:
    """Says how far listening is. It says little of how long a network takes, of which no time left is told."""
    began = time.monotonic()
    share = _hearing_share(plan)

    def after_clip(n_done: int) -> None:
        if n_done % 10 and n_done != n_clips:
            return
        done = share * n_done / max(n_clips, 1)
        left_s = (time.monotonic() - began) * (1 - done) / done
        left = {"seconds_left": round(left_s, 1)} if plan.network == HEAD_ONLY else {}
        tell(
            {
                "event": "doing",
                "share": round(done, 4),
                "doing": f"Listening to clip {n_done:,} of {n_clips:,}",
                **left,
            }
        )

    return after_clip


def _in_order(labels: Sequence[str]) -> tuple[str, ...]:
    """The eight emotions in their order, then others by name."""
    found = set(labels)
    eight = [emotion.value for emotion in Emotion if emotion.value in found]
    return (*eight, *sorted(found - set(eight)))


class _Watcher:
    """Says after each round how far all fits together are, and keeps the curve of the one that ships."""

    def __init__(self, tell: Tell, asked: CustomTraining, labels: NDArray[np.int64], *, n_fits: int) -> None:
        self._tell, self._labels, self._n_fits = tell, labels, n_fits
        self._n_epochs = asked.plan.n_epochs
        self._heard = _hearing_share(asked.plan)
        self._file = asked.run / "rounds.json"
        self._division: Division | None = None
        self._fit = 0
        self._began = time.monotonic()
        self._n_new = 0
        self.rounds: list[dict[str, float]] = json.loads(self._file.read_text()) if self._file.exists() else []

    def begin(self, fit: int, division: Division) -> None:
        self._fit, self._division = fit, division

    def after_round(self, number: int, loss_nats: float, fitted: Fitted) -> None:
        division = self._division
        assert division is not None
        found: dict[str, float] = {"round": number, "loss_nats": round(loss_nats, 4)}
        for name, part in (("training_uar", division.training), ("validation_uar", division.validation)):
            top = fitted.logits(part).argmax(axis=1)
            found[name] = round(unweighted_average_recall(self._labels[part], top), 4)
        is_last_fit = self._fit + 1 == self._n_fits
        if is_last_fit:
            self.rounds = [one for one in self.rounds if one["round"] < number] + [found]
            write_atomically(self._file, json.dumps(self.rounds))
        self._n_new += 1
        n_done = self._fit * self._n_epochs + number
        n_all = self._n_fits * self._n_epochs
        each_s = (time.monotonic() - self._began) / self._n_new
        doing = "Learning" if self._n_fits == 1 else f"Checking on other speakers, part {self._fit + 1}"
        self._tell(
            {
                "event": "round",
                "share": round(self._heard + (0.98 - self._heard) * n_done / n_all, 4),
                "doing": "Learning from all speakers" if is_last_fit and self._n_fits > 1 else doing,
                "seconds_left": round(each_s * (n_all - n_done), 1),
                "is_final_fit": is_last_fit,
                **found,
            }
        )


def _begin_run(asked: CustomTraining, parent: ModelCard) -> None:
    """Checkpoints of another request are of no use to this one; embeddings are, where the same model hears."""
    request = json.dumps({"parent": parent.version, "data_set": asked.data_set, **asdict(asked.plan)}, sort_keys=True)
    digest = hashlib.sha256(request.encode()).hexdigest()
    file = asked.run / "request.txt"
    if not file.exists() or file.read_text() != digest:
        shutil.rmtree(asked.run, ignore_errors=True)
        asked.run.mkdir(parents=True)
        write_atomically(file, digest)


_PROTOCOLS = {
    JudgingProtocol.STRATIFIED: (
        "Held-out clips",
        "a tenth of the clips, drawn within each label, that the model did not learn from; the same speakers may be in "
        "both parts, so that strangers are recognised less well",
    ),
    JudgingProtocol.SPEAKERS: (
        "Other speakers",
        "folds of speakers, each judged by a model of the same settings that never heard them; the model that ships "
        "learnt from all folds but the one that sets its temperature",
    ),
}


_FEW = 30
_HINT = ": a hint at best, whatever the interval says"


def _write_bundle(
    asked: CustomTraining,
    parent: ModelCard,
    fitted: Fitted,
    heard: Clips,
    classes: tuple[str, ...],
    labels: NDArray[np.int64],
    judged: Sequence[tuple[NDArray[np.intp], NDArray[np.float64]]],
    temperature: float,
    rounds: Sequence[Mapping[str, float]],
) -> ModelCard:
    """The card comes last: until it stands there is no model."""
    asked.into.mkdir(parents=True, exist_ok=True)
    serving = fitted.write(asked.into)
    tested = np.concatenate([indices for indices, _ in judged])
    probabilities = np.concatenate([each for _, each in judged])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    title, protocol = _PROTOCOLS[asked.plan.protocol]
    n_speakers = len({heard.speakers[index] for index in tested.tolist() if heard.speakers[index]})
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels[tested], probabilities.argmax(axis=1)), 1)
    parent_fields = json.loads((asked.parent / CARD).read_text(encoding="utf-8"))
    has_parent = asked.plan.network == HEAD_ONLY
    theirs = "whatever the clips of the data set allow"
    fields = {
        "name": asked.into.name,
        "version": f"{asked.into.name}-{weights_digest(asked.into)[:VERSION_DIGITS]}",
        "description": f"{', '.join(classes)}: learnt from {len(heard):,} clips of {asked.data_set}.",
        "emotions": list(classes),
        "licence": f"{parent.licence}; and {theirs}" if has_parent else theirs,
        "is_commercial_use_allowed": parent.is_commercial_use_allowed if has_parent else True,
        "created_at": now,
        "data": {
            "data_set": asked.data_set,
            "n_recordings": len(heard),
            "n_speakers": len({speaker for speaker in heard.speakers if speaker}),
            "duration_s": round(heard.duration_s, 1),
            "labels": dict(sorted(Counter(heard.labels).items())),
        },
        "protocol": (
            f"Heard through the encoder of {parent.version}."
            if has_parent
            else "Learnt from random weights and these clips alone."
        ),
        "scores": [
            score_entry(title, protocol, now, labels=labels[tested], probabilities=probabilities, n_speakers=n_speakers)
        ],
        "caveats": [
            f"{len(tested):,} clips were judged{_HINT if len(tested) < _FEW else ''}.",
            "A label is what somebody called a clip, not what anybody felt. Not for decisions about people.",
        ],
        "training": {
            "author": asked.author,
            "network": asked.plan.network,
            "parent": parent.version if has_parent else "",
            "protocol": asked.plan.protocol.value,
            "n_epochs": asked.plan.n_epochs,
            "learning_rate": asked.plan.learning_rate,
            "augmentations": dict(asked.plan.strengths or {}),
            "seed": asked.plan.seed,
            "rounds": list(rounds),
            "confusion": confusion.tolist(),
        },
        "serving": {
            "sample_rate_hz": TARGET_SAMPLE_RATE_HZ,
            "n_mels": N_MELS,
            "temperature": temperature,
            "max_context_s": parent_fields["serving"]["max_context_s"],
            **serving,
        },
    }
    write_atomically(asked.into / CARD, json.dumps(fields, indent=1) + "\n")
    return read_card(asked.into)
