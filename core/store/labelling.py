"""Labelling: settings, assignments, ratings, decisions; ledgers that are only ever appended to.

Every question names a project, which the caller has found by `core.access.projects.Projects.find` with the eyes of
whoever asks, or takes a `reader` and stays within the projects and recordings that those eyes see.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, Row, delete, func, select, union_all, update
from sqlalchemy.exc import IntegrityError

from core.domain import (
    Assignment,
    Decision,
    DecisionKind,
    Emotion,
    Label,
    LabellingSettings,
    QueueKind,
    RatedSegment,
    Rating,
    RatingFlag,
    Reader,
    Sketch,
)
from core.errors import StoreError
from core.identifiers import new_id
from core.store.blindfolds import RATE, put_blindfolds
from core.store.engine import Store, try_again
from core.store.own_labels import own_probabilities_of
from core.store.schema import (
    labelling_assignments,
    labelling_decisions,
    labelling_ratings,
    labelling_settings,
    prediction_details,
    predictions,
    probability_column,
    recordings,
)
from core.store.visibility import visible

SKIP, UNDO = "skip", "undo"
_NAMESPACE = UUID("6d6f9c0e-3f57-5f0b-8a3e-5f7a1f1c2b77")
"""Of the ids of assignments; any UUID that nothing else uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What an annotator did with an assignment: rated it, skipped it, or took that back."""

    number: int
    """Later ones have larger numbers."""
    kind: str
    assignment_id: UUID
    rating: Rating
    """Of a skip or an undo: only who, what and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A recording of which a model and somebody have said what it sounds like."""

    project_id: UUID
    recording_id: UUID
    at: datetime
    """When somebody last named a label, be it in a rating or as a reviewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A recording of a project, with what the newest prediction says of it, as far as choosing it needs."""

    recording_id: UUID
    probabilities: Mapping[Label, float]
    """Empty where there is no prediction."""
    mutual_information_nats: float


def insert_labelling_settings(
    store: Store, *, project_id: UUID, settings: LabellingSettings, changed_by: UUID, at: datetime
) -> None:
    """Keep how a project is labelled from now on."""
    row = {
        "id": new_id(),
        "project_id": project_id,
        "settings": json.dumps(_plain_settings(settings), ensure_ascii=False),
        "changed_by": changed_by,
        "changed_at": at,
    }

    def keep() -> None:
        with store.transaction("keeping how a project is labelled") as connection:
            store.append_within(connection, (labelling_settings, [row]))
            put_blindfolds(connection, project_id=project_id, settings=settings)

    try_again(keep)


def select_labelling_settings(store: Store, *, project_id: UUID) -> LabellingSettings | None:
    """How a project is labelled; None where nobody has set that up."""
    columns = labelling_settings.c
    newest = select(columns.settings).where(columns.project_id == project_id).order_by(columns.id.desc()).limit(1)
    with store.transaction("reading how a project is labelled") as connection:
        found = connection.execute(newest).scalar_one_or_none()
    return None if found is None else _settings(json.loads(found))


def select_labelled_projects(store: Store, *, reader: Reader) -> set[UUID]:
    """The projects that `reader` sees and somebody has set up to be labelled."""
    columns = labelling_settings.c
    question = select(columns.project_id).distinct()
    if not reader.sees_everything:
        question = question.where(columns.project_id.in_(sorted(reader.project_ids)))
    with store.transaction("reading which projects are labelled") as connection:
        return set(connection.execute(question).scalars())


def select_clips(store: Store, *, project_id: UUID, recording_ids: Collection[UUID] | None = None) -> list[Clip]:
    """Every recording of a project, or some of them, with its newest prediction, by id."""
    columns = predictions.c
    newest = (
        select(
            columns.recording_id,
            columns.id.label("prediction_id"),
            columns.mutual_information_nats,
            *(columns[probability_column(emotion)] for emotion in Emotion),
            func.row_number().over(partition_by=columns.recording_id, order_by=columns.id.desc()).label("age"),
        )
        .where(
            columns.project_id == project_id,
            *([] if recording_ids is None else [columns.recording_id.in_(recording_ids)]),
        )
        .subquery()
    )
    question = (
        select(recordings.c.id, *(column for column in newest.c if column.name != "recording_id"))
        .outerjoin(newest, (newest.c.recording_id == recordings.c.id) & (newest.c.age == 1))
        .where(
            recordings.c.project_id == project_id,
            *([] if recording_ids is None else [recordings.c.id.in_(recording_ids)]),
        )
        .order_by(recordings.c.id)
    )
    with store.transaction("reading the clips of a project") as connection:
        rows = connection.execute(question).all()
        own = own_probabilities_of(connection, rows, id_column="prediction_id")
    return [
        Clip(
            recording_id=row.id,
            probabilities={}
            if row.mutual_information_nats is None
            else {
                **{each: row._mapping[probability_column(each)] or 0.0 for each in Emotion},
                **own.get(row.prediction_id, {}),
            },
            mutual_information_nats=row.mutual_information_nats or 0.0,
        )
        for row in rows
    ]


def select_sketches(store: Store, *, project_id: UUID) -> dict[UUID, Sketch]:
    """Where each recording of a project lies, by its newest prediction; those whose newest has none are left out."""
    columns, details = predictions.c, prediction_details.c
    age = func.row_number().over(partition_by=columns.recording_id, order_by=columns.id.desc())
    newest = select(columns.recording_id, columns.id, age.label("age")).where(columns.project_id == project_id)
    numbered = newest.subquery()
    question = (
        select(numbered.c.recording_id, details.encoder, details.sketch)
        .join(prediction_details, details.prediction_id == numbered.c.id)
        .where(numbered.c.age == 1, details.sketch.is_not(None))
    )
    with store.transaction("reading where recordings lie") as connection:
        rows = connection.execute(question).all()
    return {row.recording_id: Sketch(encoder=row.encoder, numbers=row.sketch) for row in rows}


def insert_assignment(
    store: Store,
    *,
    project_id: UUID,
    recording_id: UUID,
    annotator_id: UUID,
    slot: int,
    attempt: int,
    at: datetime,
    given_by: UUID | None = None,
) -> Assignment | None:
    """Give a place of a clip to an annotator; None where somebody was faster, or they had this clip before."""
    assignment = Assignment(
        id=assignment_id_of(project_id, recording_id, annotator_id),
        project_id=project_id,
        recording_id=recording_id,
        annotator_id=annotator_id,
        slot=slot,
        assigned_at=at,
        given_by=given_by,
    )

    def give() -> Assignment | None:
        try:
            store.append("assigning a clip", (labelling_assignments, [_assignment_row(assignment, attempt)]))
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError) or _is_taken(store, assignment, attempt):
                return None
            raise
        return assignment

    # DuckDB refuses a place already while whoever takes it has not committed: a moment later it can be seen.
    return try_again(give)


def _assignment_row(assignment: Assignment, attempt: int) -> dict[str, object]:
    return {name: getattr(assignment, name) for name in Assignment.__slots__} | {"attempt": attempt}


def _is_taken(store: Store, assignment: Assignment, attempt: int) -> bool:
    """DuckDB calls a collision with a transaction under way a conflict and not a violated constraint."""
    columns = labelling_assignments.c
    same_place = (
        (columns.project_id == assignment.project_id)
        & (columns.recording_id == assignment.recording_id)
        & (columns.slot == assignment.slot)
        & (columns.attempt == attempt)
    )
    question = select(func.count()).select_from(labelling_assignments)
    with store.transaction("looking for an assignment") as connection:
        return connection.execute(question.where(same_place | (columns.id == assignment.id))).scalar_one() > 0


def assignment_id_of(project_id: UUID, recording_id: UUID, annotator_id: UUID) -> UUID:
    """The id of the one assignment that an annotator can have of a recording."""
    return uuid5(_NAMESPACE, f"{project_id}\n{recording_id}\n{annotator_id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An assignment and which attempt at its place it was."""

    assignment: Assignment
    attempt: int


def select_assignments(
    store: Store, *, project_id: UUID, annotator_id: UUID | None = None, assignment_id: UUID | None = None
) -> list[Place]:
    """The assignments of a project, oldest first; of one annotator, or one by its id, where these are given."""
    columns = labelling_assignments.c
    question = select(*columns).where(columns.project_id == project_id)
    if annotator_id is not None:
        question = question.where(columns.annotator_id == annotator_id)
    if assignment_id is not None:
        question = question.where(columns.id == assignment_id)
    with store.transaction("reading assignments") as connection:
        rows = connection.execute(question.order_by(columns.assigned_at, columns.id)).all()
    return [
        Place(
            assignment=Assignment(
                id=row.id,
                project_id=row.project_id,
                recording_id=row.recording_id,
                annotator_id=row.annotator_id,
                slot=row.slot,
                assigned_at=row.assigned_at,
                given_by=row.given_by,
            ),
            attempt=row.attempt,
        )
        for row in rows
    ]


def insert_action(store: Store, *, kind: str, assignment_id: UUID, rating: Rating) -> bool:
    """Keep what an annotator did; on the disk once this returns. False where the same was kept before."""
    columns = labelling_ratings.c
    newest = select(func.max(columns.number)).where(columns.assignment_id == assignment_id)

    def keep() -> bool:
        if _has_action(store, rating.id):
            return False
        with store.transaction("keeping a rating") as connection:
            # A clock that was set back would make an undo older than what it undoes.
            number = max(time.time_ns() // 1000, (connection.execute(newest).scalar_one() or 0) + 1)
            store.append_within(connection, (labelling_ratings, [_action_row(kind, assignment_id, rating, number)]))
        return True

    return try_again(keep)


def _action_row(kind: str, assignment_id: UUID, rating: Rating, number: int) -> dict[str, object]:
    return {
        "id": rating.id,
        "number": number,
        "kind": kind,
        "assignment_id": assignment_id,
        "project_id": rating.project_id,
        "recording_id": rating.recording_id,
        "annotator_id": rating.annotator_id,
        "label": rating.label,
        "second": rating.second,
        "intensity": rating.intensity,
        "flag": None if rating.flag is None else rating.flag.value,
        "note": rating.note,
        "segments": json.dumps([[each.start_s, each.end_s, each.label] for each in rating.segments]),
        "spent_s": rating.spent_s,
        "answer_shown": rating.answer_shown,
        "rated_at": rating.rated_at,
    }


def insert_imported(store: Store, *, places: Sequence[Place], ratings: Sequence[Rating]) -> None:
    """Keep ratings that came from a file, and the places of clips that they fill; all or none.

    Raises StoreError, also where a place was given to somebody at the same moment.
    """
    started = time.time_ns() // 1000
    given = [_assignment_row(place.assignment, place.attempt) for place in places]
    said = [
        _action_row(
            RATE, assignment_id_of(each.project_id, each.recording_id, each.annotator_id), each, started + number
        )
        for number, each in enumerate(ratings)
    ]
    store.append("keeping imported ratings", (labelling_assignments, given), (labelling_ratings, said))


def _has_action(store: Store, action_id: UUID) -> bool:
    with store.transaction("looking for a rating") as connection:
        found = select(func.count()).select_from(labelling_ratings).where(labelling_ratings.c.id == action_id)
        return connection.execute(found).scalar_one() > 0


def select_actions(
    store: Store,
    *,
    project_id: UUID,
    annotator_id: UUID | None = None,
    recording_ids: Collection[UUID] | None = None,
) -> list[Action]:
    """What annotators did in a project, in order; of one annotator or about some recordings where these are given."""
    columns = labelling_ratings.c
    question = select(*columns).where(columns.project_id == project_id)
    if annotator_id is not None:
        question = question.where(columns.annotator_id == annotator_id)
    if recording_ids is not None:
        question = question.where(columns.recording_id.in_(recording_ids))
    with store.transaction("reading ratings") as connection:
        rows = connection.execute(question.order_by(columns.number, columns.id)).all()
    return [_action(row) for row in rows]


def select_last_judged(store: Store, *, n: int, start: int = 0, reader: Reader) -> list[Judged]:
    """`n` recordings whose predictions `reader` sees and that people named a label of, last named first."""
    said, decided = labelling_ratings.c, labelling_decisions.c
    named = union_all(
        select(said.project_id, said.recording_id, said.rated_at.label("at")).where(
            said.kind == RATE, said.label.is_not(None)
        ),
        select(decided.project_id, decided.recording_id, decided.decided_at).where(
            decided.kind == DecisionKind.ADJUDICATE.value
        ),
    ).subquery()
    last = func.max(named.c.at)
    question = (
        select(named.c.project_id, named.c.recording_id, last.label("at"))
        .where(
            select(predictions.c.id)
            .where(
                predictions.c.recording_id == named.c.recording_id,
                predictions.c.project_id == named.c.project_id,
                visible(reader, predictions),
            )
            .exists()
        )
        .group_by(named.c.project_id, named.c.recording_id)
        .order_by(last.desc(), named.c.recording_id)
        .limit(n)
        .offset(start)
    )
    with store.transaction("reading what people judged last") as connection:
        rows = connection.execute(question).all()
    return [Judged(project_id=row.project_id, recording_id=row.recording_id, at=row.at) for row in rows]


def select_ratings_by(store: Store, *, user_id: UUID) -> list[Action]:
    """All that one annotator did, in every project: for what is held on them."""
    columns = labelling_ratings.c
    question = select(*columns).where(columns.annotator_id == user_id).order_by(columns.number, columns.id)
    with store.transaction("reading ratings") as connection:
        return [_action(row) for row in connection.execute(question)]


def select_decisions_by(store: Store, *, user_id: UUID) -> list[Decision]:
    """All that somebody said as a reviewer, in every project: for what is held on them."""
    columns = labelling_decisions.c
    question = select(*columns).where(columns.decided_by == user_id).order_by(columns.id)
    with store.transaction("reading reviewers' decisions") as connection:
        return [_decision(row) for row in connection.execute(question)]


def insert_decision(store: Store, *, decision: Decision) -> None:
    """Keep what a reviewer said."""
    row = {
        "id": decision.id,
        "project_id": decision.project_id,
        "recording_id": decision.recording_id,
        "kind": decision.kind.value,
        "label": decision.label,
        "note": decision.note,
        "decided_by": decision.by,
        "decided_at": decision.at,
        "start_s": decision.start_s,
        "end_s": decision.end_s,
    }
    store.append("keeping a reviewer's decision", (labelling_decisions, [row]))


def select_decisions(
    store: Store, *, project_id: UUID, recording_ids: Collection[UUID] | None = None
) -> list[Decision]:
    """What reviewers said in a project, in order; about some recordings where these are given."""
    columns = labelling_decisions.c
    question = select(*columns).where(columns.project_id == project_id)
    if recording_ids is not None:
        question = question.where(columns.recording_id.in_(recording_ids))
    with store.transaction("reading reviewers' decisions") as connection:
        rows = connection.execute(question.order_by(columns.id)).all()
    return [_decision(row) for row in rows]


def drop_labelling_of(connection: Connection, recording_id: UUID) -> None:
    """Delete assignments, ratings and decisions about a recording, in a transaction that goes on."""
    for table in (labelling_assignments, labelling_ratings, labelling_decisions):
        connection.execute(delete(table).where(table.c.recording_id == recording_id))


def update_notes_of(store: Store, *, user_id: UUID) -> None:
    """Forget what somebody whose account is deleted wrote. Their labels stay, under an id that names nobody."""
    ratings, decisions = labelling_ratings, labelling_decisions
    theirs = (
        update(ratings).where(ratings.c.annotator_id == user_id, ratings.c.note != "").values(note=""),
        update(decisions).where(decisions.c.decided_by == user_id, decisions.c.note != "").values(note=""),
    )

    def forget() -> None:
        with store.transaction("forgetting notes") as connection:
            for forgotten in theirs:
                connection.execute(forgotten)

    try_again(forget)


def _decision(row: Row[Any]) -> Decision:
    return Decision(
        id=row.id,
        project_id=row.project_id,
        recording_id=row.recording_id,
        kind=DecisionKind(row.kind),
        label=row.label,
        note=row.note,
        by=row.decided_by,
        at=row.decided_at,
        start_s=row.start_s,
        end_s=row.end_s,
    )


def _action(row: Row[Any]) -> Action:
    return Action(
        number=row.number,
        kind=row.kind,
        assignment_id=row.assignment_id,
        rating=Rating(
            id=row.id,
            project_id=row.project_id,
            recording_id=row.recording_id,
            annotator_id=row.annotator_id,
            label=row.label,
            second=row.second,
            intensity=row.intensity,
            flag=None if row.flag is None else RatingFlag(row.flag),
            note=row.note,
            segments=tuple(
                RatedSegment(start_s=start_s, end_s=end_s, label=label)
                for start_s, end_s, label in json.loads(row.segments)
            ),
            spent_s=row.spent_s,
            answer_shown=row.answer_shown,
            rated_at=row.rated_at,
        ),
    )


def _plain_settings(settings: LabellingSettings) -> dict[str, object]:
    return {
        "labels": list(settings.labels),
        "asks_second": settings.asks_second,
        "asks_intensity": settings.asks_intensity,
        "asks_note": settings.asks_note,
        "is_blind": settings.is_blind,
        "overlap": settings.overlap,
        "annotators": [str(each) for each in settings.annotators],
        "queues": {kind.value: share for kind, share in settings.queues.items()},
        "gold": {str(recording_id): label for recording_id, label in settings.gold.items()},
        "seed": settings.seed,
        "instructions": settings.instructions,
    }


def _settings(plain: Mapping[str, Any]) -> LabellingSettings:
    return LabellingSettings(
        labels=tuple(plain["labels"]),
        asks_second=plain["asks_second"],
        asks_intensity=plain["asks_intensity"],
        asks_note=plain["asks_note"],
        is_blind=plain["is_blind"],
        overlap=plain["overlap"],
        annotators=tuple(UUID(each) for each in plain["annotators"]),
        queues={QueueKind(kind): share for kind, share in plain["queues"].items()},
        gold={UUID(recording_id): label for recording_id, label in plain["gold"].items()},
        seed=plain["seed"],
        instructions=plain.get("instructions", ""),
    )
