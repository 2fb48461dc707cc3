"""Health: whether the process lives, whether it can work, and how it fares."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import OpenWorkbench, find_caller, workbench_of
from api.errors import NOT_READY, problem, problem_response
from api.metrics import CONTENT_TYPE, Metrics
from api.routes_predictions import PROBLEM_REFERENCE
from api.schemas import HealthShape, ReadinessCheck, ReadinessShape
from core import __version__
from core.access.roles import is_admin
from core.config import Settings
from core.errors import ForbiddenError, InvalidCredentialsError, TelepathyError

router = APIRouter(tags=["health"])

PROBLEM_CONTENT: dict[str, Any] = {"application/problem+json": {"schema": PROBLEM_REFERENCE}}

log = structlog.get_logger(__name__)

NOT_READY_ANSWER: dict[int | str, dict[str, Any]] = {
    503: {
        "description": "Something is missing; `checks` tells what.",
        "content": PROBLEM_CONTENT,
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
    is_told_all = caller is not None and is_admin(caller)
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


@router.get(
    "/metrics",
    summary="Metrics, in Prometheus' text format",
    response_class=Response,
    responses={
        401: {"description": "Not the token of the setting `metrics_token`.", "content": PROBLEM_CONTENT},
        403: {"description": "Without that setting, only this machine may read them.", "content": PROBLEM_CONTENT},
    },
)
async def read_metrics(request: Request) -> Response:
    """Requests, refusals, predictions, stages of inference, queue, alerts, memory, disk.

    With the setting `metrics_token`, for whoever sends it as `Authorization: Bearer`; without, for programs on the
    same machine, as long as no setting says that a proxy there passes on what others ask.
    """
    metrics: Metrics = request.app.state.metrics
    try:
        workbench = workbench_of(request)
    except TelepathyError:
        workbench = None
    require_metrics_reader(request, None if workbench is None else workbench.settings)
    return Response(await run_in_threadpool(metrics.render, workbench), media_type=CONTENT_TYPE)


def require_metrics_reader(request: Request, settings: Settings | None) -> None:
    """Raises InvalidCredentialsError or ForbiddenError unless `request` may read the metrics."""
    if settings is not None and settings.metrics_token:
        sent = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(sent, f"Bearer {settings.metrics_token}".encode()):
            raise InvalidCredentialsError(
                "The metrics want the setting `metrics_token` as `Authorization: Bearer`; this is not it."
            )
    elif settings is not None and _may_stand_behind_a_proxy(settings):
        raise ForbiddenError(
            "What a proxy passes on looks as if it came from this machine, and the settings say that one may stand in "
            "front. Set `metrics_token` and send it as `Authorization: Bearer` to read the metrics."
        )
    elif not _is_from_this_machine(request):
        raise ForbiddenError(
            "The metrics can be read from this machine only, by its address localhost. Set `metrics_token` and send it "
            "as `Authorization: Bearer` to read them from elsewhere."
        )


def _may_stand_behind_a_proxy(settings: Settings) -> bool:
    """Whether others come by an address that is not this machine's own: many a proxy says nothing of whom it serves."""
    is_local = not settings.public_url or _is_own_name(_host_of(settings.public_url))
    return settings.trusted_proxies > 0 or not is_local


def _is_from_this_machine(request: Request) -> bool:
    """Whether the other end of the connection is, and asks by a name of this machine.

    What a proxy beside us passes on says so, or names the host that it was asked for; and a page that a browser here
    was led to by a name that changed its address (DNS rebinding) sends that name.
    """
    if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via")):
        return False
    peer = request.client.host if request.client else ""
    return _is_loopback(peer) and _is_own_name(_host_of("//" + request.headers.get("host", "")))


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_own_name(host: str) -> bool:
    return host.lower().rstrip(".") == "localhost" or _is_loopback(host)


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
