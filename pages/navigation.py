"""Which pages there are. The one place where errors that a user can be told are shown; all others stay loud."""

from __future__ import annotations

import streamlit as st

from core.errors import TelepathyError
from pages.parts import frame, refusals


def render() -> None:
    frame.begin()
    page = st.navigation(
        [
            st.Page(
                "analyse.py",
                title="Analyse",
                icon=":material/graphic_eq:",
                default=True,
                help="Hand in a recording and read which emotion it carries, how sure that is, and why.",
            ),
            st.Page(
                "live.py",
                title="Live",
                icon=":material/mic:",
                url_path="live",
                help="Speak, and see which emotion is heard while you do.",
            ),
            st.Page(
                "explore.py",
                title="Explore",
                icon=":material/travel_explore:",
                url_path="explore",
                help="Every prediction so far: filter, compare, listen again, download.",
            ),
            st.Page(
                "explain.py",
                title="Explain",
                icon=":material/lightbulb:",
                url_path="explain",
                help="Why an answer came out as it did: which stretches and which features of the voice spoke for it.",
            ),
            st.Page(
                "usage.py",
                title="Usage",
                icon=":material/data_usage:",
                url_path="usage",
                help="What you asked for so far, what is left of it this month, and what went wrong.",
            ),
            st.Page(
                "admin.py",
                title="Admin",
                icon=":material/monitor_heart:",
                url_path="admin",
                help="Who uses what, how fast and how well it is answered, what that costs, and alerts.",
            ),
        ],
        position="top",
    )
    try:
        page.run()
    except TelepathyError as error:
        refusals.show(error)


render()
