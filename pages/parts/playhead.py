"""A line across a chart that follows its player, and the way back: a click in the chart moves the player."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import streamlit as st

SCRIPT = Path(__file__).with_name("playhead.js")


def follow(*, player: str, chart: str, key: str, stretches: Sequence[tuple[float, float]] | None = None) -> None:
    """Tie the chart with the key `chart` to the player inside the container with the key `player`.

    With `stretches`, (start, end) in seconds, a click plays the one it falls into and stops at its end.
    """
    mount = st.components.v2.component("telepathy_playhead", js=SCRIPT.read_text(encoding="utf-8"))
    mount(key=key, data={"player": player, "chart": chart, "stretches": stretches}, height=0)


def stretch_button(label: str, start_s: float, end_s: float, *, player: str, style: str = "") -> str:
    """HTML of a button that plays one stretch; it works where `follow` was called for this player."""
    return (
        f'<button type="button" class="telepathy-play" data-play="{escape(player)}" data-start="{start_s:.3f}" '
        f'data-end="{end_s:.3f}" style="{escape(style)}"><span aria-hidden="true">\u25b6</span> '
        f"{escape(label)}</button>"
    )
