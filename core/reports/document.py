"""A report as PDF: A4, every page numbered, text that can be selected, charts as vectors."""

from __future__ import annotations

from datetime import datetime
from typing import BinaryIO

from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, Paragraph, Spacer

from core.inference.model_scores import Measured
from core.reports import figures
from core.reports.figures import emotion_name, percent
from core.reports.filter_words import SOURCE_WORDS
from core.reports.fonts import count_unprintable
from core.reports.report import EmotionLine, Report, ReportedModel, fold_days
from core.reports.sheet import WIDTH, Sheet, cut
from core.store.predictions import PredictionRow

MOST_COLUMNS = 62
"""More days than this are added up by week, and then by month."""
MAX_NAME = 60
"""Longer names of recordings are cut in tables, in the middle: their ends tell them apart."""


def write_pdf(report: Report, file: BinaryIO) -> None:
    """Write the report to `file`."""
    page = _Page(report)
    page.write(page.story(), file, subject=f"Predictions from {report.period}")


class _Page(Sheet):
    """The parts of one report."""

    def __init__(self, report: Report) -> None:
        super().__init__(name=report.request.title, made=_moment(report.made_at, report))
        self._report = report

    def story(self) -> list[Flowable]:
        report = self._report
        story: list[Flowable] = [
            Paragraph(self.say(report.request.title, is_bold=True), self.title),
            Paragraph(self.say(f"{report.period} ({report.zone_name})"), self.body),
            Spacer(1, 6),
            self._facts(),
        ]
        if report.n_predictions == 0:
            story.append(Paragraph("There are no predictions in this period that match the filters.", self.heading))
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
        return self.pairs(rows)

    def _by_emotion(self) -> list[Flowable]:
        lines = self._report.emotions
        drawn = figures.by_emotion(lines, self.fonts, width=WIDTH)
        columns = ("Emotion", "Predictions", "Not sure", "Mean confidence", "Mean probability", "Uncertainty (nats)")
        table = self.table(
            columns, [self._emotion_cells(line) for line in lines], widths=(100, 70, 65, 85, 88, 85), n_texts=1
        )
        note = (
            "Bars: share of all predictions; whiskers: its 95 % interval. Mean confidence and uncertainty are over the "
            "predictions with this emotion on top; mean probability is over all predictions."
        )
        return [self.figure("How often we heard what", drawn, note), KeepTogether([Spacer(1, 4), table])]

    def _emotion_cells(self, line: EmotionLine) -> tuple[str, ...]:
        return (
            emotion_name(line.emotion, self.fonts),
            f"{line.n_predictions:,}",
            f"{line.n_not_sure:,}",
            "" if line.mean_confidence is None else percent(line.mean_confidence),
            "" if line.mean_probability is None else percent(line.mean_probability),
            "" if line.mean_entropy_nats is None else f"{line.mean_entropy_nats:.2f}",
        )

    def _over_time(self) -> list[Flowable]:
        unit, days = fold_days(self._report.days, most=MOST_COLUMNS)
        drawn = figures.over_time(days, unit, self.fonts, width=WIDTH)
        return [self.figure("When", drawn, f"Number of predictions, in {self._report.zone_name}.")]

    def _by_doubt(self) -> list[Flowable]:
        drawn = figures.by_doubt(self._report.bins, self.fonts, width=WIDTH)
        note = "Each prediction by its confidence and its uncertainty. Top left is doubt, bottom right is sure."
        return [self.figure("How sure we were", drawn, note)]

    def _doubtful(self) -> list[Flowable]:
        rows = [self._doubtful_cells(row) for row in self._report.doubtful]
        table = self.table(
            ("Recording", "Best guess", "Confidence", "Uncertainty (nats)", "Made"),
            rows,
            widths=(172, 72, 62, 87, 100),
            n_texts=2,
        )
        heading = "The most uncertain: worth listening to again"
        note = "All predictions, one by one, are in the same report as Excel or CSV."
        return [
            CondPageBreak(120),
            Paragraph(heading, self.heading),
            table,
            Spacer(1, 3),
            Paragraph(note, self.small),
        ]

    def _doubtful_cells(self, row: PredictionRow) -> tuple[str, ...]:
        return (
            cut(row.recording_name, MAX_NAME),
            emotion_name(row.emotion, self.fonts),
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
        parts: list[Flowable] = [Paragraph("The model, and how far to trust it", self.heading), self.pairs(rows)]
        if scores is not None and scores.scores:
            table = self.table(
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
                parts += [Spacer(1, 3), Paragraph(self.say(scores.protocol), self.small)]
        return [CondPageBreak(160), *parts]

    def _caveats(self) -> list[Flowable]:
        said = [*self._report.caveats]
        n_boxes = self._n_unprintable()
        if n_boxes:
            letters = "1 letter" if n_boxes == 1 else f"{n_boxes:,} letters"
            said.append(f"{letters} of names could not be printed here and stand as {self.fonts.box}.")
        bullets = [Paragraph(self.say(caveat), self.bullet, bulletText="\u2022") for caveat in said]
        return [KeepTogether([Paragraph("Bear in mind", self.heading), *bullets])]

    def _n_unprintable(self) -> int:
        report = self._report
        texts = [report.request.title, report.request.made_for, *(value for _, value in report.filter_lines)]
        texts += [cut(row.recording_name, MAX_NAME) for row in report.doubtful]
        return sum(count_unprintable(text, self.fonts) for text in texts)


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
