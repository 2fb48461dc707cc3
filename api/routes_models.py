"""Models: which can answer, what each says of itself, and which one answers whoever names none."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.access import Asking, OpenWorkbench
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas_models import DeployRequest, ModelListShape, ModelShape, StandingShape
from api.uploads import json_schema, received_json
from core.domain import PROCESS
from core.inference.model_scores import read_model_scores
from core.models.versions import card_json
from core.store.training_uses import count_deleted_training_recordings

router = APIRouter(prefix="/api/v1", tags=["models"], route_class=OnceRoute)


@router.get("/models", summary="List models", responses=refusals(503))
def read_models(workbench: OpenWorkbench) -> ModelListShape:
    """Every model version, by name: its terms of use, its scores by protocol, and whether it answers."""
    versions, _ = workbench.models.list_versions()
    deleted = count_deleted_training_recordings(workbench.store, reader=PROCESS)
    return ModelListShape(
        items=[
            ModelShape.of(
                version,
                standing=workbench.models.standing,
                scores=read_model_scores(version.folder).scores,
                n_deleted_training_recordings=deleted.get(version.card.version, 0),
            )
            for version in sorted(versions, key=lambda version: version.card.name)
        ]
    )


@router.get(
    "/models/{name}/card",
    summary="Read a model's card",
    response_class=JSONResponse,
    responses=refusals(401, 404, 422, 503),
)
def read_card(name: str, workbench: OpenWorkbench) -> Response:
    """The whole card as it is kept: data, settings, every score by group, caveats. Its fields depend on how a model
    was made."""
    return Response(card_json(workbench.models.version(name)), media_type="application/json")


@router.post(
    "/models/{name}/deploy",
    summary="Deploy a model",
    responses=refusals(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=json_schema(DeployRequest, is_required=False),
)
async def deploy(name: str, request: Request, caller: Asking, workbench: OpenWorkbench) -> StandingShape:
    """Have a model answer whoever names none. Nobody waits for it: calls under way end with the model before.

    The gate has to let it pass: not worse on the test speakers, better on the corrections, compared with the model
    that is deployed. Otherwise `reason` says why it is deployed all the same.
    """
    asked = DeployRequest(reason="")
    if request.headers.get("content-type") is not None:
        asked = await received_json(request, DeployRequest, stall_s=workbench.settings.upload_stall_s)
    await run_in_threadpool(workbench.models.deploy, name, by=caller, reason=asked.reason)
    return StandingShape.of(workbench.models.standing)


@router.post("/models/rollback", summary="Roll back", responses=refusals(401, 403, 404, 409, 503))
def roll_back(caller: Asking, workbench: OpenWorkbench) -> StandingShape:
    """Have the model answer that did before the deployed one."""
    workbench.models.roll_back(by=caller)
    return StandingShape.of(workbench.models.standing)


@router.post("/models/{name}/shadow", summary="Start a shadow", responses=refusals(401, 403, 404, 422, 503))
def start_shadow(name: str, caller: Asking, workbench: OpenWorkbench) -> StandingShape:
    """Have a model judge live traffic silently, instead of any other in the shadow."""
    workbench.models.start_shadow(name, by=caller)
    return StandingShape.of(workbench.models.standing)


@router.delete("/models/shadow", summary="End the shadow", responses=refusals(401, 403, 503))
def end_shadow(caller: Asking, workbench: OpenWorkbench) -> StandingShape:
    """Have no model listen. What was said is kept."""
    workbench.models.end_shadow(by=caller)
    return StandingShape.of(workbench.models.standing)
