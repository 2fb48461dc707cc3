"""The list of jobs, drawn anew while it is looked at: each with its log and what can be done about it."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from core.batches import KIND as BATCH
from core.domain import NOBODY, Job, JobState, Reader
from core.workbench import Workbench
from pages.parts import frame, people_names, refusals, session, words

REFRESH_S = 2.0
SHOWN = 50
GROUPS = {
    "Under way": (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED),
    "Failed": (JobState.FAILED,),
    "Done": (JobState.SUCCEEDED, JobState.CANCELLED),
}
ALL = "All"


def choose_states() -> Collection[JobState] | None:
    """Which jobs are shown; None for all."""
    chosen = st.segmented_control("Show", [ALL, *GROUPS], default=ALL, key="jobs_states", required=True)
    return None if chosen in (None, ALL) else GROUPS[chosen]


def draw(workbench: Workbench, states: Collection[JobState] | None) -> None:
    """The newest jobs that the reader may see."""
    st.fragment(_draw, run_every=REFRESH_S)(workbench, states)


def _draw(workbench: Workbench, states: Collection[JobState] | None) -> None:
    reader = session.reader()
    found = workbench.jobs.list_jobs(reader=reader, states=states, limit=SHOWN)
    if not found:
        _empty(states)
        return
    names = people_names.names_of_all(workbench) if reader.sees_everything else None
    for job in found:
        owner = "" if names is None else "Telepathy itself" if job.owner_id == NOBODY else names.user(job.owner_id)
        _draw_job(workbench, job, reader, owner)
    if len(found) == SHOWN:
        st.caption(f"The newest {SHOWN} are shown.")


def _empty(states: Collection[JobState] | None) -> None:
    with st.container(border=True, key="jobs_empty"):
        if states is None:
            st.subheader("No jobs yet", anchor=False)
            st.markdown("What takes longer than you would wait for appears here.", anchors=False)
            frame.link("batch", "Score many recordings", icon=":material/library_music:")
        else:
            st.markdown("None of these at the moment.", anchors=False)


def _draw_job(workbench: Workbench, job: Job, reader: Reader, owner: str) -> None:
    zone = session.zone()
    with st.container(border=True, key=f"jobs_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"jobs_{job.id}_head"):
            st.markdown(f"**{words.plain(job.title)}**", anchors=False)
            st.badge(words.JOB_WORDS[job.state], icon=words.JOB_ICONS[job.state], color=_colour(job.state))
        told = [f"since {words.when(job.created_at, zone)}"]
        if job.started_at is not None and job.ended_at is not None:
            told.append(f"took {words.duration((job.ended_at - job.started_at).total_seconds())}")
        if job.kind == BATCH and job.state.has_ended and job.doing:  # of others it would be a time left, long over
            told.append(words.plain(job.doing))
        st.caption(" · ".join([*told, *([words.plain(owner)] if owner else [])]))
        if job.state in {JobState.RUNNING, JobState.PAUSED}:
            st.progress(job.progress, text=job.doing or None)
        if job.state is JobState.FAILED:
            st.error(job.error, icon=":material/error:")
        with st.container(horizontal=True, vertical_alignment="center", key=f"jobs_{job.id}_buttons"):
            _draw_buttons(workbench, job, reader)
        if job.log:
            with st.expander(f"Log ({words.count(len(job.log), 'line')})", key=f"jobs_{job.id}_log"):
                st.code(
                    "\n".join(f"{line.at.astimezone(zone):%H:%M:%S}  {line.sentence}" for line in reversed(job.log)),
                    language=None,
                    wrap_lines=True,
                )


def _colour(state: JobState) -> str:
    """Colour means emotion here, and nothing else."""
    return "gray" if state is not JobState.FAILED else "red"


def _draw_buttons(workbench: Workbench, job: Job, reader: Reader) -> None:
    jobs, key = workbench.jobs, f"jobs_{job.id}"
    if job.kind == BATCH:
        frame.link("batch", "Results", icon=":material/table_rows:", query_params={"batch": str(job.id)})
    if job.state in {JobState.QUEUED, JobState.RUNNING} and st.button(
        "Pause", key=f"{key}_pause", icon=":material/pause:", type="tertiary"
    ):
        with refusals.told():
            jobs.pause(job.id, reader=reader)
            st.rerun()
    if job.state is JobState.PAUSED and st.button(
        "Go on", key=f"{key}_resume", icon=":material/play_arrow:", type="tertiary"
    ):
        with refusals.told():
            jobs.resume(job.id, reader=reader)
            st.rerun()
    if not job.state.has_ended and st.button("Cancel", key=f"{key}_cancel", icon=":material/cancel:", type="tertiary"):
        with refusals.told():
            _cancel(workbench, job, reader)
            st.rerun()
    if (
        job.state is JobState.FAILED
        and _can_go_on(workbench, job, reader)
        and st.button("Go on where it failed", key=f"{key}_retry", icon=":material/replay:", type="tertiary")
    ):
        with refusals.told():
            _retry(workbench, job, reader)
            st.rerun()


def _cancel(workbench: Workbench, job: Job, reader: Reader) -> None:
    """A batch has sounds waiting, which go with it."""
    if job.kind == BATCH:
        workbench.batches.cancel(job.id, reader=reader)
    else:
        workbench.jobs.cancel(job.id, reader=reader)


def _can_go_on(workbench: Workbench, job: Job, reader: Reader) -> bool:
    """A batch that came to its end without an answer has nothing left to go on with."""
    return job.kind != BATCH or workbench.batches.status(job.id, reader=reader).can_go_on


def _retry(workbench: Workbench, job: Job, reader: Reader) -> None:
    """As `_cancel`."""
    if job.kind == BATCH:
        workbench.batches.retry(job.id, reader=reader)
    else:
        workbench.jobs.retry(job.id, reader=reader)
