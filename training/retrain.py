"""Retraining: a new head for a model, from corrections, with a card that says what it is worth.

Read top to bottom: corrections and base sample in; for every fifth of the corrections a head that learns from the other
four, so that each correction is judged by a head that did not learn from it; one head that learns from all of them; a
temperature from validation speakers; the gate; a new bundle. The encoder stays as it is, and so does all that was
measured through it.

Each fit keeps a checkpoint after every round: killed at any moment, the same call goes on and writes the same weights.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.domain import Emotion, ModelCard
from core.evaluation.classification import accuracy, unweighted_average_recall
from core.evaluation.gate import Comparison, Gate, judge_challenger
from core.inference.registry import (
    CARD,
    ENCODER,
    HEAD,
    VERSION_DIGITS,
    ServingParameters,
    read_card,
    read_serving_parameters,
    weights_digest,
)
from training.base_sample import BASE, BaseSample, read_base_sample
from training.calibrate import fit_temperature, mean_probabilities
from training.corrections import Corrections
from training.errors import RetrainingError
from training.head_weights import HeadWeights, has_biases, logits_of, pass_logits, read_head, write_head
from training.refit import Examples, RefitPlan, Round, refit
from training.score_entry import score_entry
from training.whole_files import link_or_copy, write_atomically

MIN_CORRECTIONS = 5
N_FOLDS = 5
HEARD = "heard.csv"
Tell = Callable[[Mapping[str, Any]], None]
"""Told how far it is, as the command prints it: `event` and what belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """What is asked for."""

    parent: Path
    """Folder of the model to start from."""
    into: Path
    """Folder of the new model; its name is the model's."""
    run: Path
    """Folder for checkpoints."""
    author: str
    source: str
    """Where the corrections come from, in words for the card."""
    plan: RefitPlan


def retrain(asked: Retraining, corrections: Corrections, *, tell: Tell = lambda said: None) -> ModelCard:
    """Make the new model; gives its card.

    Raises
    ------
    RetrainingError
        The parent is another kind of network, or there are too few corrections.
    """
    parent_card, serving = read_card(asked.parent), read_serving_parameters(asked.parent)
    if not (asked.parent / ENCODER).is_file():
        raise RetrainingError(f"{parent_card.name!r} has no encoder of its own; only models that have can be")
    if len(corrections) < MIN_CORRECTIONS:
        raise RetrainingError(f"there are {len(corrections)} corrections, and at least {MIN_CORRECTIONS} are needed")
    if corrections.embeddings.shape[1] != serving.n_dims:
        raise RetrainingError("the corrections were heard by another encoder")
    parent = read_head(asked.parent / HEAD)
    plan = replace(asked.plan, dropout_rates=(serving.dropout_rates[0], serving.dropout_rates[1]))
    material = _Material.of(parent_card, corrections, read_base_sample(asked.parent))
    _begin_run(asked, parent_card, corrections, plan)
    watcher = _Watcher(tell, material, asked.run, n_fits=min(N_FOLDS, len(corrections)) + 1, plan=plan)
    unheard = _answers_out_of_fold(parent, material, plan, asked.run, watcher)
    fitted = refit(
        parent,
        material.corrections,
        material.replay,
        plan=plan,
        checkpoint=asked.run / "all.npz",
        after_round=watcher.after_round,
    )
    tell({"event": "doing", "share": 0.97, "doing": "Calibrating and comparing"})
    if not has_biases(asked.parent / HEAD):
        fitted = replace(fitted, hidden_bias=parent.hidden_bias, logits_bias=parent.logits_bias)
    asked.into.mkdir(parents=True, exist_ok=True)
    rounded = write_head(asked.parent / HEAD, fitted, asked.into / HEAD)
    temperature = _temperature(parent, rounded, material, serving)
    gate = _gate(parent, rounded, material, unheard)
    fields = _card_fields(asked, parent_card, serving, corrections, plan, temperature=temperature, gate=gate)
    fields["scores"] = _scores(rounded, temperature, material, unheard)
    fields["retraining"]["rounds"] = watcher.rounds
    card = _write_bundle(asked, fields, corrections)
    shutil.rmtree(asked.run, ignore_errors=True)
    tell({"event": "done", "share": 1.0, "name": card.name, "version": card.version, "is_passed": gate.is_passed})
    return card


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """All that is learnt from and judged on, with emotions in the order of the model's."""

    corrections: Examples
    labels: NDArray[np.int64]
    """Of the corrections: the emotion with the largest share."""
    replay: Examples
    validation: BaseSample
    test: BaseSample

    @classmethod
    def of(cls, card: ModelCard, corrections: Corrections, base: Mapping[str, BaseSample]) -> _Material:
        order = [list(Emotion).index(emotion) for emotion in card.emotions]
        shares = corrections.shares[:, order]
        if not (shares.sum(axis=1) > 0).all():
            raise RetrainingError(f"a correction says an emotion that {card.name!r} does not tell apart")
        shares = shares / shares.sum(axis=1, keepdims=True)
        place = np.full(len(Emotion), -1)
        place[order] = np.arange(len(order))
        known = {part: _with_emotions(sample, place) for part, sample in base.items()}
        replay = known["replay"]
        n_dims = corrections.embeddings.shape[1]
        return cls(
            corrections=Examples(
                embeddings=corrections.embeddings, targets=shares, importance=corrections.weights.astype(np.float32)
            ),
            labels=shares.argmax(axis=1).astype(np.int64),
            replay=Examples(
                embeddings=replay.embeddings if len(replay) else np.zeros((0, n_dims), np.float32),
                targets=np.eye(len(order), dtype=np.float32)[replay.emotions],
                importance=np.ones(len(replay), np.float32),
            ),
            validation=known["validation"],
            test=known["test"],
        )


def _with_emotions(sample: BaseSample, place: NDArray[np.intp]) -> BaseSample:
    emotions = place[sample.emotions]
    inside = emotions >= 0
    return BaseSample(
        embeddings=sample.embeddings[inside],
        emotions=emotions[inside].astype(np.int64),
        speakers=tuple(one for one, kept in zip(sample.speakers, inside, strict=True) if kept),
        corpora=tuple(one for one, kept in zip(sample.corpora, inside, strict=True) if kept),
    )


class _Watcher:
    """Says after each round how far all fits together are, and keeps the curve of the last one."""

    def __init__(self, tell: Tell, material: _Material, run: Path, *, n_fits: int, plan: RefitPlan) -> None:
        self._tell, self._material = tell, material
        self._file = run / "rounds.json"
        self._n_rounds = n_fits * plan.n_epochs
        self._n_done = 0
        self._spent_s, self._n_made = 0.0, 0
        """By rounds of this run; those before a restart took their time then."""
        self.rounds: list[dict[str, float]] = json.loads(self._file.read_text()) if self._file.exists() else []
        self.fit = 0
        """Number of the fit that runs; the last one learns from all corrections."""

    def begin(self, fit: int, n_rounds_each: int) -> None:
        self.fit, self._n_done = fit, fit * n_rounds_each

    def after_round(self, done: Round) -> None:
        self._n_done = self.fit * done.n_rounds + done.number
        self._spent_s, self._n_made = self._spent_s + done.seconds, self._n_made + 1
        validation = self._material.validation
        found: dict[str, float] = {"round": done.number, "loss_nats": round(done.loss_nats, 4)}
        if len(validation):
            top = logits_of(done.weights, validation.embeddings).argmax(axis=1)
            found["validation_uar"] = round(unweighted_average_recall(validation.emotions, top), 4)
        top = logits_of(done.weights, self._material.corrections.embeddings).argmax(axis=1)
        found["corrections_accuracy"] = round(accuracy(self._material.labels, top), 4)
        is_last_fit = (self.fit + 1) * done.n_rounds >= self._n_rounds
        if is_last_fit:
            self.rounds = [one for one in self.rounds if one["round"] < done.number] + [found]
            write_atomically(self._file, json.dumps(self.rounds))
        self._tell(
            {
                "event": "round",
                "share": round(0.95 * self._n_done / self._n_rounds, 4),
                "doing": "Learning from all corrections" if is_last_fit else f"Checking, part {self.fit + 1}",
                "seconds_left": round(self._spent_s / self._n_made * (self._n_rounds - self._n_done), 1),
                "is_final_fit": is_last_fit,
                **found,
            }
        )


def _begin_run(asked: Retraining, parent: ModelCard, corrections: Corrections, plan: RefitPlan) -> None:
    """Checkpoints of another request are of no use to this one."""
    request = json.dumps({"parent": parent.version, "corrections": corrections.sha256, **asdict(plan)}, sort_keys=True)
    digest = hashlib.sha256(request.encode()).hexdigest()
    file = asked.run / "request.txt"
    if not file.exists() or file.read_text() != digest:
        shutil.rmtree(asked.run, ignore_errors=True)
        asked.run.mkdir(parents=True)
        write_atomically(file, digest)


def _answers_out_of_fold(
    parent: HeadWeights, material: _Material, plan: RefitPlan, run: Path, watcher: _Watcher
) -> NDArray[np.float32]:
    """Logits (n_corrections, n_emotions), each from a head that did not learn from that correction."""
    n_clips = len(material.corrections)
    found = np.zeros((n_clips, parent.shape[2]), np.float32)
    for fit, (learnt, unheard) in enumerate(_folds(n_clips, plan.seed)):
        watcher.begin(fit, plan.n_epochs)
        weights = refit(
            parent,
            material.corrections.at(learnt),
            material.replay,
            plan=plan,
            checkpoint=run / f"fold-{fit}.npz",
            after_round=watcher.after_round,
        )
        found[unheard] = logits_of(weights, material.corrections.embeddings[unheard])
    watcher.begin(min(N_FOLDS, n_clips), plan.n_epochs)
    return found


def _folds(n_clips: int, seed: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    order = np.random.default_rng([seed, 5]).permutation(n_clips)
    for unheard in np.array_split(order, min(N_FOLDS, n_clips)):
        yield np.setdiff1d(order, unheard), unheard


def _temperature(parent: HeadWeights, fitted: HeadWeights, material: _Material, serving: ServingParameters) -> float:
    """The parent's temperature times what the fit changed on validation speakers.

    The parent learnt from those speakers too, so that a temperature of theirs alone would be too low: only the ratio
    of both is used.
    """
    sample = material.validation
    if not len(sample):
        return serving.temperature
    rates = (serving.dropout_rates[0], serving.dropout_rates[1])
    before, after = (
        fit_temperature(pass_logits(weights, sample.embeddings, dropout_rates=rates), sample.emotions)
        for weights in (parent, fitted)
    )
    return float(np.clip(serving.temperature * after / before, 0.2, 5.0))


def _gate(parent: HeadWeights, fitted: HeadWeights, material: _Material, unheard: NDArray[np.float32]) -> Gate:
    test = material.test
    embeddings = test.embeddings if len(test) else np.zeros((0, parent.shape[0]), np.float32)
    return judge_challenger(
        test_labels=test.emotions,
        champion_on_test=logits_of(parent, embeddings).argmax(axis=1),
        challenger_on_test=logits_of(fitted, embeddings).argmax(axis=1),
        corrected_labels=material.labels,
        champion_on_corrections=logits_of(parent, material.corrections.embeddings).argmax(axis=1),
        challenger_on_corrections=unheard.argmax(axis=1),
    )


def _scores(
    fitted: HeadWeights, temperature: float, material: _Material, unheard: NDArray[np.float32]
) -> list[dict[str, Any]]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = []
    test = material.test
    if len(test):
        probabilities = mean_probabilities(logits_of(fitted, test.embeddings)[None], temperature=temperature)
        found.append(
            score_entry(
                "Base test speakers",
                "speakers the retraining did not learn from; the model it began from did, so the figure is no forecast "
                "for strangers, only its change counts",
                now,
                labels=test.emotions,
                probabilities=probabilities,
                n_speakers=len(set(test.speakers)),
            )
        )
    found.append(
        score_entry(
            "Corrections",
            "five folds of the corrected clips, each judged by a head that did not learn from it; same speakers",
            now,
            labels=material.labels,
            probabilities=mean_probabilities(unheard[None], temperature=temperature),
            n_speakers=0,
        )
    )
    return found


def _card_fields(
    asked: Retraining,
    parent: ModelCard,
    serving: ServingParameters,
    corrections: Corrections,
    plan: RefitPlan,
    *,
    temperature: float,
    gate: Gate,
) -> dict[str, Any]:
    fields = json.loads((asked.parent / CARD).read_text(encoding="utf-8"))
    speakers = sorted({speaker for speaker in corrections.speakers if speaker})
    fields["data"] = {
        **fields.get("data", {}),
        "corrections": {
            "n_recordings": len(corrections),
            "n_speakers": len(speakers),
            "sha256": corrections.sha256,
            "source": asked.source,
        },
    }
    fields |= {
        "name": asked.into.name,
        "version": f"{asked.into.name}-{_digest_of(asked)[:VERSION_DIGITS]}",
        "description": f"{parent.name} with a head that also learnt from {len(corrections)} corrections.",
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": (
            "The encoder is the parent's. The corrections were judged in five folds; the base test speakers were not "
            "learnt from in the retraining."
        ),
        "number_formats": [],
        "serving": {**fields["serving"], "temperature": temperature},
        "retraining": {
            "parent": parent.version,
            "parent_name": parent.name,
            "author": asked.author,
            "plan": asdict(plan),
            "parent_temperature": serving.temperature,
            "gate": {"test": _as_fields(gate.test), "corrections": _as_fields(gate.corrections)},
        },
    }
    return fields


def _as_fields(comparison: Comparison) -> dict[str, float | None]:
    """JSON knows no NaN: where nothing could be compared stands null."""
    return {
        name: None if value != value else round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(comparison).items()
    }


def _digest_of(asked: Retraining) -> str:
    """Digest of the bundle as it will be: the parent's encoder, the new head."""
    link_or_copy(asked.parent / ENCODER, asked.into / ENCODER)
    return weights_digest(asked.into)


def _write_bundle(asked: Retraining, fields: Mapping[str, Any], corrections: Corrections) -> ModelCard:
    """The card comes last: until it stands there is no model."""
    for name in (BASE, HEARD):
        if (asked.parent / name).is_file():
            link_or_copy(asked.parent / name, asked.into / name)
    write_atomically(asked.into / CARD, json.dumps(fields, indent=1) + "\n")
    return read_card(asked.into)
