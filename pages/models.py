"""Models: which one answers, where each comes from and what it is worth, how a better one or one's own is made."""

from __future__ import annotations

import streamlit as st

from pages.parts import model_versions, own_models, retraining, session


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    st.title("Models", anchor=False)
    st.caption("Which model answers, what each is worth, and how corrections or clips of your own make another.")
    versions, learning, own = st.tabs(["Versions", "Retrain", "Train your own"], key="models_tabs")
    with versions:
        model_versions.draw(workbench, caller)
    with learning:
        retraining.draw(workbench, caller)
    with own:
        own_models.draw(workbench, caller)


render()
