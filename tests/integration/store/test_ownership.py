"""Whose rows a question sees: on each database, through every function of the store."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

import core.store
from core.domain import NOBODY, PROCESS, Reader, Recording
from core.errors import UnknownRecordingError
from core.identifiers import new_id
from core.store.predictions import (
    TimeBucket,
    count_predictions,
    count_predictions_by_confidence_and_entropy,
    count_predictions_by_emotion,
    count_predictions_by_model_version,
    count_predictions_by_source,
    count_predictions_over_time,
    insert_prediction,
    insert_predictions,
    select_created_range,
    select_emotion_figures,
    select_model_versions,
    select_prediction,
    select_predictions,
)
from core.store.recordings import (
    count_recordings,
    delete_recording,
    insert_recording,
    kept_for_ever,
    select_recording,
    select_recordings_by_id,
    update_recording_project,
)
from core.store.schema import prediction_details, predictions, recordings, training_uses
from tests.factories import make_prediction, make_recording

ANNA, BORIS = Reader(user_id=new_id()), Reader(user_id=new_id())
PROJECT = new_id()
MEMBER = Reader(user_id=new_id(), project_ids=frozenset({new_id(), PROJECT}))
ASKING = ("select_", "count_", "update_", "delete_")
ABOUT_THE_STORE_ITSELF = {"core.store.engine", "core.store.alerts", "core.store.sealed_columns"}
"""Alerts are about the machine and all who use it: only the page of admins shows them."""
OF_ONE_USER = {
    "select_month_usage",
    "select_ratings_by",
    "select_decisions_by",
    "update_notes_of",
    "select_veiled_recordings",
    "update_model_events_of",
}
"""Named by their id: it reads with no other eyes."""
OF_ONE_PROJECT = "core.store.labelling"
"""Names the project, which `core.access.projects.Projects.find` has found with the eyes of whoever asks."""
OF_ACCOUNTS = "from core.store.access_s"
"""What modules of the access store say: only `core.access` asks them, and knows whose rows they are."""


@pytest.fixture
def recording(store) -> Recording:
    return insert_recording(store, recording=make_recording("a voice", owner_id=ANNA.user_id))


@pytest.fixture
def prediction(store, recording):
    return insert_prediction(store, prediction=make_prediction(recording))


def test_every_question_to_the_store_says_who_asks():
    asked = set()
    for found in pkgutil.iter_modules(core.store.__path__):
        module = importlib.import_module(f"core.store.{found.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_asking = name.startswith(ASKING) and function.__module__ == module.__name__
            if not is_asking or module.__name__ in ABOUT_THE_STORE_ITSELF or OF_ACCOUNTS in inspect.getsource(module):
                continue
            if name in OF_ONE_USER:
                assert inspect.signature(function).parameters["user_id"].default is inspect.Parameter.empty
                continue
            reader = inspect.signature(function).parameters.get("reader")
            if module.__name__ == OF_ONE_PROJECT and reader is None:
                project_id = inspect.signature(function).parameters.get("project_id")
                assert project_id is not None, f"{name} names neither a project nor whose eyes it asks with"
                assert project_id.default is inspect.Parameter.empty, f"{name} asks about any project by default"
                continue
            assert reader is not None, f"{module.__name__}.{name} does not ask whose eyes it asks with"
            assert reader.kind is inspect.Parameter.KEYWORD_ONLY, name
            assert reader.default is inspect.Parameter.empty, f"{name} has a reader by default"
            asked.add(name)
    assert {"select_prediction", "count_recordings", "delete_recording", "update_recording_project"} <= asked


def seen(store, reader: Reader, recording: Recording, prediction) -> list[bool]:
    """What each question shows `reader` of a store that holds one recording with one prediction."""
    return [
        select_recording(store, recording_id=recording.id, reader=reader) == recording,
        select_recordings_by_id(store, recording_ids=[recording.id], reader=reader) == {recording.id: recording},
        count_recordings(store, reader=reader) == 1,
        select_prediction(store, prediction_id=prediction.id, reader=reader) == prediction,
        [row.id for row in select_predictions(store, reader=reader).items] == [prediction.id],
        count_predictions(store, reader=reader) == 1,
        sum(count_predictions_by_emotion(store, reader=reader).values()) == 1,
        len(count_predictions_by_confidence_and_entropy(store, reader=reader)) == 1,
        len(count_predictions_over_time(store, bucket=TimeBucket.DAY, reader=reader)) == 1,
        select_created_range(store, reader=reader) is not None,
        select_model_versions(store, reader=reader) == [prediction.model_version],
        sum(figures.n_predictions for figures in select_emotion_figures(store, reader=reader)) == 1,
        count_predictions_by_model_version(store, reader=reader) == {prediction.model_version: 1},
        count_predictions_by_source(store, reader=reader) == {prediction.source: 1},
    ]


def test_owner_and_process_see_a_recording_and_strangers_nothing_of_it(store, recording, prediction):
    assert all(seen(store, ANNA, recording, prediction))
    assert all(seen(store, PROCESS, recording, prediction))
    for stranger in (BORIS, MEMBER, Reader(user_id=NOBODY)):
        assert not any(seen(store, stranger, recording, prediction))


def test_what_nobody_owns_is_seen_by_those_who_see_everything_alone(store):
    recording = insert_recording(store, recording=make_recording())
    prediction = insert_prediction(store, prediction=make_prediction(recording))
    assert all(seen(store, PROCESS, recording, prediction))
    for stranger in (ANNA, Reader(user_id=NOBODY)):
        assert not any(seen(store, stranger, recording, prediction))


def test_members_of_a_project_see_what_is_put_into_it_and_no_longer_when_it_is_taken_out(store, recording, prediction):
    for project_id, member_sees in ((PROJECT, True), (None, False)):
        assert update_recording_project(
            store, recording_id=recording.id, project_id=project_id, reader=ANNA, kept_for=kept_for_ever
        )
        moved = select_recording(store, recording_id=recording.id, reader=ANNA)
        assert moved.project_id == project_id
        assert seen(store, MEMBER, moved, prediction) == [member_sees] * 14
        assert all(seen(store, ANNA, moved, prediction))
        assert not any(seen(store, BORIS, moved, prediction))


def test_only_its_owner_moves_a_recording(store, recording):
    shared = make_recording("shared", owner_id=ANNA.user_id, project_id=PROJECT)
    insert_recording(store, recording=shared)
    for reader, meant in ((BORIS, recording), (MEMBER, shared)):
        assert not update_recording_project(
            store, recording_id=meant.id, project_id=None, reader=reader, kept_for=kept_for_ever
        )
    assert select_recording(store, recording_id=shared.id, reader=ANNA).project_id == PROJECT


def test_the_same_content_is_kept_once_for_each_owner(store):
    kept = [
        insert_recording(store, recording=make_recording("the same", owner_id=owner))
        for owner in (ANNA.user_id, BORIS.user_id, ANNA.user_id)
    ]
    assert kept[0].id == kept[2].id != kept[1].id
    assert count_recordings(store, reader=PROCESS, sha256=kept[0].sha256) == 2
    assert count_recordings(store, reader=ANNA, sha256=kept[0].sha256) == 1


def test_content_sent_again_into_a_project_moves_there_with_its_predictions(store, recording, prediction):
    again = make_recording("a voice", owner_id=ANNA.user_id, project_id=PROJECT)
    kept = insert_recording(store, recording=again)
    assert (kept.id, kept.project_id) == (recording.id, PROJECT)
    assert all(seen(store, MEMBER, kept, prediction))
    elsewhere = make_recording("a voice", owner_id=ANNA.user_id)
    assert insert_recording(store, recording=elsewhere).project_id == PROJECT


def test_prediction_belongs_to_whom_its_recording_belongs(store):
    shared = insert_recording(store, recording=make_recording(owner_id=ANNA.user_id, project_id=PROJECT))
    insert_predictions(store, predictions=[make_prediction(shared), make_prediction(shared)])
    with store.transaction("looking") as connection:
        found = connection.execute(select(predictions.c.owner_id, predictions.c.project_id)).all()
    assert [tuple(row) for row in found] == [(ANNA.user_id, PROJECT)] * 2


def rows_left(store) -> list[int]:
    with store.transaction("looking") as connection:
        return [len(connection.execute(select(table)).all()) for table in (recordings, predictions, prediction_details)]


def test_deleting_a_recording_leaves_nothing_of_it_and_all_of_others(store, recording, prediction):
    other = insert_recording(store, recording=make_recording(owner_id=ANNA.user_id))
    theirs = insert_prediction(store, prediction=make_prediction(other))
    insert_prediction(store, prediction=make_prediction(recording))
    assert delete_recording(store, recording_id=recording.id, reader=ANNA) == recording
    assert rows_left(store) == [1, 1, 1]
    assert all(seen(store, ANNA, other, theirs))
    assert select_prediction(store, prediction_id=prediction.id, reader=PROCESS) is None
    assert delete_recording(store, recording_id=recording.id, reader=ANNA) is None


def test_deleted_content_can_be_sent_again(store, recording):
    delete_recording(store, recording_id=recording.id, reader=ANNA)
    again = insert_recording(store, recording=make_recording("a voice", owner_id=ANNA.user_id))
    assert again.id != recording.id
    assert insert_prediction(store, prediction=make_prediction(again))


@pytest.mark.parametrize("reader", [BORIS, MEMBER, Reader(user_id=NOBODY)])
def test_strangers_and_members_delete_nothing(store, reader):
    shared = insert_recording(store, recording=make_recording(owner_id=ANNA.user_id, project_id=PROJECT))
    insert_prediction(store, prediction=make_prediction(shared))
    assert delete_recording(store, recording_id=shared.id, reader=reader) is None
    assert rows_left(store) == [1, 1, 1]


def test_models_that_learned_from_a_deleted_recording_are_marked(store, recording):
    row = {"model_version": "telepathy-0123456789ab", "recording_id": recording.id, "recording_deleted_at": None}
    store.append("marking", (training_uses, [row, row | {"recording_id": new_id()}]))
    before = datetime.now(UTC)
    delete_recording(store, recording_id=recording.id, reader=ANNA)
    with store.transaction("looking") as connection:
        marks = {use.recording_id: use.recording_deleted_at for use in connection.execute(select(training_uses))}
    assert marks.pop(recording.id) >= before
    assert list(marks.values()) == [None]


def test_predictions_inserted_while_their_recording_is_deleted_do_not_outlive_it(store):
    """Whoever comes second is told, and no prediction is left without its recording."""
    for _ in range(12):
        doomed = insert_recording(store, recording=make_recording(owner_id=ANNA.user_id))
        begins = threading.Barrier(4)

        def insert(doomed: Recording = doomed, begins: threading.Barrier = begins) -> None:
            begins.wait()
            for _ in range(3):
                insert_prediction(store, prediction=make_prediction(doomed))

        def delete(doomed: Recording = doomed, begins: threading.Barrier = begins) -> None:
            begins.wait()
            assert delete_recording(store, recording_id=doomed.id, reader=ANNA) == doomed

        with ThreadPoolExecutor(4) as pool:
            inserting = [pool.submit(insert) for _ in range(3)]
            pool.submit(delete).result()
            refusals = [future.exception() for future in inserting]
        assert all(refusal is None or isinstance(refusal, UnknownRecordingError) for refusal in refusals), refusals
        assert rows_left(store) == [0, 0, 0]
