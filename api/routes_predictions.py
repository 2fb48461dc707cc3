"""Predictions: ask for one, ask for many, read those that stand in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from api.access import Asking, CallerWatch, OpenWorkbench, ReaderOf
from api.errors import kind_of, problem
from api.labels import AskedLabel
from api.limits import Parts, body_cap_mb, counted_each
from api.once import OnceRoute
from api.schemas import (
    BatchProblem,
    BatchResult,
    BatchShape,
    PredictionPageShape,
    PredictionRowShape,
    PredictionShape,
    Problem,
)
from api.uploads import form_schema, merged, name_of, received_file, received_form
from api.usage import usage_of
from core.domain import Caller, Source
from core.errors import AccessError, BusyError, InvalidParameterError, TelepathyError
from core.store.predictions import PredictionFilter, PredictionOrder, find_prediction, select_predictions
from core.workbench import Analysis, Workbench

router = APIRouter(prefix="/api/v1", tags=["predictions"], route_class=OnceRoute)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("within the years 1 to 9999 of UTC") from error


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
"""PostgreSQL keeps no NUL characters in texts, so none can be looked for."""


class PredictParameters(BaseModel):
    """How to answer; by query or as fields of the form. What is left out follows the settings."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    n_passes: int | None = Field(default=None, ge=2, le=500, description="Stochastic forward passes behind the answer.")
    timeline: bool | None = Field(
        default=None, description="Whether to send segments. Left out: for recordings longer than one window."
    )
    model: str | None = Field(default=None, max_length=100, description="Name of the model; see `GET /api/v1/models`.")
    project: UUID | None = Field(
        default=None, description="The project that shares the recording. Left out: it is yours alone."
    )
    consent: bool | None = Field(
        default=None,
        description="Whether whoever speaks has agreed to being recorded for this purpose. Needed once for each "
        "project, and once for recordings outside projects.",
    )


class PredictionQuery(BaseModel):
    """Which predictions, in which order. What is left out does not restrict."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    emotion: list[AskedLabel] = Field(default=[], description="Any of these on top; repeat the parameter for several.")
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    max_confidence: float | None = Field(default=None, ge=0, le=1)
    min_entropy: float | None = Field(default=None, ge=0, description="Predictive entropy, in nats.")
    max_entropy: float | None = Field(default=None, ge=0, description="Predictive entropy, in nats.")
    abstained: bool | None = None
    model_version: list[Text] = Field(default=[], description="Any of these; repeat the parameter for several.")
    source: list[Source] = Field(default=[], description="Any of these; repeat the parameter for several.")
    created_from: Moment | None = Field(default=None, description="ISO 8601 with time zone; inclusive.")
    created_before: Moment | None = Field(default=None, description="ISO 8601 with time zone; exclusive.")
    recording_id: UUID | None = None
    project: UUID | None = Field(default=None, description="Of recordings that this project shares.")
    batch: UUID | None = Field(default=None, description="Of recordings that were sent in this batch.")
    recording_name: Text = Field(default="", description="Part of the recording's name, in any case.")
    order: PredictionOrder = PredictionOrder.NEWEST
    limit: int = Field(default=50, ge=1, le=200, description="Most rows on a page.")
    cursor: str | None = Field(default=None, max_length=500, description="`next_cursor` of the page before.")

    def as_filter(self) -> PredictionFilter:
        return PredictionFilter(
            emotions=self.emotion,
            min_confidence=self.min_confidence,
            max_confidence=self.max_confidence,
            min_entropy_nats=self.min_entropy,
            max_entropy_nats=self.max_entropy,
            abstained=self.abstained,
            model_versions=self.model_version,
            sources=self.source,
            created_from=self.created_from,
            created_before=self.created_before,
            recording_id=self.recording_id,
            project_id=self.project,
            batch_id=self.batch,
            recording_name=self.recording_name,
        )


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of the problems a route may answer."""
    return {
        status: {"description": text, "content": {"application/problem+json": {"schema": PROBLEM_REFERENCE}}}
        for status, text in _REFUSALS.items()
        if status in statuses
    }


PROBLEM_REFERENCE = {"$ref": f"#/components/schemas/{Problem.__name__}"}
_REFUSALS = {
    400: "The body cannot be read.",
    401: "Nobody says who asks, or not rightly.",
    403: "Known, but not allowed to do this; `code` tells why.",
    404: "There is no such thing.",
    408: "The upload stalled.",
    409: "Not in this state; or rate it first (`answer_hidden`); or the request with this key is still being answered.",
    413: "The upload, or the body, is too large.",
    415: "The body is of another type than stated here, or the file no recording.",
    422: "A parameter is out of place, or the recording cannot be used; `code` tells which.",
    429: "Too many calls, or the month's allowance is used up; `Retry-After` says how long to wait.",
    503: "Too much to do (`busy`, with Retry-After), shutting down, or the store or model cannot answer.",
}


async def _analyse(
    workbench: Workbench, data: bytes, *, name: str, source: Source, caller: Caller, parameters: PredictParameters
) -> Analysis:
    """Decode, recognise and store on an inference worker, while the event loop goes on."""
    future = workbench.executor.submit(
        partial(
            workbench.analyse,
            data,
            name=name,
            source=source,
            owner=caller.user.id,
            shown_to=caller.reader,
            project_id=parameters.project,
            n_passes=parameters.n_passes,
            timeline=parameters.timeline,
            model=parameters.model,
        )
    )
    return await asyncio.wrap_future(future)


async def _require_consent(workbench: Workbench, caller: Caller, parameters: PredictParameters) -> None:
    await run_in_threadpool(
        workbench.projects.require_consent, caller, parameters.project, agrees=bool(parameters.consent)
    )


@router.post(
    "/predict",
    summary="Say which emotion a recording carries",
    response_description="What the model heard, how sure it is, and how good the recording was.",
    responses=refusals(400, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=form_schema(PredictParameters, "file", is_list=False),
)
async def predict(
    request: Request, workbench: OpenWorkbench, caller: Asking, query: Annotated[PredictParameters, Query()]
) -> PredictionShape:
    """Decodes the recording, recognises its emotion, stores both and answers.

    The same recording with the same parameters gets the same probabilities, and a new `id`.
    """
    settings = workbench.settings
    expected = "given once; use batch-predict"
    max_mb, stall_s = body_cap_mb(request, settings.max_upload_mb), settings.upload_stall_s
    async with received_file(request, query, max_mb=max_mb, stall_s=stall_s, expected=expected) as (file, parameters):
        data, name = await file.read(), name_of(file)
    await _require_consent(workbench, caller, parameters)
    analysis = await _analyse(workbench, data, name=name, source=Source.API, caller=caller, parameters=parameters)
    usage_of(request.scope).add_prediction(analysis.prediction)
    return PredictionShape.of(analysis.prediction)


@router.post(
    "/batch-predict",
    summary="Say which emotions several recordings carry",
    response_description="Each recording in one of two lists: answered, or refused with its problem.",
    responses=refusals(400, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=form_schema(PredictParameters, "files", is_list=True),
)
async def batch_predict(
    request: Request, workbench: OpenWorkbench, caller: Asking, query: Annotated[PredictParameters, Query()]
) -> BatchShape:
    """Answers when all recordings are done. One that cannot be used does not lose the others."""
    settings = workbench.settings
    async with received_form(
        request,
        file_field="files",
        max_mb=body_cap_mb(request, settings.max_batch_mb),
        what="The batch",
        stall_s=settings.upload_stall_s,
    ) as form:
        if len(form.files) > settings.max_batch_files:
            expected = f"given at most {settings.max_batch_files} times; send several batches"
            raise InvalidParameterError("files", f"given {len(form.files)} times", expected)
        parameters = merged(query, form.fields)
        return await _answer_all(request, workbench, caller, form.files, parameters)


async def _answer_all(
    request: Request,
    workbench: Workbench,
    caller: Caller,
    files: Sequence[UploadFile],
    parameters: PredictParameters,
) -> BatchShape:
    await _require_consent(workbench, caller, parameters)
    results: list[BatchResult] = []
    problems: list[BatchProblem] = []
    busy: list[BusyError] = []
    waiting = iter(enumerate(files))
    watch = CallerWatch(request)
    revoked: list[AccessError] = []

    async def work_through(parts: Parts) -> None:
        for position, file in waiting:
            try:
                await watch.check()
            except AccessError as error:
                revoked.append(error)
            if revoked:
                return
            name = name_of(file)
            try:
                data = await file.read()
                analysis = await _analyse(
                    workbench, data, name=name, source=Source.BATCH, caller=caller, parameters=parameters
                )
            except TelepathyError as error:
                if isinstance(error, BusyError):
                    busy.append(error)
                refused = problem(kind_of(error), str(error), instance=request.scope["path"])
                problems.append(BatchProblem(position=position, name=name, problem=refused))
            else:
                usage_of(request.scope).add_prediction(analysis.prediction)
                parts.n_answered += 1
                shape = PredictionShape.of(analysis.prediction)
                results.append(BatchResult(position=position, name=name, prediction=shape))

    # As many at a time as there are workers: one batch leaves the queue to other callers.
    async with counted_each(request, workbench.limits, len(files)) as parts:
        async with asyncio.TaskGroup() as group:
            for _ in range(workbench.settings.inference_workers):
                group.create_task(work_through(parts))
        if revoked:
            raise revoked[0]
        if busy and len(busy) == len(files):
            raise busy[0]
    return BatchShape(
        results=sorted(results, key=lambda result: result.position),
        problems=sorted(problems, key=lambda refused: refused.position),
    )


@router.get(
    "/predictions",
    summary="List predictions",
    responses=refusals(422, 503),
)
def list_predictions(
    request: Request,
    response: Response,
    workbench: OpenWorkbench,
    reader: ReaderOf,
    query: Annotated[PredictionQuery, Query()],
) -> PredictionPageShape:
    """One page of predictions, newest first unless asked otherwise.

    Follow `next_cursor` (or the `Link` header with `rel="next"`): rows that appear meanwhile neither repeat nor hide
    others.
    """
    page = select_predictions(
        workbench.store,
        reader=reader,
        filter=query.as_filter(),
        limit=query.limit,
        cursor=query.cursor,
        order=query.order,
    )
    if page.next_cursor is not None:
        asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        target = f"{request.scope['path']}?{urlencode([*asked, ('cursor', page.next_cursor)])}"
        response.headers["Link"] = f'<{target}>; rel="next"'
    return PredictionPageShape(items=[PredictionRowShape.of(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/predictions/{prediction_id}", summary="Read one prediction", responses=refusals(404, 409, 422, 503))
def read_prediction(prediction_id: UUID, workbench: OpenWorkbench, reader: ReaderOf) -> PredictionShape:
    """The same answer that `predict` gave, as it stands in the store.

    Refused with `answer_hidden` while you are to rate the recording without knowing it.
    """
    return PredictionShape.of(find_prediction(workbench.store, prediction_id=prediction_id, reader=reader))
