"""The results of a batch as CSV (RFC 4180), harmless in spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from core.domain import Emotion
from core.reports.predictions_csv import BYTE_ORDER_MARK, own_probabilities, without_formula
from core.store.batches import BatchRow

COLUMNS = (
    *("position", "name", "emotion", "confidence", "abstained"),
    *(f"probability_{emotion}" for emotion in Emotion),
    *("predictive_entropy_nats", "duration_s", "model_version", "n_passes", "is_repeat", "recording_id"),
    *("prediction_id", "problem_code", "problem", "own_probabilities"),
)


def batch_csv(rows: Sequence[BatchRow], *, has_header: bool = True) -> str:
    """One line for each recording that is done: its answer, or its problem."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if has_header:
        text.write(BYTE_ORDER_MARK)
        writer.writerow(COLUMNS)
    writer.writerows([_cells(row) for row in rows])
    return text.getvalue()


def _cells(row: BatchRow) -> list[object]:
    return [
        row.position,
        without_formula(row.name),
        without_formula(row.emotion or ""),
        _or_empty(row.confidence),
        "" if row.abstained is None else str(row.abstained).lower(),
        *(row.probabilities.get(emotion, "") for emotion in Emotion),
        _or_empty(row.predictive_entropy_nats),
        _or_empty(row.duration_s),
        row.model_version or "",
        _or_empty(row.n_passes),
        str(row.is_repeat).lower(),
        row.recording_id or "",
        row.prediction_id or "",
        row.problem_code,
        without_formula(row.problem),
        own_probabilities(row.probabilities),
    ]


def _or_empty(value: float | None) -> object:
    return "" if value is None else value
