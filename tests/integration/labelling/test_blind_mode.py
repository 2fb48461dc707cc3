"""Blind mode: whoever is to rate a clip finds the model's answer nowhere before, and everywhere afterwards."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from starlette.testclient import TestClient

import core.store.batches
import core.store.predictions
from api.application import create_api
from core.access.roles import ROUTES
from core.domain import PROCESS, Role, Source
from core.errors import AnswerHiddenError, UnknownPredictionError
from core.identifiers import new_id
from core.store.batches import Batch, BatchItem, BatchOutcome, insert_batch, insert_batch_outcomes, select_batch_rows
from core.store.labelling import select_labelling_settings
from core.store.predictions import TimeBucket, find_prediction, insert_prediction, select_predictions
from core.store.recordings import insert_recording
from tests.callers import key_header
from tests.factories import make_prediction, make_recording
from tests.integration.labelling.conftest import again, make_caller
from tests.sounds import voice_wav

MODEL = "veiled-9.9.9"
"""What every answer here says that it came from."""


@pytest.fixture
def blind(make_studio):
    """A project of one clip, with sound, a prediction about it and a batch that it came by."""
    studio = make_studio(n_annotators=2, n_clips=0, overlap=2)
    sha256 = studio.workbench.recording_files.write(voice_wav(seconds=1.0))
    made = make_recording(owner_id=studio.owner.user.id, project_id=studio.project.id, sha256=sha256)
    studio.recordings.append(insert_recording(studio.workbench.store, recording=made))
    return studio


@pytest.fixture
def answer(blind):
    made = replace(make_prediction(blind.recordings[0]), model_version=MODEL)
    return insert_prediction(blind.workbench.store, prediction=made)


@pytest.fixture
def batch(blind, answer) -> Batch:
    now = datetime.now(UTC)
    made = Batch(
        id=new_id(),
        owner_id=blind.owner.user.id,
        project_id=blind.project.id,
        name="calls",
        source=Source.BATCH,
        n_items=1,
        n_passes=2,
        timeline=None,
        model="tiny",
        plan="free",
        key_id=None,
        route="/",
        method="POST",
        request_id="r",
        address="",
        created_at=now,
    )
    store = blind.workbench.store
    insert_batch(store, batch=made, items=[BatchItem(position=0, name="call.wav", sha256="", location="")])
    outcome = BatchOutcome(
        position=0,
        recording_id=answer.recording_id,
        prediction_id=answer.id,
        fingerprint="f",
        is_repeat=False,
        problem_code="",
        problem="",
        finished_at=now,
    )
    insert_batch_outcomes(store, batch=made, outcomes=[outcome])
    return made


def known(store, reader, *, prediction_id: UUID, batch_id: UUID) -> dict[str, object]:
    """What each question about predictions gives, by the name of its function."""
    predictions, batches = core.store.predictions, core.store.batches
    day = TimeBucket.DAY
    asked = {"store": store, "reader": reader}
    of_batch = asked | {"batch_id": batch_id}
    return {
        "select_prediction": predictions.select_prediction(**asked, prediction_id=prediction_id),
        "select_predictions": predictions.select_predictions(**asked).items,
        "count_predictions": predictions.count_predictions(**asked),
        "count_predictions_by_emotion": sum(predictions.count_predictions_by_emotion(**asked).values()),
        "count_predictions_by_confidence_and_entropy": predictions.count_predictions_by_confidence_and_entropy(**asked),
        "count_predictions_over_time": predictions.count_predictions_over_time(**asked, bucket=day),
        "select_created_range": predictions.select_created_range(**asked),
        "select_emotion_figures": sum(each.n_predictions for each in predictions.select_emotion_figures(**asked)),
        "count_predictions_by_model_version": predictions.count_predictions_by_model_version(**asked),
        "count_predictions_by_source": predictions.count_predictions_by_source(**asked),
        "select_model_versions": predictions.select_model_versions(**asked),
        "select_batch_rows": [each.emotion for each in batches.select_batch_rows(**of_batch) if each.prediction_id],
        "count_batch_answers_by_emotion": sum(batches.count_batch_answers_by_emotion(**of_batch).values()),
        "count_batch_answers_by_confidence": sum(
            each.n_predictions for each in batches.count_batch_answers_by_confidence(**of_batch)
        ),
    }


TELLS_NO_ANSWER = {
    "select_batch",
    "select_batches",
    "select_batch_progress",
    "select_unfinished_batches",
    "select_waiting_items",
    "select_known_answers",
}
"""Of batches: how far they are, and ids for the batch itself to compare with."""


def test_every_question_about_predictions_is_asked_here(blind, answer, batch):
    found = {
        name
        for module in (core.store.predictions, core.store.batches)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and name.startswith(("select_", "count_"))
    }
    asked = known(blind.workbench.store, PROCESS, prediction_id=answer.id, batch_id=batch.id)
    assert found == set(asked) | TELLS_NO_ANSWER
    assert all(asked.values())


def test_annotator_learns_the_answer_from_no_question_until_they_have_rated(blind, answer, batch):
    ann, bob = blind.annotators
    ask = {"prediction_id": answer.id, "batch_id": batch.id}
    store = blind.workbench.store
    assert not {name for name, value in known(store, ann.reader, **ask).items() if value}
    assert all(known(store, blind.owner.reader, **ask).values())
    with pytest.raises(AnswerHiddenError, match=blind.recordings[0].name):
        find_prediction(store, prediction_id=answer.id, reader=ann.reader)
    blind.rate_next(ann)
    assert all(known(store, ann.reader, **ask).values())
    assert not any(known(store, bob.reader, **ask).values()), "another's rating opens it for nobody else"


def test_somebody_who_may_not_see_a_recording_is_told_that_there_is_none(blind, answer):
    stranger = make_caller(blind.workbench, Role.ANALYST)
    with pytest.raises(UnknownPredictionError):
        find_prediction(blind.workbench.store, prediction_id=answer.id, reader=stranger.reader)


def test_what_was_skipped_stays_hidden(blind, answer):
    ann = blind.annotators[0]
    assignment = blind.queue(ann, 1).tasks[0].assignment
    blind.workbench.labelling.skip(blind.project.id, assignment.id, uuid4(), annotator=ann)
    assert not select_predictions(blind.workbench.store, reader=ann.reader).items


@pytest.mark.parametrize("role", [Role.ANALYST, Role.ADMIN])
def test_owner_or_admin_who_annotates_sees_no_more_than_others(blind, answer, batch, role):
    workbench, labelling = blind.workbench, blind.workbench.labelling
    person = blind.owner
    if role is Role.ADMIN:
        person = make_caller(workbench, Role.ADMIN)
        workbench.projects.add_member(blind.project.id, person.user.email, by=blind.owner)
        person = again(workbench, person)
    settings = select_labelling_settings(workbench.store, project_id=blind.project.id)
    annotators = (*settings.annotators, person.user.id)
    labelling.configure(blind.project.id, replace(settings, annotators=annotators, overlap=3), by=blind.owner)
    ask = {"prediction_id": answer.id, "batch_id": batch.id}
    assert not any(known(workbench.store, person.reader, **ask).values())
    blind.rate_next(blind.annotators[0])
    [clip] = labelling.clips_for_review(blind.project.id, reader=person.reader)
    assert clip.answer is None
    blind.rate_next(person)
    [clip] = labelling.clips_for_review(blind.project.id, reader=person.reader)
    assert clip.answer is not None
    assert all(known(workbench.store, person.reader, **ask).values())


def test_project_that_is_blind_no_longer_hides_nothing(blind, answer):
    ann, settings = blind.annotators[0], select_labelling_settings(blind.workbench.store, project_id=blind.project.id)
    for is_blind in (False, True, False):
        changed = replace(settings, is_blind=is_blind)
        blind.workbench.labelling.configure(blind.project.id, changed, by=blind.owner)
        assert bool(select_predictions(blind.workbench.store, reader=ann.reader).items) is not is_blind


def test_own_copy_of_the_sound_tells_as_little(blind, answer):
    """Who has the file could hand it in for themselves."""
    ann, workbench = blind.annotators[0], blind.workbench
    sound = voice_wav(seconds=1.0)
    with pytest.raises(AnswerHiddenError):
        workbench.analyse(sound, name="mine", source=Source.UPLOAD, owner=ann.user.id, shown_to=ann.reader)
    with pytest.raises(AnswerHiddenError):
        workbench.explain(sound, shown_to=ann.reader)
    mine = make_recording(owner_id=ann.user.id, sha256=blind.recordings[0].sha256)
    insert_prediction(workbench.store, prediction=make_prediction(insert_recording(workbench.store, recording=mine)))
    assert not select_predictions(workbench.store, reader=ann.reader).items
    blind.rate_next(ann)
    assert len(select_predictions(workbench.store, reader=ann.reader).items) == 2


def test_what_an_annotator_hands_in_to_their_project_is_kept_and_hidden(blind):
    ann, workbench = blind.annotators[0], blind.workbench
    told = []
    workbench.webhooks.owners = lambda: frozenset({ann.user.id})
    workbench.webhooks.emit = lambda event_type, **_: told.append(event_type)
    with pytest.raises(AnswerHiddenError):
        workbench.analyse(
            voice_wav(seconds=1.0, pitch_hz=180.0),
            name="new",
            source=Source.UPLOAD,
            owner=ann.user.id,
            project_id=blind.project.id,
            shown_to=ann.reader,
        )
    [row] = select_predictions(workbench.store, reader=blind.owner.reader).items
    assert row.owner_id == ann.user.id
    assert told == []


def test_no_route_tells_an_annotator_before_they_have_rated(blind, answer, batch):
    ann, workbench = blind.annotators[0], blind.workbench
    places = {
        "prediction_id": answer.id,
        "recording_id": answer.recording_id,
        "project_id": blind.project.id,
        "batch_id": batch.id,
    }

    def told(caller) -> set[str]:
        """The routes that tell which model said something, of all that read and can be asked so."""
        found = set()
        headers = key_header(workbench, user=caller.user, scopes=caller.scopes)
        with TestClient(create_api(lambda: workbench), headers=headers, raise_server_exceptions=False) as client:
            for method, path in ROUTES:
                if method == "GET" and not (path.startswith("/api/v1/labelling") and caller is blind.owner):
                    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
                    if all(name in places for name in names):
                        params = {"columns": 10} if path.endswith("overview") else {}
                        answered = client.get(path.format(**places), params=params)
                        if MODEL in answered.text:
                            found.add(path)
            sound = {"file": ("mine.wav", voice_wav(seconds=1.0))}
            for path in ("/api/v1/predict", "/api/v1/explain"):
                answered = client.post(path, files=sound, params={"consent": True} if "predict" in path else {})
                if answered.status_code == 200:
                    found.add(path)
                elif answered.json()["code"] != "answer_hidden":
                    raise AssertionError(answered.text)
            report = client.post("/api/v1/reports", json={"format": "csv"})
            assert report.status_code == 200, report.text
            if MODEL in report.text:
                found.add("/api/v1/reports")
        return found

    assert told(ann) == set()
    everywhere = {
        "/api/v1/predictions",
        "/api/v1/predictions/{prediction_id}",
        "/api/v1/batches/{batch_id}/results",
        "/api/v1/predict",
        "/api/v1/reports",
    }
    blind.rate_next(ann)
    assert everywhere <= told(ann)


def test_batch_row_of_a_hidden_answer_stays_in_the_list(blind, batch):
    [row] = select_batch_rows(blind.workbench.store, batch_id=batch.id, reader=blind.annotators[0].reader)
    assert (row.name, row.problem, row.emotion, row.prediction_id) == ("call.wav", "", None, None)
