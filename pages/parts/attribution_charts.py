"""Explanations as figures. Conventions as in `charts`; what speaks for is warm, what speaks against is cool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from core.explaining import Voice
from core.features.log_mel import mel_borders_hz
from core.inference.attribution import Attribution
from pages.parts import attribution_words
from pages.parts.charts import CONFIG, add_log_mel, add_time_axis, style
from pages.parts.theme import Surface

REGIONS_CONFIG = CONFIG | {
    "displayModeBar": True,
    "modeBarButtons": [["toImage"]],
    "toImageButtonOptions": {"format": "png", "filename": "telepathy-explanation", "scale": 2},
}
"""For Plotly: one button, which draws a PNG in the browser."""
HEIGHTS = (70, 250, 80, 70)
MARGINS = {"l": 88, "r": 8, "t": 8, "b": 74}
"""A PNG is drawn in letters of the reader's machine, which may be a fifth wider than those of the page."""
GAP_PX = 14
STRONGEST_OPACITY = 0.72
LABEL_OPACITY = 0.78
LEVEL_RANGE_DB = 60.0
LEAST_LABELLED = 0.3
"""Regions weaker than this share of the strongest stand without their number."""


def regions(attribution: Attribution, voice: Voice, surface: Surface, *, scale_nats: float | None = None) -> go.Figure:
    """Sound, log-mel under the SHAP values of its regions, pitch and level, on one time axis.

    Parameters
    ----------
    scale_nats
        The value with the full colour; None for the largest of this attribution. Two figures to be compared share one.
    """
    height = sum(HEIGHTS) + GAP_PX * (len(HEIGHTS) - 1)
    figure = make_subplots(
        rows=len(HEIGHTS), cols=1, shared_xaxes=True, vertical_spacing=GAP_PX / height, row_heights=list(HEIGHTS)
    )
    _add_outline(figure, voice, surface)
    add_log_mel(figure, voice.seen, surface)
    figure.update_traces(colorscale=[[0, surface.scale[0]], [1, surface.scale[1]]], selector={"type": "heatmap"})
    _add_regions(figure, attribution, surface, scale_nats or largest_nats([attribution]))
    _add_curve(figure, voice.contours.time_s, _gaps(voice.contours.pitch_hz), surface, row=3, unit="Hz", name="Pitch")
    levels = _audible(voice.contours.intensity_dbfs)
    _add_curve(figure, voice.contours.time_s, levels, surface, row=4, unit="dBFS", name="Level")
    style(figure, surface, height=height + MARGINS["t"] + MARGINS["b"])
    figure.update_layout(margin=MARGINS, hovermode="closest", dragmode=False, paper_bgcolor=surface.background)
    window = voice.window
    figure.update_xaxes(range=[window.start_s, window.end_s], showgrid=False, zeroline=False, fixedrange=True)
    add_time_axis(figure, window.end_s - window.start_s, row=len(HEIGHTS))
    figure.add_annotation(
        text=f"{attribution_words.question(attribution.emotion, attribution.contrast)} \u00b7 numbers in nats"
        f"<br>{attribution.model_version}",
        showarrow=False,
        align="left",
        x=0,
        xref="paper",
        xanchor="left",
        y=0,
        yref="paper",
        yanchor="top",
        yshift=32 - MARGINS["b"],
        font={"color": surface.muted, "size": 11},
    )  # a PNG that is handed on says what it is about
    return figure


def largest_nats(attributions: Sequence[Attribution]) -> float:
    """The largest value of any region, either way; never 0."""
    return max(1e-3, *(float(np.abs(attribution.values).max()) for attribution in attributions))


def _add_outline(figure: go.Figure, voice: Voice, surface: Surface) -> None:
    seen = voice.seen
    figure.add_scatter(
        x=np.concatenate([seen.times_s, seen.times_s[::-1]]),
        y=np.concatenate([seen.highest, seen.lowest[::-1]]),
        fill="toself",
        fillcolor=surface.bar,
        line={"color": surface.bar, "width": 1},
        mode="lines",
        hoverinfo="skip",
        row=1,
        col=1,
    )
    peak = max(float(np.abs(seen.lowest).max()), float(np.abs(seen.highest).max()), 1e-3)
    figure.update_yaxes(
        range=[-1.08 * peak, 1.08 * peak],
        tickvals=[0],
        ticktext=["Sound"],
        showgrid=False,
        zeroline=True,
        zerolinecolor=surface.line,
        fixedrange=True,
        row=1,
        col=1,
    )


def _add_regions(figure: go.Figure, attribution: Attribution, surface: Surface, scale_nats: float) -> None:
    n_times, n_bands = attribution.values.shape
    positions = _mel_positions(attribution.band_edges_hz)
    figure.add_heatmap(
        x=attribution.time_edges_s,
        y=positions,
        z=attribution.values.T,
        zmin=-scale_nats,
        zmax=scale_nats,
        colorscale=diverging(surface),
        showscale=False,
        xgap=1.5,
        ygap=1.5,
        text=[
            [attribution_words.region(attribution, time, number) for time in range(n_times)]
            for number in range(n_bands)
        ],
        hovertemplate="%{text}<extra></extra>",
        name="regions",
        row=2,
        col=1,
    )
    middles_s = (attribution.time_edges_s[:-1] + attribution.time_edges_s[1:]) / 2
    middles = (positions[:-1] + positions[1:]) / 2
    for time, number in np.argwhere(np.abs(attribution.values) >= LEAST_LABELLED * scale_nats).tolist():
        figure.add_annotation(
            x=middles_s[time],
            y=middles[number],
            text=f"<b>{attribution_words.signed(float(attribution.values[time, number]), n_decimals=1)}</b>",
            showarrow=False,
            bgcolor=_rgba(surface.background, LABEL_OPACITY),
            borderpad=1,
            font={"size": 11, "color": surface.text},
            row=2,
            col=1,
        )


def diverging(surface: Surface) -> list[list[float | str]]:
    """From what speaks most against, over nothing at all, to what speaks most for: the log-mel shows through."""
    against, for_it = surface.speaks_against, surface.speaks_for
    return [
        [0.0, _rgba(against, STRONGEST_OPACITY)],
        [0.4999, _rgba(against, 0.0)],
        [0.5001, _rgba(for_it, 0.0)],
        [1.0, _rgba(for_it, STRONGEST_OPACITY)],
    ]


def _rgba(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _mel_positions(edges_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where frequencies lie on an axis that counts mel bands, whose middles are whole numbers."""
    borders = mel_borders_hz()
    positions: NDArray[np.float64] = np.interp(edges_hz, borders, np.arange(len(borders))) - 0.5
    return positions


def _gaps(contour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zeros mean that there is nothing: no line is drawn there."""
    return np.where(contour > 0, contour, np.nan)


def _audible(levels_dbfs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels, none further below the loudest than can be heard beside it."""
    return np.maximum(levels_dbfs, levels_dbfs.max() - LEVEL_RANGE_DB) if levels_dbfs.size else levels_dbfs


def _add_curve(
    figure: go.Figure,
    times_s: NDArray[np.float64],
    values: NDArray[np.float64],
    surface: Surface,
    *,
    row: int,
    unit: str,
    name: str,
) -> None:
    figure.add_scatter(
        x=times_s,
        y=values.round(1),
        mode="lines",
        line={"color": surface.text, "width": 2},
        connectgaps=False,
        name=name,
        hovertemplate=f"{name} %{{y:.0f}} {unit} at %{{x:.2f}} s<extra></extra>",
        row=row,
        col=1,
    )
    known = values[np.isfinite(values)]
    figure.update_yaxes(
        title={"text": f"{name}<br>({unit})", "standoff": 18},
        gridcolor=surface.line,
        zeroline=False,
        nticks=3,
        fixedrange=True,
        range=None if known.size else [0, 1],
        showticklabels=bool(known.size),
        row=row,
        col=1,
    )
    if not known.size:
        figure.add_annotation(
            text=f"No {name.lower()} could be measured here",
            showarrow=False,
            x=0.5,
            xref="x domain",
            y=0.5,
            yref="y domain" if row == 1 else f"y{row} domain",
            font={"color": surface.muted, "size": 12},
        )
