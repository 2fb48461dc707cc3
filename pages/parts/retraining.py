"""The Retrain half of Models: corrections in, progress while a model learns, and how it ended."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import streamlit as st

from core.domain import Caller, Emotion, Job, JobState
from core.labelling.consensus import ADJUDICATED
from core.models import retraining
from core.models.retraining import CorrectedRecording, RetrainingPlan
from core.workbench import Workbench
from pages.parts import model_charts, refusals, session, words

MAX_PROBLEMS = 5
N_JOBS = 10
LOOK_EVERY_S = 2.0
DEFAULTS = RetrainingPlan()
ALL, DECIDED = "All that were rated", "Those a reviewer decided"
WHICH_HELP = "Where people disagree and no reviewer has decided, the model learns how many said what."
STATES = {
    JobState.QUEUED: "waits",
    JobState.RUNNING: "learns",
    JobState.PAUSED: "paused",
    JobState.SUCCEEDED: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}


def what_it_does(state: JobState, doing: str) -> str:
    """What stands over a job's bar.

    >>> what_it_does(JobState.QUEUED, ""), what_it_does(JobState.RUNNING, ""), what_it_does(JobState.RUNNING, "Round 2")
    ('Waits for its turn', 'Gets ready to learn', 'Round 2')
    """
    if doing:
        return words.plain(doing)
    return "Gets ready to learn" if state is JobState.RUNNING else "Waits for its turn"


def draw(workbench: Workbench, caller: Caller) -> None:
    """Begin one, and see those that run."""
    deployed = workbench.models.version(workbench.models.deployed)
    if not deployed.can_be_retrained:
        st.info(
            f"{deployed.card.name} has labels of its own and cannot be retrained. Deploy another model first."
            if deployed.has_own_encoder
            else f"{deployed.card.name} has no encoder that another head can be put on, and cannot be retrained. "
            "Deploy another model first.",
            icon=":material/info:",
        )
    else:
        _draw_form(workbench, caller, deployed.card.name)
    if workbench.jobs.is_running:
        _draw_jobs(workbench, caller)


def _draw_form(workbench: Workbench, caller: Caller, parent: str) -> None:
    with st.container(border=True, key="models_retrain"):
        st.subheader("Make a better model", anchor=False)
        st.markdown(
            f"It begins as **{parent}**, learns from recordings whose emotion people corrected, and goes over what "
            f"{parent} learnt from, so that it does not forget. It answers nobody before an admin deploys it.",
            anchors=False,
        )
        corrections, source = _ask_corrections(workbench, caller)
        name = ask_name(workbench, re.sub(r"-\d+$", "", parent), key="models_name")
        with st.expander("Settings", key="models_settings"):
            plan = _ask_plan()
        if len(corrections) >= retraining.MIN_CORRECTIONS:
            seconds = max(10.0, round(retraining.estimate_s(len(corrections), plan), -1))
            st.caption(
                f"{len(corrections):,} corrections; about {seconds:.0f} s where nothing else is done. "
                "It works on one core after everybody else."
            )
        elif corrections:
            st.caption(f"{len(corrections)} corrections; at least {retraining.MIN_CORRECTIONS} are needed.")
        is_ready = len(corrections) >= retraining.MIN_CORRECTIONS and bool(name)
        if st.button("Retrain", key="models_begin", type="primary", disabled=not is_ready):
            with refusals.told():
                retraining.begin(workbench, corrections, name=name, source=source, by=caller, plan=plan)
                st.rerun()


def _ask_corrections(workbench: Workbench, caller: Caller) -> tuple[Sequence[CorrectedRecording], str]:
    """Corrections of a labelling project, or of a table; and where they come from."""
    projects = {project.id: project for project in workbench.labelling.projects(caller.reader)}
    chosen = None
    if projects:
        chosen = st.selectbox(
            "Corrections from",
            [*projects, None],
            format_func=lambda each: "a table of my own" if each is None else projects[each].name,
            key="models_project",
            width=360,
        )
    if chosen is not None:
        labels = workbench.labelling.consensus(chosen, reader=caller.reader)
        decided = [label for label in labels if label.method == ADJUDICATED]
        if 0 < len(decided) < len(labels):
            which = st.radio("Recordings", (ALL, DECIDED), key="models_which", horizontal=True, help=WHICH_HELP)
            labels = decided if which == DECIDED else labels
        corrections, n_left_out = retraining.corrections_of(labels)
        if n_left_out:
            st.caption(f"{n_left_out:,} recordings are left out: no label of theirs is one of the eight emotions.")
        if not corrections:
            st.info("Nobody has rated a recording of this project yet.", icon=":material/info:")
        return corrections, f"labelling project {projects[chosen].name}"
    if not projects:
        st.caption(
            "Corrections come from recordings that people rate in a project: set one up under *Label, Labelling*, rate "
            "on *Annotate*, and decide what is disputed on *Review*. Or they come from a table."
        )
    sent = st.file_uploader(
        "Table of corrections (CSV)",
        type=["csv"],
        key="models_table_file",
        help="Columns: recording_id, and either label or one column for each emotion with its share of the ratings. "
        f"Emotions: {', '.join(Emotion)}.",
    )
    if sent is None:
        return [], ""
    with refusals.told():
        corrections, problems = retraining.read_corrections(sent.getvalue().decode("utf-8-sig", "replace"))
        for problem in problems[:MAX_PROBLEMS]:
            st.warning(problem, icon=":material/warning:")
        if len(problems) > MAX_PROBLEMS:
            st.caption(f"and {len(problems) - MAX_PROBLEMS:,} more rows like these.")
        return corrections, f"table {sent.name}"
    return [], ""


def _ask_plan() -> RetrainingPlan:
    n_epochs = st.slider("Rounds", 5, 60, DEFAULTS.n_epochs, 5, key="models_epochs")
    learning_rate = st.select_slider(
        "Learning rate", [1e-4, 2e-4, DEFAULTS.learning_rate, 5e-4, 1e-3], DEFAULTS.learning_rate, key="models_rate"
    )
    share = st.slider(
        "How much corrections count (%)",
        10,
        70,
        round(100 * DEFAULTS.correction_share),
        10,
        key="models_share",
        help="The rest is what the model learnt before. More learns faster and forgets sooner.",
    )
    return RetrainingPlan(n_epochs=n_epochs, learning_rate=float(learning_rate), correction_share=share / 100)


def ask_name(workbench: Workbench, wanted: str, *, key: str) -> str:
    """Asks what a new model is to be called; proposes `wanted`, with a number where that is taken."""
    taken = retraining.taken_names(workbench)
    numbered = (f"{wanted}-{number}" for number in itertools.count(2))
    free = next(name for name in itertools.chain([wanted], numbered) if name not in taken)
    # A key for each proposal: under one key, a field keeps what it said when another data set is chosen.
    return st.text_input("Name of the new model", key=f"{key}_{free}", value=free, width=360)


def draw_all_when_one_ends(jobs: Sequence[Job], *, key: str) -> None:
    """Have the whole page drawn once a job that was watched has ended: what came of it stands elsewhere on it."""
    watched = st.session_state.get(key, frozenset())
    st.session_state[key] = frozenset(job.id for job in jobs if not job.state.has_ended)
    if watched & {job.id for job in jobs if job.state.has_ended}:
        st.rerun()


@st.fragment(run_every=LOOK_EVERY_S)
def _draw_jobs(workbench: Workbench, caller: Caller) -> None:
    jobs = [job for job in workbench.jobs.list_jobs(reader=caller.reader) if job.kind == retraining.KIND]
    draw_all_when_one_ends(jobs, key="models_watched")
    if not jobs:
        return
    st.subheader("Retrainings", anchor=False)
    for job in jobs[:N_JOBS]:
        _draw_job(workbench, caller, job)


def _draw_job(workbench: Workbench, caller: Caller, job: Job) -> None:
    name = job.title.removeprefix("Retraining ")
    with st.container(border=True, key=f"models_job_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"models_job_head_{job.id}"):
            st.markdown(
                f"**{name}** · {STATES[job.state]} · begun {words.when(job.created_at, session.zone())}", anchors=False
            )
            if not job.state.has_ended and st.button("Cancel", key=f"models_cancel_{job.id}", type="tertiary"):
                workbench.jobs.cancel(job.id, reader=caller.reader)
                st.rerun(scope="fragment")
        if not job.state.has_ended:
            st.progress(job.progress, text=what_it_does(job.state, job.doing))
            points = retraining.curve(workbench.settings, name)
            if len(points) > 1:
                st.plotly_chart(
                    model_charts.curve(points), key=f"models_live_{job.id}", config={"displayModeBar": False}
                )
        if job.error:
            st.error(words.plain(job.error), icon=":material/error:")
        if job.state is JobState.SUCCEEDED and job.log:
            st.markdown(words.plain(job.log[-1].sentence), anchors=False)
        if job.log:
            with st.expander("Log", key=f"models_log_{job.id}"):
                for line in job.log:
                    st.caption(words.plain(line.sentence))
