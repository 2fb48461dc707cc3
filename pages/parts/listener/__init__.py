"""The listening widget: one recording heard and seen, as annotators hear and see it, without anything to label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from core.domain import Recording
from pages.parts import labeller
from pages.parts.theme import Surface

_FOLDER = Path(__file__).parent
_SHARED = Path(labeller.__file__).parent
MARKUP = (_FOLDER / "listener.html").read_text(encoding="utf-8")
STYLE = "\n".join(path.read_text(encoding="utf-8") for path in (_SHARED / "labeller.css", _FOLDER / "listener.css"))
SCRIPT = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (*(_SHARED / name for name in ("server.js", "sound.js", "picture.js")), _FOLDER / "listener.js")
)
_listener = st.components.v2.component("telepathy_listener", html=MARKUP, css=STYLE, js=SCRIPT)


def listen(recording: Recording, surface: Surface, *, key: str) -> None:
    """Let the reader hear and see `recording`; it is fetched from the API, with the session's cookie."""
    _listener(key=key, data=sight_of(recording, surface))


def sight_of(recording: Recording, surface: Surface) -> Mapping[str, object]:
    """What the widget has to know."""
    return {
        "recording_id": str(recording.id),
        "duration_s": recording.duration_s,
        "look": labeller.picture_look(surface),
    }
