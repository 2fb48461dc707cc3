"""What is said over the streaming WebSocket: every message as a model, and the AsyncAPI document made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core import __version__
from core.domain import Label, LiveEmotion, LiveSummary
from core.inference.live import (
    MAX_HOP_S,
    MAX_SAMPLE_RATE_HZ,
    MAX_WINDOW_S,
    MIN_HOP_S,
    MIN_SAMPLE_RATE_HZ,
    MIN_WINDOW_S,
)

ENCODINGS = {"s16le": 2, "f32le": 4}
"""Bytes of one sample."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Configuration(_Message):
    """The first message, as text: what the frames hold and how they are to be judged."""

    type: Literal["start"] = "start"
    sample_rate: int = Field(ge=MIN_SAMPLE_RATE_HZ, le=MAX_SAMPLE_RATE_HZ, description="Hz.", examples=[16_000])
    encoding: Literal["s16le", "f32le"] = Field("s16le", description="Mono, little-endian.")
    window_s: float = Field(1.0, ge=MIN_WINDOW_S, le=MAX_WINDOW_S, description="How much sound one answer judges.")
    hop_s: float = Field(0.5, ge=MIN_HOP_S, le=MAX_HOP_S, description="Time between answers; at most window_s.")
    smoothing_s: float = Field(1.0, ge=0, le=10, description="Time constant of the smoothed answer, 0 for none.")
    n_passes: int | None = Field(None, ge=2, le=500, description="Forward passes; left out: as the settings say.")
    model: str | None = Field(None, max_length=100, description="Name of the model; left out: the default.")
    store: bool = Field(False, description="Whether to keep the stream as a recording with its timeline.")
    may_store: bool = Field(False, description="Whether `end` may still ask for that; until then nothing is kept.")
    project: UUID | None = Field(None, description="The project that shares the recording, when the stream is kept.")
    consent: bool = Field(
        False, description="Whether whoever speaks has agreed to being recorded; needed once, to keep a stream."
    )
    name: str = Field("Live stream", max_length=200, description="What the recording is called when it is kept.")


class End(_Message):
    """The last message, as text: no frame follows."""

    type: Literal["end"]
    store: bool | None = Field(
        None, description="Whether to keep the stream after all; needs `store` or `may_store` in the configuration."
    )


class Ready(_Message):
    """Frames may come now."""

    type: Literal["ready"] = "ready"
    stream_id: UUID
    model_version: str
    emotions: list[Label]
    lag_s: float = Field(description="Mean age of what a smoothed answer tells of, without computing and sending.")
    configuration: Configuration


class EmotionHeard(_Message):
    """One window with speech."""

    type: Literal["emotion"] = "emotion"
    start_s: float
    end_s: float
    emotion: Label = Field(description="On top of `smoothed`.")
    confidence: float = Field(description="The largest smoothed probability.")
    abstained: bool = Field(description='Whether this is an honest "not sure".')
    probabilities: dict[Label, float] = Field(description="Of this window alone.")
    smoothed: dict[Label, float]
    predictive_entropy: float = Field(description="Nats; all of the uncertainty.")
    expected_entropy: float = Field(description="Nats; the part that lies in the sound.")
    mutual_information: float = Field(description="Nats; the part that lies in the model.")
    speech_ratio: float
    level_dbfs: float
    lag_s: float = Field(description="Sound received but not judged yet when this was sent, in seconds.")


class Silence(_Message):
    """One window in which nobody speaks."""

    type: Literal["silence"] = "silence"
    start_s: float
    end_s: float
    speech_ratio: float
    level_dbfs: float
    lag_s: float


class Warned(_Message):
    """Something to know; the stream goes on and nothing was lost."""

    type: Literal["warning"] = "warning"
    code: Literal["too_fast", "slow_reader", "recording_full"]
    detail: str


class Failed(_Message):
    """Something that was not done."""

    type: Literal["error"] = "error"
    code: str
    detail: str
    recoverable: bool = Field(description="Whether the stream goes on; otherwise it is closed.")


class Summary(_Message):
    """The last message: the whole stream in one answer."""

    type: Literal["summary"] = "summary"
    duration_s: float
    speech_s: float
    n_windows: int
    n_windows_with_speech: int
    emotion: Label | None = Field(description="On top of `probabilities`; null where nobody spoke.")
    probabilities: dict[Label, float] = Field(description="Mean over the windows, weighted by speech.")
    recording_id: UUID | None = Field(None, description="Of the recording, when the stream was kept.")
    prediction_id: UUID | None = Field(None, description="Of its prediction with the timeline.")


Event = Annotated[Ready | EmotionHeard | Silence | Warned | Failed | Summary, Field(discriminator="type")]
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def event_of(heard: LiveEmotion, *, lag_s: float) -> EmotionHeard | Silence:
    """The event that tells of one window."""
    if heard.emotion is None or heard.uncertainty is None:
        return Silence(
            start_s=heard.start_s,
            end_s=heard.end_s,
            speech_ratio=heard.speech_ratio,
            level_dbfs=heard.level_dbfs,
            lag_s=lag_s,
        )
    return EmotionHeard(
        start_s=heard.start_s,
        end_s=heard.end_s,
        emotion=heard.emotion,
        confidence=heard.smoothed[heard.emotion],
        abstained=heard.abstained,
        probabilities=dict(heard.probabilities),
        smoothed=dict(heard.smoothed),
        predictive_entropy=heard.uncertainty.predictive_entropy_nats,
        expected_entropy=heard.uncertainty.expected_entropy_nats,
        mutual_information=heard.uncertainty.mutual_information_nats,
        speech_ratio=heard.speech_ratio,
        level_dbfs=heard.level_dbfs,
        lag_s=lag_s,
    )


def summary_of(summary: LiveSummary, *, recording_id: UUID | None, prediction_id: UUID | None) -> Summary:
    """The last event of a stream."""
    probabilities = dict(summary.probabilities)
    return Summary(
        duration_s=summary.duration_s,
        speech_s=summary.speech_s,
        n_windows=summary.n_windows,
        n_windows_with_speech=summary.n_windows_with_speech,
        emotion=max(probabilities, key=lambda emotion: probabilities[emotion]) if probabilities else None,
        probabilities=probabilities,
        recording_id=recording_id,
        prediction_id=prediction_id,
    )


FROM_CLIENT: dict[str, type[BaseModel]] = {"configuration": Configuration, "end": End}
FROM_SERVER: dict[str, type[BaseModel]] = {
    "ready": Ready,
    "emotion": EmotionHeard,
    "silence": Silence,
    "warning": Warned,
    "error": Failed,
    "summary": Summary,
}


def asyncapi_document() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of the streaming channel."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for name, model in (FROM_CLIENT | FROM_SERVER).items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
        messages[name] = {
            "name": name,
            "summary": (model.__doc__ or "").strip(),
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        }
    messages["frame"] = {
        "name": "frame",
        "summary": "Samples, mono, in the encoding and at the rate of the configuration; any number of whole samples.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    channel = "#/channels/stream"
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Telepathy: live stream",
            "version": __version__,
            "description": "Send speech while it is spoken, learn which emotion it carries. `/ws/stream` is the same.",
        },
        "channels": {
            "stream": {
                "address": "/api/v1/stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "send": {
                "action": "receive",
                "channel": {"$ref": channel},
                "summary": "What the client sends: configuration, frames, end.",
                "messages": [{"$ref": f"{channel}/messages/{name}"} for name in [*FROM_CLIENT, "frame"]],
            },
            "listen": {
                "action": "send",
                "channel": {"$ref": channel},
                "summary": "What the server answers: ready first, summary last.",
                "messages": [{"$ref": f"{channel}/messages/{name}"} for name in FROM_SERVER],
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    }
