"""Every call has its line in the usage ledger: what was asked, what came of it, and what the model had to do for it."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from api.application import create_api
from core.access.limits import CallLimits
from core.access.windows import Windows
from core.domain import Emotion, Reader
from core.store.usage import select_usage_events, select_usage_summary
from tests.callers import key_header
from tests.sounds import voice_wav

ADMIN = Reader(user_id=UUID(int=9), sees_everything=True)


@pytest.fixture
def lines(workbench):
    """Gives the lines that are in the ledger by now, oldest first."""

    def read():
        assert workbench.usage.flush(deadline_s=60)
        return select_usage_events(workbench.store, reader=ADMIN).items[::-1]

    return read


@pytest.mark.parametrize("path", ["/api/v1/predict", "/predict"])
def test_a_prediction_is_one_line_with_what_was_heard(client, wav, lines, path):
    answer = client.post(path, files={"file": ("clip.wav", wav)}, headers={"X-Request-ID": "mine-7"})
    body = answer.json()
    [line] = lines()
    assert (line.method, line.route, line.status, line.request_id) == ("POST", path, 200, "mine-7")
    assert (line.n_predictions, line.audio_s) == (1, pytest.approx(2.0))
    assert line.emotion is Emotion(body["emotion"])
    assert line.confidence == pytest.approx(body["confidence"])
    assert line.model_version == body["model_version"]
    assert line.duration_ms > 0


def test_a_batch_is_one_call_and_a_prediction_for_each_recording_that_could_be_used(client, wav, lines, workbench):
    files = [
        ("files", (name, data)) for name, data in [("a.wav", wav), ("b.wav", voice_wav(seconds=1.0)), ("c.wav", b"no")]
    ]
    assert client.post("/api/v1/batch-predict", files=files).status_code == 200
    assert [line.is_further for line in lines()] == [False, True]
    figures = select_usage_summary(workbench.store, reader=ADMIN).figures
    assert (figures.n_requests, figures.n_calls, figures.n_predictions) == (1, 2, 2)
    assert figures.audio_s == pytest.approx(3.0)


def test_an_explanation_is_a_call_that_costs_inference(client, wav, lines):
    body = client.post("/api/v1/explain", files={"file": ("clip.wav", wav)}).json()
    [line] = lines()
    assert (line.route, line.status, line.n_predictions) == ("/api/v1/explain", 200, 1)
    assert line.model_version == body["model_version"]
    assert 0 < line.audio_s <= 2.0


def test_a_refusal_is_noted_and_costs_no_inference(client, lines):
    assert client.post("/api/v1/predict", files={"file": ("a.wav", b"not audio")}).status_code == 415
    missing = client.get(f"/api/v1/predictions/{UUID(int=1)}")
    assert missing.status_code == 404
    assert [(line.method, line.route, line.status, line.n_predictions) for line in lines()] == [
        ("POST", "/api/v1/predict", 415, 0),
        ("GET", "/api/v1/predictions/{prediction_id}", 404, 0),
    ]


def test_probes_documents_and_unknown_addresses_are_not_calls(client, lines):
    for path in (
        "/healthz",
        "/readyz",
        "/health",
        "/api/v1/health",
        "/metrics",
        "/api/openapi.json",
        "/api/v1/nothing",
    ):
        client.get(path)
    assert lines() == ()


def test_a_live_stream_is_one_line_at_its_end(client, lines):
    with client.websocket_connect("/api/v1/stream") as socket:
        socket.send_text(json.dumps({"sample_rate": 16000, "encoding": "s16le"}))
        assert socket.receive_json()["type"] == "ready"
        socket.send_bytes(voice_wav(seconds=3.0)[44:])
        socket.send_text(json.dumps({"type": "end"}))
        while (event := socket.receive_json())["type"] != "summary":
            assert event["type"] != "error", event
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
    [line] = lines()
    assert (line.method, line.route, line.status, line.n_predictions) == ("WEBSOCKET", "/api/v1/stream", 200, 1)
    assert line.audio_s == pytest.approx(event["duration_s"])
    assert line.emotion == (None if event["emotion"] is None else Emotion(event["emotion"]))


def test_a_stream_from_another_site_is_noted_as_refused(client, lines):
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/ws/stream", headers={"origin": "https://elsewhere.example"}),
    ):
        pass
    [line] = lines()
    assert (line.route, line.status, line.n_predictions) == ("/ws/stream", 403, 0)


def test_a_request_that_finds_the_process_stopping_is_noted_as_refused(workbench, lines):
    stopping = create_api(lambda: workbench, is_draining=lambda: True)
    with (
        TestClient(stopping, headers=key_header(workbench)) as client,
        client.websocket_connect("/api/v1/stream") as socket,
    ):
        assert socket.receive_json()["code"] == "shutting_down"
    [line] = lines()
    assert line.status == 503


def test_a_closed_workbench_has_written_every_line(client, wav, workbench, settings):
    from core.store.engine import open_store

    for _ in range(3):
        client.post("/api/v1/predict", files={"file": ("clip.wav", wav)})
    workbench.close()
    with open_store(settings.store_location) as store:
        assert select_usage_summary(store, reader=ADMIN).figures.n_calls == 3


def test_strangers_are_limited_by_address_and_fill_no_ledger(api, workbench, lines):
    workbench.limits = CallLimits(Windows(), address_limits="3 per minute")
    stranger = TestClient(api, client=("203.0.113.7", 50_000))
    assert [stranger.get("/api/v1/predictions").status_code for _ in range(6)] == [401] * 3 + [429] * 3
    assert [(line.status, line.user_id) for line in lines()] == [(401, None)] * 3
