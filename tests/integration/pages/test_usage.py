"""Usage: everybody sees their own calls, quota, keys and errors, and nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.domain import Emotion
from core.store.usage import insert_usage_events
from pages.parts import session
from tests.factories import make_prediction, make_recording
from tests.integration.pages.usage_ledger import ACCESS, ANN, BOB, caller_of, make_ledger


@pytest.fixture
def ledger(workbench):
    insert_usage_events(workbench.store, events=make_ledger())


@pytest.fixture
def become(workbench, monkeypatch):
    """Makes the visitor somebody."""

    def do(user):
        monkeypatch.setattr(workbench, "access", ACCESS, raising=False)
        monkeypatch.setattr(session, "caller", lambda: caller_of(user))

    return do


def figures(app):
    return {metric.label: metric.value.replace("\u00a0", " ") for metric in app.metric}


def frame(app, column):
    return next(table.value for table in app.dataframe if column in table.value.columns)


def bars(app):
    return [bar.proto.text for bar in app.get("progress")]


def test_nothing_asked_for_yet_leads_to_analyse(open_page):
    app = open_page("usage")
    assert not app.exception
    assert app.subheader[0].value == "Nothing asked for in the last 30 days"
    assert [link.label for link in app.get("page_link")] == ["Analyse a recording"]
    assert not app.download_button


def test_one_sees_ones_own_calls_and_what_is_left(open_page, ledger, become):
    become(ANN)
    app = open_page("usage")
    assert not app.exception
    shown = figures(app)
    assert (shown["Requests"], shown["Predictions"], shown["Sound judged"]) == ("9", "6", "60.0 min")
    assert shown["Errors"] == "33 %"
    assert shown["Answer, p50"] == "42 ms"
    assert "**Calls**: 6 of 10,000 used, 9,994 left" in bars(app)
    assert "**Sound**: 60.0 min of 10.0 h used, 9.0 h left" in bars(app)


def test_errors_are_told_in_words_most_frequent_first(open_page, ledger, become):
    become(ANN)
    table = frame(open_page("usage"), "What happened")
    assert list(table["Status"]) == ["422", "500"]
    assert list(table["How often"]) == [2, 1]
    assert table["What happened"][0] == "The recording or a parameter could not be used"


def test_own_keys_are_named_with_their_last_use_also_those_nobody_used(open_page, ledger, become):
    become(ANN)
    table = frame(open_page("usage"), "Last use")
    assert list(table["Key"]) == ["nightly (tel_live_abcd…wxyz)", "unused (tel_live_abcd…wxyz)"]
    assert list(table["Calls"]) == [6, 0]
    assert table["Last use"][0] is not None
    assert table["Last use"].isna()[1]


def test_an_admin_too_sees_only_their_own_here(open_page, ledger, become):
    become(BOB)
    app = open_page("usage")
    assert figures(app)["Requests"] == "3"
    assert "**Calls**: 3 of 200,000 used, 199,997 left" in bars(app)
    assert any(success.value.startswith("Nothing went wrong") for success in app.success)


def test_a_plan_without_end_says_so_instead_of_drawing_bars(open_page, ledger, become):
    become(replace(ANN, plan="enterprise"))
    app = open_page("usage")
    assert bars(app) == []
    assert "6 calls and 60.0 min of sound." in [text.value for text in app.markdown]


def test_a_plan_that_the_settings_have_lost_counts_as_that_of_new_accounts(open_page, ledger, become):
    become(replace(ANN, plan="gone"))
    assert "**Calls**: 6 of 10,000 used, 9,994 left" in bars(open_page("usage"))


def test_another_period_is_counted_in_other_stretches(open_page, ledger, become):
    become(ANN)
    app = open_page("usage")
    app.segmented_control(key="usage_period").set_value("24 hours").run()
    assert not app.exception
    assert any(text.value == "##### Requests by hour" for text in app.markdown)
    app.segmented_control(key="usage_period").set_value("All time").run()
    assert figures(app)["Requests"] == "9"


def test_download_is_offered_where_there_is_something(open_page, ledger, become):
    become(ANN)
    [download] = open_page("usage").download_button
    assert download.label == "Download CSV"
    assert "in the last 30 days" in download.proto.help


def test_what_is_analysed_on_a_page_is_counted_here(open_page, workbench):
    app = open_page("analyse")
    next(button for button in app.button if button.key.startswith("analyse_sample_")).click().run()
    assert workbench.usage.flush(deadline_s=60)
    app = open_page("usage")
    assert figures(app)["Predictions"] == "1"
    assert "without a key" in list(frame(app, "Key")["Key"])


def test_predictions_of_a_use_carry_what_was_heard():
    from core.usage import Use

    use = Use()
    use.add_prediction(make_prediction(make_recording(), emotion=Emotion.CALM, confidence=0.7))
    assert [(each.emotion, each.confidence, each.audio_s) for each in use.answers] == [(Emotion.CALM, 0.7, 5.0)]
