"""Reports: what is chosen stands in the address, the preview agrees with the store, the file is of the reader's own."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import openpyxl
import pytest

from core.domain import Emotion, Purpose, Role
from core.reports.report import ReportFormat, ReportRequest
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from pages.parts import reports
from tests.factories import make_prediction, make_recording


def metrics(app) -> dict[str, str]:
    return {each.label: each.value for each in app.metric}


@pytest.fixture
def analyst(sign_in, workbench):
    """Somebody with six predictions, five of them of this month, two in a project."""
    signed_in = sign_in(Role.ANALYST)
    caller = workbench.access.caller_of_page(signed_in.access_token, signed_in.refresh_token)
    project = workbench.projects.create("Calls *of* 2026", Purpose.RESEARCH, by=caller)
    own = insert_recording(workbench.store, recording=make_recording(owner_id=caller.user.id))
    shared = insert_recording(workbench.store, recording=make_recording(owner_id=caller.user.id, project_id=project.id))
    made = [make_prediction(own, emotion=Emotion.SAD) for _ in range(3)]
    made += [make_prediction(shared, emotion=Emotion.CALM) for _ in range(2)]
    made.append(make_prediction(own, created_at=datetime.now(UTC) - timedelta(days=400)))
    insert_predictions(workbench.store, predictions=made)
    return caller, project


def test_preview_follows_period_project_and_filters(open_page, workbench, analyst, sign_in):
    caller, project = analyst
    sign_in(Role.ANALYST, caller.user)
    app = open_page_of(open_page, caller, sign_in)
    assert not app.exception
    assert metrics(app)["Predictions"] == "6"
    period = next(each for each in app.get("button_group") if each.label == "Period")
    period.set_value("Last 7 days").run()
    assert metrics(app)["Predictions"] == "5"
    assert "from" in app.query_params
    next(each for each in app.selectbox if each.label == "Project").set_value(project.id).run()
    assert metrics(app)["Predictions"] == "2"
    assert app.query_params["project"] in (str(project.id), [str(project.id)])
    assert not app.exception


def open_page_of(open_page, caller, sign_in, **parameters):
    sign_in(Role.ANALYST, caller.user)
    return open_page("reports", **parameters)


def test_filter_in_the_address_is_taken(open_page, analyst, sign_in):
    caller, project = analyst
    app = open_page_of(open_page, caller, sign_in, emotion="sad", project=str(project.id))
    assert any("No prediction matches" in each.value for each in app.info)
    assert any(each.label.startswith("Project Calls") for each in app.button)


def test_others_have_nothing_to_report(open_page, analyst, sign_in):
    sign_in(Role.ANALYST)
    app = open_page("reports")
    assert [each.value for each in app.subheader] == ["Nothing to report yet"]


def test_file_holds_what_its_reader_may_see_when_it_is_downloaded(workbench, analyst):
    caller, _project = analyst
    data = reports.written(workbench, ReportRequest(), ReportFormat.XLSX, caller)
    assert openpyxl.load_workbook(io.BytesIO(data))["Predictions"].max_row == 7


def test_links_of_explore_and_projects_carry_their_filter(open_page, analyst, sign_in):
    caller, _project = analyst
    sign_in(Role.ANALYST, caller.user)
    for page, parameters, expected in (("explore", {"emotion": "sad"}, "emotion=sad"), ("projects", {}, "project=")):
        app = open_page(page, **parameters)
        link = next(each for each in app.get("page_link") if each.label == "Report")
        assert expected in link.query_string, link


def test_list_of_too_many_is_said_before_it_is_asked_for(open_page, workbench, analyst, sign_in, monkeypatch):
    caller, _ = analyst
    monkeypatch.setattr(workbench, "settings", replace(workbench.settings, max_report_rows=2))
    app = open_page_of(open_page, caller, sign_in)
    assert not any("lists at most" in each.value for each in app.warning)
    format = next(each for each in app.get("button_group") if each.label == "Format")
    format.set_value(ReportFormat.XLSX).run()
    assert any("Excel lists at most 2" in each.value for each in app.warning)


def schedule_one(app, *, often: str = "Every day", recipients: str = ""):
    """Fill the form in and press the button."""
    next(each for each in app.get("button_group") if each.label == "How often").set_value(often).run()
    if recipients:
        app.text_area(key="reports_recipients").set_value(recipients)
    return app.button(key="reports_schedule").click().run()


def test_report_is_scheduled_paused_sent_now_and_deleted(open_page, workbench, analyst, sign_in):
    caller, project = analyst
    app = open_page_of(open_page, caller, sign_in, emotion="sad", project=str(project.id))
    app.text_input(key="reports_title").set_value("Calls *of* the week").run()
    app = schedule_one(app, often="Every week")
    assert not app.exception
    assert not app.error
    [schedule] = workbench.report_schedules.list_for(caller.reader)
    assert (schedule.title, schedule.cron, schedule.period) == ("Calls *of* the week", "0 7 * * 1", "week")
    assert (schedule.filter.emotions, schedule.filter.project_id) == ((Emotion.SAD,), project.id)
    assert schedule.recipients == (caller.user.email,)
    shown = "\n".join(each.value for each in app.markdown)
    assert "PDF, the week before, every Monday at 07:00" in shown.replace("\\", "")
    assert "Project: Calls *of* 2026" in shown.replace("\\", "")
    key = f"reports_{schedule.id}"
    app.button(key=f"{key}_run").click().run()
    [run] = workbench.report_schedules.runs(schedule.id, reader=caller.reader)
    assert run.is_by_hand
    app.button(key=f"{key}_pause").click().run()
    assert workbench.report_schedules.find(schedule.id, reader=caller.reader).is_paused
    assert any(each.value == "Paused." for each in app.caption)
    app.button(key=f"{key}_delete_now").click().run()
    assert workbench.report_schedules.list_for(caller.reader) == []
    assert not app.exception


def test_address_that_may_not_be_written_to_is_refused_beside_the_form(open_page, workbench, analyst, sign_in):
    caller, _ = analyst
    app = schedule_one(open_page_of(open_page, caller, sign_in), recipients="spam@elsewhere.example")
    assert "'spam@elsewhere.example'" in app.error[0].value
    assert workbench.report_schedules.list_for(caller.reader) == []


def test_line_of_cron_that_is_none_is_refused_as_it_is_typed(open_page, analyst, sign_in):
    caller, _ = analyst
    app = open_page_of(open_page, caller, sign_in)
    next(each for each in app.get("button_group") if each.label == "How often").set_value("By cron").run()
    app.text_input(key="reports_cron").set_value("* * * * *").run()
    assert "five fields of cron" in app.error[0].value
    assert not app.exception


def test_admin_sees_whose_report_it_is_and_others_none_of_it(open_page, workbench, analyst, sign_in):
    caller, _ = analyst
    schedule_one(open_page_of(open_page, caller, sign_in))
    sign_in(Role.ADMIN)
    assert any(caller.user.email in each.value.replace("\\", "") for each in open_page("reports").caption)
    sign_in(Role.ANALYST)
    assert not [each for each in open_page("reports").button if each.key.endswith("_run")]
