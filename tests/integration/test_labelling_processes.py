"""Labelling from processes of their own: killed without warning, and racing for the same clips."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from uuid import UUID

import pytest

from core.access.roles import ROLE_SCOPES
from core.config import REPOSITORY
from core.domain import LabellingSettings, Purpose, Role
from core.store.labelling import RATE, select_actions, select_assignments
from core.store.recordings import insert_recording
from core.workbench import open_workbench
from tests.callers import key_header
from tests.factories import make_recording
from tests.labelling_process import settings_of


@pytest.fixture
def processes():
    """Annotators' processes that a test started; none outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def set_up(settings, *, n_annotators, n_clips):
    """A project of `n_clips` clips, each to be rated once, and the keys of its annotators."""
    workbench = open_workbench(settings)
    owner_key = key_header(workbench, role=Role.ANALYST, scopes=ROLE_SCOPES[Role.ANALYST])["X-API-Key"]
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=workbench.access.caller_of_key(owner_key))
    owner = workbench.access.caller_of_key(owner_key)
    people = []
    for _ in range(n_annotators):
        key = key_header(workbench, role=Role.ANNOTATOR, scopes=ROLE_SCOPES[Role.ANNOTATOR])["X-API-Key"]
        people.append((key, workbench.access.caller_of_key(key).user))
        workbench.projects.add_member(project.id, people[-1][1].email, by=owner)
    for _ in range(n_clips):
        recording = make_recording(owner_id=owner.user.id, project_id=project.id)
        insert_recording(workbench.store, recording=recording)
    ways = LabellingSettings(annotators=tuple(user.id for _, user in people))
    workbench.labelling.configure(project.id, ways, by=owner)
    workbench.close()
    return project, [key for key, _ in people]


def start(data_dir, store_url, project, key):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.labelling_process", str(data_dir), store_url, str(project.id), key],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def test_no_acknowledged_rating_is_lost_when_the_process_is_killed(tmp_path, store_url, processes):
    url = store_url if store_url.startswith("postgresql") else ""
    project, (key,) = set_up(settings_of(tmp_path, url), n_annotators=1, n_clips=200)
    process = start(tmp_path, url, project, key)
    processes.append(process)
    assert process.stdout.readline() == "ready\n"
    begin(process)
    acknowledged = [UUID(process.stdout.readline().strip()) for _ in range(5)]
    process.kill()
    acknowledged += [UUID(line) for line in process.stdout.read().splitlines()]

    workbench = open_workbench(settings_of(tmp_path, url))
    kept = [action.rating.id for action in select_actions(workbench.store, project_id=project.id)]
    assert len(kept) < 200, "it ended before it was killed"
    assert set(acknowledged) <= set(kept)
    assert len(set(kept)) == len(kept) <= len(acknowledged) + 1
    annotator = workbench.access.caller_of_key(key)
    queue = workbench.labelling.queue(project.id, annotator=annotator, n=1)
    assert queue.progress.n_done == len(kept)
    assert queue.progress.n_total == 200
    workbench.close()


def test_processes_that_race_for_the_same_clips_never_share_one(tmp_path, postgresql_url, processes):
    project, keys = set_up(settings_of(tmp_path, postgresql_url), n_annotators=2, n_clips=30)
    for key in keys:
        processes.append(start(tmp_path, postgresql_url, project, key))
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        begin(process)
    said = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]

    workbench = open_workbench(settings_of(tmp_path, postgresql_url))
    places = select_assignments(workbench.store, project_id=project.id)
    actions = select_actions(workbench.store, project_id=project.id)
    workbench.close()
    holders = Counter(place.assignment.recording_id for place in places)
    assert len(holders) == 30
    assert set(holders.values()) == {1}
    assert Counter(action.kind for action in actions) == {RATE: 30}
    assert {str(action.rating.id) for action in actions} == {*said[0], *said[1]}
    assert min(len(lines) for lines in said) > 0, "they did not race"
