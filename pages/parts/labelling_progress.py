"""How far the annotators of a project are."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import pandas as pd
import streamlit as st

from core.domain import Caller, Project
from core.labelling.state import Progress
from core.workbench import Workbench
from pages.parts import frame, people_names
from pages.parts.people_names import Names
from pages.parts.tables import ROW_HEIGHT_PX


def draw(workbench: Workbench, caller: Caller, project: Project) -> None:
    """A row for each annotator, and where to go on from there."""
    found = workbench.labelling.progress(project.id, reader=caller.reader)
    if not found:
        st.info("This project has no annotators yet. Choose them under Set up.", icon=":material/group_add:")
        return
    if not any(each.n_total for each in found.values()):
        st.info(
            "This project has no recordings yet. Hand some in, and choose the project there.", icon=":material/mic:"
        )
        frame.link("analyse", "Analyse a recording", icon=":material/graphic_eq:")
    names = people_names.names_in_project(workbench, project.id, caller.reader)
    shown = progress_frame(found, names)
    st.dataframe(
        shown,
        key="labelling_progress",
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height="content" if len(shown) < 12 else ROW_HEIGHT_PX * 12,
        column_config={
            "Annotator": st.column_config.TextColumn(width="medium"),
            "Progress": st.column_config.ProgressColumn(min_value=0, max_value=100, format="%.0f %%"),
            "Rated": st.column_config.NumberColumn(format="localized"),
            "Left": st.column_config.NumberColumn(
                format="localized", help="Clips that wait for them, or that they could still be given."
            ),
        },
        alt="Progress of each annotator",
    )
    frame.link("review", "Review what they said", icon=":material/rule:")


def progress_frame(found: Mapping[UUID, Progress], names: Names) -> pd.DataFrame:
    """Columns Annotator, Progress (%), Rated, Left; who rated most first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1].n_done, names.user(item[0])))
    rows = [
        (
            names.user(annotator),
            100 * each.n_done / each.n_total if each.n_total else 0.0,
            each.n_done,
            each.n_total - each.n_done,
        )
        for annotator, each in ordered
    ]
    return pd.DataFrame(rows, columns=["Annotator", "Progress", "Rated", "Left"])
