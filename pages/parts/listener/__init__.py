"""The listening widget: one recording heard and seen, as annotators hear and see it, without anything to label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.domain import Recording
from pages.parts import labeller
from pages.parts.theme import Surface, tint

_FOLDER = Path(__file__).parent
_SHARED = Path(labeller.__file__).parent
MARKUP = (_FOLDER / "listener.html").read_text(encoding="utf-8")
STYLE = "\n".join(path.read_text(encoding="utf-8") for path in (_SHARED / "labeller.css", _FOLDER / "listener.css"))
SCRIPT = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (*(_SHARED / name for name in ("server.js", "sound.js", "picture.js")), _FOLDER / "listener.js")
)
_listener = st.components.v2.component("telepathy_listener", html=MARKUP, css=STYLE, js=SCRIPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A segment that somebody drew, or that several come to."""

    start_s: float
    end_s: float
    label: str | None
    """None where it is still to be decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The segments of one person, or of all together."""

    name: str
    pieces: Sequence[Piece]
    is_together: bool = False


def listen(recording: Recording, surface: Surface, *, key: str, lanes: Sequence[Lane] = ()) -> Piece | None:
    """Let the reader hear and see `recording`; it is fetched from the API, with the session's cookie.

    Gives the stretch that the reader marked where there are `lanes`: pressed in one of them, or drawn.
    """
    said = _listener(
        key=key,
        data=sight_of(recording, surface, lanes=lanes),
        default={"stretch": None},
        on_stretch_change=_nothing,
    )
    marked = said.stretch
    if not marked or marked["recording_id"] != str(recording.id):
        return None
    return Piece(start_s=float(marked["start"]), end_s=float(marked["end"]), label=marked["label"])


def sight_of(recording: Recording, surface: Surface, *, lanes: Sequence[Lane] = ()) -> Mapping[str, object]:
    """What the widget has to know."""
    return {
        "recording_id": str(recording.id),
        "duration_s": recording.duration_s,
        "look": labeller.picture_look(surface),
        "lanes": [
            {
                "name": lane.name,
                "is_together": lane.is_together,
                "pieces": [_piece(piece, surface) for piece in lane.pieces],
            }
            for lane in lanes
        ],
    }


def _piece(piece: Piece, surface: Surface) -> dict[str, object]:
    look = labeller.label_look(piece.label or "", surface)
    return {
        "start": piece.start_s,
        "end": piece.end_s,
        "label": piece.label,
        "text": "to decide" if piece.label is None else f"{look['sign']} {piece.label}".strip(),
        "colour": look["colour"],
        "paper": tint(look["colour"], surface.background),
    }


def _nothing() -> None:
    """Streamlit wants a callback for a value that a component keeps; the run that follows reads it."""
