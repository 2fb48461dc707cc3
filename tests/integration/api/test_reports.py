"""Reports over HTTP: of what the caller may see, as the file that was asked for."""

from __future__ import annotations

import io

import openpyxl
import pytest
from pypdf import PdfReader
from starlette.testclient import TestClient

from core.domain import Purpose, Role, Scope
from core.identifiers import new_id
from tests.callers import key_header, make_user
from tests.problems import refused

REPORTS = "/api/v1/reports"


def test_pdf_is_what_comes_unless_something_else_is_asked_for(client, predict):
    predict()
    answer = client.post(REPORTS, json={"title": "Größe", "timezone": "Europe/Berlin"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].endswith('.pdf"')
    text = PdfReader(io.BytesIO(answer.content)).pages[0].extract_text()
    assert "Größe" in text
    assert "Europe/Berlin" in text


def test_workbook_and_csv_list_what_the_filter_lets_through(client, predict):
    kept = [predict(pitch_hz=pitch, name=name) for pitch, name in ((100.0, "one.wav"), (150.0, "two.wav"))]
    asked = {"filter": {"recording_name": "TWO", "created_from": "2026-01-01T00:00:00Z"}}
    book = openpyxl.load_workbook(io.BytesIO(client.post(REPORTS, json=asked | {"format": "xlsx"}).content))
    assert [row[1].value for row in book["Predictions"].iter_rows(min_row=2)] == ["two.wav"]
    lines = client.post(REPORTS, json=asked | {"format": "csv"}).text.splitlines()
    assert len(lines) == 2
    assert kept[1]["id"] in lines[1]


def test_others_get_a_report_of_nothing_of_it(client, api, workbench, predict):
    predict()
    other = TestClient(api, headers=key_header(workbench, role=Role.ANALYST, scopes=[Scope.READ]))
    assert len(other.post(REPORTS, json={"format": "csv"}).text.splitlines()) == 1


def test_report_of_a_project_is_for_those_who_share_it(api, workbench, wav):
    owner = make_user(workbench, password=None)
    client = TestClient(api, headers=key_header(workbench, user=owner, scopes=[Scope.READ, Scope.PREDICT]))
    caller = workbench.access.caller_on_behalf(owner.id)
    project = workbench.projects.create("Calls", Purpose.RESEARCH, by=caller)
    query = {"project": str(project.id), "consent": "true"}
    client.post("/api/v1/predict", files={"file": ("in.wav", wav)}, params=query).raise_for_status()
    asked = {"format": "csv", "filter": {"project": str(project.id)}}
    assert "in.wav" in client.post(REPORTS, json=asked).text
    assert len(client.get("/api/v1/predictions", params={"project": str(project.id)}).json()["items"]) == 1
    assert client.get("/api/v1/predictions", params={"project": str(new_id())}).json()["items"] == []
    stranger = TestClient(api, headers=key_header(workbench, role=Role.ANALYST, scopes=[Scope.READ]))
    refused(stranger.post(REPORTS, json=asked), 404, "unknown_project")


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"format": "docx"}, "format"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"title": ""}, "title"),
        ({"filter": {"emotions": [" hapy"]}}, "emotions"),
        ({"filter": {"created_from": "yesterday"}}, "created_from"),
        ({"filters": {}}, "filters"),
    ],
)
def test_what_is_out_of_place_is_refused(client, asked, parameter):
    body = refused(client.post(REPORTS, json=asked), 422, "invalid_parameter")
    assert parameter in body["detail"]
