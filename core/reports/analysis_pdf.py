"""One recording's analysis as PDF: the same parts as the HTML file, on sheets of A4."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO

from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, Paragraph, Spacer

from core.reports.analysis import Part
from core.reports.fonts import count_unprintable
from core.reports.sheet import WIDTH, Sheet, cut

PADDING, MOST_OF_A_CELL = 9.0, 170.0
"""In points: beside the words of a cell, and what is asked for at most to set one in one line."""


def write_analysis_pdf(
    *, name: str, heading: str, lead: Sequence[str], parts: Iterable[Part], made: str, file: BinaryIO
) -> None:
    """Write the document to `file`.

    Parameters
    ----------
    name, heading, lead, parts
        As of `write_report`; figures are the parts' `drawing`.
    made
        When, at the reader's clock.
    """
    sheet = Sheet(name=f"{cut(name, 60)}: {heading}", made=made)
    story: list[Flowable] = [
        Paragraph(sheet.say(name), sheet.small),
        Paragraph(sheet.say(heading, is_bold=True), sheet.title),
        *(Paragraph(sheet.say(sentence), sheet.body) for sentence in lead),
    ]
    for part in parts:
        story += _flowables(sheet, part)
    n_boxes = count_unprintable(name, sheet.fonts)
    if n_boxes:
        letters = "1 letter" if n_boxes == 1 else f"{n_boxes:,} letters"
        said = f"{letters} of the name could not be printed here and stand as {sheet.fonts.box}."
        story.append(Paragraph(sheet.say(said), sheet.small))
    sheet.write(story, file, subject=f"Analysis of {name}")


def _flowables(sheet: Sheet, part: Part) -> list[Flowable]:
    """One part; its title stays with what comes first."""
    body: list[Flowable] = []
    if part.facts:
        body.append(sheet.pairs(part.facts))
    if part.drawing is not None:
        body.append(part.drawing(sheet.fonts, WIDTH))
    body += [Paragraph(sheet.say(sentence), sheet.bullet, bulletText="\u2022") for sentence in part.sentences]
    if part.rows:
        n_columns = len(part.columns)
        body.append(sheet.table(part.columns, part.rows, widths=_widths(sheet, part), n_texts=n_columns))
    body += [Paragraph(sheet.say(note), sheet.small) for note in part.notes]
    spaced = [flowable for each in body for flowable in (each, Spacer(1, 3))]
    title = Paragraph(sheet.say(part.title, is_bold=True), sheet.heading)
    first, rest = [title, *spaced[:1]], spaced[1:]
    if part.notes and not part.rows:
        rest = [*rest[:-4], KeepTogether(rest[-4:])]  # no page begins with a part's small print
    return [CondPageBreak(90), KeepTogether(first), *rest]


def _widths(sheet: Sheet, part: Part) -> list[float]:
    """Of the columns, together as wide as the sheet: no word is broken, and long cells get what is left."""
    words: list[float] = []
    lines: list[float] = []
    for column in zip(part.columns, *part.rows, strict=True):
        words.append(PADDING + max(_width(sheet, word) for cell in column for word in ("", *cell.split(" "))))
        lines.append(PADDING + min(MOST_OF_A_CELL, max(_width(sheet, cell) for cell in column)))
    left = max(0.0, WIDTH - sum(words))
    wanted = [max(0.0, line - word) for line, word in zip(lines, words, strict=True)]
    share = left / sum(wanted) if sum(wanted) else 0.0
    return [word + share * more for word, more in zip(words, wanted, strict=True)]


def _width(sheet: Sheet, text: str) -> float:
    return float(stringWidth(text, sheet.fonts.regular, sheet.cell.fontSize))
