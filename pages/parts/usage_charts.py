"""Charts of usage. None of it is an emotion, so all of it is ink: what went well is pale, what failed is dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo

import plotly.graph_objects as go

from core.store.usage import ConfidenceBin, UsageInBucket
from pages.parts import charts
from pages.parts.theme import Surface

HEIGHT_PX = 230
FEW = 5
"""Below this an axis would be divided into halves of requests."""
MIN_BUCKETS = 7
"""Shown at least: a day alone would be one block as wide as the page."""


def requests(buckets: Sequence[UsageInBucket], length: timedelta, zone: tzinfo, surface: Surface) -> go.Figure:
    """How many requests there were when: answered, refused and failed, one on the other."""
    figure = go.Figure()
    kinds: list[tuple[str, str, Callable[[UsageInBucket], int]]] = [
        ("answered", surface.quiet, lambda each: _n_answered(each)),
        ("refused", surface.bar, lambda each: each.figures.n_refused),
        ("failed", surface.text, lambda each: each.figures.n_failed),
    ]
    for name, colour, count in kinds:
        figure.add_bar(
            x=_times(buckets, zone, length),
            y=[count(each) for each in buckets],
            width=_width_ms(length),
            offset=0,
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=f"%{{y:,}} {name}<br>%{{x|{_hover(length)}}}<extra></extra>",
        )
    _style(figure, surface, _times(buckets, zone, length), length)
    figure.update_layout(barmode="stack")
    most = max((each.figures.n_requests for each in buckets), default=0)
    figure.update_yaxes(tickformat=",d", rangemode="tozero", dtick=1 if 0 < most < FEW else None)
    return figure


def latency(buckets: Sequence[UsageInBucket], length: timedelta, zone: tzinfo, surface: Surface) -> go.Figure:
    """The three quantiles of latency over time, each named at its end."""
    figure = go.Figure()
    known = [each for each in buckets if each.latency.p50_ms is not None]
    lines: list[tuple[str, str, Callable[[UsageInBucket], float | None]]] = [
        ("p50", surface.quiet, lambda each: each.latency.p50_ms),
        ("p95", surface.bar, lambda each: each.latency.p95_ms),
        ("p99", surface.text, lambda each: each.latency.p99_ms),
    ]
    for name, colour, value in lines:
        figure.add_scatter(
            x=[each + length / 2 for each in _times(known, zone, length)],
            y=[(value(each) or 0.0) / 1e3 for each in known],
            mode="lines+markers",
            name=name,
            line={"color": colour, "width": 2},
            marker={"size": 5, "color": colour},
            hovertemplate=f"{name}: %{{y:.3f}} s<br>%{{x|{_hover(length)}}}<extra></extra>",
        )
    _style(figure, surface, _times(known, zone, length), length)
    figure.update_yaxes(ticksuffix=" s", rangemode="tozero")
    return figure


def predictions_per_minute(
    buckets: Sequence[UsageInBucket], length: timedelta, now: datetime, zone: tzinfo, surface: Surface
) -> go.Figure:
    """Predictions in each bucket, over its minutes; of the one under way, over those that have passed."""
    figure = go.Figure()
    figure.add_bar(
        x=_times(buckets, zone, length),
        y=[per_minute(each.figures.n_predictions, each.started_at, length, now) for each in buckets],
        width=_width_ms(length),
        offset=0,
        marker={"color": surface.bar, "line": {"width": 0}},
        hovertemplate=f"%{{y:,.3~r}} a minute<br>%{{x|{_hover(length)}}}<extra></extra>",
    )
    _style(figure, surface, _times(buckets, zone, length), length)
    figure.update_yaxes(rangemode="tozero", tickformat=",~r")  # otherwise one in a day is drawn in millionths
    return figure


def per_minute(n_predictions: int, started_at: datetime, length: timedelta, now: datetime) -> float:
    """Predictions a minute over a stretch of time, as far as it has passed.

    Examples
    --------
    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> per_minute(120, noon, timedelta(hours=1), noon + timedelta(days=1))
    2.0
    >>> per_minute(120, noon, timedelta(hours=1), noon + timedelta(minutes=30))
    4.0
    """
    passed = min(length, max(now - started_at, timedelta(minutes=1)))
    return n_predictions / (passed / timedelta(minutes=1))


def confidence(bins: Sequence[ConfidenceBin], surface: Surface) -> go.Figure:
    """How sure the answers were."""
    figure = go.Figure()
    figure.add_bar(
        x=[(each.confidence.low + each.confidence.high) / 2 for each in bins],
        y=[each.n_predictions for each in bins],
        width=[0.9 * (each.confidence.high - each.confidence.low) for each in bins],
        marker={"color": surface.bar, "line": {"width": 0}},
        customdata=[f"{each.confidence.low:.0%} to {each.confidence.high:.0%}" for each in bins],
        hovertemplate="%{y:,} predictions<br>confidence %{customdata}<extra></extra>",
    )
    charts.style(figure, surface, height=290)
    figure.update_layout(margin={"l": 52, "r": 12, "t": 6, "b": 44}, dragmode=False)
    figure.update_xaxes(
        title={"text": "Confidence", "standoff": 6},
        range=[0, 1],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        ticktext=["0 %", "25 %", "50 %", "75 %", "100 %"],
        showgrid=False,
        fixedrange=True,
    )
    most = max((each.n_predictions for each in bins), default=0)
    figure.update_yaxes(
        gridcolor=surface.line,
        fixedrange=True,
        rangemode="tozero",
        tickformat=",d",
        dtick=1 if 0 < most < FEW else None,
    )
    return figure


def _n_answered(each: UsageInBucket) -> int:
    return each.figures.n_requests - each.figures.n_refused - each.figures.n_failed


def _times(buckets: Sequence[UsageInBucket], zone: tzinfo, length: timedelta) -> list[datetime]:
    """Hours at the reader's clock; days are those of UTC, and drawn as the days they are."""
    shown_in = zone if length < timedelta(days=1) else UTC
    return [each.started_at.astimezone(shown_in).replace(tzinfo=None) for each in buckets]


def _hover(length: timedelta) -> str:
    return "%-d %b %Y, %H:%M" if length < timedelta(days=1) else "%-d %b %Y"


def _width_ms(length: timedelta) -> float:
    return length / timedelta(milliseconds=1) * 0.86


def _style(figure: go.Figure, surface: Surface, times: Sequence[datetime], length: timedelta) -> None:
    charts.style(figure, surface, height=HEIGHT_PX)
    figure.update_layout(margin={"l": 52, "r": 12, "t": 6, "b": 34}, dragmode=False, hovermode="closest")
    figure.update_xaxes(showgrid=False, fixedrange=True, type="date", tickformatstops=charts.DATE_TICKS)
    figure.update_yaxes(gridcolor=surface.line, fixedrange=True)
    if times:
        end = times[-1] + length
        figure.update_xaxes(range=[min(times[0], end - MIN_BUCKETS * length), end])
    else:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
        figure.add_annotation(
            x=0.5,
            y=0.5,
            xref="paper",
            yref="paper",
            text="Nothing in this period",
            showarrow=False,
            font={"size": 13, "color": surface.muted},
        )
