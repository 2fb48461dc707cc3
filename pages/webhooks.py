"""Webhooks: programs of one's own that are told of what happens, and what became of each message."""

from __future__ import annotations

import streamlit as st

from pages.parts import session, webhooks


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    st.title("Webhooks", anchor=False)
    st.caption("A program of yours is told when something happens here, in signed messages that are not lost.")
    found = workbench.webhooks.endpoints(caller.user.id)
    listed, log = st.columns([2, 3], gap="large")
    with listed:
        webhooks.draw_list(workbench, caller, found)
        webhooks.draw_new(workbench, caller, is_first=not found)
    with log:
        webhooks.draw_log(workbench, caller, found)


render()
