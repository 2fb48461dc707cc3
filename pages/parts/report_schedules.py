"""The part of Reports that sends them by e-mail, again and again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from core.domain import Caller
from core.report_jobs import begin_report_now
from core.reports.filter_words import filter_words, zone_name
from core.reports.report import ReportFormat
from core.reports.schedules import MAX_RECIPIENTS, PERIOD_WORDS, ReportPeriod, ScheduleDraft
from core.reports.timing import WEEKDAYS, daily, monthly, next_due, require_cron, timing_words, weekly
from core.store.predictions import PredictionFilter
from core.store.report_schedules import ReportRun, ReportRunState, ReportSchedule
from core.workbench import Workbench
from pages.parts import projects, refusals, session, words
from pages.parts.report_words import FORMAT_WORDS
from pages.parts.tables import ROW_HEIGHT_PX

DAILY, WEEKLY, MONTHLY, CRON = "Every day", "Every week", "Every month", "By cron"
LAST_DAY = 31
USUAL_PERIODS: Mapping[str, ReportPeriod] = {
    DAILY: ReportPeriod.DAY,
    WEEKLY: ReportPeriod.WEEK,
    MONTHLY: ReportPeriod.MONTH,
    CRON: ReportPeriod.SINCE_LAST,
}
STATE_WORDS: Mapping[ReportRunState, str] = {
    ReportRunState.WAITING: "under way",
    ReportRunState.SENT: "sent",
    ReportRunState.FAILED: "not sent",
}
MAX_RUNS = 10


def draw(workbench: Workbench, caller: Caller) -> None:
    """The scheduled reports there are, each with its history and what can be done with it."""
    found = workbench.report_schedules.list_for(caller.reader)
    if not found:
        return
    st.subheader("By e-mail", anchor=False)
    if not workbench.mailer.is_configured:
        st.warning("No mail server is set, so nothing is sent. An admin sets `smtp_url`.", icon=":material/mail_off:")
    names = projects.names(workbench, caller)
    owners = {user.id: user.email for user in workbench.access.users()} if caller.reader.sees_everything else {}
    for schedule in found:
        _draw_schedule(workbench, caller, schedule, owners, names)


def draw_new(workbench: Workbench, caller: Caller, *, title: str, chosen: PredictionFilter, zone: tzinfo) -> None:
    """Have the report that is shown sent again and again."""
    with st.expander("Send it by e-mail, on a schedule", icon=":material/schedule_send:", key="reports_new"):
        st.caption("With the title and filters above; the period moves along with each.")
        often = st.segmented_control(
            "How often", [DAILY, WEEKLY, MONTHLY, CRON], default=DAILY, required=True, key="reports_often"
        )
        with refusals.told():
            cron = _ask_times(str(often))
            period = st.selectbox(
                "It tells of",
                list(ReportPeriod),
                index=list(ReportPeriod).index(USUAL_PERIODS[str(often)]),
                format_func=PERIOD_WORDS.__getitem__,
                key=f"reports_relative_{often}",
            )
            format = st.segmented_control(
                "As",
                list(ReportFormat)[::-1],
                format_func=FORMAT_WORDS.__getitem__,
                default=ReportFormat.PDF,
                required=True,
                key="reports_mailed_format",
            )
            typed = st.text_area(
                "To",
                caller.user.email,
                key="reports_recipients",
                help=f"One address on each line, at most {MAX_RECIPIENTS}. {_who_may(workbench)}",
            )
            due = words.when(next_due(cron, _zone(zone), datetime.now(UTC)), zone)
            st.caption(f"The first is sent on {due} ({words.plain(zone_name(zone))}).")
            if st.button("Schedule", key="reports_schedule", type="primary", icon=":material/schedule_send:"):
                workbench.report_schedules.create(
                    ScheduleDraft(
                        title=title,
                        filter=chosen,
                        period=period,
                        format=format,
                        cron=cron,
                        timezone=zone_name(zone),
                        recipients=[each for each in re.split(r"[\s,;]+", typed) if each],
                    ),
                    by=caller,
                )
                st.rerun()


def _ask_times(often: str) -> str:
    """The line of cron. Raises InvalidParameterError for one that is none."""
    if often == CRON:
        return require_cron(
            st.text_input(
                "Minute, hour, day, month, weekday",
                "0 7 * * mon-fri",
                key="reports_cron",
                help="At most once an hour. `0 7 * * mon-fri` is 7 o\u2019clock from Monday to Friday.",
            )
        )
    with st.container(horizontal=True, key="reports_times"):
        if often == WEEKLY:
            weekday = st.selectbox("On", list(WEEKDAYS), key="reports_weekday", width=180)
        if often == MONTHLY:
            day = st.selectbox(
                "On day",
                [*range(1, 29), LAST_DAY],
                format_func=lambda day: "the last" if day == LAST_DAY else str(day),
                key="reports_day",
                width=180,
            )
        at = f"{st.time_input('At', time(7), key='reports_at', step=timedelta(minutes=15), width=180):%H:%M}"
    if often == WEEKLY:
        return weekly(WEEKDAYS.index(weekday), at)
    return monthly(day, at) if often == MONTHLY else daily(at)


def _zone(zone: tzinfo) -> ZoneInfo:
    return ZoneInfo(zone_name(zone))


def _who_may(workbench: Workbench) -> str:
    domains = workbench.settings.report_recipient_domains
    if "*" in domains:
        return ""
    also = f" and addresses at {words.plain(domains)}" if domains else ""
    return f"Accounts here{also} can get reports."


def _draw_schedule(
    workbench: Workbench,
    caller: Caller,
    schedule: ReportSchedule,
    owners: Mapping[UUID, str],
    names: Mapping[UUID, str],
) -> None:
    key = f"reports_{schedule.id}"
    schedules, zone = workbench.report_schedules, _shown_zone(schedule)
    with st.container(border=True, key=key):
        st.markdown(f"##### {words.plain(schedule.title)}", anchors=False)
        format, period = FORMAT_WORDS[ReportFormat(schedule.format)], PERIOD_WORDS[ReportPeriod(schedule.period)]
        sent = f"{format}, {period}, {timing_words(schedule.cron)} ({schedule.timezone})"
        st.markdown(words.plain(sent[0].upper() + sent[1:]), anchors=False)
        project_name = names.get(schedule.filter.project_id, "") if schedule.filter.project_id else ""
        filters = [f"{name}: {value}" for name, value in filter_words(schedule.filter, project_name=project_name)]
        if filters:
            st.markdown(words.plain("; ".join(filters)), anchors=False)
        st.markdown(words.plain("To " + ", ".join(schedule.recipients)), anchors=False)
        if schedule.owner_id != caller.user.id:
            st.caption(f"Of {words.plain(owners.get(schedule.owner_id, 'a deleted account'))}")
        due = schedules.next_due_at(schedule)
        if schedule.stopped_because:
            st.warning(words.plain(schedule.stopped_because), icon=":material/pause_circle:")
        else:
            st.caption("Paused." if due is None else f"Next on {words.when(due, zone)}.")
        with st.container(horizontal=True, key=f"{key}_tools"), refusals.told():
            if st.button("Send now", key=f"{key}_run", icon=":material/send:", type="tertiary"):
                begin_report_now(workbench, schedule.id, by=caller)
                st.rerun()
            label, icon = ("Go on", "play_arrow") if schedule.is_paused else ("Pause", "pause")
            if st.button(label, key=f"{key}_pause", icon=f":material/{icon}:", type="tertiary"):
                schedules.set_paused(schedule.id, not schedule.is_paused, by=caller)
                st.rerun()
            with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"{key}_delete"):
                st.markdown("It is sent no more, and its history is deleted.", anchors=False)
                if st.button("Delete it", key=f"{key}_delete_now", type="primary"):
                    schedules.delete(schedule.id, by=caller)
                    st.rerun()
        runs = schedules.runs(schedule.id, reader=caller.reader, limit=MAX_RUNS)
        if runs:
            st.dataframe(
                runs_frame(runs, session.zone()),
                key=f"{key}_runs",
                hide_index=True,
                row_height=ROW_HEIGHT_PX,
                height="content",
                placeholder="",
                alt=f"What became of {schedule.title}",
            )


def _shown_zone(schedule: ReportSchedule) -> tzinfo:
    return UTC if schedule.timezone == "UTC" else ZoneInfo(schedule.timezone)


def runs_frame(runs: list[ReportRun], zone: tzinfo) -> pd.DataFrame:
    """Columns Due, What became of it, Predictions, Reached, Note."""
    rows = [
        (
            words.when(run.due_at, zone) + (" (by hand)" if run.is_by_hand else ""),
            STATE_WORDS[run.state],
            run.n_predictions,
            ", ".join(run.delivered_to),
            run.sentence,
        )
        for run in runs
    ]
    return pd.DataFrame(rows, columns=["Due", "What became of it", "Predictions", "Reached", "Note"])
