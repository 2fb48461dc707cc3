"""What the API says of models: where they come from, what they are worth, which one answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas import Shape
from api.schemas_training import CurvePointShape
from core.domain import Label
from core.evaluation.gate import Comparison
from core.inference.model_scores import Measured, ModelScore
from core.models.models import Standing
from core.models.versions import CustomTrained, LearntCorpus, ModelVersion, Retrained, TrainingRound


class MeasuredShape(Shape):
    """A share with its 95 % interval; null where there is none."""

    value: float | None
    low: float | None
    high: float | None


class ModelScoreShape(Shape):
    """One judgement of a model."""

    title: str
    protocol: str
    n_recordings: int
    n_speakers: int = Field(description="0 where it is not known.")
    accuracy: MeasuredShape
    unweighted_average_recall: MeasuredShape

    @staticmethod
    def of(score: ModelScore) -> ModelScoreShape:
        return ModelScoreShape(
            title=score.title,
            protocol=score.protocol,
            n_recordings=score.n_recordings,
            n_speakers=score.n_speakers,
            accuracy=_measured(score.accuracy),
            unweighted_average_recall=_measured(score.unweighted_average_recall),
        )


class ComparisonShape(Shape):
    """Challenger less champion on the same clips; null where there were none."""

    n_clips: int
    champion: float | None
    challenger: float | None
    difference: MeasuredShape = Field(description="With its paired bootstrap interval, 95 %.")

    @staticmethod
    def of(comparison: Comparison) -> ComparisonShape:
        return ComparisonShape(
            n_clips=comparison.n_clips,
            champion=_number(comparison.champion),
            challenger=_number(comparison.challenger),
            difference=MeasuredShape(
                value=_number(comparison.difference), low=_number(comparison.low), high=_number(comparison.high)
            ),
        )


class RetrainingPointShape(Shape):
    """One round."""

    round: int
    loss_nats: float
    validation_recall: float | None = Field(description="Mean recall of speakers that it does not learn from.")
    corrections_accuracy: float = Field(description="Of the corrections that it learns from.")

    @staticmethod
    def of(point: TrainingRound) -> RetrainingPointShape:
        return RetrainingPointShape(
            round=point.number,
            loss_nats=point.loss_nats,
            validation_recall=point.validation_uar,
            corrections_accuracy=point.corrections_accuracy,
        )


class RetrainedShape(Shape):
    """How a model was made of another, and whether it may take its place."""

    parent: str = Field(description="Version it began from.")
    author: str
    source: str = Field(description="Where the corrections come from.")
    n_corrections: int
    is_gate_passed: bool
    gate: str = Field(description="The verdict in words.")
    test: ComparisonShape = Field(description="Unweighted average recall on speakers that it did not learn from.")
    corrections: ComparisonShape = Field(description="Accuracy on corrected clips, each held out in turn.")
    curve: list[RetrainingPointShape] = Field(description="Of the fit that ships.")

    @staticmethod
    def of(made: Retrained) -> RetrainedShape:
        return RetrainedShape(
            parent=made.parent,
            author=made.author,
            source=made.source,
            n_corrections=made.n_corrections,
            is_gate_passed=made.gate.is_passed,
            gate=made.gate.sentence,
            test=ComparisonShape.of(made.gate.test),
            corrections=ComparisonShape.of(made.gate.corrections),
            curve=[RetrainingPointShape.of(point) for point in made.rounds],
        )


class TrainedShape(Shape):
    """How a model was made of somebody's own data set."""

    author: str
    data_set: str
    network: str = Field(description="head: on the encoder of `parent`; all others from random weights.")
    parent: str = Field(description="Version whose encoder hears; empty where there is none.")
    protocol: str
    n_clips: int
    n_speakers: int = Field(description="0 where not every clip says its speaker.")
    n_epochs: int
    learning_rate: float
    augmentations: list[str]
    labels: dict[str, int] = Field(description="How many clips have each label.")
    curve: list[CurvePointShape] = Field(description="Of the fit that ships.")
    confusion: list[list[int]] = Field(
        description="Clips that were judged: their labels in rows, what it said in columns, in the order of `emotions`."
    )

    @staticmethod
    def of(made: CustomTrained) -> TrainedShape:
        return TrainedShape(
            author=made.author,
            data_set=made.data_set,
            network=made.network,
            parent=made.parent,
            protocol=made.protocol,
            n_clips=made.n_clips,
            n_speakers=made.n_speakers,
            n_epochs=made.n_epochs,
            learning_rate=made.learning_rate,
            augmentations=list(made.augmentations),
            labels=dict(made.labels),
            curve=[CurvePointShape.of(point) for point in made.rounds],
            confusion=[list(row) for row in made.confusion],
        )


def _measured(measured: Measured) -> MeasuredShape:
    return MeasuredShape(value=_number(measured.value), low=_number(measured.low), high=_number(measured.high))


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else value


class DeployRequest(Shape):
    """Why a model is deployed that the gate does not let pass."""

    reason: str = Field("", max_length=500, description="Kept in the audit log. Not needed where the gate was passed.")


class StandingShape(Shape):
    """Which model answers and which listens."""

    deployed: str
    before: list[str] = Field(description="Models to which one can roll back, the last one last.")
    shadow: str | None

    @staticmethod
    def of(standing: Standing) -> StandingShape:
        return StandingShape(deployed=standing.deployed, before=list(standing.before), shadow=standing.shadow)


class LearntCorpusShape(Shape):
    """A corpus that a model learnt from."""

    name: str
    n_recordings: int
    n_speakers: int
    hours: float
    licence: str

    @staticmethod
    def of(corpus: LearntCorpus) -> LearntCorpusShape:
        return LearntCorpusShape.model_validate(asdict(corpus))


class ModelShape(Shape):
    """What a model says of itself."""

    name: str = Field(description="To be given as `model`.")
    version: str = Field(description="Changes with the weights.")
    description: str
    emotions: list[Label]
    licence: str
    is_commercial_use_allowed: bool
    is_default: bool = Field(description="Whether it answers when a request names none.")
    is_installed: bool = Field(
        description="False while its encoder, which others publish, is missing: asking it answers `encoder_missing`."
    )
    size_bytes: int
    created_at: datetime
    n_deleted_training_recordings: int = Field(
        0, description="Recordings kept here that it learned from and that were deleted since."
    )
    state: Literal["deployed", "shadow", "available"] = Field(
        description="Whether it answers, listens silently, or does so only for requests that name it."
    )
    corpora: list[LearntCorpusShape] = Field(
        description="What it learnt from, itself or as the model it was made of, beside corrections and own data sets."
    )
    settings: dict[str, str] = Field(description="How it learnt, by the names of its card.")
    scores: list[ModelScoreShape] = Field(description="A score means nothing without its protocol.")
    retrained: RetrainedShape | None = Field(description="How it was made of another model; null where it was not.")
    trained: TrainedShape | None = Field(
        description="How it was made of somebody's own data set; null where it was not."
    )

    @staticmethod
    def of(
        version: ModelVersion,
        *,
        standing: Standing,
        scores: Sequence[ModelScore],
        n_deleted_training_recordings: int = 0,
    ) -> ModelShape:
        card = version.card
        is_deployed = card.name == standing.deployed
        return ModelShape(
            name=card.name,
            version=card.version,
            description=card.description,
            emotions=list(card.emotions),
            licence=card.licence,
            is_commercial_use_allowed=card.is_commercial_use_allowed,
            is_default=is_deployed,
            state="deployed" if is_deployed else "shadow" if card.name == standing.shadow else "available",
            corpora=[LearntCorpusShape.of(corpus) for corpus in version.corpora],
            settings=dict(version.settings),
            scores=[ModelScoreShape.of(score) for score in scores],
            retrained=None if version.retrained is None else RetrainedShape.of(version.retrained),
            trained=None if version.trained is None else TrainedShape.of(version.trained),
            is_installed=card.is_installed,
            size_bytes=card.size_bytes,
            created_at=card.created_at,
            n_deleted_training_recordings=n_deleted_training_recordings,
        )


class ModelListShape(Shape):
    """The models there are."""

    items: list[ModelShape]
