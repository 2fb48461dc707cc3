"""Models of one's own: data sets sent and deleted, trainings begun, watched and cancelled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import Asking, OpenWorkbench
from api.limits import body_cap_mb
from api.once import OnceRoute
from api.routes_predictions import Text, refusals
from api.schemas_training import (
    DataSetListShape,
    DataSetShape,
    EstimateRequest,
    EstimateShape,
    TrainingListShape,
    TrainingRequest,
    TrainingShape,
    WholeDataSetShape,
    WholeTrainingShape,
)
from api.uploads import form_schema, json_schema, merged, name_of, received_form, received_json
from core.domain import Job, JobState, Reader
from core.errors import ModelError, UnknownJobError
from core.models import custom
from core.models.data_sets import MAX_FILES, DataSetSummary, SentFile
from core.workbench import Workbench

DATA_SETS, TRAININGS = "/api/v1/data-sets", "/api/v1/trainings"

router = APIRouter(prefix="/api/v1", tags=["training"], route_class=OnceRoute)


class DataSetParameters(BaseModel):
    """By query or as fields of the form."""

    model_config = ConfigDict(extra="forbid")

    name: Text | None = Field(default=None, description="What you call it; that of the first file where left out.")
    consent: bool | None = Field(
        default=None, description="Whether whoever speaks has agreed to being recorded, where nobody said so before."
    )


class DataSetLocation(DataSetParameters):
    """A folder on the server; only where the setting `batch_sources` allows."""

    location: str = Field(min_length=1, max_length=2000)


def _body() -> dict[str, Any]:
    holds = "Clips, a CSV with file, label and perhaps speaker, or a ZIP of them."
    document = form_schema(DataSetParameters, "files", is_list=True, holds=holds)
    document["requestBody"]["content"]["application/json"] = {"schema": DataSetLocation.model_json_schema()}
    return document


@router.post(
    "/data-sets",
    summary="Send a data set",
    status_code=201,
    responses=refusals(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=_body(),
)
async def create_data_set(
    request: Request,
    response: Response,
    workbench: OpenWorkbench,
    caller: Asking,
    query: Annotated[DataSetParameters, Query()],
) -> WholeDataSetShape:
    """Clips and their labels, by a CSV or by the folders they lie in: `LABEL/clip.wav` or `SPEAKER/LABEL/clip.wav`.

    What can be learnt from is kept; `problems` says of each other file why it is left out.
    """
    settings, sets = workbench.settings, workbench.data_sets
    if request.headers.get("content-type", "").lower().startswith("application/json"):
        body = await received_json(request, DataSetLocation, stall_s=settings.upload_stall_s)
        return await _made(
            response,
            partial(sets.from_folder, body.location, name=body.name or "", by=caller, agrees=bool(body.consent)),
        )
    async with received_form(
        request,
        file_field="files",
        max_mb=body_cap_mb(request, settings.max_background_mb),
        what="The data set",
        stall_s=settings.upload_stall_s,
        max_files=MAX_FILES,
    ) as form:
        parameters = merged(query, form.fields)
        files = form.files

        def sent() -> Iterator[SentFile]:
            for file in files:
                yield SentFile(name=name_of(file), data=file.file.read())

        name = parameters.name or name_of(files[0])
        return await _made(
            response, partial(sets.create, sent(), name=name, by=caller, agrees=bool(parameters.consent))
        )


async def _made(response: Response, make: Callable[[], DataSetSummary]) -> WholeDataSetShape:
    summary = await run_in_threadpool(make)
    shape = WholeDataSetShape.of(summary)
    response.headers["Location"] = f"{DATA_SETS}/{shape.id}"
    return shape


@router.get("/data-sets", summary="List data sets", responses=refusals(401, 403, 503))
def list_data_sets(workbench: OpenWorkbench, caller: Asking) -> DataSetListShape:
    """One's own, the newest first."""
    sets = workbench.data_sets.list_data_sets(reader=caller.reader)
    return DataSetListShape(items=[DataSetShape.of(each) for each in sets])


@router.get("/data-sets/{data_set_id}", summary="Read a data set", responses=refusals(401, 403, 404, 422, 503))
def read_data_set(data_set_id: UUID, workbench: OpenWorkbench, caller: Asking) -> WholeDataSetShape:
    """With what is wrong with each file that is left out."""
    return WholeDataSetShape.of(workbench.data_sets.data_set(data_set_id, reader=caller.reader))


@router.delete(
    "/data-sets/{data_set_id}",
    summary="Delete a data set",
    status_code=204,
    responses=refusals(401, 403, 404, 422, 503),
)
def delete_data_set(data_set_id: UUID, workbench: OpenWorkbench, caller: Asking) -> None:
    """With all its clips. Models that learnt from it stay."""
    workbench.data_sets.delete(data_set_id, reader=caller.reader, by=caller)


@router.post(
    "/trainings/estimate",
    summary="Estimate a training",
    responses=refusals(400, 401, 403, 404, 408, 413, 415, 422, 503),
    openapi_extra=json_schema(EstimateRequest),
)
async def estimate(request: Request, workbench: OpenWorkbench, caller: Asking) -> EstimateShape:
    """How long it would take, and what is missing for it. Nothing is begun."""
    asked = await received_json(request, EstimateRequest, stall_s=workbench.settings.upload_stall_s)

    def estimated() -> EstimateShape:
        plan = asked.plan()
        custom.require_plan(plan)
        summary = workbench.data_sets.data_set(asked.data_set, reader=caller.reader)
        clips = custom.chosen_clips(summary, asked.labels)
        obstacle = custom.obstacle_of(clips, plan)
        return EstimateShape(n_clips=len(clips), seconds=round(custom.estimate_s(clips, plan), 1), obstacle=obstacle)

    return await run_in_threadpool(estimated)


@router.post(
    "/trainings",
    summary="Train a model of your own",
    status_code=202,
    response_description="The training as it stands; its address is in the header Location.",
    responses=refusals(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=json_schema(TrainingRequest),
)
async def create_training(
    request: Request, response: Response, workbench: OpenWorkbench, caller: Asking
) -> TrainingShape:
    """In the background, on one core at low priority. Once it has succeeded, `model=NAME` answers by its labels."""
    asked = await received_json(request, TrainingRequest, stall_s=workbench.settings.upload_stall_s)

    job = await run_in_threadpool(
        partial(
            custom.begin,
            workbench,
            asked.data_set,
            name=asked.name,
            by=caller,
            labels=asked.labels,
            plan=asked.plan(),
        )
    )
    shape = TrainingShape.of(job)
    response.headers["Location"] = f"{TRAININGS}/{shape.id}"
    return shape


@router.get("/trainings", summary="List trainings", responses=refusals(401, 403, 503))
def list_trainings(workbench: OpenWorkbench, caller: Asking) -> TrainingListShape:
    """One's own, the newest first."""
    jobs = workbench.jobs.list_jobs(reader=caller.reader)
    return TrainingListShape(items=[TrainingShape.of(job) for job in jobs if job.kind == custom.KIND])


@router.get("/trainings/{training_id}", summary="Read a training", responses=refusals(401, 403, 404, 422, 503))
def read_training(training_id: UUID, workbench: OpenWorkbench, caller: Asking) -> WholeTrainingShape:
    """How far it is, with its curve while it learns; afterwards the curve stands in the model's card."""
    job = _training(workbench, training_id, caller.reader)
    shape = TrainingShape.of(job)
    curve = custom.curve(workbench.settings, shape.name)
    if not curve and job.state is JobState.SUCCEEDED:
        with contextlib.suppress(ModelError):
            made = workbench.models.version(shape.name).trained
            curve = made.rounds if made is not None else ()
    return WholeTrainingShape.of_job(job, curve)


@router.delete(
    "/trainings/{training_id}",
    summary="Cancel a training",
    responses=refusals(401, 403, 404, 409, 422, 503),
)
def cancel_training(training_id: UUID, workbench: OpenWorkbench, caller: Asking) -> TrainingShape:
    """No model comes of it. One that has ended answers 409."""
    _training(workbench, training_id, caller.reader)
    workbench.jobs.cancel(training_id, reader=caller.reader)
    return TrainingShape.of(_training(workbench, training_id, caller.reader))


def _training(workbench: Workbench, training_id: UUID, reader: Reader) -> Job:
    job = workbench.jobs.job(training_id, reader=reader)
    if job.kind != custom.KIND:
        raise UnknownJobError(training_id)
    return job
