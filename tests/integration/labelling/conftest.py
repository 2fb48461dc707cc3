"""A project with recordings, predictions about them, and people who label them; on each database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from starlette.testclient import TestClient

from api.application import create_api
from core.access.roles import ROLE_SCOPES
from core.config import Settings
from core.domain import Caller, LabellingSettings, Project, Purpose, QueueKind, Rating, Recording, Role
from core.identifiers import new_id
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from core.workbench import Workbench, open_workbench
from tests.bundles import TINY
from tests.callers import key_header
from tests.factories import make_prediction, make_recording
from tests.prepared_stores import prepared

N_CLIPS = 6


@dataclass(frozen=True, kw_only=True)
class Studio:
    """A project that is set up, and who works on it."""

    workbench: Workbench
    project: Project
    owner: Caller
    annotators: list[Caller]
    recordings: list[Recording]

    def queue(self, annotator: Caller, n: int = 4):
        return self.workbench.labelling.queue(self.project.id, annotator=annotator, n=n)

    def rate(self, annotator: Caller, assignment_id: UUID, label: str | None = "sad", **given: object):
        rating = make_rating(label, **given)
        return self.workbench.labelling.rate(self.project.id, assignment_id, rating, annotator=annotator)

    def rate_next(self, annotator: Caller, label: str = "sad", **given: object):
        return self.rate(annotator, self.queue(annotator, 1).tasks[0].assignment.id, label, **given)


def make_rating(label: str | None = "sad", **given: object) -> Rating:
    """What an annotator says; whose it is and when follows from whom it is sent by."""
    values = {
        "id": new_id(),
        "project_id": UUID(int=0),
        "recording_id": UUID(int=0),
        "annotator_id": UUID(int=0),
        "label": label,
        "rated_at": datetime(2000, 1, 1, tzinfo=UTC),
    }
    return Rating(**(values | given))


@pytest.fixture
def workbench(tmp_path, store_url):
    url = store_url if store_url.startswith("postgresql") else ""
    opened = open_workbench(Settings(data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny", store_url=url))
    yield opened
    opened.close()


def make_caller(workbench: Workbench, role: Role) -> Caller:
    return workbench.access.caller_of_key(key_header(workbench, role=role, scopes=ROLE_SCOPES[role])["X-API-Key"])


def again(workbench: Workbench, caller: Caller) -> Caller:
    """The same caller, as they are now."""
    return workbench.access.caller_of_key(key_header(workbench, user=caller.user, scopes=caller.scopes)["X-API-Key"])


@pytest.fixture
def make_studio(workbench) -> Callable[..., Studio]:
    """Sets up a project with `N_CLIPS` recordings and two annotators; settings may be given."""

    def make(n_annotators: int = 2, n_clips: int = N_CLIPS, **settings: object) -> Studio:
        owner = make_caller(workbench, Role.ANALYST)
        project = workbench.projects.create("Voices", Purpose.RESEARCH, by=owner)
        owner = again(workbench, owner)
        annotators = []
        for _ in range(n_annotators):
            person = make_caller(workbench, Role.ANNOTATOR)
            workbench.projects.add_member(project.id, person.user.email, by=owner)
            annotators.append(again(workbench, person))
        recordings = []
        for _ in range(n_clips):
            made = make_recording(owner_id=owner.user.id, project_id=project.id)
            recordings.append(insert_recording(workbench.store, recording=made))
        insert_predictions(workbench.store, predictions=[make_prediction(each) for each in recordings])
        given = {"annotators": tuple(person.user.id for person in annotators), "queues": {QueueKind.RANDOM: 100}}
        workbench.labelling.configure(project.id, LabellingSettings(**(given | settings)), by=owner)
        return Studio(workbench=workbench, project=project, owner=owner, annotators=annotators, recordings=recordings)

    return make


@pytest.fixture
def client_of(workbench: Workbench) -> Callable[[Caller], TestClient]:
    """A program of somebody's, with a key of theirs."""

    def make(caller: Caller) -> TestClient:
        return TestClient(
            create_api(lambda: workbench), headers=key_header(workbench, user=caller.user, scopes=caller.scopes)
        )

    return make
