"""A line across a chart that follows its player, and the way back: a click in the chart moves the player."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

SCRIPT = Path(__file__).with_name("playhead.js")


def follow(*, player: str, chart: str, key: str) -> None:
    """Tie the chart with the key `chart` to the player inside the container with the key `player`."""
    mount = st.components.v2.component("telepathy_playhead", js=SCRIPT.read_text(encoding="utf-8"))
    mount(key=key, data={"player": player, "chart": chart}, height=0)
