"""Sign out: end this session."""

from __future__ import annotations

import streamlit as st

from pages.parts import frame, session


def render() -> None:
    caller = session.caller()
    if caller.session_id is not None:
        session.workbench().access.sign_out(caller.session_id)
    st.title("Sign out", anchor=False)
    st.caption("This session has ended.")
    frame.leave()


render()
