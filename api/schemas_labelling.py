"""What the API takes and sends about labelling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Shape
from core.domain import Caller, LabellingSettings, QueueKind, RatedSegment, Rating, RatingFlag
from core.labelling.agreement import Agreement
from core.labelling.exchange import Import
from core.labelling.labelling import MAX_GIVEN, ClipPlaces, Handout, Queue, ReviewClip, Task
from core.labelling.rules import MAX_INSTRUCTIONS, MAX_LABELS, MAX_OVERLAP, MAX_SEGMENTS
from core.labelling.state import Guess, NotGiven, Progress

LONGEST_S = 1e6
MAX_GOLD = 10_000
MAX_ANNOTATORS = 1000


MAX_PROBLEMS_TOLD = 200
"""Of a file; who gets more has sent the wrong file."""


class SegmentShape(BaseModel):
    """A stretch of the recording with a label of its own."""

    model_config = ConfigDict(extra="forbid")

    start: float = Field(ge=0, le=LONGEST_S, description="In seconds.")
    end: float = Field(ge=0, le=LONGEST_S, description="In seconds.")
    label: str


class RatingShape(BaseModel):
    """What was heard: one of `label`, `flag` or `segments`, and what may be said besides."""

    model_config = ConfigDict(extra="forbid")

    label: str | None = None
    flag: RatingFlag | None = None
    segments: list[SegmentShape] = Field(default=[], max_length=MAX_SEGMENTS)
    second: str | None = Field(default=None, description="What else was heard.")
    intensity: int | None = Field(default=None, ge=1, le=3)
    note: str = ""

    @classmethod
    def of(cls, rating: Rating) -> Self:
        """A kept rating as it was sent."""
        return cls(
            label=rating.label,
            flag=rating.flag,
            segments=[SegmentShape(start=each.start_s, end=each.end_s, label=each.label) for each in rating.segments],
            second=rating.second,
            intensity=rating.intensity,
            note=rating.note,
        )


class ActionRequest(BaseModel):
    """Something done with a clip."""

    model_config = ConfigDict(extra="forbid")

    id: UUID = Field(description="Made by you: the same one sent again counts once.")
    assignment_id: UUID


class RatingRequest(ActionRequest):
    """A rating of a clip."""

    rating: RatingShape
    spent_s: float = Field(default=0.0, ge=0, le=LONGEST_S, description="From the clip's first showing to the label.")

    def rating_of(self, project_id: UUID, caller: Caller) -> Rating:
        """The rating of `caller`; which recording it is about, the assignment says."""
        return Rating(
            id=self.id,
            project_id=project_id,
            recording_id=self.assignment_id,
            annotator_id=caller.user.id,
            label=self.rating.label,
            second=self.rating.second,
            intensity=self.rating.intensity,
            flag=self.rating.flag,
            note=self.rating.note,
            segments=tuple(
                RatedSegment(start_s=each.start, end_s=each.end, label=each.label) for each in self.rating.segments
            ),
            spent_s=self.spent_s,
            rated_at=datetime.now(UTC),
        )


class GuessShape(Shape):
    """The model's answer."""

    label: str
    confidence: float

    @classmethod
    def of(cls, guess: Guess | None) -> Self | None:
        """None for none."""
        return None if guess is None else cls(label=guess.label, confidence=guess.confidence)


class ProgressShape(Shape):
    """How far an annotator is."""

    n_done: int
    n_total: int

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """The same figures."""
        return cls(n_done=progress.n_done, n_total=progress.n_total)


class TaskShape(Shape):
    """A clip to label, or labelled."""

    id: UUID = Field(description="Of the assignment; send it with the rating.")
    recording_id: UUID
    name: str
    start_s: float
    end_s: float
    recording_duration_s: float
    guess: GuessShape | None = Field(description="The model's answer; null in blind mode until the clip is rated.")
    rating: RatingShape | None

    @classmethod
    def of(cls, task: Task) -> Self:
        """The whole recording is the clip."""
        return cls(
            id=task.assignment.id,
            recording_id=task.recording.id,
            name=task.recording.name,
            start_s=0.0,
            end_s=task.recording.duration_s,
            recording_duration_s=task.recording.duration_s,
            guess=GuessShape.of(task.guess),
            rating=None if task.rating is None else RatingShape.of(task.rating),
        )


class QueueShape(Shape):
    """What an annotator has before them."""

    clips: list[TaskShape]
    recent: list[TaskShape] = Field(description="What you rated last, oldest first.")
    progress: ProgressShape

    @classmethod
    def of(cls, queue: Queue) -> Self:
        """In the same order."""
        return cls(
            clips=[TaskShape.of(task) for task in queue.tasks],
            recent=[TaskShape.of(task) for task in queue.recent],
            progress=ProgressShape.of(queue.progress),
        )


class DoneShape(Shape):
    """What was sent is kept."""

    progress: ProgressShape
    guess: GuessShape | None = Field(default=None, description="The model's answer, now that you gave yours.")

    @classmethod
    def of(cls, progress: Progress, guess: Guess | None = None) -> Self:
        """The state after it."""
        return cls(progress=ProgressShape.of(progress), guess=GuessShape.of(guess))


class LabellingSettingsShape(BaseModel):
    """How the clips of a project are labelled."""

    model_config = ConfigDict(extra="forbid")

    labels: list[str] = Field(min_length=2, max_length=MAX_LABELS, examples=[["neutral", "happy", "sad", "angry"]])
    asks_second: bool = True
    asks_intensity: bool = True
    asks_note: bool = True
    is_blind: bool = Field(default=True, description="Hide the model's answer until a clip is rated.")
    overlap: int = Field(default=1, ge=1, le=MAX_OVERLAP, description="How many people rate each clip.")
    annotators: list[UUID] = Field(default=[], max_length=MAX_ANNOTATORS)
    queues: dict[QueueKind, int] = Field(
        default={QueueKind.RANDOM: 100}, description="Share of each queue in per cent; they add up to 100."
    )
    gold: dict[UUID, str] = Field(default={}, max_length=MAX_GOLD, description="Known labels, by recording.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    instructions: str = Field(
        default="", max_length=MAX_INSTRUCTIONS, description="What annotators should know, as plain text."
    )

    @classmethod
    def of(cls, settings: LabellingSettings) -> Self:
        """The same settings."""
        return cls(
            labels=list(settings.labels),
            asks_second=settings.asks_second,
            asks_intensity=settings.asks_intensity,
            asks_note=settings.asks_note,
            is_blind=settings.is_blind,
            overlap=settings.overlap,
            annotators=list(settings.annotators),
            queues=dict(settings.queues),
            gold=dict(settings.gold),
            seed=settings.seed,
            instructions=settings.instructions,
        )

    def settings(self) -> LabellingSettings:
        """The same settings."""
        return LabellingSettings(
            labels=tuple(self.labels),
            asks_second=self.asks_second,
            asks_intensity=self.asks_intensity,
            asks_note=self.asks_note,
            is_blind=self.is_blind,
            overlap=self.overlap,
            annotators=tuple(self.annotators),
            queues=dict(self.queues),
            gold=dict(self.gold),
            seed=self.seed,
            instructions=self.instructions,
        )


class AnnotatorShape(Shape):
    """One annotator."""

    annotator_id: UUID
    n_rated: int
    agreement: float | None = Field(description="Share of clips labelled as all agree; null without any.")
    confusion: list[list[int]] = Field(description="Consensus in rows, their label in columns.")
    median_spent_s: float | None
    n_gold: int
    gold_accuracy: float | None


class AgreementShape(Shape):
    """How far people agree; null stands for a figure that does not exist yet."""

    labels: list[str]
    n_clips: int
    n_shared: int = Field(description="Clips that two people or more labelled: what agreement is measured on.")
    krippendorff_alpha: float | None
    krippendorff_alpha_low: float | None = Field(description="Of the 95 % bootstrap interval over clips.")
    krippendorff_alpha_high: float | None
    percent_agreement: float | None
    agreement_by_label: dict[str, float | None]
    annotators: list[AnnotatorShape]
    cohen_kappa: list[list[float | None]] = Field(description="Of every pair, in the order of `annotators`.")

    @classmethod
    def of(cls, found: Agreement) -> Self:
        """The same figures."""
        return cls(
            labels=list(found.labels),
            n_clips=found.n_clips,
            n_shared=found.n_shared,
            krippendorff_alpha=_known(found.alpha),
            krippendorff_alpha_low=_known(found.alpha_interval.low),
            krippendorff_alpha_high=_known(found.alpha_interval.high),
            percent_agreement=_known(found.percent),
            agreement_by_label={
                label: _known(share) for label, share in zip(found.labels, found.by_label.tolist(), strict=True)
            },
            annotators=[
                AnnotatorShape(
                    annotator_id=each.annotator_id,
                    n_rated=each.n_rated,
                    agreement=_known(each.agreement),
                    confusion=each.confusion.tolist(),
                    median_spent_s=_known(each.median_spent_s),
                    n_gold=each.n_gold,
                    gold_accuracy=_known(each.gold_accuracy),
                )
                for each in found.figures
            ],
            cohen_kappa=[[_known(value) for value in row] for row in found.kappa.tolist()],
        )


class AssignRequest(BaseModel):
    """Clips for annotators, chosen by hand."""

    model_config = ConfigDict(extra="forbid")

    recordings: list[UUID] = Field(min_length=1, max_length=MAX_GIVEN)
    annotators: list[UUID] = Field(min_length=1, max_length=MAX_GIVEN, description="Annotators of the project.")
    takes_over: bool = Field(
        default=False, description="Take clips without a free place from whoever has not rated them yet."
    )


class AssignmentShape(Shape):
    """A clip that somebody was given."""

    id: UUID
    recording_id: UUID
    annotator_id: UUID


class RefusalShape(Shape):
    """A clip that somebody was not given."""

    recording_id: UUID
    annotator_id: UUID
    reason: NotGiven = Field(description="theirs: it was given to them before. taken: all its places are.")


class HandoutShape(Shape):
    """What came of giving clips by hand."""

    given: list[AssignmentShape]
    refused: list[RefusalShape]

    @classmethod
    def of(cls, handout: Handout) -> Self:
        """The same."""
        return cls(
            given=[
                AssignmentShape(id=each.id, recording_id=each.recording_id, annotator_id=each.annotator_id)
                for each in handout.given
            ],
            refused=[
                RefusalShape(recording_id=each.recording_id, annotator_id=each.annotator_id, reason=each.reason)
                for each in handout.refused
            ],
        )


class HolderShape(Shape):
    """Who has a place of a clip."""

    annotator_id: UUID
    is_rated: bool
    is_by_hand: bool


class ClipPlacesShape(Shape):
    """A clip and who has its places."""

    recording_id: UUID
    name: str
    duration_s: float
    holders: list[HolderShape]
    n_free: int


class PlacesShape(Shape):
    """The clips of a project."""

    clips: list[ClipPlacesShape]

    @classmethod
    def of(cls, places: Sequence[ClipPlaces]) -> Self:
        """In the same order."""
        return cls(
            clips=[
                ClipPlacesShape(
                    recording_id=each.recording.id,
                    name=each.recording.name,
                    duration_s=each.recording.duration_s,
                    holders=[
                        HolderShape(
                            annotator_id=holder.annotator_id, is_rated=holder.is_rated, is_by_hand=holder.is_by_hand
                        )
                        for holder in each.holders
                    ],
                    n_free=each.n_free,
                )
                for each in places
            ]
        )


class ConsensusSegmentShape(Shape):
    """What people's segments come to in a stretch of a recording."""

    start: float = Field(description="In seconds.")
    end: float = Field(description="In seconds.")
    label: str | None = Field(description="null where as many people say one thing as another.")
    share: float = Field(description="Of those who drew segments, how many say so.")
    is_adjudicated: bool


class ClipConsensusShape(Shape):
    """What the ratings of a recording come to."""

    recording_id: UUID
    name: str
    label: str | None = Field(description="Of the whole recording; null where nobody gave one.")
    probabilities: dict[str, float]
    method: str | None = Field(description="majority, dawid_skene or adjudicated.")
    n_ratings: int
    segments: list[ConsensusSegmentShape]
    time_agreement: float | None = Field(description="Share of time on which those who drew segments say the same.")
    boundary_agreement: float | None = Field(description="F-measure of boundaries that meet within 0.25 s.")


class ConsensusShape(Shape):
    """What the ratings of a project come to."""

    clips: list[ClipConsensusShape] = Field(description="Those people disagree about most first.")

    @classmethod
    def of(cls, found: Sequence[ReviewClip]) -> Self:
        """In the same order."""
        return cls(clips=[consensus_of(each) for each in found])


def consensus_of(clip: ReviewClip) -> ClipConsensusShape:
    """What its ratings come to."""
    agreed = clip.consensus
    return ClipConsensusShape(
        recording_id=clip.recording.id,
        name=clip.recording.name,
        label=None if agreed is None else agreed.label,
        probabilities={} if agreed is None else dict(agreed.probabilities),
        method=None if agreed is None else agreed.method,
        n_ratings=len(clip.ratings),
        segments=[
            ConsensusSegmentShape(
                start=each.start_s,
                end=each.end_s,
                label=each.label,
                share=each.share,
                is_adjudicated=each.adjudicated_by is not None,
            )
            for each in clip.segments
        ],
        time_agreement=_known(clip.time_agreement),
        boundary_agreement=_known(clip.boundary_agreement),
    )


class ImportProblemShape(Shape):
    """Something in a file that was left out."""

    where: str = Field(description="File and line, or what else finds it.")
    sentence: str


class ImportShape(Shape):
    """What became of a file of ratings."""

    n_new: int
    n_known: int = Field(description="Left out, since their annotator has rated the recording already.")
    n_problems: int
    problems: list[ImportProblemShape] = Field(description=f"The first {MAX_PROBLEMS_TOLD}.")

    @classmethod
    def of(cls, done: Import) -> ImportShape:
        """The same, with as many problems as anybody reads."""
        told = [ImportProblemShape(where=each.where, sentence=each.sentence) for each in done.problems]
        return cls(n_new=done.n_new, n_known=done.n_known, n_problems=len(told), problems=told[:MAX_PROBLEMS_TOLD])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
