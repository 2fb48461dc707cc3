"""Leafing through pages by cursor: the store remembers nothing, the session remembers the way back."""

from __future__ import annotations

from dataclasses import dataclass, field

import streamlit as st

from core.store.predictions import PredictionFilter, PredictionOrder

PAGE_ROWS = 25
STATE = "explore_place"


@dataclass
class Place:
    """Where a reader stands in the pages of one question."""

    question: tuple[PredictionFilter, PredictionOrder]
    way: list[str | None] = field(default_factory=lambda: [None])
    """Cursors of the pages from the first to this one."""

    @property
    def cursor(self) -> str | None:
        """Where this page begins; None for the first."""
        return self.way[-1]

    @property
    def first_row(self) -> int:
        """How many rows stand before this page."""
        return PAGE_ROWS * (len(self.way) - 1)


def place(chosen: PredictionFilter, order: PredictionOrder) -> Place:
    """Where the reader stands; a new question begins at its first page."""
    kept: Place | None = st.session_state.get(STATE)
    if kept is None or kept.question != (chosen, order):
        kept = st.session_state[STATE] = Place(question=(chosen, order))
    return kept


def draw(here: Place, next_cursor: str | None, n_shown: int) -> None:
    """Draw the way to the pages before and after."""
    last_row = min(here.first_row + PAGE_ROWS, n_shown)
    with st.container(horizontal=True, vertical_alignment="center", key="explore_paging"):
        st.button(
            "Previous",
            key="explore_previous",
            icon=":material/chevron_left:",
            disabled=len(here.way) == 1,
            on_click=here.way.pop,
        )
        st.button(
            "Next",
            key="explore_next",
            icon=":material/chevron_right:",
            disabled=next_cursor is None,
            on_click=here.way.append,
            args=(next_cursor,),
        )
        st.caption(f"Rows {here.first_row + 1:,} to {last_row:,} of {n_shown:,}")
