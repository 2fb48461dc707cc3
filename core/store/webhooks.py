"""Webhooks: endpoints, messages on their way to them, and the ledger of attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, delete, func, or_, select, type_coerce, update

from core.domain import (
    AttemptOutcome,
    DeliveryState,
    Reader,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
)
from core.errors import InvalidParameterError
from core.store.engine import Store, try_again
from core.store.schema import UtcDateTime, webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_messages
from core.store.visibility import owned

MAX_ROWS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecrets:
    """What an endpoint's messages are signed with, sealed."""

    secret: str
    previous_secret: str | None
    previous_secret_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A delivery that is not over."""

    delivery_id: UUID
    owner_id: UUID
    n_attempts: int
    next_at: datetime | None
    """None before the first attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingDeliveries:
    """What waits, for whoever watches."""

    n_waiting: int
    oldest_due_at: datetime | None
    """When the one was due that has been so for longest; None when nothing waits."""


def insert_webhook_endpoint(store: Store, *, endpoint: WebhookEndpoint, sealed_secret: str) -> WebhookEndpoint:
    """Keep a new endpoint, and give it."""
    row = _endpoint_row(endpoint) | {"secret": sealed_secret}
    store.append("keeping a webhook", (webhook_endpoints, [row]))
    return endpoint


def select_webhook_endpoint(store: Store, *, endpoint_id: UUID, reader: Reader) -> WebhookEndpoint | None:
    """The endpoint with this id, if it is the reader's."""
    query = select(*_ENDPOINT_COLUMNS).where(webhook_endpoints.c.id == endpoint_id, owned(reader, webhook_endpoints))
    with store.transaction("reading a webhook") as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _endpoint(row)


def select_webhook_endpoints(store: Store, *, reader: Reader) -> list[WebhookEndpoint]:
    """The reader's endpoints, oldest first."""
    query = select(*_ENDPOINT_COLUMNS).where(owned(reader, webhook_endpoints)).order_by(webhook_endpoints.c.id)
    with store.transaction("reading webhooks") as connection:
        return [_endpoint(row) for row in connection.execute(query)]


def select_webhook_secrets(store: Store, *, endpoint_id: UUID, reader: Reader) -> SealedSecrets | None:
    """What the endpoint's messages are signed with."""
    columns = webhook_endpoints.c
    query = select(columns.secret, columns.previous_secret, columns.previous_secret_until).where(
        columns.id == endpoint_id, owned(reader, webhook_endpoints)
    )
    with store.transaction("reading a webhook's secret") as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else SealedSecrets(**row._mapping)


def update_webhook_endpoint(store: Store, *, endpoint: WebhookEndpoint, reader: Reader) -> bool:
    """Make the endpoint with this id what `endpoint` says, but for its owner and secrets; whether it is there."""
    kept = {"id", "owner_id", "created_at", "previous_secret_until"}
    values = {name: value for name, value in _endpoint_row(endpoint).items() if name not in kept}
    return _update(store, endpoint.id, reader, values)


def update_webhook_secrets(store: Store, *, endpoint_id: UUID, sealed: SealedSecrets, reader: Reader) -> bool:
    """Sign with other secrets from now on; whether the endpoint is there."""
    values = {
        "secret": sealed.secret,
        "previous_secret": sealed.previous_secret,
        "previous_secret_until": sealed.previous_secret_until,
    }
    return _update(store, endpoint_id, reader, values)


def _update(store: Store, endpoint_id: UUID, reader: Reader, values: Mapping[str, Any]) -> bool:
    matching = and_(webhook_endpoints.c.id == endpoint_id, owned(reader, webhook_endpoints))

    def change() -> bool:
        with store.transaction("changing a webhook") as connection:
            return bool(connection.execute(update(webhook_endpoints).where(matching).values(**values)).rowcount)

    return try_again(change)


def delete_webhook_endpoint(store: Store, *, endpoint_id: UUID, reader: Reader) -> bool:
    """Delete an endpoint with its deliveries and attempts, and the messages that nobody else was sent."""
    matching = and_(webhook_endpoints.c.id == endpoint_id, owned(reader, webhook_endpoints))

    def forget() -> bool:
        with store.transaction("deleting a webhook") as connection:
            if not connection.execute(delete(webhook_endpoints).where(matching)).rowcount:
                return False
            deliveries = select(webhook_deliveries.c.id).where(webhook_deliveries.c.endpoint_id == endpoint_id)
            connection.execute(delete(webhook_attempts).where(webhook_attempts.c.delivery_id.in_(deliveries)))
            connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.endpoint_id == endpoint_id))
            still_sent = select(webhook_deliveries.c.message_id)
            connection.execute(
                delete(webhook_messages).where(
                    owned(reader, webhook_messages), webhook_messages.c.id.not_in(still_sent)
                )
            )
            return True

    return try_again(forget)


def delete_webhook_messages(
    store: Store, *, reader: Reader, about_id: UUID | None = None, created_before: datetime | None = None
) -> int:
    """Delete messages about a recording, or older ones, with their deliveries and attempts; how many messages.

    A delivery that has not been made is never made then.
    """
    if (about_id is None) == (created_before is None):
        raise ValueError("either about_id or created_before")
    columns = webhook_messages.c
    chosen = columns.about_id == about_id if about_id is not None else columns.created_at < created_before
    matching = and_(owned(reader, webhook_messages), chosen)

    def forget() -> int:
        with store.transaction("deleting messages of webhooks") as connection:
            messages = select(columns.id).where(matching)
            deliveries = select(webhook_deliveries.c.id).where(webhook_deliveries.c.message_id.in_(messages))
            connection.execute(delete(webhook_attempts).where(webhook_attempts.c.delivery_id.in_(deliveries)))
            connection.execute(delete(webhook_deliveries).where(webhook_deliveries.c.message_id.in_(messages)))
            return connection.execute(delete(webhook_messages).where(matching)).rowcount

    return try_again(forget)


def insert_webhook_messages(
    store: Store, *, messages: Sequence[WebhookMessage], deliveries: Sequence[WebhookDelivery]
) -> None:
    """Keep new messages, and those of `deliveries` that are to be made; all or nothing.

    Once this returns, not even `kill -9` loses them. A message that is kept already (a replay) is left out of
    `messages`.
    """
    store.append(
        "keeping messages of webhooks",
        (webhook_messages, [_message_row(message) for message in messages]),
        (webhook_deliveries, [_delivery_row(delivery) for delivery in deliveries]),
    )


def select_known_message_ids(store: Store, *, message_ids: Sequence[UUID], reader: Reader) -> set[UUID]:
    """Those of `message_ids` that are kept."""
    query = select(webhook_messages.c.id).where(webhook_messages.c.id.in_(message_ids), owned(reader, webhook_messages))
    with store.transaction("looking for messages of webhooks") as connection:
        return set(connection.execute(query).scalars())


def insert_webhook_attempt(store: Store, *, delivery: WebhookDelivery, attempt: WebhookAttempt) -> None:
    """Append an attempt to the ledger."""
    row = {
        "delivery_id": delivery.id,
        "owner_id": delivery.owner_id,
        "number": attempt.number,
        "happened_at": attempt.happened_at,
        "outcome": attempt.outcome.value,
        "status": attempt.status,
        "duration_ms": attempt.duration_ms,
        "problem": attempt.problem,
        "next_at": attempt.next_at,
    }
    store.append("keeping an attempt of a webhook", (webhook_attempts, [row]))


def select_webhook_delivery(store: Store, *, delivery_id: UUID, reader: Reader) -> WebhookDelivery | None:
    """The delivery with this id and its attempts, if it is the reader's."""
    with store.transaction("reading a delivery of a webhook") as connection:
        row = connection.execute(_deliveries(reader).where(webhook_deliveries.c.id == delivery_id)).one_or_none()
    return None if row is None else _with_attempts(store, [row], reader)[0]


def select_webhook_deliveries(
    store: Store,
    *,
    endpoint_id: UUID,
    reader: Reader,
    state: DeliveryState | None = None,
    limit: int = 50,
    before: UUID | None = None,
) -> list[WebhookDelivery]:
    """Deliveries to an endpoint, newest first, with their attempts; `before` is the last one of the page before.

    Raises
    ------
    InvalidParameterError
        `limit` is not within 1 to 1000.
    """
    if not 1 <= limit <= MAX_ROWS:
        raise InvalidParameterError("limit", str(limit), f"a whole number from 1 to {MAX_ROWS}")
    query = _deliveries(reader).where(webhook_deliveries.c.endpoint_id == endpoint_id)
    if before is not None:
        query = query.where(webhook_deliveries.c.id < before)
    if state is not None:
        last = _last_attempts()
        conditions = {
            DeliveryState.WAITING: or_(last.c.outcome.is_(None), last.c.outcome == AttemptOutcome.POSTPONED),
            DeliveryState.TAKEN: last.c.outcome == AttemptOutcome.TAKEN,
            DeliveryState.FAILED: last.c.outcome.not_in([AttemptOutcome.TAKEN, AttemptOutcome.POSTPONED]),
        }
        query = query.outerjoin(last, last.c.delivery_id == webhook_deliveries.c.id).where(conditions[state])
    with store.transaction("reading deliveries of a webhook") as connection:
        rows = connection.execute(query.order_by(webhook_deliveries.c.id.desc()).limit(limit)).all()
    return _with_attempts(store, rows, reader)


def select_unfinished_deliveries(store: Store, *, reader: Reader) -> list[Unfinished]:
    """All deliveries that are not over, oldest first."""
    last = _last_attempts()
    columns = (webhook_deliveries.c.id, webhook_deliveries.c.owner_id, last.c.number, last.c.next_at)
    query = _unfinished(select(*columns), last, reader).order_by(webhook_deliveries.c.id)
    with store.transaction("reading deliveries of webhooks that wait") as connection:
        rows = connection.execute(query).all()
    return [
        Unfinished(delivery_id=row.id, owner_id=row.owner_id, n_attempts=row.number or 0, next_at=row.next_at)
        for row in rows
    ]


def count_waiting_deliveries(store: Store, *, reader: Reader) -> WaitingDeliveries:
    """How many deliveries are not over, and since when the oldest of them is due."""
    last = _last_attempts()
    due_at = func.min(func.coalesce(last.c.next_at, webhook_deliveries.c.created_at))
    query = _unfinished(select(func.count(), type_coerce(due_at, UtcDateTime)), last, reader)
    with store.transaction("counting deliveries of webhooks that wait") as connection:
        n_waiting, oldest_due_at = connection.execute(query).one()
    return WaitingDeliveries(n_waiting=n_waiting, oldest_due_at=oldest_due_at)


def _unfinished(query: Any, last: Any, reader: Reader) -> Any:
    is_open = or_(last.c.outcome.is_(None), last.c.outcome == AttemptOutcome.POSTPONED)
    joined = query.select_from(webhook_deliveries).outerjoin(last, last.c.delivery_id == webhook_deliveries.c.id)
    return joined.where(owned(reader, webhook_deliveries), is_open)


_ENDPOINT_COLUMNS = [column for column in webhook_endpoints.columns if column.name not in {"secret", "previous_secret"}]


def _last_attempts() -> Any:
    """The last attempt of each delivery that has any."""
    newest = (
        select(webhook_attempts.c.delivery_id, func.max(webhook_attempts.c.number).label("number"))
        .group_by(webhook_attempts.c.delivery_id)
        .subquery()
    )
    same = and_(webhook_attempts.c.delivery_id == newest.c.delivery_id, webhook_attempts.c.number == newest.c.number)
    columns = webhook_attempts.c
    return (
        select(columns.delivery_id, columns.number, columns.outcome, columns.next_at)
        .join(newest, same)
        .subquery("last_attempts")
    )


def _deliveries(reader: Reader) -> Select[Any]:
    messages = webhook_messages.c
    return (
        select(
            webhook_deliveries,
            messages.event_type,
            messages.about_id,
            messages.created_at.label("message_created_at"),
            messages.body,
        )
        .join(webhook_messages, messages.id == webhook_deliveries.c.message_id)
        .where(owned(reader, webhook_deliveries))
    )


def _with_attempts(store: Store, rows: Sequence[Row[Any]], reader: Reader) -> list[WebhookDelivery]:
    query = (
        select(webhook_attempts)
        .where(webhook_attempts.c.delivery_id.in_([row.id for row in rows]), owned(reader, webhook_attempts))
        .order_by(webhook_attempts.c.number)
    )
    attempts: dict[UUID, list[WebhookAttempt]] = {}
    if rows:
        with store.transaction("reading attempts of webhooks") as connection:
            for found in connection.execute(query):
                attempts.setdefault(found.delivery_id, []).append(_attempt(found))
    return [_delivery(row, attempts.get(row.id, ())) for row in rows]


def _endpoint_row(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "owner_id": endpoint.owner_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": ",".join(sorted(endpoint.event_types)),
        "created_at": endpoint.created_at,
        "previous_secret_until": endpoint.previous_secret_until,
        "disabled_at": endpoint.disabled_at,
        "disabled_because": endpoint.disabled_because,
    }


def _endpoint(row: Row[Any]) -> WebhookEndpoint:
    values = dict(row._mapping)
    event_types = frozenset(name for name in values.pop("event_types").split(",") if name)
    return WebhookEndpoint(**values, event_types=event_types)


def _message_row(message: WebhookMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "owner_id": message.owner_id,
        "event_type": message.event_type,
        "about_id": message.about_id,
        "created_at": message.created_at,
        "body": message.body,
    }


def _delivery_row(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "owner_id": delivery.owner_id,
        "endpoint_id": delivery.endpoint_id,
        "message_id": delivery.message.id,
        "is_replay": delivery.is_replay,
        "created_at": delivery.created_at,
    }


def _delivery(row: Row[Any], attempts: Sequence[WebhookAttempt]) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id,
        owner_id=row.owner_id,
        endpoint_id=row.endpoint_id,
        message=WebhookMessage(
            id=row.message_id,
            owner_id=row.owner_id,
            event_type=row.event_type,
            about_id=row.about_id,
            created_at=row.message_created_at,
            body=row.body,
        ),
        is_replay=row.is_replay,
        created_at=row.created_at,
        attempts=tuple(attempts),
    )


def _attempt(row: Row[Any]) -> WebhookAttempt:
    return WebhookAttempt(
        number=row.number,
        happened_at=row.happened_at,
        outcome=AttemptOutcome(row.outcome),
        status=row.status,
        duration_ms=row.duration_ms,
        problem=row.problem,
        next_at=row.next_at,
    )
