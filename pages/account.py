"""Account: one's password, sessions and API keys."""

from __future__ import annotations

import streamlit as st

from core.domain import Caller
from core.workbench import Workbench
from pages.parts import account, accounts_data, keys, session


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    st.title("Account", anchor=False)
    st.caption(account.who(caller))
    left, right = st.columns([2, 3], gap="large")
    with left:
        password_and_sessions(workbench, caller)
    with right:
        keys.draw_own(workbench, caller)


def password_and_sessions(workbench: Workbench, caller: Caller) -> None:
    account.draw_password(workbench, caller)
    account.draw_sessions(workbench, caller)
    accounts_data.draw(workbench, caller)


render()
