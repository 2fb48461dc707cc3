"""A second recording, or a second model, beside the first: the same question, the same colours for the same numbers."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from core.domain import ModelCard, Recording
from core.errors import UnknownPredictionError, UnknownRecordingError
from core.explaining import Voice
from core.inference.attribution import Attribution
from core.store.predictions import PredictionRow, select_predictions
from core.workbench import Workbench
from pages.parts import (
    attribution_charts,
    attribution_words,
    explanation,
    players,
    playhead,
    question,
    reasons,
    session,
    words,
)
from pages.parts.explanation import Case, Regions
from pages.parts.theme import surface

N_OFFERED = 50
NOTHING = ""


def draw(workbench: Workbench, case: Case, found: Regions) -> None:
    """Draw the choice of what stands beside and, once chosen, both."""
    if found.attribution is None or found.voice is None or case.card is None:
        return
    st.markdown("##### Side by side", help="Both charts answer the same question on the same scale.", anchors=False)
    cards = session.cards(workbench, str(workbench.settings.models_dir))
    others = [card for card in cards.values() if card.is_installed and card.version != case.card.version]
    models = {card.name: card for card in others}
    _choose(workbench, case, models)
    recording, card = case.recording, case.card
    if case.asked.other_id is not None:
        other = _other_recording(workbench, case.asked.other_id)
        if other is None:
            return
        recording = other
    elif case.asked.other_model in models:
        card = models[case.asked.other_model]
    else:
        st.caption("Choose a second recording or a second model to see both next to each other.")
        return
    second = explanation.attribution_or_why_not(workbench, recording, card, case, is_other=True)
    if second is None:
        return
    voice = reasons.voice(workbench, recording, second.window)
    scale = attribution_charts.largest_nats([found.attribution, second])
    left, right = st.columns(2, gap="medium")
    with left:
        _side(found.attribution, found.voice, case.recording, scale, side="first", player=explanation.PLAYER)
    with right:
        is_same = recording.id == case.recording.id
        player = explanation.PLAYER if is_same else "explain_beside_player"
        _side(second, voice, recording, scale, side="second", player=player)
        if not is_same:
            with st.container(key=player):
                players.player(workbench, recording)


def _choose(workbench: Workbench, case: Case, models: dict[str, ModelCard]) -> None:
    rows = {
        str(row.id): row
        for row in select_predictions(workbench.store, reader=session.reader(), limit=N_OFFERED).items
        if row.recording_id != case.recording.id
    }
    asked = str(case.asked.other_id) if case.asked.other_id else NOTHING
    by_recording, by_model = st.columns(2, gap="medium")

    def take_recording() -> None:
        question.change(**{question.BESIDE: st.session_state["explain_beside"], question.MODEL: None})

    def take_model() -> None:
        question.change(**{question.MODEL: st.session_state["explain_beside_model"], question.BESIDE: None})

    options = list(dict.fromkeys([NOTHING, *rows, asked]))
    st.session_state["explain_beside"] = asked
    by_recording.selectbox(
        "Another recording, same model",
        options,
        format_func=lambda value: _name(rows[value]) if value in rows else "an earlier one" if value else "None",
        key="explain_beside",
        on_change=take_recording,
    )
    st.session_state["explain_beside_model"] = (
        case.asked.other_model if case.asked.other_model in models and not case.asked.other_id else NOTHING
    )
    by_model.selectbox(
        "Same recording, another model",
        [NOTHING, *models],
        format_func=lambda value: models[value].version if value else "None",
        key="explain_beside_model",
        on_change=take_model,
        disabled=not models,
        help=None if models else "There is no other model at hand.",
    )


def _name(row: PredictionRow) -> str:
    return f"{row.recording_name} · {row.emotion} · {words.when(row.created_at, session.zone())}"


def _other_recording(workbench: Workbench, other_id: UUID) -> Recording | None:
    try:
        recording, _ = session.answer_of(workbench, other_id)
    except (UnknownPredictionError, UnknownRecordingError) as error:
        st.warning(str(error), icon=":material/search_off:")
        return None
    if not workbench.recording_files.exists(recording.sha256):
        st.info("The sound of the other recording is no longer kept.", icon=":material/volume_off:")
        return None
    return recording


def _side(
    attribution: Attribution, voice: Voice, recording: Recording, scale_nats: float, *, side: str, player: str
) -> None:
    chart = f"explain_regions_{side}"
    st.text(recording.name)
    share = words.percent(attribution.probabilities[attribution.emotion])
    odds = attribution_words.odds(attribution.output)
    st.caption(f"{attribution.emotion} {share}, odds {odds} · {attribution.model_version}")
    st.plotly_chart(
        attribution_charts.regions(attribution, voice, surface(), scale_nats=scale_nats),
        key=chart,
        config=attribution_charts.REGIONS_CONFIG,
        alt=attribution_words.in_words(attribution),
    )
    playhead.follow(
        player=player, chart=chart, key=f"explain_playhead_{side}", stretches=explanation.stretches(attribution)
    )
    for reason in attribution_words.reasons(attribution)[:2]:
        st.markdown(f"- {reason.sentence}", anchors=False)
    st.caption(attribution_words.provenance(attribution))
