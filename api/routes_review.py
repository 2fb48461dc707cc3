"""Review: the ratings of a labelling project side by side, and what reviewers decide about them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.access import Asking, OpenWorkbench
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas_review import DecisionRequest, DecisionShape, ReviewShape
from core.domain import Caller, Decision, DecisionKind
from core.errors import InvalidParameterError
from core.labelling.consensus import Method
from core.labelling.labelling import Labelling, Shown

router = APIRouter(prefix="/api/v1/labelling", tags=["labelling"], route_class=OnceRoute)
MAX_CLIPS = 500


@router.get("/{project_id}/review", summary="See ratings side by side", responses=refusals(404, 409, 422, 503))
def review(
    project_id: UUID,
    caller: Asking,
    workbench: OpenWorkbench,
    method: Annotated[Method, Query(description="How the consensus is made.")] = Method.MAJORITY,
    shown: Annotated[Shown, Query(description="Which clips.")] = Shown.ALL,
    limit: Annotated[int, Query(ge=1, le=MAX_CLIPS, description="How many at most.")] = 100,
) -> ReviewShape:
    """Every rated clip with its ratings, the decisions on it, the consensus and the model's answer."""
    found = workbench.labelling.clips_for_review(project_id, reader=caller.reader, method=method)
    return ReviewShape.of([clip for clip in found if clip.is_shown(shown)], limit=limit)


@router.post("/{project_id}/decisions", summary="Decide about a clip", responses=refusals(400, 403, 404, 409, 422, 503))
def decide(project_id: UUID, given: DecisionRequest, caller: Asking, workbench: OpenWorkbench) -> DecisionShape:
    """Say which label counts, send a clip back, or comment on it; for the project's owner and admins."""
    return DecisionShape.of(_decided(workbench.labelling, project_id, given, caller))


def _decided(labelling: Labelling, project_id: UUID, given: DecisionRequest, by: Caller) -> Decision:
    recording_id, note = given.recording_id, given.note
    if given.kind is DecisionKind.ADJUDICATE_SEGMENT:
        if given.start is None or given.end is None:
            raise InvalidParameterError("start", "not given with its end", "seconds, and `end` as well")
        return labelling.adjudicate_segment(
            project_id, recording_id, start_s=given.start, end_s=given.end, label=given.label, by=by, note=note
        )
    if given.start is not None or given.end is not None:
        raise InvalidParameterError("start", "given", f"left out, with `end`, where `kind` is {given.kind.value}")
    if given.kind is DecisionKind.ADJUDICATE:
        if given.label is None:
            raise InvalidParameterError("label", "null", "the label that counts")
        return labelling.adjudicate(project_id, recording_id, given.label, by=by, note=note)
    if given.label is not None:
        raise InvalidParameterError("label", repr(given.label), f"left out where `kind` is {given.kind.value}")
    if given.kind is DecisionKind.SEND_BACK:
        return labelling.send_back(project_id, recording_id, by=by, note=note)
    return labelling.comment(project_id, recording_id, note, by=by)
