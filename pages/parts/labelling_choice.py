"""Which project the pages of labelling are about: the choice goes from page to page."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import streamlit as st

from core.domain import Project

LAST = "labelling_last_project"


def choose(projects: Sequence[Project], *, key: str) -> Project:
    """One of `projects`; nothing is asked while there is only one."""
    by_id = {project.id: project for project in projects}
    if len(by_id) == 1:
        return projects[0]
    last: UUID | None = st.session_state.get(LAST)
    chosen = st.selectbox(
        "Project",
        list(by_id),
        index=list(by_id).index(last) if last in by_id else 0,
        format_func=lambda each: by_id[each].name,
        key=key,
    )
    st.session_state[LAST] = chosen
    return by_id[chosen]
