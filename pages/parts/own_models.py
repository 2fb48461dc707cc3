"""Train your own: data sets in, labels and settings chosen, curves while a model learns, models side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.domain import Caller, Job, JobState
from core.inference.model_scores import read_model_scores
from core.models import custom
from core.models.custom import CustomPlan
from core.models.data_sets import MAX_FILES, DataSetSummary, SentFile
from core.models.versions import ModelVersion
from core.workbench import Workbench
from pages.parts import model_charts, projects, refusals, session, words
from pages.parts.held_uploads import MAX_FILE_MB
from pages.parts.retraining import LOOK_EVERY_S, N_JOBS, STATES, ask_name, draw_all_when_one_ends, what_it_does

DEFAULTS = CustomPlan()
FILES, FOLDER, PLACE = "ZIP or files", "A folder of mine", "A folder on the server"
PROBLEMS_HEIGHT_PX = 380
FEW, HINT = 30, " (too few for more than a hint)"
PROTOCOL_WORDS = {
    custom.STRATIFIED: "A tenth of the clips, same speakers",
    custom.SPEAKERS: "Speakers it never heard",
}
NETWORK_WORDS = {
    custom.HEAD: "A new head on the encoder at hand",
    custom.BILSTM: "From nothing: recurrent (BiLSTM with attention)",
    custom.CONVOLUTIONAL: "From nothing: convolutional",
    custom.TRANSFORMER: "From nothing: transformer",
}
NETWORK_HELP = (
    "A head learns from some dozens of clips, since its encoder has heard speech before. A network from nothing begins "
    "with random weights: it takes many times as long, wants hundreds of clips of each label, and owes nothing to "
    "anybody else's recordings."
)
AUGMENTATION_WORDS = {
    "speed": "speed",
    "room": "reverberation",
    "noise": "noise",
    "gain": "loudness",
    "telephone": "telephone",
    "spec_augment": "masked times and bands",
    "mixup": "mixtures of two clips",
}


def draw(workbench: Workbench, caller: Caller) -> None:
    """Data sets, training, and what came of it."""
    sets = workbench.data_sets.list_data_sets(reader=caller.reader)
    with st.container(border=True, key="models_own"):
        st.subheader("Train your own", anchor=False)
        st.markdown(
            "Send clips with labels of your own. The model that learns from them answers by those labels, wherever "
            "you choose it by its name.",
            anchors=False,
        )
        key = f"models_own_upload_{st.session_state.setdefault('models_own_round', 0)}"
        with st.expander("Send a data set", expanded=not sets, icon=":material/upload:", key=key):
            _draw_upload(workbench, caller)
        if sets:
            chosen = _choose(sets)
            _draw_set(workbench, caller, chosen)
            _draw_form(workbench, caller, chosen)
    if workbench.jobs.is_running:
        _draw_jobs(workbench, caller)
    _draw_comparison(workbench)


# -- data sets


def _draw_upload(workbench: Workbench, caller: Caller) -> None:
    if not projects.ask_consent(workbench, caller, None, prefix="models_own"):
        return
    round_key = st.session_state["models_own_round"]
    allowed = workbench.batches.sources.allowed
    ways = [FILES, FOLDER, *([PLACE] if allowed else [])]
    way = st.segmented_control("How", ways, default=FILES, required=True, key="models_own_way")
    files: Sequence[UploadedFile] = ()
    location = ""
    if way == PLACE:
        location = st.text_input("Folder", placeholder=allowed[0], key=f"models_own_location_{round_key}").strip()
    else:
        files = st.file_uploader(
            "Clips, and a CSV of their labels",
            accept_multiple_files="directory" if way == FOLDER else True,
            max_upload_size=MAX_FILE_MB,
            key=f"models_own_files_{way == FOLDER}_{round_key}",
        )
        st.caption(
            f"Up to {MAX_FILES:,} clips. Each lies in a folder that is called like its label: `LABEL/clip.wav`, or "
            "`SPEAKER/LABEL/clip.wav`. Or a CSV has the columns `file` and `label`, and perhaps `speaker`."
        )
    name = st.text_input("What you call it", key=f"models_own_set_name_{round_key}", max_chars=100, width=360)
    if st.button("Take it in", key="models_own_send", type="primary", disabled=not (files or location)):
        with refusals.told(), st.spinner("Listening to every clip"):
            if location:
                summary = workbench.data_sets.from_folder(location, name=name, by=caller)
            else:
                summary = workbench.data_sets.create(_sent(files), name=name or files[0].name, by=caller)
            st.session_state["models_own_round"] += 1
            st.session_state["models_own_set"] = summary.data_set.id
            st.rerun()


def _sent(files: Sequence[UploadedFile]) -> Iterator[SentFile]:
    for file in files:
        yield SentFile(name=file.name, data=file.getvalue())


def _choose(sets: Sequence[DataSetSummary]) -> DataSetSummary:
    by_id = {each.data_set.id: each for each in sets}
    if st.session_state.get("models_own_set") not in by_id:
        st.session_state["models_own_set"] = sets[0].data_set.id
    chosen = st.selectbox(
        "Data set",
        list(by_id),
        format_func=lambda each: f"{by_id[each].data_set.name}, {words.count(len(by_id[each].good), 'clip')}",
        key="models_own_set",
        width=480,
    )
    return by_id[chosen]


def _draw_set(workbench: Workbench, caller: Caller, chosen: DataSetSummary) -> None:
    seconds = sum(clip.duration_s for clip in chosen.good)
    speakers = words.count(chosen.n_speakers, "speaker") if chosen.n_speakers else "speakers not said"
    st.caption(f"{words.count(len(chosen.good), 'clip')}, {words.duration(seconds)}, {speakers}.")
    if chosen.problems:
        title = f"{words.count(len(chosen.problems), 'file')} left out"
        with st.expander(title, icon=":material/warning:", key="models_own_problems"):
            is_long = len(chosen.problems) > 8
            st.table(problems_frame(chosen), hide_index=True, height=PROBLEMS_HEIGHT_PX if is_long else "content")
    with st.popover("Delete this data set", type="tertiary", icon=":material/delete:", key="models_own_delete"):
        st.markdown("Its clips are deleted for good. Models that learnt from it stay.", anchors=False)
        if st.button("Delete it", key="models_own_delete_yes", type="primary"):
            with refusals.told():
                workbench.data_sets.delete(chosen.data_set.id, reader=caller.reader, by=caller)
                st.rerun()


def problems_frame(chosen: DataSetSummary) -> pd.DataFrame:
    """Columns File, Problem; both for a table that reads markdown, and wraps what a grid would cut."""
    shown = [(words.plain(clip.name), words.plain(clip.problem)) for clip in chosen.problems]
    return pd.DataFrame(shown, columns=["File", "Problem"])


# -- training


def _draw_form(workbench: Workbench, caller: Caller, chosen: DataSetSummary) -> None:
    counts = chosen.labels
    labels = st.pills(
        "Labels to learn",
        list(counts),
        selection_mode="multi",
        default=list(counts),
        format_func=lambda label: f"{label} ({counts[label]:,})",
        wrap=True,
        key=f"models_own_labels_{chosen.data_set.id}",
    )
    with st.expander("Settings", key="models_own_settings"):
        plan = _ask_plan(chosen)
    clips = custom.chosen_clips(chosen, labels) if labels else []
    obstacle = custom.obstacle_of(clips, plan)
    name = ask_name(workbench, _name_of(chosen), key="models_own_name")
    if obstacle:
        st.caption(f"{obstacle[0].upper()}{obstacle[1:]}.")
    else:
        st.caption(
            f"{words.count(len(clips), 'clip')}; {_about(custom.estimate_s(clips, plan))} where nothing else is done. "
            "It works on one core after everybody else."
        )
    if st.button("Train", key="models_own_begin", type="primary", disabled=bool(obstacle) or not name):
        with refusals.told():
            custom.begin(workbench, chosen.data_set.id, name=name, by=caller, labels=labels, plan=plan)
            st.rerun()


def _about(seconds: float) -> str:
    """
    >>> _about(4.0), _about(44.0), _about(200.0)
    ('about 10 s', 'about 40 s', 'about 3 min')
    """
    return f"about {max(10, round(seconds, -1)):.0f} s" if seconds < 95 else f"about {seconds / 60:.0f} min"


def _ask_plan(chosen: DataSetSummary) -> CustomPlan:
    network = st.selectbox(
        "Network",
        custom.NETWORKS,
        format_func=NETWORK_WORDS.__getitem__,
        key="models_own_network",
        width=480,
        help=NETWORK_HELP,
    )
    protocols = custom.PROTOCOLS if chosen.n_speakers >= custom.MIN_SPEAKERS else (custom.STRATIFIED,)
    protocol = st.radio(
        "Judged by",
        protocols,
        format_func=PROTOCOL_WORDS.__getitem__,
        key=f"models_own_protocol_{len(protocols)}",
        help="The first says how well these speakers are recognised. The second, how well strangers are; it takes six "
        f"times as long, and needs {custom.MIN_SPEAKERS} speakers that the data set names.",
    )
    n_epochs = st.slider("Rounds", 5, 200, DEFAULTS.n_epochs, 5, key="models_own_epochs")
    learning_rate = st.select_slider(
        "Learning rate", [1e-4, 3e-4, DEFAULTS.learning_rate, 3e-3, 1e-2], DEFAULTS.learning_rate, key="models_own_rate"
    )
    augmentations = st.pills(
        "Also learn from disturbed copies",
        custom.AUGMENTATIONS,
        selection_mode="multi",
        format_func=AUGMENTATION_WORDS.__getitem__,
        wrap=True,
        key="models_own_augmentations",
        help="Copies help where there are few clips or recordings of many kinds. Nothing is judged by them.",
    )
    return CustomPlan(
        network=network,
        n_epochs=n_epochs,
        learning_rate=float(learning_rate),
        protocol=protocol,
        augmentations=tuple(augmentations),
    )


def _name_of(chosen: DataSetSummary) -> str:
    """What a model of a data set is called, where nobody calls it otherwise."""
    said = chosen.data_set.name.lower().removesuffix(".zip")
    letters = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in said)
    return "-".join(letters.split())[:32].strip("-") or "own"


@st.fragment(run_every=LOOK_EVERY_S)
def _draw_jobs(workbench: Workbench, caller: Caller) -> None:
    jobs = [job for job in workbench.jobs.list_jobs(reader=caller.reader) if job.kind == custom.KIND]
    draw_all_when_one_ends(jobs, key="models_own_watched")
    if jobs:
        st.subheader("Trainings", anchor=False)
    for job in jobs[:N_JOBS]:
        _draw_job(workbench, caller, job)


def _draw_job(workbench: Workbench, caller: Caller, job: Job) -> None:
    name = job.title.removeprefix("Training ")
    with st.container(border=True, key=f"models_own_job_{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"models_own_job_head_{job.id}"):
            st.markdown(
                f"**{name}** · {STATES[job.state]} · begun {words.when(job.created_at, session.zone())}", anchors=False
            )
            if not job.state.has_ended and st.button("Cancel", key=f"models_own_cancel_{job.id}", type="tertiary"):
                workbench.jobs.cancel(job.id, reader=caller.reader)
                st.rerun(scope="fragment")
        if not job.state.has_ended:
            st.progress(job.progress, text=what_it_does(job.state, job.doing))
            points = custom.curve(workbench.settings, name)
            if len(points) > 1:
                st.plotly_chart(
                    model_charts.custom_curve(points), key=f"models_own_live_{job.id}", config={"displayModeBar": False}
                )
        if job.error:
            st.error(words.plain(job.error), icon=":material/error:")
        if job.state is JobState.SUCCEEDED:
            st.markdown(
                f"It answers whoever chooses **{name}**: on Analyse, or with `model={name}`. What it is worth stands "
                "below and under Versions.",
                anchors=False,
            )
        if job.log:
            with st.expander("Log", key=f"models_own_log_{job.id}"):
                for line in job.log:
                    st.caption(words.plain(line.sentence))


# -- side by side


def _draw_comparison(workbench: Workbench) -> None:
    made = [version for version in workbench.models.list_versions()[0] if version.trained is not None]
    if not made:
        return
    st.subheader("Side by side", anchor=False)
    names = [version.card.name for version in made]
    shown = st.multiselect("Models", names, default=names[:4], key="models_own_compared")
    chosen = [version for version in made if version.card.name in shown]
    if not chosen:
        return
    st.table(comparison_frame(chosen))
    st.plotly_chart(
        model_charts.compared_curves(
            {version.card.name: version.trained.rounds for version in chosen if version.trained}
        ),
        key="models_own_curves",
        config={"displayModeBar": False},
    )
    st.caption("Mean recall of validation clips while they learnt. Figures of different data sets do not compare.")


def comparison_frame(versions: Sequence[ModelVersion]) -> pd.DataFrame:
    """A row for each property, a column for each model."""
    columns = {}
    for version in versions:
        made = version.trained
        scores = read_model_scores(version.folder).scores
        if made is None or not scores:
            continue
        recall, error = scores[0].unweighted_average_recall, scores[0].expected_calibration_error
        columns[version.card.name] = {
            "Data set": made.data_set,
            "Labels": ", ".join(f"{label} {n:,}" for label, n in made.labels.items()),
            "Mean recall": f"{100 * recall.value:.1f}\xa0% ({100 * recall.low:.0f} to {100 * recall.high:.0f})",
            "By chance": f"{100 / len(made.labels):.1f}\xa0%",
            "Judged by": PROTOCOL_WORDS[made.protocol],
            "Clips judged": f"{scores[0].n_recordings:,}{HINT if scores[0].n_recordings < FEW else ''}",
            "Calibration error": "—" if error is None else f"{100 * error:.1f}\xa0%",
            "Network": NETWORK_WORDS.get(made.network, made.network),
            "Rounds": f"{made.n_epochs} at {made.learning_rate:g}",
            "Disturbed copies": ", ".join(AUGMENTATION_WORDS.get(each, each) for each in made.augmentations) or "none",
        }
    return pd.DataFrame(columns)
