"""The parts of Webhooks: endpoints, a secret that is shown once, and the log of deliveries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from uuid import UUID

import pandas as pd
import streamlit as st

from core.access.roles import is_admin
from core.domain import Caller, DeliveryState, WebhookDelivery, WebhookEndpoint
from core.webhooks.events import EVENTS, TEST
from core.webhooks.sending import MAX_URL, host_of
from core.webhooks.webhooks import MAX_DESCRIPTION
from core.workbench import Workbench
from pages.parts import refusals, session, words
from pages.parts.tables import ROW_HEIGHT_PX
from pages.parts.theme import surface

SHOWN = "webhooks_new_secret"
"""The id of a webhook, and the secret that was just made for it."""
OPEN = "webhooks_open"
"""The id of the webhook whose log is shown."""
PAGE_ROWS = 50
LOOK_EVERY_S = 2.0
TITLES: Mapping[str, str] = {
    "prediction.created": "New answer",
    "batch.succeeded": "Batch done",
    "batch.failed": "Batch failed",
    "recording.deleted": "Recording deleted",
    "report.sent": "Report sent",
    "model.deployed": "New model version",
    "alert.opened": "Alert",
    TEST: "Test",
}
STATE_WORDS: Mapping[DeliveryState, str] = {
    DeliveryState.TAKEN: "taken",
    DeliveryState.WAITING: "waiting",
    DeliveryState.FAILED: "failed",
}
ANY = "All"


def event_title(event_type: str) -> str:
    """An event in two words; one that has none shows its name."""
    return TITLES.get(event_type, event_type)


def draw_list(workbench: Workbench, caller: Caller, found: Sequence[WebhookEndpoint]) -> None:
    """Every webhook with what can be done to it."""
    if not found:
        st.info("No webhooks yet. Name the address of a program of yours below.", icon=":material/webhook:")
    for endpoint in found:
        _draw_endpoint(workbench, caller, endpoint)


def _draw_endpoint(workbench: Workbench, caller: Caller, endpoint: WebhookEndpoint) -> None:
    key = f"webhooks_{endpoint.id}"
    with st.container(border=True, key=key):
        st.markdown(f"**{words.plain(title_of(endpoint))}**", anchors=False)
        st.code(endpoint.url, language=None, wrap_lines=True)
        _draw_secret(endpoint)
        if endpoint.disabled_at is not None:
            since = words.when(endpoint.disabled_at, session.zone())
            st.warning(f"Off since {since}. {endpoint.disabled_because}", icon=":material/block:")
        st.caption(described(endpoint, session.zone()))
        with st.container(horizontal=True):
            if st.button("Log", key=f"{key}_log", type="tertiary", icon=":material/list_alt:"):
                st.session_state[OPEN] = endpoint.id
                st.rerun()
            if st.button(
                "Test",
                key=f"{key}_test",
                type="tertiary",
                icon=":material/send:",
                help="Sends a test message once. The log shows what was answered.",
            ):
                workbench.webhooks.test(endpoint.id, owner_id=caller.user.id)
                st.session_state[OPEN] = endpoint.id
                st.rerun()
            _draw_change(workbench, caller, endpoint, key)
            _draw_more(workbench, caller, endpoint, key)


def title_of(endpoint: WebhookEndpoint) -> str:
    """What a webhook is called: its description, or its host."""
    return endpoint.description or host_of(endpoint.url)


def described(endpoint: WebhookEndpoint, zone: tzinfo) -> str:
    """What it is told of, since when, and how long two secrets sign."""
    told = ", ".join(title.lower() for name, title in TITLES.items() if name in endpoint.event_types)
    lines = [f"Told of {told or 'everything'}; made {words.when(endpoint.created_at, zone)}."]
    if endpoint.previous_secret_until is not None:
        lines.append(f"The secret before this one signs too, until {words.when(endpoint.previous_secret_until, zone)}.")
    return " ".join(lines)


def _draw_secret(endpoint: WebhookEndpoint) -> None:
    """The secret just made for it: where whoever made it looks, until they have it or leave the page."""
    shown_id, secret = st.session_state.get(SHOWN, (None, ""))
    if shown_id != endpoint.id:
        return
    with st.container(border=True, key="webhooks_secret_shown"):
        st.markdown("**Copy the secret now.** Your program checks signatures with it. It is shown this once.")
        st.code(secret, language=None, wrap_lines=True)
        if st.button("I have it", key="webhooks_secret_taken"):
            del st.session_state[SHOWN]
            st.rerun()


def _draw_change(workbench: Workbench, caller: Caller, endpoint: WebhookEndpoint, key: str) -> None:
    with (
        st.popover("Change", icon=":material/edit:", type="tertiary", key=f"{key}_change"),
        st.form(f"{key}_form", border=False),
    ):
        url, event_types, description = _ask(caller, key, endpoint)
        if st.form_submit_button("Save", key=f"{key}_save"):
            with refusals.told():
                workbench.webhooks.change(
                    endpoint.id, by=caller, url=url, event_types=event_types, description=description
                )
                st.rerun()


def _draw_more(workbench: Workbench, caller: Caller, endpoint: WebhookEndpoint, key: str) -> None:
    with st.popover("More", icon=":material/more_horiz:", type="tertiary", key=f"{key}_more"):
        is_off = endpoint.disabled_at is not None
        label = "Switch on" if is_off else "Switch off"
        if st.button(label, key=f"{key}_switch", icon=":material/power_settings_new:", width="stretch"):
            workbench.webhooks.change(endpoint.id, by=caller, is_active=is_off)
            st.rerun()
        if st.button(
            "Replace the secret",
            key=f"{key}_rotate",
            icon=":material/autorenew:",
            help="For a day messages are signed with both, so that your program can change over.",
            width="stretch",
        ):
            with refusals.told():
                _, secret = workbench.webhooks.rotate(endpoint.id, by=caller)
                st.session_state[SHOWN] = (endpoint.id, secret)
                st.rerun()
        if st.button("Delete with its log", key=f"{key}_delete", icon=":material/delete:", width="stretch"):
            workbench.webhooks.delete(endpoint.id, by=caller)
            st.rerun()


def draw_new(workbench: Workbench, caller: Caller, *, is_first: bool) -> None:
    """The form for one more."""
    round_key = st.session_state.setdefault("webhooks_round", 0)
    with (
        st.expander("New webhook", icon=":material/add:", expanded=is_first, key="webhooks_new"),
        st.form("webhooks_new_form", border=False),
    ):
        url, event_types, description = _ask(caller, f"webhooks_new_{round_key}", None)
        is_wanted = st.form_submit_button("Make the webhook", key="webhooks_make")
    if is_wanted:
        with refusals.told():
            made, secret = workbench.webhooks.create(
                by=caller, url=url, event_types=event_types, description=description
            )
            st.session_state.update({SHOWN: (made.id, secret), OPEN: made.id})
            st.session_state["webhooks_round"] += 1  # widgets of the same keys would keep what was typed
            st.rerun()


def _ask(caller: Caller, key: str, endpoint: WebhookEndpoint | None) -> tuple[str, list[str], str]:
    """Address, event types and description, as the form holds them."""
    known = endpoint.event_types if endpoint is not None else frozenset()
    possible = [event.name for event in EVENTS if event.told != "admins" or is_admin(caller) or event.name in known]
    url = st.text_input(
        "Address",
        value="" if endpoint is None else endpoint.url,
        key=f"{key}_url",
        max_chars=MAX_URL,
        placeholder="https://hooks.example.org/telepathy",
    )
    event_types = st.pills(
        "Tell it of",
        possible,
        selection_mode="multi",
        default=[name for name in possible if name in known],
        format_func=event_title,
        key=f"{key}_events",
        help="Choose none to have it told of everything.",
    )
    description = st.text_input(
        "Name",
        value="" if endpoint is None else endpoint.description,
        key=f"{key}_description",
        max_chars=MAX_DESCRIPTION,
        placeholder="What it is for",
    )
    return url, list(event_types), description


def draw_log(workbench: Workbench, caller: Caller, found: Sequence[WebhookEndpoint]) -> None:
    """What was sent to the chosen webhook; looks again by itself while something is on its way."""
    if not found:
        return
    chosen = next((each for each in found if each.id == st.session_state.get(OPEN)), found[0])
    st.subheader(f"Log of {words.plain(title_of(chosen))}", anchor=False)
    state = st.segmented_control(
        "Show", [ANY, *DeliveryState], default=ANY, required=True, format_func=_shown_state, key="webhooks_state"
    )
    wanted = None if state == ANY else DeliveryState(state)
    newest = workbench.webhooks.deliveries(chosen.id, owner_id=caller.user.id, limit=5)
    is_watching = any(_is_on_its_way(delivery) for delivery in newest)
    watched = st.fragment(_draw_deliveries, run_every=LOOK_EVERY_S if is_watching else None)
    watched(workbench, caller, chosen.id, wanted, is_watching=is_watching)


def _shown_state(state: str) -> str:
    return ANY if state == ANY else STATE_WORDS[DeliveryState(state)].capitalize()


def _is_on_its_way(delivery: WebhookDelivery) -> bool:
    return delivery.state is DeliveryState.WAITING and not delivery.attempts


def _draw_deliveries(
    workbench: Workbench, caller: Caller, endpoint_id: UUID, state: DeliveryState | None, *, is_watching: bool
) -> None:
    deliveries = workbench.webhooks.deliveries(endpoint_id, owner_id=caller.user.id, state=state, limit=PAGE_ROWS)
    if is_watching and state is None and not any(_is_on_its_way(delivery) for delivery in deliveries[:5]):
        st.rerun()  # arrived: the whole page, which then no longer looks by itself
    if not deliveries:
        said = "Nothing was sent yet. Press Test to try it out." if state is None else "There is none."
        st.info(said, icon=":material/inbox:")
        return
    selected = st.dataframe(
        deliveries_frame(deliveries, session.zone()),
        key=f"webhooks_deliveries_{endpoint_id}_{state or ANY}",
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height="content" if len(deliveries) < 12 else ROW_HEIGHT_PX * 12,
        on_select="rerun",
        selection_mode="single-row",
        column_config=_columns(),
        alt="Messages to this webhook",
    ).selection.rows
    if len(deliveries) == PAGE_ROWS:
        st.caption(f"The newest {PAGE_ROWS}. The API lists all of them.")
    if selected:
        _draw_delivery(workbench, caller, deliveries[selected[0]])
    else:
        st.caption("Tick a row to see what was sent and answered, and to send it again.")


def deliveries_frame(deliveries: Sequence[WebhookDelivery], zone: tzinfo) -> pd.DataFrame:
    """Columns Event, State (chip), Tries, Answer (status of HTTP), When, Next try."""
    rows = []
    for delivery in deliveries:
        last = delivery.attempts[-1] if delivery.attempts else None
        rows.append(
            (
                event_title(delivery.message.event_type) + (" (again)" if delivery.is_replay else ""),
                [STATE_WORDS[delivery.state]],
                len(delivery.attempts),
                "" if last is None or last.status is None else str(last.status),
                words.when(delivery.created_at, zone),
                "" if last is None or last.next_at is None else words.when(last.next_at, zone),
            )
        )
    return pd.DataFrame(rows, columns=["Event", "State", "Tries", "Answer", "When", "Next try"])


def _columns() -> dict[str, object]:
    shades = surface()
    return {
        "Event": st.column_config.TextColumn(width="medium"),
        "State": st.column_config.MultiselectColumn(
            options=list(STATE_WORDS.values()), color=[shades.line] * len(STATE_WORDS), width=95
        ),
        "Tries": st.column_config.NumberColumn(width=60),
        "Answer": st.column_config.TextColumn(width=75, help="The status that the receiver answered last."),
        "When": st.column_config.TextColumn(width=150),
        "Next try": st.column_config.TextColumn(width=150),
    }


def _draw_delivery(workbench: Workbench, caller: Caller, delivery: WebhookDelivery) -> None:
    with st.container(border=True, key="webhooks_delivery"):
        for attempt in delivery.attempts:
            said = attempt.problem or f"Taken with {attempt.status}."
            took = "" if attempt.duration_ms is None else f", after {attempt.duration_ms:,.0f} ms"
            at = words.when(attempt.happened_at, session.zone())
            st.markdown(f"**Try {attempt.number}**, {at}{took}: {words.plain(said)}", anchors=False)
        if not delivery.attempts:
            st.markdown("Not tried yet.", anchors=False)
        st.code(
            json.dumps(json.loads(delivery.message.body), indent=2, ensure_ascii=False),
            language="json",
            wrap_lines=True,
        )
        st.caption(f"Message {delivery.message.sent_id}")
        if st.button("Send again", key="webhooks_replay", icon=":material/replay:"):
            workbench.webhooks.replay(delivery.id, owner_id=caller.user.id)
            st.toast("It is sent again, under the same id.", icon=":material/replay:")
            st.rerun()
