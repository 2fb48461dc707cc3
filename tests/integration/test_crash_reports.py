"""Crash reports, sent to a server that looks like Sentry's: the traceback arrives, and no secret."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx2
import pytest

from core.config import REPOSITORY, Settings
from core.crash_reports import report_crashes
from tests.process import running_app
from tests.secrets_of_tests import API_KEY, JWT, LINK_TOKEN, PASSWORD, SOUND
from tests.webhook_server import webhook_server

SECRETS = (API_KEY[9:], JWT, PASSWORD, LINK_TOKEN, SOUND[:24].decode(), "ann@example.org", "192.0.2.7", "2001:db8::7")

CRASH = f"""
import logging
from core.config import Settings
from core.crash_reports import end_reports, report, report_crashes
from core.logs import log_to_stderr
import structlog, sys

assert report_crashes(Settings(sentry_dsn=sys.argv[1]))
log_to_stderr("info", report=report)

def answer(api_key, password, sound):
    local = {{"authorization": "Bearer {JWT}"}}
    raise ValueError(
        f"cannot answer {{api_key}} at /link?token={LINK_TOKEN} password={{password}} "
        "from ann@example.org at 192.0.2.7 or 2001:db8::7"
    )

with structlog.contextvars.bound_contextvars(request_id="the-request"):
    for log in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        try:
            answer("{API_KEY}", "{PASSWORD}", {SOUND!r})
        except ValueError as error:
            log.error("unhandled exception", exc_info=error)
    structlog.get_logger("ours").info("not an error", password="{PASSWORD}")
end_reports()
"""


def events(bodies: list[bytes]) -> list[dict]:
    """The events in some envelopes: a line of headers, then a line of headers and one of payload for each item."""
    found = []
    for body in bodies:
        lines = body.split(b"\n")
        for header, payload in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(header).get("type") == "event":
                found.append(json.loads(payload))
    return found


def test_error_is_reported_with_its_traceback_and_without_what_it_was_about():
    with webhook_server() as sentry:
        dsn = sentry.url.replace("http://", "http://publickey@") + "/1"
        done = subprocess.run(
            [sys.executable, "-c", CRASH, dsn], capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=True
        )
    ours, theirs = events(sentry.bodies)
    for event in (ours, theirs):
        [exception] = event["exception"]["values"]
        assert (exception["type"], exception["value"][:13]) == ("ValueError", "cannot answer")
        assert [frame["function"] for frame in exception["stacktrace"]["frames"]][-1] == "answer"
        assert all("vars" not in frame for frame in exception["stacktrace"]["frames"])
        assert not set(event) & {"request", "user", "extra", "breadcrumbs", "server_name", "modules"}
    assert ours["tags"] == {"request_id": "the-request"}
    sent = b"".join(sentry.bodies).decode()
    assert [secret for secret in SECRETS if secret in sent] == []
    logged = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in logged] == ["unhandled exception", "unhandled exception", "not an error"]
    assert {line["request_id"] for line in logged} == {"the-request"}
    assert [secret for secret in SECRETS[:5] if secret in done.stderr] == []
    assert logged[0]["exception"].startswith("Traceback")


def test_without_a_dsn_nothing_is_reported():
    assert report_crashes(Settings()) is False


def test_nothing_is_loaded_without_a_dsn():
    code = "import core.crash_reports, sys; print('sentry_sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    assert done.stdout.strip() == "False"


@pytest.fixture
def damaged_models(tmp_path):
    """A folder whose model makes every prediction fail with 503."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text("{")
    return folder.parent


def test_process_reports_a_failed_request_once_and_goes_on(tmp_path, damaged_models):
    with webhook_server() as sentry:
        dsn = sentry.url.replace("http://", "http://publickey@") + "/1"
        # Not ready, since the model is damaged: the process is asked before it says it is.
        with running_app(
            tmp_path / "data", is_awaited_at="/healthz", sentry_dsn=dsn, models_dir=damaged_models, model="tiny"
        ) as app:
            answer = httpx2.post(
                f"{app.url}/api/v1/predict",
                files={"file": (f"{PASSWORD}.wav", SOUND)},
                headers=app.headers | {"Cookie": f"telepathy_session={JWT}; telepathy_refresh={LINK_TOKEN}"},
                timeout=30,
            )
            assert answer.status_code == 503
            app.stop()
            log = app.log.read_text()
    [event] = events(sentry.bodies)
    assert event["exception"]["values"][-1]["type"] == "DamagedModelError"
    assert event["tags"] == {"request_id": answer.headers["x-request-id"]}
    sent = b"".join(sentry.bodies).decode()
    secrets = (*SECRETS, app.headers["X-API-Key"])
    assert [secret for secret in secrets if secret in sent or secret in log] == []
