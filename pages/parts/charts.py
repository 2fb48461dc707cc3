"""Domain object in, figure out.

Conventions: time in seconds runs from left to right; every mark of an emotion carries its colour and its name; what
means no emotion is grey. Backgrounds are transparent, so that figures suit light and dark.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from core.domain import Emotion, Label, Prediction, Segment, TimelineWindow, in_order
from core.features.overview import Overview
from core.store.predictions import ConfidenceEntropyBin, EmotionOverTime
from pages.parts import words
from pages.parts.theme import Surface, colours_of

CONFIG = {"displayModeBar": False, "showLink": False, "displaylogo": False, "doubleClick": "reset", "responsive": True}
"""For Plotly: no toolbar, no links elsewhere."""
SELECTION_CONFIG = CONFIG | {"doubleClick": False}

FREQUENCY_TICKS_HZ = (500, 1000, 2000, 4000)
SHORTEST_TIMELINE_WINDOWS = 4
SMALL_COUNT = 5
"""Below this an axis would be divided into halves of predictions."""
SECONDS_UP_TO_S = 60
DATE_TICKS = [
    {"dtickrange": [None, 60_000], "value": "%H:%M:%S\n%-d %b %Y"},
    {"dtickrange": [60_000, 43_200_000], "value": "%H:%M\n%-d %b %Y"},
    {"dtickrange": [86_400_000, "M1"], "value": "%-d %b\n%Y"},
    {"dtickrange": ["M1", None], "value": "%b %Y"},
]
"""Days before months, as everywhere else; Plotly's own are American. What follows the line break is said once.
Steps of half a day are the longest with hours: of two ranges that meet at a day the first would count."""
CLOCK_STEPS_S = (10, 30, 60, 120, 300, 600)
MOST_TICKS = 10
NARROWEST_LABEL = 0.09
"""Segments that take less of the width than this get their name on hovering only."""


def is_long(prediction: Prediction) -> bool:
    """Whether there is a course of time to show; overlapping windows of a short clip all say much the same."""
    return len(prediction.windows) >= SHORTEST_TIMELINE_WINDOWS


def sound(
    seen: Overview,
    prediction: Prediction,
    surface: Surface,
) -> go.Figure:
    """Waveform in the colours of the segments, log-mel below it and, for long recordings, all probabilities."""
    has_timeline = is_long(prediction)
    heights = [120, 130, 250] if has_timeline else [130, 150]
    figure = make_subplots(
        rows=len(heights),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.045 if has_timeline else 0.06,
        row_heights=heights,
    )
    whole = Segment(
        start_s=0.0,
        end_s=seen.duration_s,
        emotion=None if prediction.abstained else prediction.emotion,
        confidence=prediction.confidence,
    )
    segments = prediction.segments if has_timeline else (whole,)
    labels = words.shown_labels(prediction.probabilities)
    _add_waveform(figure, seen, segments, labels, surface)
    add_log_mel(figure, seen, surface)
    if has_timeline:
        _add_timeline(figure, prediction.windows, labels, surface)
        _add_segment_names(figure, segments, labels, seen.duration_s, surface)
    style(figure, surface, height=sum(heights) + 60)
    figure.update_layout(margin={"l": 66, "r": 8, "t": 34 if has_timeline else 6, "b": 40}, hovermode="closest")
    figure.update_xaxes(range=[0, seen.duration_s], showgrid=False, zeroline=False)
    add_time_axis(figure, seen.duration_s, row=len(heights))
    return figure


def add_time_axis(figure: go.Figure, duration_s: float, *, row: int) -> None:
    """Ticks in seconds or, from a minute on, as on a clock."""
    if duration_s < SECONDS_UP_TO_S:
        figure.update_xaxes(title={"text": "Time (s)", "standoff": 6}, row=row, col=1)
        return
    step_s = next((step for step in CLOCK_STEPS_S if duration_s / step <= MOST_TICKS), CLOCK_STEPS_S[-1])
    ticks = np.arange(0, duration_s, step_s)
    figure.update_xaxes(tickvals=ticks, ticktext=[words.clock(tick) for tick in ticks])
    figure.update_xaxes(title={"text": "Time (min:s)", "standoff": 6}, row=row, col=1)


def _add_waveform(
    figure: go.Figure, seen: Overview, segments: Sequence[Segment], labels: Sequence[Label], surface: Surface
) -> None:
    """One filled outline per segment; where none stands, and where nobody speaks, it is grey."""
    coloured = np.full(len(seen.times_s), -1)
    colours = colours_of(labels)
    for index, segment in enumerate(segments):
        coloured[(seen.times_s >= segment.start_s) & (seen.times_s < segment.end_s)] = index
    bounds = [0, *(np.flatnonzero(np.diff(coloured)) + 1).tolist(), len(coloured)]
    for start, end in itertools.pairwise(bounds):
        segment = segments[coloured[start]] if coloured[start] >= 0 else None
        emotion = segment.emotion if segment else None
        stop = min(end + 1, len(coloured))  # share a column with the next, or a gap would show
        times = seen.times_s[start:stop]
        colour = colours[emotion] if emotion else surface.quiet
        figure.add_scatter(
            x=np.concatenate([times, times[::-1]]),
            y=np.concatenate([seen.highest[start:stop], seen.lowest[start:stop][::-1]]),
            fill="toself",
            fillcolor=colour,
            line={"color": colour, "width": 1},
            mode="lines",
            hoveron="fills",
            name=_segment_name(segment),
            text=_segment_name(segment),
            hoverinfo="text",
            showlegend=False,
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


def _segment_name(segment: Segment | None) -> str:
    if segment is None or segment.emotion is None:
        return "no clear emotion" if segment and segment.confidence else "nobody speaks"
    return (
        f"{words.emotion_label(segment.emotion)}, {words.percent(segment.confidence)}<br>"
        f"{words.clock(segment.start_s)} to {words.clock(segment.end_s)}"
    )


def _add_segment_names(
    figure: go.Figure, segments: Sequence[Segment], labels: Sequence[Label], duration_s: float, surface: Surface
) -> None:
    """A bar in the emotion's colour over each segment, with its name where there is room."""
    colours = colours_of(labels)
    for segment in segments:
        if segment.emotion is None:
            continue
        figure.add_shape(
            type="rect",
            x0=segment.start_s,
            x1=segment.end_s,
            y0=4,
            y1=10,
            xref="x",
            yref="paper",
            ysizemode="pixel",
            yanchor=1,
            line={"width": 0},
            fillcolor=colours[segment.emotion],
        )
        if segment.end_s - segment.start_s >= NARROWEST_LABEL * duration_s:
            figure.add_annotation(
                x=(segment.start_s + segment.end_s) / 2,
                y=1,
                yshift=10,
                xref="x",
                yref="paper",
                yanchor="bottom",
                text=words.emotion_label(segment.emotion),
                showarrow=False,
                font={"color": surface.text, "size": 12},
            )


def add_log_mel(figure: go.Figure, seen: Overview, surface: Surface) -> None:
    nearest = [int(np.abs(seen.band_centres_hz - hz).argmin()) for hz in FREQUENCY_TICKS_HZ]
    figure.add_heatmap(
        x=seen.log_mel_times_s,
        y=np.arange(len(seen.band_centres_hz)),
        z=seen.log_mel,
        zmin=0,
        zmax=255,
        colorscale=[[0, surface.scale[0]], [0.55, surface.scale[1]], [1, surface.scale[2]]],
        showscale=False,
        hoverinfo="skip",
        row=2,
        col=1,
    )
    figure.update_yaxes(
        tickvals=nearest,
        ticktext=[f"{hz:,} Hz" for hz in FREQUENCY_TICKS_HZ],
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        row=2,
        col=1,
    )


def _add_timeline(
    figure: go.Figure, windows: Sequence[TimelineWindow], labels: Sequence[Label], surface: Surface
) -> None:
    """One row per emotion, each filled as high as its probability, from where one window's middle meets the next."""
    starts, ends = _window_cells(windows)
    times = np.column_stack([starts, ends]).ravel().astype(np.float32)
    colours = colours_of(labels)
    for row, emotion in enumerate(reversed(labels)):
        heights = np.array([window.probabilities.get(emotion, 0.0) for window in windows], dtype=np.float32)
        tops = row + 0.92 * np.repeat(heights, 2)
        figure.add_scatter(
            x=np.concatenate([times, times[::-1]]),
            y=np.concatenate([tops, np.full(len(tops), row, dtype=np.float32)]),
            fill="toself",
            fillcolor=colours[emotion],
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            row=3,
            col=1,
        )
        figure.add_scatter(
            x=((starts + ends) / 2).astype(np.float32),
            y=np.full(len(windows), row + 0.46, dtype=np.float32),
            mode="markers",
            marker={"opacity": 0, "size": 14, "symbol": "square", "color": colours[emotion]},
            customdata=heights,
            hovertemplate=f"{words.emotion_label(emotion)}: %{{customdata:.0%}}<br>around %{{x:.1f}} s<extra></extra>",
            showlegend=False,
            row=3,
            col=1,
        )
    figure.update_yaxes(
        range=[0, len(labels)],
        tickvals=[row + 0.4 for row in range(len(labels))],
        ticktext=[emotion.value for emotion in reversed(labels)],
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        row=3,
        col=1,
    )
    for row in range(len(labels)):
        figure.add_hline(y=row, line={"color": surface.line, "width": 1}, row=3, col=1)


def _window_cells(windows: Sequence[TimelineWindow]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each window counts: up to half way between its middle and its neighbours'; the ends reach to the edges."""
    middles = np.array([(window.start_s + window.end_s) / 2 for window in windows])
    between = (middles[:-1] + middles[1:]) / 2
    return (
        np.concatenate([[windows[0].start_s], between]),
        np.concatenate([between, [windows[-1].end_s]]),
    )


def probabilities(prediction: Prediction, surface: Surface) -> go.Figure:
    """The probabilities as bars, the most probable on top, each with the range of the passes."""
    order = words.ranked(prediction)[::-1]
    colours = colours_of(in_order(prediction.probabilities))
    shares = [prediction.probabilities[emotion] for emotion in order]
    ranges = [prediction.intervals[emotion] for emotion in order]
    figure = go.Figure()
    figure.add_bar(
        x=shares,
        y=[words.emotion_label(emotion) for emotion in order],
        orientation="h",
        width=0.56,
        marker={"color": [colours[emotion] for emotion in order], "cornerradius": 4, "line": {"width": 0}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, wide.high - share) for wide, share in zip(ranges, shares, strict=True)],
            "arrayminus": [max(0.0, share - wide.low) for wide, share in zip(ranges, shares, strict=True)],
            "color": surface.text,
            "thickness": 1.5,
            "width": 4,
        },
        customdata=[f"{words.percent(wide.low)} to {words.percent(wide.high)}" for wide in ranges],
        hovertemplate="%{y}: %{x:.1%}<br>90 % of passes: %{customdata}<extra></extra>",
        showlegend=False,
    )
    for emotion, share, wide in zip(order, shares, ranges, strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=10,
            y=words.emotion_label(emotion),
            text=f"<b>{words.percent(share)}</b>  <span style='color:{surface.muted}'>"
            f"{wide.low * 100:.0f}–{wide.high * 100:.0f}</span>",  # noqa: RUF001  # a dash between two numbers is meant
            showarrow=False,
            align="left",
            font={"size": 13, "color": surface.text},
        )
    style(figure, surface, height=min(300, 84 + 27 * len(order)))
    figure.update_layout(margin={"l": 92, "r": 132, "t": 6, "b": 30}, bargap=0.3)
    figure.update_xaxes(
        range=[0, 1],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=["0 %", "25 %", "50 %", "75 %", "100 %"],
        gridcolor=surface.line,
        zeroline=False,
        fixedrange=True,
    )
    figure.update_yaxes(showgrid=False, fixedrange=True, tickfont={"size": 14, "color": surface.text})
    return figure


def by_emotion(counts: Mapping[Label, int], chosen: Sequence[Label], surface: Surface) -> go.Figure:
    """How many predictions each emotion has; bars that are not chosen stand back."""
    figure = go.Figure()
    colours = colours_of(in_order(counts))
    order = list(reversed(colours))
    figure.add_bar(
        x=[counts[emotion] for emotion in order],
        y=[words.emotion_label(emotion) for emotion in order],
        orientation="h",
        width=0.62,
        customdata=[emotion.value for emotion in order],
        marker={
            "color": [colours[emotion] for emotion in order],
            "opacity": [1.0 if not chosen or emotion in chosen else 0.25 for emotion in order],
            "cornerradius": 4,
            "line": {"width": 0},
        },
        hovertemplate="%{y}: %{x:,} predictions<extra></extra>",
        showlegend=False,
    )
    for emotion in order:
        figure.add_annotation(
            x=counts[emotion],
            y=words.emotion_label(emotion),
            text=f"{counts[emotion]:,}",
            showarrow=False,
            xanchor="left",
            xshift=4,
            font={"size": 12, "color": surface.text},
        )
    style(figure, surface, height=290)
    figure.update_layout(margin={"l": 92, "r": 52, "t": 6, "b": 8}, dragmode=False)
    figure.update_xaxes(visible=False, rangemode="tozero", fixedrange=True)
    figure.update_yaxes(showgrid=False, fixedrange=True, tickfont={"size": 13, "color": surface.text})
    return figure


def confidence_against_uncertainty(
    bins: Sequence[ConfidenceEntropyBin],
    chosen: tuple[tuple[float, float], tuple[float, float]] | None,
    surface: Surface,
) -> go.Figure:
    """How many predictions have which confidence and which uncertainty; the chosen stretch is framed."""
    figure = go.Figure()
    most = max((cell.n_predictions for cell in bins), default=1)
    figure.add_scatter(
        x=[(cell.confidence.low + cell.confidence.high) / 2 for cell in bins],
        y=[(cell.entropy_nats.low + cell.entropy_nats.high) / 2 for cell in bins],
        mode="markers",
        marker={
            "symbol": "square",
            "size": 11,
            "line": {"width": 0},
            "color": [np.log1p(cell.n_predictions) / np.log1p(most) for cell in bins],
            "cmin": 0,
            "cmax": 1,
            "colorscale": [[0, surface.line], [0.5, surface.scale[1]], [1, surface.scale[2]]],
        },
        customdata=[cell.n_predictions for cell in bins],
        hovertemplate="%{customdata:,} predictions<br>confidence about %{x:.0%}<br>"
        "uncertainty about %{y:.2f} nats<extra></extra>",
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        showlegend=False,
    )
    if chosen is not None:
        (left, right), (low, high) = chosen
        figure.add_shape(
            type="rect", x0=left, x1=right, y0=low, y1=high, line={"color": surface.text, "width": 1.5, "dash": "dot"}
        )
    style(figure, surface, height=290)
    figure.update_layout(margin={"l": 52, "r": 24, "t": 6, "b": 44}, dragmode="select", selectdirection="any")
    figure.update_xaxes(
        title={"text": "Confidence", "standoff": 6},
        range=[0, 1.01],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=["0 %", "25 %", "50 %", "75 %", "100 %"],
        gridcolor=surface.line,
        zeroline=False,
        fixedrange=True,
    )
    figure.update_yaxes(
        title={"text": "Uncertainty (nats)", "standoff": 6},
        range=[0, words.MAX_ENTROPY_NATS * 1.02],
        gridcolor=surface.line,
        zeroline=False,
        fixedrange=True,
    )
    if not bins:
        _say_nothing_matches(figure, surface)
    return figure


def over_time(
    counts: Sequence[EmotionOverTime],
    chosen: tuple[datetime, datetime] | None,
    bucket: timedelta,
    zone: tzinfo,
    surface: Surface,
) -> go.Figure:
    """How many predictions were made when, stacked by emotion; the chosen stretch is framed."""
    figure = go.Figure()
    for emotion, colour in colours_of(in_order([*Emotion, *sorted({count.emotion for count in counts})])).items():
        own = [count for count in counts if count.emotion == emotion]
        figure.add_bar(
            x=[_local(count.started_at, zone) for count in own],
            width=bucket / timedelta(milliseconds=1) * 0.88,
            offset=0,
            y=[count.n_predictions for count in own],
            name=emotion.value,
            marker={"color": colour, "line": {"width": 0}},
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            hovertemplate=f"{words.emotion_label(emotion)}: %{{y:,}}<br>%{{x|%d %b %Y, %H:%M}}<extra></extra>",
            showlegend=False,
        )
    if chosen is not None:
        figure.add_vrect(
            x0=_local(chosen[0], zone),
            x1=_local(chosen[1], zone),
            line={"color": surface.text, "width": 1.5, "dash": "dot"},
        )
    style(figure, surface, height=290)
    figure.update_layout(
        margin={"l": 52, "r": 12, "t": 6, "b": 30},
        barmode="stack",
        dragmode="select",
        selectdirection="h",
    )
    figure.update_xaxes(showgrid=False, fixedrange=True, type="date", tickformatstops=DATE_TICKS)
    figure.update_yaxes(
        title={"text": "Predictions", "standoff": 6},
        gridcolor=surface.line,
        fixedrange=True,
        rangemode="tozero",
        tickformat=",d",
        dtick=1 if _highest(counts) < SMALL_COUNT else None,
    )
    if not counts:
        _say_nothing_matches(figure, surface)
    return figure


def _say_nothing_matches(figure: go.Figure, surface: Surface) -> None:
    """In place of axes around nothing. A chart leaves its own filter out, so it is the others that leave nothing."""
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        text="Nothing matches the other filters",
        showarrow=False,
        font={"size": 13, "color": surface.muted},
    )


def _highest(counts: Sequence[EmotionOverTime]) -> int:
    totals: Counter[datetime] = Counter()
    for count in counts:
        totals[count.started_at] += count.n_predictions
    return max(totals.values(), default=0)


def _local(moment: datetime, zone: tzinfo) -> datetime:
    """The reader's clock, without its zone: plotly.js draws what it is given."""
    return moment.astimezone(zone).replace(tzinfo=None)


def style(figure: go.Figure, surface: Surface, *, height: int) -> None:
    figure.update_layout(
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": surface.text, "size": 13},
        hoverlabel={
            "bgcolor": surface.raised,
            "bordercolor": surface.line,
            "font": {"color": surface.text, "size": 13},
            "align": "left",
        },
        showlegend=False,
    )
    figure.update_xaxes(tickfont={"color": surface.muted, "size": 12}, title_font={"color": surface.muted, "size": 12})
    figure.update_yaxes(tickfont={"color": surface.muted, "size": 12}, title_font={"color": surface.muted, "size": 12})
