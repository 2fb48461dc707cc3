"""deploy/prometheus and deploy/grafana in the real Prometheus, which reads the real process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import pytest

from api.metrics import ALERT_RULES, REFUSALS
from core.config import REPOSITORY, Settings
from tests.bundles import TINY
from tests.process import free_port, running_app
from tests.sounds import voice_wav

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
DASHBOARD = json.loads((REPOSITORY / "deploy" / "grafana" / "telepathy-dashboard.json").read_text())
TOKEN = "for-prometheus-alone"
DEADLINE_S = 60.0

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Debian's package prometheus is not installed",
)


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alert_rules_are_rules_and_say_what_their_tests_expect():
    assert "SUCCESS: 13 rules found" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tested_in_good_and_in_bad_times():
    alerts = re.findall(r"- alert: (\w+)", (PROMETHEUS / "alerts.yml").read_text())
    tested = re.findall(r"alertname: (\w+)", (PROMETHEUS / "alerts_test.yml").read_text())
    assert sorted(tested) == sorted(alerts * 2)


@pytest.mark.parametrize(
    ("alert", "limit"),
    [
        ("TelepathySlow", Settings().alert_p95_latency_s),
        ("TelepathyErrors", Settings().alert_error_share),
        ("TelepathyMemory", Settings().alert_memory_share),
        ("TelepathyDisk", Settings().alert_disk_share),
    ],
)
def test_limits_are_those_of_the_settings(alert, limit):
    rule = (PROMETHEUS / "alerts.yml").read_text().split(f"alert: {alert}\n")[1].split("annotations:")[0]
    assert re.findall(r"> ([0-9.]+)$", rule, re.MULTILINE) == [f"{limit:g}"]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The process, asked for predictions, refused ones and some that fail."""
    folder = tmp_path_factory.mktemp("watched")
    with running_app(folder, models_dir=TINY.parent, model="tiny", metrics_token=TOKEN) as running:
        for pitch_hz in (110.0, 170.0):
            sound = voice_wav(seconds=1.0, pitch_hz=pitch_hz)
            answer = httpx2.post(
                f"{running.url}/api/v1/predict", files={"file": sound}, headers=running.headers, timeout=30
            )
            assert answer.status_code == 200, answer.text
        predict = f"{running.url}/api/v1/predict?model=none"
        httpx2.post(predict, files={"file": b"x"}, headers=running.headers, timeout=30)
        yield running


@pytest.fixture(scope="module")
def prometheus(app, tmp_path_factory):
    """The address of a real Prometheus that has read the process at least twice, configured as deploy/ has it."""
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(PROMETHEUS, folder, dirs_exist_ok=True)
    configuration = (PROMETHEUS / "prometheus.yml").read_text()
    for given, here in (("localhost:8501", f"127.0.0.1:{app.port}"), ("_interval: 15s", "_interval: 1s")):
        assert given in configuration
        configuration = configuration.replace(given, here)
    (folder / "prometheus.yml").write_text(configuration)
    (folder / "telepathy_token").write_text(TOKEN)
    promtool("check", "config", "prometheus.yml", folder=folder)
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: httpx2.get(f"{url}/-/ready", timeout=30).status_code == 200)
        wait_for(lambda: value(url, f'count_over_time(up{{job="telepathy"}}[{DEADLINE_S:.0f}s])') >= 2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def wait_for(is_true) -> None:
    ends_s, never = time.monotonic() + DEADLINE_S, threading.Event()
    while True:
        try:
            if is_true():
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < ends_s, "Prometheus has not read the process"
        never.wait(0.1)


def asked(url: str, path: str, **parameters: str) -> dict:
    answer = httpx2.get(f"{url}/api/v1/{path}", params=parameters, timeout=30).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def value(url: str, expression: str) -> float:
    """The value of an expression that gives one series; 0 for none."""
    found = asked(url, "query", query=expression)["result"]
    return float(found[0]["value"][1]) if found else 0.0


def test_prometheus_reads_the_process_with_its_token(prometheus):
    [target] = asked(prometheus, "targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert value(prometheus, 'sum(telepathy_predictions_total{source="api"})') == 2
    assert value(prometheus, 'telepathy_http_requests_total{route="/api/v1/predict", status="404"}') == 1


def test_rules_load_and_are_evaluated(prometheus):
    def rules():
        return [rule for group in asked(prometheus, "rules")["groups"] for rule in group["rules"]]

    wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()))
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules()} == {("ok", "")}
    assert len(rules()) == 13


def names_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:telepathy|process)_\w+|\bup\b", re.sub(r'"[^"]*"', '""', expression)))


def metric_names(url: str) -> set[str]:
    return set(asked(url, "label/__name__/values"))  # type: ignore[arg-type]


def test_rules_name_metrics_that_exist(prometheus):
    rules = [rule for group in asked(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert {name for rule in rules for name in names_of(rule["query"])} <= metric_names(prometheus)
    text = (PROMETHEUS / "alerts.yml").read_text()
    assert set(re.findall(r'telepathy_alerts_open\{rule="(\w+)"', text)) <= set(ALERT_RULES)
    assert set(re.findall(r'telepathy_refusals_total\{code="(\w+)"', text)) <= set(REFUSALS)


TARGETS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize(("title", "expression"), TARGETS, ids=[f"{title}-{n}" for n, (title, _) in enumerate(TARGETS)])
def test_every_expression_of_the_dashboard_is_understood_and_finds_series(prometheus, title, expression):
    for variable, meant in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$instance", ".*")):
        expression = expression.replace(variable, meant)
    assert "$" not in expression
    assert names_of(expression) <= metric_names(prometheus)
    assert names_of(expression)
    assert asked(prometheus, "query", query=expression)["result"], f"{title}: {expression} finds nothing"


def test_metrics_of_the_documentation_are_those_that_exist(prometheus):
    documented = set(re.findall(r"^\| `(\w+)`", (REPOSITORY / "docs" / "monitoring.md").read_text(), re.MULTILINE))
    found = {
        re.sub(r"_(?:bucket|sum|count)$", "", name)
        for name in metric_names(prometheus)
        if name.startswith(("telepathy_", "process_")) and not name.endswith("_created")
    }
    assert documented == found


def test_panels_of_the_dashboard_do_not_overlap_and_have_their_own_numbers():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(DASHBOARD["panels"])))
    assert used - {"__rate_interval", "__range"} == names
