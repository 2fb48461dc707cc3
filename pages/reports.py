"""Reports: what some predictions amount to, as PDF, Excel or CSV; to download, or by e-mail on a schedule."""

from __future__ import annotations

import streamlit as st

from core.store.predictions import count_predictions
from pages.parts import report_schedules, reports, session


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    st.title("Reports", anchor=False)
    st.caption("What some predictions amount to, for people who do not open Telepathy.")
    if count_predictions(workbench.store, reader=caller.reader) == 0:
        empty()
    else:
        reports.draw(workbench, caller)
    report_schedules.draw(workbench, caller)


def empty() -> None:
    with st.container(border=True, key="reports_empty"):
        st.subheader("Nothing to report yet", anchor=False)
        st.markdown("Whatever is analysed, by page or by API, can be reported here. Hand in a first recording:")
        st.page_link("analyse.py", label="Analyse a recording", icon=":material/graphic_eq:")


render()
