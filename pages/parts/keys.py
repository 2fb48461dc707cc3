"""API keys: made and shown once, replaced, revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from uuid import UUID

import pandas as pd
import streamlit as st

from core.access.roles import ROLE_SCOPES, WORKING
from core.domain import ApiKey, Caller, Scope, User
from core.workbench import Workbench
from pages.parts import refusals, session, words
from pages.parts.tables import ROW_HEIGHT_PX

LIVES: Mapping[str, timedelta | None] = {
    "30 days": timedelta(days=30),
    "90 days": timedelta(days=90),
    "1 year": timedelta(days=365),
    "Until revoked": None,
}
OVERLAP = timedelta(days=1)
SCOPE_WORDS: Mapping[Scope, str] = {
    Scope.PREDICT: "Predict",
    Scope.READ: "Read",
    Scope.DELETE: "Delete",
    Scope.ADMIN: "Administer",
}
SHOWN = "account_new_key"


def draw_own(workbench: Workbench, caller: Caller) -> None:
    """One's own keys."""
    st.subheader("API keys", anchor=False)
    if caller.user.role not in WORKING:
        st.caption("Keys let programs in. Your role does not have them; an admin can change that.")
        return
    st.caption("A key lets a program call the API as you. Treat it like a password.")
    _show_new()
    with st.expander("New key", icon=":material/key:", expanded=not living(workbench.access.keys_of(caller.user.id))):
        _draw_form(workbench, caller)
    for key in living(workbench.access.keys_of(caller.user.id)):
        _draw_key(workbench, caller, key)


def living(keys: Sequence[ApiKey]) -> list[ApiKey]:
    """Those that are taken now."""
    now = datetime.now(UTC)
    return [key for key in keys if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)]


def _show_new() -> None:
    """The key just made: in this run and until the page is left or the key hidden."""
    text = st.session_state.get(SHOWN)
    if text is None:
        return
    with st.container(border=True, key="account_key_shown"):
        st.markdown("**Copy the new key now.** It is shown this once and kept nowhere.", anchors=False)
        st.code(text, language=None, wrap_lines=True)
        if st.button("I have it", key="account_key_taken"):
            del st.session_state[SHOWN]
            st.rerun()


def _draw_form(workbench: Workbench, caller: Caller) -> None:
    possible = [scope for scope in Scope if scope in ROLE_SCOPES[caller.user.role]]
    with st.form("account_key", clear_on_submit=True, border=False):
        name = st.text_input("Name", key="account_key_name", max_chars=100, placeholder="What it is for")
        scopes = st.pills(
            "What it may do",
            possible,
            selection_mode="multi",
            default=[Scope.PREDICT, Scope.READ],
            format_func=SCOPE_WORDS.__getitem__,
            key="account_key_scopes",
        )
        life = st.segmented_control("Valid for", list(LIVES), default="1 year", required=True, key="account_key_life")
        is_wanted = st.form_submit_button("Make the key", key="account_make_key")
    if is_wanted:
        with refusals.told():
            lasts = LIVES[life]
            _, text = workbench.access.create_key(
                caller.user.id,
                name,
                frozenset(scopes),
                expires_at=None if lasts is None else datetime.now(UTC) + lasts,
                by=caller,
            )
            st.session_state[SHOWN] = text
            st.rerun()


def _draw_key(workbench: Workbench, caller: Caller, key: ApiKey) -> None:
    with st.container(border=True, key=f"account_key_{key.id}"):
        st.markdown(f"**{words.plain(key.name)}** `{key.prefix}\u2026{key.last_four}`", anchors=False)
        st.caption(described(key, session.zone()))
        with st.container(horizontal=True):
            if st.button(
                "Replace",
                key=f"account_rotate_{key.id}",
                type="tertiary",
                icon=":material/autorenew:",
                help="A new key of the same name; this one stays valid for a day.",
            ):
                with refusals.told():
                    _, text = workbench.access.rotate_key(key.id, by=caller, overlap=OVERLAP)
                    st.session_state[SHOWN] = text
                    st.rerun()
            if _is_revoked("Revoke", key, f"account_revoke_{key.id}"):
                with refusals.told():
                    workbench.access.revoke_key(key.id, by=caller)
                    if st.session_state.get(SHOWN, "").endswith(key.last_four):
                        del st.session_state[SHOWN]
                    st.rerun()


def _is_revoked(label: str, key: ApiKey, prefix: str) -> bool:
    """Whether a key is to be revoked, asked about once more: every program that uses it stops at once."""
    with st.popover(label, icon=":material/block:", type="tertiary", key=f"{prefix}_ask"):
        st.markdown(
            f"Programs that use **{words.plain(key.name)}** are refused from now on. This cannot be undone.",
            anchors=False,
        )
        return st.button("Revoke for good", key=prefix, type="primary", icon=":material/block:")


def described(key: ApiKey, zone: tzinfo) -> str:
    """Scopes, expiry and last use in a line."""
    scopes = ", ".join(SCOPE_WORDS[scope].lower() for scope in Scope if scope in key.scopes)
    until = "until revoked" if key.expires_at is None else f"until {words.when(key.expires_at, zone)}"
    used = "never used" if key.last_used_at is None else f"last used {words.when(key.last_used_at, zone)}"
    return f"May {scopes}; valid {until}; {used}."


def draw_all(workbench: Workbench, caller: Caller, users: Mapping[UUID, User]) -> None:
    """Everybody's living keys; a ticked one can be revoked."""
    found = living(workbench.access.all_keys())
    if not found:
        st.caption("Nobody has a key.")
        return
    chosen = st.dataframe(
        keys_frame(found, users, session.zone()),
        key="people_keys",
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height="content" if len(found) < 10 else ROW_HEIGHT_PX * 10,
        on_select="rerun",
        selection_mode="single-row",
        alt="API keys of everybody",
    ).selection.rows
    if chosen:
        key = found[chosen[0]]
        label = f"Revoke {key.prefix}\u2026{key.last_four}"
        if _is_revoked(label, key, "people_revoke_key"):
            with refusals.told():
                workbench.access.revoke_key(key.id, by=caller)
                st.rerun()


def keys_frame(keys: Sequence[ApiKey], users: Mapping[UUID, User], zone: tzinfo) -> pd.DataFrame:
    """Columns Owner, Name, Key, Scopes, Made, Valid until, Last used."""
    rows = [
        (
            users[key.user_id].email if key.user_id in users else str(key.user_id),
            key.name,
            f"{key.prefix}\u2026{key.last_four}",
            ", ".join(scope.value for scope in Scope if scope in key.scopes),
            words.when(key.created_at, zone),
            "" if key.expires_at is None else words.when(key.expires_at, zone),
            "" if key.last_used_at is None else words.when(key.last_used_at, zone),
        )
        for key in keys
    ]
    return pd.DataFrame(rows, columns=["Owner", "Name", "Key", "Scopes", "Made", "Valid until", "Last used"])
