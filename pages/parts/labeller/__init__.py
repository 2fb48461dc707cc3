"""The annotating widget: a clip's sound and picture, a key for each label, the next clip loaded in advance.

It asks the API by itself, with the session's cookie, so that no run of the page stands between two clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import streamlit as st

from core.domain import Emotion
from pages.parts.theme import EMOTION_COLOURS, EMOTION_SIGNS, Surface

EVERYTHING = ("second", "intensity", "note")
ADDRESS = "/api/v1/labelling/{project_id}"

_FOLDER = Path(__file__).parent
_SCRIPTS = ("segments.js", "server.js", "outbox.js", "sound.js", "picture.js", "board.js", "hands.js", "labeller.js")
"""One after the other they are one module: Streamlit takes a single text."""
MARKUP = (_FOLDER / "labeller.html").read_text(encoding="utf-8")
STYLE = (_FOLDER / "labeller.css").read_text(encoding="utf-8")
SCRIPT = "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS)
_labeller = st.components.v2.component("telepathy_labeller", html=MARKUP, css=STYLE, js=SCRIPT)


def annotate(task: Mapping[str, object], *, key: str) -> None:
    """Have the reader label the clips of `task`, which `task_of` makes."""
    _labeller(key=key, data=task)


def task_of(
    *,
    project_id: UUID,
    user_id: UUID,
    labels: Sequence[str],
    surface: Surface,
    asks: Sequence[str] = EVERYTHING,
) -> dict[str, object]:
    """What the widget has to know.

    Parameters
    ----------
    user_id
        What was rated and could not be sent yet is kept in the browser under this name, so that nobody sends another's.
    labels
        In the order of their keys, 1 to 9.
    asks
        Which of `EVERYTHING` is asked besides the label.
    """
    return {
        "address": ADDRESS.format(project_id=project_id),
        "user": str(user_id),
        "labels": [label_look(name, surface) for name in labels],
        "asks": {name: name in asks for name in EVERYTHING},
        "look": picture_look(surface),
    }


def picture_look(surface: Surface) -> dict[str, object]:
    """The colours in which a recording's picture is drawn."""
    return {
        "scale": list(surface.scale),
        "ink": surface.text,
        "paper": surface.background,
        "raised": surface.raised,
        "muted": surface.muted,
        "bar": surface.bar,
    }


def label_look(name: str, surface: Surface) -> dict[str, str]:
    """Name, colour and sign of a label; colours mean emotions, so other labels are ink.

    >>> from pages.parts.theme import LIGHT
    >>> label_look("angry", LIGHT), label_look("sarcastic", LIGHT)
    ({'name': 'angry', 'colour': '#CC2124', 'sign': '✕'}, {'name': 'sarcastic', 'colour': '#5E6470', 'sign': ''})
    """
    if name not in set(Emotion):
        return {"name": name, "colour": surface.muted, "sign": ""}
    emotion = Emotion(name)
    return {"name": name, "colour": EMOTION_COLOURS[emotion], "sign": EMOTION_SIGNS[emotion]}
