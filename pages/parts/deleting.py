"""Deleting a recording: offered to those who may, and asked about once more before it happens."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.domain import Recording
from core.workbench import Workbench
from pages.parts import session


def offer(workbench: Workbench, recording: Recording, *, prefix: str, on_deleted: Callable[[], None]) -> None:
    """Offer to delete `recording`; once that is done, `on_deleted` and the page runs anew."""
    reader = session.reader()
    if not reader.sees_everything and recording.owner_id != reader.user_id:
        return
    with st.popover("Delete this recording", icon=":material/delete:", type="tertiary", key=f"{prefix}_delete_ask"):
        st.markdown("Its sound goes, and with it every answer about it. This cannot be undone.", anchors=False)
        if st.button("Delete for good", key=f"{prefix}_delete", type="primary", icon=":material/delete_forever:"):
            workbench.delete_recording(recording.id, reader=reader, by=session.caller())
            session.inbox().forget_recording(recording.id)
            on_deleted()
            st.toast("The recording is deleted.", icon=":material/delete_forever:")
            st.rerun()
