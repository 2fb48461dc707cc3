"""An explanation in PDF reports: the regions of the sound over its log-mel, with pitch and level below, as vectors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from reportlab.graphics.shapes import Drawing, Image, Line, Polygon, PolyLine, Rect, String
from reportlab.lib.colors import Color, HexColor, white
from reportlab.pdfbase.pdfmetrics import stringWidth

from core.emotion_colours import SPEAKS_AGAINST, SPEAKS_FOR
from core.features.log_mel import mel_borders_hz
from core.features.overview import Overview
from core.inference.attribution import Attribution
from core.reports.figures import INK, LINE, MUTED, SIZE, write
from core.reports.fonts import Fonts

if TYPE_CHECKING:
    from core.features.prosody import ProsodyContours  # loads Praat

LEFT, RIGHT, HEAD, FOOT, GAP = 54.0, 4.0, 14.0, 24.0, 11.0
OUTLINE, REGIONS, CURVE = 34.0, 126.0, 40.0
BAR = HexColor("#6C7484")
DARKEST = np.array([0x8E, 0x95, 0xA3])
"""Of the log-mel, which stays paler than the regions over it."""
STRONGEST_OPACITY, LABEL_OPACITY = 0.72, 0.78
LEAST_LABELLED = 0.3
"""Regions weaker than this share of the strongest stand without their number."""
LEVEL_RANGE_DB = 60.0


def regions(
    attribution: Attribution, seen: Overview, contours: ProsodyContours, fonts: Fonts, *, width: float
) -> Drawing:
    """Sound, log-mel under the SHAP values of its regions, pitch and level, on one time axis.

    Parameters
    ----------
    seen, contours
        Of the stretch explained, their times those of the recording.
    """
    height = HEAD + OUTLINE + REGIONS + 2 * CURVE + 3 * GAP + FOOT
    drawing = Drawing(width, height)
    axis = _TimeAxis(attribution, width - LEFT - RIGHT)
    _add_key(drawing, height - 9, attribution, fonts)
    top = height - HEAD
    _add_outline(drawing, axis, seen, top - OUTLINE, fonts)
    top -= OUTLINE + GAP
    _add_log_mel(drawing, axis, seen, top - REGIONS)
    _add_regions(drawing, axis, attribution, top - REGIONS, fonts)
    _add_frequencies(drawing, top - REGIONS, fonts)
    top -= REGIONS + GAP
    pitch = np.where(contours.pitch_hz > 0, contours.pitch_hz, np.nan)
    _add_curve(drawing, axis, contours.time_s, pitch, top - CURVE, fonts, name="Pitch (Hz)")
    top -= CURVE + GAP
    levels = contours.intensity_dbfs
    audible = np.maximum(levels, levels.max() - LEVEL_RANGE_DB) if levels.size else levels
    _add_curve(drawing, axis, contours.time_s, audible, top - CURVE, fonts, name="Level (dBFS)")
    axis.draw(drawing, FOOT, fonts)
    return drawing


class _TimeAxis:
    """Where moments of the stretch explained lie."""

    def __init__(self, attribution: Attribution, width: float) -> None:
        self._start_s, self._end_s = attribution.window.start_s, attribution.window.end_s
        self._per_s = width / (self._end_s - self._start_s)

    def x(self, moment_s: float) -> float:
        """Of a moment; those outside lie at the edge."""
        return LEFT + (min(max(moment_s, self._start_s), self._end_s) - self._start_s) * self._per_s

    def draw(self, drawing: Drawing, y: float, fonts: Fonts) -> None:
        step = next(step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if step * self._per_s >= 36 or step == 10.0)
        first = int(np.ceil(self._start_s / step - 1e-9))
        for number in range(first, int(np.floor(self._end_s / step + 1e-9)) + 1):
            x = self.x(number * step)
            drawing.add(Line(x, y, x, y - 3, strokeColor=MUTED, strokeWidth=0.5))
            write(drawing, x, y - 11, f"{number * step:.1f}", fonts, anchor="middle", colour=MUTED)
        middle = (self.x(self._start_s) + self.x(self._end_s)) / 2
        write(drawing, middle, y - 22, "Time (s)", fonts, anchor="middle", colour=MUTED)


def _add_key(drawing: Drawing, y: float, attribution: Attribution, fonts: Fonts) -> None:
    against = f"against {attribution.emotion}" if attribution.contrast is None else f"for {attribution.contrast}"
    x = LEFT
    for colour, said in (
        (SPEAKS_FOR, f"+ speaks for {attribution.emotion}"),
        (SPEAKS_AGAINST, f"\u2212 speaks {against}"),
    ):
        drawing.add(Rect(x, y, 9, 7, fillColor=HexColor(colour), strokeColor=None))
        write(drawing, x + 12, y, said, fonts)
        x += 12 + stringWidth(said, fonts.regular, SIZE) + 14
    write(drawing, x, y, "numbers in nats of log-odds: +0.7 doubles the odds", fonts, colour=MUTED)


def _add_outline(drawing: Drawing, axis: _TimeAxis, seen: Overview, y: float, fonts: Fonts) -> None:
    peak = max(float(np.abs(seen.lowest).max()), float(np.abs(seen.highest).max()), 1e-3)
    middle, scale = y + OUTLINE / 2, OUTLINE / 2 / peak
    points: list[float] = []
    for moment_s, value in zip(seen.times_s, seen.highest, strict=True):
        points += [axis.x(float(moment_s)), middle + float(value) * scale]
    for moment_s, value in zip(seen.times_s[::-1], seen.lowest[::-1], strict=True):
        points += [axis.x(float(moment_s)), middle + float(value) * scale]
    drawing.add(Polygon(points, fillColor=BAR, strokeColor=BAR, strokeWidth=0.4))
    write(drawing, LEFT - 6, middle - 3, "Sound", fonts, anchor="end", colour=MUTED)


def _add_log_mel(drawing: Drawing, axis: _TimeAxis, seen: Overview, y: float) -> None:
    shares = seen.log_mel[::-1, :, None] / 255
    picture = Picture.fromarray(np.rint(255 - shares * (255 - DARKEST)).astype(np.uint8))
    half_s = (seen.log_mel_times_s[1] - seen.log_mel_times_s[0]) / 2 if len(seen.log_mel_times_s) > 1 else 0.0
    left, right = axis.x(float(seen.log_mel_times_s[0] - half_s)), axis.x(float(seen.log_mel_times_s[-1] + half_s))
    drawing.add(Image(left, y, right - left, REGIONS, picture))


def _add_regions(drawing: Drawing, axis: _TimeAxis, attribution: Attribution, y: float, fonts: Fonts) -> None:
    strongest = max(1e-3, float(np.abs(attribution.values).max()))
    xs = [axis.x(float(edge_s)) for edge_s in attribution.time_edges_s]
    ys = [y + REGIONS * share for share in _heights(attribution.band_edges_hz)]
    for (time, band), value in np.ndenumerate(attribution.values):
        left, right, low, high = xs[time], xs[time + 1], ys[band], ys[band + 1]
        colour, opacity = _shade(float(value) / strongest)
        drawing.add(
            Rect(
                left,
                low,
                right - left,
                high - low,
                fillColor=colour,
                fillOpacity=opacity,
                strokeColor=white,
                strokeWidth=0.8,
            )
        )
        if abs(float(value)) >= LEAST_LABELLED * strongest:
            _add_label(
                drawing, (left + right) / 2, (low + high) / 2, f"{float(value):+.1f}".replace("-", "\u2212"), fonts
            )


def _shade(share: float) -> tuple[Color, float]:
    return HexColor(SPEAKS_FOR if share >= 0 else SPEAKS_AGAINST), STRONGEST_OPACITY * abs(share)


def _add_label(drawing: Drawing, x: float, y: float, said: str, fonts: Fonts) -> None:
    wide = stringWidth(said, fonts.bold, SIZE) + 4
    drawing.add(Rect(x - wide / 2, y - 5, wide, 10, fillColor=white, fillOpacity=LABEL_OPACITY, strokeColor=None))
    drawing.add(String(x, y - 3, said, fontName=fonts.bold, fontSize=SIZE, fillColor=INK, textAnchor="middle"))


def _heights(frequencies_hz: NDArray[np.float64]) -> list[float]:
    """How high frequencies lie on the mel axis, from 0 at its foot to 1."""
    borders = mel_borders_hz()
    heights: list[float] = np.interp(frequencies_hz, borders, np.linspace(0, 1, len(borders))).tolist()
    return heights


def _add_frequencies(drawing: Drawing, y: float, fonts: Fonts) -> None:
    shown = (500.0, 1000.0, 2000.0, 4000.0)
    for hz, share in zip(shown, _heights(np.array(shown)), strict=True):
        height = y + REGIONS * share
        drawing.add(Line(LEFT, height, LEFT - 3, height, strokeColor=MUTED, strokeWidth=0.5))
        write(drawing, LEFT - 6, height - 3, f"{hz:,.0f} Hz", fonts, anchor="end", colour=MUTED)


def _add_curve(
    drawing: Drawing,
    axis: _TimeAxis,
    times_s: NDArray[np.float64],
    values: NDArray[np.float64],
    y: float,
    fonts: Fonts,
    *,
    name: str,
) -> None:
    what, unit = name.split(" ")
    write(drawing, 0, y + CURVE / 2 + 2, what, fonts, colour=MUTED)
    write(drawing, 0, y + CURVE / 2 - 8, unit, fonts, colour=MUTED)
    known = values[np.isfinite(values)]
    if not known.size:
        write(drawing, LEFT + 6, y + CURVE / 2 - 3, f"No {what.lower()} could be measured here", fonts, colour=MUTED)
        return
    low, high = float(known.min()), float(known.max())
    scale = CURVE / (high - low) if high > low else 0.0
    for end in (low, high):
        height = y + (end - low) * scale
        drawing.add(Line(LEFT, height, drawing.width - RIGHT, height, strokeColor=LINE, strokeWidth=0.5))
        write(drawing, LEFT - 6, height - 3, f"{end:.0f}".replace("-", "\u2212"), fonts, anchor="end", colour=MUTED)
        if not scale:
            break
    for run in _runs(values):
        points = [
            coordinate for at in run for coordinate in (axis.x(float(times_s[at])), y + (values[at] - low) * scale)
        ]
        drawing.add(PolyLine(points, strokeColor=INK, strokeWidth=0.9))


def _runs(values: NDArray[np.float64]) -> Iterator[list[int]]:
    """Indices of stretches without a gap, of two values or more.

    >>> list(_runs(np.array([1, 2, np.nan, 3, np.nan, 4, 5])))
    [[0, 1], [5, 6]]
    """
    for is_known, group in itertools.groupby(range(len(values)), key=lambda at: bool(np.isfinite(values[at]))):
        run = list(group)
        if is_known and len(run) > 1:
            yield run
