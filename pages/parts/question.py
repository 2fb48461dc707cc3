"""What the address of Explain asks: which answer, why not which other, of which stretch, beside what else.

Like that of Explore, the address is where these are kept, so a link shows what its sender saw; and what makes no sense
in it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import streamlit as st

from core.domain import Label, is_label_name, label_of
from pages.parts import address

AGAINST, START, BESIDE, MODEL = "against", "from_s", "beside", "beside_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be explained."""

    prediction_id: UUID | None = None
    contrast: Label | None = None
    """Why not this one; None for all others together."""
    start_s: float | None = None
    """Of the stretch explained, in a long recording; None for where the emotion is clearest."""
    other_id: UUID | None = None
    """A second prediction, to be shown beside."""
    other_model: str = ""
    """Name of a second model, to be shown beside."""


def question_of(parameters: address.Parameters) -> Question:
    """What an address asks.

    Examples
    --------
    >>> question_of({"against": ["calm"], "from_s": ["4.5"], "prediction": ["nonsense"]})
    Question(prediction_id=None, contrast=<Emotion.CALM: 'calm'>, start_s=4.5, other_id=None, other_model='')
    """
    contrast, start = _first(parameters, AGAINST), _first(parameters, START)
    return Question(
        prediction_id=address.prediction_of(parameters),
        contrast=label_of(contrast) if is_label_name(contrast) else None,
        start_s=float(start) if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", start) else None,
        other_id=address.prediction_of({address.PREDICTION: parameters.get(BESIDE, ())}),
        other_model=_first(parameters, MODEL),
    )


def asked() -> Question:
    """What the address of this page asks."""
    return question_of({name: st.query_params.get_all(name) for name in st.query_params})


def ask(prediction_id: UUID) -> None:
    """Have this prediction explained by the run that follows, and nothing else of what was asked before."""
    st.query_params.from_dict(link_to(prediction_id))


def link_to(prediction_id: UUID) -> dict[str, str]:
    """The parameters of the address that explains a prediction."""
    return {address.PREDICTION: str(prediction_id)}


def change(**said: str | None) -> None:
    """Put parameters into the address, or take those that are None out of it."""
    changed: Mapping[str, str | None] = said
    for name, value in changed.items():
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def _first(parameters: address.Parameters, name: str) -> str:
    return next(iter(parameters.get(name, ())), "").strip()
