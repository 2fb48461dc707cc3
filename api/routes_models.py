"""Models: which can answer, and what each says of itself."""

from __future__ import annotations

from fastapi import APIRouter

from api.access import OpenWorkbench
from api.routes_predictions import refusals
from api.schemas import ModelListShape, ModelShape
from core.domain import PROCESS
from core.inference.registry import list_models
from core.store.training_uses import count_deleted_training_recordings

router = APIRouter(prefix="/api/v1", tags=["models"])


@router.get("/models", summary="List models", responses=refusals(503))
def read_models(workbench: OpenWorkbench) -> ModelListShape:
    """Every model that stands in the folder of models, with its terms of use."""
    settings = workbench.settings
    cards = list_models(settings.models_dir, installed_dir=settings.installed_models_dir)
    deleted = count_deleted_training_recordings(workbench.store, reader=PROCESS)
    return ModelListShape(
        items=[
            ModelShape.of(card, default=settings.model, n_deleted_training_recordings=deleted.get(card.version, 0))
            for card in cards
        ]
    )
