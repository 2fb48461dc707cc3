"""The parts of Reports: what a report is about, what it will hold, and the file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import partial
from uuid import UUID

import streamlit as st

from core.domain import Caller
from core.reports.report import (
    MAX_TITLE,
    MEDIA_TYPES,
    TITLE,
    DayLine,
    Report,
    ReportFormat,
    ReportRequest,
    file_name,
    fold_days,
)
from core.store.predictions import EmotionOverTime, PredictionFilter, select_model_versions
from core.workbench import Workbench
from pages.parts import charts, filters, projects, report_schedules, session, words
from pages.parts.report_words import FORMAT_HELP, FORMAT_WORDS
from pages.parts.theme import surface

PERIODS = ("All time", "Last 7 days", "Last 30 days", "This month", "Last month")
LENGTHS = {"day": timedelta(days=1), "week": timedelta(weeks=1), "month": timedelta(days=28)}
"""Of the columns of a chart."""
WHOLE = "Everything I see"


def draw(workbench: Workbench, caller: Caller) -> None:
    """What, a preview of it, and the file."""
    zone = session.zone()
    chosen = filters.current()
    names = projects.names(workbench, caller)
    what, file = st.columns([3, 2], gap="large")
    with what:
        title = _ask_what(chosen, names, zone)
        filters.draw(chosen, select_model_versions(workbench.store, reader=caller.reader), zone, project_names=names)
    request = ReportRequest(
        title=title,
        filter=chosen,
        project_name=names.get(chosen.project_id, "") if chosen.project_id else "",
        zone=zone,
        made_for=caller.user.name,
    )
    report = workbench.reports.assemble(request, reader=caller.reader)
    with file:
        _draw_file(workbench, report)
        report_schedules.draw_new(workbench, caller, title=title, chosen=chosen, zone=zone)
    with what:
        _draw_preview(report)


def _ask_what(chosen: PredictionFilter, names: Mapping[UUID, str], zone: tzinfo) -> str:
    """Its title; period and project go into the address."""
    title = st.text_input("Title", TITLE, key="reports_title", max_chars=MAX_TITLE)
    bounds = {name: period_of(name, datetime.now(UTC), zone) for name in PERIODS}
    now_chosen = (chosen.created_from, chosen.created_before)
    filters.widget(
        partial(st.segmented_control, "Period", list(PERIODS), help="More filters has any other."),
        "reports_period",
        next((name for name, found in bounds.items() if found == now_chosen), None),
        lambda name: dict(zip(("created_from", "created_before"), bounds.get(name, (None, None)), strict=True)),
    )
    if names:
        known = [None, *names]
        filters.widget(
            partial(st.selectbox, "Project", known, format_func=lambda each: WHOLE if each is None else names[each]),
            "reports_project",
            chosen.project_id if chosen.project_id in names else None,
            lambda project_id: {"project_id": project_id},
        )
    return title.strip() or TITLE


def period_of(name: str, now: datetime, zone: tzinfo) -> tuple[datetime | None, datetime | None]:
    """From when, and until before when, in whole days of `zone`.

    Examples
    --------
    >>> now = datetime(2026, 3, 15, 12, tzinfo=UTC)
    >>> [None if end is None else f"{end:%d.%m.}" for end in period_of("Last month", now, UTC)]
    ['01.02.', '01.03.']
    >>> [None if end is None else f"{end:%d.%m.}" for end in period_of("Last 7 days", now, UTC)]
    ['09.03.', None]
    """
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    first = today.replace(day=1)
    begin, end = {
        "Last 7 days": (today - timedelta(days=6), None),
        "Last 30 days": (today - timedelta(days=29), None),
        "This month": (first, None),
        "Last month": ((first - timedelta(days=1)).replace(day=1), first),
    }.get(name, (None, None))
    return tuple(None if day is None else day.replace(tzinfo=zone).astimezone(UTC) for day in (begin, end))  # type: ignore[return-value]


def _draw_file(workbench: Workbench, report: Report) -> None:
    with st.container(border=True, key="reports_file"):
        format = st.segmented_control(
            "Format",
            list(ReportFormat)[::-1],
            format_func=FORMAT_WORDS.__getitem__,
            default=ReportFormat.PDF,
            required=True,
            key="reports_format",
        )
        st.caption(FORMAT_HELP[format])
        most = workbench.settings.max_report_rows
        is_too_large = format is not ReportFormat.PDF and report.n_predictions > most
        if is_too_large:
            st.warning(
                f"These are {report.n_predictions:,} predictions; {FORMAT_WORDS[format]} lists at most {most:,}. "
                "Choose a shorter period, or PDF, which adds them up.",
                icon=":material/unfold_less:",
            )
        st.download_button(
            f"Download {FORMAT_WORDS[format]}",
            data=session.at_download(partial(written, workbench, report.request, format)),
            file_name=file_name(report, format),
            mime=MEDIA_TYPES[format],
            key="reports_download",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
            width="stretch",
            disabled=is_too_large or report.n_predictions == 0,
        )


def written(workbench: Workbench, request: ReportRequest, format: ReportFormat, caller: Caller) -> bytes:
    """The file, of what `caller` may see when it is downloaded."""
    report = workbench.reports.assemble(request, reader=caller.reader)
    file = io.BytesIO()
    workbench.reports.write(report, format, file, reader=caller.reader)
    return file.getvalue()


def _counts(days: Sequence[DayLine], zone: tzinfo) -> list[EmotionOverTime]:
    return [
        EmotionOverTime(
            started_at=datetime.combine(line.day, time.min, zone).astimezone(UTC), emotion=emotion, n_predictions=n
        )
        for line in days
        for emotion, n in line.counts.items()
        if n
    ]


def _draw_preview(report: Report) -> None:
    with st.container(border=True, key="reports_preview"):
        st.markdown(f"##### {words.plain(report.request.title)}", anchors=False)
        st.caption(f"{words.plain(report.period)} ({words.plain(report.zone_name)})")
        if report.n_predictions == 0:
            st.info("No prediction matches. Choose another period, or take filters off.", icon=":material/search_off:")
            return
        with st.container(horizontal=True, key="reports_figures"):
            st.metric("Predictions", f"{report.n_predictions:,}")
            st.metric("Not sure", words.percent(report.n_not_sure / report.n_predictions))
            st.metric("Mean confidence", words.percent(report.mean_confidence or 0.0))
            st.metric("Sound", words.duration(report.duration_s))
        by_emotion, by_day = st.columns([4, 5], gap="medium")
        counts = {line.emotion: line.n_predictions for line in report.emotions}
        with by_emotion:
            st.plotly_chart(
                charts.by_emotion(counts, (), surface()),
                key="reports_by_emotion",
                config=charts.CONFIG,
                alt="Predictions by emotion: " + ", ".join(f"{emotion} {n:,}" for emotion, n in counts.items()),
            )
        with by_day:
            unit, days = fold_days(report.days, most=62)
            st.plotly_chart(
                charts.over_time(_counts(days, report.zone), None, LENGTHS[unit], report.zone, surface()),
                key="reports_by_day",
                config=charts.CONFIG,
                alt=f"Predictions by {unit}, stacked by emotion",
            )
        models = ", ".join(words.plain(model.version) for model in report.models)
        st.caption(f"Answered by {models}. Shares come with 95\u00a0% intervals, and the report ends with its caveats.")
