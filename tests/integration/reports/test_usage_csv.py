"""The usage ledger as CSV: whole, newest first, one's own only, and harmless in spreadsheets."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from uuid import UUID

from core.domain import Reader
from core.reports.usage_csv import COLUMNS, usage_csv
from core.store.usage import UsageFilter, insert_usage_events
from tests.factories import make_usage_event

ADMIN = Reader(user_id=UUID(int=9), sees_everything=True)
ANN, BOB, KEY = UUID(int=1), UUID(int=2), UUID(int=3)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows_of(blocks):
    text = "".join(blocks)
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_every_line_is_there_newest_first_across_pages(store):
    events = [make_usage_event(at=NOON + timedelta(seconds=second), user_id=ANN) for second in range(2_345)]
    insert_usage_events(store, events=events)
    rows = rows_of(usage_csv(store, reader=ADMIN))
    assert [row["request_id"] for row in rows] == [event.request_id for event in reversed(events)]
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["at"] == "2026-03-01T12:39:04+00:00"
    assert (rows[0]["emotion"], rows[0]["confidence"], rows[0]["duration_ms"]) == ("happy", "0.6", "41.5")
    assert len(rows_of(usage_csv(store, reader=ADMIN, max_rows=1_001))) == 1_001


def test_nobody_reads_the_lines_of_others(store):
    insert_usage_events(store, events=[make_usage_event(user_id=ANN), make_usage_event(user_id=BOB)])
    assert [row["user_id"] for row in rows_of(usage_csv(store, reader=Reader(user_id=BOB)))] == [str(BOB)]


def test_filters_and_names_are_those_asked_for(store):
    insert_usage_events(
        store, events=[make_usage_event(user_id=ANN, key_id=KEY, status=503), make_usage_event(user_id=BOB)]
    )
    [row] = rows_of(
        usage_csv(
            store,
            reader=ADMIN,
            filter=UsageFilter(status_class=5),
            user_names={ANN: "ann@example.org"},
            key_names={KEY: "nightly"},
        )
    )
    assert (row["user"], row["key"], row["status"]) == ("ann@example.org", "nightly", "503")


def test_what_a_spreadsheet_would_run_is_disarmed(store):
    evil = '=HYPERLINK("http://example.org")'
    insert_usage_events(
        store,
        events=[
            make_usage_event(user_id=ANN, key_id=KEY, plan=evil, request_id="-1", address="@x", model_version="+m")
        ],
    )
    [row] = rows_of(usage_csv(store, reader=ADMIN, user_names={ANN: evil}, key_names={KEY: "\t=1"}))
    assert all(row[name].startswith("'") for name in ("user", "key", "plan", "request_id", "address", "model_version"))


def test_an_empty_ledger_is_a_header(store):
    assert rows_of(usage_csv(store, reader=ADMIN)) == []
