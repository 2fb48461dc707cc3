"""How well the annotators of a project agree, in figures, charts and tables."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from core.domain import Caller, Emotion, Project
from core.labelling.agreement import Agreement, AnnotatorFigures, agreement_of
from core.labelling.consensus import Method
from core.workbench import Workbench
from pages.parts import agreement_charts, charts, labelling_words, people_names, words
from pages.parts.people_names import Names
from pages.parts.tables import ROW_HEIGHT_PX
from pages.parts.theme import surface


def draw(workbench: Workbench, caller: Caller, project: Project, method: Method) -> None:
    """Everything at this moment."""
    found = agreement_of(workbench.labelling, project.id, reader=caller.reader, method=method)
    names = people_names.names_in_project(workbench, project.id, caller.reader)
    if found.n_clips == 0:
        st.info(
            "Nobody has rated a clip yet. Agreement appears here from the first ratings on.", icon=":material/rule:"
        )
        return
    _figures(found)
    if found.n_shared == 0:
        st.info(
            "No clip has been rated by two people yet, so agreement cannot be told. Set the overlap to two or more.",
            icon=":material/group:",
        )
    else:
        _compared(found, names)
    _annotators(found, names)


def _figures(found: Agreement) -> None:
    interval = found.alpha_interval
    low, high = labelling_words.number(interval.low), labelling_words.number(interval.high)
    with st.container(horizontal=True, gap="medium"):
        alpha = labelling_words.number(found.alpha)
        st.metric("Krippendorff's alpha", alpha, help=labelling_words.ALPHA_HELP, width=170)
        st.metric("95 % interval", f"{low} to {high}", help=labelling_words.ALPHA_HELP, width=170)
        equal = "\u2013" if math.isnan(found.percent) else words.percent(found.percent)
        st.metric("Equal pairs", equal, help=labelling_words.PERCENT_HELP, width=150)
        st.metric("Clips rated", f"{found.n_clips:,}", width=130)
        st.metric("By two or more", f"{found.n_shared:,}", width=150)
    st.markdown(labelling_words.alpha_verdict(found.alpha), anchors=False)


def _compared(found: Agreement, names: Names) -> None:
    pairs, labels = st.columns(2, gap="large")
    people = [names.user(each) for each in found.annotators]
    with pairs:
        st.markdown("##### Cohen's κ of each two", help=labelling_words.KAPPA_HELP, anchors=False)
        st.plotly_chart(
            agreement_charts.kappas(people, found.kappa.tolist(), surface()),
            key="labelling_kappas",
            config=charts.CONFIG,
            alt=f"Cohen's kappa of each two of {len(people)} annotators",
        )
    with labels:
        st.markdown("##### By label", help=labelling_words.BY_LABEL_HELP, anchors=False)
        st.dataframe(
            labels_frame(found),
            key="labelling_by_label",
            hide_index=True,
            row_height=ROW_HEIGHT_PX,
            height="content",
            placeholder="\u2013",
            column_config={"Agreement": st.column_config.ProgressColumn(min_value=0, max_value=100, format="%.0f %%")},
            alt="Agreement by label",
        )


def _annotators(found: Agreement, names: Names) -> None:
    st.markdown("##### Each annotator", help=labelling_words.ANNOTATOR_HELP, anchors=False)
    st.dataframe(
        annotators_frame(found, names),
        key="labelling_annotators",
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height="content",
        placeholder="\u2013",
        column_config={
            "With consensus": st.column_config.NumberColumn(format="%.0f %%"),
            "Gold right": st.column_config.NumberColumn(format="%.0f %%", help=labelling_words.GOLD_HELP),
            "Gold rated": st.column_config.NumberColumn(help=labelling_words.GOLD_HELP),
            "Time per clip": st.column_config.NumberColumn(format="%.1f s", help="Median, from showing to label."),
        },
        alt="Each annotator's ratings, agreement with the consensus, gold accuracy and time",
    )
    by_id = {each.annotator_id: each for each in found.figures if each.n_rated}
    chosen = st.selectbox(
        "What they said against the consensus", list(by_id), format_func=names.user, key="labelling_confusion_of"
    )
    _confusion(found, by_id[chosen])


def _confusion(found: Agreement, chosen: AnnotatorFigures) -> None:
    labels = [words.emotion_label(Emotion(label)) if label in set(Emotion) else label for label in found.labels]
    st.plotly_chart(
        agreement_charts.confusion(labels, chosen.confusion.tolist(), surface()),
        key="labelling_confusion",
        config=charts.CONFIG,
        width=640,
        alt="Their labels against the consensus",
    )


def labels_frame(found: Agreement) -> pd.DataFrame:
    """Columns Label, Agreement (%; None where it never occurs)."""
    rows = [
        (
            words.emotion_label(Emotion(label)) if label in set(Emotion) else label,
            None if math.isnan(share) else 100 * share,
        )
        for label, share in zip(found.labels, found.by_label.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=["Label", "Agreement"])


def annotators_frame(found: Agreement, names: Names) -> pd.DataFrame:
    """Columns Annotator, Rated, With consensus (%), Time per clip (s), Gold rated, Gold right (%); NaN for none."""
    rows = [
        (
            names.user(each.annotator_id),
            each.n_rated,
            100 * each.agreement,
            each.median_spent_s,
            each.n_gold,
            100 * each.gold_accuracy,
        )
        for each in found.figures
    ]
    return pd.DataFrame(
        rows, columns=["Annotator", "Rated", "With consensus", "Time per clip", "Gold rated", "Gold right"]
    )
