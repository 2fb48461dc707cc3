"""The clips of a review, as a table. A frame here is a view: its columns stand in the docstring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import streamlit as st

from core.domain import Emotion
from core.labelling.labelling import ReviewClip, Shown
from pages.parts import labelling_words, words
from pages.parts.people_names import Names
from pages.parts.tables import ROW_HEIGHT_PX
from pages.parts.theme import EMOTION_COLOURS, surface, tint

MOST_ROWS = 8
"""Longer tables scroll, so that what is open stays in sight."""


SHOWN_WORDS: Mapping[Shown, str] = {Shown.TO_DECIDE: "To decide", Shown.DECIDED: "Decided", Shown.ALL: "All"}


def draw(clips: Sequence[ReviewClip], names: Names, *, key: str) -> int | None:
    """Draw the table; gives the position of the clip that is open, the first at the beginning."""
    shades = surface()
    labels = {label for clip in clips for label in _labels(clip)}
    labels |= {clip.consensus.label for clip in clips if clip.consensus is not None}
    options = sorted(_chip(label) for label in labels)
    colours = [_colour(option, shades.background, shades.line) for option in options]
    rows = st.dataframe(
        frame(clips, names),
        key=key,
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height=ROW_HEIGHT_PX * (MOST_ROWS + 1) if len(clips) > MOST_ROWS else "content",
        placeholder="",
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [0]}},
        column_config={
            "Recording": st.column_config.TextColumn(width="medium"),
            "Said": st.column_config.MultiselectColumn(options=options, color=colours, width="large"),
            "Consensus": st.column_config.MultiselectColumn(options=options, color=colours, width="small"),
            "Share": st.column_config.ProgressColumn(
                min_value=0, max_value=100, format="%.0f %%", help=labelling_words.SHARE_HELP, width="small"
            ),
            "Model": st.column_config.TextColumn(width="small"),
            "State": st.column_config.TextColumn(width="medium"),
        },
        alt="Rated clips, those people disagree about most first",
    ).selection.rows
    return rows[0] if rows and rows[0] < len(clips) else 0


def frame(clips: Iterable[ReviewClip], names: Names) -> pd.DataFrame:
    """Columns Recording, Said (chips), Consensus (chip), Share (%), Model, State."""
    rows = [
        (
            clip.recording.name,
            [_chip(label) for label in _labels(clip)],
            [] if clip.consensus is None else [_chip(clip.consensus.label)],
            None if clip.consensus is None else 100 * clip.consensus.probabilities[clip.consensus.label],
            "" if clip.answer is None else f"{clip.answer.label}, {words.percent(clip.answer.confidence)}",
            labelling_words.state(clip, names),
        )
        for clip in clips
    ]
    return pd.DataFrame(rows, columns=["Recording", "Said", "Consensus", "Share", "Model", "State"])


def _labels(clip: ReviewClip) -> list[str]:
    """One word for each rating."""
    said = []
    for rating in clip.ratings:
        if rating.flag is not None:
            said.append(labelling_words.FLAG_WORDS[rating.flag])
        elif rating.label is not None:
            said.append(rating.label)
        else:
            said.append(f"{len(rating.segments)} segments")
    return said


def _chip(label: str) -> str:
    return words.emotion_label(Emotion(label)) if label in set(Emotion) else label


def _colour(chip: str, background: str, line: str) -> str:
    emotion = next((each for each in Emotion if words.emotion_label(each) == chip), None)
    return line if emotion is None else tint(EMOTION_COLOURS[emotion], background)
