"""What came of a batch: how far it is, charts, a table of answers, and its problems, drawn anew while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo
from uuid import UUID

import pandas as pd
import streamlit as st

from core.batches import BatchStatus
from core.domain import JobState
from core.errors import UnknownBatchError
from core.reports.batch_csv import batch_csv
from core.store.batches import (
    MAX_PAGE_ROWS,
    BatchRow,
    count_batch_answers_by_confidence,
    count_batch_answers_by_emotion,
)
from core.store.predictions import PredictionFilter
from core.workbench import Workbench
from pages.parts import address, charts, frame, refusals, session, tables, usage_charts, words
from pages.parts.theme import surface

REFRESH_S = 1.5
PROBLEMS_HEIGHT_PX = 380
SHOWN_ROWS = 500
"""Of a table on screen; the download has them all."""


def empty() -> None:
    """What to do next while there is no batch."""
    with st.container(border=True, key="batch_empty"):
        st.subheader("No batches yet", anchor=False)
        st.markdown("Choose recordings, or a ZIP of them. You will see", anchors=False)
        left, right = st.columns(2, gap="medium")
        left.markdown(":material/speed: **How far it is**  \nWith its rate and the time left.")
        left.markdown(":material/table_rows: **Answers as they come**  \nIn a table and charts, and as CSV.")
        right.markdown(":material/report: **What could not be used**  \nFile by file, with the reason.")
        right.markdown(":material/bolt: **What is known already**  \nThe same recording is not scored twice.")


def choose(found: Sequence[BatchStatus], zone: tzinfo) -> UUID:
    """Which batch is open: the one in the address, or the newest."""
    labels = _labels(found, zone)
    asked = st.query_params.get("batch", "")
    if asked and asked not in labels:
        labels = {asked: "the one in the address", **labels}
    options = list(labels)
    chosen = st.selectbox(
        "Batch", options, index=options.index(asked) if asked else 0, format_func=labels.__getitem__, key="batch_chosen"
    )
    st.query_params["batch"] = chosen
    return UUID(chosen)


def _labels(found: Sequence[BatchStatus], zone: tzinfo) -> dict[str, str]:
    """One for each batch. The browser knows a choice by its label: no two are the same, and none changes with time."""
    labels, taken = {}, Counter[str]()
    for status in reversed(found):
        label = f"{status.batch.name} ({words.when(status.batch.created_at, zone)})"
        taken[label] += 1
        labels[str(status.batch.id)] = label if taken[label] == 1 else f"{label} · {taken[label]}"
    return dict(reversed(labels.items()))


def open_next(batch_id: UUID) -> None:
    """Have the next run of the page show this batch, whichever was chosen before."""
    st.session_state["batch_chosen"] = st.query_params["batch"] = str(batch_id)


def draw(workbench: Workbench, batch_id: UUID) -> None:
    """The batch, drawn anew while it is not done."""
    status = workbench.batches.status(batch_id, reader=session.reader())
    if status.state in {JobState.QUEUED, JobState.RUNNING}:
        st.fragment(_draw_live, run_every=REFRESH_S)(workbench, batch_id)
    else:
        _draw(workbench, status)


def _draw_live(workbench: Workbench, batch_id: UUID) -> None:
    try:
        status = workbench.batches.status(batch_id, reader=session.reader())
    except UnknownBatchError as error:
        refusals.show(error)
        return
    _draw(workbench, status)
    if status.state not in {JobState.QUEUED, JobState.RUNNING}:
        st.rerun()


def _draw(workbench: Workbench, status: BatchStatus) -> None:
    _draw_progress(workbench, status)
    if status.progress.n_scored:
        _draw_charts(workbench, status.batch.id)
    if status.progress.n_done:
        _draw_tables(workbench, status)


def _draw_progress(workbench: Workbench, status: BatchStatus) -> None:
    batch, progress = status.batch, status.progress
    doing = f"{words.JOB_ICONS[status.state]} {words.JOB_WORDS[status.state].capitalize()}"
    if status.state is JobState.RUNNING and status.seconds_left is not None and status.rate_per_s is not None:
        doing += f": {status.rate_per_s:,.1f} recordings a second, about {words.duration(status.seconds_left)} left"
    st.progress(status.share, text=doing)
    with st.container(horizontal=True, gap="medium", key="batch_figures"):
        st.metric("Recordings", f"{progress.n_done:,} of {batch.n_items:,}", width="content")
        st.metric("Answered", f"{progress.n_scored:,}", width="content")
        st.metric(
            "Known already",
            f"{progress.n_repeats:,}",
            width="content",
            help="The same content was scored before with this model and these settings.",
        )
        st.metric("Problems", f"{progress.n_problems:,}", width="content")
        st.metric("Sound", words.duration(progress.audio_s), width="content")
    if status.error:
        st.error(status.error, icon=":material/error:")
    _draw_buttons(workbench, status)


def _draw_buttons(workbench: Workbench, status: BatchStatus) -> None:
    reader, batch_id = session.reader(), status.batch.id
    is_mine = reader.sees_everything or status.batch.owner_id == reader.user_id
    with st.container(horizontal=True, vertical_alignment="center", key="batch_buttons"):
        if status.progress.n_done:
            st.download_button(
                "Download CSV",
                data=session.at_download(lambda caller: _csv_of(workbench, batch_id, caller.reader).encode()),
                file_name=f"batch-{batch_id}.csv",
                mime="text/csv",
                key="batch_download",
                icon=":material/download:",
                on_click="ignore",
            )
        if status.progress.n_scored:
            of_batch = address.parameters_of(PredictionFilter(batch_id=batch_id))
            frame.link("reports", "Report", icon=":material/summarize:", query_params=of_batch)
        if not is_mine or status.job is None:
            return
        if status.state in {JobState.QUEUED, JobState.RUNNING} and st.button(
            "Pause", key="batch_pause", icon=":material/pause:"
        ):
            with refusals.told():
                workbench.jobs.pause(batch_id, reader=reader)
                st.rerun(scope="app")
        if status.state is JobState.PAUSED and st.button("Go on", key="batch_resume", icon=":material/play_arrow:"):
            with refusals.told():
                workbench.jobs.resume(batch_id, reader=reader)
                st.rerun()
        if status.state in {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED} and st.button(
            "Cancel", key="batch_cancel", icon=":material/cancel:"
        ):
            with refusals.told():
                workbench.batches.cancel(batch_id, reader=reader)
                st.rerun(scope="app")
        if status.can_go_on and st.button("Go on where it failed", key="batch_retry", icon=":material/replay:"):
            with refusals.told():
                workbench.batches.retry(batch_id, reader=reader)
                st.rerun()


def _csv_of(workbench: Workbench, batch_id: UUID, reader: object) -> str:
    parts: list[str] = []
    after = -1
    while True:
        rows = workbench.batches.rows(batch_id, reader=reader, limit=MAX_PAGE_ROWS, after=after)  # type: ignore[arg-type]
        parts.append(batch_csv(rows, has_header=not parts))
        if len(rows) < MAX_PAGE_ROWS:
            return "".join(parts)
        after = rows[-1].position


def _draw_charts(workbench: Workbench, batch_id: UUID) -> None:
    reader, shades = session.reader(), surface()
    left, right = st.columns(2, gap="medium")
    counts = count_batch_answers_by_emotion(workbench.store, batch_id=batch_id, reader=reader)
    with left:
        st.markdown("##### How often we heard what", anchors=False)
        st.plotly_chart(
            charts.by_emotion(counts, (), shades),
            key="batch_by_emotion",
            config=charts.SELECTION_CONFIG,
            alt="Answers by emotion: " + ", ".join(f"{emotion} {n:,}" for emotion, n in counts.items()),
        )
    with right:
        st.markdown("##### How sure we were", anchors=False)
        bins = count_batch_answers_by_confidence(workbench.store, batch_id=batch_id, reader=reader)
        st.plotly_chart(
            usage_charts.confidence(bins, shades),
            key="batch_by_confidence",
            config=charts.SELECTION_CONFIG,
            alt="Answers by confidence",
        )


def _draw_tables(workbench: Workbench, status: BatchStatus) -> None:
    reader, batch_id = session.reader(), status.batch.id
    if status.progress.n_problems:
        problems = workbench.batches.rows(batch_id, reader=reader, limit=SHOWN_ROWS, has_problem=True)
        st.markdown(f"##### {words.count(status.progress.n_problems, 'problem')}", anchors=False)
        st.table(
            problems_frame(problems), hide_index=True, height=PROBLEMS_HEIGHT_PX if len(problems) > 8 else "content"
        )
    if status.progress.n_scored:
        answers = workbench.batches.rows(batch_id, reader=reader, limit=SHOWN_ROWS, has_problem=False)
        n_shown = len(answers)
        heading = words.count(status.progress.n_scored, "answer")
        if n_shown < status.progress.n_scored:
            heading = f"The first {n_shown:,} of {heading}"
        st.markdown(f"##### {heading}", anchors=False)
        tables.batch_answers(answers, key="batch_answers", height=_height(n_shown))


def _height(n_rows: int) -> int | str:
    return tables.ROW_HEIGHT_PX * 10 if n_rows > 9 else "content"


def problems_frame(rows: Sequence[BatchRow]) -> pd.DataFrame:
    """Columns Recording, What is wrong; both for a table that reads markdown, and wraps what a grid would cut."""
    shown = [(words.plain(row.name), words.plain(row.problem)) for row in rows]
    return pd.DataFrame(shown, columns=["Recording", "What is wrong"])
