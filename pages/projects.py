"""Projects: what is recorded for which purpose, who shares it, and how long it is kept."""

from __future__ import annotations

import streamlit as st

from pages.parts import projects, session


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    st.title("Projects", anchor=False)
    st.caption("Recordings that several people share, for one stated purpose.")
    listed, new = st.columns([3, 2], gap="large")
    with listed:
        projects.draw_list(workbench, caller)
    with new:
        projects.draw_new(workbench, caller)


render()
