"""Tables of answers. A frame here is a view: its columns stand in the docstring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from uuid import UUID

import pandas as pd
import streamlit as st

from core.domain import Emotion, Label, in_order
from core.errors import AnswerHiddenError
from core.inbox import Outcome
from core.store.batches import BatchRow
from core.store.predictions import PredictionRow
from pages.parts import words
from pages.parts.theme import colours_of, surface, tint

ROW_HEIGHT_PX = 38
NOT_SURE = "not sure"
REFUSED, HIDDEN = "refused", "hidden"


def outcomes(shown: Sequence[Outcome], *, opened: int, key: str) -> int:
    """Draw what became of several recordings; gives the position of the one the reader opened."""
    chosen = st.dataframe(
        outcomes_frame(shown),
        key=key,
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height=ROW_HEIGHT_PX * 8 if len(shown) > 7 else "content",
        placeholder="",
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [opened]}},
        column_config=_columns([each.analysis.prediction.emotion for each in shown if each.analysis is not None]),
        alt="Recordings of this session and what we hear in them",
    )
    rows = chosen.selection.rows
    return rows[0] if rows else opened


def outcomes_frame(shown: Iterable[Outcome]) -> pd.DataFrame:
    """Columns Recording, Answer (chips), Confidence (%), Uncertainty (nats), Length (s), Note.

    Refusals have a name and a note only.
    """
    rows: list[tuple[object, ...]] = []
    for outcome in shown:
        if outcome.analysis is None:
            said = HIDDEN if isinstance(outcome.refusal, AnswerHiddenError) else REFUSED
            rows.append((outcome.name, [said], None, None, None, str(outcome.refusal)))
            continue
        prediction = outcome.analysis.prediction
        notes = " ".join(note.sentence for note in prediction.quality.notes)
        rows.append(
            (
                outcome.name,
                _chips(prediction.emotion, abstained=prediction.abstained),
                100 * prediction.confidence,
                prediction.uncertainty.predictive_entropy_nats,
                prediction.duration_s,
                notes,
            )
        )
    return pd.DataFrame(rows, columns=["Recording", "Answer", "Confidence", "Uncertainty", "Length", "Note"])


def predictions(
    shown: Sequence[PredictionRow],
    *,
    zone: tzinfo,
    key: str,
    on_open: Callable[[PredictionRow], None],
    whose: Whose | None = None,
) -> None:
    """Draw one page of predictions, with `whose` they are for admins; `on_open` is told which row the reader ticked."""

    def take() -> None:
        for position in st.session_state[key].selection.rows:
            on_open(shown[position])

    st.dataframe(
        predictions_frame(shown, zone=zone, whose=whose),
        key=key,
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height="content",
        placeholder="",
        on_select=take,
        selection_mode="single-row",
        column_config=_columns([row.emotion for row in shown]),
        alt="Predictions that match the filters",
    )


def predictions_frame(shown: Iterable[PredictionRow], *, zone: tzinfo, whose: Whose | None = None) -> pd.DataFrame:
    """Columns Answer (chips), Confidence (%), Uncertainty (nats), Recording, Length (s), When, Came by,
    Model; with `whose` also Owner and Project.
    """
    shown = list(shown)
    rows = [
        (
            _chips(row.emotion, abstained=row.abstained),
            100 * row.confidence,
            row.uncertainty.predictive_entropy_nats,
            row.recording_name,
            row.duration_s,
            words.when(row.created_at, zone),
            words.SOURCE_WORDS[row.source],
            row.model_version,
        )
        for row in shown
    ]
    frame = pd.DataFrame(
        rows, columns=["Answer", "Confidence", "Uncertainty", "Recording", "Length", "When", "Came by", "Model"]
    )
    if whose is not None:
        frame.insert(4, "Owner", [whose.owner(row.owner_id) for row in shown])
        frame.insert(5, "Project", [whose.project(row.project_id) for row in shown])
    return frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Owners and projects in words, for admins, who see everybody's."""

    users: Mapping[UUID, str]
    projects: Mapping[UUID, str]

    def owner(self, user_id: UUID) -> str:
        return self.users.get(user_id, "no longer there")

    def project(self, project_id: UUID | None) -> str:
        return "" if project_id is None else self.projects.get(project_id, "no longer there")


def batch_answers(shown: Sequence[BatchRow], *, key: str, height: int | str) -> None:
    """Draw the answers of a batch."""
    st.dataframe(
        batch_answers_frame(shown),
        key=key,
        hide_index=True,
        row_height=ROW_HEIGHT_PX,
        height=height,
        placeholder="",
        column_config={
            **_columns([row.emotion for row in shown if row.emotion]),
            "Recording": st.column_config.TextColumn(width=300),
            "Note": st.column_config.TextColumn(width=115),
        },
        alt="Recordings of this batch and what we hear in them",
    )


def batch_answers_frame(shown: Iterable[BatchRow]) -> pd.DataFrame:
    """Columns Recording, Answer (chips), Confidence (%), Uncertainty (nats), Length (s), Note.

    A prediction that was deleted since leaves its row with a note only.
    """
    rows: list[tuple[object, ...]] = []
    for row in shown:
        if row.emotion is None or row.confidence is None:
            rows.append((row.name, [], None, None, None, "deleted since"))
            continue
        rows.append(
            (
                row.name,
                _chips(row.emotion, abstained=bool(row.abstained)),
                100 * row.confidence,
                row.predictive_entropy_nats,
                row.duration_s,
                "known already" if row.is_repeat else "",
            )
        )
    return pd.DataFrame(rows, columns=["Recording", "Answer", "Confidence", "Uncertainty", "Length", "Note"])


def _columns(labels: Iterable[Label]) -> dict[str, object]:
    shades = surface()
    colours = colours_of(in_order([*Emotion, *sorted(set(labels))]))
    return {
        "Recording": st.column_config.TextColumn(width="medium"),
        "Answer": st.column_config.MultiselectColumn(
            options=[*map(words.emotion_label, colours), NOT_SURE, REFUSED, HIDDEN],
            color=[*(tint(colour, shades.background) for colour in colours.values()), *[shades.line] * 3],
            width=170,
        ),
        "Confidence": st.column_config.ProgressColumn(
            min_value=0, max_value=100, format="%.0f %%", help=words.CONFIDENCE_HELP, width=115
        ),
        "Uncertainty": st.column_config.NumberColumn(format="%.2f nats", help=words.UNCERTAINTY_HELP, width=115),
        "Length": st.column_config.NumberColumn(format="%.1f s", width="small"),
        "When": st.column_config.TextColumn(width=150),
        "Came by": st.column_config.TextColumn(width="small"),
        "Model": st.column_config.TextColumn(width="medium"),
        "Note": st.column_config.TextColumn(width="large"),
    }


def _chips(emotion: Label, *, abstained: bool) -> list[str]:
    return [words.emotion_label(emotion), NOT_SURE] if abstained else [words.emotion_label(emotion)]
