"""The global view: which features of the voice move the answers over many recordings."""

from __future__ import annotations

import streamlit as st

from core.domain import Emotion, Label, ModelCard, label_of
from core.features.prosody_measures import MEASURE_OF
from core.inference.surrogate import GlobalAttribution, Surrogate, describe_fidelity, rank_measures
from core.store.predictions import PredictionFilter, select_predictions
from core.store.recordings import select_recordings_by_id
from core.workbench import Workbench
from pages.parts import prosody_charts, reasons, session, words
from pages.parts.charts import CONFIG
from pages.parts.theme import Surface, surface

CORPORA, HERE = "Research recordings", "Recordings kept here"
N_HERE, LONGEST_S = 100, 30.0
FIRST = Emotion.ANGRY
ASKED_OF = "explain_many_asked_of"
"""Which emotion the view began with: of another answer's it begins anew, whatever was looked at before."""


def draw(workbench: Workbench, card: ModelCard | None, *, emotion: Label | None) -> None:
    """Draw the beeswarm of the model with this card: first of `emotion`, and again when that becomes another."""
    if card is None:
        return
    st.markdown(
        "##### Across many recordings",
        help="One dot for each recording and feature of the voice. Right of the line, the feature spoke for the "
        "emotion; the fuller its colour, the higher the feature; hollow: it could not be measured.",
        anchors=False,
    )
    opened = reasons.surrogate(workbench, card)
    if opened.surrogate is None:
        st.info(opened.sentence, icon=":material/model_training:")
        return
    found = opened.surrogate
    emotions = [each.value for each in found.emotions]
    which, where = st.columns([7, 4], gap="medium", vertical_alignment="bottom")
    first = emotion if emotion in found.emotions else FIRST if FIRST in found.emotions else found.emotions[0]
    is_new = st.session_state.get(ASKED_OF) != first
    if is_new or st.session_state.get("explain_many_emotion") not in emotions:
        st.session_state["explain_many_emotion"] = first.value
    st.session_state[ASKED_OF] = first
    chosen = which.pills(
        "What speaks for",
        emotions,
        format_func=lambda value: words.emotion_label(label_of(value)),
        wrap=True,
        key="explain_many_emotion",
        required=True,
    )
    place = where.segmented_control("In", [CORPORA, HERE], default=CORPORA, key="explain_many_where", required=True)
    shown = _here(workbench, found, card) if place == HERE else found.overview
    if shown is None:
        st.info(
            f"No sound of at most {LONGEST_S:.0f} s that this model answered is kept here yet.",
            icon=":material/library_add:",
        )
        return
    about = label_of(str(chosen))
    st.html(_key_to_colours(about, surface()))
    st.plotly_chart(
        prosody_charts.beeswarm(shown, about, surface()),
        key="explain_many",
        config=CONFIG,
        alt=in_words(shown, about),
    )
    st.caption(in_words(shown, about))
    st.caption(
        f"{describe_fidelity(found.fidelity)} Model **{shown.model_version}** · "
        + ("recordings kept here" if place == HERE else f"sampled from {', '.join(found.corpora)}, {found.licence}")
    )


def _key_to_colours(emotion: Label, shades: Surface) -> str:
    full = prosody_charts.full_colour(emotion, shades)
    return (
        f'<div class="telepathy-key"><span><i style="background:{shades.quiet}"></i>low value of the feature</span>'
        f'<span><i style="background:{full}"></i>high value of the feature</span>'
        f"<span>to the right: speaks for {emotion}; each dot is a recording</span></div>"
    )


def in_words(shown: GlobalAttribution, emotion: Label) -> str:
    """The three features that matter most, and over how many recordings."""
    n_recordings = shown.values.shape[1]
    named = ", ".join(
        f"{MEASURE_OF[measure].label} ({size:.2f} nats on average)"
        for measure, size in rank_measures(shown, emotion)[:3]
    )
    of = "1 recording" if n_recordings == 1 else f"{n_recordings:,} recordings"
    return f"Over {of}, what moves the surrogate most towards or away from {emotion}: {named}."


def _here(workbench: Workbench, found: Surrogate, card: ModelCard) -> GlobalAttribution | None:
    """Of the newest recordings of the store that the model answered."""
    rows = select_predictions(
        workbench.store,
        reader=session.reader(),
        limit=N_HERE,
        filter=PredictionFilter(model_versions=(card.version,)),
    ).items
    recording_ids = list(dict.fromkeys(row.recording_id for row in rows if row.duration_s <= LONGEST_S))
    found_ones = select_recordings_by_id(workbench.store, recording_ids=recording_ids, reader=session.reader())
    hashes = [found_ones[recording_id].sha256 for recording_id in recording_ids if recording_id in found_ones]
    return reasons.attributions_of_many(workbench, found, hashes)
