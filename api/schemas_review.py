"""What the API takes and sends about the review of ratings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Shape
from api.schemas_labelling import LONGEST_S, ClipConsensusShape, GuessShape, RatingShape, consensus_of
from core.domain import Decision, DecisionKind, Rating
from core.labelling.labelling import ReviewClip
from core.labelling.rules import MAX_RATING_NOTE


class GivenRatingShape(Shape):
    """What one annotator said of a recording."""

    id: UUID
    annotator_id: UUID
    rating: RatingShape
    spent_s: float
    answer_shown: str | None = Field(description="The model's answer that they saw before; null in blind mode.")
    rated_at: datetime

    @classmethod
    def of(cls, rating: Rating) -> Self:
        """The same."""
        return cls(
            id=rating.id,
            annotator_id=rating.annotator_id,
            rating=RatingShape.of(rating),
            spent_s=rating.spent_s,
            answer_shown=rating.answer_shown,
            rated_at=rating.rated_at,
        )


class DecisionShape(Shape):
    """What a reviewer did about a recording's ratings."""

    id: UUID
    recording_id: UUID
    kind: DecisionKind
    label: str | None
    start: float | None = Field(description="Of the stretch that it is about, in seconds.")
    end: float | None
    note: str
    decided_by: UUID
    decided_at: datetime

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """The same."""
        return cls(
            id=decision.id,
            recording_id=decision.recording_id,
            kind=decision.kind,
            label=decision.label,
            start=decision.start_s,
            end=decision.end_s,
            note=decision.note,
            decided_by=decision.by,
            decided_at=decision.at,
        )


class DecisionRequest(BaseModel):
    """What to do about a recording's ratings."""

    model_config = ConfigDict(extra="forbid")

    recording_id: UUID
    kind: DecisionKind = Field(
        description="adjudicate: `label` counts. adjudicate_segment: from `start` to `end` it does, or nothing where "
        "`label` is null. send_back: those who rated it rate it again. comment: keeps `note`."
    )
    label: str | None = None
    start: float | None = Field(default=None, ge=0, le=LONGEST_S, description="In seconds.")
    end: float | None = Field(default=None, ge=0, le=LONGEST_S, description="In seconds.")
    note: str = Field(default="", max_length=MAX_RATING_NOTE)


class ReviewClipShape(Shape):
    """A recording with all that people and the model said of it."""

    recording_id: UUID
    name: str
    duration_s: float
    ratings: list[GivenRatingShape]
    decisions: list[DecisionShape] = Field(description="Oldest first.")
    consensus: ClipConsensusShape
    disagreement_nats: float = Field(description="Entropy of the labels that people gave.")
    is_to_decide: bool
    is_decided: bool
    answer: GuessShape | None = Field(description="The model's; null for who is still to rate it blind.")

    @classmethod
    def of(cls, clip: ReviewClip) -> Self:
        """The same."""
        return cls(
            recording_id=clip.recording.id,
            name=clip.recording.name,
            duration_s=clip.recording.duration_s,
            ratings=[GivenRatingShape.of(each) for each in clip.ratings],
            decisions=[DecisionShape.of(each) for each in clip.decisions],
            consensus=consensus_of(clip),
            disagreement_nats=clip.disagreement_nats,
            is_to_decide=clip.is_to_decide,
            is_decided=clip.is_decided,
            answer=GuessShape.of(clip.answer),
        )


class ReviewShape(Shape):
    """The rated clips of a project."""

    n_clips: int = Field(description="All that `shown` means, also beyond `limit`.")
    clips: list[ReviewClipShape] = Field(description="Those people disagree about most first.")

    @classmethod
    def of(cls, found: Sequence[ReviewClip], *, limit: int) -> Self:
        """The first `limit` of them, in the same order."""
        return cls(n_clips=len(found), clips=[ReviewClipShape.of(each) for each in found[:limit]])
