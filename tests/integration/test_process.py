"""The whole process as an operator meets it: one address for pages and API, a clean start, an end without loss."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
import websockets.exceptions
import websockets.sync.client

from core.config import REPOSITORY, Settings
from core.domain import PROCESS
from core.store.engine import open_store
from core.store.predictions import select_prediction
from tests.process import RunningApp, free_port, running_app, start
from tests.signed_in import OPENED_BY_A_PERSON, set_up_path
from tests.sounds import voice_wav

TINY = {"models_dir": REPOSITORY / "tests" / "reference" / "models", "model": "tiny"}
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with running_app(tmp_path_factory.mktemp("process"), **TINY) as running:
        yield running


@pytest.fixture(scope="module")
def client(app):
    """A program with the admin's key, which opens no pages."""
    with httpx2.Client(base_url=app.url, timeout=30, headers=app.headers) as opened:
        yield opened


@pytest.fixture(scope="module")
def browser(app):
    """Who holds the admin's cookies."""
    with httpx2.Client(base_url=app.url, timeout=30, cookies=app.admin.cookies) as opened:
        yield opened


def test_pages_are_served_at_the_root_and_at_their_addresses(browser):
    for path in ("/", "/explore", "/no-such-page"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "/sign-in"),
        ("/explore?emotion=sad&emotion=calm", "/sign-in?next=/explore%3Femotion%3Dsad%26emotion%3Dcalm"),
        ("/index.html", "/sign-in?next=/index.html"),
        ("/static/../", None),
    ],
)
def test_pages_lead_strangers_to_the_sign_in_page(app, path, target):
    answer = httpx2.get(f"{app.url}{path}", timeout=30)
    if target is not None:
        assert (answer.status_code, answer.headers["location"]) == (303, target)
    else:
        assert answer.status_code != 200


@pytest.mark.parametrize("cookies", [{}, {"telepathy_session": "x.y.z", "telepathy_refresh": "0" * 32}])
def test_nothing_behind_the_pages_is_open_to_strangers(app, cookies):
    with httpx2.Client(base_url=app.url, timeout=30, cookies=cookies) as stranger:
        for path in ("/media/abc.wav", "/_stcore/metrics", "/component/x/y", "/_stcore/bidi-components/x/y.js"):
            assert stranger.get(path).status_code == 401, path
        for path in ("/_stcore/upload_file/a/b", "/_stcore/agent/interact", "/_stcore/agent/mcp"):
            assert stranger.post(path, headers={"origin": app.url}).status_code == 401, path
            assert stranger.post(path).status_code == 403, path
        for path in ("/_stcore/health", "/_stcore/host-config"):
            assert stranger.get(path).status_code == 200, path
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
    with (
        pytest.raises(websockets.exceptions.InvalidStatus) as refused,
        websockets.sync.client.connect(
            f"ws://127.0.0.1:{app.port}/_stcore/stream", subprotocols=["streamlit"], additional_headers=headers
        ),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_page_of_another_site_opens_no_socket_through_a_browser(app):
    cookie = "; ".join(f"{name}={value}" for name, value in app.admin.cookies.items())

    def connect(origin: str):
        return websockets.sync.client.connect(
            f"ws://127.0.0.1:{app.port}/_stcore/stream",
            origin=origin,
            subprotocols=["streamlit"],
            additional_headers={"Cookie": cookie},
        )

    with connect(app.url):
        pass
    for origin in ("https://evil.example", f"http://localhost:{app.port}", "http://127.0.0.1:3000"):
        with pytest.raises(websockets.exceptions.InvalidStatus), connect(origin):
            pass


def test_set_up_link_worked_once(app):
    answer = httpx2.get(app.url + set_up_path(app.log), headers=OPENED_BY_A_PERSON, timeout=30)
    assert answer.status_code == 403
    assert "was used already" in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/health", "/api/v1/health", "/readyz", "/api/openapi.json"])
def test_probes_and_routes_answer_json_and_no_page(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_answer_head_as_load_balancers_send_it(client, path):
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/ws/stream", "/api/v1/stream"])
def test_address_of_the_stream_is_no_page(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["code"] == "upgrade_required"


def test_metrics_answer_text(client):
    assert client.get("/metrics").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/nothing", "/api/v1/predict/more"])
def test_unknown_path_below_api_is_a_problem_and_no_page(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["instance"] == path


@pytest.mark.parametrize("path", ["/predict", "/batch-predict", "/api/v1/predict"])
def test_wrong_method_is_a_problem_and_no_page(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/api/v1/predict", "/predict"])
def test_prediction_by_http_stands_in_the_list(client, path):
    data = voice_wav(seconds=2.0, pitch_hz=100 + len(path))
    n_before = n_predictions_by_api(client)
    made = client.post(path, files={"file": ("over the wire.wav", data)}).raise_for_status().json()
    newest = client.get("/api/v1/predictions", params={"limit": 1}).json()["items"][0]
    assert newest["id"] == made["id"]
    assert client.get(f"/api/v1/recordings/{made['recording_id']}/audio").content == data
    assert n_predictions_by_api(client) == n_before + 1


def n_predictions_by_api(client) -> float:
    """What the process has counted so far, over all emotions."""
    counted = re.findall(r'telepathy_predictions_total{[^}]*source="api"} ([0-9.]+)', client.get("/metrics").text)
    return sum(map(float, counted))


def test_batch_alias(client):
    answer = client.post("/batch-predict", files=[("files", voice_wav(seconds=1.0)), ("files", b"no sound at all")])
    assert (len(answer.json()["results"]), len(answer.json()["problems"])) == (1, 1)


def test_body_beyond_the_limit_is_refused_while_it_is_sent(app):
    head = (
        "POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"X-API-Key: {app.admin.key}\r\n"
    )
    part = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    block = bytes(1_000_000)
    n_sent = 0
    with socket.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(part):x}\r\n{part}\r\n".encode())
        with contextlib.suppress(ConnectionError):
            while n_sent < 500:
                connection.sendall(b"%x\r\n%s\r\n" % (len(block), block))
                n_sent += 1
        answer = connection.recv(65536)
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"upload_too_large" in answer
    assert n_sent < 60, "it has to stop reading near its limit of 25 MB"


def test_api_documentation_works_without_the_internet(app):
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(f"{app.url}/api/docs")
        page.get_by_text("Say which emotion a recording carries").wait_for(timeout=20_000)
        page.get_by_text("Say which emotion a recording carries").click()
        page.get_by_text("Stochastic forward passes behind the answer.").first.wait_for(timeout=20_000)
        browser.close()
    elsewhere = [url for url in asked if not url.startswith((app.url, "data:", "blob:"))]
    assert elsewhere == []
    assert complaints == []


def post_and_stop(app: RunningApp, n_requests: int) -> list[tuple[int, dict, bool]]:
    """Send different recordings at once and, when all are under way and the first is answered, SIGTERM.

    Status, body and whether it came after the signal, of each; a request left without an answer raises.
    """
    bodies = [
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%s\r\n--x--\r\n'
        % voice_wav(seconds=6.0, pitch_hz=80 + number)
        for number in range(n_requests)
    ]
    under_way, is_stopping, is_first_answered = threading.Semaphore(0), threading.Event(), threading.Event()

    def post(body: bytes) -> tuple[int, dict, bool]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", app.port, timeout=60)) as connection:
            connection.request("GET", "/healthz")  # the server has this connection, and not only the kernel
            connection.getresponse().read()
            headers = {"Content-Type": "multipart/form-data; boundary=x"} | app.headers
            connection.request("POST", "/api/v1/predict", body, headers)
            under_way.release()
            with connection.getresponse() as answer:
                came_after = is_stopping.is_set()
                is_first_answered.set()
                return answer.status, json.load(answer), came_after

    with ThreadPoolExecutor(n_requests) as threads:
        answers = [threads.submit(post, body) for body in bodies]
        for _ in bodies:
            assert under_way.acquire(timeout=60)
        assert is_first_answered.wait(60)
        is_stopping.set()
        app.process.send_signal(signal.SIGTERM)
        return [answer.result() for answer in answers]


def test_stopping_amid_predictions_loses_none_that_was_acknowledged(tmp_path):
    with running_app(tmp_path, **TINY, inference_workers=1, n_passes=500) as app:
        answers = post_and_stop(app, 50)
        exit_code = app.process.wait(30)
        log = app.log.read_text()
    assert exit_code == -signal.SIGTERM
    assert "Traceback" not in log, log
    assert {status for status, _, _ in answers} <= {200, 503}
    assert {body["code"] for status, body, _ in answers if status == 503} <= {"shutting_down"}
    assert [status for status, _, came_after in answers if came_after].count(200) > 0
    assert not list(tmp_path.glob("*.wal")), "a clean end leaves no write-ahead log"
    with open_store(Settings(data_dir=tmp_path).store_location) as store:
        for status, body, _ in answers:
            if status == 200:
                assert select_prediction(store, reader=PROCESS, prediction_id=UUID(body["id"])) is not None


def test_predictions_beyond_the_deadline_are_refused_and_not_dropped(tmp_path):
    with running_app(tmp_path, **TINY, inference_workers=1, n_passes=500, shutdown_deadline_s=0.2) as app:
        answers = post_and_stop(app, 50)
        assert app.process.wait(30) == -signal.SIGTERM
        assert "Traceback" not in app.log.read_text()
    assert {(status, body.get("code")) for status, body, _ in answers} == {(200, None), (503, "shutting_down")}
    with open_store(Settings(data_dir=tmp_path).store_location) as store:
        for status, body, _ in answers:
            if status == 200:
                assert select_prediction(store, reader=PROCESS, prediction_id=UUID(body["id"])) is not None


def test_sender_who_stalls_does_not_keep_the_process_from_stopping(tmp_path):
    with running_app(tmp_path, **TINY, shutdown_deadline_s=1) as app:
        head = (
            "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            f"X-API-Key: {app.admin.key}\r\n"
        )
        with socket.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
            connection.sendall(f"{head}Content-Length: 100000\r\n\r\n--x\r\n".encode())
            time.sleep(0.3)
            started = time.monotonic()
            assert app.stop() == -signal.SIGTERM
            assert time.monotonic() - started < 6
            answer = connection.recv(65536)
    assert b" 503 " in answer.split(b"\r\n")[0]
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "shutting_down"


def test_interrupt_stops_it_as_cleanly(tmp_path):
    with running_app(tmp_path, **TINY) as app:
        answer = httpx2.post(f"{app.url}/predict", files={"file": voice_wav(seconds=1.0)}, headers=app.headers)
        answer.raise_for_status()
        app.stop(signal.SIGINT)
        assert "Traceback" not in app.log.read_text()
    assert not list(tmp_path.glob("*.wal"))


SERVING = """
import asyncio, gc
import app

async def serve():
    async with app.lifespan(app.app):
        gc.collect()
        print(gc.get_freeze_count(), len(gc.get_objects()))

asyncio.run(serve())
"""


def test_once_it_serves_the_garbage_collector_spares_what_is_loaded(tmp_path):
    environ = os.environ | {f"TELEPATHY_{name.upper()}": str(value) for name, value in TINY.items()}
    done = subprocess.run(
        [sys.executable, "-c", SERVING],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env=environ | {"TELEPATHY_DATA_DIR": str(tmp_path)},
        timeout=120,
    )
    n_spared, n_looked_through = map(int, done.stdout.split()[-2:])
    assert n_spared > 200_000
    assert n_looked_through < 10_000


def ended(tmp_path: Path, *, port: int | None = None, **settings: object) -> tuple[int, str]:
    """Exit code and output of a process that cannot start."""
    log = tmp_path / "ended.log"
    process = start(tmp_path, port=port or free_port(), log=log, settings=TINY | settings)
    return process.wait(120), log.read_text()


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("npasses", 5, r"There is no setting 'TELEPATHY_NPASSES'\. Did you mean 'TELEPATHY_N_PASSES'"),
        ("n_passes", 1, r"The setting 'n_passes' is 1; it must be a number from 2 to 500\."),
        ("store_url", "mysql://root:secret@db/x", r"The setting 'store_url' is .*; it must be"),
    ],
)
def test_wrong_setting_ends_with_one_sentence(tmp_path, setting, value, sentence):
    code, output = ended(tmp_path, **{setting: value})
    assert code == 2, output
    assert re.search(f"^Telepathy cannot start. {sentence}", output, re.MULTILINE)
    assert "Traceback" not in output
    assert "secret" not in output


def test_second_process_on_the_same_data_ends_with_one_sentence(app, tmp_path):
    held = app.log.parent
    code, output = ended(tmp_path, data_dir=held)
    assert code == 2, output
    assert re.search(rf"^Telepathy cannot start. .*{app.process.pid} holds the lock.*$", output, re.MULTILINE), output
    assert "Traceback" not in output


def test_port_in_use_ends_with_one_sentence(app, tmp_path):
    code, output = ended(tmp_path, port=app.port)
    assert code == 1
    assert f"Port {app.port} is not available" in output
    assert "Traceback" not in output
    assert not list(tmp_path.glob("*.duckdb")), "it ends before it opens anything"
