"""Predictions: an append-only ledger, and the questions the Explore page asks of it.

Every question takes a `Reader` and a `PredictionFilter` and passes through `_matching`: the one place that says whose
rows a caller sees. Counting, binning and paging happen in the database.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    Table,
    and_,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from core.domain import (
    Emotion,
    Interval,
    Label,
    Prediction,
    Quality,
    Reader,
    Segment,
    Sketch,
    Source,
    TimelineWindow,
    Uncertainty,
    label_of,
)
from core.errors import (
    AnswerHiddenError,
    InvalidParameterError,
    StoreError,
    UnknownPredictionError,
    UnknownRecordingError,
)
from core.store.blindfolds import select_hiding_recording, unveiled
from core.store.engine import Store, try_again
from core.store.own_labels import own_label_rows, own_probabilities_of, read_own_probabilities
from core.store.recordings import Place, places_of
from core.store.schema import (
    batch_outcomes,
    prediction_details,
    prediction_own_labels,
    predictions,
    probability_column,
    recordings,
)
from core.store.visibility import visible

MAX_PAGE_ROWS = 1000
MAX_ENTROPY_NATS = math.log(len(Emotion))


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFilter:
    """Which predictions are meant. What is left out does not restrict; bounds are inclusive unless named otherwise."""

    emotions: Sequence[Label] = ()
    min_confidence: float | None = None
    max_confidence: float | None = None
    min_entropy_nats: float | None = None
    """Bounds of the predictive entropy."""
    max_entropy_nats: float | None = None
    abstained: bool | None = None
    model_versions: Sequence[str] = ()
    sources: Sequence[Source] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None
    """Exclusive."""
    recording_id: UUID | None = None
    project_id: UUID | None = None
    batch_id: UUID | None = None
    """Of recordings that were scored, or known already, in this batch."""
    recording_name: str = ""
    """Part of the name, in any case."""


EVERYTHING = PredictionFilter()


class PredictionOrder(enum.StrEnum):
    """What stands first on a page. Rows that tie stand in the order of their ids, which is that of time."""

    NEWEST = "newest"
    OLDEST = "oldest"
    MOST_CONFIDENT = "most_confident"
    LEAST_CONFIDENT = "least_confident"
    MOST_UNCERTAIN = "most_uncertain"
    LEAST_UNCERTAIN = "least_uncertain"


class TimeBucket(enum.StrEnum):
    """Stretches of UTC time that predictions are counted in; weeks begin on Monday."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRow:
    """A prediction as tables show it: without intervals, quality and timeline."""

    id: UUID
    recording_id: UUID
    recording_name: str
    owner_id: UUID
    project_id: UUID | None
    created_at: datetime
    emotion: Label
    confidence: float
    abstained: bool
    probabilities: Mapping[Label, float]
    uncertainty: Uncertainty
    model_version: str
    source: Source
    n_passes: int
    duration_s: float
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPage:
    """Some rows, and where the next ones begin."""

    items: tuple[PredictionRow, ...]
    next_cursor: str | None
    """None when nothing follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceEntropyBin:
    """How many predictions have a confidence in `confidence` and a predictive entropy in `entropy_nats`."""

    confidence: Interval
    entropy_nats: Interval
    n_predictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionOverTime:
    """How many predictions of one emotion were made in the bucket that begins at `started_at`."""

    started_at: datetime
    emotion: Label
    n_predictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionFigures:
    """What some predictions that have one emotion on top amount to. Sums, so that those of several emotions add up."""

    emotion: Label
    n_predictions: int = 0
    n_not_sure: int = 0
    """Of them, those that are an honest "not sure"."""
    duration_s: float = 0.0
    """Seconds of sound."""
    sum_of_confidence: float = 0.0
    sum_of_predictive_entropy_nats: float = 0.0
    sum_of_mutual_information_nats: float = 0.0
    sums_of_probabilities: Mapping[Label, float]
    """Of each emotion, over these predictions; 0 where no model knew it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedRange:
    """When the first and the last of some predictions were made."""

    first_at: datetime
    last_at: datetime


def insert_prediction(store: Store, *, prediction: Prediction) -> Prediction:
    """Append `prediction`. Once this returns, not even `kill -9` loses it.

    Raises
    ------
    UnknownRecordingError
        Its recording has not been inserted.
    StoreError
        Its id is taken, or the database refused.
    """
    insert_predictions(store, predictions=[prediction])
    return prediction


def insert_predictions(
    store: Store,
    *,
    predictions: Sequence[Prediction],
    beside: Sequence[tuple[Table, Sequence[Mapping[str, object]]]] = (),
) -> None:
    """Append all of `predictions`, or none, as the owners of their recordings. Raises like `insert_prediction`.

    The rows of `beside` are appended to their tables in the same transaction.
    """
    recording_ids = {prediction.recording_id for prediction in predictions}
    try:
        with store.transaction("appending predictions") as connection:
            places = places_of(connection, recording_ids=recording_ids, keeps_them=store.backend == "postgresql")
            _require_all(recording_ids, places)
            store.append_within(
                connection,
                (_TABLE, [_values(prediction, places[prediction.recording_id]) for prediction in predictions]),
                (prediction_details, [_detail_values(prediction) for prediction in predictions]),
                *own_label_rows(predictions),
                *beside,
            )
    except StoreError as error:
        if isinstance(error.__cause__, IntegrityError):  # perhaps deleted between the lines above
            with store.transaction("appending predictions") as connection:
                _require_all(recording_ids, places_of(connection, recording_ids=recording_ids))
        raise
    if store.backend == "duckdb":
        _follow_recordings(store, {prediction.id: prediction.recording_id for prediction in predictions}, places)


def _follow_recordings(store: Store, inserted: Mapping[UUID, UUID], places: Mapping[UUID, Place]) -> None:
    """Go where recordings went that were deleted or moved while predictions about them were `inserted`.

    DuckDB notices neither: its foreign keys look at what was committed before the transaction began. Whoever deletes
    removes predictions once more afterwards (`core.store.recordings.delete_recording`), so one of the two sees it.
    """
    with store.transaction("appending predictions") as connection:
        now = places_of(connection, recording_ids=set(inserted.values()))
    if now == places:
        return

    def follow() -> None:
        with store.transaction("appending predictions") as connection:
            for prediction_id, recording_id in inserted.items():
                details = prediction_details.c.prediction_id == prediction_id
                is_this = _TABLE.c.id == prediction_id
                if recording_id in now:
                    project_id = now[recording_id].project_id
                    connection.execute(update(_TABLE).where(is_this).values(project_id=project_id))
                else:
                    connection.execute(delete(prediction_details).where(details))
                    own = prediction_own_labels.c.prediction_id == prediction_id
                    connection.execute(delete(prediction_own_labels).where(own))
                    connection.execute(delete(_TABLE).where(is_this))

    try_again(follow)
    _require_all(places.keys(), now)


def _require_all(recording_ids: Collection[UUID], places: Mapping[UUID, Place]) -> None:
    for recording_id in recording_ids:
        if recording_id not in places:
            raise UnknownRecordingError(recording_id)


def select_prediction(
    store: Store, *, prediction_id: UUID, reader: Reader, filter: PredictionFilter = EVERYTHING
) -> Prediction | None:
    """The prediction with this id, whole; None where there is none, or `filter` leaves it out."""
    details = prediction_details.c
    whole = select(_TABLE, prediction_details).join(prediction_details, details.prediction_id == _TABLE.c.id)
    # Both ids are named, so that neither table is read for the join.
    is_this = and_(_TABLE.c.id == prediction_id, details.prediction_id == prediction_id)
    statement = _matching(whole, reader, filter).where(is_this)
    with store.transaction("reading a prediction") as connection:
        row = connection.execute(statement).one_or_none()
        own = {} if row is None else own_probabilities_of(connection, [row])
    return None if row is None else _prediction(row, own.get(row.id, {}))


def find_prediction(store: Store, *, prediction_id: UUID, reader: Reader) -> Prediction:
    """The prediction with this id, whole.

    Raises
    ------
    UnknownPredictionError
        There is none that `reader` may see.
    AnswerHiddenError
        They are to rate the recording first.
    """
    prediction = select_prediction(store, prediction_id=prediction_id, reader=reader)
    if prediction is not None:
        return prediction
    is_this = _TABLE.c.id == prediction_id
    with store.transaction("reading a prediction") as connection:
        is_there = connection.execute(select(_TABLE.c.id).where(is_this, visible(reader, _TABLE))).one_or_none()
    hiding = select_hiding_recording(store, reader=reader, prediction_id=prediction_id) if is_there else None
    if hiding is None:
        raise UnknownPredictionError(prediction_id)
    raise AnswerHiddenError(hiding)


def select_predictions(
    store: Store,
    *,
    reader: Reader,
    filter: PredictionFilter = EVERYTHING,
    limit: int = 50,
    cursor: str | None = None,
    order: PredictionOrder = PredictionOrder.NEWEST,
) -> PredictionPage:
    """One page of at most `limit` rows. Rows appended meanwhile neither repeat nor hide others on later pages.

    Raises
    ------
    InvalidParameterError
        `limit` is not within 1 to 1000, or `cursor` is not one that a page of this order gave out.
    """
    if not 1 <= limit <= MAX_PAGE_ROWS:
        raise InvalidParameterError("limit", str(limit), f"a whole number from 1 to {MAX_PAGE_ROWS}")
    key, descends = _ORDERS[order]
    narrow = _matching(select(_TABLE), reader, filter)
    if cursor is not None:
        narrow = narrow.where(_is_after(cursor, order))
    direction = (key.desc(), _TABLE.c.id.desc()) if descends else (key.asc(), _TABLE.c.id.asc())
    page = narrow.order_by(*direction).limit(limit + 1).subquery()
    # The names join the few rows of the page, not the whole ledger.
    named = select(page, recordings.c.name).join(recordings, recordings.c.id == page.c.recording_id)
    outer_key = page.c[key.name]
    outer_direction = (outer_key.desc(), page.c.id.desc()) if descends else (outer_key.asc(), page.c.id.asc())
    with store.transaction("reading a page of predictions") as connection:
        rows = connection.execute(named.order_by(*outer_direction)).all()
        own = own_probabilities_of(connection, rows)
    shown = rows[:limit]
    next_cursor = _write_cursor(shown[-1], order) if len(rows) > limit else None
    return PredictionPage(
        items=tuple(_prediction_row(row, own.get(row.id, {})) for row in shown), next_cursor=next_cursor
    )


def count_predictions(store: Store, *, reader: Reader, filter: PredictionFilter = EVERYTHING) -> int:
    """How many predictions there are."""
    with store.transaction("counting predictions") as connection:
        return connection.execute(_matching(select(func.count()).select_from(_TABLE), reader, filter)).scalar_one()


def count_predictions_by_emotion(
    store: Store, *, reader: Reader, filter: PredictionFilter = EVERYTHING
) -> dict[Label, int]:
    """How many predictions each label has: all eight in their order, zeros included, then others that were said."""
    statement = _matching(select(_TABLE.c.emotion, func.count()), reader, filter).group_by(_TABLE.c.emotion)
    with store.transaction("counting predictions by emotion") as connection:
        counts = {label_of(row[0]): int(row[1]) for row in connection.execute(statement)}
    return _eight_and_own(counts)


def count_predictions_by_confidence_and_entropy(
    store: Store,
    *,
    reader: Reader,
    filter: PredictionFilter = EVERYTHING,
    n_confidence_bins: int = 20,
    n_entropy_bins: int = 20,
) -> list[ConfidenceEntropyBin]:
    """The bins that hold predictions, of a grid over confidence 0 to 1 and predictive entropy 0 to ln 8.

    A bin holds its lower bounds and not its upper ones, except the last of each row, which holds both.
    """
    for name, n_bins in (("n_confidence_bins", n_confidence_bins), ("n_entropy_bins", n_entropy_bins)):
        if not 1 <= n_bins <= 200:
            raise InvalidParameterError(name, str(n_bins), "a whole number from 1 to 200")
    confidence_bin = _bin(_TABLE.c.confidence, 1.0, n_confidence_bins).label("confidence_bin")
    entropy_bin = _bin(_TABLE.c.predictive_entropy_nats, MAX_ENTROPY_NATS, n_entropy_bins).label("entropy_bin")
    binned = _matching(select(confidence_bin, entropy_bin), reader, filter).subquery()
    bins = (binned.c.confidence_bin, binned.c.entropy_bin)
    statement = select(*bins, func.count()).group_by(*bins)
    with store.transaction("counting predictions by confidence and entropy") as connection:
        rows = sorted(tuple(row) for row in connection.execute(statement))
    return [
        ConfidenceEntropyBin(
            confidence=Interval(low=row[0] / n_confidence_bins, high=(row[0] + 1) / n_confidence_bins),
            entropy_nats=Interval(
                low=row[1] * MAX_ENTROPY_NATS / n_entropy_bins, high=(row[1] + 1) * MAX_ENTROPY_NATS / n_entropy_bins
            ),
            n_predictions=row[2],
        )
        for row in rows
    ]


def count_predictions_over_time(
    store: Store, *, bucket: TimeBucket, reader: Reader, filter: PredictionFilter = EVERYTHING
) -> list[EmotionOverTime]:
    """How many predictions of each emotion were made when, in order of time and then emotion; without empty buckets."""
    started_at = func.date_trunc(bucket.value, _TABLE.c.created_at, type_=_TABLE.c.created_at.type).label("started_at")
    bucketed = _matching(select(started_at, _TABLE.c.emotion), reader, filter).subquery()
    keys = (bucketed.c.started_at, bucketed.c.emotion)
    statement = select(*keys, func.count()).group_by(*keys)
    with store.transaction("counting predictions over time") as connection:
        rows = connection.execute(statement).all()
    counts = [EmotionOverTime(started_at=row[0], emotion=label_of(row[1]), n_predictions=row[2]) for row in rows]
    return sorted(counts, key=lambda count: (count.started_at, *_position(count.emotion)))


def select_created_range(store: Store, *, reader: Reader, filter: PredictionFilter = EVERYTHING) -> CreatedRange | None:
    """When the first and the last prediction were made; None when there is none."""
    ends = select(func.min(_TABLE.c.created_at), func.max(_TABLE.c.created_at))
    with store.transaction("reading when predictions were made") as connection:
        first_at, last_at = connection.execute(_matching(ends, reader, filter)).one()
    return None if first_at is None else CreatedRange(first_at=first_at, last_at=last_at)


def select_emotion_figures(
    store: Store, *, reader: Reader, filter: PredictionFilter = EVERYTHING
) -> list[EmotionFigures]:
    """What the predictions of each label amount to: all eight, with or without predictions, then others."""
    columns = _TABLE.c
    sums = [
        func.count().label("n_predictions"),
        func.sum(case((columns.abstained, 1), else_=0)).label("n_not_sure"),
        *(func.sum(columns[name]).label(name) for name in _SUMMED),
        *(func.coalesce(func.sum(columns[column]), 0.0).label(column) for _, column in _PROBABILITY_COLUMNS),
    ]
    statement = _matching(select(columns.emotion, *sums), reader, filter).group_by(columns.emotion)
    with store.transaction("adding predictions up") as connection:
        rows = {label_of(row.emotion): row for row in connection.execute(statement)}
        own = _own_sums(connection, reader, filter) if set(rows) - set(Emotion) else {}
    return [
        _emotion_figures(label, rows.get(label), own.get(label, {}))
        for label in [*Emotion, *sorted(set(rows) - set(Emotion))]
    ]


def count_predictions_by_model_version(
    store: Store, *, reader: Reader, filter: PredictionFilter = EVERYTHING
) -> dict[str, int]:
    """How many predictions each model version made, the one that made most first."""
    statement = _matching(select(_TABLE.c.model_version, func.count()), reader, filter)
    with store.transaction("counting predictions by model") as connection:
        rows = connection.execute(statement.group_by(_TABLE.c.model_version)).all()
    return {row[0]: int(row[1]) for row in sorted(rows, key=lambda row: (-row[1], row[0]))}


def count_predictions_by_source(
    store: Store, *, reader: Reader, filter: PredictionFilter = EVERYTHING
) -> dict[Source, int]:
    """How many predictions came by each door; those that none came by are left out."""
    statement = _matching(select(_TABLE.c.source, func.count()), reader, filter).group_by(_TABLE.c.source)
    with store.transaction("counting predictions by source") as connection:
        counts = {Source(row[0]): int(row[1]) for row in connection.execute(statement)}
    return {source: counts[source] for source in Source if source in counts}


def select_model_versions(store: Store, *, reader: Reader, filter: PredictionFilter = EVERYTHING) -> list[str]:
    """The model versions that made predictions, in alphabetical order."""
    statement = _matching(select(_TABLE.c.model_version), reader, filter).distinct().order_by(_TABLE.c.model_version)
    with store.transaction("reading model versions") as connection:
        return list(connection.execute(statement).scalars())


_TABLE = predictions

_SUMMED = ("duration_s", "confidence", "predictive_entropy_nats", "mutual_information_nats")
_PROBABILITY_COLUMNS = [(emotion, probability_column(emotion)) for emotion in Emotion]

_POSITIONS: dict[Label, int] = {emotion: position for position, emotion in enumerate(Emotion)}

_ORDERS: dict[PredictionOrder, tuple[ColumnElement[Any], bool]] = {
    PredictionOrder.NEWEST: (_TABLE.c.created_at, True),
    PredictionOrder.OLDEST: (_TABLE.c.created_at, False),
    PredictionOrder.MOST_CONFIDENT: (_TABLE.c.confidence, True),
    PredictionOrder.LEAST_CONFIDENT: (_TABLE.c.confidence, False),
    PredictionOrder.MOST_UNCERTAIN: (_TABLE.c.predictive_entropy_nats, True),
    PredictionOrder.LEAST_UNCERTAIN: (_TABLE.c.predictive_entropy_nats, False),
}
"""The column that leads each order, and whether it descends."""

_Select = TypeVar("_Select", bound=Select[*tuple[Any, ...]])


def _matching(statement: _Select, reader: Reader, filter: PredictionFilter) -> _Select:
    """`statement` over what `reader` may see and `filter` lets through. Every SELECT on the ledger comes by here."""
    columns = _TABLE.c
    conditions: list[ColumnElement[bool]] = [visible(reader, _TABLE), unveiled(reader, _TABLE)]
    if filter.emotions:
        conditions.append(columns.emotion.in_([emotion.value for emotion in filter.emotions]))
    if filter.min_confidence is not None:
        conditions.append(columns.confidence >= filter.min_confidence)
    if filter.max_confidence is not None:
        conditions.append(columns.confidence <= filter.max_confidence)
    if filter.min_entropy_nats is not None:
        conditions.append(columns.predictive_entropy_nats >= filter.min_entropy_nats)
    if filter.max_entropy_nats is not None:
        conditions.append(columns.predictive_entropy_nats <= filter.max_entropy_nats)
    if filter.abstained is not None:
        conditions.append(columns.abstained.is_(filter.abstained))
    if filter.model_versions:
        conditions.append(columns.model_version.in_(filter.model_versions))
    if filter.sources:
        conditions.append(columns.source.in_([source.value for source in filter.sources]))
    if filter.created_from is not None:
        conditions.append(columns.created_at >= filter.created_from)
    if filter.created_before is not None:
        conditions.append(columns.created_at < filter.created_before)
    if filter.recording_id is not None:
        conditions.append(columns.recording_id == filter.recording_id)
    if filter.project_id is not None:
        conditions.append(columns.project_id == filter.project_id)
    if filter.batch_id is not None:
        answers = select(batch_outcomes.c.prediction_id).where(batch_outcomes.c.batch_id == filter.batch_id)
        conditions.append(columns.id.in_(answers.where(batch_outcomes.c.prediction_id.is_not(None))))
    if filter.recording_name:
        named = select(recordings.c.id).where(recordings.c.name.icontains(filter.recording_name, autoescape=True))
        conditions.append(columns.recording_id.in_(named))
    return statement.where(*conditions)


def _bin(value: ColumnElement[float], top: float, n_bins: int) -> ColumnElement[int]:
    """The number of the bin that `value` falls in, of `n_bins` equal ones from 0 to `top`."""
    return cast(func.greatest(0, func.least(func.floor(value * (n_bins / top)), n_bins - 1)), Integer)


def _write_cursor(row: Row[Any], order: PredictionOrder) -> str:
    value = row._mapping[_ORDERS[order][0].name]
    said = [order.value, value.isoformat() if isinstance(value, datetime) else value, str(row.id)]
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()


def _is_after(cursor: str, order: PredictionOrder) -> ColumnElement[bool]:
    """Whether a row comes behind the one that `cursor` was written for."""
    key, descends = _ORDERS[order]
    try:
        said_order, said_value, said_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        value = datetime.fromisoformat(said_value) if key is _TABLE.c.created_at else float(said_value)
        row_id = UUID(said_id)
        if said_order != order.value or (isinstance(value, datetime) and value.tzinfo is None):
            raise ValueError(said_order)
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise InvalidParameterError(
            "cursor", repr(cursor), "a next_cursor given out by a page of this order"
        ) from error
    # The first comparison alone lets the database use its index or its row-group bounds.
    if descends:
        return and_(key <= value, or_(key < value, _TABLE.c.id < row_id))
    return and_(key >= value, or_(key > value, _TABLE.c.id > row_id))


_EXACTLY = ConfigDict(ser_json_inf_nan="constants")
"""Infinite levels come back as such; pydantic writes null otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Details:
    __pydantic_config__: ClassVar[ConfigDict] = _EXACTLY
    standard_deviations: Mapping[Label, float]
    intervals: Mapping[Label, Interval]
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timeline:
    __pydantic_config__: ClassVar[ConfigDict] = _EXACTLY
    segments: tuple[Segment, ...]
    windows: tuple[TimelineWindow, ...]


_DETAILS = TypeAdapter(_Details)
_TIMELINE = TypeAdapter(_Timeline)


def _values(prediction: Prediction, place: Place) -> dict[str, Any]:
    return {
        "id": prediction.id,
        "recording_id": prediction.recording_id,
        "owner_id": place.owner_id,
        "project_id": place.project_id,
        "created_at": prediction.created_at,
        "model_version": prediction.model_version,
        "source": prediction.source.value,
        "emotion": prediction.emotion.value,
        "confidence": prediction.confidence,
        "abstained": prediction.abstained,
        "predictive_entropy_nats": prediction.uncertainty.predictive_entropy_nats,
        "expected_entropy_nats": prediction.uncertainty.expected_entropy_nats,
        "mutual_information_nats": prediction.uncertainty.mutual_information_nats,
        **{column: prediction.probabilities.get(emotion) for emotion, column in _PROBABILITY_COLUMNS},
        "n_passes": prediction.n_passes,
        "duration_s": prediction.duration_s,
        "latency_ms": prediction.latency_ms,
    }


def _own_sums(connection: Connection, reader: Reader, filter: PredictionFilter) -> dict[Label, dict[Label, float]]:
    """Sums of the probabilities of own labels, by the label on top."""
    joined = select(_TABLE.c.emotion, prediction_own_labels.c.probabilities).join(
        prediction_own_labels, prediction_own_labels.c.prediction_id == _TABLE.c.id
    )
    found: dict[Label, dict[Label, float]] = {}
    for top, text in connection.execute(_matching(joined, reader, filter)):
        sums = found.setdefault(label_of(top), {})
        for label, share in read_own_probabilities(text).items():
            sums[label] = sums.get(label, 0.0) + share
    return found


def _eight_and_own(counts: Mapping[Label, int]) -> dict[Label, int]:
    """All eight in their order, then the others by name."""
    return {label: counts.get(label, 0) for label in [*Emotion, *sorted(set(counts) - set(Emotion))]}


def _position(label: Label) -> tuple[int, str]:
    return _POSITIONS.get(label, len(_POSITIONS)), label.value


def _detail_values(prediction: Prediction) -> dict[str, Any]:
    """What nobody filters by, as two texts: DuckDB takes 0.02 ms for each column that an INSERT binds."""
    details = _Details(
        standard_deviations=prediction.standard_deviations, intervals=prediction.intervals, quality=prediction.quality
    )
    timeline = _Timeline(segments=prediction.segments, windows=prediction.windows)
    return {
        "prediction_id": prediction.id,
        "details": _DETAILS.dump_json(details).decode(),
        "timeline": _TIMELINE.dump_json(timeline).decode(),
        "encoder": prediction.sketch and prediction.sketch.encoder,
        "sketch": prediction.sketch and prediction.sketch.numbers,
    }


def _prediction(row: Row[Any], own: Mapping[Label, float]) -> Prediction:
    details = _DETAILS.validate_json(row.details)
    timeline = _TIMELINE.validate_json(row.timeline)
    return Prediction(
        id=row.id,
        recording_id=row.recording_id,
        model_version=row.model_version,
        probabilities=_probabilities(row, own),
        standard_deviations=details.standard_deviations,
        intervals=details.intervals,
        uncertainty=_uncertainty(row),
        abstained=row.abstained,
        n_passes=row.n_passes,
        quality=details.quality,
        segments=timeline.segments,
        windows=timeline.windows,
        duration_s=row.duration_s,
        latency_ms=row.latency_ms,
        source=Source(row.source),
        created_at=row.created_at,
        sketch=None if row.sketch is None else Sketch(encoder=row.encoder, numbers=row.sketch),
    )


def _prediction_row(row: Row[Any], own: Mapping[Label, float]) -> PredictionRow:
    return PredictionRow(
        id=row.id,
        recording_id=row.recording_id,
        recording_name=row.name,
        owner_id=row.owner_id,
        project_id=row.project_id,
        created_at=row.created_at,
        emotion=label_of(row.emotion),
        confidence=row.confidence,
        abstained=row.abstained,
        probabilities=_probabilities(row, own),
        uncertainty=_uncertainty(row),
        model_version=row.model_version,
        source=Source(row.source),
        n_passes=row.n_passes,
        duration_s=row.duration_s,
        latency_ms=row.latency_ms,
    )


def _probabilities(row: Row[Any], own: Mapping[Label, float]) -> dict[Label, float]:
    """A model that knows fewer emotions than eight left the others empty. `own` are those of other labels."""
    kept = row._mapping
    found = ((emotion, kept[column]) for emotion, column in _PROBABILITY_COLUMNS)
    return {**{emotion: probability for emotion, probability in found if probability is not None}, **own}


def _emotion_figures(emotion: Label, row: Row[Any] | None, own: Mapping[Label, float]) -> EmotionFigures:
    if row is None:
        return EmotionFigures(emotion=emotion, sums_of_probabilities=dict.fromkeys(Emotion, 0.0))
    return EmotionFigures(
        emotion=emotion,
        n_predictions=int(row.n_predictions),
        n_not_sure=int(row.n_not_sure),
        duration_s=row.duration_s,
        sum_of_confidence=row.confidence,
        sum_of_predictive_entropy_nats=row.predictive_entropy_nats,
        sum_of_mutual_information_nats=row.mutual_information_nats,
        sums_of_probabilities={**{each: float(row._mapping[column]) for each, column in _PROBABILITY_COLUMNS}, **own},
    )


def _uncertainty(row: Row[Any]) -> Uncertainty:
    return Uncertainty(
        predictive_entropy_nats=row.predictive_entropy_nats,
        expected_entropy_nats=row.expected_entropy_nats,
        mutual_information_nats=row.mutual_information_nats,
    )
