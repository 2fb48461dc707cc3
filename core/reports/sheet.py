"""A4 sheets of PDF reports: their margins, letters, tables and the line at their foot."""

from __future__ import annotations

from collections.abc import Sequence
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
from core.reports.figures import INK, LINE, MUTED, PALE
from core.reports.fonts import find_fonts, marked

MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN


class Sheet:
    """The styles of one report, in its fonts."""

    def __init__(self, *, name: str, made: str) -> None:
        """`name` stands at the head of every page but the first, `made` (when) at the foot of all."""
        self._name = name
        self._made = made
        fonts = find_fonts()
        self.fonts = fonts
        body = ParagraphStyle(
            "body", fontName=fonts.regular, fontSize=9, leading=13, textColor=INK, splitLongWords=True
        )
        self.body = body
        self.small = ParagraphStyle("small", body, fontSize=8, leading=11, textColor=MUTED)
        self.cell = ParagraphStyle("cell", body, fontSize=8, leading=10.5)
        self.number = ParagraphStyle("number", self.cell, alignment=TA_RIGHT)
        self.head = ParagraphStyle("head", self.cell, textColor=MUTED)
        self.number_head = ParagraphStyle("number_head", self.head, alignment=TA_RIGHT)
        self.title = ParagraphStyle("title", body, fontName=fonts.bold, fontSize=20, leading=25, spaceAfter=4)
        self.heading = ParagraphStyle(
            "heading", body, fontName=fonts.bold, fontSize=12, leading=16, spaceBefore=14, spaceAfter=5
        )
        self.bullet = ParagraphStyle("bullet", body, leftIndent=10, bulletIndent=0, spaceAfter=3)

    def write(self, story: list[Flowable], file: BinaryIO, *, subject: str) -> None:
        """Write the document to `file`."""
        document = BaseDocTemplate(
            file,
            pagesize=A4,
            title=self._name,
            author="Telepathy",
            subject=subject,
            creator=f"Telepathy {__version__}",
            lang="en",
            leftMargin=MARGIN,
            rightMargin=MARGIN,
        )
        frame = Frame(
            MARGIN, 20 * mm, WIDTH, A4[1] - 42 * mm, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0
        )
        document.addPageTemplates(PageTemplate(id="page", frames=[frame]))
        document.build(story, canvasmaker=partial(_NumberedCanvas, page=self))

    def edge(self, canvas: Canvas, number: int, n_pages: int) -> None:
        """The line at the foot of a page, and from the second on the title at its head."""
        fonts = self.fonts
        canvas.saveState()
        canvas.setStrokeColor(LINE)
        canvas.line(MARGIN, 15 * mm, A4[0] - MARGIN, 15 * mm)
        canvas.setFont(fonts.regular, 7.5)
        canvas.setFillColor(MUTED)
        canvas.drawString(MARGIN, 10.5 * mm, f"Telepathy {__version__}  \u00b7  made {self._made}")
        canvas.drawRightString(A4[0] - MARGIN, 10.5 * mm, f"Page {number} of {n_pages}")
        canvas.restoreState()
        if number > 1:
            head = Paragraph(self.say(cut(self._name, 90)), self.small)
            head.wrapOn(canvas, WIDTH, 20)
            head.drawOn(canvas, MARGIN, A4[1] - 14 * mm)

    def figure(self, heading: str, drawn: Drawing, note: str) -> Flowable:
        return KeepTogether([Paragraph(heading, self.heading), drawn, Spacer(1, 3), Paragraph(note, self.small)])

    def pairs(self, rows: Sequence[tuple[str, str]]) -> Table:
        cells = [[Paragraph(self.say(name), self.head), Paragraph(self.say(value), self.cell)] for name, value in rows]
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

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, widths: Sequence[float], n_texts: int
    ) -> Table:
        """A table whose first `n_texts` columns hold text, and whose others hold figures, set to the right."""
        heads = [
            Paragraph(self.say(column), self.head if index < n_texts else self.number_head)
            for index, column in enumerate(columns)
        ]
        cells = [
            [Paragraph(self.say(cell), self.cell if index < n_texts else self.number) for index, cell in enumerate(row)]
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

    def say(self, text: str, *, is_bold: bool = False) -> str:
        return marked(text, self.fonts, is_bold=is_bold)


class _NumberedCanvas(Canvas):  # type: ignore[misc]
    """Says on every page how many there are, which is known once all are drawn."""

    def __init__(self, *args: Any, page: Sheet, **options: Any) -> None:
        super().__init__(*args, **(options | {"initialFontName": page.fonts.regular}))
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


def cut(text: str, most: int) -> str:
    """`text`, its middle left out where it is longer than `most`.

    >>> cut("a-very-long-name.wav", 11)
    'a-ver…e.wav'
    """
    if len(text) <= most:
        return text
    begin = (most - 1) // 2
    return f"{text[:begin]}\u2026{text[-(most - 1 - begin) :]}"
