"""Charts of Models: the gate with its intervals, the curve of a training, champion against shadow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from core.domain import in_order
from core.evaluation.gate import MARGIN, Comparison, Gate
from core.models.versions import CustomRound, TrainingRound
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
            hovertemplate=f"{name}: %{{x:+.1f}} points ({interval(comparison)})<extra></extra>",
        )
    figure.update_yaxes(type="category", categoryarray=[name for name, _, _ in rows], range=[-0.6, 1.6])
    figure.update_xaxes(title="Change, points; dotted: the least that passes", zeroline=True, zerolinecolor=look.line)
    return _dressed(figure)


def interval(comparison: Comparison) -> str:
    """The ends of the interval of a difference, in points; what rounds to nothing has no minus.

    >>> interval(Comparison(n_clips=9, champion=0.9, challenger=0.9, difference=0.0, low=-0.0004, high=0.01))
    '+0.0 to +1.0'
    """
    return f"{100 * comparison.low:+z.1f} to {100 * comparison.high:+z.1f}"


def curve(rounds: Sequence[TrainingRound]) -> go.Figure:
    """Recall on validation speakers and share of corrections right, in per cent, by round; loss on the right."""
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
    _add_loss(figure, numbers, [one.loss_nats for one in rounds])
    return _over_rounds(figure, numbers)


def custom_curve(rounds: Sequence[CustomRound]) -> go.Figure:
    """Mean recall of what a model learns from and of what it does not, in per cent, by round; loss on the right."""
    look = surface()
    figure = go.Figure()
    numbers = [one.number for one in rounds]
    figure.add_scatter(
        x=numbers,
        y=[100 * one.validation_uar for one in rounds],
        name="Recall, other clips",
        line={"color": look.text, "width": 2.5},
        hovertemplate="Round %{x}: %{y:.0f} % recall of other clips<extra></extra>",
    )
    figure.add_scatter(
        x=numbers,
        y=[100 * one.training_uar for one in rounds],
        name="Recall, its own clips",
        line={"color": look.muted, "width": 2.5, "dash": "dash"},
        hovertemplate="Round %{x}: %{y:.0f} % recall of its own clips<extra></extra>",
    )
    _add_loss(figure, numbers, [one.loss_nats for one in rounds])
    return _over_rounds(figure, numbers)


def compared_curves(rounds: Mapping[str, Sequence[CustomRound]]) -> go.Figure:
    """Validation recall by round, a line for each model."""
    look = surface()
    figure = go.Figure()
    dashes = itertools.cycle(["solid", "dash", "dot", "dashdot"])
    colours = itertools.cycle([look.text, look.bar])
    for (name, points), dash, colour in zip(rounds.items(), dashes, colours, strict=False):
        figure.add_scatter(
            x=[one.number for one in points],
            y=[100 * one.validation_uar for one in points],
            name=name,
            line={"width": 2.5, "dash": dash, "color": colour},
            hovertemplate=f"{name}, round %{{x}}: %{{y:.0f}} %<extra></extra>",
        )
    return _over_rounds(figure, [one.number for points in rounds.values() for one in points], unit="Recall, %")


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> go.Figure:
    """How often clips of a label (rows) were called what (columns)."""
    look = surface()
    figure = go.Figure(
        go.Heatmap(
            z=[list(row) for row in counts],
            x=list(labels),
            y=list(labels),
            text=[[str(number) if number else "" for number in row] for row in counts],
            texttemplate="%{text}",
            colorscale=[[0, look.scale[0]], [0.5, look.scale[1]], [1, look.scale[2]]],
            showscale=False,
            hovertemplate="%{y} called %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_xaxes(title="What it said")
    figure.update_yaxes(title="Label", autorange="reversed")
    return _dressed(figure, height=max(HEIGHT_PX, 90 + 30 * len(labels)))


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


def _add_loss(figure: go.Figure, numbers: Sequence[int], losses_nats: Sequence[float]) -> None:
    """The loss by round, on an axis of its own to the right."""
    figure.add_scatter(
        x=numbers,
        y=losses_nats,
        name="Loss",
        yaxis="y2",
        line={"color": surface().muted, "width": 1.5, "dash": "dot"},
        hovertemplate="Round %{x}: loss %{y:.2f} nats<extra></extra>",
    )
    right = {"side": "right", "overlaying": "y", "showgrid": False, "rangemode": "tozero", "tickformat": ".1f"}
    figure.update_layout(yaxis2={"title": "nats", **right})


def _over_rounds(figure: go.Figure, numbers: Sequence[int], *, unit: str = "%") -> go.Figure:
    """Shares by round: at most some ten rounds are named, whole ones; a legend that is broken into lines grows
    upwards, away from the curves."""
    figure.update_xaxes(title="Round", rangemode="tozero", dtick=max(1, math.ceil(max(numbers, default=1) / 10)))
    figure.update_layout(
        yaxis={"title": unit, "range": [0, 102]},
        showlegend=True,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.04, "x": 0},
    )
    return _dressed(figure)


def _dressed(figure: go.Figure, *, height: int = HEIGHT_PX) -> go.Figure:
    look = surface()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": look.text},
    )
    if figure.layout.showlegend is None:
        figure.update_layout(showlegend=False)
    figure.update_xaxes(gridcolor=look.line, automargin=True)
    figure.update_yaxes(gridcolor=look.line, automargin=True)
    return figure
