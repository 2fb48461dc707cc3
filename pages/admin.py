"""Admin: who uses what, how fast and how well it is answered, what that costs, and how the machine is."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

import streamlit as st

from core.alerts import account_of
from core.domain import Reader
from core.store.predictions import TimeBucket
from core.store.usage import UsageOverview, month_of, select_month_usage_by_user, select_usage_overview
from core.workbench import Workbench
from pages.parts import alerts, people_names, periods, session, usage_figures, usage_tables, usage_words
from pages.parts.people_names import Names
from pages.parts.periods import Period


def render() -> None:
    workbench, reader, zone = session.workbench(), session.reader(), session.zone()
    st.title("Admin", anchor=False)
    st.caption("Who uses what, how fast and how well it is answered, and what that costs.")
    watch(workbench)
    period = periods.choose(key="admin_period")
    usage = select_usage_overview(workbench.store, reader=reader, bucket=period.bucket, filter=period.filter)
    names = people_names.names_of_all(workbench)
    if usage.summary.figures.n_requests == 0:
        empty(period)
    else:
        usage_figures.summary(usage.summary, period, is_for_admins=True)
        in_charts(usage, period, zone)
        in_tables(usage, names, zone)
        usage_figures.troubles(usage.by_status, period, key="admin_troubles")
    quotas_and_money(workbench, reader, usage, period, names)
    usage_figures.accuracy(workbench.corrected_answers())
    if usage.summary.figures.n_requests > 0:
        usage_figures.download(workbench, reader, period, names, key="admin_download")


def watch(workbench: Workbench) -> None:
    alerts.show(workbench, actor=account_of(session.caller().user.id))
    usage_figures.heading("Right now")
    usage_figures.health(workbench)


def empty(period: Period) -> None:
    with st.container(border=True, key="admin_empty"):
        st.subheader(f"Nobody asked for anything {period.words}", anchor=False)
        st.markdown("Calls of the API and whatever is judged on pages is counted here, a second later.", anchors=False)
        st.page_link("analyse.py", label="Analyse a recording", icon=":material/graphic_eq:")


def in_charts(usage: UsageOverview, period: Period, zone: tzinfo) -> None:
    buckets = usage.over_time
    left, right = st.columns(2, gap="large")
    with left:
        usage_figures.over_time(buckets, period, zone, key="admin_over_time")
    with right:
        usage_figures.latency(buckets, period, zone, key="admin_latency")
    left, right = st.columns(2, gap="large")
    with left:
        usage_figures.emotions(usage.by_emotion, key="admin_emotions")
    with right:
        usage_figures.confidence(usage.by_confidence, key="admin_confidence")
    usage_figures.predictions(buckets, period, zone, key="admin_predictions")
    frame = usage_tables.buckets_frame(buckets, is_hourly=period.bucket is TimeBucket.HOUR)
    with st.expander(f"By {period.bucket}", icon=":material/table_rows:", key="admin_table"):
        usage_tables.draw(frame, key="admin_by_time", alt=f"Usage by {period.bucket}")


def in_tables(usage: UsageOverview, names: Names, zone: tzinfo) -> None:
    usage_figures.heading("Top users", help="Those with most calls first.")
    usage_tables.draw(
        usage_tables.users_frame(usage.by_user, names, zone=zone), key="admin_by_user", alt="Usage by user"
    )
    usage_figures.heading("By key", help="Those with most calls first.")
    usage_tables.draw(
        usage_tables.keys_frame(usage.by_key, names, zone=zone), key="admin_by_key", alt="Usage by API key"
    )
    usage_figures.heading("By route", help="Those with most requests first.")
    usage_tables.draw(usage_tables.routes_frame(usage.by_route), key="admin_by_route", alt="Usage by route")


def quotas_and_money(workbench: Workbench, reader: Reader, usage: UsageOverview, period: Period, names: Names) -> None:
    settings = workbench.settings
    left, right = st.columns(2, gap="large")
    with left:
        now = datetime.now(UTC)
        usage_figures.heading("Quotas this month", help=usage_words.begins_anew(now))
        used = select_month_usage_by_user(workbench.store, reader=reader, month_start=month_of(now)[0])
        if used:
            frame = usage_tables.quotas_frame(used, names, settings.plans, fallback=settings.new_user_plan)
            usage_tables.draw(frame, key="admin_quotas", alt="Use of monthly quotas by user")
        else:
            st.caption("Nobody who is signed in has used any of theirs yet.")
    with right:
        usage_figures.heading(
            "Cost and revenue by plan",
            help="Calls times the price and the cost of one, which are settings of the plan.",
        )
        if usage.by_plan:
            frame = usage_tables.plans_frame(usage.by_plan, settings.plans, settings.currency)
            usage_tables.draw(frame, key="admin_plans", alt="Calls, revenue and cost by plan")
        else:
            st.caption(f"No calls {period.words}.")


render()
