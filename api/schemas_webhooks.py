"""What the API takes and sends about webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Shape
from core.domain import AttemptOutcome, DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from core.webhooks.sending import MAX_URL
from core.webhooks.webhooks import MAX_DESCRIPTION

MAX_TYPES = 50
_TYPES = "Types of the catalogue; none means all."


class WebhookRequest(BaseModel):
    """The webhook wanted."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=MAX_URL, examples=["https://hooks.example.org/telepathy"])
    event_types: list[str] = Field(
        default=[], max_length=MAX_TYPES, description=_TYPES, examples=[["prediction.created"]]
    )
    description: str = Field(default="", max_length=MAX_DESCRIPTION)


class WebhookChange(BaseModel):
    """What is to be different; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(default=None, max_length=MAX_URL)
    event_types: list[str] | None = Field(default=None, max_length=MAX_TYPES, description=_TYPES)
    description: str | None = Field(default=None, max_length=MAX_DESCRIPTION)
    is_active: bool | None = Field(default=None, description="False switches it off, true on again.")


class SecretRotation(BaseModel):
    """How to take over from a secret."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: float = Field(
        default=24.0, ge=0, le=24 * 90, description="How long the old secret signs beside the new one."
    )


class WebhookShape(Shape):
    """A webhook: never its secret."""

    id: UUID
    url: str
    event_types: list[str] = Field(description=_TYPES)
    description: str
    is_active: bool
    disabled_at: datetime | None
    disabled_because: str = Field(description="Why it is switched off; empty while it is on.")
    previous_secret_until: datetime | None = Field(description="How long the secret before this one signs too.")
    created_at: datetime

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> Self:
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            event_types=sorted(endpoint.event_types),
            description=endpoint.description,
            is_active=endpoint.disabled_at is None,
            disabled_at=endpoint.disabled_at,
            disabled_because=endpoint.disabled_because,
            previous_secret_until=endpoint.previous_secret_until,
            created_at=endpoint.created_at,
        )


class NewWebhookShape(Shape):
    """A webhook and its secret, shown this once."""

    secret: str = Field(description="Signatures are checked with it. It is not shown again: store it now.")
    webhook: WebhookShape


class WebhookListShape(Shape):
    """Webhooks, oldest first."""

    items: list[WebhookShape]


class AttemptShape(Shape):
    """One attempt to deliver."""

    number: int
    happened_at: datetime
    outcome: AttemptOutcome
    status: int | None = Field(description="What the receiver answered; null when it did not.")
    duration_ms: float | None
    problem: str = Field(description="A sentence; empty when it was taken.")
    next_at: datetime | None = Field(description="When it is tried again.")

    @classmethod
    def of(cls, attempt: WebhookAttempt) -> Self:
        return cls(
            number=attempt.number,
            happened_at=attempt.happened_at,
            outcome=attempt.outcome,
            status=attempt.status,
            duration_ms=attempt.duration_ms,
            problem=attempt.problem,
            next_at=attempt.next_at,
        )


class DeliveryShape(Shape):
    """A message on its way to a webhook."""

    id: UUID
    webhook_id: UUID
    message_id: str = Field(description="The header `webhook-id`: the same however often it is sent.")
    event_type: str
    is_replay: bool
    state: DeliveryState
    created_at: datetime
    body: str = Field(description="What is sent, exactly as it is signed.")
    attempts: list[AttemptShape]

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> Self:
        return cls(
            id=delivery.id,
            webhook_id=delivery.endpoint_id,
            message_id=delivery.message.sent_id,
            event_type=delivery.message.event_type,
            is_replay=delivery.is_replay,
            state=delivery.state,
            created_at=delivery.created_at,
            body=delivery.message.body,
            attempts=[AttemptShape.of(attempt) for attempt in delivery.attempts],
        )


class DeliveryListShape(Shape):
    """Deliveries, newest first."""

    items: list[DeliveryShape]
    next_before: UUID | None = Field(description="Give it as `before` for the next page; null when nothing follows.")

    @classmethod
    def of(cls, deliveries: Sequence[WebhookDelivery], *, limit: int) -> Self:
        shown = deliveries[:limit]
        return cls(
            items=[DeliveryShape.of(delivery) for delivery in shown],
            next_before=shown[-1].id if len(deliveries) > limit else None,
        )
