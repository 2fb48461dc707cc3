"""Attacks on the real process: senders who keep their places, addresses that no client would write."""

from __future__ import annotations

import contextlib
import re
import socket

import httpx2
import pytest

from core.config import REPOSITORY
from core.domain import PROCESS
from core.store.engine import open_store
from core.store.usage import select_usage_events
from tests.process import running_app
from tests.sounds import voice_wav

TINY = {"models_dir": REPOSITORY / "tests" / "reference" / "models", "model": "tiny"}
STALL_S = 3
N_STALLED = 60
N_SLOW_HEADERS = 60


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("process")
    data_dir.chmod(0o755)  # as folders are that somebody makes by hand
    with running_app(data_dir, **TINY, upload_stall_s=STALL_S) as running:
        yield running


def head(app, *lines: str) -> bytes:
    """The beginning of a prediction's request, up to its body."""
    fixed = ["POST /api/v1/predict HTTP/1.1", "Host: x", "Content-Type: multipart/form-data; boundary=x"]
    return "\r\n".join([*fixed, f"X-API-Key: {app.admin.key}", *lines, "", ""]).encode()


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(65_536):
            received += block
    return received


def in_flight(app) -> float:
    text = httpx2.get(f"{app.url}/metrics", timeout=30).text
    found = re.search(r"^telepathy_http_requests_in_flight (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


@pytest.mark.timeout(120)
def test_senders_who_stall_or_trickle_keep_nobody_waiting_and_are_given_up(app):
    """Bodies that stop, headers that stop, and a body of one byte now and then; each more than there are threads."""
    with contextlib.ExitStack() as open_connections:

        def connect(begun: bytes) -> socket.socket:
            connection = open_connections.enter_context(socket.create_connection(("127.0.0.1", app.port), timeout=60))
            connection.sendall(begun)
            return connection

        for _ in range(N_SLOW_HEADERS):
            connect(b"POST /api/v1/predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        stalled = [connect(head(app, "Content-Length: 100000") + PART) for _ in range(N_STALLED)]
        trickling = connect(head(app, "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(PART), PART))
        with httpx2.Client(base_url=app.url, headers=app.headers, timeout=60) as other:
            answer = other.post("/api/v1/predict", files={"file": voice_wav(seconds=1.0)})
            assert answer.status_code == 200
            assert other.get("/healthz").status_code == 200
            assert in_flight(app) > N_STALLED, "they are all still waiting while the other is answered"
        trickling.settimeout(0.2)
        received = b""
        while not received:
            with contextlib.suppress(ConnectionError):
                trickling.sendall(b"1\r\nx\r\n")
            with contextlib.suppress(TimeoutError):
                received = trickling.recv(65_536)
        assert b" 408 " in received.split(b"\r\n")[0]
        for each in stalled:
            received = answer_of(each)
            assert b" 408 " in received.split(b"\r\n")[0]
            assert b"upload_stalled" in received
    assert in_flight(app) == 1, "the question itself"


def asked_raw(app, path: str, *lines: str) -> bytes:
    """The answer to a path as it stands, which clients would tidy up."""
    request = "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", app.port), timeout=60) as connection:
        connection.sendall(request.encode("latin-1"))
        return answer_of(connection)


BEHIND_THE_GATE = ["_stcore/metrics", "media/x.wav", "component/x/y", "explore", ""]
BEFORE_IT = [
    "/static/..",
    "/static/%2e%2e",
    "/static/..%2f",
    "/api/..",
    "/api/%2e%2e",
    "/sign-in/..",
    "/.",
    "//",
    "/favicon.png/..",
]


def test_no_way_of_writing_an_address_leads_strangers_past_the_gate(app):
    for before in BEFORE_IT:
        for behind in BEHIND_THE_GATE:
            answer = asked_raw(app, f"{before}/{behind}")
            status = int(answer.split(b" ", 2)[1])
            assert status in {303, 307, 400, 401, 404}, (before, behind, answer[:200])
    for climbing in (
        "/static/../../../../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%5c..%5cconfig.toml",
        "/static//etc/passwd",
        "/app/static/../../config.toml",
    ):
        assert b"root:" not in asked_raw(app, climbing)


def test_no_address_leads_who_is_signed_in_to_another_site(app):
    cookie = "Cookie: " + "; ".join(f"{name}={value}" for name, value in app.admin.cookies.items())
    for path in (
        "//evil.example",
        "//evil.example/",
        "//evil.example/..",
        "/%2fevil.example/",
        "/\\evil.example/",
        "///evil.example/%2e%2e",
    ):
        answer = asked_raw(app, path, cookie)
        location = re.search(rb"(?im)^location: *(\S+)", answer)
        assert location is None or re.match(rb"/(?![/\\])|http://x/", location[1]), (path, location[0])
        assert location is None or b"://evil" not in location[1]


def test_line_break_in_an_address_adds_no_header(app):
    for path in (
        "/a%0d%0aSet-Cookie:%20evil=1",
        "/api/v1/a%0d%0aSet-Cookie:%20evil=1",
        "/sign-in?next=/%0d%0aSet-Cookie:%20evil=1",
        "//x%0d%0aSet-Cookie:%20evil=1/",
    ):
        header = asked_raw(app, path).split(b"\r\n\r\n")[0].lower()
        assert b"\r\nset-cookie: evil" not in header, path


@pytest.mark.parametrize(
    "path", ["/", "/explore", "/_stcore/health", "/media/nothing.wav", "/static/nothing.js", "/no-such-page"]
)
def test_everything_of_streamlit_s_tells_browsers_to_be_careful(app, path):
    with httpx2.Client(base_url=app.url, timeout=30) as client:
        for cookies in ({}, app.admin.cookies):
            client.cookies = httpx2.Cookies(cookies)
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "SAMEORIGIN"
            assert headers["referrer-policy"] == "same-origin"
            assert "frame-ancestors 'self'" in headers["content-security-policy"]
            assert "object-src 'none'" in headers["content-security-policy"]


def test_a_forged_header_changes_no_address(tmp_path):
    """Uvicorn believes `X-Forwarded-For` of whoever connects from this machine, unless it is kept from it."""
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with running_app(tmp_path, **TINY, usage_address="full", probe_limits="60 per minute") as app:
        with httpx2.Client(base_url=app.url, headers=app.headers | forged, timeout=30) as client:
            assert client.get("/api/v1/predictions").status_code == 200
            addresses = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(65)]
            statuses = {client.get("/healthz", headers=address).status_code for address in addresses}
        app.stop()
    assert statuses == {200, 429}
    with open_store(tmp_path / "store.duckdb") as store:
        lines = select_usage_events(store, reader=PROCESS).items
    assert {line.address for line in lines if line.route == "/api/v1/predictions"} == {"127.0.0.1"}


def test_nobody_else_on_the_machine_reads_what_is_kept(app):
    answer = httpx2.post(
        f"{app.url}/api/v1/predict", files={"file": voice_wav(seconds=1.0)}, headers=app.headers, timeout=60
    )
    assert answer.status_code == 200, answer.text
    data_dir = app.log.parent
    kept = [path for path in data_dir.rglob("*") if path != app.log]
    assert {"store.duckdb", "access.sqlite", "jobs.sqlite", "recordings", "signing-keys.json"} <= {
        path.name for path in kept
    }
    readable = {str(path.relative_to(data_dir)) for path in [data_dir, *kept] if path.stat().st_mode & 0o077}
    assert not readable
