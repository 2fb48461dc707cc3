"""Webhooks: one's own, and no others, for admins too."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import Asking, OpenWorkbench
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas_webhooks import (
    DeliveryListShape,
    DeliveryShape,
    NewWebhookShape,
    SecretRotation,
    WebhookChange,
    WebhookListShape,
    WebhookRequest,
    WebhookShape,
)
from api.uploads import json_schema, received_json
from core.domain import DeliveryState

router = APIRouter(prefix="/api/v1", tags=["webhooks"], route_class=OnceRoute)

MAX_PAGE = 200


@router.get("/webhooks", summary="List webhooks", responses=refusals(401, 403, 503))
def list_webhooks(caller: Asking, workbench: OpenWorkbench) -> WebhookListShape:
    """One's own, oldest first."""
    return WebhookListShape(items=[WebhookShape.of(each) for each in workbench.webhooks.endpoints(caller.user.id)])


@router.post(
    "/webhooks",
    status_code=201,
    summary="Make a webhook",
    responses=refusals(400, 401, 403, 408, 413, 415, 422, 503),
    openapi_extra=json_schema(WebhookRequest),
)
async def create_webhook(request: Request, caller: Asking, workbench: OpenWorkbench) -> NewWebhookShape:
    """The answer is the only place where the secret ever stands. The address is looked up: it has to lead to the
    public internet, or to a network of `allowed_networks`.
    """
    asked = await received_json(request, WebhookRequest, stall_s=workbench.settings.upload_stall_s)
    endpoint, secret = await run_in_threadpool(
        workbench.webhooks.create,
        by=caller,
        url=asked.url,
        event_types=asked.event_types,
        description=asked.description,
    )
    return NewWebhookShape(secret=secret, webhook=WebhookShape.of(endpoint))


@router.get("/webhooks/{webhook_id}", summary="Read a webhook", responses=refusals(401, 403, 404, 422, 503))
def read_webhook(webhook_id: UUID, caller: Asking, workbench: OpenWorkbench) -> WebhookShape:
    """Where it goes, what it is told of, and whether it is on."""
    return WebhookShape.of(workbench.webhooks.endpoint(webhook_id, owner_id=caller.user.id))


@router.patch(
    "/webhooks/{webhook_id}",
    summary="Change a webhook",
    responses=refusals(400, 401, 403, 404, 408, 413, 415, 422, 503),
    openapi_extra=json_schema(WebhookChange),
)
async def change_webhook(webhook_id: UUID, request: Request, caller: Asking, workbench: OpenWorkbench) -> WebhookShape:
    """Only what is sent changes. `is_active: true` switches one on again that had answered 410."""
    asked = await received_json(request, WebhookChange, stall_s=workbench.settings.upload_stall_s)
    changed = await run_in_threadpool(workbench.webhooks.change, webhook_id, by=caller, **asked.model_dump())
    return WebhookShape.of(changed)


@router.delete(
    "/webhooks/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    response_class=Response,
    responses=refusals(401, 403, 404, 422, 503),
)
def delete_webhook(webhook_id: UUID, caller: Asking, workbench: OpenWorkbench) -> Response:
    """With its log. What waits for it is not sent."""
    workbench.webhooks.delete(webhook_id, by=caller)
    return Response(status_code=204)


@router.post(
    "/webhooks/{webhook_id}/rotate",
    status_code=201,
    summary="Replace a webhook's secret",
    responses=refusals(400, 401, 403, 404, 408, 413, 415, 422, 503),
    openapi_extra=json_schema(SecretRotation, is_required=False),
)
async def rotate_secret(
    webhook_id: UUID, request: Request, caller: Asking, workbench: OpenWorkbench
) -> NewWebhookShape:
    """A new secret, shown this once. For a while messages carry a signature by each, so that receivers can change."""
    asked = SecretRotation()
    if request.headers.get("content-type") is not None:
        asked = await received_json(request, SecretRotation, stall_s=workbench.settings.upload_stall_s)
    endpoint, secret = await run_in_threadpool(
        workbench.webhooks.rotate, webhook_id, by=caller, overlap=timedelta(hours=asked.overlap_hours)
    )
    return NewWebhookShape(secret=secret, webhook=WebhookShape.of(endpoint))


@router.post(
    "/webhooks/{webhook_id}/test",
    status_code=202,
    summary="Try a webhook out",
    responses=refusals(401, 403, 404, 422, 503),
)
def test_webhook(webhook_id: UUID, caller: Asking, workbench: OpenWorkbench) -> DeliveryShape:
    """Sends `webhook.test` once, in the background; its deliveries tell what became of it."""
    return DeliveryShape.of(workbench.webhooks.test(webhook_id, owner_id=caller.user.id))


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    summary="List deliveries",
    responses=refusals(401, 403, 404, 422, 503),
)
def list_deliveries(
    webhook_id: UUID,
    caller: Asking,
    workbench: OpenWorkbench,
    state: DeliveryState | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    before: UUID | None = None,
) -> DeliveryListShape:
    """What was sent to a webhook or waits for it, newest first, with every attempt."""
    found = workbench.webhooks.deliveries(
        webhook_id, owner_id=caller.user.id, state=state, limit=limit + 1, before=before
    )
    return DeliveryListShape.of(found, limit=limit)


@router.post(
    "/webhook-deliveries/{delivery_id}/replay",
    status_code=202,
    summary="Send a message once more",
    responses=refusals(401, 403, 404, 422, 503),
)
def replay_delivery(delivery_id: UUID, caller: Asking, workbench: OpenWorkbench) -> DeliveryShape:
    """Under the id it had: a receiver that took it before knows it again."""
    return DeliveryShape.of(workbench.webhooks.replay(delivery_id, owner_id=caller.user.id))
