"""Usage: what one has had so far, what is left of the month's quota, and what went wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.access.limits import plan_of
from core.domain import Caller
from core.store.predictions import TimeBucket
from core.store.usage import month_of, select_month_usage, select_usage_overview
from core.workbench import Workbench
from pages.parts import people_names, periods, session, usage_figures, usage_tables


def render() -> None:
    workbench, caller = session.workbench(), session.caller()
    st.title("Usage", anchor=False)
    st.caption("What you asked for, by page and by program, and what is left of it this month.")
    quota(workbench, caller)
    reader = session.own_reader()
    period, zone = periods.choose(key="usage_period"), session.zone()
    usage = select_usage_overview(workbench.store, reader=reader, bucket=period.bucket, filter=period.filter)
    names = people_names.names_of_one(workbench, caller.user)
    if usage.summary.figures.n_requests == 0:
        empty(period)
    else:
        usage_figures.summary(usage.summary, period)
        buckets = usage.over_time
        left, right = st.columns([6, 5], gap="large")
        with left:
            usage_figures.over_time(buckets, period, zone, key="usage_over_time")
        with right:
            usage_figures.emotions(usage.by_emotion, key="usage_emotions")
        usage_figures.troubles(usage.by_status, period, key="usage_troubles")
        by_bucket = usage_tables.buckets_frame(buckets, is_hourly=period.bucket is TimeBucket.HOUR)
        with st.expander(f"By {period.bucket}", icon=":material/table_rows:", key="usage_table"):
            usage_tables.draw(by_bucket, key="usage_by_time", alt=f"Usage by {period.bucket}")
    if usage.by_key or names.keys:
        usage_figures.heading("By key", help="Keys are made, renewed and revoked on the page Account.")
        frame = usage_tables.own_keys_frame(usage.by_key, names.keys, zone=zone)
        usage_tables.draw(frame, key="usage_by_key", alt="Usage by API key")
    if usage.summary.figures.n_requests > 0:
        usage_figures.download(workbench, reader, period, names, key="usage_download")


def quota(workbench: Workbench, caller: Caller) -> None:
    month_start, _ = month_of(datetime.now(UTC))
    used = select_month_usage(workbench.store, user_id=caller.user.id, month_start=month_start)
    plan, name = plan_of(caller, workbench.settings)
    usage_figures.quotas(name, plan, used)


def empty(period: periods.Period) -> None:
    with st.container(border=True, key="usage_empty"):
        st.subheader(f"Nothing asked for {period.words}", anchor=False)
        st.markdown("Whatever you have judged, here or by a program, is counted on this page.", anchors=False)
        st.page_link("analyse.py", label="Analyse a recording", icon=":material/graphic_eq:")


render()
