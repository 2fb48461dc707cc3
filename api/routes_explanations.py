"""Explanations: which times and bands of a recording spoke for an emotion."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from api.access import Asking, OpenWorkbench
from api.labels import AskedLabel
from api.limits import body_cap_mb
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas import ExplanationShape
from api.uploads import form_schema, received_file
from api.usage import usage_of
from core.domain import Caller
from core.usage import Use
from core.workbench import Workbench

router = APIRouter(prefix="/api/v1", tags=["explanations"], route_class=OnceRoute)


class ExplainParameters(BaseModel):
    """What to explain; by query or as fields of the form. What is left out follows the model and the settings."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    emotion: AskedLabel | None = Field(default=None, description="Left out: the most probable one.")
    contrast: AskedLabel | None = Field(
        default=None, description="Why the emotion and not this one. Left out: and not any other."
    )
    model: str | None = Field(default=None, max_length=100, description="Name of the model; see `GET /api/v1/models`.")
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1, description="The same seed gives the same values.")
    start_s: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Explain the window that starts here.",
    )
    reference: str | None = Field(
        default=None,
        max_length=200,
        description="Voices that this voice is compared with, such as `neutral speech of women in CREMA-D`. "
        "Left out: neutral speech in CREMA-D.",
    )


@router.post(
    "/explain",
    summary="Say which parts of a recording spoke for an emotion",
    response_description="A SHAP value for each stretch of time and band of frequency, and what the voice does there.",
    responses=refusals(400, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=form_schema(ExplainParameters, "file", is_list=False),
)
async def explain(
    request: Request, workbench: OpenWorkbench, caller: Asking, query: Annotated[ExplainParameters, Query()]
) -> ExplanationShape:
    """Decodes the recording as predict does and asks the model about it many times. Nothing is stored.

    The first explanation of a process takes some seconds longer: its library is loaded only then.
    """
    settings = workbench.settings
    max_mb = body_cap_mb(request, settings.max_upload_mb)
    async with received_file(request, query, max_mb=max_mb, stall_s=settings.upload_stall_s) as (file, parameters):
        data = await file.read()
    future = workbench.executor.submit(
        partial(_explained, workbench, data, parameters, caller, usage_of(request.scope))
    )
    return await asyncio.wrap_future(future)


def _explained(
    workbench: Workbench, data: bytes, parameters: ExplainParameters, caller: Caller, use: Use
) -> ExplanationShape:
    attribution = workbench.explain(
        data,
        emotion=parameters.emotion,
        contrast=parameters.contrast,
        model=parameters.model,
        shown_to=caller.reader,
        seed=parameters.seed,
        start_s=parameters.start_s,
    )
    use.add_attribution(attribution)
    voice = workbench.explain_voice(data, attribution, model=parameters.model, reference=parameters.reference)
    return ExplanationShape.of_recording(attribution, voice)
