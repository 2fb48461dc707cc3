"""Each kind of report, opened by its real reader: openpyxl, pypdf, LibreOffice."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime

import openpyxl
import pytest
from pypdf import PdfReader

from core.config import Settings
from core.domain import PROCESS, Emotion, Reader
from core.errors import ReportTooLargeError
from core.identifiers import new_id
from core.reports import workbook
from core.reports.fonts import count_unprintable, find_fonts, runs_of
from core.reports.report import ReportFormat, ReportRequest, file_name
from core.reports.reports import Reports
from core.store.predictions import PredictionFilter, insert_predictions
from tests.bundles import TINY
from tests.integration.reports.conftest import BERLIN, EVIL, NAMES, NOW

SHEETS = ["Summary", "Predictions", "By emotion", "By day", "Model and caveats"]


def rows_of(sheet) -> list[dict[str, object]]:
    heads, *rows = sheet.iter_rows(values_only=True)
    return [dict(zip(heads, row, strict=True)) for row in rows]


def test_workbook_holds_every_prediction_with_real_numbers_and_times(written, filled):
    _, file = written(ReportFormat.XLSX)
    book = openpyxl.load_workbook(file)
    assert book.sheetnames == SHEETS
    rows = rows_of(book["Predictions"])
    assert len(rows) == len(filled)
    by_id = {row["Prediction id"]: row for row in rows}
    for recording, prediction in filled:
        row = by_id[str(prediction.id)]
        at = row["Made (Europe/Berlin)"]
        assert isinstance(at, datetime)
        assert abs((at - prediction.created_at.astimezone(BERLIN).replace(tzinfo=None)).total_seconds()) < 0.001
        assert row["Recording"] == recording.name
        assert row["Confidence"] == pytest.approx(prediction.confidence)
        assert row["Not sure"] is prediction.abstained
        for emotion in Emotion:
            assert row[emotion.value.capitalize()] == pytest.approx(prediction.probabilities[emotion])


def test_workbook_adds_up_to_the_same_figures(written, filled):
    report, file = written(ReportFormat.XLSX)
    book = openpyxl.load_workbook(file)
    summary = dict(book["Summary"].iter_rows(min_row=3, max_col=2, values_only=True))
    assert summary["Predictions"] == len(filled)
    assert summary["Mean confidence"] == pytest.approx(report.mean_confidence)
    for line, row in zip(report.emotions, rows_of(book["By emotion"]), strict=True):
        assert (row["Emotion"], row["Predictions"], row["Not sure"]) == (
            line.emotion,
            line.n_predictions,
            line.n_not_sure,
        )
        assert row["Share, low (95 %)"] == pytest.approx(line.interval.low)
    days = rows_of(book["By day"])
    assert [row["Day"].date() for row in days] == [line.day for line in report.days]
    assert [row["Predictions"] for row in days] == [line.n_predictions for line in report.days]
    assert [len(book[name]._charts) for name in ("By emotion", "By day")] == [1, 1]
    said = " ".join(str(row[0]) for row in book["Model and caveats"].iter_rows(values_only=True))
    assert "not what somebody feels" in said


def test_no_text_of_a_workbook_is_a_formula(written, filled):
    _, file = written(ReportFormat.XLSX, title="=1+1", made_for='=HYPERLINK("http://evil.example")')
    book = openpyxl.load_workbook(file)
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if isinstance(cell.value, str)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert EVIL in {cell.value for cell in cells}
    assert not any(cell.hyperlink for cell in cells)


def test_rows_beyond_what_a_sheet_holds_go_on_in_another(written, filled, monkeypatch):
    monkeypatch.setattr(workbook, "MAX_SHEET_ROWS", 50)
    _, file = written(ReportFormat.XLSX)
    book = openpyxl.load_workbook(file)
    pages = [book[name] for name in book.sheetnames if name.startswith("Predictions")]
    assert [len(rows_of(page)) for page in pages] == [50, 50, 20]
    assert len({row["Prediction id"] for page in pages for row in rows_of(page)}) == len(filled)


def test_lists_of_too_many_predictions_are_refused_and_a_pdf_is_not(store, filled):
    reports = Reports(Settings(models_dir=TINY.parent, max_report_rows=119), store, now=lambda: NOW)
    report = reports.assemble(ReportRequest(), reader=PROCESS)
    for format in (ReportFormat.CSV, ReportFormat.XLSX):
        with pytest.raises(ReportTooLargeError, match="would list 120 predictions; at most 119"):
            reports.write(report, format, io.BytesIO(), reader=PROCESS)
    reports.write(report, ReportFormat.PDF, io.BytesIO(), reader=PROCESS)


def test_csv_is_the_list_of_predictions_disarmed(written, filled):
    report, file = written(ReportFormat.CSV, filter=PredictionFilter(emotions=(Emotion.SAD,)))
    rows = list(csv.DictReader(io.StringIO(file.read().decode("utf-8-sig"), newline="")))
    assert len(rows) == report.n_predictions == sum(p.emotion is Emotion.SAD for _, p in filled)
    assert f"'{EVIL}" in {row["recording_name"] for row in rows}
    assert file_name(report, ReportFormat.CSV) == "telepathy-report-2026-04-02.csv"


def text_of(file) -> str:
    """The text of a PDF, page by page; every space is one."""
    return re.sub(r"\s+", " ", " ".join(page.extract_text() for page in PdfReader(file).pages))


def test_pdf_says_title_period_filters_figures_and_caveats_in_text_that_can_be_selected(written, filled):
    report, file = written(
        ReportFormat.PDF, title="Calls & <b>voices</b>", made_for="Zoë", filter=PredictionFilter(min_confidence=0.35)
    )
    reader = PdfReader(file)
    text = text_of(file)
    assert reader.metadata.title == "Calls & <b>voices</b>"
    for said in (
        "Calls & <b>voices</b>",
        f"{report.period} (Europe/Berlin)",
        "Filter: Confidence",
        "35 % to 100 %",
        "Zoë",
        f"{report.n_predictions:,}, ",
        "tiny-0",
        "no longer at hand",
        "not what somebody feels",
    ):
        assert said in text, said
    for line in report.emotions:
        if line.n_predictions:
            low, high = (f"{100 * end:.1f}" for end in (line.interval.low, line.interval.high))
            assert f"{line.n_predictions:,} \u00b7 {100 * line.share:.1f} % ({low} % to {high} %)" in text
    n_pages = len(reader.pages)
    assert [f"Page {n} of {n_pages}" in page.extract_text() for n, page in enumerate(reader.pages, 1)] == [
        True
    ] * n_pages
    assert not any(page.images for page in reader.pages), "charts are vectors"


def test_names_in_other_letters_can_be_read_in_a_pdf(written, filled):
    _, file = written(ReportFormat.PDF)
    text = text_of(file)
    shown = [name for name in NAMES if name in text]
    assert "Größe, Ω и Ж.wav" in shown
    assert EVIL in shown


def test_letters_that_no_font_has_stand_as_a_box_and_are_counted():
    plain = find_fonts(dejavu_folders=(), asian_files=())
    assert plain.regular == "Vera"
    assert list(runs_of("Größe Ж한声の\n", plain)) == [
        ("Vera", f"Größe {plain.box}"),
        ("HYSMyeongJo-Medium", "한"),
        ("HeiseiKakuGo-W5", "声の"),
        ("Vera", " "),
    ]
    assert count_unprintable("Größe Ж?", plain) == 1


def test_pdf_of_nothing_says_so(written):
    _, file = written(ReportFormat.PDF, reader=Reader(user_id=new_id()))
    text = text_of(file)
    assert "There are no predictions in this period that match the filters." in text
    assert "Bear in mind" in text


def test_workbook_of_nothing_opens(written):
    _, file = written(ReportFormat.XLSX, reader=Reader(user_id=new_id()))
    book = openpyxl.load_workbook(file)
    assert book.sheetnames == SHEETS
    assert rows_of(book["Predictions"]) == []


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
def test_libreoffice_opens_the_workbook_and_computes_nothing(written, filled, tmp_path):
    _, file = written(ReportFormat.XLSX)
    (tmp_path / "report.xlsx").write_bytes(file.read())
    home = {**os.environ, "HOME": str(tmp_path)}
    command = ["soffice", "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path), str(tmp_path / "report.xlsx")]
    subprocess.run(command, check=True, capture_output=True, env=home, timeout=120)
    text = text_of(tmp_path / "report.pdf")
    assert "=1+cmd" in text
    assert "How often we heard what" in text
    for _, prediction in filled[:5]:
        assert str(prediction.id) in text


def test_a_prediction_of_a_model_that_knows_fewer_emotions_leaves_cells_empty(written, store, filled):
    fewer = replace(filled[0][1], id=new_id(), probabilities={Emotion.SAD: 0.75, Emotion.CALM: 0.25})
    insert_predictions(store, predictions=[fewer])
    _, file = written(ReportFormat.XLSX)
    row = next(r for r in rows_of(openpyxl.load_workbook(file)["Predictions"]) if r["Prediction id"] == str(fewer.id))
    assert (row["Sad"], row["Happy"]) == (0.75, None)
