"""Labelling: what an annotator's program, such as the annotating page, asks and sends."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.access import Asking, OpenWorkbench
from api.once import OnceRoute
from api.routes_predictions import refusals
from api.schemas_labelling import (
    ActionRequest,
    AgreementShape,
    AssignRequest,
    ConsensusShape,
    DoneShape,
    HandoutShape,
    LabellingSettingsShape,
    PlacesShape,
    ProgressShape,
    QueueShape,
    RatingRequest,
)
from core.labelling.agreement import agreement_of
from core.labelling.consensus import Method

router = APIRouter(prefix="/api/v1/labelling", tags=["labelling"], route_class=OnceRoute)
MAX_TASKS = 50


@router.get("/{project_id}/queue", summary="Get clips to label", responses=refusals(403, 404, 409, 422, 503))
def queue(
    project_id: UUID,
    caller: Asking,
    workbench: OpenWorkbench,
    n: Annotated[int, Query(ge=1, le=MAX_TASKS, description="How many.")] = 4,
) -> QueueShape:
    """The clips that you should label next: yours from now on, and the same ones when you ask again."""
    return QueueShape.of(workbench.labelling.queue(project_id, annotator=caller, n=n))


@router.post("/{project_id}/ratings", summary="Rate a clip", responses=refusals(400, 403, 404, 409, 422, 503))
def rate(project_id: UUID, given: RatingRequest, caller: Asking, workbench: OpenWorkbench) -> DoneShape:
    """Keep what you heard. Make the `id` yourself: sent again, after a lost connection, it counts once."""
    task = workbench.labelling.rate(
        project_id, given.assignment_id, given.rating_of(project_id, caller), annotator=caller
    )
    return DoneShape.of(workbench.labelling.progress_of(project_id, annotator=caller), task.guess)


@router.post("/{project_id}/skips", summary="Leave a clip for later", responses=refusals(400, 403, 404, 409, 422, 503))
def skip(project_id: UUID, given: ActionRequest, caller: Asking, workbench: OpenWorkbench) -> DoneShape:
    """It comes back after all others."""
    workbench.labelling.skip(project_id, given.assignment_id, given.id, annotator=caller)
    return DoneShape.of(workbench.labelling.progress_of(project_id, annotator=caller))


@router.post("/{project_id}/undo", summary="Take a rating back", responses=refusals(400, 403, 404, 409, 422, 503))
def undo(project_id: UUID, given: ActionRequest, caller: Asking, workbench: OpenWorkbench) -> DoneShape:
    """The clip is yours to rate again."""
    workbench.labelling.undo(project_id, given.assignment_id, given.id, annotator=caller)
    return DoneShape.of(workbench.labelling.progress_of(project_id, annotator=caller))


@router.get("/{project_id}/assignments", summary="See who has which clip", responses=refusals(404, 409, 422, 503))
def assignments(project_id: UUID, caller: Asking, workbench: OpenWorkbench) -> PlacesShape:
    """Every clip, oldest first, with who has its places and how many are free."""
    return PlacesShape.of(workbench.labelling.places(project_id, reader=caller.reader))


@router.post(
    "/{project_id}/assignments", summary="Give clips by hand", responses=refusals(400, 403, 404, 409, 422, 503)
)
def assign(project_id: UUID, given: AssignRequest, caller: Asking, workbench: OpenWorkbench) -> HandoutShape:
    """Give each of the clips to each of the annotators. What cannot be given is told; the rest is given."""
    handout = workbench.labelling.assign(
        project_id, given.recordings, given.annotators, by=caller, takes_over=given.takes_over
    )
    return HandoutShape.of(handout)


@router.get("/{project_id}/progress", summary="See how far everybody is", responses=refusals(404, 409, 422, 503))
def progress(project_id: UUID, caller: Asking, workbench: OpenWorkbench) -> dict[UUID, ProgressShape]:
    """By the id of each annotator."""
    found = workbench.labelling.progress(project_id, reader=caller.reader)
    return {annotator: ProgressShape.of(each) for annotator, each in found.items()}


@router.get("/{project_id}/agreement", summary="See how far people agree", responses=refusals(404, 409, 422, 503))
def agreement(
    project_id: UUID,
    caller: Asking,
    workbench: OpenWorkbench,
    method: Annotated[Method, Query(description="How the consensus is made.")] = Method.MAJORITY,
) -> AgreementShape:
    """Krippendorff's alpha with its interval, Cohen's kappa of every pair, and everybody against the consensus."""
    return AgreementShape.of(agreement_of(workbench.labelling, project_id, reader=caller.reader, method=method))


@router.get("/{project_id}/consensus", summary="See what people agree on", responses=refusals(404, 409, 422, 503))
def consensus(
    project_id: UUID,
    caller: Asking,
    workbench: OpenWorkbench,
    method: Annotated[Method, Query(description="How the consensus is made.")] = Method.MAJORITY,
) -> ConsensusShape:
    """The consensus of every rated recording, and of the segments that people drew in it."""
    found = workbench.labelling.clips_for_review(project_id, reader=caller.reader, method=method)
    return ConsensusShape.of(found)


@router.get("/{project_id}/settings", summary="See how a project is labelled", responses=refusals(404, 409, 422, 503))
def settings(project_id: UUID, caller: Asking, workbench: OpenWorkbench) -> LabellingSettingsShape:
    """Labels, overlap, annotators and queues. Gold clips are shown to the owner and admins only."""
    return LabellingSettingsShape.of(workbench.labelling.settings_for(project_id, caller))


@router.put(
    "/{project_id}/settings", summary="Set up how a project is labelled", responses=refusals(400, 403, 404, 422, 503)
)
def configure(
    project_id: UUID, given: LabellingSettingsShape, caller: Asking, workbench: OpenWorkbench
) -> LabellingSettingsShape:
    """Replace the settings. What has been rated stays."""
    return LabellingSettingsShape.of(workbench.labelling.configure(project_id, given.settings(), by=caller))
