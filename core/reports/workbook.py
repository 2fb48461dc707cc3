"""A report as an Excel workbook: numbers are numbers, times are times in the reader's zone, charts are Excel's own.

Rows are written as they come from the store and kept nowhere (`constant_memory`). Text is written as text, whatever it
begins with: no name of a recording can be a formula.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, time
from typing import BinaryIO

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from core.domain import Emotion, in_order
from core.emotion_colours import colours_of
from core.inference.model_scores import Measured
from core.reports.filter_words import SOURCE_WORDS
from core.reports.predictions_csv import own_probabilities
from core.reports.report import Report, fold_days
from core.store.predictions import PredictionRow

SUMMARY, PREDICTIONS, BY_EMOTION, BY_DAY, MODEL = (
    "Summary",
    "Predictions",
    "By emotion",
    "By day",
    "Model and caveats",
)
MAX_SHEET_ROWS = 1_048_575
"""Below the header: Excel has no more. Further rows go on in another sheet."""
MOST_CHART_DAYS = 366
_TEXT_WIDTH = 90
"""Of the column that holds sentences, in letters."""

_INK, _MUTED, _PALE, _LINE = "#23262E", "#5E6470", "#F6F5F2", "#E4E1DA"


def write_xlsx(report: Report, rows: Iterable[PredictionRow], file: BinaryIO) -> None:
    """Write the report to `file`; `rows` are its predictions."""
    workbook = xlsxwriter.Workbook(
        file,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "nan_inf_to_errors": False,
        },
    )
    try:
        workbook.set_properties(
            {
                "title": report.request.title,
                "author": "Telepathy",
                "subject": f"Predictions from {report.period}",
                "created": report.made_at.replace(tzinfo=None),
            }
        )
        sheets = _Sheets(workbook, report)
        sheets.summary()
        sheets.predictions(rows)
        sheets.by_emotion()
        sheets.by_day()
        sheets.model()
    finally:
        workbook.close()


class _Sheets:
    """The sheets of one report."""

    def __init__(self, workbook: Workbook, report: Report) -> None:
        self._workbook = workbook
        self._report = report
        font = {"font_name": "Calibri", "font_size": 11, "font_color": _INK, "valign": "top"}

        def style(**given: object) -> Format:
            return workbook.add_format({**font, **given})

        self._title = style(bold=True, font_size=16)
        self._heading = style(bold=True, font_size=12)
        self._head = style(bold=True, bg_color=_PALE, bottom=1, bottom_color=_LINE, text_wrap=True, valign="bottom")
        self._name = style(font_color=_MUTED)
        self._text = style()
        self._wrapped = style(text_wrap=True)
        self._count = style(num_format="#,##0", align="left")
        self._integer = style(num_format="#,##0")
        self._share = style(num_format="0.0%")
        self._share_left = style(num_format="0.0%", align="left")
        self._decimal = style(num_format="0.000")
        self._decimal_left = style(num_format="0.000", align="left")
        self._tenth = style(num_format="#,##0.0")
        self._tenth_left = style(num_format="#,##0.0", align="left")
        self._moment = style(num_format="yyyy-mm-dd hh:mm:ss")
        self._moment_left = style(num_format="yyyy-mm-dd hh:mm:ss", align="left")
        self._day = style(num_format="yyyy-mm-dd")

    def summary(self) -> None:
        report = self._report
        sheet = self._add(SUMMARY)
        sheet.set_column(0, 0, 46)
        sheet.set_column(1, 1, 70)
        sheet.write_string(0, 0, report.request.title, self._title)
        row = 2

        def line(name: str, value: str | float | datetime | None, style: Format) -> None:
            nonlocal row
            sheet.write_string(row, 0, name, self._name)
            _write(sheet, row, 1, value, style)
            row += 1

        line("Period", f"{report.period} ({report.zone_name})", self._text)
        line("Made", self._local(report.made_at), self._moment_left)
        line("Made for", report.request.made_for or None, self._text)
        for name, value in report.filter_lines or (("Filters", "none: everything that its reader may see"),):
            line(f"Filter: {name}" if report.filter_lines else name, value, self._text)
        row += 1
        line("Predictions", report.n_predictions, self._count)
        line("Not sure", report.n_not_sure, self._count)
        line("Sound (s)", report.duration_s, self._tenth_left)
        line("Mean confidence", report.mean_confidence, self._share_left)
        line("Mean uncertainty (nats)", report.mean_entropy_nats, self._decimal_left)
        line("Of it in the model (nats)", report.mean_mutual_information_nats, self._decimal_left)
        row += 1
        for source, n_predictions in report.sources.items():
            line(f"Came by: {SOURCE_WORDS[source]}", n_predictions, self._count)
        for model in report.models:
            line(f"Answered by: {model.version}", model.n_predictions, self._count)

    def predictions(self, rows: Iterable[PredictionRow]) -> None:
        sheet, row = self._predictions_sheet(PREDICTIONS), 0
        n_sheets = 1
        for prediction in rows:
            if row == MAX_SHEET_ROWS:
                sheet.autofilter(0, 0, row, len(self._columns()) - 1)
                n_sheets += 1
                sheet, row = self._predictions_sheet(f"{PREDICTIONS} {n_sheets}"), 0
            row += 1
            self._prediction(sheet, row, prediction)
        sheet.autofilter(0, 0, row, len(self._columns()) - 1)

    def _columns(self) -> list[tuple[str, float]]:
        """Name and width of each."""
        return [
            (f"Made ({self._report.zone_name})", 20),
            ("Recording", 34),
            ("Emotion", 11),
            ("Confidence", 11),
            ("Not sure", 9),
            *((emotion.value.capitalize(), 10.0) for emotion in Emotion),
            ("Predictive entropy (nats)", 12),
            ("Expected entropy (nats)", 12),
            ("Mutual information (nats)", 12),
            ("Length (s)", 10),
            ("Came by", 11),
            ("Model", 28),
            ("Passes", 8),
            ("Latency (ms)", 10),
            ("Prediction id", 38),
            ("Recording id", 38),
            ("Probabilities of own labels", 30),
        ]

    def _predictions_sheet(self, name: str) -> Worksheet:
        sheet = self._add(name)
        self._heads(sheet, 0, self._columns(), height=32)
        sheet.freeze_panes(1, 2)
        return sheet

    def _prediction(self, sheet: Worksheet, row: int, found: PredictionRow) -> None:
        doubt = found.uncertainty
        cells: list[tuple[str | float | bool | datetime | None, Format]] = [
            (self._local(found.created_at), self._moment),
            (found.recording_name, self._text),
            (found.emotion.value, self._text),
            (found.confidence, self._share),
            (found.abstained, self._text),
            *((found.probabilities.get(emotion), self._share) for emotion in Emotion),
            (doubt.predictive_entropy_nats, self._decimal),
            (doubt.expected_entropy_nats, self._decimal),
            (doubt.mutual_information_nats, self._decimal),
            (found.duration_s, self._tenth),
            (SOURCE_WORDS[found.source], self._text),
            (found.model_version, self._text),
            (found.n_passes, self._integer),
            (found.latency_ms, self._tenth),
            (str(found.id), self._text),
            (str(found.recording_id), self._text),
            (own_probabilities(found.probabilities), self._text),
        ]
        for column, (value, style) in enumerate(cells):
            _write(sheet, row, column, value, style)

    def by_emotion(self) -> None:
        sheet = self._add(BY_EMOTION)
        columns = [
            ("Emotion", 14.0),
            ("Predictions", 12.0),
            ("Share", 10.0),
            ("Share, low (95 %)", 12.0),
            ("Share, high (95 %)", 12.0),
            ("Not sure", 10.0),
            ("Mean confidence", 12.0),
            ("Mean probability over all", 14.0),
            ("Mean predictive entropy (nats)", 16.0),
            ("Mean mutual information (nats)", 16.0),
            ("Sound (s)", 12.0),
        ]
        self._heads(sheet, 0, columns, height=48)
        for row, line in enumerate(self._report.emotions, start=1):
            counted = line.share is not None
            cells: list[tuple[str | float | None, Format]] = [
                (line.emotion.value, self._text),
                (line.n_predictions, self._integer),
                (line.share, self._share),
                (line.interval.low if counted else None, self._share),
                (line.interval.high if counted else None, self._share),
                (line.n_not_sure, self._integer),
                (line.mean_confidence, self._share),
                (line.mean_probability, self._share),
                (line.mean_entropy_nats, self._decimal),
                (line.mean_mutual_information_nats, self._decimal),
                (line.duration_s, self._tenth),
            ]
            for column, (value, style) in enumerate(cells):
                _write(sheet, row, column, value, style)
        n_emotions = len(self._report.emotions)
        colours = colours_of(line.emotion for line in self._report.emotions)
        chart = self._workbook.add_chart({"type": "bar"})
        chart.add_series(
            {
                "name": [BY_EMOTION, 0, 1],
                "categories": [BY_EMOTION, 1, 0, n_emotions, 0],
                "values": [BY_EMOTION, 1, 1, n_emotions, 1],
                "points": [{"fill": {"color": colours[line.emotion]}} for line in self._report.emotions],
                "data_labels": {"value": True},
                "gap": 40,
            }
        )
        chart.set_title({"name": "How often we heard what", "name_font": {"size": 12}})
        chart.set_legend({"none": True})
        chart.set_y_axis({"reverse": True})
        chart.set_x_axis({"major_gridlines": {"visible": True, "line": {"color": _LINE}}, "num_format": "#,##0"})
        chart.set_size({"width": 620, "height": 320})
        sheet.insert_chart(n_emotions + 2, 0, chart, {"description": "Predictions by emotion"})

    def by_day(self) -> None:
        sheet = self._add(BY_DAY)
        unit, days = fold_days(self._report.days, most=MOST_CHART_DAYS)
        columns = [(unit.capitalize(), 12.0), ("Predictions", 12.0)]
        colours = colours_of(in_order([*Emotion, *(label for line in days for label in line.counts)]))
        columns += [(label.value.capitalize(), 10.0) for label in colours]
        self._heads(sheet, 0, columns, height=18)
        sheet.freeze_panes(1, 1)
        for row, line in enumerate(days, start=1):
            sheet.write_datetime(row, 0, datetime.combine(line.day, time.min), self._day)
            sheet.write_number(row, 1, line.n_predictions, self._integer)
            for column, label in enumerate(colours, start=2):
                sheet.write_number(row, column, line.counts.get(label, 0), self._integer)
        if not days:
            return
        chart = self._workbook.add_chart({"type": "column", "subtype": "stacked"})
        for column, colour in enumerate(colours.values(), start=2):
            chart.add_series(
                {
                    "name": [BY_DAY, 0, column],
                    "categories": [BY_DAY, 1, 0, len(days), 0],
                    "values": [BY_DAY, 1, column, len(days), column],
                    "fill": {"color": colour},
                    "gap": 25,
                }
            )
        chart.set_title({"name": f"Predictions by {unit} ({self._report.zone_name})", "name_font": {"size": 12}})
        chart.set_x_axis({"date_axis": True, "num_format": "d mmm yyyy" if unit == "day" else "mmm yyyy"})
        chart.set_y_axis({"major_gridlines": {"visible": True, "line": {"color": _LINE}}, "num_format": "#,##0"})
        chart.set_legend({"position": "bottom"})
        chart.set_size({"width": 900, "height": 400})
        sheet.insert_chart(1, len(columns) + 1, chart, {"description": f"Predictions by {unit}, stacked by emotion"})

    def model(self) -> None:
        sheet = self._add(MODEL)
        for column in range(len(_SCORE_COLUMNS)):
            sheet.set_column(column, column, _TEXT_WIDTH if column == 0 else 12)
        row = 0

        def lines(texts: Sequence[str], style: Format) -> None:
            nonlocal row
            for text in texts:
                sheet.set_row(row, _height(text))
                sheet.write_string(row, 0, text, style)
                row += 1

        for model in self._report.models:
            lines([model.version], self._heading)
            if model.card is None:
                lines(["This version is no longer at hand, so its card cannot be shown."], self._wrapped)
            else:
                made = f"Made {model.card.created_at:%-d %B %Y}"
                lines([model.card.description, f"Terms: {model.card.licence}", made], self._wrapped)
            if model.scores is not None and model.scores.scores:
                self._heads(sheet, row, [(name, None) for name in _SCORE_COLUMNS], height=48)
                row += 1
                for score in model.scores.scores:
                    values: list[tuple[str | float | None, Format]] = [
                        (f"{score.title}: {score.protocol}", self._wrapped),
                        (score.n_recordings, self._integer),
                        (score.n_speakers, self._integer),
                        *((value, self._share) for value in _three(score.accuracy)),
                        *((value, self._share) for value in _three(score.unweighted_average_recall)),
                        (score.expected_calibration_error, self._decimal),
                    ]
                    sheet.set_row(row, _height(f"{score.title}: {score.protocol}"))
                    for column, (value, style) in enumerate(values):
                        _write(sheet, row, column, value, style)
                    row += 1
                if model.scores.protocol:
                    lines([model.scores.protocol], self._wrapped)
            row += 1
        lines(["Bear in mind"], self._heading)
        lines(self._report.caveats, self._wrapped)

    def _add(self, name: str) -> Worksheet:
        sheet = self._workbook.add_worksheet(name)
        sheet.hide_gridlines(2)
        sheet.set_landscape()
        sheet.set_paper(9)  # A4
        sheet.fit_to_pages(1, 0)
        sheet.set_footer("&L&8Telepathy&R&8&A, page &P of &N")
        return sheet

    def _heads(self, sheet: Worksheet, row: int, columns: Sequence[tuple[str, float | None]], *, height: float) -> None:
        sheet.set_row(row, height)
        for column, (name, width) in enumerate(columns):
            if width is not None:
                sheet.set_column(column, column, width)
            sheet.write_string(row, column, name, self._head)
        if row == 0:
            sheet.repeat_rows(0)

    def _local(self, moment: datetime) -> datetime:
        """At the reader's clock: Excel's times know no zone, so the column says which."""
        return moment.astimezone(self._report.zone).replace(tzinfo=None)


_SCORE_COLUMNS = (
    "Judged on",
    "Recordings",
    "Speakers",
    "Right",
    "Right, low (95 %)",
    "Right, high (95 %)",
    "Mean recall",
    "Mean recall, low (95 %)",
    "Mean recall, high (95 %)",
    "Calibration error",
)


def _height(text: str) -> float:
    """Of a row that holds `text` in the wide column: Excel measures wrapped text only when somebody edits it."""
    return 15.5 * max(1, math.ceil(len(text) / (0.88 * _TEXT_WIDTH)))


def _three(measured: Measured) -> tuple[float, float, float]:
    return measured.value, measured.low, measured.high


def _write(sheet: Worksheet, row: int, column: int, value: str | float | bool | datetime | None, style: Format) -> None:
    """By the type of `value`, so that nothing is ever guessed from a text; None leaves the cell empty."""
    if value is None:
        return
    if isinstance(value, str):
        sheet.write_string(row, column, value, style)
    elif isinstance(value, bool):
        sheet.write_boolean(row, column, value, style)
    elif isinstance(value, datetime):
        sheet.write_datetime(row, column, value, style)
    else:
        sheet.write_number(row, column, value, style)
