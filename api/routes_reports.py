"""Reports: what some predictions amount to, as a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, BinaryIO, Self, cast
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from pydantic import AfterValidator, Field
from starlette.responses import StreamingResponse

from api.access import Asking, OpenWorkbench
from api.labels import AskedLabel
from api.once import OnceRoute
from api.routes_predictions import Moment, Text, refusals
from api.schemas import Shape
from core.domain import MAX_LABELS, Caller, Source
from core.reports.report import MAX_TITLE, MEDIA_TYPES, TITLE, ReportFormat, ReportRequest, file_name
from core.reports.timing import find_zone
from core.store.predictions import PredictionFilter
from core.workbench import Workbench

router = APIRouter(prefix="/api/v1", tags=["reports"], route_class=OnceRoute)

_BLOCK = 1 << 20
_IN_MEMORY = 8 << 20
"""Larger reports wait on the disk while they are sent."""


def _known_zone(name: str) -> str:
    find_zone(name)
    return name


TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]
"""An IANA time zone."""


class FilterShape(Shape):
    """Which predictions a report is about. What is left out does not restrict."""

    emotions: list[AskedLabel] = Field(default=[], max_length=MAX_LABELS)
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    max_confidence: float | None = Field(default=None, ge=0, le=1)
    min_entropy: float | None = Field(default=None, ge=0, description="Predictive entropy, in nats.")
    max_entropy: float | None = Field(default=None, ge=0, description="Predictive entropy, in nats.")
    abstained: bool | None = None
    model_versions: list[Text] = Field(default=[], max_length=100)
    sources: list[Source] = Field(default=[], max_length=len(Source))
    project: UUID | None = Field(default=None, description="Of recordings that this project shares.")
    batch: UUID | None = Field(default=None, description="Of recordings that were sent in this batch.")
    recording_id: UUID | None = None
    recording_name: Text = Field(default="", description="Part of the recording's name, in any case.")

    @classmethod
    def of(cls, filter: PredictionFilter) -> Self:
        return cls(
            emotions=list(filter.emotions),
            min_confidence=filter.min_confidence,
            max_confidence=filter.max_confidence,
            min_entropy=filter.min_entropy_nats,
            max_entropy=filter.max_entropy_nats,
            abstained=filter.abstained,
            model_versions=list(filter.model_versions),
            sources=list(filter.sources),
            project=filter.project_id,
            batch=filter.batch_id,
            recording_id=filter.recording_id,
            recording_name=filter.recording_name,
        )

    def as_filter(self) -> PredictionFilter:
        return PredictionFilter(
            emotions=tuple(self.emotions),
            min_confidence=self.min_confidence,
            max_confidence=self.max_confidence,
            min_entropy_nats=self.min_entropy,
            max_entropy_nats=self.max_entropy,
            abstained=self.abstained,
            model_versions=tuple(self.model_versions),
            sources=tuple(self.sources),
            project_id=self.project,
            batch_id=self.batch,
            recording_id=self.recording_id,
            recording_name=self.recording_name,
        )


class PeriodFilterShape(FilterShape):
    """Which predictions, and from when to when."""

    created_from: Moment | None = Field(default=None, description="ISO 8601 with time zone; inclusive.")
    created_before: Moment | None = Field(default=None, description="ISO 8601 with time zone; exclusive.")


class ReportAsked(Shape):
    """What a report is to be."""

    format: ReportFormat = ReportFormat.PDF
    title: Annotated[Text, Field(min_length=1, max_length=MAX_TITLE)] = TITLE
    filter: PeriodFilterShape = PeriodFilterShape()
    timezone: TimeZone = Field(default="UTC", description="Whose days it counts in, such as `Europe/Berlin`.")


@router.post(
    "/reports",
    summary="Make a report",
    response_class=StreamingResponse,
    response_description="The file.",
    responses={
        200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}},
        **refusals(400, 404, 422, 503),
    },
)
def make_report(asked: ReportAsked, caller: Asking, workbench: OpenWorkbench) -> StreamingResponse:
    """Adds up the predictions that you may see and the filter lets through, and answers with the file.

    Excel and CSV list them too, as long as there are no more than `max_report_rows`.
    """
    request = ReportRequest(
        title=asked.title,
        filter=replace(
            asked.filter.as_filter(),
            created_from=asked.filter.created_from,
            created_before=asked.filter.created_before,
        ),
        project_name=_project_name(workbench, caller, asked.filter.project),
        zone=ZoneInfo(asked.timezone),
        made_for=caller.user.name,
    )
    report = workbench.reports.assemble(request, reader=caller.reader)
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - closed once it is sent
    try:
        workbench.reports.write(report, asked.format, file, reader=caller.reader)
    except BaseException:
        file.close()
        raise
    name = quote(file_name(report, asked.format))
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(_blocks(file), media_type=MEDIA_TYPES[asked.format], headers=headers)


def _project_name(workbench: Workbench, caller: Caller, project_id: UUID | None) -> str:
    """Raises UnknownProjectError for a project that `caller` does not share."""
    return "" if project_id is None else workbench.projects.find(project_id, caller.reader).name


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block
