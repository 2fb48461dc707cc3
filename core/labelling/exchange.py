"""Ratings out of a project as a file, and into it from one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from core.domain import NOBODY, Assignment, Caller, LabellingSettings, Project, Rating, Reader, Recording
from core.errors import InvalidParameterError, UnknownUserError
from core.identifiers import new_id
from core.labelling.formats.file_ratings import FileProblem, FileRating, placed, settled
from core.labelling.formats.kinds import LabelFile, LabelFormat, read_file, write_file
from core.labelling.rules import require_rating, segments_within
from core.store.engine import try_again
from core.store.labelling import Place, assignment_id_of, insert_imported, select_assignments
from core.store.recordings import select_recordings

if TYPE_CHECKING:
    from core.workbench import Workbench

_NAMESPACE = UUID("b3a7a2a4-60f5-5f1e-9d0b-8f0c7f1b9f60")
"""Of the ids of annotators that have no account; any UUID that nothing else uses."""
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What became of a file of ratings."""

    n_new: int
    n_known: int
    """Left out, since their annotator has rated this recording before."""
    problems: Sequence[FileProblem]


def export_ratings(workbench: Workbench, project_id: UUID, format: LabelFormat, *, by: Caller) -> LabelFile:
    """The ratings of a project that count, as a file.

    Raises
    ------
    UnknownProjectError
        There is no such project, or it is not shared with them.
    ForbiddenError
        Only its owner and admins may.
    """
    project = workbench.labelling.require_reviewer(project_id, by)
    counted = workbench.labelling.counted(project_id, reader=by.reader)
    names = _Names(workbench, project, by)
    ratings = [
        FileRating(
            where="",
            recording_id=recording.id,
            recording_name=recording.name,
            duration_s=recording.duration_s,
            annotator=names.of(rating.annotator_id),
            label=rating.label,
            second=rating.second,
            intensity=rating.intensity,
            flag=rating.flag,
            note=rating.note,
            segments=rating.segments,
            spent_s=rating.spent_s,
            answer_shown=rating.answer_shown,
            rated_at=rating.rated_at,
            rating_id=rating.id,
        )
        for recording in _recordings(workbench, project_id)
        for rating in counted.ratings.get(recording.id, ())
    ]
    workbench.access.audit("labelling.export", str(project_id), by, format=format.value, ratings=len(ratings))
    name = re.sub(r"[^\w.-]+", "-", project.name).strip("-.") or "ratings"
    return write_file(format, ratings, name=name)


def import_ratings(
    workbench: Workbench, project_id: UUID, data: bytes, *, name: str, format: LabelFormat, by: Caller
) -> Import:
    """Keep the ratings of a file, but those of people who have rated the recording already.

    An annotator is the project's member of that address; `by`, where the file names nobody; else an id that follows
    from the name, which itself is not kept. Ratings of people fill places of clips, as if they had been made here.

    Raises
    ------
    UnknownProjectError, NotLabelledError, ForbiddenError
        As `export_ratings`, and nobody has set up how the project is labelled.
    LabelsFileError
        Nothing of the file can be read.
    """
    project = workbench.labelling.require_reviewer(project_id, by)
    settings = workbench.labelling.settings(project_id, by.reader)
    reading = read_file(format, data, name=name)
    finder = _Finder(_recordings(workbench, project_id))
    names = _Names(workbench, project, by)
    problems = list(reading.problems)
    wanted: dict[tuple[UUID, UUID], Rating] = {}
    n_twice = 0
    for found in reading.ratings:
        recording = finder.find(found)
        if isinstance(recording, str):
            problems.append(FileProblem(where=found.where, sentence=recording))
            continue
        found = settled(found, recording.duration_s)
        outside = list(_outside(found, recording.duration_s))
        if outside:  # the rating without them would say that its annotator heard nothing there
            problems += outside
            continue
        try:
            rating = _rating(found, project, recording, names, settings)
        except InvalidParameterError as error:
            problems.append(FileProblem(where=found.where, sentence=str(error)))
            continue
        key = (rating.recording_id, rating.annotator_id)
        n_twice += key in wanted
        wanted.setdefault(key, rating)

    def keep() -> int:
        counted = workbench.labelling.counted(project_id, reader=by.reader)
        known = {(said.recording_id, said.annotator_id) for some in counted.ratings.values() for said in some}
        new = [rating for key, rating in wanted.items() if key not in known]
        insert_imported(workbench.store, places=list(_new_places(workbench, project_id, new)), ratings=new)
        return len(new)

    n_new = try_again(keep)
    workbench.access.audit("labelling.import", str(project_id), by, format=format.value, ratings=n_new)
    return Import(n_new=n_new, n_known=len(wanted) - n_new + n_twice, problems=problems)


def _outside(found: FileRating, duration_s: float) -> Iterator[FileProblem]:
    """A problem for each segment that is not within the recording, where it stands."""
    for segment, where in placed(found):
        try:
            segments_within([segment], duration_s)
        except InvalidParameterError as error:
            yield FileProblem(where=where, sentence=f"{error} The rating with it is left out.")


def _rating(
    found: FileRating, project: Project, recording: Recording, names: _Names, settings: LabellingSettings
) -> Rating:
    now = datetime.now(UTC)
    rating = Rating(
        id=new_id(),
        project_id=project.id,
        recording_id=recording.id,
        annotator_id=names.id_of(found.annotator),
        label=found.label,
        second=found.second,
        intensity=found.intensity,
        flag=found.flag,
        note=found.note.replace("\0", ""),
        segments=segments_within(found.segments, recording.duration_s),
        spent_s=found.spent_s,
        answer_shown=found.answer_shown,
        rated_at=now if found.rated_at is None else min(found.rated_at, now),
    )
    require_rating(rating, settings)
    return rating


def _new_places(workbench: Workbench, project_id: UUID, ratings: Sequence[Rating]) -> Iterator[Place]:
    """A place for each rating whose annotator has none at the recording: the first that nobody ever had."""
    given = [place.assignment for place in select_assignments(workbench.store, project_id=project_id)]
    ids = {assignment.id for assignment in given}
    slots: dict[UUID, set[int]] = {}
    for assignment in given:
        slots.setdefault(assignment.recording_id, set()).add(assignment.slot)
    for rating in ratings:
        assignment_id = assignment_id_of(project_id, rating.recording_id, rating.annotator_id)
        if assignment_id in ids:
            continue
        taken = slots.setdefault(rating.recording_id, set())
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        taken.add(slot)
        yield Place(
            assignment=Assignment(
                id=assignment_id,
                project_id=project_id,
                recording_id=rating.recording_id,
                annotator_id=rating.annotator_id,
                slot=slot,
                assigned_at=rating.rated_at,
            ),
            attempt=0,
        )


def _recordings(workbench: Workbench, project_id: UUID) -> list[Recording]:
    within = Reader(user_id=NOBODY, project_ids=frozenset({project_id}))
    found: list[Recording] = []
    while True:
        some = select_recordings(
            workbench.store,
            reader=within,
            project_id=project_id,
            after=found[-1].id if found else None,
            limit=_AT_ONCE,
        )
        found += some
        if len(some) < _AT_ONCE:
            return found


class _Names:
    """Annotators by what files call them."""

    def __init__(self, workbench: Workbench, project: Project, by: Caller) -> None:
        self._access, self._project, self._by = workbench.access, project, by
        members = workbench.projects.members(project.id, by.reader)
        self._names = {user.id: user.email for user in members}
        self._ids = {user.email.casefold(): user.id for user in members}

    def of(self, annotator_id: UUID) -> str:
        """The address of an account, also of one that is no member any more; the id where there is none."""
        if annotator_id not in self._names:
            try:
                self._names[annotator_id] = self._access.user(annotator_id).email
            except UnknownUserError:
                self._names[annotator_id] = str(annotator_id)
        return self._names[annotator_id]

    def id_of(self, name: str) -> UUID:
        """Who a file means: a member by address, whoever imports where it names nobody, else nobody who has an
        account here."""
        wanted = name.strip().casefold()
        if not wanted:
            return self._by.user.id
        known = self._ids.get(wanted)
        if known is None:
            known = self._ids[wanted] = self._stranger(wanted)
        return known

    def _stranger(self, name: str) -> UUID:
        try:
            found = UUID(name)
        except ValueError:
            return uuid5(_NAMESPACE, f"{self._project.id}\n{name}")
        # An id that an earlier import made stands for the same name again; one of an account may not be claimed.
        return found if self.of(found) == str(found) else uuid5(_NAMESPACE, f"{self._project.id}\n{name}")


class _Finder:
    """The recordings of a project by what files call them."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._by_id = {recording.id: recording for recording in recordings}
        self._by_name: dict[str, list[Recording]] = {}
        for recording in recordings:
            path = PurePosixPath(recording.name.casefold())
            for name in {str(path), path.name, path.stem}:
                self._by_name.setdefault(name, []).append(recording)

    def find(self, rating: FileRating) -> Recording | str:
        """The recording that a rating is about, or a sentence that says why there is none."""
        if rating.recording_id is not None:
            known = self._by_id.get(rating.recording_id)
            return known or f"There is no recording {rating.recording_id} in this project."
        named = self._by_name.get(rating.recording_name.strip().casefold(), [])
        if len(named) == 1:
            return named[0]
        if named:
            return f"{len(named)} recordings are called {rating.recording_name[:100]!r}: name it by its id."
        return f"There is no recording {rating.recording_name[:100]!r} in this project."
