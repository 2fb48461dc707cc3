"""What the address of Explore says: filters, order, and which prediction is open. So a link shows what its sender saw.

The address is where these are kept; widgets and charts only show and change it. Whatever does not make sense in an
address is left out, as if it had not been said.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from core.domain import Label, Source, is_label_name, label_of
from core.store.predictions import MAX_ENTROPY_NATS, PredictionFilter, PredictionOrder

EMOTION, SOURCE, MODEL, NAME, VERDICT = "emotion", "source", "model", "name", "verdict"
CONFIDENCE, UNCERTAINTY, FROM, UNTIL = "confidence", "uncertainty", "from", "until"
PROJECT, BATCH, ORDER, PREDICTION = "project", "batch", "order", "prediction"
FILTERS = (EMOTION, SOURCE, MODEL, NAME, VERDICT, CONFIDENCE, UNCERTAINTY, FROM, UNTIL, PROJECT, BATCH)
SURE, NOT_SURE = "sure", "unsure"
MOMENT = "%Y-%m-%dT%H:%MZ"

Parameters = Mapping[str, Sequence[str]]
"""All values of each name in an address, in their order."""

_Choice = TypeVar("_Choice", bound=enum.StrEnum)


def filter_of(parameters: Parameters) -> PredictionFilter:
    """What the address lets through.

    Examples
    --------
    >>> filter_of({"emotion": ["angry", "bored", " "], "confidence": ["50-80"]}).emotions
    (<Emotion.ANGRY: 'angry'>, 'bored')
    """
    verdict = _first(parameters, VERDICT)
    least, most = _range(_first(parameters, CONFIDENCE), divisor=100, top=1.0)
    lowest, highest = _range(_first(parameters, UNCERTAINTY), divisor=1, top=MAX_ENTROPY_NATS)
    return PredictionFilter(
        emotions=_labels(parameters.get(EMOTION, ())),
        sources=_choices(Source, parameters.get(SOURCE, ())),
        model_versions=tuple(dict.fromkeys(parameters.get(MODEL, ()))),
        recording_name=_first(parameters, NAME),
        abstained={SURE: False, NOT_SURE: True}.get(verdict),
        min_confidence=least,
        max_confidence=most,
        min_entropy_nats=lowest,
        max_entropy_nats=highest,
        created_from=_moment(_first(parameters, FROM)),
        created_before=_moment(_first(parameters, UNTIL)),
        project_id=_uuid(_first(parameters, PROJECT)),
        batch_id=_uuid(_first(parameters, BATCH)),
    )


def parameters_of(chosen: PredictionFilter) -> dict[str, list[str]]:
    """The address that lets this through; what does not restrict is left out. Ranges widen to whole percent and 0.01.

    Examples
    --------
    >>> parameters_of(PredictionFilter(abstained=True, min_confidence=0.25))
    {'verdict': ['unsure'], 'confidence': ['25-100']}
    """
    said = {
        EMOTION: [emotion.value for emotion in chosen.emotions],
        SOURCE: [source.value for source in chosen.sources],
        MODEL: list(chosen.model_versions),
        NAME: [chosen.recording_name] if chosen.recording_name else [],
        VERDICT: [] if chosen.abstained is None else [NOT_SURE if chosen.abstained else SURE],
        CONFIDENCE: _say_range(chosen.min_confidence, chosen.max_confidence, scale=100, digits=0, top=1.0),
        UNCERTAINTY: _say_range(
            chosen.min_entropy_nats, chosen.max_entropy_nats, scale=1, digits=2, top=MAX_ENTROPY_NATS
        ),
        FROM: _say_moment(chosen.created_from),
        UNTIL: _say_moment(chosen.created_before),
        BATCH: [] if chosen.batch_id is None else [str(chosen.batch_id)],
        PROJECT: [] if chosen.project_id is None else [str(chosen.project_id)],
    }
    return {name: values for name, values in said.items() if values}


def order_of(parameters: Parameters) -> PredictionOrder:
    """Which predictions stand first."""
    return next(iter(_choices(PredictionOrder, parameters.get(ORDER, ()))), PredictionOrder.NEWEST)


def prediction_of(parameters: Parameters) -> UUID | None:
    """Which prediction is open."""
    return _uuid(_first(parameters, PREDICTION))


def _uuid(text: str) -> UUID | None:
    digits = text.replace("-", "")
    return UUID(digits) if re.fullmatch("[0-9a-fA-F]{32}", digits) else None


def _first(parameters: Parameters, name: str) -> str:
    return next(iter(parameters.get(name, ())), "").strip()


def _labels(values: Sequence[str]) -> tuple[Label, ...]:
    return tuple(dict.fromkeys(label_of(value) for value in values if is_label_name(value)))


def _choices(kind: type[_Choice], values: Sequence[str]) -> tuple[_Choice, ...]:
    known = {choice.value for choice in kind}
    return tuple(kind(value) for value in dict.fromkeys(values) if value in known)


def _range(text: str, *, divisor: int, top: float) -> tuple[float | None, float | None]:
    """`low-high` as bounds from 0 to `top`; None for a bound that leaves nothing out."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)-([0-9]{1,3}(?:\.[0-9]{1,4})?)", text)
    if found is None:
        return None, None
    low, high = sorted(min(float(end) / divisor, top) for end in found.groups())
    return (low if low > 0 else None), (high if high < top else None)


def _say_range(low: float | None, high: float | None, *, scale: float, digits: int, top: float) -> list[str]:
    if low is None and high is None:
        return []
    step = 10**digits
    least = math.floor(round((low or 0.0) * scale * step, 6)) / step
    most = math.ceil(round((top if high is None else high) * scale * step, 6)) / step
    return [f"{least:.{digits}f}-{most:.{digits}f}"]


def _moment(text: str) -> datetime | None:
    """`2026-11-22T13:05Z`."""
    try:
        return datetime.strptime(text, MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _say_moment(moment: datetime | None) -> list[str]:
    return [] if moment is None else [moment.astimezone(UTC).strftime(MOMENT)]
