"""The charts of Explore. Each leaves its own filter out, frames what that filter chose, and sets it when marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from typing import Any

import streamlit as st

from core.domain import Reader
from core.store.engine import Store
from core.store.predictions import (
    MAX_ENTROPY_NATS,
    PredictionFilter,
    TimeBucket,
    count_predictions_by_confidence_and_entropy,
    count_predictions_by_emotion,
    count_predictions_over_time,
    select_created_range,
)
from pages.parts import charts, filters, selections
from pages.parts.theme import surface

N_CONFIDENCE_BINS, N_ENTROPY_BINS = 25, 21


def draw(store: Store, chosen: PredictionFilter, zone: tzinfo, *, reader: Reader) -> None:
    """Draw the three charts of what `reader` may see."""
    shades = surface()
    by_emotion, by_doubt, by_time = st.columns([4, 5, 5], gap="medium")
    with by_emotion:
        st.markdown("##### How often we heard what", help="Click a bar to choose an emotion.", anchors=False)
        counts = count_predictions_by_emotion(store, reader=reader, filter=replace(chosen, emotions=()))
        key = filters.round_key("explore_by_emotion")
        st.plotly_chart(
            charts.by_emotion(counts, chosen.emotions, shades),
            key=key,
            on_select=partial(_take_emotion, key),
            selection_mode="points",
            config=charts.SELECTION_CONFIG,
            alt="Predictions by emotion: " + ", ".join(f"{emotion} {n:,}" for emotion, n in counts.items()),
        )
    with by_doubt:
        st.markdown(
            "##### How sure we were",
            help="Drag a frame to choose. Top left is doubt, bottom right is sure.",
            anchors=False,
        )
        unbounded = replace(
            chosen, min_confidence=None, max_confidence=None, min_entropy_nats=None, max_entropy_nats=None
        )
        bins = count_predictions_by_confidence_and_entropy(
            store, reader=reader, filter=unbounded, n_confidence_bins=N_CONFIDENCE_BINS, n_entropy_bins=N_ENTROPY_BINS
        )
        key = filters.round_key("explore_by_doubt")
        st.plotly_chart(
            charts.confidence_against_uncertainty(bins, _framed(chosen), shades),
            key=key,
            on_select=partial(_take_ranges, key),
            selection_mode=("points", "box"),
            config=charts.SELECTION_CONFIG,
            alt="Number of predictions by confidence and uncertainty",
        )
    with by_time:
        _over_time(store, chosen, zone, reader)


def _over_time(store: Store, chosen: PredictionFilter, zone: tzinfo, reader: Reader) -> None:
    always = replace(chosen, created_from=None, created_before=None)
    made = select_created_range(store, reader=reader, filter=always)
    bucket = selections.bucket_for(made.last_at - made.first_at) if made else TimeBucket.DAY
    st.markdown(f"##### When, by {bucket}", help="Drag across to choose a stretch of time.", anchors=False)
    counts = count_predictions_over_time(store, bucket=bucket, reader=reader, filter=always)
    framed = (chosen.created_from or made.first_at, chosen.created_before or made.last_at) if made else None
    key = filters.round_key("explore_over_time")
    st.plotly_chart(
        charts.over_time(
            counts,
            framed if chosen.created_from or chosen.created_before else None,
            selections.BUCKET_LENGTHS[bucket],
            zone,
            surface(),
        ),
        key=key,
        on_select=partial(_take_stretch, key, bucket, zone),
        selection_mode=("points", "box"),
        config=charts.SELECTION_CONFIG,
        alt=f"Number of predictions by {bucket}, stacked by emotion",
    )


def _framed(chosen: PredictionFilter) -> tuple[tuple[float, float], tuple[float, float]] | None:
    bounds = (chosen.min_confidence, chosen.max_confidence, chosen.min_entropy_nats, chosen.max_entropy_nats)
    if all(bound is None for bound in bounds):
        return None
    left, right, low, high = (
        default if bound is None else bound
        for bound, default in zip(bounds, (0.0, 1.0, 0.0, MAX_ENTROPY_NATS), strict=True)
    )
    return (left, right), (low, high)


def _selection(key: str) -> Mapping[str, Any]:
    selection: Mapping[str, Any] = st.session_state[key].selection
    filters.begin_round()
    return selection


def _take_emotion(key: str) -> None:
    emotion = selections.emotion_of(_selection(key))
    if emotion is not None:
        filters.toggle_emotion(emotion)


def _take_ranges(key: str) -> None:
    framed = selections.ranges_of(
        _selection(key), width=1 / N_CONFIDENCE_BINS, height=MAX_ENTROPY_NATS / N_ENTROPY_BINS
    )
    if framed is not None:
        (left, right), (low, high) = framed
        filters.impose(min_confidence=left, max_confidence=right, min_entropy_nats=low, max_entropy_nats=high)


def _take_stretch(key: str, bucket: TimeBucket, zone: tzinfo) -> None:
    stretch = selections.stretch_of(_selection(key), bucket=bucket, zone=zone)
    if stretch is not None:
        filters.impose(created_from=stretch[0], created_before=stretch[1])
