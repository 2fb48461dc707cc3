"""What is held on oneself: to take away as one file, or to delete with the account. Sections of the page Account."""

from __future__ import annotations

import streamlit as st

from core.accounts import delete_account
from core.domain import Caller
from core.workbench import Workbench
from pages.parts import frame

EXPORT = "/api/v1/account/export"


def draw(workbench: Workbench, caller: Caller) -> None:
    """Offer the export, and to delete the account."""
    st.subheader("Your data", anchor=False)
    # A link and not a download button, which would hold the whole file in memory.
    st.link_button(
        "Download all that is held on me",
        EXPORT,
        key="account_export",
        icon=":material/download:",
        help="Account, keys without their secrets, sessions, projects, audit entries, recordings and predictions.",
    )
    with st.popover("Delete my account", icon=":material/person_remove:", type="tertiary", key="account_delete_ask"):
        st.markdown(
            "Your recordings, every answer about them, your keys and your projects go with it. Only the audit log "
            "still names you. This cannot be undone.",
            anchors=False,
        )
        typed = st.text_input("Type your e-mail address to confirm", key="account_delete_typed")
        is_confirmed = typed.strip().casefold() == caller.user.email.casefold()
        if st.button("Delete for good", key="account_delete", type="primary", disabled=not is_confirmed):
            delete_account(workbench, caller.user.id, by=caller)
            frame.leave()
