"""Giving chosen clips to chosen annotators by hand."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pandas as pd
import streamlit as st

from core.domain import Caller, Project
from core.labelling.labelling import ClipPlaces, Handout
from core.labelling.state import LEASE_BY_HAND, Holder, NotGiven
from core.workbench import Workbench
from pages.parts import people_names, refusals, words
from pages.parts.people_names import Names
from pages.parts.tables import ROW_HEIGHT_PX

MOST_ROWS = 500
TOLD = "labelling_given"
ROUND = "labelling_given_round"
REASONS = {
    NotGiven.THEIRS: "had been given to them before",
    NotGiven.TAKEN: "had no free place",
}


def draw(workbench: Workbench, caller: Caller, project: Project) -> None:
    """The clips with who has them, and to whom those that are chosen go."""
    if project.owner_id != caller.user.id and not caller.reader.sees_everything:
        st.info("Only the owner of a project and admins give clips out by hand.", icon=":material/lock:")
        return
    settings = workbench.labelling.settings(project.id, caller.reader)
    if not settings.annotators:
        st.info("This project has no annotators yet. Choose them under Set up.", icon=":material/group_add:")
        return
    st.caption(
        "Annotators get clips by themselves, by the queues under Set up. Here you give some to somebody in particular: "
        f"they keep them for {LEASE_BY_HAND.days} days, nobody gets a clip twice, and no more people get one than "
        f"“People per clip” says ({settings.overlap})."
    )
    names = people_names.names_in_project(workbench, project.id, caller.reader)
    clips = workbench.labelling.places(project.id, reader=caller.reader)
    if not clips:
        st.info("This project has no recordings yet.", icon=":material/mic:")
        return
    chosen = _choose(clips, names)
    people: list[UUID] = st.multiselect(
        "To whom",
        list(settings.annotators),
        format_func=names.user,
        key=f"labelling_give_to_{project.id}",
        placeholder="Annotators",
    )
    takes_over = st.checkbox(
        "Also take clips from whoever has not rated them yet",
        key="labelling_give_takes_over",
        help="Where no place is free. Should they rate it all the same, their rating counts.",
    )
    if st.button(
        _offer(len(chosen), len(people)), key="labelling_give", type="primary", disabled=not chosen or not people
    ):
        with refusals.told():
            recording_ids = [each.recording.id for each in chosen]
            handout = workbench.labelling.assign(project.id, recording_ids, people, by=caller, takes_over=takes_over)
            st.session_state[TOLD] = handout_in_words(handout)
            st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1  # only a new key empties the selection
            st.rerun()
    if told := st.session_state.pop(TOLD, ""):
        st.success(told, icon=":material/check:")


def _choose(clips: Sequence[ClipPlaces], names: Names) -> list[ClipPlaces]:
    wanted = st.text_input("Find clips by name", key="labelling_give_find", placeholder="Part of a name", width=360)
    found = [each for each in clips if wanted.casefold() in each.recording.name.casefold()]
    shown = found[:MOST_ROWS]
    if len(found) > len(shown):
        st.caption(f"The first {len(shown):,} of {len(found):,}: name them more closely.")
    rows = st.dataframe(
        places_frame(shown, names),
        key=f"labelling_give_table_{st.session_state.get(ROUND, 0)}_{wanted}",
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height=ROW_HEIGHT_PX * 10 if len(shown) > 9 else "content",
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "Recording": st.column_config.TextColumn(width="medium"),
            "Length": st.column_config.NumberColumn(format="%.1f s", width="small"),
            "Who has it": st.column_config.TextColumn(width="large"),
            "Free places": st.column_config.NumberColumn(width="small"),
        },
        alt="Clips of the project and who has them",
    ).selection.rows
    return [shown[row] for row in rows if row < len(shown)]


def places_frame(clips: Sequence[ClipPlaces], names: Names) -> pd.DataFrame:
    """Columns Recording, Length (s), Who has it, Free places."""
    rows = [
        (
            each.recording.name,
            each.recording.duration_s,
            "; ".join(_said_of(holder, names) for holder in each.holders),
            each.n_free,
        )
        for each in clips
    ]
    return pd.DataFrame(rows, columns=["Recording", "Length", "Who has it", "Free places"])


def _said_of(holder: Holder, names: Names) -> str:
    state = "rated" if holder.is_rated else "by hand" if holder.is_by_hand else "waits"
    return f"{names.user(holder.annotator_id)} ({state})"


def _offer(n_clips: int, n_people: int) -> str:
    """
    >>> _offer(0, 1), _offer(1, 2)
    ('Give out', 'Give 1 clip to 2 people')
    """
    if not n_clips or not n_people:
        return "Give out"
    return f"Give {words.count(n_clips, 'clip')} to {'1 person' if n_people == 1 else f'{n_people} people'}"


def handout_in_words(handout: Handout) -> str:
    """What came of it."""
    said = [f"{words.count(len(handout.given), 'clip')} given out."]
    for reason in NotGiven:
        n = sum(each.reason is reason for each in handout.refused)
        if n:
            said.append(f"{n:,} {REASONS[reason]}.")
    return " ".join(said)
