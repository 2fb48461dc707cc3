"""Admin: the whole ledger, by user, key, route, day and plan, with quotas, money, health and alerts."""

from __future__ import annotations

import pytest

from core.store.usage import insert_usage_events
from pages.parts import session
from tests.integration.pages.test_usage import figures, frame
from tests.integration.pages.usage_ledger import ACCESS, BOB, caller_of, make_ledger


@pytest.fixture
def ledger(workbench, monkeypatch):
    insert_usage_events(workbench.store, events=make_ledger())
    monkeypatch.setattr(workbench, "access", ACCESS, raising=False)
    monkeypatch.setattr(session, "caller", lambda: caller_of(BOB))


def headings(app):
    return [text.value.removeprefix("##### ") for text in app.markdown if text.value.startswith("##### ")]


def test_an_empty_ledger_says_so_and_still_shows_health_alerts_and_that_nobody_corrected(open_page):
    app = open_page("admin")
    assert not app.exception
    said = [heading.value for heading in app.subheader]
    assert "No alerts" in said
    assert "Nobody asked for anything in the last 30 days" in said
    labels = [bar.proto.text.split(":")[0] for bar in app.get("progress")]
    assert labels == ["**Memory**", "**Processor**", "**Disk**"]
    assert any(info.value.startswith("No corrections yet") for info in app.info)


def test_all_figures_are_there(open_page, ledger):
    app = open_page("admin")
    assert not app.exception
    shown = figures(app)
    assert (shown["Requests"], shown["Predictions"]) == ("13", "10")
    assert shown["Errors"] == "23 %"
    assert shown["Answer, p50"] == "42 ms"
    assert shown["Answer, p99"].endswith(" s")
    assert "Per minute" in shown
    assert len(app.get("plotly_chart")) == 5
    assert headings(app) == [
        "Right now",
        "Requests by day",
        "Answer times by day",
        "What was heard",
        "How sure answers were",
        "Predictions a minute",
        "Top users",
        "By key",
        "By route",
        "What went wrong",
        "Quotas this month",
        "Cost and revenue by plan",
        "Accuracy on corrected answers",
    ]


def test_users_keys_and_routes_are_named_most_calls_first(open_page, ledger):
    app = open_page("admin")
    by_user = next(table.value for table in app.dataframe if next(iter(table.value.columns)) == "User")
    assert list(by_user["User"]) == ["ann@example.org", "bob@example.org", "not signed in"]
    assert list(by_user["Calls"]) == [6, 3, 1]
    by_key = frame(app, "Key")
    assert by_key["Key"][0] == "nightly (tel_live_abcd…wxyz)"
    by_route = frame(app, "Route")
    assert list(by_route["Route"]) == ["POST /api/v1/predict", "PAGE /"]
    assert list(by_route["Failed"]) == [1, 0]


def test_quotas_and_money_follow_the_plans(open_page, ledger):
    app = open_page("admin")
    quotas = frame(app, "Used")
    assert list(quotas["User"]) == ["ann@example.org", "bob@example.org"]
    assert list(quotas["Plan"]) == ["free", "pro"]
    assert quotas["Used"][0] == pytest.approx(10.0)  # an hour of ten
    money = frame(app, "Revenue")
    assert list(money["Plan"]) == ["free", "pro", "no plan", "All"]
    assert list(money["Calls"]) == [6, 3, 1, 10]
    assert list(money["Revenue"]) == ["0.00 EUR", "0.0060 EUR", "0.00 EUR", "0.0060 EUR"]
    assert list(money["Cost"]) == ["0.0012 EUR", "0.0006 EUR", "0.0002 EUR", "0.0020 EUR"]
    assert list(money["Margin"])[-1] == "0.0040 EUR"


def test_accuracy_is_told_once_somebody_corrects(open_page, workbench, monkeypatch):
    monkeypatch.setattr(workbench, "corrected_answers", lambda: [True, True, False, True])
    app = open_page("admin")
    assert figures(app)["Right"] == "75 %"
    assert not any("No corrections yet" in info.value for info in app.info)


def test_download_names_people_and_disarms_formulas(open_page, ledger):
    [download] = open_page("admin").download_button
    assert download.label == "Download CSV"
    assert "100,000" in download.proto.help
