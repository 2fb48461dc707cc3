"""Every refusal is problem+json, every class of the tree is decided, nothing internal leaks."""

from __future__ import annotations

import asyncio
import re

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.application import create_api
from api.errors import HTTP_KINDS, KINDS, NOT_READY, kind_of
from core import errors
from core.config import REPOSITORY, Settings
from tests.callers import ANY_KEY
from tests.integration.api.fakes import FakeWorkbench
from tests.problems import refused


def tree(root: type[errors.TelepathyError]) -> list[type[errors.TelepathyError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


FAKE = FakeWorkbench(Settings())
FUZZED = TestClient(create_api(lambda: FAKE), headers=ANY_KEY)
CLASSES = tree(errors.TelepathyError)
ALL_KINDS = [*KINDS.values(), *HTTP_KINDS.values(), NOT_READY]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_each_error_has_its_own_row_in_the_table(error):
    assert error in KINDS
    assert KINDS[error].code == error.code
    assert 400 <= KINDS[error].status < 600


def test_codes_are_unique():
    codes = [kind.code for kind in ALL_KINDS]
    assert len(codes) == len(set(codes))


def documented() -> dict[str, int]:
    """Code and status of each row of docs/errors.md."""
    text = (REPOSITORY / "docs" / "errors.md").read_text()
    return {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.MULTILINE)}


def test_documentation_lists_every_code_with_its_status_and_no_other():
    assert documented() == {kind.code: kind.status for kind in ALL_KINDS}


def test_class_the_table_lacks_answers_as_its_base():
    class NewerError(errors.SilentAudioError):
        pass

    assert kind_of(NewerError(-80.0)) is KINDS[errors.SilentAudioError]


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/nothing", "/api/v2/predict", "/api/v1/predict/"])
def test_unknown_path_is_a_problem(client, path):
    assert path in refused(client.get(path), 404, "not_found")["detail"]


@pytest.mark.parametrize(("method", "path", "right"), [("GET", "/api/v1/predict", "POST"), ("PUT", "/healthz", "GET")])
def test_wrong_method_is_told_the_right_one(client, method, path, right):
    answer = client.request(method, path)
    assert f"use {right}" in refused(answer, 405, "method_not_allowed")["detail"]
    assert answer.headers["allow"] == right


def test_address_that_is_no_address_is_a_problem(client):
    for host in (b"[::1", b"x y", b"", b"\xff"):
        refused(client.get("/api/nothing", headers=[(b"host", host)]), 404, "not_found")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_body_is_answered_as_a_bug(data):
    whole = (
        b'--x\r\nContent-Disposition: form-data; name="n_passes"\r\n\r\n7\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
        b"RIFF sound\r\n--x--\r\n"
    )
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    body = whole[:start] + data.draw(st.binary(max_size=40)) + whole[end:]
    content_type = data.draw(st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data; boundary=y; x"]))
    path = data.draw(st.sampled_from(["/api/v1/predict", "/api/v1/batch-predict", "/api/v1/explain"]))
    answer = FUZZED.post(path, content=body, headers={"content-type": content_type})
    assert answer.status_code in {200, 400, 422}, answer.text


@pytest.fixture
def broken(tmp_path):
    """A client of a workbench whose inference has a bug."""

    def fail():
        raise ZeroDivisionError("secret /etc/path")

    with TestClient(create_api(lambda: FakeWorkbench(Settings(data_dir=tmp_path), fail)), headers=ANY_KEY) as client:
        yield client


def test_bug_is_answered_without_internals_and_logged_with_them(broken):
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        answer = broken.post("/api/v1/predict", files={"file": b"sound"})
    body = refused(answer, 500, "internal_error")
    assert body["request_id"] in body["detail"]
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    [entry] = [entry for entry in logged if entry["event"] == "unhandled exception"]
    assert isinstance(entry["exc_info"], ZeroDivisionError)
    assert entry["request_id"] == body["request_id"]


def test_failing_store_is_told_and_logged(tmp_path):
    def fail():
        raise errors.StoreError("appending predictions", "No space left on device")

    api = create_api(lambda: FakeWorkbench(Settings(data_dir=tmp_path), fail))
    with TestClient(api, headers=ANY_KEY) as client, structlog.testing.capture_logs() as logged:
        answer = client.post("/api/v1/predict", files={"file": b"sound"})
    assert "No space left" in refused(answer, 503, "store")["detail"]
    assert [entry["log_level"] for entry in logged if entry["event"] == "request failed"] == ["error"]


def test_workbench_that_cannot_open_is_told():
    def fail():
        raise errors.StoreError("opening it", "another process holds it")

    with TestClient(create_api(fail), "http://localhost", headers=ANY_KEY, client=("127.0.0.1", 50_000)) as client:
        refused(client.get("/api/v1/predictions"), 503, "store")
        refused(client.get("/readyz"), 503, "store")
        assert client.get("/healthz").status_code == 200
        assert "telepathy_inference_queue_depth NaN" in client.get("/metrics").text


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/nothing", "/metrics", "/api/docs", "/api/v1/predictions"])
def test_every_answer_has_a_request_id_and_safe_headers(client, path):
    answer = client.get(path)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(("sent", "is_kept"), [("order-7.b_2", True), ("x" * 65, False), ("a b", False), ("é", False)])
def test_request_id_of_the_sender_is_kept_when_harmless(client, sent, is_kept):
    answer = client.get("/healthz", headers=[(b"x-request-id", sent.encode())])
    assert (answer.headers["x-request-id"] == sent) is is_kept


def test_other_origins_may_not_read_answers(client):
    origin = {"origin": "https://elsewhere.example"}
    preflight = client.options("/api/v1/predict", headers=origin | {"access-control-request-method": "POST"})
    for answer in (preflight, client.get("/api/v1/predictions", headers=origin)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_pages_of_other_sites_may_not_post(client, wav):
    answer = client.post("/api/v1/predict", files={"file": wav}, headers={"sec-fetch-site": "cross-site"})
    refused(answer, 403, "cross_site_request")
    assert client.get("/healthz", headers={"sec-fetch-site": "cross-site"}).status_code == 200
    assert client.post("/api/v1/predict", files={"file": wav}, headers={"sec-fetch-site": "same-origin"}).is_success


def test_sender_who_leaves_is_no_error():
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"--x\r\n", "more_body": True}]
    sent = []
    api = create_api(lambda: FakeWorkbench(Settings()))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/predict",
        "raw_path": b"/api/v1/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x"), (b"x-api-key", b"tel_live_anything")],
    }

    async def receive():
        return messages.pop()

    async def send(message):
        sent.append(message)

    with structlog.testing.capture_logs() as logged:
        asyncio.run(api(scope, receive, send))
    assert sent == []
    assert [(entry["event"], entry["log_level"], entry["status"]) for entry in logged] == [("request", "info", 499)]
