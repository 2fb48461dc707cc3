"""Accounts, for admins: who is invited, who may what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

import pandas as pd
import streamlit as st

from core.access.links import link_address
from core.domain import Caller, LinkKind, Role, User
from core.workbench import Workbench
from pages.parts import refusals, session, words
from pages.parts.tables import ROW_HEIGHT_PX

LINK = "people_link"


def draw_invitation(workbench: Workbench, caller: Caller) -> None:
    """Invite somebody, by a link that is mailed or handed over."""
    settings = workbench.settings
    with st.expander("Invite somebody", icon=":material/person_add:"):
        if settings.registration == "closed":
            st.caption("The setting `registration` is `closed`: nobody can be invited.")
            return
        with st.form("people_invite", clear_on_submit=True, border=False):
            email = st.text_input("E-mail address", key="people_email", autocomplete="off")
            role = st.segmented_control(
                "Role",
                list(Role),
                default=Role(settings.new_user_role),
                required=True,
                format_func=lambda role: role.value.capitalize(),
                key="people_role",
            )
            is_wanted = st.form_submit_button("Make the invitation", key="people_invite_send")
        if is_wanted:
            with refusals.told():
                token = workbench.access.invite(email=email, role=role, by=caller)
                _hand_over(workbench, LinkKind.INVITATION, email, token)
    _show_link(workbench)


def _hand_over(workbench: Workbench, kind: LinkKind, email: str, token: str) -> None:
    port = st.get_option("server.port")
    address = link_address(workbench.settings, kind, token, port=port, is_https=session.speaks_https())
    st.session_state[LINK] = (email, address)  # first: a link whose mail fails can be handed over
    if workbench.mail_link is not None:
        workbench.mail_link(kind, email, token)
    st.rerun()


def _show_link(workbench: Workbench) -> None:
    if LINK not in st.session_state:
        return
    email, address = st.session_state[LINK]
    with st.container(border=True, key="people_link_shown"):
        mailed = "It is on its way by mail; you can also hand it over" if workbench.mail_link else "Hand it over"
        st.markdown(
            f"**A link for {words.plain(email)}.** {mailed}. It works once, and is shown this once.", anchors=False
        )
        st.code(address, language=None, wrap_lines=True)
        if st.button("Done", key="people_link_taken"):
            del st.session_state[LINK]
            st.rerun()


def draw_accounts(workbench: Workbench, caller: Caller, users: Sequence[User]) -> None:
    """A table of accounts; a ticked one can be changed."""
    chosen = st.dataframe(
        accounts_frame(users, session.zone()),
        key="people_accounts",
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height="content" if len(users) < 12 else ROW_HEIGHT_PX * 12,
        on_select="rerun",
        selection_mode="single-row",
        alt="Accounts",
    ).selection.rows
    if chosen:
        _draw_account(workbench, caller, users[chosen[0]])
    else:
        st.caption("Tick an account to change its role or plan, disable it, or make a link to a new password.")


def _draw_account(workbench: Workbench, caller: Caller, user: User) -> None:
    with st.container(border=True, key="people_account"):
        st.markdown(f"**{words.plain(user.name)}** \u00b7 {words.plain(user.email)}", anchors=False)
        plans = list(workbench.settings.plans)
        plan_now = user.plan if user.plan in plans else workbench.settings.new_user_plan
        with st.form(f"people_change_{user.id}", border=False):
            role = st.segmented_control(
                "Role",
                list(Role),
                default=user.role,
                required=True,
                format_func=lambda role: role.value.capitalize(),
                key=f"people_role_{user.id}",
            )
            plan = st.segmented_control("Plan", plans, default=plan_now, required=True, key=f"people_plan_{user.id}")
            is_active = st.toggle("May sign in", value=user.is_active, key=f"people_active_{user.id}")
            is_wanted = st.form_submit_button("Save", key=f"people_save_{user.id}")
        if is_wanted:
            with refusals.told():
                workbench.access.change_account(user.id, role=role, plan=plan, is_active=is_active, by=caller)
                st.rerun()
        if user.is_active and st.button(
            "Link to a new password", key=f"people_reset_{user.id}", type="tertiary", icon=":material/link:"
        ):
            with refusals.told():
                token = workbench.access.reset_link(user.id, by=caller)
                if token is not None:
                    _hand_over(workbench, LinkKind.PASSWORD_RESET, user.email, token)


def accounts_frame(users: Sequence[User], zone: tzinfo) -> pd.DataFrame:
    """Columns Name, E-mail, Role, Plan, State, Last signed in, Since."""
    rows = [
        (
            user.name,
            user.email,
            user.role.value,
            user.plan,
            "disabled" if not user.is_active else "active" if user.has_password else "no password yet",
            "never" if user.last_sign_in_at is None else words.when(user.last_sign_in_at, zone),
            words.when(user.created_at, zone),
        )
        for user in users
    ]
    return pd.DataFrame(rows, columns=["Name", "E-mail", "Role", "Plan", "State", "Last signed in", "Since"])
