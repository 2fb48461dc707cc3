"""The catalogue of events that webhooks tell of."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from core.errors import InvalidParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """What one type of event says."""

    name: str
    happens: str
    """When, in a sentence."""
    told: str
    """Whose endpoints are told."""
    fields: Mapping[str, str]
    """What `data` holds, by name."""


TEST = "webhook.test"
"""Sent when somebody asks for it, to one endpoint, whatever that takes."""

EVENTS: tuple[EventKind, ...] = (
    EventKind(
        name="prediction.created",
        happens="A recording has been analysed, and the answer is stored.",
        told="the owner of the recording",
        fields={
            "prediction_id": "of `GET /api/v1/predictions/{prediction_id}`",
            "recording_id": "the recording it is about",
            "project_id": "the project that shares it, or null",
            "emotion": "the one with the highest probability",
            "confidence": "that probability, 0 to 1",
            "abstained": "whether the answer is “not sure”",
            "probabilities": "of all eight emotions",
            "model_version": "who answered",
            "duration_s": "of the recording",
            "source": "the door it came in by",
            "created_at": "when the answer was stored",
        },
    ),
    EventKind(
        name="batch.succeeded",
        happens="A batch has been scored to its end; single recordings in it may have been refused.",
        told="who sent the batch",
        fields={
            "batch_id": "of `GET /api/v1/batches/{id}`",
            "n_recordings": "in the batch",
            "n_problems": "that could not be scored",
        },
    ),
    EventKind(
        name="batch.failed",
        happens="A batch could not go on, or none of its recordings could be scored.",
        told="who sent the batch",
        fields={"batch_id": "of `GET /api/v1/batches/{id}`", "error": "what stopped it, in a sentence"},
    ),
    EventKind(
        name="recording.deleted",
        happens="A recording was deleted with every prediction about it, by somebody or because its time was over.",
        told="the owner of the recording",
        fields={
            "recording_id": "the recording",
            "project_id": "the project that shared it, or null",
            "deleted_at": "when",
        },
    ),
    EventKind(
        name="report.sent",
        happens="A scheduled report was handed to the mail server.",
        told="who scheduled it",
        fields={"report_id": "the report", "n_recipients": "to how many addresses"},
    ),
    EventKind(
        name="model.deployed",
        happens="Another version of a model answers from now on.",
        told="admins",
        fields={"model": "its name", "model_version": "the version that answers now"},
    ),
    EventKind(
        name="alert.opened",
        happens="A measurement has passed its limit.",
        told="admins",
        fields={
            "alert_id": "the alert",
            "rule": "`latency`, `errors`, `memory` ...",
            "subject": "what it is about, where there are several",
            "sentence": "what was found, in words",
            "value": "what was measured",
            "limit": "what it has passed",
            "opened_at": "when it was noticed",
        },
    ),
)
EVENT_TYPES: tuple[str, ...] = tuple(event.name for event in EVENTS)


def require_event_types(names: Iterable[str]) -> frozenset[str]:
    """`names` as a filter. Raises InvalidParameterError for one that is in no catalogue, with the nearest that is."""
    wanted = frozenset(names)
    for name in sorted(wanted - set(EVENT_TYPES)):
        nearest = difflib.get_close_matches(name, EVENT_TYPES, n=1, cutoff=0.0)[0]
        raise InvalidParameterError("event_types", repr(name), f"types of the catalogue, such as {nearest!r}")
    return wanted


def body_of(event_type: str, data: Mapping[str, object], *, at: datetime) -> str:
    """The body of a message, as the specification lays it out: `type`, `timestamp`, `data`.

    Raises
    ------
    ValueError
        `data` holds what JSON has no word for, such as NaN.
    """
    message = {"type": event_type, "timestamp": at.isoformat(), "data": dict(data)}
    return json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
