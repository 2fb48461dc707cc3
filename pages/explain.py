"""Explain: why an answer came out as it did, and how far to trust that."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from core.workbench import Workbench
from pages.parts import answer, beside, explanation, explanation_report, many, question, session, voice_features, words
from pages.parts.question import Question


def render() -> None:
    workbench, asked = session.workbench(), question.asked()
    st.title("Explain", anchor=False)
    if asked.prediction_id is None:
        choose(workbench)
        many.draw(workbench, workbench.recogniser().card, emotion=None)
    else:
        explain(workbench, asked, asked.prediction_id)


def choose(workbench: Workbench) -> None:
    st.caption("Which stretches of a recording, and which features of the voice, spoke for the emotion we hear.")
    recent = explanation.recent(workbench)
    with st.container(border=True, key="explain_choose"):
        st.markdown("##### Choose an answer to explain" if recent else "##### No answers yet", anchors=False)
        with st.container(gap="xxsmall", key="explain_recent"):
            for row in recent:
                st.button(
                    explanation.row_label(row, session.zone()),
                    key=f"explain_recent_{row.id}",
                    type="tertiary",
                    icon=":material/lightbulb:",
                    on_click=question.ask,
                    args=(row.id,),
                )
        if session.samples():
            st.markdown("Or try a sample:" if recent else "Try a sample, in one click:", anchors=False)
        with st.container(horizontal=True, gap="small", key="explain_samples"):
            for path in session.samples():
                if st.button(words.sample_name(path.stem), key=f"explain_sample_{path.stem}"):
                    explanation.try_sample(workbench, path)
        st.page_link("analyse.py", label="Analyse a recording of your own", icon=":material/graphic_eq:")


def explain(workbench: Workbench, asked: Question, prediction_id: UUID) -> None:
    case = explanation.open_case(workbench, asked, prediction_id)
    verdict, ask = st.columns([5, 6], gap="medium", vertical_alignment="bottom")
    with verdict:
        st.html(answer.verdict(case.recording, case.prediction))
    with ask:
        explanation.choose_another()
        explanation.player(workbench, case)
        explanation.choose_contrast(case)
    regions = explanation.find_regions(workbench, case)
    explanation.draw_regions(workbench, case, regions)
    features, stand_in = st.columns([6, 5], gap="large")
    with features:
        deviations = voice_features.draw_reference(workbench, case, regions)
    with stand_in:
        surrogate = voice_features.draw_surrogate(workbench, case, regions)
    spread, limits = st.columns([6, 5], gap="large")
    with spread:
        answer.probabilities(case.prediction, key="explain_probabilities")
        st.caption(explanation.spread_sentence(case.prediction))
    with limits:
        explanation.draw_limits()
        explanation_report.offer(workbench, case, regions, deviations, surrogate)
    beside.draw(workbench, case, regions)
    many.draw(workbench, case.card, emotion=case.prediction.emotion)


render()
