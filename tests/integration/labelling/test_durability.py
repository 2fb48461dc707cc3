"""A rating that was acknowledged survives `kill -9`, and a place is given once whichever process asks."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

from core.config import REPOSITORY
from core.identifiers import new_id
from core.store.engine import open_store
from core.store.labelling import insert_action, insert_assignment, select_actions, select_assignments
from tests.integration.labelling.conftest import make_rating

N_BEFORE = 40
CHILD = """
import sys
from datetime import UTC, datetime
from uuid import UUID
from core.domain import Rating
from core.identifiers import new_id
from core.store.engine import open_store
from core.store.labelling import RATE, assignment_id_of, insert_action

store, project = open_store(sys.argv[1]), UUID(sys.argv[2])
while True:
    rating = Rating(
        id=new_id(),
        project_id=project,
        recording_id=new_id(),
        annotator_id=new_id(),
        label="sad",
        rated_at=datetime.now(UTC),
    )
    place = assignment_id_of(project, rating.recording_id, rating.annotator_id)
    insert_action(store, kind=RATE, assignment_id=place, rating=rating)
    print(rating.id, flush=True)
"""


def test_kill_9_loses_no_acknowledged_rating(store_url):
    project = new_id()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, store_url, str(project)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    seen = [child.stdout.readline().strip() for _ in range(N_BEFORE)]
    child.send_signal(signal.SIGKILL)
    seen += child.communicate(timeout=60)[0].split("\n")
    assert child.returncode == -signal.SIGKILL
    acknowledged = {UUID(line) for line in seen if len(line) == 36}
    assert len(acknowledged) >= N_BEFORE
    with open_store(store_url) as store:
        kept = {action.rating.id for action in select_actions(store, project_id=project)}
        assert acknowledged <= kept
        assert len(kept - acknowledged) <= 1  # the one under way when it was killed


def test_one_of_many_who_want_a_place_at_the_same_moment_has_it_and_nobody_an_error(store):
    project, recordings, people = new_id(), [new_id() for _ in range(5)], [new_id() for _ in range(8)]
    at = make_rating().rated_at
    together = Barrier(len(people))

    def take(annotator):
        together.wait(30)
        return [
            insert_assignment(
                store,
                project_id=project,
                recording_id=recording,
                annotator_id=annotator,
                slot=0,
                attempt=0,
                at=at,
            )
            for recording in recordings
        ]

    with ThreadPoolExecutor(len(people)) as threads:
        given = list(threads.map(take, people))
    for number, recording in enumerate(recordings):
        [winner] = [each[number] for each in given if each[number] is not None]
        assert winner.recording_id == recording
    assert len(select_assignments(store, project_id=project)) == len(recordings)


def test_same_rating_sent_many_times_at_once_is_kept_once(store):
    project, assignment = new_id(), new_id()
    rating = make_rating(project_id=project)
    together = Barrier(6)

    def send(_number):
        together.wait(30)
        return insert_action(store, kind="rate", assignment_id=assignment, rating=rating)

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(send, range(6)))
    assert answers.count(True) == 1
    assert [action.rating for action in select_actions(store, project_id=project)] == [rating]


def test_what_was_said_last_counts_even_if_the_clock_was_set_back(store, monkeypatch):
    project, assignment = new_id(), new_id()
    said = [make_rating(label, project_id=project) for label in ("sad", "calm", "angry")]
    for hour, rating in zip((3, 2, 1), said, strict=True):
        monkeypatch.setattr("core.store.labelling.time.time_ns", lambda hour=hour: hour * 3_600_000_000_000)
        insert_action(store, kind="rate", assignment_id=assignment, rating=rating)
    assert [action.rating.label for action in select_actions(store, project_id=project)] == ["sad", "calm", "angry"]
