"""Projects and consent; all that is held on the caller, to take away or to delete."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, BinaryIO, cast
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from api.access import Asking, OpenWorkbench, delete_session_cookies
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas_access import ProjectListShape, ProjectShape
from core.accounts import delete_account, write_account_export

router = APIRouter(prefix="/api/v1", tags=["privacy"], route_class=OnceRoute)

_BLOCK = 1 << 20
_IN_MEMORY = 8 << 20
"""Larger exports wait on the disk while they are sent."""


@router.get("/projects", summary="List projects", responses=refusals(503))
def list_projects(caller: Asking, workbench: OpenWorkbench) -> ProjectListShape:
    """The projects that are shared with you. Give the `id` of one as `project` to record into it."""
    projects = workbench.projects.list_for(caller.reader)
    return ProjectListShape(
        items=[
            ProjectShape.of(
                project,
                is_own=project.owner_id == caller.user.id,
                has_agreed=workbench.projects.has_agreed(caller.user.id, project.id),
            )
            for project in projects
        ]
    )


@router.post(
    "/account/consent",
    status_code=204,
    summary="Agree to recordings",
    response_class=Response,
    responses=refusals(404, 422, 503),
)
def agree(
    caller: Asking,
    workbench: OpenWorkbench,
    project: Annotated[UUID | None, Query(description="Left out: for recordings outside projects.")] = None,
) -> Response:
    """Say that you have read what happens to voices (docs/privacy.md) and agree. Once is enough."""
    workbench.projects.require_consent(caller, project, agrees=True)
    return Response(status_code=204)


@router.get(
    "/account/export",
    summary="Take away all that is held on you",
    response_class=StreamingResponse,
    response_description="A ZIP of JSON files and your recordings.",
    responses={200: {"content": {"application/zip": {}}}, **refusals(503)},
)
def export_account(caller: Asking, workbench: OpenWorkbench) -> StreamingResponse:
    """Account, keys without their secrets, sessions, projects, consents, audit entries, recordings, predictions."""
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - closed once it is sent
    try:
        write_account_export(workbench, caller.user.id, file)
    except BaseException:
        file.close()
        raise
    name = f"telepathy-export-{datetime.now(UTC):%Y-%m-%d}.zip"
    return StreamingResponse(
        _blocks(file),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


@router.delete(
    "/account",
    status_code=204,
    summary="Delete your account",
    response_class=Response,
    responses=refusals(409, 503),
)
def delete_own_account(caller: Asking, workbench: OpenWorkbench) -> Response:
    """Deletes your account with all recordings, predictions, keys and sessions. Only the audit log still names it."""
    delete_account(workbench, caller.user.id, by=caller)
    response = Response(status_code=204)
    delete_session_cookies(response)
    return response
