"""The log of the real process: JSON with request ids, and nothing of what it was sent in confidence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from urllib.parse import quote

import httpx2
import pytest
import structlog
import websockets

from core.inference.executor import InferenceExecutor
from tests.bundles import TINY
from tests.process import free_port, running_app
from tests.secrets_of_tests import API_KEY, FERNET_KEY, JWT, LINK_TOKEN, PASSWORD, SOUND
from tests.sounds import voice_wav

SMTP_PASSWORD = "smtp-hunter22"
METRICS_TOKEN = "metrics-0123456789"
HOOK = "hook-path-that-is-a-secret"
SEALING_KEY = FERNET_KEY.rstrip("=")
SECRETS = (API_KEY[9:], JWT, PASSWORD, LINK_TOKEN, SEALING_KEY, SMTP_PASSWORD, METRICS_TOKEN, HOOK, SOUND[:24].decode())
MEANT_FOR_THE_TERMINAL = "/set-up?token="
"""The one link that is printed, while nobody can sign in."""
IN_CONFIDENCE = {
    "X-API-Key": API_KEY,
    "Authorization": f"Bearer {JWT}",
    "Cookie": f"telepathy_session={JWT}; telepathy_refresh={LINK_TOKEN}",
}


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """What the process wrote while everything was sent to it that it should keep to itself; and the ids it answered."""
    settings = {
        "models_dir": TINY.parent,
        "model": "tiny",
        "log_level": "debug",
        "metrics_token": METRICS_TOKEN,
        "secret_keys": SEALING_KEY,
        "smtp_url": f"smtp://me:{SMTP_PASSWORD}@127.0.0.1:{free_port()}",
        "alert_emails": "boss@example.org",
        "alert_webhook_url": f"http://127.0.0.1:{free_port()}/{HOOK}",
        "alert_disk_share": 0.0,
        "alert_interval_s": 0.1,
    }
    ids = {}
    with (
        running_app(tmp_path_factory.mktemp("logs"), **settings) as app,
        httpx2.Client(base_url=app.url, headers=IN_CONFIDENCE, timeout=30) as stranger,
        httpx2.Client(base_url=app.url, headers=app.headers, timeout=30) as known,
    ):

        def ask(method, path, client=stranger, **given):
            answer = client.request(method, path, **given)
            if "x-request-id" in answer.headers:
                ids[answer.headers["x-request-id"]] = (method, path.split("?")[0], answer.status_code)

        for path in ("/", "/link", "/api/v1/predictions", "/api/v1/nothing", "/healthz", "/metrics", "/static/x.js"):
            ask("GET", f"{path}?token={LINK_TOKEN}&password={quote(PASSWORD)}&key={API_KEY}")
        ask("GET", "/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        for path in ("/api/v1/auth/token", "/sign-in", "/link", "/register"):
            ask("POST", path, data={"email": "ann@example.org", "password": PASSWORD, "token": LINK_TOKEN})
            ask("POST", path, json={"email": "ann@example.org", "password": PASSWORD, "token": LINK_TOKEN})
        for client in (stranger, known):
            ask("POST", "/api/v1/predict", client, files={"file": ("noise.wav", SOUND)})
            ask("POST", "/api/v1/predict", client, files={"file": ("voice.wav", voice_wav(seconds=1.0))})
        ask("POST", f"/api/v1/predict?token={LINK_TOKEN}", content=SOUND, headers={"X-Request-ID": "mine-1"})
        for path in ("/ws/stream", "/_stcore/stream", "/api/v1/stream"):
            asyncio.run(knock(f"{app.url.replace('http', 'ws')}{path}?token={LINK_TOKEN}"))
        while "not delivered yet" not in app.log.read_text():
            threading.Event().wait(0.02)
        app.stop()
        written = app.log.read_text()
    assert {200, 401} <= {status for _, path, status in ids.values() if path == "/api/v1/predict"}
    assert app.headers["X-API-Key"] not in written
    return "\n".join(line for line in written.splitlines() if MEANT_FOR_THE_TERMINAL not in line), ids


async def knock(url: str) -> None:
    """Open a WebSocket, say something secret, and go."""
    with contextlib.suppress(websockets.WebSocketException, OSError):
        async with websockets.connect(url, additional_headers=IN_CONFIDENCE, open_timeout=10) as connection:
            await connection.send(json.dumps({"type": "start", "token": LINK_TOKEN, "password": PASSWORD}))
            async with asyncio.timeout(5):
                await connection.recv()


def test_no_secret_stands_in_the_log(walked):
    written, _ = walked
    assert len(written.splitlines()) > 20
    assert [secret for secret in SECRETS if secret in written] == []


def test_every_line_of_ours_is_json_with_time_and_level(walked):
    lines = [json.loads(line) for line in walked[0].splitlines() if line.startswith("{")]
    assert len(lines) > 20
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)


def test_lines_of_libraries_take_the_same_way(walked):
    """uvicorn writes of every WebSocket with its query; streamlit prints where it can be reached to standard output."""
    others = [line for line in walked[0].splitlines() if line.strip() and not line.startswith("{")]
    assert [line for line in others if "WebSocket" in line or "Traceback" in line or "token" in line] == []
    lines = [json.loads(line) for line in walked[0].splitlines() if line.startswith("{")]
    sockets = [line["event"] for line in lines if "WebSocket" in line["event"]]
    assert any('/ws/stream?token=[hidden]"' in each for each in sockets), sockets


def test_each_request_has_its_line_with_the_id_it_was_answered_with(walked):
    written, ids = walked
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    requests = {line["request_id"]: line for line in lines if line["event"] == "request"}
    assert "mine-1" in ids
    assert len(ids) >= 10
    for request_id, (method, path, status) in ids.items():
        line = requests[request_id]
        assert (line["method"], line["path"], line["status"]) == (method, path, status)


def test_what_workers_write_carries_the_id_of_the_request():
    executor = InferenceExecutor(n_workers=1, n_queue=1)
    try:
        with structlog.contextvars.bound_contextvars(request_id="of-this-one"):
            future = executor.submit(structlog.contextvars.get_contextvars)
        assert future.result(30)["request_id"] == "of-this-one"
        assert "request_id" not in executor.submit(structlog.contextvars.get_contextvars).result(30)
    finally:
        executor.shutdown(deadline_s=5)
