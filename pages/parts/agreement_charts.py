"""Agreement between annotators, in charts of no emotion: matrices of numbers from paper to ink."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from pages.parts import charts
from pages.parts.theme import Surface

CELL_PX = 44
INK_ABOVE = 0.5
"""From this share of the scale on, a number stands on ink and is written in paper."""


def kappas(names: Sequence[str], values: Sequence[Sequence[float]], surface: Surface) -> go.Figure:
    """Cohen's kappa of each two annotators.

    Parameters
    ----------
    values
        (n_annotators, n_annotators), in [-1, 1]; NaN where two have no clip in common.
    """
    texts = [[_kappa(value) for value in row] for row in values]
    for at, row in enumerate(texts):
        row[at] = ""
    shown = [[math.nan if x == y else max(0.0, value) for x, value in enumerate(row)] for y, row in enumerate(values)]
    figure = _matrix(names, names, shown, texts, surface, highest=1.0, hover="%{y} and %{x}: κ %{text}")
    figure.update_layout(height=CELL_PX * len(names) + 110)
    return figure


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]], surface: Surface) -> go.Figure:
    """What somebody said, against what all together decided.

    Parameters
    ----------
    counts
        (n_labels, n_labels): rows are the consensus, columns what they said. Shades are shares of the row.
    """
    shares = [[each / sum(row) if sum(row) else 0.0 for each in row] for row in counts]
    texts = [[f"{each:,}" if each else "" for each in row] for row in counts]
    hover = "%{y} by consensus, called %{x}: %{text}"
    figure = _matrix(labels, labels, shares, texts, surface, highest=1.0, hover=hover)
    figure.update_xaxes(title={"text": "What they said", "standoff": 8})
    figure.update_yaxes(title={"text": "Consensus", "standoff": 8})
    figure.update_layout(height=CELL_PX * len(labels) + 130)
    return figure


def _kappa(value: float) -> str:
    return "\u2013" if math.isnan(value) else f"{value:.2f}".replace("-", "\u2212")


def _matrix(
    columns: Sequence[str],
    rows: Sequence[str],
    values: Sequence[Sequence[float]],
    texts: Sequence[Sequence[str]],
    surface: Surface,
    *,
    highest: float,
    hover: str,
) -> go.Figure:
    figure = go.Figure()
    figure.add_heatmap(
        x=list(range(len(columns))),
        y=list(range(len(rows))),
        z=values,
        zmin=0.0,
        zmax=highest,
        colorscale=list(zip((0.0, 0.5, 1.0), surface.scale, strict=True)),
        showscale=False,
        xgap=2,
        ygap=2,
        text=texts,
        hovertemplate=f"{hover}<extra></extra>",
    )
    for y, row in enumerate(texts):
        for x, text in enumerate(row):
            is_on_ink = values[y][x] > INK_ABOVE * highest  # NaN is not
            figure.add_annotation(
                x=x,
                y=y,
                text=text,
                showarrow=False,
                font={"size": 13, "color": surface.background if is_on_ink else surface.text},
            )
    charts.style(figure, surface, height=300)
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8}, dragmode=False, plot_bgcolor=surface.line)
    ticks = {"showgrid": False, "zeroline": False, "fixedrange": True, "automargin": True}
    figure.update_xaxes(**ticks, tickvals=list(range(len(columns))), ticktext=[_short(each) for each in columns])
    figure.update_yaxes(
        **ticks, tickvals=list(range(len(rows))), ticktext=[_short(each) for each in rows], autorange="reversed"
    )
    return figure


def _short(name: str) -> str:
    """A name as wide as a tick may be, none of it taken for a tag."""
    cut = name if len(name) <= 16 else f"{name[:15]}\u2026"
    return cut.replace("&", "&amp;").replace("<", "&lt;")
