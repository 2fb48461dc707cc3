"""The audit log, for admins: who changed what, and whether the log is whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

import pandas as pd
import streamlit as st

from core.domain import AuditEntry
from core.store.audit import select_audit_entries, verify_audit_log
from core.workbench import Workbench
from pages.parts import session, words
from pages.parts.tables import ROW_HEIGHT_PX

PAGE_ROWS = 50


def draw(workbench: Workbench) -> None:
    """The newest entries, older ones on demand, and a check of the whole chain."""
    store = workbench.access.store
    if st.button("Verify the whole log", key="people_verify", icon=":material/verified:"):
        verdict = verify_audit_log(store)
        if verdict.broken_number is None:
            st.success(f"All {verdict.n_entries:,} entries are as they were written.", icon=":material/check:")
        else:
            st.error(verdict.sentence, icon=":material/error:")
    before = st.session_state.get("people_audit_before")
    entries = select_audit_entries(store, limit=PAGE_ROWS, before=before)
    st.dataframe(
        audit_frame(entries, session.zone()),
        key="people_audit",
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height="content",
        alt="Audit log",
    )
    with st.container(horizontal=True):
        if before is not None:
            st.button("Newest", key="people_audit_newest", on_click=_turn_to, args=(None,))
        if len(entries) == PAGE_ROWS:
            st.button("Older", key="people_audit_older", on_click=_turn_to, args=(entries[-1].number,))


def _turn_to(before: int | None) -> None:
    st.session_state["people_audit_before"] = before


def audit_frame(entries: Sequence[AuditEntry], zone: tzinfo) -> pd.DataFrame:
    """Columns No., When, Who, Did, To whom or what, Details."""
    rows = [
        (
            entry.number,
            words.when(entry.at, zone),
            entry.actor,
            entry.action,
            entry.subject,
            ", ".join(f"{name} {value}" for name, value in entry.details.items() if value != ""),
        )
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=["No.", "When", "Who", "Did", "To whom or what", "Details"])
