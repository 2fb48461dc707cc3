"""Probes and metrics."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from api.application import create_api
from core import __version__
from core.alerts import Measured
from core.config import Settings
from core.errors import StoreError
from core.workbench import open_workbench
from tests.bundles import PUBLISHED_ENCODER, copy_of_tiny
from tests.callers import ANY_KEY
from tests.integration.api.conftest import TINY_MODELS, client_of
from tests.integration.api.fakes import FakeWorkbench
from tests.problems import refused


@pytest.mark.parametrize("path", ["/healthz", "/health", "/api/v1/health"])
def test_health_is_short(client, path):
    assert client.get(path).json() == {"status": "ok", "version": __version__}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/api/v1/predictions", "/api/docs"])
def test_head_is_answered_as_get_without_the_body(client, path):
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_requests_by_head_are_counted_as_such(client):
    client.head("/healthz")
    counted = client.get("/metrics").text
    assert 'telepathy_http_requests_total{method="HEAD",route="/healthz",status="200"} 1.0' in counted


def test_ready_process_says_what_it_looked_at(client):
    body = client.get("/readyz").json()
    assert body["status"] == "ready"
    assert {check["name"] for check in body["checks"]} == {"model", "store", "disk"}
    assert all(check["ok"] and check["sentence"] for check in body["checks"])


def test_process_that_is_not_ready_says_why(tmp_path):
    workbench = FakeWorkbench(Settings(data_dir=tmp_path))
    workbench.checks.append(SimpleNamespace(name="disk", ok=False, sentence="3 MB are free; 200 MB are needed."))
    with TestClient(create_api(lambda: workbench), headers=ANY_KEY) as client:
        body = refused(client.get("/readyz"), 503, "not_ready")
    assert body["detail"] == "3 MB are free; 200 MB are needed."
    assert [(check["name"], check["ok"]) for check in body["checks"]] == [("model", True), ("disk", False)]


def problem_when(settings: Settings) -> dict:
    """What /readyz says of a real workbench with these settings."""
    workbench = open_workbench(settings)
    try:
        with client_of(create_api(lambda: workbench), workbench) as client:
            return refused(client.get("/readyz"), 503, "not_ready")
    finally:
        workbench.close()


def failed_checks(body: dict) -> list[str]:
    return [check["name"] for check in body["checks"] if not check["ok"]]


def test_missing_model_is_a_reason(settings, tmp_path):
    body = problem_when(dataclasses.replace(settings, models_dir=tmp_path))
    assert failed_checks(body) == ["model"]
    assert "make model" in body["detail"]


def test_full_disk_is_a_reason(settings):
    body = problem_when(dataclasses.replace(settings, min_free_disk_mb=1e9))
    assert failed_checks(body) == ["disk"]
    assert "are needed" in body["detail"]


def test_store_that_cannot_be_written_is_a_reason(client, workbench):
    workbench.store.close()
    assert failed_checks(refused(client.get("/readyz"), 503, "not_ready")) == ["store"]


def samples(client) -> dict[tuple[str, frozenset], float]:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(found: dict, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_template_and_status(client, predict):
    made = predict()
    client.get(f"/api/v1/predictions/{made['id']}")
    for number in range(5):
        client.get(f"/api/v1/nothing/{number}")
    client.request("BREW", "/healthz")
    found = samples(client)
    requests = "telepathy_http_requests_total"
    assert of(found, requests, method="POST", route="/api/v1/predict", status="200") == 1
    assert of(found, requests, method="GET", route="/api/v1/predictions/{prediction_id}", status="200") == 1
    assert of(found, requests, method="GET", route="unmatched", status="404") == 5
    assert {dict(labels).get("method") for _, labels in found} <= {"GET", "POST", "other", None}
    assert of(found, "telepathy_http_request_duration_seconds_count", route="/api/v1/predict") == 1
    bounds = {dict(labels).get("le") for name, labels in found if name.endswith("request_duration_seconds_bucket")}
    assert "2.0" in bounds, "the limit of the alert on latency"


def test_predictions_and_stages_of_every_door_are_counted(client, predict, api, workbench):
    workbench.on_analysis = api.state.metrics.observe_analysis
    made = predict()
    found = samples(client)
    model = made["model_version"]
    assert of(found, "telepathy_predictions_total", emotion=made["emotion"], source="api", model=model) == 1
    assert of(found, "telepathy_prediction_confidence_sum", model=model) == pytest.approx(made["confidence"])
    assert of(found, "telepathy_abstentions_total") == made["abstained"]
    assert of(found, "telepathy_audio_seconds_total") == pytest.approx(2.0, abs=0.01)
    stages = {dict(labels)["stage"] for name, labels in found if name.endswith("stage_duration_seconds_count")}
    assert stages >= {"decode", "encoder", "passes", "store"}


def test_memory_and_queue_are_told(client):
    found = samples(client)
    assert of(found, "process_resident_memory_bytes") > 10e6
    assert of(found, "process_start_time_seconds") > 1.7e9
    assert of(found, "telepathy_inference_queue_depth") == 0


def test_what_operators_watch_is_told(client, workbench):
    found = samples(client)
    assert of(found, "telepathy_http_requests_in_flight") == 1, "this very request"
    assert 0 < of(found, "telepathy_memory_share") <= 1
    assert 0 < of(found, "telepathy_disk_share") <= 1
    assert of(found, "telepathy_inference_queue_limit") == workbench.settings.inference_queue
    assert found["telepathy_deliveries_waiting", frozenset()] == 0
    assert found["telepathy_webhook_deliveries_waiting", frozenset()] == 0
    assert found["telepathy_webhook_overdue_seconds", frozenset()] == 0
    assert found["telepathy_webhook_attempts_total", frozenset({("outcome", "taken")})] == 0
    assert found["telepathy_usage_lines_lost", frozenset()] == 0
    assert found["telepathy_alerts_open", frozenset({("rule", "latency")})] == 0


def test_requests_in_flight_go_back_to_this_one(client):
    for path in ("/healthz", "/api/v1/nothing", "/metrics"):
        client.get(path)
    assert of(samples(client), "telepathy_http_requests_in_flight") == 1


def test_open_alerts_are_counted_by_rule(client, workbench):
    workbench.alerts.add_measures({"latency": lambda: [Measured(value=99.0)]})
    with capture_logs():
        [alert] = [each for each in workbench.alerts.evaluate() if each.rule == "latency"]
    found = samples(client)
    assert of(found, "telepathy_alerts_open", rule="latency") == 1
    n_unacknowledged = of(found, "telepathy_alerts_unacknowledged")
    workbench.alerts.acknowledge(alert.id, by="ann@example.org")
    found = samples(client)
    assert of(found, "telepathy_alerts_unacknowledged") == n_unacknowledged - 1
    assert of(found, "telepathy_alerts_open", rule="latency") == 1


def test_store_that_does_not_answer_hides_the_alerts_and_nothing_else(client, workbench):
    workbench.store.close()
    found = samples(client)
    assert math.isnan(of(found, "telepathy_alerts_open", rule="latency"))
    assert of(found, "telepathy_disk_share") > 0


def test_lines_of_the_usage_ledger_that_wait_are_told(client, workbench, monkeypatch):
    monkeypatch.setattr(type(workbench.usage), "n_waiting", property(lambda ledger: 7))
    assert of(samples(client), "telepathy_usage_lines_waiting") == 7


def test_refusals_are_counted_by_code(client, settings, workbench):
    large = bytes(int(settings.max_upload_mb * 1e6) + 1_000_000)
    assert client.post("/api/v1/predict", files={"file": ("a.wav", large)}).status_code == 413
    found = samples(client)
    assert of(found, "telepathy_refusals_total", code="upload_too_large") == 1
    assert of(found, "telepathy_refusals_total", code="rate_limited") == 0
    assert ("telepathy_refusals_total", frozenset({("code", "rate_limited")})) in found


def test_process_without_a_workbench_tells_what_it_can():
    def fail():
        raise StoreError("opening it", "it is gone")

    with TestClient(create_api(fail), "http://localhost", client=("127.0.0.1", 1)) as client:
        found = samples(client)
    assert math.isnan(of(found, "telepathy_inference_queue_depth"))
    assert of(found, "process_resident_memory_bytes") > 0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost:8501", "LOCALHOST.", "127.0.0.1:8501", "[::1]:8501"])
def test_metrics_are_read_from_this_machine(api, address, host):
    with TestClient(api, client=(address, 1)) as client:
        assert client.get("/metrics", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "testclient"])
def test_metrics_are_refused_to_other_machines(api, address):
    with TestClient(api, "http://localhost", client=(address, 1)) as client:
        body = refused(client.get("/metrics"), 403, "forbidden")
    assert "Set `metrics_token`" in body["detail"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_metrics_are_refused_to_what_a_proxy_on_this_machine_passes_on(client, header):
    refused(client.get("/metrics", headers={header: "127.0.0.1"}), 403, "forbidden")


@pytest.mark.parametrize("host", ["telepathy.example.org", "localhost.example.org", "192.0.2.1:8501", "", "[::1", "x@"])
def test_metrics_are_refused_by_another_name_than_that_of_this_machine(client, host):
    """A proxy that passes the host on, or a page in a browser here whose name was made to lead here."""
    refused(client.get("/metrics", headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"public_url": "https://telepathy.example.org"}, 403),
        ({"trusted_proxies": 1}, 403),
        ({"public_url": "http://localhost:9000"}, 200),
        ({"public_url": "https://telepathy.example.org", "metrics_token": "t"}, 401),
    ],
)
def test_metrics_want_the_token_where_a_proxy_may_stand_in_front(client, workbench, given, status):
    workbench.settings = dataclasses.replace(workbench.settings, **given)
    assert client.get("/metrics").status_code == status
    if status == 401:
        assert client.get("/metrics", headers={"Authorization": "Bearer t"}).status_code == 200


def test_metrics_with_a_token_are_for_whoever_sends_it(settings):
    workbench = open_workbench(dataclasses.replace(settings, metrics_token="for Prömetheus"))
    try:
        with TestClient(create_api(lambda: workbench), client=("192.0.2.1", 1)) as client:
            right = "Bearer for Prömetheus".encode()
            assert client.get("/metrics", headers={"Authorization": right}).status_code == 200
            for wrong in (b"Bearer for Prometheus", b"Bearer ", b"for Prometheus", b"", bytes([255, 254])):
                body = refused(client.get("/metrics", headers={"Authorization": wrong}), 401, "invalid_credentials")
                assert "metheus" not in body["detail"]
        with TestClient(create_api(lambda: workbench), "http://localhost", client=("127.0.0.1", 1)) as client:
            refused(client.get("/metrics"), 401, "invalid_credentials")
    finally:
        workbench.close()


def test_model_whose_encoder_is_missing_is_listed_and_refused_with_what_to_run(settings, tmp_path, wav):
    folder = copy_of_tiny(tmp_path / "models", "whisper", lambda card: card.update(encoder=PUBLISHED_ENCODER))
    (folder / "encoder.tflite").unlink()
    copy_of_tiny(tmp_path / "models")
    workbench = open_workbench(dataclasses.replace(settings, models_dir=tmp_path / "models"))
    try:
        with client_of(create_api(lambda: workbench), workbench) as client:
            listed = {model["name"]: model for model in client.get("/api/v1/models").json()["items"]}
            assert {name: model["is_installed"] for name, model in listed.items()} == {"tiny": True, "whisper": False}
            answer = client.post("/api/v1/predict?model=whisper", files={"file": ("clip.wav", wav)})
            assert (answer.status_code, answer.json()["code"]) == (503, "encoder_missing")
            assert "`python -m training whisper install`" in answer.json()["detail"]
            assert client.post("/api/v1/predict", files={"file": ("clip.wav", wav)}).status_code == 200
    finally:
        workbench.close()


def test_models_are_listed_with_their_terms(client):
    [model] = client.get("/api/v1/models").json()["items"]
    assert model["name"] == "tiny"
    assert model["is_default"] is True
    assert model["is_installed"] is True
    assert re.fullmatch("tiny-[0-9a-f]{12}", model["version"])
    assert len(model["emotions"]) == 8
    assert model["licence"]


def test_probes_have_a_limit_of_their_own_for_each_address(tmp_path):
    settings = Settings(
        data_dir=tmp_path,
        models_dir=TINY_MODELS,
        model="tiny",
        probe_limits="2 per minute",
        address_limits="1 per minute",
        trusted_proxies=1,
    )
    with contextlib.closing(open_workbench(settings)) as workbench:
        api = TestClient(create_api(lambda: workbench))
        here, elsewhere = ({"X-Forwarded-For": f"192.0.2.{number}"} for number in (1, 2))
        assert [api.get(path, headers=here).status_code for path in ("/healthz", "/readyz")] == [200, 200]
        refused(api.get("/readyz", headers=here), 429, "rate_limited")
        assert api.get("/readyz", headers=elsewhere).status_code == 200
