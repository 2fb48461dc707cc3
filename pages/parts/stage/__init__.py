"""The stage of the Live page: what is heard right now, large enough for the back of a room.

One component draws it for both ways in. By WebSocket it listens by itself; by WebRTC, Python hands it the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID

import streamlit as st

from core.domain import Emotion, Label, LiveEmotion
from pages.parts import words
from pages.parts.theme import colours_of, sign_of

WINDOW_S, HOP_S, SMOOTHING_S = 1.0, 0.25, 1.0
STREAM_ADDRESS = "/api/v1/stream"

_FOLDER = Path(__file__).parent
_stage = st.components.v2.component(
    "telepathy_stage",
    html=(_FOLDER / "stage.html").read_text(encoding="utf-8"),
    css=(_FOLDER / "stage.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "stage.js").read_text(encoding="utf-8"),
)


def listen(
    *, recording_name: str, project_id: UUID | None, key: str, labels: Iterable[Label] = Emotion
) -> tuple[UUID | None, bool]:
    """A stage that listens by WebSocket and shows `labels`, what the model can say.

    Returns
    -------
    kept
        The prediction of a session that has just been kept; None in every other run.
    is_refused
        Whether the WebSocket could not be opened.
    """
    result = _stage(
        key=key,
        data=_look(labels)
        | {"recording_name": recording_name, "project": None if project_id is None else str(project_id)},
        default={"refused": False},
        on_kept_change=_nothing,
        on_refused_change=_nothing,
    )
    return (UUID(result.kept) if result.kept else None), bool(result.refused)


def show(
    events: Sequence[LiveEmotion],
    *,
    peak_dbfs: float,
    status: str,
    is_listening: bool,
    key: str,
    labels: Iterable[Label] = Emotion,
) -> None:
    """A stage that shows `events`, oldest first, and the level that the sound has now."""
    shown = {
        "events": [_event(event) for event in events],
        "peak_dbfs": round(peak_dbfs, 1),
        "status": status,
        "isListening": is_listening,
    }
    _stage(key=key, data=_look(labels) | {"shown": shown}, on_kept_change=_nothing, on_refused_change=_nothing)


def _look(labels: Iterable[Label]) -> dict[str, object]:
    return {
        "emotions": [
            {"name": label.value, "colour": colour, "sign": sign_of(label)}
            for label, colour in colours_of(words.shown_labels(labels)).items()
        ],
        "address": STREAM_ADDRESS,
        "window_s": WINDOW_S,
        "hop_s": HOP_S,
        "smoothing_s": SMOOTHING_S,
        "shown": None,
    }


def _event(heard: LiveEmotion) -> dict[str, object]:
    """As the WebSocket would tell it."""
    event: dict[str, object] = {
        "type": "silence" if heard.emotion is None else "emotion",
        "end_s": heard.end_s,
    }
    if heard.emotion is not None and heard.uncertainty is not None:
        event |= {
            "emotion": heard.emotion.value,
            "confidence": heard.smoothed[heard.emotion],
            "abstained": heard.abstained,
            "smoothed": {emotion.value: round(share, 4) for emotion, share in heard.smoothed.items()},
            "predictive_entropy": heard.uncertainty.predictive_entropy_nats,
            "mutual_information": heard.uncertainty.mutual_information_nats,
        }
    return event


def _nothing() -> None:
    """Streamlit wants a callback for each value a component may send; the run that follows reads the value."""
