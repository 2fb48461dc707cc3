"""Models: which one answers, where each comes from and what it is worth, and how a better one is made."""

from __future__ import annotations

import streamlit as st

from pages.parts import model_versions, retraining, session


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    st.title("Models", anchor=False)
    st.caption("Which model answers, what each is worth, and how your corrections make a better one.")
    versions, learning = st.tabs(["Versions", "Retrain"], key="models_tabs")
    with versions:
        model_versions.draw(workbench, caller)
    with learning:
        retraining.draw(workbench, caller)


render()
