"""The labelling of projects: who gets which clip, what they said, and what reviewers made of it."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from core.access.roles import LABELLERS
from core.domain import (
    NOBODY,
    PROCESS,
    Assignment,
    Caller,
    ConsensusLabel,
    ConsensusSegment,
    Decision,
    DecisionKind,
    LabellingSettings,
    Project,
    Rating,
    Reader,
    Recording,
)
from core.errors import (
    ForbiddenError,
    InvalidParameterError,
    NotLabelledError,
    UnknownAssignmentError,
    UnknownRecordingError,
)
from core.evaluation.segment_agreement import boundary_agreement, time_agreement
from core.identifiers import new_id
from core.labelling.consensus import Method, agree
from core.labelling.queues import disagreement
from core.labelling.rules import MAX_RATING_NOTE, require_rating, require_settings, segments_within
from core.labelling.segments import SHORTEST_S, agree_on_segments, segmentations
from core.labelling.state import (
    Counted,
    Guess,
    Holder,
    NotGiven,
    Progress,
    State,
    counted_of,
    guess_of,
)
from core.store.blindfolds import RATE, select_veiled_recordings
from core.store.labelling import (
    SKIP,
    UNDO,
    Judged,
    Place,
    insert_action,
    insert_assignment,
    insert_decision,
    insert_labelling_settings,
    select_actions,
    select_assignments,
    select_clips,
    select_decisions,
    select_labelled_projects,
    select_labelling_settings,
    select_last_judged,
)
from core.store.recordings import select_recordings_by_id

if TYPE_CHECKING:
    from core.workbench import Workbench

MAX_GIVEN = 500
"""Clips times annotators, at a time."""
N_RECENT = 20
MAX_CHECKED_ANSWERS = 500
"""Answers that are checked at most: twice those that the alert on falling accuracy compares."""
MAX_LOOKED_AT = 4 * MAX_CHECKED_ANSWERS
PROGRESS_KEPT_S = 60.0
"""How long an annotator's progress is counted on from what was asked last, rather than read off the ledgers anew."""
MAX_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A clip for one annotator: to be rated, or rated already."""

    assignment: Assignment
    recording: Recording
    guess: Guess | None
    """None in blind mode until it is rated, and where no model has answered."""
    rating: Rating | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What an annotator has before them."""

    tasks: Sequence[Task]
    """In the order in which they should be rated."""
    recent: Sequence[Task]
    """What they rated last, oldest first, so that it can be taken back."""
    progress: Progress


class Shown(enum.StrEnum):
    """Which clips a reviewer looks at."""

    TO_DECIDE = "to_decide"
    """People disagree, also about segments, or nobody could tell, and nobody has decided."""
    DECIDED = "decided"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewClip:
    """A recording with all that people and the model said of it."""

    recording: Recording
    ratings: Sequence[Rating]
    """Those that count, by annotator."""
    decisions: Sequence[Decision]
    consensus: ConsensusLabel | None
    """None where no rating that counts has a label."""
    answer: Guess | None
    """None where no model has answered, and for who reviews what they are still to rate blind."""
    disagreement_nats: float
    segments: Sequence[ConsensusSegment] = ()
    """What the segments that people drew come to, in order of time."""
    time_agreement: float = math.nan
    """Share of the time on which two of those who drew segments say the same; NaN where fewer than two did."""
    boundary_agreement: float = math.nan
    """F-measure of their boundaries that meet within a quarter of a second; NaN likewise."""

    @property
    def is_contested(self) -> bool:
        """Whether as many people say one thing of some stretch as another, and nobody has decided."""
        return any(each.label is None for each in self.segments)

    @property
    def is_decided(self) -> bool:
        """Whether a reviewer has said what counts, and left no stretch open."""
        is_said = self.consensus is not None and self.consensus.adjudicated_by is not None
        return not self.is_contested and (is_said or any(each.adjudicated_by is not None for each in self.segments))

    @property
    def is_to_decide(self) -> bool:
        """Whether it waits for a reviewer."""
        has_flag = any(rating.flag is not None for rating in self.ratings)
        return (self.is_contested or self.disagreement_nats > 0 or has_flag) and not self.is_decided

    def is_shown(self, shown: Shown) -> bool:
        """Whether it is one of those."""
        return {Shown.TO_DECIDE: self.is_to_decide, Shown.DECIDED: self.is_decided, Shown.ALL: True}[shown]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlaces:
    """A clip of a project, and who has its places."""

    recording: Recording
    holders: Sequence[Holder]
    """In the order of the places; those whose time is over are left out unless they have rated it."""
    n_free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A clip that was not given to an annotator."""

    recording_id: UUID
    annotator_id: UUID
    reason: NotGiven


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """What came of giving clips by hand."""

    given: Sequence[Assignment]
    refused: Sequence[Refusal]


class Labelling:
    """The labelling of one process. Safe to share between threads and processes: every promise is kept by the store."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._store = workbench.store
        self._kept_progress = _KeptProgress()

    # -- setting up

    def configure(self, project_id: UUID, settings: LabellingSettings, *, by: Caller) -> LabellingSettings:
        """Set up how a project is labelled, or change it; ratings stay.

        Raises
        ------
        UnknownProjectError
            There is no such project, or it is not shared with them.
        ForbiddenError
            Only its owner and admins may.
        InvalidParameterError
            A setting is out of place.
        """
        project = self._changeable(project_id, by)
        members = {user.id for user in self._workbench.projects.members(project.id, by.reader)}
        require_settings(settings, members)
        insert_labelling_settings(
            self._store, project_id=project_id, settings=settings, changed_by=by.user.id, at=datetime.now(UTC)
        )
        self._kept_progress.forget(project_id)
        self._workbench.access.audit(
            "labelling.configure",
            str(project_id),
            by,
            labels=", ".join(settings.labels),
            overlap=settings.overlap,
            annotators=len(settings.annotators),
            blind=settings.is_blind,
        )
        return settings

    def settings(self, project_id: UUID, reader: Reader) -> LabellingSettings:
        """How a project is labelled. Raises UnknownProjectError; NotLabelledError where that is not set up."""
        project = self._workbench.projects.find(project_id, reader)
        found = select_labelling_settings(self._store, project_id=project.id)
        if found is None:
            raise NotLabelledError(project.name)
        return found

    def settings_for(self, project_id: UUID, caller: Caller) -> LabellingSettings:
        """As `settings`, without the gold clips for whoever may not change them: annotators are checked by those."""
        found = self.settings(project_id, caller.reader)
        project = self._workbench.projects.find(project_id, caller.reader)
        is_theirs = project.owner_id == caller.user.id or caller.reader.sees_everything
        return found if is_theirs else dataclasses.replace(found, gold={})

    def projects(self, reader: Reader) -> list[Project]:
        """The projects that `reader` sees and that are set up to be labelled."""
        shared = self._workbench.projects.list_for(reader)
        seen = dataclasses.replace(reader, project_ids=frozenset(project.id for project in shared))
        labelled = select_labelled_projects(self._store, reader=seen)
        return [project for project in shared if project.id in labelled]

    def projects_of_annotator(self, caller: Caller) -> list[Project]:
        """The projects in which `caller` is an annotator."""
        found = []
        for project in self.projects(caller.reader):
            settings = select_labelling_settings(self._store, project_id=project.id)
            if settings is not None and caller.user.id in settings.annotators:
                found.append(project)
        return found

    # -- giving clips by hand

    def places(self, project_id: UUID, *, reader: Reader) -> list[ClipPlaces]:
        """Every clip of a project with who has its places, oldest first. Raises like `settings`."""
        settings = self.settings(project_id, reader)
        state = State(self._store, project_id, settings, datetime.now(UTC))
        known = select_recordings_by_id(self._store, recording_ids=state.recording_ids, reader=_within(project_id))
        return [
            ClipPlaces(recording=known[each], holders=state.holders(each), n_free=state.n_free(each))
            for each in state.recording_ids
            if each in known
        ]

    def assign(
        self,
        project_id: UUID,
        recording_ids: Sequence[UUID],
        annotators: Sequence[UUID],
        *,
        by: Caller,
        takes_over: bool = False,
    ) -> Handout:
        """Give each of some clips to each of some annotators, who keep them for `LEASE_BY_HAND`.

        Nobody gets a clip twice, and no more people get one than the overlap says; what cannot be given is told, and
        the rest is given.

        Parameters
        ----------
        takes_over
            Whether a clip without a free place is taken from somebody who has not rated it yet. Should they rate it
            all the same, their rating counts.

        Raises
        ------
        UnknownProjectError, NotLabelledError, UnknownRecordingError
            There is no such thing.
        ForbiddenError
            Only the project's owner and admins may.
        InvalidParameterError
            Somebody is none of the project's annotators, or there is too much at once.
        """
        self._changeable(project_id, by)
        settings = self.settings(project_id, by.reader)
        people, clips = list(dict.fromkeys(annotators)), list(dict.fromkeys(recording_ids))
        strangers = [each for each in people if each not in settings.annotators]
        if strangers:
            raise InvalidParameterError(
                "annotators", str(strangers[0]), "annotators of the project: make them so first"
            )
        if len(people) * len(clips) > MAX_GIVEN:
            asked = f"{len(clips)} times {len(people)}"
            raise InvalidParameterError("recordings", asked, f"at most {MAX_GIVEN} clips times annotators")
        state = State(self._store, project_id, settings, datetime.now(UTC))
        for recording_id in clips:
            if recording_id not in state.recording_ids:
                raise UnknownRecordingError(recording_id)
        given: list[Assignment] = []
        refused: list[Refusal] = []
        for recording_id in clips:
            for annotator in people:
                made = self._give(project_id, state, recording_id, annotator, by, takes_over=takes_over)
                if isinstance(made, Assignment):
                    given.append(made)
                else:
                    refused.append(Refusal(recording_id=recording_id, annotator_id=annotator, reason=made))
        if given:
            self._workbench.access.audit(
                "labelling.assign", str(project_id), by, clips=len({each.recording_id for each in given}), n=len(given)
            )
            self._kept_progress.forget(project_id)
        return Handout(given=given, refused=refused)

    def _give(
        self, project_id: UUID, state: State, recording_id: UUID, annotator: UUID, by: Caller, *, takes_over: bool
    ) -> Assignment | NotGiven:
        choice = state.place_by_hand(recording_id, annotator, takes_over=takes_over)
        if isinstance(choice, NotGiven):
            return choice
        made = insert_assignment(
            self._store,
            project_id=project_id,
            recording_id=recording_id,
            annotator_id=annotator,
            slot=choice.slot,
            attempt=choice.attempt,
            at=datetime.now(UTC),
            given_by=by.user.id,
        )
        if made is None:  # somebody was faster, by a queue or another owner
            return NotGiven.TAKEN
        state.add(Place(assignment=made, attempt=choice.attempt))
        return made

    # -- annotating

    def queue(self, project_id: UUID, *, annotator: Caller, n: int) -> Queue:
        """The next `n` clips for an annotator, theirs from now on, and how far they are.

        What they have begun comes first, so that a reload goes on at the same clip; what they skipped comes last.

        Raises
        ------
        UnknownProjectError, NotLabelledError
            There is no such project, or nobody set it up.
        ForbiddenError
            They are none of its annotators.
        """
        settings = self._for_annotator(project_id, annotator)
        now = datetime.now(UTC)
        mine = annotator.user.id
        reading = self._kept_progress.reading(project_id, mine)
        state = State(self._store, project_id, settings, now)
        open_places = state.open_places(mine)
        tried: set[UUID] = set()
        while len(open_places) < n:
            choice = state.choose(mine, tried)
            if choice is None:
                break
            tried.add(choice.recording_id)
            given = insert_assignment(
                self._store,
                project_id=project_id,
                recording_id=choice.recording_id,
                annotator_id=mine,
                slot=choice.slot,
                attempt=choice.attempt,
                at=datetime.now(
                    UTC
                ),  # a moment each: the order in which they were given is the order they are shown in
            )
            if given is not None:
                place = Place(assignment=given, attempt=choice.attempt)
                state.add(place)
                open_places.append(place)
        chosen = open_places[:n]
        rated = state.rated_by(mine)[-N_RECENT:]
        wanted = [place.assignment.recording_id for place in (*chosen, *(place for place, _ in rated))]
        recordings = select_recordings_by_id(self._store, recording_ids=wanted, reader=_within(project_id))
        tasks = [
            Task(
                assignment=place.assignment,
                recording=recordings[place.assignment.recording_id],
                guess=None if settings.is_blind else state.guess(place.assignment.recording_id),
            )
            for place in chosen
            if place.assignment.recording_id in recordings
        ]
        recent = [
            Task(
                assignment=place.assignment,
                recording=recordings[place.assignment.recording_id],
                guess=state.guess(place.assignment.recording_id),
                rating=action.rating,
            )
            for place, action in rated
            if place.assignment.recording_id in recordings
        ]
        progress = state.progress(mine)
        self._kept_progress.keep(reading, progress)
        return Queue(tasks=tasks, recent=recent, progress=progress)

    def rate(self, project_id: UUID, assignment_id: UUID, rating: Rating, *, annotator: Caller) -> Task:
        """Keep a rating; on the disk once this returns. The same one again, by its id, changes nothing.

        Of `rating` only what the annotator said counts: who, which recording and when are the assignment's and now's.

        Raises
        ------
        UnknownProjectError, NotLabelledError, ForbiddenError
            As `queue`.
        UnknownAssignmentError
            They were never given this clip, or its recording is deleted.
        InvalidParameterError
            The rating has no label of the project's set, a segment is not within the recording, or anything else is
            out of place.
        """
        settings = self._for_annotator(project_id, annotator)
        assignment, recording = self._assigned(project_id, assignment_id, annotator)
        require_rating(rating, settings)
        rating = dataclasses.replace(rating, segments=segments_within(rating.segments, recording.duration_s))
        clips = select_clips(self._store, project_id=project_id, recording_ids=[recording.id])
        guess = guess_of(clips[0]) if clips else None
        kept = dataclasses.replace(
            rating,
            project_id=project_id,
            recording_id=recording.id,
            annotator_id=annotator.user.id,
            answer_shown=None if settings.is_blind or guess is None else guess.label,
            rated_at=datetime.now(UTC),
        )
        self._act(RATE, assignment_id, kept)
        return Task(assignment=assignment, recording=recording, guess=guess, rating=kept)

    def skip(self, project_id: UUID, assignment_id: UUID, action_id: UUID, *, annotator: Caller) -> None:
        """Leave a clip for later. Raises like `rate`."""
        self._note(SKIP, project_id, assignment_id, action_id, annotator)

    def undo(self, project_id: UUID, assignment_id: UUID, action_id: UUID, *, annotator: Caller) -> None:
        """Take back what was said of a clip; it is to be rated again. Raises like `rate`."""
        self._note(UNDO, project_id, assignment_id, action_id, annotator)

    def _note(self, kind: str, project_id: UUID, assignment_id: UUID, action_id: UUID, annotator: Caller) -> None:
        self._for_annotator(project_id, annotator)
        _, recording = self._assigned(project_id, assignment_id, annotator)
        nothing = Rating(
            id=action_id,
            project_id=project_id,
            recording_id=recording.id,
            annotator_id=annotator.user.id,
            label=None,
            rated_at=datetime.now(UTC),
        )
        self._act(kind, assignment_id, nothing)

    def _act(self, kind: str, assignment_id: UUID, rating: Rating) -> None:
        """Keep what somebody did, and count it into their progress."""
        project_id, about = rating.project_id, [rating.recording_id]
        said = select_actions(self._store, project_id=project_id, annotator_id=rating.annotator_id, recording_ids=about)
        decided = select_decisions(self._store, project_id=project_id, recording_ids=about)
        was_rated = rating.recording_id in counted_of(said, decided).ratings
        with self._kept_progress.acting(rating.project_id, rating.annotator_id) as count:
            if insert_action(self._store, kind=kind, assignment_id=assignment_id, rating=rating):
                count((kind == RATE) - was_rated)

    def progress(self, project_id: UUID, *, reader: Reader) -> dict[UUID, Progress]:
        """How far every annotator is. Raises UnknownProjectError, NotLabelledError."""
        settings = self.settings(project_id, reader)
        state = State(self._store, project_id, settings, datetime.now(UTC))
        return {annotator: state.progress(annotator) for annotator in settings.annotators}

    def progress_of(self, project_id: UUID, *, annotator: Caller) -> Progress:
        """How far one annotator is; what others did in the last minute may be missing. Raises like `queue`.

        Counted on from their last queue: reading all ledgers at each rating took longer than all else that it costs.
        """
        settings = self._for_annotator(project_id, annotator)
        known = self._kept_progress.of(project_id, annotator.user.id)
        if known is not None:
            return known
        reading = self._kept_progress.reading(project_id, annotator.user.id)
        progress = State(self._store, project_id, settings, datetime.now(UTC)).progress(annotator.user.id)
        self._kept_progress.keep(reading, progress)
        return progress

    # -- reviewing

    def counted(self, project_id: UUID, *, reader: Reader) -> Counted:
        """The ratings that count. Raises UnknownProjectError."""
        self._workbench.projects.find(project_id, reader)
        return counted_of(
            select_actions(self._store, project_id=project_id), select_decisions(self._store, project_id=project_id)
        )

    def consensus(self, project_id: UUID, *, reader: Reader, method: Method = Method.MAJORITY) -> list[ConsensusLabel]:
        """What the ratings of every rated recording come to; an adjudication counts before any method.

        Raises UnknownProjectError, NotLabelledError.
        """
        settings = self.settings(project_id, reader)
        return agree(self.counted(project_id, reader=reader), settings.labels, method=method)

    def clips_for_review(
        self, project_id: UUID, *, reader: Reader, method: Method = Method.MAJORITY
    ) -> list[ReviewClip]:
        """Every rated recording with all that was said of it, those people disagree about most first.

        Raises UnknownProjectError, NotLabelledError.
        """
        settings = self.settings(project_id, reader)
        counted = self.counted(project_id, reader=reader)
        agreed = {each.recording_id: each for each in agree(counted, settings.labels, method=method)}
        touched = {*counted.ratings, *counted.decisions}
        recordings = select_recordings_by_id(self._store, recording_ids=touched, reader=_within(project_id))
        clips = {clip.recording_id: clip for clip in select_clips(self._store, project_id=project_id)}
        veiled = select_veiled_recordings(self._store, user_id=reader.user_id, recording_ids=touched)
        found = [
            _review_clip(
                recordings[recording_id],
                counted,
                agreed.get(recording_id),
                None if recording_id in veiled else guess_of(clips.get(recording_id)),
            )
            for recording_id in touched
            if recording_id in recordings
        ]
        return sorted(found, key=_most_disputed_first)

    def adjudicate(self, project_id: UUID, recording_id: UUID, label: str, *, by: Caller, note: str = "") -> Decision:
        """Say which label a recording has. Raises like `send_back`, and InvalidParameterError for an unknown label."""
        settings = self.settings(project_id, by.reader)
        if label not in settings.labels:
            raise InvalidParameterError("label", repr(label), f"one of {', '.join(settings.labels)}")
        return self._decide(DecisionKind.ADJUDICATE, project_id, recording_id, by, label=label, note=note)

    def adjudicate_segment(
        self,
        project_id: UUID,
        recording_id: UUID,
        *,
        start_s: float,
        end_s: float,
        label: str | None,
        by: Caller,
        note: str = "",
    ) -> Decision:
        """Say which label a stretch of a recording has; None for none. It counts before what people drew there.

        Raises like `send_back`, and InvalidParameterError for an unknown label or a stretch that is none.
        """
        settings = self.settings(project_id, by.reader)
        if label is not None and label not in settings.labels:
            raise InvalidParameterError("label", repr(label), f"one of {', '.join(settings.labels)}")
        recording = self._recording(project_id, recording_id)
        if not (start_s >= 0 and end_s - start_s >= SHORTEST_S and end_s <= recording.duration_s + SHORTEST_S):
            expected = f"a stretch of {SHORTEST_S} s or more within {recording.duration_s:.2f} s"
            raise InvalidParameterError("start_s", f"{start_s:g} to {end_s:g}", expected)
        kind, stretch = DecisionKind.ADJUDICATE_SEGMENT, (start_s, min(end_s, recording.duration_s))
        return self._decide(kind, project_id, recording_id, by, label=label, note=note, stretch=stretch)

    def send_back(self, project_id: UUID, recording_id: UUID, *, by: Caller, note: str = "") -> Decision:
        """Have a recording rated again by those who rated it.

        Raises
        ------
        UnknownProjectError, UnknownRecordingError
            There is no such thing.
        ForbiddenError
            Only the project's owner and admins review.
        """
        return self._decide(DecisionKind.SEND_BACK, project_id, recording_id, by, label=None, note=note)

    def comment(self, project_id: UUID, recording_id: UUID, note: str, *, by: Caller) -> Decision:
        """Say something about a recording's ratings, for whoever reviews next.

        Raises like `send_back`, and InvalidParameterError where nothing is said.
        """
        if not note.strip():
            raise InvalidParameterError("note", "empty", "what you have to say")
        return self._decide(DecisionKind.COMMENT, project_id, recording_id, by, label=None, note=note)

    def _decide(
        self,
        kind: DecisionKind,
        project_id: UUID,
        recording_id: UUID,
        by: Caller,
        *,
        label: str | None,
        note: str,
        stretch: tuple[float, float] | None = None,
    ) -> Decision:
        self._changeable(project_id, by)
        self._recording(project_id, recording_id)
        if len(note) > MAX_RATING_NOTE:
            raise InvalidParameterError("note", f"{len(note)} characters", f"at most {MAX_RATING_NOTE}")
        decision = Decision(
            id=new_id(),
            project_id=project_id,
            recording_id=recording_id,
            kind=kind,
            label=label,
            note=note,
            by=by.user.id,
            at=datetime.now(UTC),
            start_s=None if stretch is None else stretch[0],
            end_s=None if stretch is None else stretch[1],
        )
        insert_decision(self._store, decision=decision)
        if kind is DecisionKind.SEND_BACK:
            self._kept_progress.forget(project_id)
        if kind is not DecisionKind.COMMENT:
            self._workbench.access.audit(f"labelling.{kind.value}", str(recording_id), by, label=label or "")
        return decision

    def corrected_answers(self) -> list[bool]:
        """Whether the model's newest answer about each judged recording is what people agree on, last judged first.

        Of the last `MAX_CHECKED_ANSWERS` at most, for which at most `MAX_LOOKED_AT` recordings are looked at, however
        many there are: those taken back, sent back, or judged in words that the model has not say nothing about it.
        """
        checked: list[bool] = []
        for start in range(0, MAX_LOOKED_AT, MAX_CHECKED_ANSWERS):
            judged = select_last_judged(self._store, n=MAX_CHECKED_ANSWERS, start=start, reader=PROCESS)
            is_right = self._checked(judged)
            checked += [is_right[each.recording_id] for each in judged if each.recording_id in is_right]
            if len(checked) >= MAX_CHECKED_ANSWERS or len(judged) < MAX_CHECKED_ANSWERS:
                break
        return checked[:MAX_CHECKED_ANSWERS]

    def _checked(self, judged: Sequence[Judged]) -> dict[UUID, bool]:
        """Whether the model was right, for each recording that people agree on in words that it has."""
        by_project: dict[UUID, list[UUID]] = {}
        for each in judged:
            by_project.setdefault(each.project_id, []).append(each.recording_id)
        is_right = {}
        for project_id, recording_ids in by_project.items():
            settings = select_labelling_settings(self._store, project_id=project_id)
            if settings is None:
                continue
            counted = counted_of(
                select_actions(self._store, project_id=project_id, recording_ids=recording_ids),
                select_decisions(self._store, project_id=project_id, recording_ids=recording_ids),
            )
            clips = select_clips(self._store, project_id=project_id, recording_ids=recording_ids)
            guesses = {clip.recording_id: guess_of(clip) for clip in clips}
            for agreed in agree(counted, settings.labels, method=Method.MAJORITY):
                guess = guesses.get(agreed.recording_id)
                if guess is not None and guess.label in settings.labels:
                    is_right[agreed.recording_id] = guess.label == agreed.label
        return is_right

    # -- who may

    def require_reviewer(self, project_id: UUID, by: Caller) -> Project:
        """The project, where `by` may review it. Raises UnknownProjectError, ForbiddenError."""
        return self._changeable(project_id, by)

    def _changeable(self, project_id: UUID, by: Caller) -> Project:
        project = self._workbench.projects.find(project_id, by.reader)
        if project.owner_id != by.user.id and not by.reader.sees_everything:
            raise ForbiddenError("Only the owner of a project and admins set up and review its labelling.")
        return project

    def _for_annotator(self, project_id: UUID, annotator: Caller) -> LabellingSettings:
        settings = self.settings(project_id, annotator.reader)
        if annotator.user.id not in settings.annotators or annotator.user.role not in LABELLERS:
            raise ForbiddenError("You are no annotator of this project. Its owner can make you one, on the Label page.")
        return settings

    def _assigned(self, project_id: UUID, assignment_id: UUID, annotator: Caller) -> tuple[Assignment, Recording]:
        places = select_assignments(
            self._store, project_id=project_id, annotator_id=annotator.user.id, assignment_id=assignment_id
        )
        if not places:
            raise UnknownAssignmentError(assignment_id)
        assignment = places[0].assignment
        return assignment, self._recording(project_id, assignment.recording_id)

    def _recording(self, project_id: UUID, recording_id: UUID) -> Recording:
        found = select_recordings_by_id(self._store, recording_ids=[recording_id], reader=_within(project_id))
        if recording_id not in found or found[recording_id].project_id != project_id:
            raise UnknownRecordingError(recording_id)
        return found[recording_id]


def _within(project_id: UUID) -> Reader:
    """The eyes of a project: its recordings and no others."""
    return Reader(user_id=NOBODY, project_ids=frozenset({project_id}))


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reading of the ledgers that has begun."""

    key: tuple[UUID, UUID]
    n_acts: int
    n_forgotten: int
    is_alone: bool
    """Whether nothing that the annotator does was on its way to the ledgers."""


class _KeptProgress:
    """What was last read of annotators' progress, and what they did since, in this process.

    A reading beside something that the same annotator does may hold it or not: it is not kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[UUID, UUID], tuple[float, Progress]] = {}
        self._n_acts: Counter[tuple[UUID, UUID]] = Counter()
        self._n_acting: Counter[tuple[UUID, UUID]] = Counter()
        self._n_forgotten: Counter[UUID] = Counter()

    def reading(self, project_id: UUID, annotator: UUID) -> _Reading:
        """Before the ledgers are read."""
        key = (project_id, annotator)
        with self._lock:
            return _Reading(key, self._n_acts[key], self._n_forgotten[project_id], not self._n_acting[key])

    def keep(self, reading: _Reading, progress: Progress) -> None:
        """What was read."""
        key = reading.key
        with self._lock:
            self._kept.pop(key, None)
            now = (self._n_acts[key], self._n_forgotten[key[0]])
            if reading.is_alone and now == (reading.n_acts, reading.n_forgotten):
                self._kept[key] = (time.monotonic(), progress)
            while len(self._kept) > MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))

    def of(self, project_id: UUID, annotator: UUID) -> Progress | None:
        """None where too long ago, or never, anything was read."""
        with self._lock:
            read_at, progress = self._kept.get((project_id, annotator), (-math.inf, None))
        return progress if time.monotonic() - read_at < PROGRESS_KEPT_S else None

    @contextlib.contextmanager
    def acting(self, project_id: UUID, annotator: UUID) -> Iterator[Callable[[int], None]]:
        """Around what an annotator does; gives what counts clips more that they have rated, or fewer."""
        key = (project_id, annotator)

        def count(change: int) -> None:
            with self._lock:
                known = self._kept.get(key)
                if known is not None:
                    read_at, progress = known
                    self._kept[key] = (read_at, dataclasses.replace(progress, n_done=progress.n_done + change))

        with self._lock:
            self._n_acts[key] += 1
            self._n_acting[key] += 1
        try:
            yield count
        finally:
            with self._lock:
                self._n_acting[key] -= 1

    def forget(self, project_id: UUID) -> None:
        """Whoever annotates the project: what is asked of them has changed."""
        with self._lock:
            self._n_forgotten[project_id] += 1
            self._kept = {key: known for key, known in self._kept.items() if key[0] != project_id}


def _review_clip(
    recording: Recording, counted: Counted, consensus: ConsensusLabel | None, answer: Guess | None
) -> ReviewClip:
    ratings = counted.ratings.get(recording.id, ())
    decisions = counted.decisions.get(recording.id, ())
    drawn = segmentations(ratings)
    return ReviewClip(
        recording=recording,
        ratings=ratings,
        decisions=decisions,
        consensus=consensus,
        answer=answer,
        disagreement_nats=disagreement([rating.label for rating in ratings if rating.label]),
        segments=agree_on_segments(ratings, decisions),
        time_agreement=time_agreement(drawn),
        boundary_agreement=boundary_agreement(drawn),
    )


def _most_disputed_first(clip: ReviewClip) -> tuple[bool, bool, float, float, UUID]:
    """What is adjudicated last; then contested segments, labels that differ, segments that differ."""
    is_adjudicated = clip.consensus is not None and clip.consensus.adjudicated_by is not None
    apart = 0.0 if math.isnan(clip.time_agreement) else 1 - clip.time_agreement
    is_settled = not clip.is_contested
    return is_adjudicated and is_settled, is_settled, -clip.disagreement_nats, -apart, clip.recording.id
