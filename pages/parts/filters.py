"""The filters of Explore. The address keeps them; widgets and charts show what it says and change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import partial
from typing import Any
from uuid import UUID

import streamlit as st

from core.domain import Emotion, Label, Source, in_order, label_of
from core.store.predictions import MAX_ENTROPY_NATS, PredictionFilter, PredictionOrder
from pages.parts import address, words

ROUND = "explore_round"
"""How often the filters were changed by something else than their widgets. Part of the keys of widgets and charts: a
widget in a closed popover would otherwise send its old value back, and a chart would keep plotly's own marks."""
NO_PROJECTS: Mapping[UUID, str] = {}
WIDEST_CONFIDENCE = (0, 100)
WIDEST_UNCERTAINTY = (0.0, 2.1)
"""A little more than ln 8, which is all there can be."""


def current() -> PredictionFilter:
    """What the address lets through."""
    return address.filter_of(_parameters())


def order() -> PredictionOrder:
    """Which predictions the address puts first."""
    return address.order_of(_parameters())


def opened() -> UUID | None:
    """Which prediction the address opens."""
    return address.prediction_of(_parameters())


def change(**fields: object) -> None:
    """Put the filter that has these `fields` of `PredictionFilter` changed into the address."""
    said = address.parameters_of(replace(current(), **fields))  # type: ignore[arg-type]
    for name in address.FILTERS:
        if name in said:
            st.query_params[name] = said[name]
        else:
            st.query_params.pop(name, None)


def impose(**fields: object) -> None:
    """As `change`, from outside the widgets: they are drawn anew."""
    change(**fields)
    begin_round()


def begin_round() -> None:
    """Have widgets and charts drawn anew."""
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def round_key(name: str) -> str:
    """The key of a widget or chart of this round."""
    return f"{name}_{st.session_state.get(ROUND, 0)}"


def reset() -> None:
    """Take all filters off."""
    begin_round()
    for name in address.FILTERS:
        st.query_params.pop(name, None)


def toggle_emotion(emotion: Label) -> None:
    """Choose an emotion, or no longer."""
    chosen = current().emotions
    impose(emotions=tuple(each for each in chosen if each != emotion) if emotion in chosen else (*chosen, emotion))


def draw(
    chosen: PredictionFilter,
    model_versions: Sequence[str],
    zone: tzinfo,
    *,
    project_names: Mapping[UUID, str] = NO_PROJECTS,
    labels: Iterable[Label] = (),
) -> None:
    """Draw the filters as `chosen` has them; `project_names` of those that the reader may see.

    `labels` that are none of the eight emotions can be chosen beside them.
    """
    widget(
        partial(
            st.pills,
            "Emotion",
            [label.value for label in in_order([*Emotion, *labels, *chosen.emotions])],
            selection_mode="multi",
            format_func=lambda value: words.emotion_label(label_of(value)),
        ),
        "explore_emotion",
        [emotion.value for emotion in chosen.emotions],
        lambda values: {"emotions": tuple(map(label_of, values))},
    )
    with st.container(horizontal=True, vertical_alignment="center", key="explore_filters"):
        widget(
            partial(
                st.text_input,
                "Name of the recording",
                placeholder="Part of a recording\u2019s name",
                label_visibility="collapsed",
                icon=":material/search:",
                width=260,
            ),
            "explore_name",
            chosen.recording_name,
            lambda value: {"recording_name": value.strip()},
        )
        widget(
            partial(
                st.segmented_control,
                "Verdict",
                [address.SURE, address.NOT_SURE],
                format_func={address.SURE: "Sure", address.NOT_SURE: "Not sure"}.__getitem__,
                label_visibility="collapsed",
            ),
            "explore_verdict",
            {None: None, True: address.NOT_SURE, False: address.SURE}[chosen.abstained],
            lambda value: {"abstained": None if value is None else value == address.NOT_SURE},
        )
        with st.popover("More filters", icon=":material/tune:", key="explore_more"):
            _draw_more(chosen, model_versions, zone)
        _draw_active(chosen, zone, project_names)


def draw_order(chosen: PredictionOrder) -> None:
    """Draw the choice of what stands first."""

    def take() -> None:
        st.query_params[address.ORDER] = st.session_state["explore_order"]

    st.session_state["explore_order"] = chosen.value
    st.selectbox(
        "Order",
        [order.value for order in PredictionOrder],
        format_func=lambda value: words.ORDER_WORDS[PredictionOrder(value)],
        key="explore_order",
        on_change=take,
        label_visibility="collapsed",
    )


def _draw_more(chosen: PredictionFilter, model_versions: Sequence[str], zone: tzinfo) -> None:
    widget(
        partial(st.slider, "Confidence (%)", *WIDEST_CONFIDENCE, help=words.CONFIDENCE_HELP),
        "explore_confidence",
        (
            round(100 * _or(chosen.min_confidence, 0.0)),
            round(100 * _or(chosen.max_confidence, 1.0)),
        ),
        lambda ends: {
            "min_confidence": ends[0] / 100 if ends[0] > WIDEST_CONFIDENCE[0] else None,
            "max_confidence": ends[1] / 100 if ends[1] < WIDEST_CONFIDENCE[1] else None,
        },
    )
    widget(
        partial(st.slider, "Uncertainty (nats)", *WIDEST_UNCERTAINTY, step=0.01, help=words.UNCERTAINTY_HELP),
        "explore_uncertainty",
        (_or(chosen.min_entropy_nats, 0.0), _or(chosen.max_entropy_nats, WIDEST_UNCERTAINTY[1])),
        lambda ends: {
            "min_entropy_nats": ends[0] if ends[0] > WIDEST_UNCERTAINTY[0] else None,
            "max_entropy_nats": ends[1] if ends[1] < MAX_ENTROPY_NATS else None,
        },
    )
    for label, name, moment in (
        ("From", "created_from", chosen.created_from),
        ("Until", "created_before", chosen.created_before),
    ):
        widget(
            partial(st.datetime_input, label, value=None, step=60),
            f"explore_{name}",
            moment.astimezone(zone).replace(tzinfo=None) if moment else None,
            lambda value, name=name: {name: value.replace(tzinfo=zone).astimezone(UTC) if value else None},
        )
    widget(
        partial(
            st.pills,
            "Came by",
            [source.value for source in Source],
            selection_mode="multi",
            format_func=lambda value: words.SOURCE_WORDS[Source(value)],
        ),
        "explore_source",
        [source.value for source in chosen.sources],
        lambda values: {"sources": tuple(map(Source, values))},
    )
    known = list(dict.fromkeys([*model_versions, *chosen.model_versions]))
    widget(
        partial(st.multiselect, "Model", known, placeholder="Any"),
        "explore_model",
        list(chosen.model_versions),
        lambda values: {"model_versions": tuple(values)},
    )


def _draw_active(chosen: PredictionFilter, zone: tzinfo, project_names: Mapping[UUID, str]) -> None:
    """A button for each filter out of sight that is on, which takes it off; and one for all."""
    said = address.parameters_of(chosen)
    active: list[tuple[str, str, dict[str, object]]] = []
    if address.CONFIDENCE in said:
        low, high = said[address.CONFIDENCE][0].split("-")
        fields: dict[str, object] = {"min_confidence": None, "max_confidence": None}
        active.append(("confidence", f"Confidence {low} to {high}\u00a0%", fields))
    if address.UNCERTAINTY in said:
        low, high = said[address.UNCERTAINTY][0].split("-")
        fields = {"min_entropy_nats": None, "max_entropy_nats": None}
        active.append(("uncertainty", f"Uncertainty {low} to {high} nats", fields))
    if chosen.created_from:
        active.append(("from", f"From {words.when(chosen.created_from, zone)}", {"created_from": None}))
    if chosen.created_before:
        active.append(("until", f"Until {words.when(chosen.created_before, zone)}", {"created_before": None}))
    if chosen.sources:
        active.append(("source", ", ".join(words.SOURCE_WORDS[each] for each in chosen.sources), {"sources": ()}))
    if chosen.model_versions:
        active.append(("model", ", ".join(chosen.model_versions), {"model_versions": ()}))
    if chosen.batch_id is not None:
        active.append(("batch", "One batch", {"batch_id": None}))
    if chosen.project_id is not None:
        named = project_names.get(chosen.project_id, "one that you do not see")
        active.append(("project", f"Project {words.plain(named)}", {"project_id": None}))
    for name, label, fields in active:
        st.button(
            label,
            key=f"explore_{name}_off",
            icon=":material/close:",
            help="Take this filter off",
            on_click=partial(impose, **fields),
        )
    if said:
        st.button("Reset", key="explore_reset", type="tertiary", icon=":material/restart_alt:", on_click=reset)


def widget(
    draw_it: Callable[..., object], key: str, value: object, fields_of: Callable[[Any], dict[str, object]]
) -> None:
    """Draw a widget that shows `value`; what the reader makes of it goes into the address as `fields_of` says."""
    key = round_key(key)
    st.session_state[key] = value
    draw_it(key=key, on_change=lambda: change(**fields_of(st.session_state[key])))


def _parameters() -> address.Parameters:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _or(bound: float | None, default: float) -> float:
    return default if bound is None else bound
