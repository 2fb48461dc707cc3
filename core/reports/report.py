"""What a report says, before it is a file: the figures of some predictions, in the words and days of its reader.

Counting happens in the store, by the questions that the Explore page asks; here days are folded into the reader's time
zone and shares get their intervals.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from uuid import UUID

from core.domain import Emotion, Label, ModelCard, Reader, Source, in_order
from core.errors import ModelError
from core.evaluation.bootstrap import ConfidenceInterval
from core.evaluation.proportions import wilson_interval
from core.inference.model_scores import ModelScores, read_model_scores
from core.inference.registry import find_model, list_models
from core.reports.filter_words import filter_words, zone_name
from core.store.batches import select_batch
from core.store.engine import Store
from core.store.predictions import (
    EVERYTHING,
    ConfidenceEntropyBin,
    EmotionFigures,
    EmotionOverTime,
    PredictionFilter,
    PredictionOrder,
    PredictionRow,
    TimeBucket,
    count_predictions_by_confidence_and_entropy,
    count_predictions_by_model_version,
    count_predictions_by_source,
    count_predictions_over_time,
    select_created_range,
    select_emotion_figures,
    select_predictions,
)

TITLE = "Emotion in speech"
MAX_TITLE = 120
N_CONFIDENCE_BINS, N_ENTROPY_BINS = 25, 21
"""As many as Explore shows."""
N_DOUBTFUL = 15
"""Predictions that a report names as worth listening to again."""


class ReportFormat(enum.StrEnum):
    """What kind of file a report is."""

    CSV = "csv"
    XLSX = "xlsx"
    PDF = "pdf"


MEDIA_TYPES: Mapping[ReportFormat, str] = {
    ReportFormat.CSV: "text/csv; charset=utf-8",
    ReportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ReportFormat.PDF: "application/pdf",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """What a report is to be about."""

    title: str = TITLE
    filter: PredictionFilter = EVERYTHING
    project_name: str = ""
    """Of the project that the filter names."""
    zone: tzinfo = UTC
    """Whose days and hours it speaks in."""
    made_for: str = ""
    """Who asked for it, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionLine:
    """One emotion in a report. What is None has nothing to be a mean of."""

    emotion: Label
    n_predictions: int
    share: float | None
    """Of all predictions of the report."""
    interval: ConfidenceInterval
    """Of that share."""
    mean_probability: float | None
    """Over all predictions of the report, whatever is on top of them."""
    n_not_sure: int
    mean_confidence: float | None
    """Over those with this emotion on top, like all that follows."""
    mean_entropy_nats: float | None
    mean_mutual_information_nats: float | None
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLine:
    """One day in the zone of the report; of days without predictions there is none."""

    day: date
    counts: Mapping[Label, int]
    """All eight, and others that were said."""

    @property
    def n_predictions(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    """A model version that answered, and what its card says while it is at hand."""

    version: str
    n_predictions: int
    card: ModelCard | None
    scores: ModelScores | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a report says but the predictions one by one."""

    request: ReportRequest
    made_at: datetime
    filter: PredictionFilter
    """That of the request, closed at the moment the report was made."""
    period: str
    """From when to when, in words."""
    filter_lines: tuple[tuple[str, str], ...]
    """Name and value of each further filter that is on, in words."""
    emotions: tuple[EmotionLine, ...]
    """All eight, in their order."""
    days: tuple[DayLine, ...]
    bins: tuple[ConfidenceEntropyBin, ...]
    sources: Mapping[Source, int]
    models: tuple[ReportedModel, ...]
    doubtful: tuple[PredictionRow, ...]
    """The most uncertain ones."""
    n_predictions: int
    n_not_sure: int
    duration_s: float
    mean_confidence: float | None
    mean_entropy_nats: float | None
    mean_mutual_information_nats: float | None

    @property
    def zone(self) -> tzinfo:
        return self.request.zone

    @property
    def zone_name(self) -> str:
        return zone_name(self.zone)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What to bear in mind: that of every report, then that of each model's card, each once."""
        of_models = (caveat for model in self.models if model.scores for caveat in model.scores.caveats)
        return tuple(dict.fromkeys((*CAVEATS, *of_models)))


CAVEATS = (
    "A prediction says how a voice sounds to a model, not what somebody feels. Do not use it to decide about people.",
    "Confidence is the calibrated probability of the emotion on top; below the threshold of the settings the answer is "
    "\u201cnot sure\u201d, and its emotion is only the best guess.",
    "The intervals of the shares (95 %, Wilson) say how far chance alone may move a share if recordings were drawn "
    "independently. They do not cover mistakes of the model, nor several recordings of one speaker.",
    "Uncertainty is predictive entropy in nats, from 0 (sure) to 2.08 (all eight emotions alike); the part that lies "
    "in the model is the mutual information.",
)


def assemble_report(
    store: Store,
    request: ReportRequest,
    *,
    reader: Reader,
    models_dir: Path,
    installed_models_dir: Path | None = None,
    made_at: datetime,
) -> Report:
    """The report of what `reader` may see at `made_at`.

    Predictions that arrive while it is assembled are left out, so that all its figures speak of the same ones.
    """
    until = request.filter.created_before
    closed = replace(request.filter, created_before=made_at if until is None else min(until, made_at))
    figures = select_emotion_figures(store, reader=reader, filter=closed)
    n_predictions = sum(each.n_predictions for each in figures)
    made = select_created_range(store, reader=reader, filter=closed)
    return Report(
        request=request,
        made_at=made_at,
        filter=closed,
        period=_period(
            request,
            made_at,
            first_at=None if made is None else made.first_at,
            last_at=None if made is None else made.last_at,
        ),
        filter_lines=filter_words(
            request.filter,
            project_name=request.project_name,
            batch_name=_batch_name(store, reader, request.filter.batch_id),
        ),
        emotions=tuple(_emotion_line(each, figures, n_predictions) for each in figures),
        days=_days(store, reader, closed, request.zone),
        bins=tuple(
            count_predictions_by_confidence_and_entropy(
                store,
                reader=reader,
                filter=closed,
                n_confidence_bins=N_CONFIDENCE_BINS,
                n_entropy_bins=N_ENTROPY_BINS,
            )
        ),
        sources=count_predictions_by_source(store, reader=reader, filter=closed),
        models=_models(
            count_predictions_by_model_version(store, reader=reader, filter=closed), models_dir, installed_models_dir
        ),
        doubtful=select_predictions(
            store, reader=reader, filter=closed, limit=N_DOUBTFUL, order=PredictionOrder.MOST_UNCERTAIN
        ).items,
        n_predictions=n_predictions,
        n_not_sure=sum(each.n_not_sure for each in figures),
        duration_s=math.fsum(each.duration_s for each in figures),
        mean_confidence=_mean([each.sum_of_confidence for each in figures], n_predictions),
        mean_entropy_nats=_mean([each.sum_of_predictive_entropy_nats for each in figures], n_predictions),
        mean_mutual_information_nats=_mean([each.sum_of_mutual_information_nats for each in figures], n_predictions),
    )


def _batch_name(store: Store, reader: Reader, batch_id: UUID | None) -> str:
    batch = None if batch_id is None else select_batch(store, batch_id=batch_id, reader=reader)
    return "" if batch is None else batch.name


def file_name(report: Report, format: ReportFormat) -> str:
    """What the file is called: plain letters, so that every mail program and disk takes it.

    The days are those of the reader: `telepathy-report-2026-11-25.pdf`.
    """
    return f"telepathy-report-{report.made_at.astimezone(report.zone):%Y-%m-%d}.{format.value}"


def fold_days(days: Sequence[DayLine], *, most: int) -> tuple[str, tuple[DayLine, ...]]:
    """Days for a chart with room for `most` columns: as they are, or added up by week or month; and what they are.

    Examples
    --------
    >>> found = [DayLine(day=date(2026, 1, day), counts={Emotion.SAD: 1}) for day in (1, 2, 20)]
    >>> fold_days(found, most=20)[0], fold_days(found, most=5)[0], fold_days(found, most=1)[0]
    ('day', 'week', 'month')
    >>> [(line.day.isoformat(), line.n_predictions) for line in fold_days(found, most=5)[1]]
    [('2025-12-29', 2), ('2026-01-19', 1)]
    """
    if not days:
        return "day", ()
    span_days = (days[-1].day - days[0].day).days + 1
    if span_days <= most:
        return "day", tuple(days)
    if span_days <= 7 * most:
        return "week", _added(days, lambda day: date.fromordinal(day.toordinal() - day.weekday()))
    return "month", _added(days, lambda day: day.replace(day=1))


def _added(days: Sequence[DayLine], begin: Callable[[date], date]) -> tuple[DayLine, ...]:
    added: dict[date, Counter[Label]] = {}
    for line in days:
        added.setdefault(begin(line.day), Counter()).update(line.counts)
    return tuple(DayLine(day=day, counts=_all_eight(counts)) for day, counts in sorted(added.items()))


def _emotion_line(figures: EmotionFigures, all_figures: Collection[EmotionFigures], n_all: int) -> EmotionLine:
    n = figures.n_predictions
    return EmotionLine(
        emotion=figures.emotion,
        n_predictions=n,
        share=n / n_all if n_all else None,
        interval=wilson_interval(n, n_all),
        mean_probability=_mean([each.sums_of_probabilities.get(figures.emotion, 0.0) for each in all_figures], n_all),
        n_not_sure=figures.n_not_sure,
        mean_confidence=_mean([figures.sum_of_confidence], n),
        mean_entropy_nats=_mean([figures.sum_of_predictive_entropy_nats], n),
        mean_mutual_information_nats=_mean([figures.sum_of_mutual_information_nats], n),
        duration_s=figures.duration_s,
    )


def _mean(sums: Sequence[float], n: int) -> float | None:
    return math.fsum(sums) / n if n else None


def _days(store: Store, reader: Reader, filter: PredictionFilter, zone: tzinfo) -> tuple[DayLine, ...]:
    """Hours, or minutes where the zone's clock stands between hours, folded into the zone's days."""
    counts = count_predictions_over_time(store, bucket=TimeBucket.HOUR, reader=reader, filter=filter)
    if not all(_begins_an_hour(count.started_at, zone) for count in counts):
        counts = count_predictions_over_time(store, bucket=TimeBucket.MINUTE, reader=reader, filter=filter)
    return days_of(counts, zone)


def _begins_an_hour(moment: datetime, zone: tzinfo) -> bool:
    return moment.astimezone(zone).minute == 0


def days_of(counts: Collection[EmotionOverTime], zone: tzinfo) -> tuple[DayLine, ...]:
    """Counts of hours or minutes, by day of `zone`."""
    days: dict[date, Counter[Label]] = {}
    for count in counts:
        days.setdefault(count.started_at.astimezone(zone).date(), Counter())[count.emotion] += count.n_predictions
    return tuple(DayLine(day=day, counts=_all_eight(by_emotion)) for day, by_emotion in sorted(days.items()))


def _all_eight(counts: Mapping[Label, int]) -> dict[Label, int]:
    return {label: counts.get(label, 0) for label in in_order([*Emotion, *sorted(counts)])}


def _models(
    counts: Mapping[str, int], models_dir: Path, installed_models_dir: Path | None
) -> tuple[ReportedModel, ...]:
    cards = {card.version: card for card in list_models(models_dir, installed_dir=installed_models_dir)}
    return tuple(
        ReportedModel(
            version=version,
            n_predictions=n_predictions,
            card=cards.get(version),
            scores=_scores(models_dir, cards.get(version)),
        )
        for version, n_predictions in counts.items()
    )


def _scores(models_dir: Path, card: ModelCard | None) -> ModelScores | None:
    if card is None:
        return None
    try:
        return read_model_scores(find_model(models_dir, card.name))
    except ModelError:
        return None


def _period(request: ReportRequest, made_at: datetime, *, first_at: datetime | None, last_at: datetime | None) -> str:
    """The bounds of the filter; where it has none, those of what was found."""
    begin = request.filter.created_from or first_at
    end = request.filter.created_before
    if begin is None:
        return f"until {_said(end or made_at, request.zone)}"
    if end is None:
        return f"{_said(begin, request.zone)} to {_said(last_at or made_at, request.zone)}"
    return f"{_said(begin, request.zone)} to {_said(end, request.zone)}"


def _said(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%-d %B %Y, %H:%M}"
