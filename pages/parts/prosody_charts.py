"""Acoustic reasons as figures: the waterfall of one recording, the beeswarm of many. Conventions as in `charts`."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from core.domain import Emotion, Label
from core.features.prosody_measures import MEASURE_OF, write_value
from core.inference.surrogate import GlobalAttribution, ProsodyAttribution, rank_measures
from pages.parts.attribution_words import signed
from pages.parts.charts import style
from pages.parts.theme import Surface, colours_of

N_STEPS = 7
N_SWARMS = 9
N_BINS = 70
ROW_HEIGHT_PX = 44
SWARM_WIDTH = 0.42
"""Half the room between two rows, less a gap."""


def waterfall(explained: ProsodyAttribution, surface: Surface) -> go.Figure:
    """From the surrogate's usual output to its output here, step by step; the smallest steps are taken together."""
    ordered = sorted(explained.values.items(), key=lambda step: -abs(step[1]))
    steps = [(_measured(explained, measure), value) for measure, value in ordered[:N_STEPS]]
    rest = sum(value for _, value in ordered[N_STEPS:])
    steps.append((f"{len(ordered) - N_STEPS} other features", rest))
    ends = explained.base_value + np.cumsum([value for _, value in steps])
    starts = ends - [value for _, value in steps]
    names = ["Usual answer", *(name for name, _ in steps), "Answer here"]
    figure = go.Figure()
    figure.add_bar(
        y=names[1:-1],
        x=[value for _, value in steps],
        base=starts,
        orientation="h",
        width=0.6,
        marker={
            "color": [surface.speaks_for if value >= 0 else surface.speaks_against for _, value in steps],
            "line": {"width": 0},
            "cornerradius": 3,
        },
        hovertemplate="%{y}: %{x:+.2f} nats<extra></extra>",
    )
    figure.add_scatter(
        y=[names[0], names[-1]],
        x=[explained.base_value, explained.output],
        mode="markers",
        marker={"symbol": "line-ns", "size": 18, "line": {"width": 3, "color": surface.text}},
        hovertemplate="%{y}: %{x:+.2f} nats<extra></extra>",
    )
    for name, (_, value) in zip(names[1:-1], steps, strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=8,
            y=name,
            text=signed(value),
            showarrow=False,
            font={"size": 12, "color": surface.text},
        )
    for name, value in ((names[0], explained.base_value), (names[-1], explained.output)):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=8,
            y=name,
            text=f"<b>{signed(value)}</b>",
            showarrow=False,
            font={"size": 12, "color": surface.text},
        )
    style(figure, surface, height=34 * len(names) + 50)
    figure.update_layout(margin={"l": 8, "r": 58, "t": 6, "b": 40}, hovermode="closest")
    figure.update_xaxes(
        title={"text": f"Log-odds of {_target(explained)} (nats), by the surrogate", "standoff": 6},
        gridcolor=surface.line,
        zeroline=False,
        fixedrange=True,
    )
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=names[::-1],
        automargin=True,
        showgrid=False,
        fixedrange=True,
        tickfont={"size": 12, "color": surface.text},
    )
    return figure


def _measured(explained: ProsodyAttribution, measure: str) -> str:
    value = explained.measurements[measure]
    label = MEASURE_OF[measure].label
    return f"{label[0].upper()}{label[1:]}, {'not measurable' if value is None else write_value(measure, value)}"


def _target(explained: ProsodyAttribution) -> str:
    if explained.contrast is None:
        return explained.emotion.value
    return f"{explained.emotion} over {explained.contrast}"


def beeswarm(found: GlobalAttribution, emotion: Label, surface: Surface) -> go.Figure:
    """One dot for each recording and feature: to the right where the feature spoke for `emotion`, the fuller its
    colour the higher the feature. The features that matter most stand on top; hollow dots could not be measured.
    """
    ranked = [measure for measure, _ in rank_measures(found, emotion)[:N_SWARMS]]
    values = found.values[found.emotions.index(emotion)]
    figure = go.Figure()
    for row, measure in enumerate(reversed(ranked)):
        column = found.measures.index(measure)
        measured = found.measurements[:, column]
        heights = _ranks(measured)
        is_known = np.isfinite(heights)
        offsets = _swarm(values[:, column])
        told = [
            f"{MEASURE_OF[measure].label}: "
            f"{write_value(measure, float(value)) if np.isfinite(value) else 'not measurable'}"
            for value in measured
        ]
        for chosen, symbol in ((is_known, "circle"), (~is_known, "circle-open")):
            if not chosen.any():
                continue
            figure.add_scatter(
                x=values[chosen, column].round(3),
                y=(row + offsets[chosen]).round(3),
                mode="markers",
                marker={
                    "symbol": symbol,
                    "size": 6,
                    "color": heights[chosen] if symbol == "circle" else surface.muted,
                    "cmin": 0,
                    "cmax": 1,
                    "colorscale": [[0, surface.quiet], [1, full_colour(emotion, surface)]],
                    "line": {"width": 0 if symbol == "circle" else 1},
                },
                customdata=[text for text, is_chosen in zip(told, chosen, strict=True) if is_chosen],
                hovertemplate="%{customdata}<br>%{x:+.2f} nats<extra></extra>",
            )
    labels = [MEASURE_OF[measure].label for measure in reversed(ranked)]
    style(figure, surface, height=ROW_HEIGHT_PX * len(ranked) + 52)
    figure.update_layout(margin={"l": 8, "r": 12, "t": 6, "b": 44}, hovermode="closest", dragmode=False)
    figure.update_xaxes(
        title={"text": f"\u2190 against {emotion}   (nats)   for {emotion} \u2192", "standoff": 6},
        gridcolor=surface.line,
        zeroline=True,
        zerolinecolor=surface.muted,
        fixedrange=True,
    )
    figure.update_yaxes(
        tickvals=list(range(len(ranked))),
        ticktext=[f"{label[0].upper()}{label[1:]}" for label in labels],
        range=[-0.6, len(ranked) - 0.4],
        automargin=True,
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        tickfont={"size": 12, "color": surface.text},
    )
    return figure


def full_colour(emotion: Label, surface: Surface) -> str:
    """What high values have in a beeswarm; neutral's own grey would hardly differ from that of low ones."""
    return surface.text if emotion == Emotion.NEUTRAL else colours_of([emotion])[emotion]


def _ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """How high each value stands among all, from 0 to 1; NaN where there is none."""
    ranks = np.full(len(values), np.nan)
    known = np.isfinite(values)
    if known.any():
        order = np.searchsorted(np.sort(values[known]), values[known], side="left")
        ranks[known] = order / max(1, int(known.sum()) - 1)
    return ranks


def _swarm(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """How far each dot moves off its line so that those of like value stand side by side; within SWARM_WIDTH."""
    span = float(np.ptp(values)) or 1.0
    bins = np.minimum(((values - values.min()) / span * N_BINS).astype(int), N_BINS - 1)
    steps = np.zeros(len(values))
    for each in np.unique(bins):
        members = np.flatnonzero(bins == each)
        places = np.arange(len(members))
        steps[members] = np.where(places % 2 == 0, places // 2, -(places // 2 + 1))
    widest = float(np.abs(steps).max())
    return steps / widest * SWARM_WIDTH * min(1.0, widest / 8) if widest > 0 else steps
