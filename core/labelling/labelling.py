"""The labelling of projects: who gets which clip, what they said, and what reviewers made of it."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from unicodedata import category
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
    QueueKind,
    RatedSegment,
    Rating,
    Reader,
    Recording,
    Sketch,
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
from core.labelling.queues import disagreement, kind_of_turn, ranks
from core.labelling.segments import SHORTEST_S, agree_on_segments, segmentations
from core.store.blindfolds import RATE, select_veiled_recordings
from core.store.engine import Store
from core.store.labelling import (
    SKIP,
    UNDO,
    Action,
    Clip,
    Judged,
    Place,
    assignment_id_of,
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
    select_sketches,
)
from core.store.recordings import select_recordings_by_id

if TYPE_CHECKING:
    from core.workbench import Workbench

LEASE = timedelta(hours=2)
"""How long a clip waits for whom it was given to; then another may have it. A later rating counts all the same."""
LEASE_BY_HAND = timedelta(days=14)
"""As long, for what was given by hand."""
MAX_GIVEN = 500
"""Clips times annotators, at a time."""
MAX_OVERLAP = 9
MAX_LABELS = 9
"""As many as there are keys."""
MAX_LABEL = 30
MAX_RATING_NOTE = 1000
MAX_SEGMENTS = 500
BEYOND_S = 0.02
"""So far beyond a recording's end a segment may end: tools round to milliseconds or to frames."""
MAX_WRONG_TOLD = 10
"""Segments that are told one by one."""
MAX_INSTRUCTIONS = 10_000
N_RECENT = 20
MAX_CHECKED_ANSWERS = 500
"""Answers that are checked at most: twice those that the alert on falling accuracy compares."""
MAX_LOOKED_AT = 4 * MAX_CHECKED_ANSWERS
PROGRESS_KEPT_S = 60.0
"""How long an annotator's progress is counted on from what was asked last, rather than read off the ledgers anew."""
MAX_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """The model's answer, as an annotator may see it."""

    label: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A clip for one annotator: to be rated, or rated already."""

    assignment: Assignment
    recording: Recording
    guess: Guess | None
    """None in blind mode until it is rated, and where no model has answered."""
    rating: Rating | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an annotator is."""

    n_done: int
    n_total: int
    """Clips of the project that they have rated or still can."""


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
class Holder:
    """Who has a place of a clip."""

    annotator_id: UUID
    is_rated: bool
    is_by_hand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPlaces:
    """A clip of a project, and who has its places."""

    recording: Recording
    holders: Sequence[Holder]
    """In the order of the places; those whose time is over are left out unless they have rated it."""
    n_free: int


class NotGiven(enum.StrEnum):
    """Why a clip was not given to somebody by hand."""

    THEIRS = "theirs"
    """It was given to them before: nobody gets a clip twice."""
    TAKEN = "taken"
    """All its places are taken."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The ratings of a project that count, and what became of its clips."""

    ratings: Mapping[UUID, Sequence[Rating]]
    """By recording; nobody twice, none that was taken back or sent back."""
    decisions: Mapping[UUID, Sequence[Decision]]


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
        _require_settings(settings, members)
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
        state = _State(self._store, project_id, settings, datetime.now(UTC))
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
        state = _State(self._store, project_id, settings, datetime.now(UTC))
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
        self, project_id: UUID, state: _State, recording_id: UUID, annotator: UUID, by: Caller, *, takes_over: bool
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
        state = _State(self._store, project_id, settings, now)
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
        guess = _guess(clips[0]) if clips else None
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
        was_rated = rating.recording_id in _counted(said, decided).ratings
        with self._kept_progress.acting(rating.project_id, rating.annotator_id) as count:
            if insert_action(self._store, kind=kind, assignment_id=assignment_id, rating=rating):
                count((kind == RATE) - was_rated)

    def progress(self, project_id: UUID, *, reader: Reader) -> dict[UUID, Progress]:
        """How far every annotator is. Raises UnknownProjectError, NotLabelledError."""
        settings = self.settings(project_id, reader)
        state = _State(self._store, project_id, settings, datetime.now(UTC))
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
        progress = _State(self._store, project_id, settings, datetime.now(UTC)).progress(annotator.user.id)
        self._kept_progress.keep(reading, progress)
        return progress

    # -- reviewing

    def counted(self, project_id: UUID, *, reader: Reader) -> Counted:
        """The ratings that count. Raises UnknownProjectError."""
        self._workbench.projects.find(project_id, reader)
        return _counted(
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
                None if recording_id in veiled else _guess(clips.get(recording_id)),
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
            counted = _counted(
                select_actions(self._store, project_id=project_id, recording_ids=recording_ids),
                select_decisions(self._store, project_id=project_id, recording_ids=recording_ids),
            )
            clips = select_clips(self._store, project_id=project_id, recording_ids=recording_ids)
            guesses = {clip.recording_id: _guess(clip) for clip in clips}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    recording_id: UUID
    slot: int
    attempt: int


class _State:
    """What a project's ledgers say at one moment."""

    def __init__(self, store: Store, project_id: UUID, settings: LabellingSettings, now: datetime) -> None:
        self._store, self._project_id, self._settings, self._now = store, project_id, settings, now
        self._sketches: Mapping[UUID, Sketch] | None = None
        self._clips = select_clips(store, project_id=project_id)
        self._by_id = {clip.recording_id: clip for clip in self._clips}
        places = select_assignments(store, project_id=project_id)
        actions = select_actions(store, project_id=project_id)
        decisions = select_decisions(store, project_id=project_id)
        self._sent_back = _sent_back(decisions)
        self._newest = {action.assignment_id: action for action in actions}
        self._counted = _counted(actions, decisions)
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

    def place_by_hand(self, recording_id: UUID, annotator: UUID, *, takes_over: bool) -> _Choice | NotGiven:
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
                return _Choice(recording_id=recording_id, slot=slot, attempt=holder.attempt + 1)
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

    def _free_slot(self, recording_id: UUID, annotator: UUID) -> _Choice | None:
        """A place of a clip that this annotator could take."""
        if assignment_id_of(self._project_id, recording_id, annotator) in self._places:
            return None
        for slot in range(self._settings.overlap):
            holder = self._holders.get((recording_id, slot))
            if holder is None:
                return _Choice(recording_id=recording_id, slot=slot, attempt=0)
            if self._is_free(holder):
                return _Choice(recording_id=recording_id, slot=slot, attempt=holder.attempt + 1)
        return None

    def choose(self, annotator: UUID, tried: set[UUID]) -> _Choice | None:
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
        if kind is QueueKind.DIVERSE and self._sketches is None:
            self._sketches = select_sketches(self._store, project_id=self._project_id)
        numbers = ranks(kind, self._clips, labels=labels, seed=self._settings.seed, sketches=self._sketches or {})
        return {clip.recording_id: float(number) for clip, number in zip(self._clips, numbers, strict=True)}

    def guess(self, recording_id: UUID) -> Guess | None:
        """The model's answer about a recording."""
        return _guess(self._by_id.get(recording_id))


def _sent_back(decisions: Sequence[Decision]) -> dict[UUID, datetime]:
    """By recording: when it was last sent back."""
    return {each.recording_id: each.at for each in decisions if each.kind is DecisionKind.SEND_BACK}


def _counted(actions: Sequence[Action], decisions: Sequence[Decision]) -> Counted:
    sent_back = _sent_back(decisions)
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


def _guess(clip: Clip | None) -> Guess | None:
    if clip is None or not clip.probabilities:
        return None
    emotion = max(clip.probabilities, key=lambda each: clip.probabilities[each])
    return Guess(label=emotion.value, confidence=clip.probabilities[emotion])


def _require_settings(settings: LabellingSettings, members: set[UUID]) -> None:
    labels = settings.labels
    if not 2 <= len(labels) <= MAX_LABELS or len(set(labels)) < len(labels):
        raise InvalidParameterError("labels", str(len(labels)), f"2 to {MAX_LABELS} labels, each once")
    for label in labels:
        if not label.strip() or label != label.strip() or len(label) > MAX_LABEL or not label.isprintable():
            raise InvalidParameterError("labels", repr(label[:40]), f"1 to {MAX_LABEL} printable characters each")
    if not 1 <= settings.overlap <= MAX_OVERLAP:
        raise InvalidParameterError("overlap", str(settings.overlap), f"a whole number from 1 to {MAX_OVERLAP}")
    strangers = set(settings.annotators) - members
    if strangers:
        raise InvalidParameterError(
            "annotators", str(min(strangers)), "members of the project: share it with them first"
        )
    shares = settings.queues.values()
    if sum(shares) != 100 or min(shares, default=0) < 0:
        raise InvalidParameterError("queues", str(sum(shares)), "shares in per cent that add up to 100")
    text = settings.instructions
    is_plain = all(character in "\n\r\t" or category(character) not in {"Cc", "Cs"} for character in text)
    if len(text) > MAX_INSTRUCTIONS or not is_plain:
        expected = f"at most {MAX_INSTRUCTIONS:,} characters, in as many lines as you like, without control characters"
        raise InvalidParameterError("instructions", f"{len(text):,} characters", expected)
    for label in settings.gold.values():
        if label not in labels:
            raise InvalidParameterError("gold", repr(label), f"one of {', '.join(labels)}")


def require_rating(rating: Rating, settings: LabellingSettings) -> None:
    """Raise InvalidParameterError where a rating says what the project does not ask."""
    known = f"one of {', '.join(settings.labels)}"
    ways = [rating.label is not None, rating.flag is not None, bool(rating.segments)]
    if sum(ways) != 1:
        raise InvalidParameterError("rating", "none" if not any(ways) else "several", "one of label, flag or segments")
    for name, label in (("label", rating.label), ("second", rating.second)):
        if label is not None and label not in settings.labels:
            raise InvalidParameterError(name, repr(label), known)
    if rating.intensity is not None and rating.intensity not in {1, 2, 3}:
        raise InvalidParameterError("intensity", str(rating.intensity), "1, 2 or 3")
    if len(rating.note) > MAX_RATING_NOTE:
        raise InvalidParameterError("note", f"{len(rating.note)} characters", f"at most {MAX_RATING_NOTE}")
    if not 0 <= rating.spent_s < float("inf"):
        raise InvalidParameterError("spent_s", str(rating.spent_s), "seconds, 0 or more")
    if len(rating.segments) > MAX_SEGMENTS:
        raise InvalidParameterError("segments", str(len(rating.segments)), f"at most {MAX_SEGMENTS}")
    for segment in rating.segments:
        if segment.label not in settings.labels:
            raise InvalidParameterError("segments", repr(segment.label), known)


def segments_within(segments: Sequence[RatedSegment], duration_s: float) -> tuple[RatedSegment, ...]:
    """The same segments, those that reach at most `BEYOND_S` over the end of their recording cut there.

    Raises InvalidParameterError, which names every segment that begins before the recording, ends beyond it, or does
    not end after it begins.
    """
    cut = [dataclasses.replace(each, end_s=min(each.end_s, duration_s)) for each in segments]
    wrong = [
        f"from {each.start_s:g} to {each.end_s:g} s" + (f" (number {number})" if len(segments) > 1 else "")
        for number, (each, fitting) in enumerate(zip(segments, cut, strict=True), 1)
        if not (0 <= each.start_s < fitting.end_s and each.end_s <= duration_s + BEYOND_S)
    ]
    if wrong:
        if len(wrong) > MAX_WRONG_TOLD:
            wrong = [*wrong[:MAX_WRONG_TOLD], f"{len(wrong) - MAX_WRONG_TOLD:,} more"]
        expected = f"a start before its end, both within the {duration_s:g} s of the recording"
        raise InvalidParameterError("segments", "; ".join(wrong), expected)
    return tuple(cut)
