"""Alerts: a ledger of what happened to them. Those who may see it are admins, and they see all of it."""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Row, Select, and_, func, select

from core.domain import Alert
from core.errors import InvalidParameterError, StoreError
from core.store.engine import Store
from core.store.schema import alert_events

NAMESPACE = UUID("2f0a0c1e-6f0b-5d6e-9b57-0d1d5b1f6a44")
"""Of the ids of alerts; any UUID that nothing else uses."""
MAX_ROWS = 1000
MAX_ATTEMPTS = 6
"""Waits of 10 to 160 ms between them: a commit on a busy disk takes less."""


class _Event(enum.StrEnum):
    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


def insert_alert(
    store: Store, *, rule: str, subject: str, sentence: str, value: float, limit: float, opened_at: datetime
) -> Alert | None:
    """Open an alert, and give it; None when one of the same rule and subject is open already.

    Its id follows from rule, subject and how many there were before: of several processes that notice the same thing
    at the same moment one is told that it opened the alert.
    """
    matching = and_(alert_events.c.rule == rule, alert_events.c.subject == subject)
    with store.transaction("looking for an open alert") as connection:
        counts = select(alert_events.c.event, func.count()).where(matching).group_by(alert_events.c.event)
        n_by_event = {row[0]: row[1] for row in connection.execute(counts)}
    n_opened = n_by_event.get(_Event.OPENED, 0)
    if n_opened > n_by_event.get(_Event.CLOSED, 0):
        return None
    opened = Alert(
        id=uuid5(NAMESPACE, f"{rule}\n{subject}\n{n_opened}"),
        rule=rule,
        subject=subject,
        sentence=sentence,
        value=value,
        limit=limit,
        opened_at=opened_at,
    )
    is_first = _append(store, opened, _Event.OPENED, at=opened_at, sentence=sentence, value=value, actor="")
    return opened if is_first else None


def insert_acknowledgement(store: Store, *, alert_id: UUID, actor: str, at: datetime) -> Alert:
    """Note that `actor` has seen the alert. Whoever was first stays; raises InvalidParameterError for an unknown id."""
    alert = _require(store, alert_id)
    _append(store, alert, _Event.ACKNOWLEDGED, at=at, sentence="", value=None, actor=actor)
    return _require(store, alert_id)


def insert_closing(
    store: Store, *, alert_id: UUID, actor: str, sentence: str, value: float | None, at: datetime
) -> Alert | None:
    """Close the alert, and give it; None when it was closed before. Raises InvalidParameterError for an unknown id."""
    alert = _require(store, alert_id)
    is_first = _append(store, alert, _Event.CLOSED, at=at, sentence=sentence, value=value, actor=actor)
    return _require(store, alert_id) if is_first else None


def select_alert(store: Store, *, alert_id: UUID) -> Alert | None:
    """The alert with this id."""
    with store.transaction("reading an alert") as connection:
        row = connection.execute(_alerts().where(_opened.c.alert_id == alert_id)).one_or_none()
    return None if row is None else _alert(row)


def select_open_alerts(store: Store) -> list[Alert]:
    """All that are not over, newest first."""
    return _select(store, _alerts().where(_closed.c.happened_at.is_(None)))


def select_past_alerts(store: Store, *, limit: int = 100) -> list[Alert]:
    """Those that are over, the one that closed last first."""
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidParameterError("limit", str(limit), f"a whole number from 1 to {MAX_ROWS}")
    newest_first = (_closed.c.happened_at.desc(), _opened.c.alert_id)
    return _select(
        store, _alerts().where(_closed.c.happened_at.is_not(None)).order_by(None).order_by(*newest_first).limit(limit)
    )


_opened = alert_events.alias("opened")
_acknowledged = alert_events.alias("acknowledged")
_closed = alert_events.alias("closed")


def _alerts() -> Select[Any]:
    """Alerts, each with what happened to it in one row."""

    def same(happened: Any, event: _Event) -> Any:
        return and_(happened.c.alert_id == _opened.c.alert_id, happened.c.event == event)

    return (
        select(
            _opened.c.alert_id,
            _opened.c.rule,
            _opened.c.subject,
            _opened.c.sentence,
            _opened.c.value,
            _opened.c.limit_value,
            _opened.c.happened_at,
            _acknowledged.c.happened_at.label("acknowledged_at"),
            _acknowledged.c.actor.label("acknowledged_by"),
            _closed.c.happened_at.label("closed_at"),
            _closed.c.actor.label("closed_by"),
            _closed.c.sentence.label("closing_sentence"),
        )
        .select_from(_opened)
        .outerjoin(_acknowledged, same(_acknowledged, _Event.ACKNOWLEDGED))
        .outerjoin(_closed, same(_closed, _Event.CLOSED))
        .where(_opened.c.event == _Event.OPENED)
        .order_by(_opened.c.happened_at.desc(), _opened.c.alert_id)
    )


def _select(store: Store, query: Select[Any]) -> list[Alert]:
    with store.transaction("reading alerts") as connection:
        rows: Sequence[Row[Any]] = connection.execute(query).all()
    return [_alert(row) for row in rows]


def _require(store: Store, alert_id: UUID) -> Alert:
    alert = select_alert(store, alert_id=alert_id)
    if alert is None:
        raise InvalidParameterError("alert_id", str(alert_id), "the id of an alert")
    return alert


def _append(
    store: Store, alert: Alert, event: _Event, *, at: datetime, sentence: str, value: float | None, actor: str
) -> bool:
    """Whether this call was the one that made `event` happen."""
    row = {
        "alert_id": alert.id,
        "event": event.value,
        "happened_at": at,
        "rule": alert.rule,
        "subject": alert.subject,
        "sentence": sentence,
        "value": value,
        "limit_value": alert.limit,
        "actor": actor,
    }
    for attempt in range(MAX_ATTEMPTS):
        if _has_happened(store, alert.id, event):
            return False
        try:
            store.append("keeping an alert", (alert_events, [row]))
        except StoreError:
            # The same happened at the same moment elsewhere: the next look finds it. DuckDB refuses already while the
            # other has not committed yet.
            if attempt == MAX_ATTEMPTS - 1:
                raise
            time.sleep(0.01 * 2**attempt)
        else:
            return True
    return False


def _has_happened(store: Store, alert_id: UUID, event: _Event) -> bool:
    query = select(func.count()).where(alert_events.c.alert_id == alert_id, alert_events.c.event == event)
    with store.transaction("looking at an alert") as connection:
        return bool(connection.execute(query).scalar_one())


def _alert(row: Row[Any]) -> Alert:
    return Alert(
        id=row.alert_id,
        rule=row.rule,
        subject=row.subject,
        sentence=row.sentence,
        value=row.value,
        limit=row.limit_value,
        opened_at=row.happened_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
        closing_sentence=row.closing_sentence or "",
    )
