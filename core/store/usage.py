"""The usage ledger: append-only, and the questions that usage pages, quotas and alerts ask of it.

Every question takes a `Reader` and a `UsageFilter` and passes through `_matching`: the one place that says whose lines
a caller sees: their own, and admins all. Counting, quantiles and binning happen in the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
)

from core.domain import Emotion, Interval, MonthUsage, Reader, UsageEvent
from core.errors import InvalidParameterError
from core.store.engine import Store
from core.store.predictions import MAX_PAGE_ROWS, TimeBucket
from core.store.schema import usage_events

QUANTILES = (0.5, 0.95, 0.99)
LIVE_METHODS = ("WEBSOCKET", "WEBRTC")
"""Live streams last as long as somebody speaks, which says nothing about how fast answers are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """Which lines are meant. What is left out does not restrict."""

    since: datetime | None = None
    """Inclusive."""
    before: datetime | None = None
    """Exclusive."""
    user_id: UUID | None = None
    key_id: UUID | None = None
    route: str = ""
    status_class: int | None = None
    """1 to 5: the first digit of the status."""


ALL_USAGE = UsageFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFigures:
    """What some lines of the ledger amount to."""

    n_requests: int
    n_refused: int
    """Answered 4xx: the caller can mend it."""
    n_failed: int
    """Answered 5xx: the process could not."""
    n_calls: int
    """Requests that cost inference, which is what quotas and prices count."""
    n_predictions: int
    audio_s: float
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Quantiles of the time that requests took, live streams left out; None without any."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSummary:
    """All that a filter lets through."""

    figures: UsageFigures
    latency: Latency
    first_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageInBucket:
    """What happened in the bucket that begins at `started_at`."""

    started_at: datetime
    figures: UsageFigures
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOfUser:
    """What one user had; None is whoever did not say who they are."""

    user_id: UUID | None
    figures: UsageFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOfKey:
    """What came by one key; None is all that came without a key."""

    key_id: UUID | None
    user_id: UUID | None
    figures: UsageFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOfRoute:
    """What one route answered."""

    method: str
    route: str
    figures: UsageFigures
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageOfPlan:
    """What was had under one plan; None is without any."""

    plan: str | None
    figures: UsageFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCount:
    """How many requests of one route were answered with one status."""

    route: str
    status: int
    n_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceBin:
    """How many predictions have a confidence in `confidence`: the lower bound included, and 1 in the last bin."""

    confidence: Interval
    n_predictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePage:
    """Some lines of the ledger, newest first, and where the next ones begin."""

    items: tuple[UsageEvent, ...]
    next_cursor: tuple[datetime, UUID] | None
    """None when nothing follows."""


def insert_usage_events(store: Store, *, events: Sequence[UsageEvent], may_be_there: bool = False) -> None:
    """Append `events`, all or none. Once this returns, not even `kill -9` loses them.

    `may_be_there` leaves out those that an earlier try, whose end nobody was told, has kept.

    Raises
    ------
    StoreError
        The database refused.
    """
    if may_be_there and events:
        known = _select_known_ids(store, events)
        events = [event for event in events if event.id not in known]
    if events:
        store.append("appending to the usage ledger", (_TABLE, [_values(event) for event in events]))


def usage_rows(events: Sequence[UsageEvent]) -> tuple[Table, list[dict[str, Any]]]:
    """The ledger's table and what it keeps of `events`, for whoever appends them together with something else."""
    return _TABLE, [_values(event) for event in events]


def _select_known_ids(store: Store, events: Sequence[UsageEvent]) -> set[UUID]:
    times = [event.at for event in events]
    statement = select(_TABLE.c.id).where(
        _TABLE.c.began_at.between(min(times), max(times)), _TABLE.c.id.in_([event.id for event in events])
    )
    with store.transaction("looking for lines of the usage ledger") as connection:
        return set(connection.execute(statement).scalars())


def select_usage_events(
    store: Store,
    *,
    reader: Reader,
    filter: UsageFilter = ALL_USAGE,
    limit: int = MAX_PAGE_ROWS,
    cursor: tuple[datetime, UUID] | None = None,
) -> UsagePage:
    """One page of at most `limit` lines, newest first. Lines appended meanwhile neither repeat nor hide others.

    Raises
    ------
    InvalidParameterError
        `limit` is not within 1 to 1000.
    """
    if not 1 <= limit <= MAX_PAGE_ROWS:
        raise InvalidParameterError("limit", str(limit), f"a whole number from 1 to {MAX_PAGE_ROWS}")
    statement = _matching(select(_TABLE), reader, filter)
    if cursor is not None:
        at, event_id = cursor
        # The first comparison alone lets the database use its index or its row-group bounds.
        statement = statement.where(and_(_TABLE.c.began_at <= at, or_(_TABLE.c.began_at < at, _TABLE.c.id < event_id)))
    statement = statement.order_by(_TABLE.c.began_at.desc(), _TABLE.c.id.desc()).limit(limit + 1)
    with store.transaction("reading a page of the usage ledger") as connection:
        rows = connection.execute(statement).all()
    shown = rows[:limit]
    return UsagePage(
        items=tuple(_event(row) for row in shown),
        next_cursor=(shown[-1].began_at, shown[-1].id) if len(rows) > limit else None,
    )


def select_usage_summary(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> UsageSummary:
    """What all lines that `filter` lets through amount to."""
    statement = select(*_FIGURES, *_LATENCY, func.min(_TABLE.c.began_at).label("first_at"))
    with store.transaction("summing up the usage ledger") as connection:
        row = connection.execute(_matching(statement, reader, filter)).one()
    return UsageSummary(figures=_figures(row), latency=_latency(row), first_at=row.first_at)


def select_usage_over_time(
    store: Store, *, reader: Reader, bucket: TimeBucket, filter: UsageFilter = ALL_USAGE
) -> list[UsageInBucket]:
    """What happened when, in order of time; buckets are of UTC, and those without any line are left out."""
    # Written into the statement: SELECT and GROUP BY would otherwise name it by two parameters, and so not be the same.
    name: BindParameter[str] = bindparam("bucket", bucket.value, literal_execute=True)
    started_at = func.date_trunc(name, _TABLE.c.began_at, type_=_TABLE.c.began_at.type).label("started_at")
    with store.transaction("summing up the usage ledger over time") as connection:
        rows = connection.execute(_grouped([started_at], reader, filter, with_latency=True)).all()
    found = [UsageInBucket(started_at=row.started_at, figures=_figures(row), latency=_latency(row)) for row in rows]
    return sorted(found, key=lambda each: each.started_at)


def select_usage_by_user(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfUser]:
    """What each user had, those with most calls first."""
    with store.transaction("summing up the usage ledger by user") as connection:
        rows = connection.execute(_grouped([_TABLE.c.user_id], reader, filter)).all()
    return sorted((UsageOfUser(user_id=row.user_id, figures=_figures(row)) for row in rows), key=_most_first)


def select_usage_by_key(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfKey]:
    """What came by each key, and what each user did without one; those with most calls first."""
    with store.transaction("summing up the usage ledger by key") as connection:
        rows = connection.execute(_grouped([_TABLE.c.key_id, _TABLE.c.user_id], reader, filter)).all()
    found = (UsageOfKey(key_id=row.key_id, user_id=row.user_id, figures=_figures(row)) for row in rows)
    return sorted(found, key=_most_first)


def select_usage_by_route(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfRoute]:
    """What each route answered and how fast, those with most requests first."""
    keys = [_TABLE.c.method, _TABLE.c.route]
    with store.transaction("summing up the usage ledger by route") as connection:
        rows = connection.execute(_grouped(keys, reader, filter, with_latency=True)).all()
    found = (
        UsageOfRoute(method=row.method, route=row.route, figures=_figures(row), latency=_latency(row)) for row in rows
    )
    return sorted(found, key=lambda each: (-each.figures.n_requests, each.route, each.method))


def select_usage_by_plan(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfPlan]:
    """What was had under each plan, those with most calls first."""
    with store.transaction("summing up the usage ledger by plan") as connection:
        rows = connection.execute(_grouped([_TABLE.c.plan], reader, filter)).all()
    return sorted((UsageOfPlan(plan=row.plan, figures=_figures(row)) for row in rows), key=_most_first)


def count_usage_by_status(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[StatusCount]:
    """How many requests of each route were answered with each status, most first."""
    keys = (_TABLE.c.route, _TABLE.c.status)
    statement = _matching(select(*keys, _N_REQUESTS), reader, filter).group_by(*keys)
    with store.transaction("counting the usage ledger by status") as connection:
        rows = connection.execute(statement).all()
    found = [StatusCount(route=row.route, status=row.status, n_requests=row.n_requests) for row in rows]
    return sorted(found, key=lambda each: (-each.n_requests, each.route, each.status))


def count_usage_by_emotion(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> dict[Emotion, int]:
    """How many predictions each emotion has, all eight in their order, zeros included."""
    statement = _matching(select(_TABLE.c.emotion, func.count()), reader, filter).group_by(_TABLE.c.emotion)
    with store.transaction("counting the usage ledger by emotion") as connection:
        counts = {row[0]: int(row[1]) for row in connection.execute(statement)}
    return {emotion: counts.get(emotion.value, 0) for emotion in Emotion}


def count_usage_by_confidence(
    store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE, n_bins: int = 20
) -> list[ConfidenceBin]:
    """A histogram of confidence from 0 to 1, in `n_bins` equal bins, empty ones included."""
    if not 1 <= n_bins <= 200:
        raise InvalidParameterError("n_bins", str(n_bins), "a whole number from 1 to 200")
    bin_of = cast(func.greatest(0, func.least(func.floor(_TABLE.c.confidence * n_bins), n_bins - 1)), Integer)
    known = _matching(select(bin_of.label("bin")), reader, filter).where(_TABLE.c.confidence.is_not(None)).subquery()
    with store.transaction("counting the usage ledger by confidence") as connection:
        rows = connection.execute(select(known.c.bin, func.count()).group_by(known.c.bin)).all()
    counts = {int(row[0]): int(row[1]) for row in rows}
    return [
        ConfidenceBin(
            confidence=Interval(low=number / n_bins, high=(number + 1) / n_bins), n_predictions=counts.get(number, 0)
        )
        for number in range(n_bins)
    ]


def select_month_usage(store: Store, *, user_id: UUID, month_start: datetime) -> MonthUsage:
    """What a user has had of a monthly quota in the month that begins at `month_start`, by whatever key."""
    mine = Reader(user_id=user_id)
    found = select_month_usage_by_user(store, reader=mine, month_start=month_start)
    return found.get(user_id, MonthUsage(n_calls=0, audio_s=0.0))


def select_month_usage_by_user(store: Store, *, reader: Reader, month_start: datetime) -> dict[UUID, MonthUsage]:
    """What each user has had of a monthly quota in the month that begins at `month_start`; those without any are left
    out.
    """
    month = UsageFilter(since=month_start, before=month_of(month_start)[1])
    columns = (_TABLE.c.user_id, _N_CALLS, _AUDIO_S)
    statement = _matching(select(*columns), reader, month).where(_TABLE.c.user_id.is_not(None))
    with store.transaction("reading what is used of monthly quotas") as connection:
        rows = connection.execute(statement.group_by(_TABLE.c.user_id)).all()
    return {row.user_id: MonthUsage(n_calls=int(row.n_calls), audio_s=float(row.audio_s)) for row in rows}


def month_of(moment: datetime) -> tuple[datetime, datetime]:
    """The beginning of the month of quotas that `moment` lies in, and that of the next, in UTC.

    Examples
    --------
    >>> [each.isoformat() for each in month_of(datetime(2026, 12, 31, 23, tzinfo=UTC))]
    ['2026-12-01T00:00:00+00:00', '2027-01-01T00:00:00+00:00']
    """
    start = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = divmod(start.year * 12 + start.month, 12)
    return start, start.replace(year=year, month=month + 1)


_TABLE = usage_events


def _n_where(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count(case((condition, 1)))


_IS_REQUEST = _TABLE.c.duration_ms.is_not(None)
_N_REQUESTS = func.count(_TABLE.c.duration_ms).label("n_requests")
_N_CALLS = _n_where(and_(_IS_REQUEST, _TABLE.c.n_predictions > 0)).label("n_calls")
_AUDIO_S = func.coalesce(func.sum(_TABLE.c.audio_s), 0.0).label("audio_s")
_FIGURES = (
    _N_REQUESTS,
    _n_where(and_(_IS_REQUEST, _TABLE.c.status.between(400, 499))).label("n_refused"),
    _n_where(and_(_IS_REQUEST, _TABLE.c.status >= 500)).label("n_failed"),
    _N_CALLS,
    func.coalesce(func.sum(_TABLE.c.n_predictions), 0).label("n_predictions"),
    _AUDIO_S,
    func.max(_TABLE.c.began_at).label("last_at"),
)
_ANSWERED_IN_MS = case((_TABLE.c.method.not_in(LIVE_METHODS), _TABLE.c.duration_ms))
_LATENCY = tuple(
    func.percentile_cont(quantile).within_group(_ANSWERED_IN_MS.asc()).label(f"p{quantile * 100:.0f}_ms")
    for quantile in QUANTILES
)

_Select = TypeVar("_Select", bound=Select[*tuple[Any, ...]])


def _matching(statement: _Select, reader: Reader, filter: UsageFilter) -> _Select:
    """`statement` over the lines that `reader` may see and `filter` lets through. Every SELECT comes by here."""
    columns = _TABLE.c
    conditions: list[ColumnElement[bool]] = []
    if not reader.sees_everything:
        conditions.append(columns.user_id == reader.user_id)
    if filter.since is not None:
        conditions.append(columns.began_at >= filter.since)
    if filter.before is not None:
        conditions.append(columns.began_at < filter.before)
    if filter.user_id is not None:
        conditions.append(columns.user_id == filter.user_id)
    if filter.key_id is not None:
        conditions.append(columns.key_id == filter.key_id)
    if filter.route:
        conditions.append(columns.route == filter.route)
    if filter.status_class is not None:
        conditions.append(columns.status.between(100 * filter.status_class, 100 * filter.status_class + 99))
    return statement.where(*conditions)


def _grouped(
    keys: Sequence[ColumnElement[Any]], reader: Reader, filter: UsageFilter, *, with_latency: bool = False
) -> Select[*tuple[Any, ...]]:
    statement = select(*keys, *_FIGURES, *(_LATENCY if with_latency else ()))
    return _matching(statement, reader, filter).group_by(*keys)


def _most_first(each: UsageOfUser | UsageOfKey | UsageOfPlan) -> tuple[int, int, str]:
    return (-each.figures.n_calls, -each.figures.n_requests, str(each))


def _figures(row: Row[Any]) -> UsageFigures:
    return UsageFigures(
        n_requests=int(row.n_requests),
        n_refused=int(row.n_refused),
        n_failed=int(row.n_failed),
        n_calls=int(row.n_calls),
        n_predictions=int(row.n_predictions),
        audio_s=float(row.audio_s),
        last_at=row.last_at,
    )


def _latency(row: Row[Any]) -> Latency:
    return Latency(p50_ms=row.p50_ms, p95_ms=row.p95_ms, p99_ms=row.p99_ms)


_NAMES = {field.name: field.name for field in fields(UsageEvent)} | {"at": "began_at"}
"""The column of each field; `at` alone is a word that DuckDB keeps for itself."""


def _values(event: UsageEvent) -> dict[str, Any]:
    values = {column: getattr(event, name) for name, column in _NAMES.items()}
    return values | {"emotion": None if event.emotion is None else event.emotion.value}


def _event(row: Row[Any]) -> UsageEvent:
    values = {name: row._mapping[column] for name, column in _NAMES.items()}
    return UsageEvent(**values | {"emotion": None if row.emotion is None else Emotion(row.emotion)})
