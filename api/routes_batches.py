"""Batches: many recordings in the background. Sent, looked at, read as they come, cancelled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import Asking, OpenWorkbench, ReaderOf, address_of
from api.limits import body_cap_mb
from api.once import OnceRoute
from api.routes_predictions import PredictParameters, Text, refusals
from api.schemas import BatchJobPageShape, BatchJobShape
from api.uploads import form_schema, merged, name_of, received_form, received_json
from core.batches import BatchStatus, Submitted
from core.domain import Caller, Source
from core.errors import InvalidParameterError
from core.identifiers import new_id
from core.reports.batch_csv import batch_csv
from core.store.batches import BatchRow
from core.usage import Call
from core.workbench import Workbench

router = APIRouter(prefix="/api/v1", tags=["batches"], route_class=OnceRoute)

ROUTE = "/api/v1/batches"
NEXT_AFTER = "X-Next-After"


class BatchParameters(PredictParameters):
    """How to answer; by query or as fields of the form."""

    name: Text | None = Field(default=None, description="What you call the batch.")


class BatchLocations(BatchParameters):
    """A batch whose recordings are fetched; only from where the setting `batch_sources` allows."""

    locations: list[Annotated[str, Field(min_length=1, max_length=2000)]] = Field(
        min_length=1, max_length=10_000, description="URLs, or paths of files and folders on the server."
    )


class ResultsQuery(BaseModel):
    """Which results, in which form."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["jsonl", "csv"] = "jsonl"
    after: int = Field(default=-1, ge=-1, description="Results of recordings after this position; see the header.")
    limit: int = Field(default=200, ge=1, le=1000, description="Most results on a page.")
    problems: bool | None = Field(default=None, description="true: problems only; false: answers only.")


def _body() -> dict[str, Any]:
    document = form_schema(BatchParameters, "files", is_list=True)
    schema = BatchLocations.model_json_schema()
    document["requestBody"]["content"]["application/json"] = {"schema": schema}
    return document


@router.post(
    "/batches",
    summary="Have many recordings scored in the background",
    status_code=202,
    response_description="The batch as it stands; its address is in the header Location.",
    responses=refusals(400, 404, 408, 413, 415, 422, 503),
    openapi_extra=_body(),
)
async def create_batch(
    request: Request,
    response: Response,
    workbench: OpenWorkbench,
    caller: Asking,
    query: Annotated[BatchParameters, Query()],
) -> BatchJobShape:
    """Answers at once; each recording is scored exactly once, even if the process is killed meanwhile.

    Send the files as `multipart/form-data`, or JSON with `locations` that are fetched. A recording that was scored
    before with the same model and settings is answered from that. Scored recordings count on the month's quota as they
    come; the request itself counts as one call.
    """
    settings = workbench.settings
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        async with received_form(
            request,
            file_field="files",
            max_mb=body_cap_mb(request, settings.max_background_mb),
            what="The batch",
            stall_s=settings.upload_stall_s,
            max_files=settings.max_background_files,
        ) as form:
            parameters = merged(query, form.fields)
            files = form.files

            def submitted() -> Iterator[Submitted]:
                for file in files:
                    yield Submitted(name=name_of(file), data=file.file.read())

            return await _created(request, response, workbench, caller, parameters, submitted())
    if query.model_dump(exclude_defaults=True):
        raise InvalidParameterError("query", "given beside a JSON body", "left out: all of it goes into the body")
    body = await received_json(request, BatchLocations, stall_s=settings.upload_stall_s)
    locations = [Submitted(name="", location=location) for location in body.locations]
    return await _created(request, response, workbench, caller, body, locations)


async def _created(
    request: Request,
    response: Response,
    workbench: Workbench,
    caller: Caller,
    parameters: BatchParameters,
    submitted: Iterable[Submitted],
) -> BatchJobShape:
    call = Call(
        route=ROUTE,
        method="POST",
        caller=caller,
        request_id=request.scope["state"].get("request_id") or new_id().hex,
        address=address_of(request),
    )

    status = await run_in_threadpool(
        partial(
            workbench.batches.create,
            submitted,
            caller=caller,
            call=call,
            source=Source.BATCH,
            name=parameters.name or "",
            project_id=parameters.project,
            agrees=bool(parameters.consent),
            n_passes=parameters.n_passes,
            timeline=parameters.timeline,
            model=parameters.model,
        )
    )
    response.headers["Location"] = f"{ROUTE}/{status.batch.id}"
    return BatchJobShape.of(status)


@router.get("/batches", summary="List batches", responses=refusals(422, 503))
def list_batches(
    workbench: OpenWorkbench,
    reader: ReaderOf,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: UUID | None = None,
) -> BatchJobPageShape:
    """Your batches and those of your projects, newest first."""
    found = workbench.batches.list_batches(reader=reader, limit=limit, before=before)
    items = [BatchJobShape.of(status) for status in found]
    return BatchJobPageShape(items=items, next_before=items[-1].id if len(items) == limit else None)


@router.get("/batches/{batch_id}", summary="How far a batch is", responses=refusals(404, 422, 503))
def read_batch(batch_id: UUID, workbench: OpenWorkbench, reader: ReaderOf) -> BatchJobShape:
    """State, progress, rate and time left."""
    return BatchJobShape.of(workbench.batches.status(batch_id, reader=reader))


@router.get(
    "/batches/{batch_id}/results",
    summary="Read the results of a batch as they come",
    response_class=Response,
    response_description="One line for each recording that is done, in the order they were sent.",
    responses={
        200: {"content": {"application/jsonl": {}, "text/csv": {}}},
        **refusals(404, 422, 503),
    },
)
def read_results(
    batch_id: UUID, workbench: OpenWorkbench, reader: ReaderOf, query: Annotated[ResultsQuery, Query()]
) -> Response:
    """Answers and problems, as JSON lines or CSV.

    The header `X-Next-After` is the `after` of the next page, and missing on the last one. While the batch runs, later
    recordings may be done before earlier ones: read from the beginning again once it has ended.
    """
    rows = workbench.batches.rows(
        batch_id, reader=reader, limit=query.limit, after=query.after, has_problem=query.problems
    )
    headers = {NEXT_AFTER: str(rows[-1].position)} if len(rows) == query.limit else {}
    if query.format == "csv":
        name = f'attachment; filename="batch-{batch_id}.csv"'
        return Response(
            batch_csv(rows, has_header=query.after < 0),
            media_type="text/csv; charset=utf-8",
            headers=headers | {"Content-Disposition": name},
        )
    text = "".join(json.dumps(_line(row), ensure_ascii=False) + "\n" for row in rows)
    return Response(text, media_type="application/jsonl", headers=headers)


@router.post(
    "/batches/{batch_id}/retry",
    status_code=202,
    summary="Go on with a failed batch",
    responses=refusals(404, 409, 422, 503),
)
def retry_batch(batch_id: UUID, workbench: OpenWorkbench, reader: ReaderOf) -> BatchJobShape:
    """What is done stays done, the rest is scored; once what made it fail, which its log tells, is over."""
    return BatchJobShape.of(workbench.batches.retry(batch_id, reader=reader))


@router.delete("/batches/{batch_id}", summary="Cancel a batch", responses=refusals(404, 409, 422, 503))
def cancel_batch(batch_id: UUID, workbench: OpenWorkbench, reader: ReaderOf) -> BatchJobShape:
    """Scores no more of it and deletes what waits. What is scored stays, and can be read."""
    status: BatchStatus = workbench.batches.cancel(batch_id, reader=reader)
    return BatchJobShape.of(status)


def _line(row: BatchRow) -> dict[str, object]:
    line: dict[str, object] = {"position": row.position, "name": row.name}
    if row.problem_code:
        return line | {"problem": {"code": row.problem_code, "detail": row.problem}}
    return line | {
        "prediction_id": None if row.prediction_id is None else str(row.prediction_id),
        "recording_id": None if row.recording_id is None else str(row.recording_id),
        "emotion": row.emotion,
        "confidence": row.confidence,
        "abstained": row.abstained,
        "probabilities": row.probabilities,
        "predictive_entropy_nats": row.predictive_entropy_nats,
        "duration_s": row.duration_s,
        "model_version": row.model_version,
        "n_passes": row.n_passes,
        "is_repeat": row.is_repeat,
    }
