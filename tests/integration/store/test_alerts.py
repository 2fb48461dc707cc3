"""The ledger of alerts, on each database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest

from core.errors import InvalidParameterError
from core.identifiers import new_id
from core.store.alerts import (
    insert_acknowledgement,
    insert_alert,
    insert_closing,
    select_alert,
    select_open_alerts,
    select_past_alerts,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def opened(store, *, rule="latency", subject="", after_h=0):
    return insert_alert(
        store,
        rule=rule,
        subject=subject,
        sentence="Slow: 3 s.",
        value=3.0,
        limit=2.0,
        opened_at=NOON + timedelta(hours=after_h),
    )


def closed(store, alert, *, after_h=1):
    at = NOON + timedelta(hours=after_h)
    return insert_closing(store, alert_id=alert.id, actor="telepathy", sentence="Over.", value=1.0, at=at)


def test_alert_goes_through_its_life(store):
    alert = opened(store)
    assert (alert.opened_at, alert.value, alert.limit, alert.acknowledged_at, alert.closed_at) == (
        NOON,
        3.0,
        2.0,
        None,
        None,
    )
    assert select_open_alerts(store) == [alert] == [select_alert(store, alert_id=alert.id)]

    seen = insert_acknowledgement(store, alert_id=alert.id, actor="ann@example.org", at=NOON + timedelta(minutes=5))
    assert (seen.acknowledged_by, seen.acknowledged_at) == ("ann@example.org", NOON + timedelta(minutes=5))
    assert select_open_alerts(store) == [seen]

    over = closed(store, alert)
    assert (over.closed_by, over.closed_at, over.closing_sentence) == ("telepathy", NOON + timedelta(hours=1), "Over.")
    assert over.acknowledged_by == "ann@example.org"
    assert select_open_alerts(store) == []
    assert select_past_alerts(store) == [over]


def test_alert_is_open_once_and_may_come_back(store):
    first = opened(store)
    assert opened(store, after_h=1) is None
    other = opened(store, subject="somebody", after_h=1)
    closed(store, first, after_h=2)
    again = opened(store, after_h=3)
    assert len({first.id, other.id, again.id}) == 3
    assert [alert.id for alert in select_open_alerts(store)] == [again.id, other.id]


def test_first_to_acknowledge_stays_noted_and_closing_happens_once(store):
    alert = opened(store)
    for who in ("ann@example.org", "bob@example.org"):
        insert_acknowledgement(store, alert_id=alert.id, actor=who, at=NOON)
    assert select_alert(store, alert_id=alert.id).acknowledged_by == "ann@example.org"
    assert closed(store, alert) is not None
    assert closed(store, alert) is None


def test_many_that_notice_at_once_open_one_alert(store):
    together = Barrier(8)

    def notice(_number):
        together.wait(30)
        return opened(store)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(notice, range(8)))
    assert len([answer for answer in answers if answer is not None]) == 1
    assert len(select_open_alerts(store)) == 1


def test_past_alerts_come_the_last_closed_first_and_as_many_as_asked(store):
    alerts = [opened(store, subject=str(number), after_h=number) for number in range(5)]
    for number in (3, 0, 4, 1, 2):
        closed(store, alerts[number], after_h=10 + number)
    assert [alert.subject for alert in select_past_alerts(store, limit=3)] == ["4", "3", "2"]
    for limit in (0, 1001):
        with pytest.raises(InvalidParameterError, match="limit"):
            select_past_alerts(store, limit=limit)


def test_unknown_alert_is_refused(store):
    assert select_alert(store, alert_id=new_id()) is None
    with pytest.raises(InvalidParameterError, match="alert_id"):
        insert_acknowledgement(store, alert_id=new_id(), actor="ann@example.org", at=NOON)
    with pytest.raises(InvalidParameterError, match="alert_id"):
        insert_closing(store, alert_id=new_id(), actor="x", sentence="", value=None, at=NOON)
