"""Alerts as admins see them: those that last, to be acknowledged or closed; those that are over; what is watched."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

import pandas as pd
import streamlit as st

from core.alerts import N_CORRECTIONS_NEEDED, AlertRule
from core.domain import Alert
from core.workbench import Workbench
from pages.parts import session, words

N_PAST = 100


def show(workbench: Workbench, *, actor: str) -> None:
    """Draw the alerts of `workbench`; `actor` is the account of the admin who looks, and who acknowledges."""
    titles = {rule.name: rule.title for rule in workbench.alerts.rules}
    zone = session.zone()
    shown = workbench.alerts.open_alerts()
    st.subheader(_heading(shown), anchor=False)
    if not shown:
        st.success("Everything that is watched lies within its limit.", icon=":material/check_circle:")
    for alert in shown:
        _draw_open(workbench, alert, titles.get(alert.rule, alert.rule), actor, zone)
    past = workbench.alerts.past_alerts(limit=N_PAST)
    if past:
        st.markdown("**Over**")
        st.dataframe(
            past_frame(past, titles, zone=zone),
            key="admin_alerts_past",
            hide_index=True,
            height="content" if len(past) < 8 else 320,
            alt="Alerts that are over",
        )
    with st.expander("What is watched", icon=":material/visibility:", key="admin_alerts_rules"):
        st.dataframe(
            rules_frame(workbench.alerts.rules, workbench.alerts.measured_rules),
            hide_index=True,
            height="content",
            key="admin_alerts_limits",
            alt="Rules of alerts and their limits",
        )
        st.caption(
            f"Looked at every {workbench.settings.alert_interval_s:g} s. The limits are settings, "
            "`alert_...`; alerts also go to `alert_emails` and `alert_webhook_url`."
        )


def _heading(shown: list[Alert]) -> str:
    if not shown:
        return "No alerts"
    return "1 alert" if len(shown) == 1 else f"{len(shown)} alerts"


def _draw_open(workbench: Workbench, alert: Alert, title: str, actor: str, zone: tzinfo) -> None:
    is_seen = alert.acknowledged_at is not None
    with st.container(border=True, key=f"admin_alert_{alert.id}"):
        st.markdown(f"{':material/visibility:' if is_seen else ':material/warning:'} **{title}**")
        st.text(alert.sentence)
        st.caption(_history(alert, zone))
        with st.container(horizontal=True):
            # Not by callbacks: they run before the page has asked who is there.
            if not is_seen and st.button(
                "Acknowledge",
                key=f"admin_alert_acknowledge_{alert.id}",
                icon=":material/visibility:",
                help="Note that you have seen it. It stays here while it lasts.",
            ):
                workbench.alerts.acknowledge(alert.id, by=actor)
                st.rerun()
            if st.button(
                "Close",
                key=f"admin_alert_close_{alert.id}",
                icon=":material/close:",
                help="Such as that of a machine that is gone. It opens again while it is still measured.",
            ):
                workbench.alerts.dismiss(alert, by=actor)
                st.rerun()


def _history(alert: Alert, zone: tzinfo) -> str:
    lasted = lasting((datetime.now(UTC) - alert.opened_at).total_seconds())
    since = f"Since {words.when(alert.opened_at, zone)}, for {lasted}."
    if alert.acknowledged_at is None:
        return since
    # In a code span, an address is neither a link nor markdown.
    return f"{since} Acknowledged by `{alert.acknowledged_by}` on {words.when(alert.acknowledged_at, zone)}."


def lasting(seconds: float) -> str:
    """How long something has lasted, in the largest unit that has two of it.

    >>> [lasting(s) for s in (0, 59, 60, 119, 7199, 7200, 172_800)]
    ['less than a minute', 'less than a minute', '1 minute', '1 minute', '119 minutes', '2 hours', '2 days']
    """
    for name, unit_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:.0f} {name}"
    return "1 minute" if seconds >= 60 else "less than a minute"


def past_frame(past: Iterable[Alert], titles: dict[str, str], *, zone: tzinfo) -> pd.DataFrame:
    """Columns Alert, What was found, From, To, Acknowledged by, Closed by."""
    rows = [
        (
            titles.get(alert.rule, alert.rule),
            alert.sentence,
            words.when(alert.opened_at, zone),
            words.when(alert.closed_at, zone) if alert.closed_at else "",
            alert.acknowledged_by or "nobody",
            "itself" if alert.closed_by == "telepathy" else alert.closed_by,
        )
        for alert in past
    ]
    return pd.DataFrame(rows, columns=["Alert", "What was found", "From", "To", "Acknowledged by", "Closed by"])


def _measured(rule: AlertRule, *, is_measured: bool) -> str:
    if not is_measured:
        return "nothing to measure yet"
    return f"from {N_CORRECTIONS_NEEDED} corrections on" if rule.name == "accuracy" else "yes"


def rules_frame(rules: Iterable[AlertRule], measured: Iterable[AlertRule]) -> pd.DataFrame:
    """Columns Alert, When, Measured."""
    names = {rule.name for rule in measured}
    rows = [
        (
            rule.title,
            f"{'from' if rule.includes_limit else 'above'} {rule.shown(rule.limit)}",
            _measured(rule, is_measured=rule.name in names),
        )
        for rule in rules
    ]
    return pd.DataFrame(rows, columns=["Alert", "When", "Measured"])
