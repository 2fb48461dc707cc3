"""People: accounts and their roles, invitations, everybody's keys, and the audit log."""

from __future__ import annotations

import streamlit as st

from pages.parts import audit, keys, people, session


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    users = {user.id: user for user in workbench.access.users()}
    st.title("People", anchor=False)
    st.caption("Who may come in, and what they may do.")
    accounts, all_keys, log = st.tabs(["Accounts", "API keys", "Audit log"], key="people_tabs")
    with accounts:
        people.draw_invitation(workbench, caller)
        people.draw_accounts(workbench, caller, list(users.values()))
    with all_keys:
        keys.draw_all(workbench, caller, users)
    with log:
        audit.draw(workbench)


render()
