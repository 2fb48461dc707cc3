"""The part of the admin page that shows alerts, as Streamlit runs it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest
from structlog.testing import capture_logs

from core.alerts import Measured

ANN = "ann@example.org"


def page():
    from core.workbench import current_workbench
    from pages.parts import alerts

    alerts.show(current_workbench(), actor="ann@example.org")


@pytest.fixture
def settings(settings):
    return replace(settings, alert_memory_share=1.0, alert_disk_share=1.0)


@pytest.fixture
def measured(workbench):
    """What the rules find, changed by tests."""
    found = {"latency": [], "quota": []}
    workbench.alerts.add_measures({name: lambda name=name: found[name] for name in found})
    return found


@pytest.fixture
def shown(workbench, measured):
    """Sets measurements, evaluates the rules, and draws."""

    def show(**now: float) -> AppTest:
        for name, value in now.items():
            measured[name] = [Measured(value=value, subject="7", about="*eve*@example.org")]
        with capture_logs():
            workbench.alerts.evaluate()
        app = AppTest.from_function(page, default_timeout=60).run()
        assert not app.exception
        return app

    return show


def button(app, label):
    return next(each for each in app.button if each.label == label)


def test_nothing_to_tell_is_told(shown):
    app = shown(latency=1.0)
    assert app.subheader[0].value == "No alerts"
    assert app.success[0].value == "Everything that is watched lies within its limit."
    assert not app.button
    rules = app.dataframe[0].value
    assert rules["When"].iloc[0] == "above 2 s"
    assert dict(zip(rules["Alert"], rules["Measured"], strict=True))["Accuracy falls"] == "from 250 corrections on"
    assert "from 100\u00a0%" in set(rules["When"])


def test_alert_is_acknowledged_under_the_name_of_who_looks(shown, workbench):
    app = shown(latency=3.0)
    assert app.subheader[0].value == "1 alert"
    assert app.text[0].value.startswith("The slowest 5\u00a0% of requests")
    button(app, "Acknowledge").click().run()
    assert f"Acknowledged by `{ANN}`" in app.caption[0].value
    assert [each.label for each in app.button] == ["Close"]
    assert workbench.alerts.open_alerts()[0].acknowledged_by == ANN


def test_alert_that_is_over_stands_among_the_past_ones(shown):
    shown(latency=3.0)
    app = shown(latency=1.0)
    assert app.subheader[0].value == "No alerts"
    past = app.dataframe[0].value
    assert list(past["Alert"]) == ["Answers are slow"]
    assert (past["Acknowledged by"][0], past["Closed by"][0]) == ("nobody", "itself")


def test_alert_is_closed_by_hand(shown, workbench):
    app = shown(quota=1.5)
    button(app, "Close").click().run()
    assert not app.exception
    assert app.dataframe[0].value["Closed by"][0] == ANN
    assert workbench.alerts.open_alerts() == []


def test_what_somebody_is_called_is_no_markup(shown):
    app = shown(quota=1.5)
    assert app.text[0].value.startswith("*eve*@example.org has used 150\u00a0%")
    assert not [each.value for each in app.markdown if "eve" in each.value]
