"""The voice in numbers: beside a reference, and as the reasons of a surrogate that hears nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from core.errors import TooFewRecordingsError
from core.features.prosody_measures import write_value
from core.features.prosody_reference import (
    MIN_RECORDINGS,
    Deviation,
    ProsodyReference,
    compare_prosody,
    describe_deviation,
    make_reference,
)
from core.inference.surrogate import ProsodyAttribution, describe_attribution, describe_fidelity
from core.store.predictions import PredictionOrder, PredictionRow, select_predictions
from core.store.recordings import select_recordings_by_id
from core.workbench import Workbench
from pages.parts import prosody_charts, reasons, session, words
from pages.parts.charts import CONFIG
from pages.parts.explanation import Case, Regions
from pages.parts.theme import surface

OWN = "this speaker's own neutral recordings"
N_OFFERED = 200
"""Recordings of the store that can be chosen as a speaker's own, newest first."""
LONGEST_REFERENCE_S = 60.0
STANDS_OUT_SD = 1.0
N_SENTENCES = 4


def draw_reference(workbench: Workbench, case: Case, found: Regions) -> tuple[Deviation, ...]:
    """How the voice sounds beside other voices; what was drawn."""
    if found.voice is None:
        return ()
    st.markdown(
        "##### How the voice sounds",
        help="Measured by Praat over the stretch explained, without the silence at its ends. sd: standard deviation, "
        "the usual distance from the average; two thirds of recordings lie within 1 sd, 95\u00a0% within 2.",
        anchors=False,
    )
    reference = _choose_reference(workbench, case)
    if reference is None:
        return ()
    deviations = compare_prosody(found.voice.prosody, reference)
    if not deviations:
        st.info("Too little of this voice could be measured to compare it.", icon=":material/graphic_eq:")
        return ()
    for sentence in outstanding(deviations):
        st.markdown(f"- {sentence}", anchors=False)
    with st.container(key="explain_features"):
        st.table(
            deviations_frame(deviations),
            hide_index=True,
            border="horizontal",
            alt="Acoustic features of this voice beside the reference",
        )
    speakers = "1 speaker" if reference.n_speakers == 1 else f"{reference.n_speakers} speakers"
    st.caption(
        f"Reference: {reference.n_recordings:,} recordings of {speakers}, about "
        f"{words.duration(reference.mean_duration_s)} each"
        + (f" · figures from {reference.corpus}, {reference.licence}" if reference.corpus else "")
    )
    return deviations


def deviations_frame(deviations: Sequence[Deviation]) -> pd.DataFrame:
    """Columns Feature, Distance (sd), Here, Usual there (both with unit)."""
    return pd.DataFrame(
        [
            (
                deviation.label[0].upper() + deviation.label[1:],
                f"{deviation.z:+.1f}\u00a0sd".replace("-", "\u2212"),
                write_value(deviation.measure, deviation.value),
                f"{write_value(deviation.measure, deviation.usual_low, has_unit=False)} to "
                f"{write_value(deviation.measure, deviation.usual_high)}",
            )
            for deviation in deviations
        ],
        columns=["Feature", "Distance", "Here", "Usual there"],
    )


def outstanding(deviations: Sequence[Deviation]) -> list[str]:
    """The features that stand out most, in sentences; or that none does."""
    found = sorted((each for each in deviations if abs(each.z) >= STANDS_OUT_SD), key=lambda each: -abs(each.z))
    if not found:
        return [f"Nothing stands out: all that was measured is as usual for {deviations[0].reference_name}."]
    return [describe_deviation(deviation) for deviation in found[:N_SENTENCES]]


def _choose_reference(workbench: Workbench, case: Case) -> ProsodyReference | None:
    corpora = {reference.name: reference for reference in reasons.references()}
    chosen = st.selectbox(
        "Compared with",
        [*corpora, OWN],
        key="explain_reference",
        help="Voices of research corpora, or recordings of the same person that you choose from those kept here.",
    )
    if chosen != OWN:
        return corpora[chosen]
    offered = _offered(workbench, case)
    picked = st.multiselect(
        f"Neutral recordings of this speaker (at least {MIN_RECORDINGS})",
        list(offered),
        format_func=lambda sha256: _name(offered[sha256]),
        key="explain_own",
        placeholder="Choose recordings",
        help="Only you know who speaks: choose recordings in which the same person talks calmly and plainly.",
    )
    if len(offered) < MIN_RECORDINGS:
        st.info(
            f"There are {len(offered)} other recordings whose sound is kept; {MIN_RECORDINGS} are needed. "
            "Analyse some neutral ones of this speaker first.",
            icon=":material/library_add:",
        )
        return None
    if len(picked) < MIN_RECORDINGS:
        st.info(f"Choose {MIN_RECORDINGS - len(picked)} more.", icon=":material/library_add:")
        return None
    try:
        return make_reference(reasons.prosodies(workbench, picked), name="this speaker's neutral")
    except TooFewRecordingsError as error:
        st.warning(str(error), icon=":material/library_add:")
        return None


def _offered(workbench: Workbench, case: Case) -> dict[str, PredictionRow]:
    """By content hash: the recordings that may be chosen, neutral answers first."""
    rows = select_predictions(
        workbench.store, reader=session.reader(), limit=N_OFFERED, order=PredictionOrder.NEWEST
    ).items
    short = {
        row.recording_id: row
        for row in reversed(rows)
        if row.duration_s <= LONGEST_REFERENCE_S and row.recording_id != case.recording.id
    }
    recordings = select_recordings_by_id(workbench.store, recording_ids=short.keys(), reader=session.reader())
    offered: dict[str, PredictionRow] = {}
    for row in sorted(short.values(), key=lambda each: (each.emotion.value != "neutral", -each.created_at.timestamp())):
        recording = recordings.get(row.recording_id)
        if recording is not None and workbench.recording_files.exists(recording.sha256):
            offered[recording.sha256] = row
    return offered


def _name(row: PredictionRow) -> str:
    return f"{row.recording_name} · {row.emotion} · {words.when(row.created_at, session.zone())}"


def draw_surrogate(workbench: Workbench, case: Case, found: Regions) -> ProsodyAttribution | None:
    """What a surrogate says that hears these features alone, and how far it may be believed; what was drawn."""
    if found.voice is None or found.attribution is None or case.card is None:
        return None
    st.markdown(
        "##### What a simpler stand-in (surrogate) makes of them",
        help="A surrogate is a small, separate model that was taught to imitate the recogniser from acoustic features "
        "alone. Its reasons can be told exactly; whether they are also the recogniser's, its fidelity says.",
        anchors=False,
    )
    opened = reasons.surrogate(workbench, case.card)
    if opened.surrogate is None:
        st.info(opened.sentence, icon=":material/model_training:")
        return None
    explained = reasons.prosody_attribution(
        workbench,
        opened.surrogate,
        found.voice,
        sha256=case.recording.sha256,
        emotion=case.prediction.emotion,
        contrast=case.contrast,
        model_probabilities=found.attribution.probabilities,
    )
    st.markdown(f":material/science: {describe_fidelity(explained.fidelity)}", anchors=False)
    agreement(explained)
    st.plotly_chart(
        prosody_charts.waterfall(explained, surface()),
        key="explain_surrogate",
        config=CONFIG,
        alt=" ".join(describe_attribution(explained)),
    )
    for sentence in describe_attribution(explained):
        if sentence != describe_fidelity(explained.fidelity) and not sentence.startswith("Here they disagree"):
            st.markdown(f"- {sentence}", anchors=False)
    st.caption(f"Surrogate of model **{explained.model_version}** · {explained.fidelity.protocol}")
    return explained


def agreement(explained: ProsodyAttribution) -> None:
    """Whether surrogate and model name the same emotion here."""
    own = explained.surrogate_probabilities[explained.surrogate_emotion]
    if explained.is_agreed:
        st.success(
            f"Here both agree: the surrogate names {explained.surrogate_emotion} too ({words.percent(own)}).",
            icon=":material/handshake:",
        )
        return
    given = explained.model_probabilities or {}
    st.warning(
        f"Here they disagree: the surrogate names {explained.surrogate_emotion} ({words.percent(own)}), the model "
        f"{max(given, key=lambda emotion: given[emotion])}. Do not take these for the model's reasons.",
        icon=":material/call_split:",
    )
