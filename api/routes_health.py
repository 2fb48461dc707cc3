"""Health: whether the process lives, whether it can work, and how it fares."""

from __future__ import annotations

import secrets
from ipaddress import ip_address
from typing import Any

import structlog
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import OpenWorkbench, find_caller, workbench_of
from api.errors import NOT_READY, problem, problem_response
from api.metrics import CONTENT_TYPE, Metrics
from api.routes_predictions import PROBLEM_REFERENCE, refusals
from api.schemas import HealthShape, ReadinessCheck, ReadinessShape
from core import __version__
from core.domain import Caller, Role, Scope
from core.errors import InvalidCredentialsError, TelepathyError

router = APIRouter(tags=["health"])

FORWARDED = {"forwarded", "x-forwarded-for", "x-real-ip"}
"""Headers by which a proxy says that it asks for somebody else."""

log = structlog.get_logger(__name__)

NOT_READY_ANSWER: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "Something is missing; `checks` tells what.",
        "content": {"application/problem+json": {"schema": PROBLEM_REFERENCE}},
    }
}


@router.get("/api/v1/health", summary="Whether the process answers")
@router.get("/healthz", summary="Whether the process answers, for whoever restarts it")
async def health() -> HealthShape:
    """Looks at nothing but the event loop: a process that fails this wants a restart."""
    return HealthShape(status="ok", version=__version__)


@router.get(
    "/readyz",
    summary="Whether the process can work",
    response_model=ReadinessShape,
    response_model_exclude_none=True,
    responses=NOT_READY_ANSWER,
)
async def readiness(request: Request, workbench: OpenWorkbench) -> ReadinessShape | Response:
    """Looks at model, store and disk: send work elsewhere while this fails.

    Everybody learns which of them fails; why, which may name a path, admins learn and the log.
    """
    caller = await find_caller(request)
    is_told_all = caller is not None and may_read_details(caller)
    found = await run_in_threadpool(workbench.readiness)
    checks = [
        ReadinessCheck(name=check.name, ok=check.ok, sentence=check.sentence if is_told_all else None)
        for check in found
    ]
    failed = [check for check in found if not check.ok]
    if not failed:
        return ReadinessShape(status="ready", checks=checks)
    for check in failed:
        log.warning("not ready", check=check.name, reason=check.sentence)
    missing = ", ".join(check.name for check in failed)
    detail = f"Missing or failing: {missing}. The log says why, and so does this address to an admin."
    if is_told_all:
        detail = " ".join(check.sentence for check in failed)
    body = problem(NOT_READY, detail, instance=request.scope["path"])
    return problem_response(request, body.model_copy(update={"checks": checks}))


def may_read_details(caller: Caller) -> bool:
    """Whether `caller` may read what an operator reads."""
    return caller.user.role is Role.ADMIN and Scope.ADMIN in caller.scopes


@router.get("/metrics", summary="Metrics, in Prometheus' text format", response_class=Response, responses=refusals(401))
async def read_metrics(request: Request) -> Response:
    """Requests, predictions, stages of inference, queue, memory. For this machine, or with `metrics_token`."""
    metrics: Metrics = request.app.state.metrics
    try:
        workbench = workbench_of(request)
    except TelepathyError:
        workbench = None
    require_metrics_reader(request, "" if workbench is None else workbench.settings.metrics_token)
    return Response(metrics.render(workbench), media_type=CONTENT_TYPE)


def require_metrics_reader(request: Request, token: str) -> None:
    """See that `token` comes along; where there is none, that this machine asks, and not a proxy on it for others."""
    if token:
        expected = f"Bearer {token}"
        sent = request.headers.get("authorization", "")
        is_reader = secrets.compare_digest(sent.encode(), expected.encode())
    else:
        peer = request.client.host if request.client is not None else ""
        is_reader = is_loopback(peer) and not FORWARDED & set(request.headers)
    if not is_reader:
        raise InvalidCredentialsError(
            "Metrics are read from this machine, or with the setting `metrics_token` as Authorization: Bearer."
        )


def is_loopback(address: str) -> bool:
    """Whether `address` is this machine, by itself."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
