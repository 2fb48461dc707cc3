"""POST /api/v1/batches and what follows: sent, looked at, read as they come, cancelled."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from uuid import UUID

import pytest

from api.application import create_api
from core.access.roles import ROLE_SCOPES
from core.domain import PROCESS, Role
from core.errors import ModelNotFoundError
from core.store.predictions import count_predictions
from core.workbench import open_workbench
from tests.callers import key_header
from tests.integration.api.conftest import client_of
from tests.problems import refused
from tests.sounds import voice_wav
from tests.waiting import wait_until


@pytest.fixture
def workbench(settings):
    opened = open_workbench(replace(settings, batch_workers=1, max_background_files=20, max_background_mb=3.0))
    opened.jobs.start(polling_interval_s=0.02)
    yield opened
    opened.close()


@pytest.fixture
def api(workbench):
    return create_api(lambda: workbench)


@pytest.fixture
def client(api, workbench):
    with client_of(api, workbench) as opened:
        yield opened


def files(*pitches: float) -> list:
    return [("files", (f"{pitch:.0f}.wav", voice_wav(seconds=0.6, pitch_hz=pitch))) for pitch in pitches]


def key_of(workbench, role: Role) -> dict[str, str]:
    return key_header(workbench, role=role, scopes=ROLE_SCOPES[role])


def ended(client, address: str) -> dict:
    wait_until(lambda: client.get(address).json()["ended_at"] is not None)
    return client.get(address).json()


def test_a_batch_is_accepted_scored_and_read(client, workbench):
    sent = [*files(110, 190), ("files", ("../day 1/broken.wav", b"")), ("files", ("=broken.wav", b"no sound"))]
    answer = client.post("/api/v1/batches", files=sent, data={"n_passes": "5", "name": "tuesday"})
    assert answer.status_code == 202, answer.text
    address = answer.headers["location"]
    assert address == f"/api/v1/batches/{answer.json()['id']}"
    batch = ended(client, address)
    assert (batch["state"], batch["progress"], batch["name"], batch["n_passes"]) == ("succeeded", 1.0, "tuesday", 5)
    assert (batch["n_recordings"], batch["n_scored"], batch["n_problems"]) == (4, 2, 2)
    assert batch["audio_s"] == pytest.approx(1.2)
    lines = [json.loads(line) for line in client.get(f"{address}/results").text.splitlines()]
    assert [line["position"] for line in lines] == [0, 1, 2, 3]
    assert lines[2]["name"] == "day 1/broken.wav"
    one = client.get(f"/api/v1/predictions/{lines[0]['prediction_id']}").json()
    assert {name: lines[0][name] for name in ("emotion", "confidence", "probabilities")} == {
        name: one[name] for name in ("emotion", "confidence", "probabilities")
    }
    assert lines[3]["problem"]["code"] == "unsupported_format"
    table = list(csv.DictReader(io.StringIO(client.get(f"{address}/results?format=csv").text.lstrip("\ufeff"))))
    assert [row["emotion"] for row in table[:2]] == [line["emotion"] for line in lines[:2]]
    assert [row["name"] for row in table[2:]] == ["day 1/broken.wav", "'=broken.wav"]
    assert [each["id"] for each in client.get("/api/v1/batches").json()["items"]] == [batch["id"]]


def test_results_come_in_pages(client):
    address = client.post("/api/v1/batches", files=files(110, 150, 190)).headers["location"]
    ended(client, address)
    first = client.get(f"{address}/results?limit=2")
    assert first.headers["x-next-after"] == "1"
    last = client.get(f"{address}/results?limit=2&after=1")
    assert [json.loads(line)["position"] for line in last.text.splitlines()] == [2]
    assert "x-next-after" not in last.headers
    assert client.get(f"{address}/results?problems=true").text == ""


def test_strangers_find_no_batch(client, workbench):
    address = client.post("/api/v1/batches", files=files(110)).headers["location"]
    ended(client, address)
    stranger = key_of(workbench, Role.ANALYST)
    for method, path in (("GET", address), ("GET", f"{address}/results"), ("DELETE", address)):
        refused(client.request(method, path, headers=stranger), 404, "unknown_batch")
    assert client.get("/api/v1/batches", headers=stranger).json()["items"] == []
    refused(
        client.post("/api/v1/batches", files=files(110), headers=key_of(workbench, Role.VIEWER)),
        403,
        "forbidden",
    )


def test_what_has_ended_cannot_be_cancelled(client):
    address = client.post("/api/v1/batches", files=files(110)).headers["location"]
    ended(client, address)
    refused(client.delete(address), 409, "job_state")


def test_a_batch_of_which_nothing_could_be_used_failed_and_nothing_is_left_to_retry(client):
    address = client.post("/api/v1/batches", files=[("files", ("letter.wav", b"Dear all"))]).headers["location"]
    batch = ended(client, address)
    assert (batch["state"], batch["n_scored"], batch["n_problems"]) == ("failed", 0, 1)
    assert batch["error"] == "The recording could not be used. The results of the batch tell what is wrong with it."
    refused(client.post(f"{address}/retry"), 409, "job_state")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"json": {"locations": ["/etc/passwd"]}}, "source_not_allowed"),
        ({"json": {"locations": ["https://example.org/a.wav"]}}, "source_not_allowed"),
        ({"json": {"locations": []}}, "invalid_parameter"),
        ({"json": {"locations": ["x"]}, "params": {"n_passes": 5}}, "invalid_parameter"),
        ({"files": files(110), "data": {"model": "none"}}, "model_not_found"),
        ({"files": files(110), "data": {"unknown": "1"}}, "invalid_parameter"),
        ({"files": [("files", b"x")] * 21}, "bad_request"),
    ],
    ids=["path", "url", "no places", "query beside body", "model", "unknown field", "too many"],
)
def test_what_is_out_of_place_is_refused_at_once(client, given, code):
    answer = client.post("/api/v1/batches", **given)
    assert answer.json()["code"] == code
    assert client.get("/api/v1/batches").json()["items"] == []


def test_an_empty_list_of_places_is_told_what_it_must_be(client):
    answer = client.post("/api/v1/batches", json={"locations": []})
    assert answer.json()["detail"] == "The parameter 'locations' is []; it must be a list of at least 1 item."


def test_without_running_jobs_no_batch_is_taken(settings):
    workbench = open_workbench(settings)
    try:
        with client_of(create_api(lambda: workbench), workbench) as client:
            refused(client.post("/api/v1/batches", files=files(110)), 503, "jobs_not_running")
    finally:
        workbench.close()


def test_the_same_request_with_the_same_key_is_done_once(client, workbench, wav):
    key = {"Idempotency-Key": "6d0b7b1c"}
    sent = {"files": {"file": ("clip.wav", wav)}, "headers": key}
    first, again = (client.post("/api/v1/predict", **sent) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert count_predictions(workbench.store, reader=PROCESS) == 1
    refused(
        client.post("/api/v1/predict", files={"file": ("other.wav", wav)}, headers=key), 422, "idempotency_key_reused"
    )
    refused(client.post("/api/v1/predict?n_passes=5", **sent), 422, "idempotency_key_reused")
    somebody = key_of(workbench, Role.ANALYST)
    other = client.post("/api/v1/predict", files={"file": ("clip.wav", wav)}, headers={**key, **somebody})
    assert "idempotency-replayed" not in other.headers
    refused(
        client.post("/api/v1/predict", files={"file": wav}, headers={"Idempotency-Key": ""}), 422, "invalid_parameter"
    )


def test_a_batch_sent_twice_is_one_batch(client):
    sent = {"files": files(110), "headers": {"Idempotency-Key": "nightly"}}
    first, again = (client.post("/api/v1/batches", **sent) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["location"] == again.headers["location"]
    assert len(client.get("/api/v1/batches").json()["items"]) == 1
    both = {"files": files(110, 190), "headers": {"Idempotency-Key": "both"}}
    assert client.post("/batch-predict", **both).json() == client.post("/batch-predict", **both).json()


def test_a_request_that_failed_lets_go_of_its_key(client, wav):
    key = {"Idempotency-Key": "again"}
    refused(client.post("/api/v1/predict", files={"file": ("clip.wav", b"")}, headers=key), 422, "empty_audio")
    refused(client.post("/api/v1/predict", files={"file": ("clip.wav", b"")}, headers=key), 422, "empty_audio")
    assert client.post("/api/v1/predict", files={"file": ("clip.wav", wav)}, headers=key).status_code == 200


def test_a_request_that_comes_meanwhile_has_to_wait(client, workbench, wav, monkeypatch):
    key = {"Idempotency-Key": "slow"}
    sent = {"files": {"file": ("clip.wav", wav)}, "headers": key}
    analyse = workbench.analyse
    meanwhile = []

    def slowly(*given, **named):
        monkeypatch.setattr(workbench, "analyse", analyse)
        meanwhile.append(client.post("/api/v1/predict", **sent))
        return analyse(*given, **named)

    monkeypatch.setattr(workbench, "analyse", slowly)
    assert client.post("/api/v1/predict", **sent).status_code == 200
    refused(meanwhile[0], 409, "idempotency_key_busy")


def test_a_failed_batch_goes_on_where_it_stopped_and_no_other_is_retried(client, workbench, monkeypatch):
    monkeypatch.setattr("core.batches.GROUP", 1)
    score, calls = workbench.batches._score_together, []

    def failing_once(batch, items, *given):
        calls.append(items[0].position)
        if len(calls) == 2:
            raise ModelNotFoundError("tiny", ())
        return score(batch, items, *given)

    monkeypatch.setattr(workbench.batches, "_score_together", failing_once)
    address = client.post("/api/v1/batches", files=files(110, 190, 230)).headers["location"]
    failed = ended(client, address)
    assert failed["state"] == "failed"
    assert 1 <= failed["n_scored"] < 3
    stranger = key_of(workbench, Role.ANALYST)
    refused(client.post(f"{address}/retry", headers=stranger), 404, "unknown_batch")
    assert client.post(f"{address}/retry").status_code == 202
    wait_until(lambda: client.get(address).json()["state"] == "succeeded")
    assert (calls.count(0), calls.count(1)) == (1, 2)
    assert count_predictions(workbench.store, reader=PROCESS) == 3
    wait_until(lambda: workbench.jobs.job(UUID(address.rpartition("/")[2]), reader=PROCESS).state.has_ended)
    refused(client.post(f"{address}/retry"), 409, "job_state")
