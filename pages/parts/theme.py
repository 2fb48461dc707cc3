"""How Telepathy looks: one colour, one sign and one word per emotion, the same on every page, light or dark.

A saturated colour always means an emotion; everything else is ink on paper. tests/unit/test_theme.py checks that the
colours can be told apart by colour-blind readers and stand out from both backgrounds, and that .streamlit/config.toml
says the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.emotion_colours import EMOTION_COLOURS, EMOTION_SIGNS, SPEAKS_AGAINST, SPEAKS_FOR, colours_of, sign_of

__all__ = [
    "DARK",
    "EMOTION_COLOURS",
    "EMOTION_SIGNS",
    "LIGHT",
    "TINT_SHARE",
    "Surface",
    "colours_of",
    "sign_of",
    "surface",
    "tint",
]

TINT_SHARE = 0.26
"""How much of an emotion's colour stays behind text of normal size, which a full colour would not leave readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The colours of one theme that charts need; .streamlit/config.toml says the same to Streamlit."""

    background: str
    raised: str
    """Behind cards and inputs."""
    text: str
    muted: str
    """Axis labels, captions."""
    line: str
    """Grid, borders."""
    bar: str
    """Bars that mean no emotion."""
    quiet: str
    """Sound without an emotion: nobody speaks, or we are not sure. Paler than the grey of neutral."""
    scale: tuple[str, str, str]
    """From nothing to most, for heat maps of no emotion."""
    speaks_for: str
    speaks_against: str
    """What raises an emotion and what lowers it, in explanations: warm and cool, and always with + or \u2212 beside."""


LIGHT = Surface(
    background="#FFFFFF",
    raised="#F6F5F2",
    text="#23262E",
    muted="#5E6470",
    line="#E4E1DA",
    bar="#6C7484",
    quiet="#B4B9C3",
    scale=("#FFFFFF", "#8E95A3", "#14171F"),
    speaks_for=SPEAKS_FOR,
    speaks_against=SPEAKS_AGAINST,
)
DARK = Surface(
    background="#121419",
    raised="#1B1E25",
    text="#ECEAE5",
    muted="#A4A8B1",
    line="#2B303A",
    bar="#8B93A3",
    quiet="#474D59",
    scale=("#121419", "#6B7384", "#F4F2ED"),
    speaks_for="#FF9A3C",
    speaks_against="#55B2FF",
)


def tint(colour: str, background: str) -> str:
    """`colour` thinned into `background`, for use behind text.

    Examples
    --------
    >>> tint("#FF0000", "#FFFFFF")
    '#FFBDBD'
    """
    mixed = (
        round(TINT_SHARE * int(colour[at : at + 2], 16) + (1 - TINT_SHARE) * int(background[at : at + 2], 16))
        for at in (1, 3, 5)
    )
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def surface() -> Surface:
    """The colours of the theme this browser shows."""
    return DARK if st.context.theme.type == "dark" else LIGHT
