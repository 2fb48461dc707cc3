"""The usage ledger as CSV (RFC 4180), UTF-8 with a byte order mark so that spreadsheets read names right."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping
from uuid import UUID

from core.domain import Reader, UsageEvent
from core.reports.predictions_csv import BYTE_ORDER_MARK, without_formula
from core.store.engine import Store
from core.store.usage import ALL_USAGE, UsageFilter, UsagePage, select_usage_events

COLUMNS = (
    "at",
    "user_id",
    "user",
    "key_id",
    "key",
    "plan",
    "method",
    "route",
    "status",
    "duration_ms",
    "n_predictions",
    "audio_s",
    "emotion",
    "confidence",
    "model_version",
    "request_id",
    "address",
)
MAX_ROWS = 100_000
"""The newest so many, some 20 MB: more than that is a job for the database's own tools."""


def usage_csv(
    store: Store,
    *,
    reader: Reader,
    filter: UsageFilter = ALL_USAGE,
    user_names: Mapping[UUID, str] | None = None,
    key_names: Mapping[UUID, str] | None = None,
    max_rows: int = MAX_ROWS,
) -> Iterator[str]:
    """The newest lines that `reader` may see and `filter` lets through, a thousand at a time: first the header.

    A further recording of a request has no duration.
    """
    yield BYTE_ORDER_MARK + _lines([COLUMNS])
    events = itertools.chain.from_iterable(page.items for page in _pages(store, reader, filter))
    wanted = itertools.islice(events, max_rows)
    while block := list(itertools.islice(wanted, 1000)):
        yield _lines([_cells(event, user_names or {}, key_names or {}) for event in block])


def _pages(store: Store, reader: Reader, filter: UsageFilter) -> Iterator[UsagePage]:
    page = select_usage_events(store, reader=reader, filter=filter)
    yield page
    while page.next_cursor is not None:
        page = select_usage_events(store, reader=reader, filter=filter, cursor=page.next_cursor)
        yield page


def _cells(event: UsageEvent, user_names: Mapping[UUID, str], key_names: Mapping[UUID, str]) -> tuple[object, ...]:
    return (
        event.at.isoformat(),
        event.user_id,
        without_formula(user_names.get(event.user_id, "") if event.user_id else ""),
        event.key_id,
        without_formula(key_names.get(event.key_id, "") if event.key_id else ""),
        without_formula(event.plan or ""),
        without_formula(event.method),
        without_formula(event.route),
        event.status,
        event.duration_ms,
        event.n_predictions,
        event.audio_s,
        event.emotion.value if event.emotion else None,
        event.confidence,
        without_formula(event.model_version or ""),
        without_formula(event.request_id),
        without_formula(event.address),
    )


def _lines(rows: list[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
