"""Predictions as CSV (RFC 4180), UTF-8 with a byte order mark so that spreadsheets read names right."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping

from core.domain import Emotion, Label, OwnLabel, Reader
from core.store.engine import Store
from core.store.predictions import (
    EVERYTHING,
    MAX_PAGE_ROWS,
    PredictionFilter,
    PredictionOrder,
    PredictionRow,
    select_predictions,
)

COLUMNS = (
    "id",
    "created_at",
    "recording_name",
    "recording_id",
    "source",
    "duration_s",
    "emotion",
    "confidence",
    "abstained",
    *(f"probability_{emotion}" for emotion in Emotion),
    "predictive_entropy_nats",
    "expected_entropy_nats",
    "mutual_information_nats",
    "model_version",
    "n_passes",
    "latency_ms",
    "own_probabilities",
)
BYTE_ORDER_MARK = "\ufeff"
RUN = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
"""Before what a spreadsheet would run as a formula (OWASP, "CSV injection"): at the beginning of a cell, and after what
begins another one where semicolons or tabs separate, since there the quotes around a cell do not count. East Asian
keyboards give the last four signs for the first four."""


def predictions_csv(
    store: Store,
    *,
    reader: Reader,
    filter: PredictionFilter = EVERYTHING,
    order: PredictionOrder = PredictionOrder.NEWEST,
) -> Iterator[str]:
    """What `reader` may see and `filter` lets through, a thousand at a time: first the header, then blocks of lines."""
    yield BYTE_ORDER_MARK + _lines([COLUMNS])
    cursor: str | None = None
    while True:
        page = select_predictions(store, reader=reader, filter=filter, limit=MAX_PAGE_ROWS, cursor=cursor, order=order)
        yield _lines([_cells(row) for row in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return


def without_formula(text: str) -> str:
    """`text` with an apostrophe before it where a spreadsheet would run it.

    Examples
    --------
    >>> without_formula('=HYPERLINK("http://example.org")'), without_formula("a;=1.wav"), without_formula("anger.wav")
    ('\\'=HYPERLINK("http://example.org")', "a;'=1.wav", 'anger.wav')
    """
    return RUN.sub(r"\1'", text)


def own_probabilities(probabilities: Mapping[Label, float]) -> str:
    """Those of labels that are none of the eight emotions, as JSON; empty where there are none.

    >>> own_probabilities({OwnLabel("bored"): 0.25, Emotion.CALM: 0.75}), own_probabilities({Emotion.CALM: 1.0})
    ('{"bored": 0.25}', '')
    """
    own = {label.value: share for label, share in probabilities.items() if isinstance(label, OwnLabel)}
    return json.dumps(own, ensure_ascii=False) if own else ""


def _cells(row: PredictionRow) -> tuple[object, ...]:
    return (
        row.id,
        row.created_at.isoformat(),
        without_formula(row.recording_name),
        row.recording_id,
        row.source.value,
        row.duration_s,
        without_formula(row.emotion.value),
        row.confidence,
        str(row.abstained).lower(),
        *(row.probabilities.get(emotion, "") for emotion in Emotion),
        row.uncertainty.predictive_entropy_nats,
        row.uncertainty.expected_entropy_nats,
        row.uncertainty.mutual_information_nats,
        without_formula(row.model_version),
        row.n_passes,
        row.latency_ms,
        own_probabilities(row.probabilities),
    )


def _lines(rows: list[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
