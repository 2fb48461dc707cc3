"""The live stream over a real WebSocket: what it answers, what it refuses, and that nothing is lost silently."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import jsonschema
import numpy as np
import pytest
import uvicorn
import websockets.sync.client
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect, WebSocketState

from api import stream_session
from api.application import create_api
from api.stream_events import EVENTS, Summary, asyncapi_document
from api.stream_session import (
    BURST_FRAMES,
    BURST_S,
    MAX_FRAME_BYTES,
    MAX_FRAMES_PER_S,
    MAX_SPEED,
    OUTBOX,
    Pace,
    StreamSession,
)
from core.config import Settings
from core.domain import PROCESS, Purpose, Role, Scope, Source
from core.inference.live import LiveOptions, LiveStream
from core.store.predictions import PredictionFilter, count_predictions, select_prediction
from core.store.recordings import select_recording
from core.usage import Use
from core.workbench import open_workbench
from tests.callers import key_header, make_fake_caller
from tests.integration.api.conftest import TINY_MODELS, client_of
from tests.prepared_stores import prepared
from tests.sounds import voice

RATE = 16_000
CONFIGURATION = {"sample_rate": RATE, "encoding": "s16le"}
END = json.dumps({"type": "end"})


def s16le(samples: np.ndarray) -> bytes:
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def talk(socket, frames: list[bytes], configuration: dict | None = None) -> list[dict]:
    """Hold a whole conversation; every event until the summary."""
    socket.send_text(json.dumps(configuration or CONFIGURATION))
    for frame in frames:
        socket.send_bytes(frame)
    socket.send_text(END)
    return until_summary(socket)


def until_summary(socket) -> list[dict]:
    events = []
    while not events or events[-1]["type"] != "summary":
        events.append(socket.receive_json())
    return events


def pieces(data: bytes, size: int = 3_200) -> list[bytes]:
    return [data[first : first + size] for first in range(0, len(data), size)]


@pytest.fixture
def sound():
    """Speech, a pause, other speech: 5 s."""
    return np.concatenate([voice(seconds=2.0), np.zeros(RATE, np.float32), voice(seconds=2.0, pitch_hz=220.0)])


@pytest.mark.parametrize("address", ["/api/v1/stream", "/ws/stream"])
def test_stream_answers_ready_first_and_summary_last(client, sound, address):
    with client.websocket_connect(address) as socket:
        events = talk(socket, pieces(s16le(sound)))
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1000
    assert [event["type"] for event in events[:1] + events[-1:]] == ["ready", "summary"]
    kinds = {event["type"] for event in events[1:-1]}
    assert kinds == {"emotion", "silence"}
    assert events[-1]["duration_s"] == 5.0
    assert events[-1]["n_windows"] == len(events) - 2 == 9


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
def test_numbers_are_those_of_the_engine(client, workbench, sound, encoding):
    whole = np.frombuffer(s16le(sound), "<i2").astype(np.float32) / 32_768
    data = s16le(sound) if encoding == "s16le" else whole.astype("<f4").tobytes()
    with client.websocket_connect("/api/v1/stream") as socket:
        events = talk(socket, pieces(data, 4_004), CONFIGURATION | {"encoding": encoding})
    engine = LiveStream(workbench.recogniser(), LiveOptions(sample_rate_hz=RATE))
    expected = engine.push(whole) + engine.finish()
    for event, ours in zip(events[1:-1], expected, strict=True):
        assert event["start_s"] == ours.start_s
        assert event["type"] == ("silence" if ours.emotion is None else "emotion")
        if ours.emotion is not None:
            assert event["smoothed"] == pytest.approx(dict(ours.smoothed))
            assert event["confidence"] == pytest.approx(max(ours.smoothed.values()))
            assert event["predictive_entropy"] == pytest.approx(ours.uncertainty.predictive_entropy_nats)


def test_every_message_is_one_the_document_describes(client, sound):
    document = client.get("/api/asyncapi.json").json()
    assert document == json.loads(json.dumps(asyncapi_document()))
    with client.websocket_connect("/api/v1/stream") as socket:
        events = talk(socket, [b"\0", *pieces(s16le(sound))])
    for event in events:
        EVENTS.validate_python(event)
        message = document["components"]["messages"][event["type"]]
        jsonschema.validate(event, message["payload"] | {"components": document["components"]})
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {"/api/v1/stream"}


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ("no json", "JSON"),
        ("{}", "sample_rate"),
        ('{"sample_rate": 4000}', "sample_rate"),
        ('{"sample_rate": 16000, "encoding": "mp3"}', "encoding"),
        ('{"sample_rate": 16000, "hop_s": 0.1}', "hop_s"),
        ('{"sample_rate": 16000, "window_s": 0.5, "hop_s": 1.0}', "hop_s"),
        ('{"sample_rate": 16000, "sound": true}', "sound"),
        ('{"sample_rate": 16000, "model": "none such"}', "none such"),
        (b"\0\0", "first message"),
    ],
)
def test_wrong_configuration_is_told_and_may_be_sent_again(client, wrong, word):
    with client.websocket_connect("/api/v1/stream") as socket:
        socket.send_bytes(wrong) if isinstance(wrong, bytes) else socket.send_text(wrong)
        refusal = socket.receive_json()
        assert refusal["type"] == "error"
        assert refusal["recoverable"] is True
        assert word in refusal["detail"]
        assert talk(socket, pieces(s16le(voice(seconds=1.5))))[0]["type"] == "ready"


def test_broken_frames_and_unknown_texts_are_told_and_the_stream_goes_on(client):
    with client.websocket_connect("/api/v1/stream") as socket:
        socket.send_text(json.dumps(CONFIGURATION))
        socket.send_bytes(b"\0\0\0")
        socket.send_text('{"type": "pause"}')
        socket.send_bytes(s16le(voice(seconds=1.0)))
        socket.send_text(END)
        events = until_summary(socket)
    errors = [event for event in events if event["type"] == "error"]
    assert [event["code"] for event in errors] == ["broken_frame", "unknown_message"]
    assert all(event["recoverable"] for event in errors)
    assert events[-1]["n_windows"] == 1


def test_frame_beyond_the_limit_ends_the_stream_with_its_summary(client):
    with client.websocket_connect("/api/v1/stream") as socket:
        socket.send_text(json.dumps(CONFIGURATION))
        socket.send_bytes(bytes(MAX_FRAME_BYTES + 2))
        events = until_summary(socket)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert [event.get("code") for event in events if event["type"] == "error"] == ["frame_too_large"]
    assert closed.value.code == 1009


@pytest.fixture
def hasty_client(tmp_path):
    """A client of a workbench with one stream at a time, and little patience."""
    settings = Settings(
        data_dir=prepared(tmp_path / "hasty"),
        models_dir=TINY_MODELS,
        model="tiny",
        max_streams=1,
        stream_idle_s=0.4,
        max_duration_s=2.0,
    )
    workbench = open_workbench(settings)
    with client_of(create_api(lambda: workbench), workbench) as opened:
        yield opened
    workbench.close()


def test_idle_stream_is_closed_with_its_summary(hasty_client):
    with hasty_client.websocket_connect("/api/v1/stream") as socket:
        socket.send_text(json.dumps(CONFIGURATION))
        socket.send_bytes(s16le(voice(seconds=1.0)))
        events = until_summary(socket)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert events[-2]["code"] == "idle"
    assert events[-2]["recoverable"] is False
    assert closed.value.code == 4408


def test_stream_too_many_is_refused_and_a_seat_is_free_again_afterwards(hasty_client):
    with hasty_client.websocket_connect("/api/v1/stream") as first:
        first.send_text(json.dumps(CONFIGURATION))
        assert first.receive_json()["type"] == "ready"
        with hasty_client.websocket_connect("/api/v1/stream") as second:
            refusal = second.receive_json()
            assert refusal["code"] == "busy"
            assert refusal["recoverable"] is False
        first.send_text(END)
        until_summary(first)
        with pytest.raises(WebSocketDisconnect):
            first.receive_json()
    with hasty_client.websocket_connect("/api/v1/stream") as third:
        assert talk(third, [s16le(voice(seconds=1.0))])[-1]["n_windows"] == 1


@pytest.mark.parametrize(
    ("end", "code", "close_code"),
    [("key", "invalid_credentials", 4401), ("account", "invalid_credentials", 4401), ("quota", "quota_exceeded", 4429)],
)
def test_stream_whose_caller_may_not_go_on_ends_with_the_reason(api, workbench, monkeypatch, end, code, close_code):
    monkeypatch.setattr(stream_session, "CHECK_EVERY_S", 0.05)
    key = key_header(workbench, role=Role.ANALYST, scopes=[Scope.PREDICT])
    caller = workbench.access.caller_of_key(key["X-API-Key"])
    with TestClient(api).websocket_connect("/api/v1/stream", headers=key) as socket:
        socket.send_text(json.dumps(CONFIGURATION | {"store": True}))
        socket.send_bytes(s16le(voice(seconds=1.0)))
        assert socket.receive_json()["type"] == "ready"
        if end == "key":
            workbench.access.revoke_key(caller.key_id, by=None)
        elif end == "account":
            workbench.access.change_active(caller.user.id, False, by=None)
        else:
            plan = replace(workbench.settings.plans["enterprise"], audio_s_per_month=1.0)
            monkeypatch.setitem(workbench.settings.plans, "enterprise", plan)
        events = until_summary(socket)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    told = [(event["code"], event["recoverable"]) for event in events if event["type"] == "error"]
    assert told == [(code, False)]
    assert closed.value.code == close_code
    assert (events[-1]["recording_id"] is not None) == (end == "quota")


def test_process_that_stops_takes_no_more_streams(workbench):
    with (
        client_of(create_api(lambda: workbench, is_draining=lambda: True), workbench) as stopping,
        stopping.websocket_connect("/api/v1/stream") as socket,
    ):
        assert socket.receive_json()["code"] == "shutting_down"
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1012


def test_kept_stream_beyond_the_longest_recording_is_told_and_goes_on(hasty_client):
    with hasty_client.websocket_connect("/api/v1/stream") as socket:
        events = talk(socket, pieces(s16le(voice(seconds=4.0))), CONFIGURATION | {"store": True})
    assert [event["code"] for event in events if event["type"] == "warning"] == ["recording_full"]
    assert events[-1]["duration_s"] == 4.0
    assert events[-1]["recording_id"] is not None


def test_stream_is_kept_as_a_recording_with_its_timeline_when_asked(client, workbench, sound):
    with client.websocket_connect("/api/v1/stream") as socket:
        summary = talk(socket, pieces(s16le(sound)), CONFIGURATION | {"store": True, "name": "Demo"})[-1]
    prediction = select_prediction(workbench.store, reader=PROCESS, prediction_id=UUID(summary["prediction_id"]))
    assert prediction.source is Source.STREAM
    assert prediction.duration_s == 5.0
    assert prediction.segments
    assert str(prediction.recording_id) == summary["recording_id"]
    audio = client.get(f"/api/v1/recordings/{summary['recording_id']}/audio")
    assert audio.content.startswith(b"fLaC")


def test_stream_is_kept_in_a_project_once_its_sender_agreed(api, workbench, sound):
    key = key_header(workbench, role=Role.ANALYST, scopes=[Scope.PREDICT, Scope.READ])
    caller = workbench.access.caller_of_key(key["X-API-Key"])
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=caller)
    into_it = CONFIGURATION | {"store": True, "project": str(project.id)}
    with TestClient(api).websocket_connect("/api/v1/stream", headers=key) as socket:
        socket.send_text(json.dumps(into_it))
        told = socket.receive_json()
        assert (told["code"], told["recoverable"]) == ("consent_needed", True)
        assert not workbench.projects.has_agreed(caller.user.id, project.id)
        summary = talk(socket, pieces(s16le(sound)), into_it | {"consent": True})[-1]
    assert workbench.projects.has_agreed(caller.user.id, project.id)
    recording = select_recording(workbench.store, recording_id=UUID(summary["recording_id"]), reader=PROCESS)
    assert recording.project_id == project.id


def test_stream_is_not_kept_unless_asked(client, workbench, sound):
    with client.websocket_connect("/api/v1/stream") as socket:
        summary = talk(socket, pieces(s16le(sound)))[-1]
    assert summary["recording_id"] is None
    assert count_predictions(workbench.store, reader=PROCESS, filter=PredictionFilter()) == 0


@pytest.fixture
def server(api):
    """The address of a real server on a free port: only there does a sender's leaving look as it does in life."""
    running = uvicorn.Server(uvicorn.Config(api, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: running.started)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"ws://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


def until(is_true: Callable[[], bool]) -> None:
    """Wait for it, ten seconds at most."""
    ends_at = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < ends_at, "it did not come true in 10 s"
        time.sleep(0.02)


def test_stream_whose_sender_leaves_is_kept_all_the_same(server, workbench, sound):
    headers = key_header(workbench)
    with websockets.sync.client.connect(f"{server}/api/v1/stream", additional_headers=headers) as socket:
        socket.send(json.dumps(CONFIGURATION | {"store": True}))
        for frame in pieces(s16le(sound)):
            socket.send(frame)
    until(
        lambda: (
            count_predictions(workbench.store, reader=PROCESS, filter=PredictionFilter(sources=[Source.STREAM])) == 1
        )
    )


@pytest.mark.parametrize(
    ("configured", "ended", "n_kept"),
    [
        ({"may_store": True}, {"store": True}, 1),
        ({"may_store": True}, {}, 0),
        ({"store": True}, {"store": False}, 0),
        ({}, {"store": True}, 0),
    ],
)
def test_end_may_still_decide_whether_the_stream_is_kept(client, workbench, sound, configured, ended, n_kept):
    with client.websocket_connect("/api/v1/stream") as socket:
        socket.send_text(json.dumps(CONFIGURATION | configured))
        for frame in [*pieces(s16le(sound)), b""]:
            socket.send_bytes(frame)
        socket.send_text(json.dumps({"type": "end"} | ended))
        assert (until_summary(socket)[-1]["recording_id"] is not None) == bool(n_kept)
    assert count_predictions(workbench.store, reader=PROCESS, filter=PredictionFilter()) == n_kept


def test_silent_stream_cannot_be_kept_and_says_why(client):
    with client.websocket_connect("/api/v1/stream") as socket:
        events = talk(socket, [bytes(64_000)], CONFIGURATION | {"store": True})
    assert events[-2]["code"] == "silent_audio"
    assert events[-1]["recording_id"] is None


def test_page_of_another_site_cannot_open_a_stream(client):
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("/api/v1/stream", headers={"Origin": "https://elsewhere.example"}),
    ):
        pass
    assert closed.value.code == 4403
    with client.websocket_connect("/api/v1/stream", headers={"Origin": "http://testserver"}) as socket:
        assert talk(socket, [s16le(voice(seconds=1.0))])


def test_flood_is_slowed_down_and_told_and_nothing_of_it_is_lost(client):
    minute = s16le(np.tile(voice(seconds=2.0), 17))
    with client.websocket_connect("/api/v1/stream") as socket:
        events = talk(socket, pieces(minute, 160_000), CONFIGURATION | {"hop_s": 1.0})
    assert "too_fast" in {event["code"] for event in events if event["type"] == "warning"}
    assert events[-1]["duration_s"] == 34.0
    assert events[-1]["n_windows"] == 34


def test_pace_lets_real_time_pass_and_slows_what_is_faster():
    clock = [0.0]
    pace = Pace(now=lambda: clock[0])
    for _ in range(1_000):
        clock[0] += 0.1
        assert pace.delay_s(0.1) == 0
    clock[0] += 1.0
    assert pace.delay_s(BURST_S) == 0
    assert pace.delay_s(MAX_SPEED) == pytest.approx(1.0)


def test_pace_counts_frames_however_little_is_in_them():
    pace = Pace(now=lambda: 0.0)
    delays = [pace.delay_s(0.0) for _ in range(int(BURST_FRAMES + MAX_FRAMES_PER_S))]
    assert delays[int(BURST_FRAMES) - 1] == 0
    assert delays[-1] == pytest.approx(1.0)


class StuckReader:
    """A WebSocket whose other side sends everything at once and does not read until it is told to."""

    application_state = WebSocketState.CONNECTED

    def __init__(self, messages: list[dict]) -> None:
        self._messages = list(messages)
        self.reads = asyncio.Event()
        self.events: list[dict] = []

    async def receive(self) -> dict:
        return self._messages.pop(0)

    async def send_text(self, text: str) -> None:
        await self.reads.wait()
        self.events.append(json.loads(text))

    async def close(self, code: int) -> None:
        self.code = code


def test_slow_reader_is_told_and_gets_every_answer(workbench):
    sound = s16le(np.tile(voice(seconds=2.0), 14))
    frames = [{"type": "websocket.receive", "bytes": frame} for frame in pieces(sound, 32_000)]
    first = {"type": "websocket.receive", "text": json.dumps(CONFIGURATION | {"window_s": 0.5, "hop_s": 0.25})}
    socket = StuckReader([first, *frames, {"type": "websocket.receive", "text": END}])

    async def converse() -> None:
        with ThreadPoolExecutor(1) as threads:
            stream = StreamSession(socket, workbench, threads, Use(), caller=make_fake_caller())
            session = asyncio.create_task(stream.run())
            while not session.done() and session_outbox_is_not_full(session):
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.2)
            socket.reads.set()
            await session

    def session_outbox_is_not_full(session: asyncio.Task) -> bool:
        return session.get_coro().cr_frame.f_locals["self"]._outbox.qsize() < OUTBOX

    asyncio.run(converse())
    heard = [event for event in socket.events if event["type"] in {"emotion", "silence"}]
    assert [event["start_s"] for event in heard] == [0.25 * index for index in range(len(heard))]
    summary = Summary.model_validate(socket.events[-1])
    assert len(heard) == summary.n_windows == 111
    assert "slow_reader" in {event["code"] for event in socket.events if event["type"] == "warning"}
