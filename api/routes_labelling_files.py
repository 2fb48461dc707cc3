"""Ratings of a labelling project as files: out of it and into it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access import Asking, OpenWorkbench
from api.limits import body_cap_mb
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas_labelling import ImportShape
from api.uploads import form_schema, name_of, received_file
from core.labelling.exchange import export_ratings, import_ratings
from core.labelling.formats.kinds import LabelFormat

router = APIRouter(prefix="/api/v1/labelling", tags=["labelling"], route_class=OnceRoute)


class ImportParameters(BaseModel):
    """What may be said beside the file, in the form or the query."""

    model_config = ConfigDict(extra="forbid")

    format: LabelFormat | None = Field(default=None, description="Left out: `csv`. docs/labelling.md shows each.")


@router.get(
    "/{project_id}/export",
    summary="Take ratings away as a file",
    response_class=Response,
    response_description="The file: an archive for formats that have one for each recording.",
    responses={200: {"content": {"*/*": {}}}, **refusals(403, 404, 422, 503)},
)
def export_file(
    project_id: UUID,
    caller: Asking,
    workbench: OpenWorkbench,
    format: Annotated[LabelFormat, Query(description="docs/labelling.md says what each holds.")] = LabelFormat.CSV,
) -> Response:
    """The ratings that count, with the addresses of their annotators; for the project's owner and admins."""
    file = export_ratings(workbench, project_id, format, by=caller)
    return Response(
        file.data,
        media_type=file.media_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
            "Cache-Control": "no-store",
        },
    )


@router.post(
    "/{project_id}/import",
    summary="Bring ratings in from a file",
    response_description="How many ratings are new, and what was left out and why.",
    responses=refusals(400, 403, 404, 408, 409, 413, 415, 422, 503),
    openapi_extra=form_schema(ImportParameters, "file", is_list=False, holds="Ratings, or a ZIP of such files."),
)
async def import_file(
    project_id: UUID,
    request: Request,
    caller: Asking,
    workbench: OpenWorkbench,
    query: Annotated[ImportParameters, Query()],
) -> ImportShape:
    """Lines that cannot be used are told one by one, and all others kept; for the project's owner and admins."""
    settings = workbench.settings
    expected = "given once; pack several as a ZIP"
    max_mb, stall_s = body_cap_mb(request, settings.max_upload_mb), settings.upload_stall_s
    async with received_file(request, query, max_mb=max_mb, stall_s=stall_s, expected=expected) as (file, parameters):
        data, name = await file.read(), name_of(file)
    done = await run_in_threadpool(
        import_ratings, workbench, project_id, data, name=name, format=parameters.format or LabelFormat.CSV, by=caller
    )
    return ImportShape.of(done)
