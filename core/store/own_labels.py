"""What predictions say of labels that are none of the eight emotions; apart, as shipped models have none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Table, select

from core.domain import Emotion, Label, Prediction, label_of
from core.store.schema import prediction_own_labels, probability_column

_COLUMNS = tuple(probability_column(emotion) for emotion in Emotion)


def own_label_rows(predictions: Sequence[Prediction]) -> list[tuple[Table, Sequence[Mapping[str, object]]]]:
    """Rows for labels that are none of the eight, where there are any."""
    rows = []
    for prediction in predictions:
        own = {label.value: share for label, share in prediction.probabilities.items() if label not in set(Emotion)}
        if own:
            rows.append({"prediction_id": prediction.id, "probabilities": json.dumps(own)})
    return [(prediction_own_labels, rows)] if rows else []


def own_probabilities_of(
    connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]], *, id_column: str = "id"
) -> dict[UUID, dict[Label, float]]:
    """Probabilities of labels that are none of the eight, by prediction, for rows of predictions with their eight.

    Asks only for those whose eight do not sum to 1.
    """
    ids = [row._mapping[id_column] for row in rows if _leaves_something(row) and row._mapping[id_column] is not None]
    if not ids:
        return {}
    columns = prediction_own_labels.c
    found = connection.execute(select(prediction_own_labels).where(columns.prediction_id.in_(ids)))
    return {row.prediction_id: read_own_probabilities(row.probabilities) for row in found}


def _leaves_something(row: Row[*tuple[Any, ...]]) -> bool:
    return sum(row._mapping[column] or 0.0 for column in _COLUMNS) < 1 - 1e-6


def read_own_probabilities(text: str) -> dict[Label, float]:
    """As they are kept."""
    return {label_of(name): float(share) for name, share in json.loads(text).items()}
