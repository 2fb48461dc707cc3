"""What lines of the usage ledger amount to, as expressions that both databases run."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import ColumnElement, Integer, Label, and_, case, cast, func

from core.domain import Emotion
from core.store.schema import confidence_column, emotion_column, usage_events

N_CONFIDENCE_BINS = 20
LIVE_METHODS = ("WEBSOCKET", "WEBRTC")
"""Live streams last as long as somebody speaks, which says nothing about how fast answers are."""

BIN_GROWTH = 1.02
"""Each bin of answer times ends 2 % above where it begins: its geometric middle is within 1 % of all that it counts."""
SHORTEST_MS = 0.01
"""What took less lies in the first bin, which stands for 0 ms."""
LAST_BIN = 1200
"""Of answers that took longer than two days."""

_COLUMNS = usage_events.c


def n_where(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """How many lines fulfil `condition`."""
    return func.count(case((condition, 1)))


_IS_REQUEST = _COLUMNS.duration_ms.is_not(None)
N_REQUESTS = func.count(_COLUMNS.duration_ms).label("n_requests")
N_CALLS = n_where(_COLUMNS.n_predictions > 0).label("n_calls")
AUDIO_S = func.coalesce(func.sum(_COLUMNS.audio_s), 0.0).label("audio_s")
FIGURES: tuple[Label[Any], ...] = (
    N_REQUESTS,
    n_where(and_(_IS_REQUEST, _COLUMNS.status.between(400, 499))).label("n_refused"),
    n_where(and_(_IS_REQUEST, _COLUMNS.status >= 500)).label("n_failed"),
    N_CALLS,
    func.coalesce(func.sum(_COLUMNS.n_predictions), 0).label("n_predictions"),
    AUDIO_S,
    func.min(_COLUMNS.began_at).label("first_at"),
    func.max(_COLUMNS.began_at).label("last_at"),
)
ANSWERED_IN_MS = case((_COLUMNS.method.not_in(LIVE_METHODS), _COLUMNS.duration_ms))
_STEPS = func.floor(func.ln(ANSWERED_IN_MS / SHORTEST_MS) / math.log(BIN_GROWTH))
LATENCY_BIN = case(
    (ANSWERED_IN_MS <= SHORTEST_MS, 0),
    (ANSWERED_IN_MS > SHORTEST_MS, 1 + cast(func.least(_STEPS, LAST_BIN - 1), Integer)),
)
"""The bin that the answer time of a line lies in; NULL where it has none."""


def confidence_bin(n_bins: int) -> ColumnElement[int]:
    """The bin that the confidence of a line lies in, from 0; 1.0 lies in the last."""
    return cast(func.greatest(0, func.least(func.floor(_COLUMNS.confidence * n_bins), n_bins - 1)), Integer)


EMOTIONS = tuple(n_where(_COLUMNS.emotion == emotion.value).label(emotion_column(emotion)) for emotion in Emotion)
IS_OWN_LABEL = and_(_COLUMNS.emotion.is_not(None), _COLUMNS.emotion.not_in([emotion.value for emotion in Emotion]))
"""Lines whose answer is a label of a model that was trained here, and none of the eight."""
CONFIDENCES = tuple(
    n_where(and_(_COLUMNS.confidence.is_not(None), confidence_bin(N_CONFIDENCE_BINS) == number)).label(
        confidence_column(number)
    )
    for number in range(N_CONFIDENCE_BINS)
)
