"""Charts of Models: the gate with its intervals, the curve of a training, champion against shadow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from core.domain import in_order
from core.evaluation.gate import MARGIN, Comparison, Gate
from core.models.versions import TrainingRound
from core.store.models import ShadowCount
from pages.parts.theme import surface

HEIGHT_PX = 220


def gate(verdict: Gate) -> go.Figure:
    """Both differences in points, each with its interval and with the line that it must lie right of."""
    look = surface()
    figure = go.Figure()
    rows: list[tuple[str, Comparison, float]] = [
        ("Corrections", verdict.corrections, 0.0),
        ("Test speakers", verdict.test, -MARGIN),
    ]
    for position, (name, comparison, least) in enumerate(rows):
        figure.add_shape(
            type="line",
            x0=100 * least,
            x1=100 * least,
            y0=position - 0.35,
            y1=position + 0.35,
            line={"color": look.muted, "width": 1.5, "dash": "dot"},
        )
        if math.isnan(comparison.difference):
            continue
        figure.add_scatter(
            x=[100 * comparison.low, 100 * comparison.high],
            y=[name, name],
            mode="lines",
            line={"color": look.text, "width": 3},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[100 * comparison.difference],
            y=[name],
            mode="markers",
            marker={"color": look.text, "size": 11},
            hovertemplate=f"{name}: %{{x:+.1f}} points ({_interval(comparison)})<extra></extra>",
        )
    figure.update_yaxes(type="category", categoryarray=[name for name, _, _ in rows], range=[-0.6, 1.6])
    figure.update_xaxes(title="Change, points; dotted: the least that passes", zeroline=True, zerolinecolor=look.line)
    return _dressed(figure)


def _interval(comparison: Comparison) -> str:
    return f"{100 * comparison.low:+.1f} to {100 * comparison.high:+.1f}"


def curve(rounds: Sequence[TrainingRound]) -> go.Figure:
    """Recall on validation speakers and share of corrections right, in per cent, by round."""
    look = surface()
    figure = go.Figure()
    numbers = [one.number for one in rounds]
    figure.add_scatter(
        x=numbers,
        y=[100 * one.corrections_accuracy for one in rounds],
        name="Corrections right",
        line={"color": look.text, "width": 2.5},
        hovertemplate="Round %{x}: %{y:.0f} % of corrections right<extra></extra>",
    )
    if all(one.validation_uar is not None for one in rounds):
        figure.add_scatter(
            x=numbers,
            y=[100 * (one.validation_uar or 0.0) for one in rounds],
            name="Recall, other speakers",
            line={"color": look.muted, "width": 2.5, "dash": "dash"},
            hovertemplate="Round %{x}: %{y:.1f} % recall on other speakers<extra></extra>",
        )
    figure.update_xaxes(title="Round", rangemode="tozero")
    figure.update_yaxes(title="%", range=[0, 102])
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.2, "x": 0})
    return _dressed(figure, top=36)


def shadow(counts: Sequence[ShadowCount], *, champion: str, shadow: str) -> go.Figure:
    """How often the champion (rows) and the shadow (columns) said which emotion."""
    look = surface()
    seen = {count.champion_emotion for count in counts} | {count.shadow_emotion for count in counts}
    emotions = in_order(sorted(seen))
    cells = {(count.champion_emotion, count.shadow_emotion): count.n_answers for count in counts}
    numbers = [[cells.get((row, column), 0) for column in emotions] for row in emotions]
    figure = go.Figure(
        go.Heatmap(
            z=numbers,
            x=[str(emotion) for emotion in emotions],
            y=[str(emotion) for emotion in emotions],
            text=[[str(number) if number else "" for number in row] for row in numbers],
            texttemplate="%{text}",
            colorscale=[[0, look.scale[0]], [0.5, look.scale[1]], [1, look.scale[2]]],
            showscale=False,
            hovertemplate=f"{champion}: %{{y}}, {shadow}: %{{x}}: %{{z}}<extra></extra>",
        )
    )
    figure.update_xaxes(title=shadow)
    figure.update_yaxes(title=champion, autorange="reversed")
    return _dressed(figure, height=max(HEIGHT_PX, 80 + 34 * len(emotions)))


def _dressed(figure: go.Figure, *, height: int = HEIGHT_PX, top: int = 8) -> go.Figure:
    look = surface()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": top, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": look.text},
    )
    if figure.layout.showlegend is None:
        figure.update_layout(showlegend=False)
    figure.update_xaxes(gridcolor=look.line, automargin=True)
    figure.update_yaxes(gridcolor=look.line, automargin=True)
    return figure
