"""What the ledgers of a project come to at one moment: who has which place of a clip, what counts, what comes next."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from core.domain import Decision, DecisionKind, LabellingSettings, QueueKind, Rating
from core.labelling.queues import Spread, kind_of_turn, ranks
from core.store.blindfolds import RATE
from core.store.engine import Store
from core.store.labelling import (
    UNDO,
    Action,
    Clip,
    Place,
    assignment_id_of,
    select_actions,
    select_assignments,
    select_clips,
    select_decisions,
    select_sketches,
)

LEASE = timedelta(hours=2)
"""How long a clip waits for whom it was given to; then another may have it. A later rating counts all the same."""
LEASE_BY_HAND = timedelta(days=14)
"""As long, for what was given by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """The model's answer, as an annotator may see it."""

    label: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an annotator is."""

    n_done: int
    n_total: int
    """Clips of the project that they have rated or still can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has a place of a clip."""

    annotator_id: UUID
    is_rated: bool
    is_by_hand: bool


class NotGiven(enum.StrEnum):
    """Why a clip was not given to somebody by hand."""

    THEIRS = "theirs"
    """It was given to them before: nobody gets a clip twice."""
    TAKEN = "taken"
    """All its places are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The ratings of a project that count, and what became of its clips."""

    ratings: Mapping[UUID, Sequence[Rating]]
    """By recording; nobody twice, none that was taken back or sent back."""
    decisions: Mapping[UUID, Sequence[Decision]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A place of a clip that somebody may take."""

    recording_id: UUID
    slot: int
    attempt: int


class State:
    """What a project's ledgers say at one moment."""

    def __init__(self, store: Store, project_id: UUID, settings: LabellingSettings, now: datetime) -> None:
        self._store, self._project_id, self._settings, self._now = store, project_id, settings, now
        self._spread: Spread | None = None
        self._clips = select_clips(store, project_id=project_id)
        self._by_id = {clip.recording_id: clip for clip in self._clips}
        places = select_assignments(store, project_id=project_id)
        actions = select_actions(store, project_id=project_id)
        decisions = select_decisions(store, project_id=project_id)
        self._sent_back = sent_back_at(decisions)
        self._newest = {action.assignment_id: action for action in actions}
        self._counted = counted_of(actions, decisions)
        self._holders: dict[tuple[UUID, int], Place] = {}
        self._slots: dict[UUID, set[int]] = {}
        self._places: dict[UUID, Place] = {}
        for place in places:
            self.add(place)

    def add(self, place: Place) -> None:
        """Take a new assignment into account."""
        given = place.assignment
        self._places[given.id] = place
        self._slots.setdefault(given.recording_id, set()).add(given.slot)
        holder = self._holders.get((given.recording_id, given.slot))
        if holder is None or holder.attempt < place.attempt:
            self._holders[(given.recording_id, given.slot)] = place
        if self._spread is not None:
            self._spread.add(given.recording_id)

    def _action(self, place: Place) -> Action | None:
        """What counts of what was done with an assignment; None while it is open."""
        action = self._newest.get(place.assignment.id)
        if action is None or action.kind == UNDO:
            return None
        sent_back = self._sent_back.get(place.assignment.recording_id)
        return None if sent_back is not None and action.rating.rated_at <= sent_back else action

    def _is_rated(self, place: Place) -> bool:
        action = self._action(place)
        return action is not None and action.kind == RATE

    def _is_free(self, holder: Place) -> bool:
        """Whether another may take the place of this assignment."""
        if self._is_rated(holder):
            return False
        given = holder.assignment
        if given.given_by is not None and given.annotator_id not in self._settings.annotators:
            return True
        began = max(
            [holder.assignment.assigned_at]
            + [at for at in [self._sent_back.get(holder.assignment.recording_id)] if at is not None]
        )
        return self._now - began > (LEASE if given.given_by is None else LEASE_BY_HAND)

    @property
    def recording_ids(self) -> Collection[UUID]:
        """All clips, oldest first."""
        return self._by_id.keys()

    def holders(self, recording_id: UUID) -> list[Holder]:
        """Who has the places of a clip, in their order."""
        places = [self._holders[(recording_id, slot)] for slot in sorted(self._slots.get(recording_id, ()))]
        return [
            Holder(
                annotator_id=place.assignment.annotator_id,
                is_rated=self._is_rated(place),
                is_by_hand=place.assignment.given_by is not None,
            )
            for place in places
            if not self._is_free(place)
        ]

    def n_free(self, recording_id: UUID) -> int:
        """How many places of a clip somebody can still get."""
        held = (self._holders.get((recording_id, slot)) for slot in range(self._settings.overlap))
        return sum(holder is None or self._is_free(holder) for holder in held)

    def place_by_hand(self, recording_id: UUID, annotator: UUID, *, takes_over: bool) -> Choice | NotGiven:
        """The place of a clip that an annotator gets by hand; with `takes_over`, from whoever has not rated it."""
        if assignment_id_of(self._project_id, recording_id, annotator) in self._places:
            return NotGiven.THEIRS
        free = self._free_slot(recording_id, annotator)
        if free is not None or not takes_over:
            return free or NotGiven.TAKEN
        for slot in range(self._settings.overlap):
            holder = self._holders[(recording_id, slot)]
            is_given_now = holder.assignment.assigned_at >= self._now
            if not self._is_rated(holder) and not is_given_now:
                return Choice(recording_id=recording_id, slot=slot, attempt=holder.attempt + 1)
        return NotGiven.TAKEN

    def _holds(self, place: Place) -> bool:
        return self._holders[(place.assignment.recording_id, place.assignment.slot)] is place

    def _of(self, annotator: UUID) -> list[Place]:
        return [place for place in self._places.values() if place.assignment.annotator_id == annotator]

    def open_places(self, annotator: UUID) -> list[Place]:
        """What waits for an annotator: what they have begun first, what they skipped last."""
        waiting = [
            place
            for place in self._of(annotator)
            if place.assignment.recording_id in self._by_id and not self._is_rated(place) and self._holds(place)
        ]
        skipped = {place.assignment.id for place in waiting if self._action(place) is not None}
        return sorted(waiting, key=lambda place: place.assignment.id in skipped)

    def rated_by(self, annotator: UUID) -> list[tuple[Place, Action]]:
        """What an annotator has rated, in that order."""
        rated = [(place, self._newest[place.assignment.id]) for place in self._of(annotator) if self._is_rated(place)]
        return sorted(rated, key=lambda pair: pair[1].number)

    def progress(self, annotator: UUID) -> Progress:
        """Rated by them, and that plus what they hold or could still get."""
        n_done = sum(self._is_rated(place) for place in self._of(annotator))
        n_open = len(self.open_places(annotator))
        n_free = sum(self._free_slot(clip.recording_id, annotator) is not None for clip in self._clips)
        return Progress(n_done=n_done, n_total=n_done + n_open + n_free)

    def _free_slot(self, recording_id: UUID, annotator: UUID) -> Choice | None:
        """A place of a clip that this annotator could take."""
        if assignment_id_of(self._project_id, recording_id, annotator) in self._places:
            return None
        for slot in range(self._settings.overlap):
            holder = self._holders.get((recording_id, slot))
            if holder is None:
                return Choice(recording_id=recording_id, slot=slot, attempt=0)
            if self._is_free(holder):
                return Choice(recording_id=recording_id, slot=slot, attempt=holder.attempt + 1)
        return None

    def choose(self, annotator: UUID, tried: set[UUID]) -> Choice | None:
        """The next clip for an annotator, by the queue whose turn it is."""
        free = {
            clip.recording_id: choice
            for clip in self._clips
            if clip.recording_id not in tried and (choice := self._free_slot(clip.recording_id, annotator)) is not None
        }
        if not free:
            return None
        kind = kind_of_turn(len(self._places), self._settings.queues)
        numbers = self._ranks(kind)
        best = max(free, key=lambda recording_id: (numbers[recording_id], -recording_id.int))
        return free[best]

    def _ranks(self, kind: QueueKind) -> dict[UUID, float]:
        labels = {
            recording_id: [rating.label or "" for rating in ratings]
            for recording_id, ratings in self._counted.ratings.items()
        }
        for place in self._places.values():
            labels.setdefault(place.assignment.recording_id, [])  # on its way to somebody: near enough to labelled
        if kind is QueueKind.DIVERSE:
            if self._spread is None:
                sketches = select_sketches(self._store, project_id=self._project_id)
                self._spread = Spread(self._clips, sketches, done=labels.keys())
            numbers = self._spread.ranks()
        else:
            numbers = ranks(kind, self._clips, labels=labels, seed=self._settings.seed)
        return {clip.recording_id: float(number) for clip, number in zip(self._clips, numbers, strict=True)}

    def guess(self, recording_id: UUID) -> Guess | None:
        """The model's answer about a recording."""
        return guess_of(self._by_id.get(recording_id))


def sent_back_at(decisions: Sequence[Decision]) -> dict[UUID, datetime]:
    """By recording: when it was last sent back."""
    return {each.recording_id: each.at for each in decisions if each.kind is DecisionKind.SEND_BACK}


def counted_of(actions: Sequence[Action], decisions: Sequence[Decision]) -> Counted:
    """Of each annotator and clip the last that they did, unless it was taken back or sent back."""
    sent_back = sent_back_at(decisions)
    newest = {action.assignment_id: action for action in actions}
    ratings: dict[UUID, list[Rating]] = {}
    for action in sorted(newest.values(), key=lambda action: action.number):
        rating = action.rating
        back = sent_back.get(rating.recording_id)
        if action.kind == RATE and (back is None or rating.rated_at > back):
            ratings.setdefault(rating.recording_id, []).append(rating)
    by_recording: dict[UUID, list[Decision]] = {}
    for decision in decisions:
        by_recording.setdefault(decision.recording_id, []).append(decision)
    return Counted(ratings=ratings, decisions=by_recording)


def guess_of(clip: Clip | None) -> Guess | None:
    """The model's answer about a clip; None where there is none."""
    if clip is None or not clip.probabilities:
        return None
    emotion = max(clip.probabilities, key=lambda each: clip.probabilities[each])
    return Guess(label=emotion.value, confidence=clip.probabilities[emotion])
