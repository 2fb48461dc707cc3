"""The parts of Explain that belong to one answer: what is asked, the regions of the sound, the reasons in sentences."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import tzinfo
from html import escape
from pathlib import Path
from uuid import UUID

import streamlit as st

from core.domain import Label, ModelCard, Prediction, Recording, Source, label_of
from core.errors import AudioError, ModelError, RequestError
from core.explaining import Voice
from core.inbox import Pending, Upload, receive
from core.inference.attribution import Attribution, Stretch, strongest_stretch
from core.store.predictions import PredictionRow, select_predictions
from core.workbench import Workbench
from pages.parts import (
    attribution_charts,
    attribution_document,
    attribution_words,
    players,
    playhead,
    question,
    reasons,
    refusals,
    session,
    words,
)
from pages.parts.question import Question
from pages.parts.theme import Surface, surface

PLAYER, CHART = "explain_player", "explain_regions"
N_RECENT = 6
ALL_OTHERS = "all others"
LONGEST_MEASURED_S = 12.0
"""Without an attribution to say which stretch is meant, this much of the beginning is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One answer that is to be explained, and what there is to explain it with."""

    asked: Question
    recording: Recording
    prediction: Prediction
    card: ModelCard | None
    """Of the model that answered; None when it is no longer at hand."""
    is_audible: bool
    """Whether the sound of the recording is kept."""

    @property
    def contrast(self) -> Label | None:
        """Why not this one; what the model does not know, and the answer itself, are no contrast."""
        known = self.asked.contrast in self.prediction.probabilities
        return self.asked.contrast if known and self.asked.contrast != self.prediction.emotion else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """What could be found out about the sound; None for what could not."""

    attribution: Attribution | None
    voice: Voice | None


def recent(workbench: Workbench) -> tuple[PredictionRow, ...]:
    """The newest answers."""
    return select_predictions(workbench.store, reader=session.reader(), limit=N_RECENT).items


def row_label(row: PredictionRow, zone: tzinfo) -> str:
    """An answer in a list: `✕ angry, 72 % · call 1.wav · 1 Nov 2026, 12:00`. Names are not taken for Markdown."""
    name = "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!|~<>:$" else letter for letter in row.recording_name)
    answer = f"{words.emotion_label(row.emotion)}, {words.percent(row.confidence)}"
    return f"**{answer}** · {name} · {words.when(row.created_at, zone)}"


def try_sample(workbench: Workbench, path: Path) -> None:
    """Analyse a sample and have its answer explained."""
    _ask_about(workbench, receive(path.read_bytes(), name=path.name, source=Source.SAMPLE))


def _ask_about(workbench: Workbench, upload: Upload) -> None:
    with session.progress() as tell:
        outcome = Pending(workbench, upload, call=session.call("/explain"), owner=session.owner()).wait(tell)
    if outcome.analysis is not None:
        question.ask(outcome.analysis.prediction.id)
        st.rerun()
    if outcome.refusal is not None:
        refusals.refused(outcome.name, outcome.refusal)


def open_case(workbench: Workbench, asked: Question, prediction_id: UUID) -> Case:
    """Find the answer that is asked about.

    Raises
    ------
    UnknownPredictionError, UnknownRecordingError
        There is none by this name, or no longer.
    """
    recording, prediction = session.answer_of(workbench, prediction_id)
    return Case(
        asked=asked,
        recording=recording,
        prediction=prediction,
        card=session.cards(workbench, str(workbench.settings.models_dir)).get(prediction.model_version),
        is_audible=workbench.recording_files.exists(recording.sha256),
    )


def player(workbench: Workbench, case: Case) -> None:
    """The sound that charts and buttons of this page play."""
    with st.container(key=PLAYER):
        players.player(workbench, case.recording)


def choose_another() -> None:
    """The way to other answers."""
    st.button(
        "Explain another answer",
        key="explain_another",
        icon=":material/arrow_back:",
        type="tertiary",
        on_click=st.query_params.clear,
    )


def choose_contrast(case: Case) -> None:
    """Draw the choice of the emotion that the answer is set against."""
    ranked = [emotion for emotion in words.ranked(case.prediction) if emotion != case.prediction.emotion]

    def label(value: str) -> str:
        if value == ALL_OTHERS:
            return value
        said = label_of(value)
        return f"{words.emotion_label(said)} {words.percent(case.prediction.probabilities[said])}"

    def take() -> None:
        chosen = st.session_state["explain_against"]
        question.change(against=None if chosen in (None, ALL_OTHERS) else chosen)

    st.session_state["explain_against"] = case.contrast.value if case.contrast else ALL_OTHERS
    st.pills(
        f"Why {case.prediction.emotion} and not",
        [ALL_OTHERS, *(emotion.value for emotion in ranked)],
        format_func=label,
        wrap=True,
        key="explain_against",
        on_change=take,
        help="The runner-up stands first. Against all others, the numbers say what raises this emotion at all; against "
        "one, what decides between the two.",
    )


def find_regions(workbench: Workbench, case: Case) -> Regions:
    """Ask the model which regions mattered, and look at the voice there; says why where either cannot be had."""
    attribution = None
    if not case.is_audible:
        st.info(
            "The sound of this recording is no longer kept, so its regions cannot be shown. What the model answered "
            "stands below.",
            icon=":material/volume_off:",
        )
        return Regions(attribution=None, voice=None)
    if case.card is None:
        _offer_new_answer(workbench, case)
    else:
        attribution = attribution_or_why_not(workbench, case.recording, case.card, case)
    window = (
        attribution.window
        if attribution is not None
        else Stretch(start_s=0.0, end_s=min(case.recording.duration_s, LONGEST_MEASURED_S))
    )
    return Regions(attribution=attribution, voice=reasons.voice(workbench, case.recording, window))


def attribution_or_why_not(
    workbench: Workbench, recording: Recording, card: ModelCard, case: Case, *, is_other: bool = False
) -> Attribution | None:
    """What is asked about `case`, asked about this recording and model; None, and a sentence drawn, where it fails."""
    try:
        return reasons.attribution(
            workbench,
            recording,
            card,
            emotion=case.prediction.emotion,
            contrast=case.contrast,
            start_s=None if is_other else case.asked.start_s,
        )
    except (ModelError, AudioError, RequestError) as error:
        st.warning(str(error), icon=":material/error:")
        return None


def _offer_new_answer(workbench: Workbench, case: Case) -> None:
    st.warning(
        f"Model {case.prediction.model_version}, which gave this answer, is no longer at hand, so its reasons cannot "
        "be found out. The model in use now can be asked instead; it may answer differently.",
        icon=":material/model_training:",
    )
    if st.button("Ask the model in use now", key="explain_ask_again", icon=":material/refresh:"):
        sound = workbench.recording_files.read(case.recording.sha256)
        _ask_about(workbench, receive(sound, name=case.recording.name, source=case.prediction.source))


def draw_regions(workbench: Workbench, case: Case, found: Regions) -> None:
    """The chart of the regions and, beside it, the strongest reasons."""
    if found.attribution is None or found.voice is None:
        return
    attribution, voice, shades = found.attribution, found.voice, surface()
    figure = attribution_charts.regions(attribution, voice, shades)
    chart, sentences = st.columns([8, 4], gap="large")
    with chart:
        st.markdown(
            f"##### {attribution_words.question(attribution.emotion, attribution.contrast)} Which parts of the sound",
            help=f"{attribution_words.REGIONS_HELP} {attribution_words.NATS_HELP}",
            anchors=False,
        )
        st.html(key_to_colours(attribution, shades))
        st.plotly_chart(
            figure,
            key=CHART,
            config=attribution_charts.REGIONS_CONFIG,
            alt=attribution_words.in_words(attribution),
        )
        playhead.follow(player=PLAYER, chart=CHART, key="explain_playhead", stretches=stretches(attribution))
        _choose_stretch(case, attribution)
    with sentences:
        st.markdown("##### The strongest reasons", anchors=False)
        st.html(reasons_html(attribution, shades))
        st.caption(attribution_words.odds_sentence(attribution))
        st.caption(attribution_words.provenance(attribution))
        st.download_button(
            "Download as HTML",
            data=lambda: attribution_document.document(case.recording, case.prediction, attribution, voice),
            file_name="telepathy-explanation.html",
            mime="text/html",
            key="explain_download",
            icon=":material/download:",
            on_click="ignore",
            help="One file that opens without internet. It holds the chart and these sentences, not the sound. "
            "For a picture (PNG), use the camera at the top right of the chart.",
        )


def stretches(attribution: Attribution) -> list[tuple[float, float]]:
    """The columns of regions: what a click in the chart plays."""
    edges = attribution.time_edges_s.tolist()
    return list(itertools.pairwise(edges))


def key_to_colours(attribution: Attribution, shades: Surface) -> str:
    """What the colours of regions mean, in words."""
    about = escape(attribution_words.target(attribution))
    against = escape(str(attribution.contrast)) if attribution.contrast else f"against {about}"
    return (
        f'<div class="telepathy-key"><span><i style="background:{shades.speaks_for}"></i>'
        f"+ speaks for {escape(attribution.emotion.value)}</span>"
        f'<span><i style="background:{shades.speaks_against}"></i>\u2212 speaks '
        f"{f'for {against}' if attribution.contrast else against}</span>"
        f"<span>numbers in nats: +0.7 doubles the odds</span></div>"
    )


def reasons_html(attribution: Attribution, shades: Surface) -> str:
    """The strongest reasons, each with a button that plays its stretch."""
    strongest = strongest_stretch(attribution)
    items = "".join(
        f'<div role="listitem" style="border-color:{shades.speaks_for if reason.nats > 0 else shades.speaks_against}">'
        f"<span>{escape(reason.sentence)}</span>{_play_button(reason, strongest, shades)}</div>"
        for reason in attribution_words.reasons(attribution)
    )
    if not items:
        return f"<p>{escape(attribution_words.nothing_stands_out(attribution))}</p>"
    return f'<div class="telepathy-reasons" role="list">{items}</div>'


def _play_button(reason: attribution_words.Reason, strongest: tuple[float, float], shades: Surface) -> str:
    if (reason.start_s, reason.end_s) == strongest:
        label, style = "Play the stretch that mattered most", f"background:{shades.text};color:{shades.background}"
    else:
        label, style = f"Play {attribution_words.stretch(reason.start_s, reason.end_s)}", ""
    return playhead.stretch_button(label, reason.start_s, reason.end_s, player=PLAYER, style=style)


def _choose_stretch(case: Case, attribution: Attribution) -> None:
    """In a long recording, the choice of the stretch that is explained."""
    window = attribution.window
    length_s = window.end_s - window.start_s
    last_s = case.recording.duration_s - length_s
    if last_s < 0.5:
        return

    def take() -> None:
        question.change(from_s=f"{st.session_state['explain_from_s']:.1f}")

    st.session_state["explain_from_s"] = round(window.start_s, 1)
    st.slider(
        f"Which {length_s:.0f} s of the recording are explained, from (s)",
        0.0,
        round(last_s, 1),
        step=0.1,
        format="%.1f s",
        key="explain_from_s",
        on_change=take,
        help=f"At first, where {attribution.emotion} is clearest.",
    )


def spread_sentence(prediction: Prediction) -> str:
    """What the passes say together."""
    wide = prediction.intervals[prediction.emotion]
    return (
        f"Asked {prediction.n_passes} times with other parts of the model switched off, it gave {prediction.emotion} "
        f"{words.percent(wide.low)} to {words.percent(wide.high)} in 90\u00a0% of them. "
        f"{words.doubt(prediction.uncertainty)}"
    )


def draw_limits() -> None:
    """What this page is not."""
    st.markdown("##### What this is not", anchors=False)
    for sentence in attribution_words.LIMITS:
        st.markdown(f":material/info: {sentence}", anchors=False)
    st.caption("More in docs/explanation.md, which comes with Telepathy.")
