"""Health: whether the process lives, whether it can work, and how it fares."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import OpenWorkbench
from api.errors import NOT_READY, problem, problem_response
from api.metrics import CONTENT_TYPE, Metrics
from api.routes_predictions import PROBLEM_REFERENCE
from api.schemas import HealthShape, ReadinessCheck, ReadinessShape
from core import __version__
from core.errors import TelepathyError

router = APIRouter(tags=["health"])

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
    "/readyz", summary="Whether the process can work", response_model=ReadinessShape, responses=NOT_READY_ANSWER
)
async def readiness(request: Request, workbench: OpenWorkbench) -> ReadinessShape | Response:
    """Looks at model, store and disk: send work elsewhere while this fails."""
    checks = [
        ReadinessCheck(name=check.name, ok=check.ok, sentence=check.sentence)
        for check in await run_in_threadpool(workbench.readiness)
    ]
    failed = [check.sentence for check in checks if not check.ok]
    if not failed:
        return ReadinessShape(status="ready", checks=checks)
    body = problem(NOT_READY, " ".join(failed), instance=request.scope["path"])
    return problem_response(request, body.model_copy(update={"checks": checks}))


@router.get("/metrics", summary="Metrics, in Prometheus' text format", response_class=Response)
async def read_metrics(request: Request) -> Response:
    """Requests, predictions, stages of inference, queue, memory."""
    metrics: Metrics = request.app.state.metrics
    try:
        workbench = request.app.state.get_workbench()
    except TelepathyError:
        workbench = None
    return Response(metrics.render(workbench), media_type=CONTENT_TYPE)
