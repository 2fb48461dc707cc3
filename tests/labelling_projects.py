"""Projects that people label, for tests and benchmarks: recordings with sound, annotators, what they said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE
from core.access.roles import ROLE_SCOPES
from core.config import Settings
from core.domain import Caller, Emotion, LabellingSettings, Project, Purpose, Rating, RatingFlag, Recording, Role, User
from core.identifiers import new_id
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from core.workbench import Workbench, open_workbench
from tests.bundles import TINY
from tests.callers import key_header, make_user
from tests.factories import make_prediction, make_recording
from tests.prepared_stores import prepared
from tests.sounds import voice_wav

SECONDS = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A project with recordings, and who has to do with it."""

    project: Project
    owner: Caller
    annotators: list[Caller]
    recordings: list[Recording]


def caller_of(workbench: Workbench, user: User) -> Caller:
    """Who asks as `user`, as they are now."""
    return workbench.access.caller_of_key(key_header(workbench, user=user, scopes=ROLE_SCOPES[user.role])["X-API-Key"])


def make_labelled(
    workbench: Workbench,
    *,
    n_clips: int = 4,
    n_annotators: int = 2,
    owner: User | None = None,
    sounds: Sequence[bytes] | None = None,
    **settings: object,
) -> Labelled:
    """A project whose clips wait for annotators. Clips have predictions, and sound of their own or of `sounds`."""
    owner = owner or make_user(workbench, Role.ANALYST, password=None)
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=caller_of(workbench, owner))
    people = [make_user(workbench, Role.ANNOTATOR, password=None) for _ in range(n_annotators)]
    for person in people:
        workbench.projects.add_member(project.id, person.email, by=caller_of(workbench, owner))
    recordings = []
    for number in range(n_clips):
        sound = sounds[number % len(sounds)] if sounds else voice_wav(seconds=SECONDS, pitch_hz=100.0 + number)
        made = make_recording(
            owner_id=owner.id,
            project_id=project.id,
            sha256=workbench.recording_files.write(sound),
            name=f"clip {number:02d}.wav",
            duration_s=SECONDS,
        )
        recordings.append(insert_recording(workbench.store, recording=made))
    emotions = list(Emotion)
    predictions = [
        make_prediction(each, emotion=emotions[number % 8], segments=(), windows=())
        for number, each in enumerate(recordings)
    ]
    insert_predictions(workbench.store, predictions=predictions)
    given = LabellingSettings(annotators=tuple(person.id for person in people), **settings)
    workbench.labelling.configure(project.id, given, by=caller_of(workbench, owner))
    return Labelled(
        project=project,
        owner=caller_of(workbench, owner),
        annotators=[caller_of(workbench, person) for person in people],
        recordings=recordings,
    )


def rate_all(workbench: Workbench, labelled: Labelled, annotator: Caller, labels: Sequence[str | None]) -> None:
    """Have `annotator` rate the clips in their order, with `labels` over and over; None is "can't tell"."""
    queue = workbench.labelling.queue(labelled.project.id, annotator=annotator, n=len(labelled.recordings))
    tasks = {task.recording.id: task for task in queue.tasks}
    for number, recording in enumerate(labelled.recordings):
        if recording.id not in tasks:
            continue
        rating = make_rating(labels[number % len(labels)], spent_s=2.0 + number)
        assignment = tasks[recording.id].assignment
        workbench.labelling.rate(labelled.project.id, assignment.id, rating, annotator=annotator)


def make_rating(label: str | None, **given: object) -> Rating:
    """What an annotator says; whose it is and when follows from whom it is sent by."""
    nobody = UUID(int=0)
    rating = Rating(
        id=new_id(),
        project_id=nobody,
        recording_id=nobody,
        annotator_id=nobody,
        label=label,
        flag=None if label else RatingFlag.CANNOT_TELL,
        rated_at=datetime(2000, 1, 1, tzinfo=UTC),
    )
    return replace(rating, **given)


def fill_data_dir(data_dir: Path, **given: object) -> dict[str, str]:
    """A data folder with a project of one annotator, before a process opens it; the cookies of their browser."""
    workbench = open_workbench(
        Settings(data_dir=prepared(data_dir), models_dir=TINY.parent, model="tiny", access_token_minutes=1440)
    )
    try:
        labelled = make_labelled(workbench, n_annotators=1, **given)
        return cookies_of(workbench, labelled.annotators[0])
    finally:
        workbench.close()


def cookies_of(workbench: Workbench, caller: Caller) -> dict[str, str]:
    """What the browser of somebody who is signed in holds."""
    signed_in = workbench.access.start_session(caller.user, address="127.0.0.1", user_agent="a test")
    return {SESSION_COOKIE: signed_in.access_token, REFRESH_COOKIE: signed_in.refresh_token}
