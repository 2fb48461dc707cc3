"""One prediction of Explore in full, in a drawer; the address carries which."""

from __future__ import annotations

from uuid import UUID

import streamlit as st

from core.workbench import Workbench
from pages.parts import address, answer, filters, session
from pages.parts.paging import Place

N_CLOSED = "explore_n_closed"
"""How often the drawer was closed; part of the table's key, since only a new key takes its tick off."""


def visit(place: Place) -> str:
    """Ends the key of the table at `place`: no page of it inherits the tick of another."""
    return f"{st.session_state.get(N_CLOSED, 0)}_{place.first_row}"


def open_prediction(prediction_id: UUID) -> None:
    """Have the drawer opened by the run that follows."""
    st.query_params[address.PREDICTION] = str(prediction_id)


def draw(workbench: Workbench) -> None:
    """Open the drawer when the address names a prediction.

    Raises
    ------
    UnknownPredictionError, UnknownRecordingError
        There is none by this name, or no longer.
    """
    prediction_id = filters.opened()
    if prediction_id is None:
        return
    recording, prediction = session.answer_of(workbench, prediction_id)

    @st.dialog("Prediction", width=920, position="right", on_dismiss=close)
    def drawer() -> None:
        answer.show(workbench, recording, prediction, prefix="explore", on_deleted=close)
        st.caption("The address of this page leads back here: copy it to share this answer.")

    drawer()


def close() -> None:
    """Forget which prediction is open."""
    st.query_params.pop(address.PREDICTION, None)
    st.session_state[N_CLOSED] = st.session_state.get(N_CLOSED, 0) + 1
