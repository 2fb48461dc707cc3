"""Data sets and trainings over HTTP: from a ZIP to a prediction with labels of one's own."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from core.access.roles import ROLE_SCOPES
from core.domain import Role
from core.identifiers import new_id
from core.store.audit import select_audit_entries
from tests.callers import key_header
from tests.data_sets import own_zip
from tests.problems import refused
from tests.sounds import voice_wav
from tests.waiting import wait_until

SETS, TRAININGS = "/api/v1/data-sets", "/api/v1/trainings"


def send(client, n_each=6, extra=None, **headers):
    file = ("moods.zip", own_zip(n_each, extra=extra), "application/zip")
    return client.post(SETS, files={"files": file}, headers=headers)


@pytest.fixture
def moods(client):
    return send(client, extra={"set/s0/bored/bad.wav": b"nothing"}).json()


def test_what_is_left_out_is_answered_file_by_file(client, moods, workbench):
    assert (moods["name"], moods["labels"], moods["n_speakers"]) == ("moods", {"bored": 6, "excited": 6}, 4)
    [problem] = moods["problems"]
    assert problem["file"] == "set/s0/bored/bad.wav"
    assert problem["problem"].endswith(".")
    [listed] = client.get(SETS).json()["items"]
    assert (listed["id"], listed["n_clips"], listed["n_problems"]) == (moods["id"], 12, 1)
    assert client.get(f"{SETS}/{moods['id']}").json() == moods
    assert client.delete(f"{SETS}/{moods['id']}").status_code == 204
    refused(client.get(f"{SETS}/{moods['id']}"), 404, "unknown_data_set")
    assert [(entry.action, entry.subject) for entry in select_audit_entries(workbench.access.store, limit=1)] == [
        ("data_set.delete", moods["id"])
    ]


def test_the_same_request_twice_is_one_data_set(client):
    first, second = (send(client, **{"Idempotency-Key": "moods"}) for _ in range(2))
    assert (first.status_code, second.headers["Idempotency-Replayed"]) == (201, "true")
    assert first.headers["Location"] == f"{SETS}/{second.json()['id']}"
    assert len(client.get(SETS).json()["items"]) == 1


def test_a_folder_has_to_be_allowed(client):
    refused(client.post(SETS, json={"location": "/etc"}), 422, "source_not_allowed")


def test_files_without_labels_are_refused_in_words(client):
    sent = client.post(SETS, files={"files": ("a.wav", voice_wav(seconds=0.5))})
    assert "no CSV with labels" in refused(sent, 422, "invalid_parameter")["detail"]


def test_an_estimate_says_how_long_and_what_is_missing(client, moods):
    asked = {"data_set": moods["id"], "n_epochs": 10}
    plain = client.post(f"{TRAININGS}/estimate", json=asked).json()
    assert (plain["n_clips"], plain["obstacle"]) == (12, "")
    more = client.post(f"{TRAININGS}/estimate", json={**asked, "augmentations": ["noise"], "protocol": "speakers"})
    assert more.json()["seconds"] > plain["seconds"] > 0
    one = client.post(f"{TRAININGS}/estimate", json={**asked, "labels": ["bored"]}).json()
    assert "at least two" in one["obstacle"]
    unknown = client.post(f"{TRAININGS}/estimate", json={**asked, "augmentations": ["echo"]})
    assert "mixup" in refused(unknown, 422, "invalid_parameter")["detail"]


def test_a_training_is_watched_and_its_model_answers_by_its_labels(client, workbench, moods):
    workbench.jobs.start(polling_interval_s=0.02)
    sent = client.post(TRAININGS, json={"data_set": moods["id"], "name": "moods", "n_epochs": 3, "learning_rate": 0.01})
    assert sent.status_code == 202
    address = sent.headers["Location"]
    refused(client.post(TRAININGS, json={"data_set": moods["id"], "name": "moods"}), 409, "model_name_taken")
    wait_until(lambda: client.get(address).json()["state"] in ("succeeded", "failed"), timeout_s=120)
    done = client.get(address).json()
    assert (done["state"], done["error"], done["name"]) == ("succeeded", "", "moods")
    assert [point["round"] for point in done["curve"]] == [1, 2, 3]
    assert [one["id"] for one in client.get(TRAININGS).json()["items"]] == [done["id"]]
    answered = client.post(
        "/api/v1/predict", files={"file": ("a.wav", voice_wav(seconds=1.0))}, data={"model": "moods"}
    )
    assert set(answered.json()["probabilities"]) == {"bored", "excited"}
    [listed] = [model for model in client.get("/api/v1/models").json()["items"] if model["name"] == "moods"]
    assert listed["trained"]["curve"] == done["curve"]
    assert [len(row) for row in listed["trained"]["confusion"]] == [2, 2]
    assert sum(map(sum, listed["trained"]["confusion"])) == listed["scores"][0]["n_recordings"]
    assert listed["trained"]["labels"] == {"bored": 6, "excited": 6}
    refused(client.delete(address), 409, "job_state")


def test_a_training_is_cancelled(client, workbench, moods):
    workbench.jobs.start(polling_interval_s=0.02)
    sent = client.post(TRAININGS, json={"data_set": moods["id"], "name": "moods", "n_epochs": 500})
    assert client.delete(sent.headers["Location"]).json()["state"] in ("cancelled", "running", "queued")
    wait_until(lambda: not workbench.jobs._runs, timeout_s=60)
    assert client.get(sent.headers["Location"]).json()["state"] == "cancelled"


def test_strangers_find_nothing(api, client, workbench, moods):
    own = key_header(workbench, role=Role.ANALYST, scopes=ROLE_SCOPES[Role.ANALYST])
    stranger = TestClient(api, headers=own, client=("127.0.0.1", 50_001))
    assert stranger.get(SETS).json()["items"] == []
    refused(stranger.get(f"{SETS}/{moods['id']}"), 404, "unknown_data_set")
    refused(stranger.delete(f"{SETS}/{moods['id']}"), 404, "unknown_data_set")
    begun = stranger.post(TRAININGS, json={"data_set": moods["id"], "name": "mine"})
    refused(begun, 404, "unknown_data_set")


def test_no_training_by_an_id_is_said(client, workbench):
    workbench.jobs.start(polling_interval_s=0.02)
    refused(client.get(f"{TRAININGS}/{new_id()}"), 404, "unknown_job")
