"""Reports about labels of somebody's own: counted, drawn and listed like the eight."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import openpyxl
import pytest
from pypdf import PdfReader

from core.domain import Emotion
from core.reports.batch_csv import batch_csv
from core.reports.report import ReportFormat
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording
from tests.integration.reports.conftest import NOW
from tests.own_labels import BORED, EXCITED, make_own_prediction

MADE_AT = NOW - timedelta(days=1)


@pytest.fixture(autouse=True)
def moods(store):
    recording = insert_recording(store, recording=make_recording())
    made = [
        make_own_prediction(recording, bored=0.5, created_at=MADE_AT),
        make_own_prediction(recording, bored=0.25, created_at=MADE_AT),
        make_prediction(recording, emotion=Emotion.SAD, created_at=MADE_AT),
    ]
    insert_predictions(store, predictions=made)
    return made


def test_a_report_has_a_line_for_each(written):
    report, file = written(ReportFormat.XLSX)
    lines = {line.emotion: line for line in report.emotions}
    assert list(lines) == [*Emotion, BORED, EXCITED]
    assert lines[BORED].n_predictions == 1
    assert lines[BORED].mean_probability == pytest.approx(0.25)
    book = openpyxl.load_workbook(file)
    assert [row[0].value for row in book["By emotion"].iter_rows(min_row=2, max_row=11)][-2:] == ["bored", "excited"]
    days = [cell.value for cell in book["By day"][1]]
    assert days[-2:] == ["Bored", "Excited"]
    heads, *rows = book["Predictions"].iter_rows(values_only=True)
    own = [json.loads(row[heads.index("Probabilities of own labels")] or "{}") for row in rows]
    assert {"bored": 0.5, "excited": 0.375} in own
    assert {} in own


def test_a_pdf_names_them(written):
    _, file = written(ReportFormat.PDF)
    text = "".join(page.extract_text() for page in PdfReader(file).pages)
    assert "bored" in text
    assert "excited" in text


def test_the_csv_of_predictions_has_them_as_json(written):
    _, file = written(ReportFormat.CSV)
    rows = list(csv.DictReader(io.StringIO(file.read().decode("utf-8-sig"))))
    assert sorted(row["own_probabilities"] for row in rows) == [
        "",
        '{"bored": 0.25, "excited": 0.625}',
        '{"bored": 0.5, "excited": 0.375}',
    ]


def test_the_csv_of_a_batch_has_the_column_too():
    assert batch_csv([]).rstrip().endswith(",own_probabilities")
