"""Explore: filters, charts, table, detail and download say the same about the same predictions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from core.domain import PROCESS, Emotion, Purpose, Reader, Role, Source
from core.identifiers import new_id
from core.store.audit import select_audit_entries
from core.store.predictions import PredictionFilter, count_predictions, insert_predictions
from core.store.recordings import insert_recording, select_recording
from pages.parts import session
from tests.factories import make_prediction, make_recording

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def ledger(workbench):
    """Forty predictions: angry and calm in turn, ever surer, a day apart; two recordings, uploaded and by API."""
    recordings = [
        insert_recording(workbench.store, recording=make_recording(name=name, source=source))
        for name, source in (("call 1.wav", Source.UPLOAD), ("=cmd.wav", Source.API))
    ]
    made = [
        replace(
            make_prediction(
                recordings[number // 20],
                emotion=(Emotion.ANGRY, Emotion.CALM)[number % 2],
                confidence=0.21 + number * 0.015,
            ),
            created_at=START + timedelta(days=number),
        )
        for number in range(40)
    ]
    insert_predictions(workbench.store, predictions=made)
    return made


def heading(app) -> str:
    return next(element.value for element in app.markdown if "predictions" in element.value)


def pills(app, label: str):
    return next(group for group in app.pills if group.label == label)


def test_admins_see_whose_predictions_they_are_and_others_need_not(open_page, workbench, sign_in):
    signed_in = sign_in(Role.ANALYST)
    caller = workbench.access.caller_of_page(signed_in.access_token, signed_in.refresh_token)
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=caller)
    recording = make_recording(owner_id=caller.user.id, project_id=project.id)
    insert_recording(workbench.store, recording=recording)
    insert_predictions(workbench.store, predictions=[make_prediction(recording)])
    sign_in(Role.ADMIN)
    [row] = open_page("explore").dataframe[0].value.to_dict("records")
    assert (row["Owner"], row["Project"]) == (caller.user.email, "Voices")
    app = open_page()
    sign_in(Role.ANALYST, caller.user)
    app = app.switch_page("explore.py").run()
    assert {"Owner", "Project"}.isdisjoint(app.dataframe[0].value.columns)


def test_all_are_shown_a_page_at_a_time(open_page, ledger):
    app = open_page("explore")
    assert not app.exception
    assert heading(app) == "##### All 40 predictions"
    assert len(app.dataframe[0].value) == 25
    assert len(app.get("plotly_chart")) == 3
    app = next(button for button in app.button if button.label == "Next").click().run()
    assert len(app.dataframe[0].value) == 15
    assert any(caption.value == "Rows 26 to 40 of 40" for caption in app.caption)
    app = next(button for button in app.button if button.label == "Previous").click().run()
    assert len(app.dataframe[0].value) == 25


def test_a_chosen_emotion_restricts_the_table_and_stands_in_the_address(open_page, ledger):
    app = open_page("explore")
    pills(app, "Emotion").set_value(["angry"])
    app.run()
    assert heading(app) == "##### 20 of 40 predictions"
    assert {chips[0] for chips in app.dataframe[0].value["Answer"]} == {"✕ angry"}
    assert app.query_params["emotion"] in ("angry", ["angry"])
    app = next(button for button in app.button if button.label == "Reset").click().run()
    assert heading(app) == "##### All 40 predictions"
    assert "emotion" not in app.query_params


@pytest.mark.parametrize(
    ("parameters", "n_shown"),
    [
        ({"emotion": ["calm"]}, 20),
        ({"emotion": ["calm", "angry"], "verdict": ["unsure"]}, 13),
        ({"verdict": ["sure"]}, 27),
        ({"confidence": ["50-100"]}, 20),
        ({"source": ["api"]}, 20),
        ({"name": ["CALL"]}, 20),
        ({"model": ["another-000000000000"]}, 0),
        ({"from": ["2026-11-11T12:00Z"], "until": ["2026-11-21T12:00Z"]}, 10),
        ({"emotion": ["n" * 41], "confidence": ["x"]}, 40),
    ],
)
def test_a_link_carries_its_filters(open_page, ledger, parameters, n_shown):
    app = open_page("explore", **parameters)
    assert not app.exception
    if n_shown:
        assert heading(app) == ("##### All 40 predictions" if n_shown == 40 else f"##### {n_shown} of 40 predictions")
    else:
        assert "No prediction matches" in app.info[0].value


def test_filters_out_of_sight_are_named_and_can_be_taken_off_one_by_one(open_page, ledger):
    app = open_page("explore", confidence=["50-80"], source=["api"])
    assert {button.label.replace("\u00a0", " ") for button in app.button} >= {"Confidence 50 to 80 %", "API"}
    app = next(button for button in app.button if button.label == "API").click().run()
    assert "source" not in app.query_params
    assert app.query_params["confidence"] in ("50-80", ["50-80"])


def test_widgets_show_what_a_link_says(open_page, ledger):
    app = open_page("explore", emotion=["calm"], confidence=["20-60"], name=["call"], order=["least_confident"])
    assert pills(app, "Emotion").value == ["calm"]
    assert app.slider[0].value == (20, 60)
    assert app.text_input[0].value == "call"
    assert app.selectbox[0].value == "least_confident"


def test_order_is_that_of_the_whole_ledger_not_of_the_page(open_page, ledger):
    app = open_page("explore", order=["most_confident"])
    assert app.dataframe[0].value["Confidence"].iloc[0] == pytest.approx(100 * ledger[-1].confidence)


def test_a_link_opens_a_prediction_in_full(open_page, ledger):
    app = open_page("explore", prediction=str(ledger[7].id))
    assert not app.exception
    assert any("calm" in element.body for element in app.get("html") if "Verdict" in element.body)
    assert "The sound of this recording is no longer kept" in " ".join(caption.value for caption in app.caption)


def test_a_link_to_what_is_not_there_says_so_and_leads_on(open_page, ledger):
    app = open_page("explore", prediction=str(uuid4()))
    assert "There is no prediction" in app.warning[0].value
    assert [link.label for link in app.get("page_link")] == ["Show all predictions"]


def test_turning_to_another_question_begins_at_its_first_page(open_page, ledger):
    app = open_page("explore")
    app = next(button for button in app.button if button.label == "Next").click().run()
    pills(app, "Emotion").set_value(["angry", "calm"])
    app.run()
    assert len(app.dataframe[0].value) == 25


def test_download_offers_all_that_match(open_page, ledger):
    [download] = open_page("explore", emotion=["angry"]).download_button
    assert download.label == "Download CSV"
    assert "20 predictions" in download.proto.help


def test_deleting_a_recording_asks_once_more_and_takes_its_answers_away(open_page, ledger, workbench):
    app = open_page("explore", prediction=str(ledger[0].id))
    n_before = count_predictions(workbench.store, reader=PROCESS)
    button = app.button(key="explore_delete")
    assert button.label == "Delete for good"
    assert count_predictions(workbench.store, reader=PROCESS) == n_before
    button.click().run()
    assert not app.exception
    assert "prediction" not in app.query_params
    about_it = PredictionFilter(recording_id=ledger[0].recording_id)
    assert count_predictions(workbench.store, reader=PROCESS, filter=about_it) == 0
    assert select_recording(workbench.store, recording_id=ledger[0].recording_id, reader=PROCESS) is None
    noted = [entry for entry in select_audit_entries(workbench.access.store) if entry.action == "recording.delete"]
    assert [entry.subject for entry in noted] == [str(ledger[0].recording_id)]


def test_a_stranger_sees_no_answer_by_any_address(open_page, ledger, monkeypatch):
    monkeypatch.setattr(session, "reader", lambda: Reader(user_id=new_id()))
    assert "No predictions yet" in [each.value for each in open_page("explore").subheader]
    for page in ("explore", "explain"):
        app = open_page(page, prediction=str(ledger[0].id))
        assert not app.exception
        assert "angry" not in "".join(each.value for each in app.markdown)
