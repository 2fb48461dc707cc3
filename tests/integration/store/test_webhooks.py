"""Webhooks in the store, on each database: whose they are, how deliveries stand, what goes with what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.domain import (
    PROCESS,
    AttemptOutcome,
    DeliveryState,
    Reader,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookMessage,
)
from core.errors import InvalidParameterError, StoreError
from core.identifiers import new_id
from core.store.schema import webhook_attempts, webhook_deliveries, webhook_messages
from core.store.webhooks import (
    SealedSecrets,
    WaitingDeliveries,
    count_waiting_deliveries,
    delete_webhook_endpoint,
    delete_webhook_messages,
    insert_webhook_attempt,
    insert_webhook_endpoint,
    insert_webhook_messages,
    select_known_message_ids,
    select_unfinished_deliveries,
    select_webhook_deliveries,
    select_webhook_delivery,
    select_webhook_endpoint,
    select_webhook_endpoints,
    select_webhook_secrets,
    update_webhook_endpoint,
    update_webhook_secrets,
)

ANNA, BORIS = Reader(user_id=new_id()), Reader(user_id=new_id())
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def kept_endpoint(store) -> WebhookEndpoint:
    endpoint = WebhookEndpoint(
        id=new_id(),
        owner_id=ANNA.user_id,
        url="https://hooks.example.org/Größe",
        description="archive",
        event_types=frozenset({"batch.failed", "prediction.created"}),
        created_at=NOW,
    )
    return insert_webhook_endpoint(store, endpoint=endpoint, sealed_secret="t1.sealed")


def kept_delivery(store, endpoint, *outcomes: AttemptOutcome, message=None, **given) -> WebhookDelivery:
    """A delivery whose attempts ended so; with a new message, unless one is given that is kept."""
    new = message or WebhookMessage(
        **{
            "id": new_id(),
            "owner_id": ANNA.user_id,
            "event_type": "prediction.created",
            "about_id": None,
            "created_at": NOW,
            "body": '{"type":"prediction.created"}',
        }
        | given
    )
    delivery = WebhookDelivery(
        id=new_id(),
        owner_id=ANNA.user_id,
        endpoint_id=endpoint.id,
        message=new,
        is_replay=message is not None,
        created_at=NOW,
        attempts=tuple(
            WebhookAttempt(
                number=number,
                happened_at=NOW,
                outcome=outcome,
                status=500,
                duration_ms=1.5,
                problem="It answered 500, and not 2xx.",
                next_at=NOW + timedelta(minutes=5) if outcome is AttemptOutcome.POSTPONED else None,
            )
            for number, outcome in enumerate(outcomes, start=1)
        ),
    )
    insert_webhook_messages(store, messages=[] if message else [new], deliveries=[delivery])
    for attempt in delivery.attempts:
        insert_webhook_attempt(store, delivery=delivery, attempt=attempt)
    return delivery


def n_rows(store) -> list[int]:
    with store.transaction("looking") as connection:
        tables = (webhook_messages, webhook_deliveries, webhook_attempts)
        return [len(connection.execute(table.select()).all()) for table in tables]


def test_endpoint_is_its_owners(store):
    endpoint = kept_endpoint(store)
    assert select_webhook_endpoints(store, reader=ANNA) == [endpoint]
    assert select_webhook_endpoint(store, endpoint_id=endpoint.id, reader=PROCESS) == endpoint
    changed = WebhookEndpoint(
        id=endpoint.id,
        owner_id=endpoint.owner_id,
        url="https://other.example.org/",
        description="",
        event_types=frozenset(),
        created_at=NOW,
        disabled_at=NOW,
        disabled_because="It answered 410.",
    )
    sealed = SealedSecrets(secret="t1.new", previous_secret="t1.sealed", previous_secret_until=NOW)
    assert select_webhook_endpoints(store, reader=BORIS) == []
    assert select_webhook_secrets(store, endpoint_id=endpoint.id, reader=BORIS) is None
    assert not update_webhook_endpoint(store, endpoint=changed, reader=BORIS)
    assert not update_webhook_secrets(store, endpoint_id=endpoint.id, sealed=sealed, reader=BORIS)
    assert not delete_webhook_endpoint(store, endpoint_id=endpoint.id, reader=BORIS)
    assert select_webhook_endpoints(store, reader=ANNA) == [endpoint]
    assert update_webhook_endpoint(store, endpoint=changed, reader=ANNA)
    assert select_webhook_endpoints(store, reader=ANNA) == [changed]
    assert update_webhook_secrets(store, endpoint_id=endpoint.id, sealed=sealed, reader=ANNA)
    assert select_webhook_secrets(store, endpoint_id=endpoint.id, reader=ANNA) == sealed


def test_deliveries_stand_as_their_last_attempt_says(store):
    endpoint = kept_endpoint(store)
    new = kept_delivery(store, endpoint)
    postponed = kept_delivery(store, endpoint, *[AttemptOutcome.POSTPONED] * 2)
    taken = kept_delivery(store, endpoint, AttemptOutcome.POSTPONED, AttemptOutcome.TAKEN)
    given_up = kept_delivery(store, endpoint, AttemptOutcome.GIVEN_UP)
    dropped = kept_delivery(store, endpoint, AttemptOutcome.DROPPED)

    def ids(**given) -> list:
        return [each.id for each in select_webhook_deliveries(store, endpoint_id=endpoint.id, reader=ANNA, **given)]

    assert select_webhook_deliveries(store, endpoint_id=endpoint.id, reader=ANNA) == [
        dropped,
        given_up,
        taken,
        postponed,
        new,
    ]
    assert ids(state=DeliveryState.WAITING) == [postponed.id, new.id]
    assert ids(state=DeliveryState.TAKEN) == [taken.id]
    assert ids(state=DeliveryState.FAILED) == [dropped.id, given_up.id]
    assert ids(limit=2) == [dropped.id, given_up.id]
    assert ids(before=given_up.id) == [taken.id, postponed.id, new.id]
    with pytest.raises(InvalidParameterError):
        ids(limit=0)
    assert [(each.delivery_id, each.n_attempts) for each in select_unfinished_deliveries(store, reader=PROCESS)] == [
        (new.id, 0),
        (postponed.id, 2),
    ]
    assert select_unfinished_deliveries(store, reader=BORIS) == []
    assert count_waiting_deliveries(store, reader=PROCESS) == WaitingDeliveries(n_waiting=2, oldest_due_at=NOW)
    assert count_waiting_deliveries(store, reader=BORIS) == WaitingDeliveries(n_waiting=0, oldest_due_at=None)
    assert select_webhook_delivery(store, delivery_id=taken.id, reader=ANNA) == taken
    assert select_webhook_delivery(store, delivery_id=taken.id, reader=BORIS) is None
    assert select_webhook_deliveries(store, endpoint_id=endpoint.id, reader=BORIS) == []
    with pytest.raises(StoreError):
        insert_webhook_attempt(store, delivery=taken, attempt=taken.attempts[0])


def test_what_belongs_together_is_deleted_together(store):
    first, second = kept_endpoint(store), kept_endpoint(store)
    recording_id = new_id()
    about = kept_delivery(store, first, AttemptOutcome.TAKEN, about_id=recording_id)
    kept_delivery(store, second, AttemptOutcome.TAKEN, message=about.message)
    kept_delivery(store, first, AttemptOutcome.TAKEN)
    old = kept_delivery(store, second, AttemptOutcome.GIVEN_UP, created_at=NOW - timedelta(days=40))
    shared = kept_delivery(store, first)
    kept_delivery(store, second, message=shared.message)
    assert n_rows(store) == [4, 6, 4]
    assert select_known_message_ids(store, message_ids=[old.message.id, new_id()], reader=PROCESS) == {old.message.id}
    assert delete_webhook_messages(store, about_id=recording_id, reader=BORIS) == 0
    assert delete_webhook_messages(store, about_id=recording_id, reader=PROCESS) == 1
    assert n_rows(store) == [3, 4, 2]
    assert delete_webhook_messages(store, created_before=NOW - timedelta(days=30), reader=PROCESS) == 1
    assert n_rows(store) == [2, 3, 1]
    assert delete_webhook_endpoint(store, endpoint_id=first.id, reader=ANNA)
    assert n_rows(store) == [1, 1, 0]
    assert delete_webhook_endpoint(store, endpoint_id=second.id, reader=ANNA)
    assert n_rows(store) == [0, 0, 0]
