"""What the API says of data sets and of trainings from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Shape
from core.domain import MAX_LABEL_LENGTH, MAX_LABELS, Job
from core.models.custom import MAX_EPOCHS, CustomPlan
from core.models.data_sets import DataSetSummary
from core.models.versions import CustomRound

Name = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_LENGTH)]


class FileProblemShape(Shape):
    """A file that is left out."""

    file: str
    problem: str


class DataSetShape(Shape):
    """Clips with labels of one's own."""

    id: UUID
    name: str
    created_at: datetime
    n_clips: int = Field(description="That can be learnt from.")
    n_problems: int
    n_speakers: int = Field(description="0 where not every clip says its speaker.")
    duration_s: float
    labels: dict[str, int] = Field(description="How many clips have each label.")

    @staticmethod
    def of(summary: DataSetSummary) -> DataSetShape:
        return DataSetShape.model_validate(_said_of(summary))


class WholeDataSetShape(DataSetShape):
    """A data set with what is wrong with its files."""

    problems: list[FileProblemShape]

    @staticmethod
    def of(summary: DataSetSummary) -> WholeDataSetShape:
        problems = [FileProblemShape(file=clip.name, problem=clip.problem) for clip in summary.problems]
        return WholeDataSetShape.model_validate(_said_of(summary) | {"problems": problems})


def _said_of(summary: DataSetSummary) -> dict[str, object]:
    return {
        "id": summary.data_set.id,
        "name": summary.data_set.name,
        "created_at": summary.data_set.created_at,
        "n_clips": len(summary.good),
        "n_problems": len(summary.problems),
        "n_speakers": summary.n_speakers,
        "duration_s": round(sum(clip.duration_s for clip in summary.good), 3),
        "labels": summary.labels,
    }


class DataSetListShape(Shape):
    """One's data sets, the newest first."""

    items: list[DataSetShape]


DEFAULTS = CustomPlan()


class EstimateRequest(BaseModel):
    """What is to be learnt, and how."""

    model_config = ConfigDict(extra="forbid")

    data_set: UUID = Field(description="Id of one of your data sets.")
    labels: list[Name] = Field(default=[], max_length=MAX_LABELS, description="Which to learn; none for all.")
    network: str = Field(
        default=DEFAULTS.network,
        max_length=40,
        description="head: a new head on the encoder at hand. From random weights: bilstm, convolutional, transformer.",
    )
    n_epochs: int = Field(default=DEFAULTS.n_epochs, ge=1, le=MAX_EPOCHS, description="Rounds over the clips.")
    learning_rate: float = Field(default=DEFAULTS.learning_rate, ge=1e-6, le=0.1)
    protocol: Literal["stratified", "speakers"] = Field(
        default="stratified", description="Judged by a tenth of the clips, or by speakers it never heard."
    )
    augmentations: list[Annotated[str, Field(max_length=40)]] = Field(
        default=[], max_length=10, description="Disturbed copies to learn from: noise, room, gain, speed, ..."
    )
    seed: int = Field(default=DEFAULTS.seed, ge=0, le=2**31)

    def plan(self) -> CustomPlan:
        """As the core knows it."""
        return CustomPlan(
            network=self.network,
            n_epochs=self.n_epochs,
            learning_rate=self.learning_rate,
            protocol=self.protocol,
            augmentations=tuple(self.augmentations),
            seed=self.seed,
        )


class TrainingRequest(EstimateRequest):
    """A model to be made."""

    name: str = Field(min_length=1, max_length=40, description="Of the new model: small letters, digits and hyphens.")


class EstimateShape(Shape):
    """How long a training would take."""

    n_clips: int
    seconds: float = Field(description="On a machine that does little else; a guess.")
    obstacle: str = Field(description="What is missing for it; empty where nothing is.")


class CurvePointShape(Shape):
    """One round."""

    round: int
    loss_nats: float
    training_recall: float = Field(description="Mean recall of the clips it learns from.")
    validation_recall: float = Field(description="Of clips it does not.")

    @staticmethod
    def of(point: CustomRound) -> CurvePointShape:
        return CurvePointShape(
            round=point.number,
            loss_nats=point.loss_nats,
            training_recall=point.training_uar,
            validation_recall=point.validation_uar,
        )


class TrainingShape(Shape):
    """A training, and how far it is."""

    id: UUID
    name: str = Field(description="Of the model.")
    state: Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
    progress: float = Field(description="How much is done, from 0 to 1.")
    doing: str = Field(description="In words, with the time left.")
    error: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @staticmethod
    def of(job: Job) -> TrainingShape:
        return TrainingShape.model_validate(_said_of_job(job))


class WholeTrainingShape(TrainingShape):
    """A training with its curve so far and its log."""

    curve: list[CurvePointShape] = Field(description="Of the fit that ships; empty before it begins.")
    log: list[str]

    @staticmethod
    def of_job(job: Job, curve: tuple[CustomRound, ...]) -> WholeTrainingShape:
        points = [CurvePointShape.of(point) for point in curve]
        log = [line.sentence for line in job.log]
        return WholeTrainingShape.model_validate(_said_of_job(job) | {"curve": points, "log": log})


def _said_of_job(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "name": job.title.removeprefix("Training "),
        "state": job.state.value,
        "progress": job.progress,
        "doing": job.doing,
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


class TrainingListShape(Shape):
    """One's trainings, the newest first."""

    items: list[TrainingShape]
