"""One's own account: who one is, the password, where one is signed in."""

from __future__ import annotations

import streamlit as st

from core.domain import Caller, Session
from core.workbench import Workbench
from pages.parts import frame, refusals, session, words

MAX_SESSIONS = 10


def who(caller: Caller) -> str:
    """Name, address, role and plan in a line."""
    user = caller.user
    return f"{words.plain(user.name)} \u00b7 {words.plain(user.email)} \u00b7 {user.role.value} \u00b7 plan {user.plan}"


def draw_password(workbench: Workbench, caller: Caller) -> None:
    """Choose the first password, or another one."""
    user = caller.user
    st.subheader("Change the password" if user.has_password else "Choose a password", anchor=False)
    if not user.has_password:
        st.caption("Until you do, only a one-time link opens this account.")
    with st.form("account_password", clear_on_submit=True, border=False):
        if user.has_password:
            old = st.text_input("Present password", type="password", key="account_old", autocomplete="current-password")
        else:
            old = None
        new = st.text_input(
            "New password",
            type="password",
            key="account_new",
            autocomplete="new-password",
            help="At least 12 characters; several words that only you combine are best. Other sessions end.",
        )
        is_wanted = st.form_submit_button("Save password", key="account_save_password")
    if is_wanted:
        with refusals.told():
            with workbench.sign_in_guard.attempt(user.email, session.address()):
                workbench.access.set_password(user.id, new=new, old=old, keeps_session=caller.session_id)
            st.session_state["account_saved"] = True
            st.rerun()
    if st.session_state.pop("account_saved", False):
        st.success("The new password is saved. All other sessions have ended.", icon=":material/check:")


def draw_sessions(workbench: Workbench, caller: Caller) -> None:
    """Where one is signed in, and how to end that."""
    st.subheader("Signed in", anchor=False)
    sessions = workbench.access.sessions_of(caller.user.id)
    for each in sessions[:MAX_SESSIONS]:
        _draw_session(workbench, each, is_this=each.id == caller.session_id)
    if len(sessions) > MAX_SESSIONS:
        st.caption(f"And {len(sessions) - MAX_SESSIONS} more.")
    if st.button("Sign out everywhere", key="account_sign_out_everywhere", icon=":material/logout:"):
        workbench.access.sign_out_everywhere(caller.user.id)
        frame.leave()


def _draw_session(workbench: Workbench, each: Session, *, is_this: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"account_session_{each.id}"):
        where = f" from {words.plain(each.address)}" if each.address else ""
        began = words.when(each.created_at, session.zone())
        st.markdown(f"**{words.browser(each.user_agent)}**{where}  \nsince {began}", anchors=False)
        if is_this:
            st.caption("This browser")
        elif st.button("Sign out", key=f"account_end_{each.id}", type="tertiary"):
            workbench.access.sign_out(each.id)
            st.rerun()
