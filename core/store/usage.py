"""The usage ledger: append-only, and the questions that usage pages, quotas and alerts ask of it.

Every question takes a `Reader` and a `UsageFilter` and passes through `_matching`: the one place that says whose lines
a caller sees: their own, and admins all. Counting, quantiles and binning happen in the database.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Label,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    func,
    or_,
    select,
    union_all,
)

from core.domain import Emotion, Interval, MonthUsage, Reader, UsageEvent, label_of
from core.domain import Label as SaidLabel
from core.errors import InvalidParameterError
from core.store.engine import Store
from core.store.predictions import MAX_PAGE_ROWS, TimeBucket
from core.store.schema import (
    confidence_column,
    emotion_column,
    usage_day_answers,
    usage_day_callers,
    usage_day_labels,
    usage_day_latencies,
    usage_day_routes,
    usage_events,
)
from core.store.usage_days import (
    Coverage,
    Histogram,
    add_packed,
    append_late_days,
    coverage_of,
    empty_histogram,
    histograms_of,
    quantile_of,
)
from core.store.usage_measures import (
    ANSWERED_IN_MS,
    CONFIDENCES,
    EMOTIONS,
    FIGURES,
    IS_OWN_LABEL,
    LATENCY_BIN,
    N_CONFIDENCE_BINS,
    confidence_bin,
)

QUANTILES = (0.5, 0.95, 0.99)
_WHOLE_DAYS = (TimeBucket.DAY, TimeBucket.WEEK, TimeBucket.MONTH)


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
    """What quotas and prices count: requests that cost inference, and of a batch each recording that was answered."""
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
class UsageOverview:
    """All that the page Admin draws of a period, as it was at one moment."""

    summary: UsageSummary
    over_time: list[UsageInBucket]
    by_user: list[UsageOfUser]
    by_key: list[UsageOfKey]
    by_route: list[UsageOfRoute]
    by_plan: list[UsageOfPlan]
    by_status: list[StatusCount]
    by_emotion: dict[SaidLabel, int]
    """All eight, then labels of models that were trained here."""
    by_confidence: list[ConfidenceBin]


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
        with store.transaction("appending to the usage ledger") as connection:
            store.append_within(connection, (_TABLE, [_values(event) for event in events]))
            append_late_days(store, connection, events)


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
    asked = _Asked(reader=reader, filter=filter)
    with store.snapshot("summing up the usage ledger") as connection:
        (row,) = asked.figures(connection, usage_day_callers)
        latency = asked.latencies(connection).get((), NO_LATENCY)
    return UsageSummary(figures=_figures(row), latency=latency, first_at=row.first_at)


def select_usage_over_time(
    store: Store, *, reader: Reader, bucket: TimeBucket, filter: UsageFilter = ALL_USAGE
) -> list[UsageInBucket]:
    """What happened when, in order of time; buckets are of UTC, and those without any line are left out."""
    asked = _Asked(reader=reader, filter=filter, bucket=bucket)
    with store.snapshot("summing up the usage ledger over time") as connection:
        rows = asked.figures(connection, usage_day_callers)
        latencies = asked.latencies(connection)
    return _in_order_of_time(rows, latencies)


def select_usage_by_user(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfUser]:
    """What each user had, those with most calls first."""
    with store.snapshot("summing up the usage ledger by user") as connection:
        rows = _Asked(reader=reader, filter=filter, keys=("user_id",)).figures(connection, usage_day_callers)
    return sorted((UsageOfUser(user_id=row.user_id, figures=_figures(row)) for row in rows), key=_most_first)


def select_usage_by_key(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfKey]:
    """What came by each key, and what each user did without one; those with most calls first."""
    with store.snapshot("summing up the usage ledger by key") as connection:
        rows = _Asked(reader=reader, filter=filter, keys=("key_id", "user_id")).figures(connection, usage_day_callers)
    found = (UsageOfKey(key_id=row.key_id, user_id=row.user_id, figures=_figures(row)) for row in rows)
    return sorted(found, key=_most_first)


def select_usage_by_route(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfRoute]:
    """What each route answered and how fast, those with most requests first."""
    asked = _Asked(reader=reader, filter=filter, keys=("method", "route"))
    with store.snapshot("summing up the usage ledger by route") as connection:
        rows = asked.figures(connection, usage_day_routes)
        latencies = asked.latencies(connection)
    found = (
        UsageOfRoute(
            method=row.method,
            route=row.route,
            figures=_figures(row),
            latency=latencies.get((row.method, row.route), NO_LATENCY),
        )
        for row in rows
    )
    return sorted(found, key=_busiest_first)


def select_usage_by_plan(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[UsageOfPlan]:
    """What was had under each plan, those with most calls first."""
    with store.snapshot("summing up the usage ledger by plan") as connection:
        rows = _Asked(reader=reader, filter=filter, keys=("plan",)).figures(connection, usage_day_callers)
    return sorted((UsageOfPlan(plan=row.plan, figures=_figures(row)) for row in rows), key=_most_first)


def count_usage_by_status(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> list[StatusCount]:
    """How many requests of each route were answered with each status, most first."""
    with store.snapshot("counting the usage ledger by status") as connection:
        rows = _Asked(reader=reader, filter=filter, keys=("route", "status")).figures(connection, usage_day_routes)
    found = [StatusCount(route=row.route, status=row.status, n_requests=int(row.n_requests)) for row in rows]
    return sorted(found, key=_commonest_first)


def count_usage_by_emotion(store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE) -> dict[SaidLabel, int]:
    """How many predictions each emotion has, all eight in their order, zeros included; then own labels by name."""
    asked = _Asked(reader=reader, filter=filter)
    with store.snapshot("counting the usage ledger by emotion") as connection:
        asked = replace(asked, covered=asked.coverage(connection))
        return _emotions_of(asked.answers(connection, EMOTIONS), asked.own_labels(connection))


def count_usage_by_confidence(
    store: Store, *, reader: Reader, filter: UsageFilter = ALL_USAGE, n_bins: int = N_CONFIDENCE_BINS
) -> list[ConfidenceBin]:
    """A histogram of confidence from 0 to 1, in `n_bins` equal bins, empty ones included. Sums of days know 20."""
    if not 1 <= n_bins <= 200:
        raise InvalidParameterError("n_bins", str(n_bins), "a whole number from 1 to 200")
    with store.snapshot("counting the usage ledger by confidence") as connection:
        if n_bins == N_CONFIDENCE_BINS:
            found = _Asked(reader=reader, filter=filter).answers(connection, CONFIDENCES)
            counts = {number: found[confidence_column(number)] for number in range(n_bins)}
        else:
            bin_of = confidence_bin(n_bins).label("bin")
            known = _matching(select(bin_of), reader, filter).where(_TABLE.c.confidence.is_not(None)).subquery()
            rows = connection.execute(select(known.c.bin, func.count()).group_by(known.c.bin)).all()
            counts = {int(row[0]): int(row[1]) for row in rows}
    return _bins_of(counts, n_bins)


def select_usage_overview(
    store: Store, *, reader: Reader, bucket: TimeBucket, filter: UsageFilter = ALL_USAGE
) -> UsageOverview:
    """What the single questions about the same lines give, asked in one round: what they share is read once."""
    asked = _Asked(reader=reader, filter=filter)
    with store.snapshot("summing up the usage ledger") as connection:
        asked = replace(asked, covered=asked.coverage(connection))
        over_time = _Asked(reader=reader, filter=filter, bucket=bucket)
        over_time = replace(over_time, covered=asked.covered if bucket in _WHOLE_DAYS else None)
        by_route = replace(asked, keys=("method", "route"))
        buckets = over_time.figures(connection, usage_day_callers)
        callers = replace(asked, keys=("user_id", "key_id", "plan")).figures(connection, usage_day_callers)
        statuses = replace(asked, keys=("method", "route", "status")).figures(connection, usage_day_routes)
        counts = asked.answers(connection, (*EMOTIONS, *CONFIDENCES))
        own_labels = asked.own_labels(connection)
        if asked.covered and asked.covered.days and over_time.covered and reader.sees_everything:
            found = replace(by_route, bucket=bucket).histograms(connection, asked.covered)
            of_all, of_routes, of_buckets = (_added_up(found, part) for part in (slice(0), slice(2), slice(2, 3)))
        else:
            of_all, of_routes, of_buckets = (each.latencies(connection) for each in (asked, by_route, over_time))
    return UsageOverview(
        summary=UsageSummary(
            figures=_sum_of(callers),
            latency=of_all.get((), NO_LATENCY),
            first_at=min((row.first_at for row in callers if row.first_at is not None), default=None),
        ),
        over_time=_in_order_of_time(buckets, of_buckets),
        by_user=sorted(
            (UsageOfUser(user_id=user, figures=_sum_of(rows)) for (user,), rows in _by(callers, "user_id")),
            key=_most_first,
        ),
        by_key=sorted(
            (
                UsageOfKey(key_id=key, user_id=user, figures=_sum_of(rows))
                for (key, user), rows in _by(callers, "key_id", "user_id")
            ),
            key=_most_first,
        ),
        by_plan=sorted(
            (UsageOfPlan(plan=plan, figures=_sum_of(rows)) for (plan,), rows in _by(callers, "plan")), key=_most_first
        ),
        by_route=sorted(
            (
                UsageOfRoute(
                    method=method,
                    route=route,
                    figures=_sum_of(rows),
                    latency=of_routes.get((method, route), NO_LATENCY),
                )
                for (method, route), rows in _by(statuses, "method", "route")
            ),
            key=_busiest_first,
        ),
        by_status=sorted(
            (
                StatusCount(route=route, status=status, n_requests=_sum_of(rows).n_requests)
                for (route, status), rows in _by(statuses, "route", "status")
            ),
            key=_commonest_first,
        ),
        by_emotion=_emotions_of(counts, own_labels),
        by_confidence=_bins_of({number: counts[confidence_column(number)] for number in range(N_CONFIDENCE_BINS)}),
    )


def _by(rows: Sequence[Row[Any]], *names: str) -> Iterable[tuple[tuple[Any, ...], list[Row[Any]]]]:
    found: dict[tuple[Any, ...], list[Row[Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row._mapping[name] for name in names), []).append(row)
    return found.items()


def _sum_of(rows: Sequence[Row[Any]]) -> UsageFigures:
    each = [_figures(row) for row in rows]
    return UsageFigures(
        n_requests=sum(one.n_requests for one in each),
        n_refused=sum(one.n_refused for one in each),
        n_failed=sum(one.n_failed for one in each),
        n_calls=sum(one.n_calls for one in each),
        n_predictions=sum(one.n_predictions for one in each),
        audio_s=math.fsum(one.audio_s for one in each),
        last_at=max((one.last_at for one in each if one.last_at is not None), default=None),
    )


def _added_up(found: dict[tuple[Hashable, ...], Histogram], part: slice) -> dict[tuple[Hashable, ...], Latency]:
    """Quantiles by a part of the keys."""
    sums: dict[tuple[Hashable, ...], Histogram] = {}
    for key, histogram in found.items():
        sums[key[part]] = sums[key[part]] + histogram if key[part] in sums else histogram
    return {key: Latency(**_quantiles(histogram)) for key, histogram in sums.items()}


def _in_order_of_time(rows: Sequence[Row[Any]], latencies: dict[tuple[Hashable, ...], Latency]) -> list[UsageInBucket]:
    found = [
        UsageInBucket(
            started_at=row.started_at,
            figures=_figures(row),
            latency=latencies.get((row.started_at,), NO_LATENCY),
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: each.started_at)


def _emotions_of(counts: dict[str, int], own: dict[str, int]) -> dict[SaidLabel, int]:
    found: dict[SaidLabel, int] = {emotion: counts[emotion_column(emotion)] for emotion in Emotion}
    return found | {label_of(label): count for label, count in sorted(own.items())}


def _bins_of(counts: dict[int, int], n_bins: int = N_CONFIDENCE_BINS) -> list[ConfidenceBin]:
    return [
        ConfidenceBin(
            confidence=Interval(low=number / n_bins, high=(number + 1) / n_bins), n_predictions=counts.get(number, 0)
        )
        for number in range(n_bins)
    ]


def _busiest_first(each: UsageOfRoute) -> tuple[int, str, str]:
    return (-each.figures.n_requests, each.route, each.method)


def _commonest_first(each: StatusCount) -> tuple[int, str, int]:
    return (-each.n_requests, each.route, each.status)


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
    with store.snapshot("reading what is used of monthly quotas") as connection:
        found = _Asked(reader=reader, filter=month, keys=("user_id",)).figures(connection, usage_day_callers)
    rows = [row for row in found if row.user_id is not None]
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


_EXACT_LATENCY = tuple(
    func.percentile_cont(quantile).within_group(ANSWERED_IN_MS.asc()).label(f"p{quantile * 100:.0f}_ms")
    for quantile in QUANTILES
)
NO_LATENCY = Latency(p50_ms=None, p95_ms=None, p99_ms=None)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One question: whose lines, which of them, and by what they are to be told apart."""

    reader: Reader
    filter: UsageFilter
    keys: tuple[str, ...] = ()
    bucket: TimeBucket | None = None
    covered: Coverage | None = None
    """What is known of that already, of another question about the same time in the same transaction."""

    def figures(self, connection: Connection, sums: Table) -> Sequence[Row[Any]]:
        """Figures by the keys: of whole days from `sums`, of all else from the ledger."""
        covered = self.coverage(connection)
        keys = self._keys(_TABLE, _TABLE.c.began_at)
        lines = self._lines(select(*keys, *FIGURES), covered).group_by(*keys)
        if not covered.days:
            return connection.execute(lines).all()
        keys = self._keys(sums, sums.c.day)
        days = self._days(select(*keys, *(sums.c[figure.name] for figure in FIGURES)), sums, covered)
        both = union_all(days, lines).subquery()
        keys = [both.c[name] for name in self._names()]
        return connection.execute(select(*keys, *_added(both)).group_by(*keys)).all()

    def answers(self, connection: Connection, counts: Sequence[Label[int]]) -> dict[str, int]:
        """How many answers each of `counts` counts, by its name."""
        covered = self.coverage(connection)
        found = dict(connection.execute(self._lines(select(*counts), covered)).mappings().one())
        if covered.days:
            columns = (func.sum(usage_day_answers.c[count.name]).label(count.name) for count in counts)
            days = connection.execute(self._days(select(*columns), usage_day_answers, covered)).mappings().one()
            found = {name: found[name] + int(days[name] or 0) for name in found}
        return {name: int(count) for name, count in found.items()}

    def own_labels(self, connection: Connection) -> dict[str, int]:
        """How many answers have each label that is none of the eight emotions."""
        covered = self.coverage(connection)
        lines = self._lines(select(_TABLE.c.emotion, func.count()), covered).where(IS_OWN_LABEL)
        parts = [connection.execute(lines.group_by(_TABLE.c.emotion)).all()]
        if covered.days:
            sums = usage_day_labels.c
            days = self._days(select(sums.label, func.sum(sums.n_answers)), usage_day_labels, covered)
            parts.append(connection.execute(days.group_by(sums.label)).all())
        found: Counter[str] = Counter()
        for part in parts:
            found.update({str(label): int(count) for label, count in part})
        return dict(found)

    def latencies(self, connection: Connection) -> dict[tuple[Hashable, ...], Latency]:
        """Quantiles of answer times by the keys: exact where the ledger alone is asked, within 1 % otherwise."""
        everybodys = self.reader.sees_everything
        covered = self.coverage(connection) if everybodys or not self.keys else self._lines_alone()
        keys = self._keys(_TABLE, _TABLE.c.began_at)
        if not covered.days:
            rows = connection.execute(self._lines(select(*keys, *_EXACT_LATENCY), covered).group_by(*keys)).all()
            return {tuple(row[: len(keys)]): _latency(row) for row in rows}
        return {key: Latency(**_quantiles(each)) for key, each in self.histograms(connection, covered).items()}

    def histograms(self, connection: Connection, covered: Coverage) -> dict[tuple[Hashable, ...], Histogram]:
        """Answer times in bins by the keys, of which some days are summed up."""
        everybodys = self.reader.sees_everything
        keys = self._keys(_TABLE, _TABLE.c.began_at)
        binned = (
            self._lines(select(*keys, LATENCY_BIN.label("bin")), covered).where(LATENCY_BIN.is_not(None)).subquery()
        )
        found = histograms_of(connection.execute(select(*binned.c, func.count()).group_by(*binned.c)).all())
        sums = usage_day_latencies if everybodys else usage_day_answers
        days = self._days(select(*self._keys(sums, sums.c.day), sums.c.latencies), sums, covered)
        for *key, kept in connection.execute(days):
            add_packed(found.setdefault(tuple(key), empty_histogram()), kept)
        return found

    def coverage(self, connection: Connection) -> Coverage:
        if self.covered is not None:
            return self.covered
        is_narrow = self.filter != UsageFilter(since=self.filter.since, before=self.filter.before)
        if is_narrow or (self.bucket is not None and self.bucket not in _WHOLE_DAYS):
            return self._lines_alone()
        return coverage_of(connection, since=self.filter.since, before=self.filter.before)

    def _lines_alone(self) -> Coverage:
        return Coverage(days=(), lines=((self.filter.since, self.filter.before),))

    def _names(self) -> tuple[str, ...]:
        return self.keys if self.bucket is None else (*self.keys, "started_at")

    def _keys(self, table: Table, began_at: ColumnElement[datetime]) -> list[ColumnElement[Any]]:
        keys: list[ColumnElement[Any]] = [table.c[name] for name in self.keys]
        if self.bucket is not None:
            # Written into the statement: SELECT and GROUP BY would otherwise name it by two parameters, and so not be
            # the same.
            name: BindParameter[str] = bindparam("bucket", self.bucket.value, literal_execute=True)
            keys.append(func.date_trunc(name, began_at, type_=_TABLE.c.began_at.type).label("started_at"))
        return keys

    def _lines(self, statement: _Select, covered: Coverage) -> _Select:
        statement = _matching(statement, self.reader, self.filter)
        return statement.where(covered.of_lines()) if covered.days else statement

    def _days(self, statement: _Select, sums: Table, covered: Coverage) -> _Select:
        statement = statement.where(covered.of_days(sums))
        return statement if self.reader.sees_everything else statement.where(sums.c.user_id == self.reader.user_id)


def _added(parts: FromClause) -> list[ColumnElement[Any]]:
    how: dict[str, Callable[..., ColumnElement[Any]]] = {"first_at": func.min, "last_at": func.max}
    return [
        how[figure.name](parts.c[figure.name]).label(figure.name)
        if figure.name in how
        else func.coalesce(func.sum(parts.c[figure.name]), 0).label(figure.name)
        for figure in FIGURES
    ]


def _quantiles(histogram: Histogram) -> dict[str, float | None]:
    return {f"p{quantile * 100:.0f}_ms": quantile_of(histogram, quantile) for quantile in QUANTILES}


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
    return UsageEvent(**values | {"emotion": None if row.emotion is None else label_of(row.emotion)})
