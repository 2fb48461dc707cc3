"""The report of one recording: what its page shows, put together as one file to hand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import streamlit as st

from core.domain import ModelCard, Prediction, Recording
from core.errors import ModelError
from core.features.overview import Overview
from core.inference.model_scores import ModelScores, read_model_scores
from core.inference.registry import find_model
from core.reports.analysis import (
    Part,
    model_part,
    probabilities_part,
    recording_part,
    timeline_part,
    write_report,
)
from core.workbench import Workbench
from pages.parts import charts, session, words
from pages.parts.theme import LIGHT

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing

    from core.reports.fonts import Fonts


def offer(
    workbench: Workbench,
    recording: Recording,
    prediction: Prediction,
    *,
    key: str,
    explain: Callable[[], Sequence[Part]] | None = None,
) -> None:
    """The buttons that download the report; it is made when one is pressed. `explain` gives the parts with reasons."""
    card = session.cards(workbench, str(workbench.settings.models_dir)).get(prediction.model_version)
    scores = _scores(workbench, card)
    zone = session.zone()
    is_audible = workbench.recording_files.exists(recording.sha256)
    seen = session.picture(workbench, recording.sha256) if is_audible else None

    def made(is_pdf: bool) -> bytes:
        return report(
            recording,
            prediction,
            card=card,
            scores=scores,
            seen=seen,
            explanation=explain() if explain else (),
            zone=zone,
            is_pdf=is_pdf,
        )

    reasons = "" if explain else " The reasons for the answer are in the report of Explain."
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Report (PDF)",
            data=partial(made, True),
            file_name="telepathy-report.pdf",
            mime="application/pdf",
            key=f"{key}_pdf",
            icon=":material/picture_as_pdf:",
            on_click="ignore",
            help=f"A4, to print or hand on. It holds no sound.{reasons}",
        )
        st.download_button(
            "Report (HTML)",
            data=partial(made, False),
            file_name="telepathy-report.html",
            mime="text/html",
            key=key,
            icon=":material/description:",
            on_click="ignore",
            help="One file that opens without internet, its charts to be pointed at. It holds no sound." + reasons,
        )


def report(
    recording: Recording,
    prediction: Prediction,
    *,
    card: ModelCard | None,
    scores: ModelScores | None,
    seen: Overview | None,
    explanation: Sequence[Part],
    zone: tzinfo,
    is_pdf: bool = False,
) -> bytes:
    """The report, as PDF or as HTML in UTF-8."""
    parts = [
        recording_part(recording, prediction, heard_at=words.when(prediction.created_at, zone)),
        probabilities_part(
            prediction,
            figure=drawn(charts.probabilities(prediction, LIGHT), name="probabilities", has_plotly=True),
            drawing=partial(_probabilities, prediction),
            notes=(words.INTERVAL_HELP,),
        ),
    ]
    if seen is not None:
        figure = drawn(charts.sound(seen, prediction, LIGHT), name="sound", has_plotly=False)
        parts.append(timeline_part(prediction, figure=figure))
    elif prediction.segments:
        parts.append(timeline_part(prediction, figure=""))
    parts = [*parts, *explanation, model_part(prediction, card, scores)]
    heading = f"{words.verdict_lead(prediction)}: {words.verdict(prediction)}"
    lead = (words.runner_up(prediction), words.doubt(prediction.uncertainty))
    if not is_pdf:
        return write_report(name=recording.name, heading=heading, lead=lead, parts=parts)
    from core.reports.analysis_pdf import write_analysis_pdf  # reportlab: half a second that only PDF reports need

    file = BytesIO()
    now = words.when(datetime.now(UTC), zone)
    write_analysis_pdf(name=recording.name, heading=heading, lead=lead, parts=parts, made=now, file=file)
    return file.getvalue()


def _probabilities(prediction: Prediction, fonts: Fonts, width: float) -> Drawing:
    from core.reports.figures import probabilities

    return probabilities(prediction, fonts, width=width)


def drawn(figure: go.Figure, *, name: str, has_plotly: bool, config: Mapping[str, object] = charts.CONFIG) -> str:
    """A figure as markup, as wide as what it stands in; `has_plotly` for the first figure of a document."""
    figure.update_layout(width=None, autosize=True)
    markup: str = figure.to_html(
        full_html=False,
        include_plotlyjs=has_plotly,
        config={key: value for key, value in config.items() if key != "showLink"},
        div_id=name,
    )
    return markup


def _scores(workbench: Workbench, card: ModelCard | None) -> ModelScores | None:
    return None if card is None else _scores_of(*session.model_folders(workbench), card.name, card.version)


@st.cache_data(max_entries=8, show_spinner=False)
def _scores_of(models_dir: str, installed_dir: str, model: str, version: str) -> ModelScores | None:
    try:
        return read_model_scores(find_model(Path(models_dir), model, installed_dir=Path(installed_dir)))
    except ModelError:
        return None
