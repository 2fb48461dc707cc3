"""A report as PDF: A4, every page numbered, text that can be selected, charts as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO

from reportlab.graphics.shapes import Drawing
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from core import __version__
from core.inference.model_scores import Measured
from core.reports import figures
from core.reports.figures import INK, LINE, MUTED, PALE, emotion_name, percent
from core.reports.filter_words import SOURCE_WORDS
from core.reports.fonts import Fonts, count_unprintable, find_fonts, marked
from core.reports.report import EmotionLine, Report, ReportedModel, fold_days
from core.store.predictions import PredictionRow

MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
MOST_COLUMNS = 62
"""More days than this are added up by week, and then by month."""
MAX_NAME = 60
"""Longer names of recordings are cut in tables, in the middle: their ends tell them apart."""


def write_pdf(report: Report, file: BinaryIO) -> None:
    """Write the report to `file`."""
    fonts = find_fonts()
    page = _Page(report, fonts)
    document = BaseDocTemplate(
        file,
        pagesize=A4,
        title=report.request.title,
        author="Telepathy",
        subject=f"Predictions from {report.period}",
        creator=f"Telepathy {__version__}",
        lang="en",
        leftMargin=MARGIN,
        rightMargin=MARGIN,
    )
    frame = Frame(MARGIN, 20 * mm, WIDTH, A4[1] - 42 * mm, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
    document.addPageTemplates(PageTemplate(id="page", frames=[frame]))
    document.build(page.story(), canvasmaker=partial(_NumberedCanvas, page=page))


class _NumberedCanvas(Canvas):  # type: ignore[misc]
    """Says on every page how many there are, which is known once all are drawn."""

    def __init__(self, *args: Any, page: _Page, **options: Any) -> None:
        super().__init__(*args, **(options | {"initialFontName": page.font}))
        self._page_of_report = page
        self._drawn: list[dict[str, Any]] = []

    def showPage(self) -> None:  # reportlab's name
        self._drawn.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for state in self._drawn:
            self.__dict__.update(state)
            self._page_of_report.edge(self, self._pageNumber, len(self._drawn))
            super().showPage()
        super().save()


class _Page:
    """The parts of one report, in its fonts."""

    def __init__(self, report: Report, fonts: Fonts) -> None:
        self._report = report
        self._fonts = fonts
        body = ParagraphStyle(
            "body", fontName=fonts.regular, fontSize=9, leading=13, textColor=INK, splitLongWords=True
        )
        self._body = body
        self._small = ParagraphStyle("small", body, fontSize=8, leading=11, textColor=MUTED)
        self._cell = ParagraphStyle("cell", body, fontSize=8, leading=10.5)
        self._number = ParagraphStyle("number", self._cell, alignment=TA_RIGHT)
        self._head = ParagraphStyle("head", self._cell, textColor=MUTED)
        self._number_head = ParagraphStyle("number_head", self._head, alignment=TA_RIGHT)
        self._title = ParagraphStyle("title", body, fontName=fonts.bold, fontSize=20, leading=25, spaceAfter=4)
        self._heading = ParagraphStyle(
            "heading", body, fontName=fonts.bold, fontSize=12, leading=16, spaceBefore=14, spaceAfter=5
        )
        self._bullet = ParagraphStyle("bullet", body, leftIndent=10, bulletIndent=0, spaceAfter=3)

    @property
    def font(self) -> str:
        return self._fonts.regular

    def edge(self, canvas: Canvas, number: int, n_pages: int) -> None:
        """The line at the foot of a page, and from the second on the title at its head."""
        report, fonts = self._report, self._fonts
        canvas.saveState()
        canvas.setStrokeColor(LINE)
        canvas.line(MARGIN, 15 * mm, A4[0] - MARGIN, 15 * mm)
        canvas.setFont(fonts.regular, 7.5)
        canvas.setFillColor(MUTED)
        made = f"Telepathy {__version__}  \u00b7  made {_moment(report.made_at, report)}"
        canvas.drawString(MARGIN, 10.5 * mm, made)
        canvas.drawRightString(A4[0] - MARGIN, 10.5 * mm, f"Page {number} of {n_pages}")
        canvas.restoreState()
        if number > 1:
            head = Paragraph(self._say(_cut(report.request.title, 90)), self._small)
            head.wrapOn(canvas, WIDTH, 20)
            head.drawOn(canvas, MARGIN, A4[1] - 14 * mm)

    def story(self) -> list[Flowable]:
        report = self._report
        story: list[Flowable] = [
            Paragraph(self._say(report.request.title, is_bold=True), self._title),
            Paragraph(self._say(f"{report.period} ({report.zone_name})"), self._body),
            Spacer(1, 6),
            self._facts(),
        ]
        if report.n_predictions == 0:
            story.append(Paragraph("There are no predictions in this period that match the filters.", self._heading))
        else:
            story += [*self._by_emotion(), *self._over_time(), *self._by_doubt(), *self._doubtful()]
        for model in report.models:
            story += self._model(model)
        story += self._caveats()
        return story

    def _facts(self) -> Flowable:
        report = self._report
        rows = [("Predictions", f"{report.n_predictions:,}, {_hours(report.duration_s)} of sound")]
        if report.n_predictions:
            not_sure = percent(report.n_not_sure / report.n_predictions)
            rows.append(("Not sure", f"{report.n_not_sure:,} ({not_sure})"))
            rows.append(("Mean confidence", percent(report.mean_confidence or 0.0)))
            rows.append(
                (
                    "Mean uncertainty",
                    f"{report.mean_entropy_nats or 0.0:.2f} nats, of which "
                    f"{report.mean_mutual_information_nats or 0.0:.2f} lie in the model",
                )
            )
            came = ", ".join(f"{SOURCE_WORDS[source]} {n:,}" for source, n in report.sources.items())
            rows.append(("Came by", came))
        filters = report.filter_lines or (("Filters", "none: everything that its reader may see"),)
        rows += [(f"Filter: {name}" if report.filter_lines else name, value) for name, value in filters]
        if report.request.made_for:
            rows.append(("Made for", report.request.made_for))
        rows.append(("Models", ", ".join(model.version for model in report.models) or "none answered"))
        return self._pairs(rows)

    def _by_emotion(self) -> list[Flowable]:
        lines = self._report.emotions
        drawn = figures.by_emotion(lines, self._fonts, width=WIDTH)
        columns = ("Emotion", "Predictions", "Not sure", "Mean confidence", "Mean probability", "Uncertainty (nats)")
        table = self._table(
            columns, [self._emotion_cells(line) for line in lines], widths=(100, 70, 65, 85, 88, 85), n_texts=1
        )
        note = (
            "Bars: share of all predictions; whiskers: its 95 % interval. Mean confidence and uncertainty are over the "
            "predictions with this emotion on top; mean probability is over all predictions."
        )
        return [self._figure("How often we heard what", drawn, note), KeepTogether([Spacer(1, 4), table])]

    def _emotion_cells(self, line: EmotionLine) -> tuple[str, ...]:
        return (
            emotion_name(line.emotion, self._fonts),
            f"{line.n_predictions:,}",
            f"{line.n_not_sure:,}",
            "" if line.mean_confidence is None else percent(line.mean_confidence),
            "" if line.mean_probability is None else percent(line.mean_probability),
            "" if line.mean_entropy_nats is None else f"{line.mean_entropy_nats:.2f}",
        )

    def _over_time(self) -> list[Flowable]:
        unit, days = fold_days(self._report.days, most=MOST_COLUMNS)
        drawn = figures.over_time(days, unit, self._fonts, width=WIDTH)
        return [self._figure("When", drawn, f"Number of predictions, in {self._report.zone_name}.")]

    def _by_doubt(self) -> list[Flowable]:
        drawn = figures.by_doubt(self._report.bins, self._fonts, width=WIDTH)
        note = "Each prediction by its confidence and its uncertainty. Top left is doubt, bottom right is sure."
        return [self._figure("How sure we were", drawn, note)]

    def _doubtful(self) -> list[Flowable]:
        rows = [self._doubtful_cells(row) for row in self._report.doubtful]
        table = self._table(
            ("Recording", "Best guess", "Confidence", "Uncertainty (nats)", "Made"),
            rows,
            widths=(172, 72, 62, 87, 100),
            n_texts=2,
        )
        heading = "The most uncertain: worth listening to again"
        note = "All predictions, one by one, are in the same report as Excel or CSV."
        return [
            CondPageBreak(120),
            Paragraph(heading, self._heading),
            table,
            Spacer(1, 3),
            Paragraph(note, self._small),
        ]

    def _doubtful_cells(self, row: PredictionRow) -> tuple[str, ...]:
        return (
            _cut(row.recording_name, MAX_NAME),
            emotion_name(row.emotion, self._fonts),
            percent(row.confidence),
            f"{row.uncertainty.predictive_entropy_nats:.2f}",
            _moment(row.created_at, self._report),
        )

    def _model(self, model: ReportedModel) -> list[Flowable]:
        card, scores = model.card, model.scores
        rows = [("Version", model.version), ("Predictions", f"{model.n_predictions:,}")]
        if card is None:
            rows.append(("Card", "This version is no longer at hand, so its card cannot be shown."))
        else:
            rows += [
                ("What it is", card.description),
                ("Terms", card.licence),
                ("Made", f"{card.created_at:%-d %B %Y}"),
            ]
        parts: list[Flowable] = [Paragraph("The model, and how far to trust it", self._heading), self._pairs(rows)]
        if scores is not None and scores.scores:
            table = self._table(
                (
                    "Judged on",
                    "Recordings",
                    "Speakers",
                    "Right (95\u00a0%)",
                    "Mean recall (95\u00a0%)",
                    "Calibration error",
                ),
                [
                    (
                        f"{score.title}: {score.protocol}",
                        f"{score.n_recordings:,}",
                        f"{score.n_speakers:,}",
                        _interval(score.accuracy),
                        _interval(score.unweighted_average_recall),
                        "" if score.expected_calibration_error is None else f"{score.expected_calibration_error:.3f}",
                    )
                    for score in scores.scores
                ],
                widths=(147, 60, 52, 90, 90, 54),
                n_texts=1,
            )
            parts += [Spacer(1, 4), table]
            if scores.protocol:
                parts += [Spacer(1, 3), Paragraph(self._say(scores.protocol), self._small)]
        return [CondPageBreak(160), *parts]

    def _caveats(self) -> list[Flowable]:
        said = [*self._report.caveats]
        n_boxes = self._n_unprintable()
        if n_boxes:
            letters = "1 letter" if n_boxes == 1 else f"{n_boxes:,} letters"
            said.append(f"{letters} of names could not be printed here and stand as {self._fonts.box}.")
        bullets = [Paragraph(self._say(caveat), self._bullet, bulletText="\u2022") for caveat in said]
        return [KeepTogether([Paragraph("Bear in mind", self._heading), *bullets])]

    def _n_unprintable(self) -> int:
        report = self._report
        texts = [report.request.title, report.request.made_for, *(value for _, value in report.filter_lines)]
        texts += [_cut(row.recording_name, MAX_NAME) for row in report.doubtful]
        return sum(count_unprintable(text, self._fonts) for text in texts)

    def _figure(self, heading: str, drawn: Drawing, note: str) -> Flowable:
        return KeepTogether([Paragraph(heading, self._heading), drawn, Spacer(1, 3), Paragraph(note, self._small)])

    def _pairs(self, rows: Sequence[tuple[str, str]]) -> Table:
        cells = [
            [Paragraph(self._say(name), self._head), Paragraph(self._say(value), self._cell)] for name, value in rows
        ]
        table = Table(cells, colWidths=(100, WIDTH - 100), hAlign="LEFT")
        table.setStyle(
            TableStyle(
                [
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("LEFTPADDING", (0, 0), (-1, -1), 0),
                    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
                ]
            )
        )
        return table

    def _table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, widths: Sequence[float], n_texts: int
    ) -> Table:
        """A table whose first `n_texts` columns hold text, and whose others hold figures, set to the right."""
        heads = [
            Paragraph(self._say(column), self._head if index < n_texts else self._number_head)
            for index, column in enumerate(columns)
        ]
        cells = [
            [
                Paragraph(self._say(cell), self._cell if index < n_texts else self._number)
                for index, cell in enumerate(row)
            ]
            for row in rows
        ]
        table = Table([heads, *cells], colWidths=widths, hAlign="LEFT", repeatRows=1)
        table.setStyle(
            TableStyle(
                [
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
                    ("BACKGROUND", (0, 0), (-1, 0), PALE),
                    ("LINEBELOW", (0, 0), (-1, -1), 0.5, LINE),
                    ("LEFTPADDING", (0, 0), (-1, -1), 4),
                    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
                    ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
                ]
            )
        )
        return table

    def _say(self, text: str, *, is_bold: bool = False) -> str:
        return marked(text, self._fonts, is_bold=is_bold)


def _moment(moment: datetime, report: Report) -> str:
    return f"{moment.astimezone(report.zone):%-d %b %Y, %H:%M}"


def _hours(seconds: float) -> str:
    """A length of sound as people say it.

    >>> _hours(42.25), _hours(1500), _hours(9000)
    ('42.2 s', '25 minutes', '2.5 hours')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _interval(measured: Measured) -> str:
    low, high = (f"{100 * end:.1f}" for end in (measured.low, measured.high))
    return f"{percent(measured.value)} ({low}\u00a0to\u00a0{high})"


def _cut(text: str, most: int) -> str:
    """`text`, its middle left out where it is longer than `most`.

    >>> _cut("a-very-long-name.wav", 11)
    'a-ver…e.wav'
    """
    if len(text) <= most:
        return text
    begin = (most - 1) // 2
    return f"{text[:begin]}\u2026{text[-(most - 1 - begin) :]}"
