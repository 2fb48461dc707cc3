"""Jobs: everything that is done in the background, how far it is, and what can be done about it."""

from __future__ import annotations

import streamlit as st

from pages.parts import job_list, session


def render() -> None:
    workbench = session.workbench()
    st.title("Jobs", anchor=False)
    st.caption("What is done in the background. It goes on when you close this page, and after a restart.")
    if not workbench.jobs.is_running:
        st.info("Nothing works on jobs here at the moment.", icon=":material/pause_circle:")
        return
    states = job_list.choose_states()
    job_list.draw(workbench, states)


render()
