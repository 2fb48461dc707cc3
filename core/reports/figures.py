"""Charts of PDF reports, drawn as vectors: text in them can be selected, and they print sharp at any size.

They look as those of the pages do: a colour of its own means an emotion and stands beside its name and sign, all else
is ink. Lengths are in points of 1/72 inch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reportlab.graphics.shapes import Drawing, Line, Rect, String
from reportlab.lib.colors import Color, HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from core.domain import Interval, Label, Prediction, in_order
from core.emotion_colours import colours_of, sign_of
from core.evaluation.bootstrap import ConfidenceInterval
from core.reports.fonts import Fonts
from core.reports.report import N_CONFIDENCE_BINS, N_ENTROPY_BINS, DayLine, EmotionLine
from core.store.predictions import MAX_ENTROPY_NATS, ConfidenceEntropyBin

INK, MUTED, LINE, PALE = HexColor("#23262E"), HexColor("#5E6470"), HexColor("#E4E1DA"), HexColor("#F6F5F2")
SCALE = (HexColor("#E6E5E1"), HexColor("#8E95A3"), HexColor("#14171F"))
"""From few to most; none is white. The pages begin at white, where cells of few would vanish on paper."""
SIZE = 8.0
"""Of all text in charts."""


def label_colours(labels: Iterable[Label]) -> dict[Label, Color]:
    """Of one set of labels."""
    return {label: HexColor(colour) for label, colour in colours_of(labels).items()}


def emotion_name(emotion: Label, fonts: Fonts) -> str:
    """Sign and name, as on the pages; the name alone where the font lacks the sign."""
    sign = sign_of(emotion)
    return f"{sign} {emotion.value}" if ord(sign) in fonts.letters else emotion.value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """One emotion's row."""

    emotion: Label
    share: float | None
    low: float
    high: float
    said: str


def by_emotion(lines: Sequence[EmotionLine], fonts: Fonts, *, width: float) -> Drawing:
    """A bar for each emotion's share, a whisker for its interval, and both in figures."""
    bars = [
        _Bar(
            emotion=line.emotion,
            share=line.share,
            low=line.interval.low,
            high=line.interval.high,
            said=f"{line.n_predictions:,}  \u00b7  {_share_and_interval(line.share or 0.0, line.interval)}",
        )
        for line in lines
    ]
    return _bars(bars, fonts, width=width)


def probabilities(prediction: Prediction, fonts: Fonts, *, width: float) -> Drawing:
    """A bar for each emotion's probability, the likeliest first, and a whisker for what 90 % of the passes gave."""
    shares = prediction.probabilities
    bars = [
        _Bar(
            emotion=emotion,
            share=shares[emotion],
            low=prediction.intervals[emotion].low,
            high=prediction.intervals[emotion].high,
            said=_share_and_interval(shares[emotion], prediction.intervals[emotion]),
        )
        for emotion in sorted(shares, key=lambda emotion: -shares[emotion])
    ]
    return _bars(bars, fonts, width=width)


def _share_and_interval(share: float, interval: Interval | ConfidenceInterval) -> str:
    return f"{percent(share)}  ({percent(interval.low)} to {percent(interval.high)})"


def _bars(bars: Sequence[_Bar], fonts: Fonts, *, width: float) -> Drawing:
    row, left, right, foot = 16.0, 66.0, 150.0, 16.0
    drawing = Drawing(width, row * len(bars) + foot)
    colours = label_colours(in_order(bar.emotion for bar in bars))
    most = max([0.1, *(bar.high for bar in bars if bar.share is not None)])
    step = next(step for step in (0.05, 0.1, 0.2, 0.25) if most / step <= 5 or step == 0.25)
    top = min(1.0, step * math.ceil(most / step))
    scale = (width - left - right) / top
    for number in range(round(top / step) + 1):
        x = left + number * step * scale
        drawing.add(Line(x, foot, x, foot + row * len(bars), strokeColor=LINE, strokeWidth=0.5))
        write(drawing, x, 4, f"{100 * number * step:.0f} %", fonts, anchor="middle", colour=MUTED)
    for index, bar in enumerate(bars):
        y = foot + row * (len(bars) - 1 - index)
        middle = y + row / 2
        write(drawing, left - 6, middle - 3, emotion_name(bar.emotion, fonts), fonts, anchor="end")
        if bar.share is None:
            continue
        colour = colours[bar.emotion]
        drawing.add(Rect(left, y + 3, bar.share * scale, row - 6, fillColor=colour, strokeColor=None))
        low, high = left + bar.low * scale, left + bar.high * scale
        drawing.add(Line(low, middle, high, middle, strokeColor=INK, strokeWidth=1))
        for end in (low, high):
            drawing.add(Line(end, middle - 3, end, middle + 3, strokeColor=INK, strokeWidth=1))
        write(drawing, width - right + 10, middle - 3, bar.said, fonts)
    return drawing


def over_time(days: Sequence[DayLine], unit: str, fonts: Fonts, *, width: float) -> Drawing:
    """A column for each day, week or month, stacked by emotion; what lies between two of them stays empty."""
    height, left, foot, head = 140.0, 34.0, 26.0, 20.0
    drawing = Drawing(width, height)
    most = max((line.n_predictions for line in days), default=0)
    step = _round_step(most)
    top = step * max(1, math.ceil(most / step))
    scale = (height - foot - head) / top
    for number in range(round(top / step) + 1):
        y = foot + number * step * scale
        drawing.add(Line(left, y, width, y, strokeColor=LINE, strokeWidth=0.5))
        write(drawing, left - 5, y - 3, f"{number * step:,}", fonts, anchor="end", colour=MUTED)
    places = [_place(line, days[0], unit) for line in days]
    n_places = max(places, default=0) + 1
    pitch = min(40.0, (width - left) / n_places)
    bar = max(0.8, pitch * 0.78)
    last_label = -math.inf
    colours = label_colours(in_order(label for line in days for label, n in line.counts.items() if n))
    for place, line in zip(places, days, strict=True):
        x, y = left + place * pitch + (pitch - bar) / 2, foot
        for emotion, colour in colours.items():
            part = line.counts.get(emotion, 0) * scale
            if part:
                drawing.add(Rect(x, y, bar, part, fillColor=colour, strokeColor=None))
                y += part
        said = f"{line.day:%b %Y}" if unit == "month" else f"{line.day.day} {line.day:%b}"
        middle = max(x + bar / 2, left + stringWidth(said, fonts.regular, SIZE) / 2)
        if middle - last_label > 46 and middle < width - 14:
            write(drawing, middle, foot - 11, said, fonts, anchor="middle", colour=MUTED)
            last_label = middle
    if days:
        first, last = days[0].day, days[-1].day
        years = f"{first:%Y}" if first.year == last.year else f"{first:%Y} to {last:%Y}"
        write(drawing, width, 2, f"by {unit}, {years}", fonts, anchor="end", colour=MUTED)
    _legend(drawing, left, height - 10, colours, fonts)
    return drawing


def by_doubt(bins: Sequence[ConfidenceEntropyBin], fonts: Fonts, *, width: float) -> Drawing:
    """How many predictions have which confidence and uncertainty; the darker a cell, the more."""
    height, left, foot, head = 190.0, 40.0, 30.0, 16.0
    drawing = Drawing(width, height)
    plot_width, plot_height = min(width - left - 110, 340.0), height - foot - head
    most = max((each.n_predictions for each in bins), default=1)
    cell_width, cell_height = plot_width / N_CONFIDENCE_BINS, plot_height / N_ENTROPY_BINS
    for each in bins:
        drawing.add(
            Rect(
                left + each.confidence.low * plot_width,
                foot + each.entropy_nats.low / MAX_ENTROPY_NATS * plot_height,
                cell_width,
                cell_height,
                fillColor=_shade(each.n_predictions, most),
                strokeColor=None,
            )
        )
    drawing.add(Rect(left, foot, plot_width, plot_height, fillColor=None, strokeColor=LINE, strokeWidth=0.5))
    for tenths in range(0, 11, 2):
        x = left + tenths / 10 * plot_width
        drawing.add(Line(x, foot, x, foot - 3, strokeColor=MUTED, strokeWidth=0.5))
        write(drawing, x, foot - 12, f"{10 * tenths} %", fonts, anchor="middle", colour=MUTED)
    for nats in (0.0, 0.5, 1.0, 1.5, 2.0):
        y = foot + nats / MAX_ENTROPY_NATS * plot_height
        drawing.add(Line(left, y, left - 3, y, strokeColor=MUTED, strokeWidth=0.5))
        write(drawing, left - 6, y - 3, f"{nats:.1f}", fonts, anchor="end", colour=MUTED)
    write(drawing, left + plot_width / 2, 4, "Confidence", fonts, anchor="middle", colour=MUTED)
    write(drawing, left, height - 8, "Uncertainty (nats)", fonts, colour=MUTED)
    write(drawing, left + plot_width + 10, foot + 30, "Predictions in a cell", fonts, colour=MUTED)
    for step in range(20):
        shade = _shade(1 + round(step / 19 * (most - 1)), most)
        drawing.add(Rect(left + plot_width + 10 + step * 4, foot + 15, 4, 9, fillColor=shade, strokeColor=None))
    write(drawing, left + plot_width + 10, foot + 3, "1", fonts, colour=MUTED)
    write(drawing, left + plot_width + 90, foot + 3, f"{most:,}", fonts, anchor="end", colour=MUTED)
    return drawing


def percent(share: float) -> str:
    """`7.3 %`, on one line; never 0 or 100 of what is not.

    >>> [percent(share).replace("\\u00a0", " ") for share in (0.0731, 0.0001, 0.9999, 1.0)]
    ['7.3 %', 'under 0.1 %', 'over 99.9 %', '100 %']
    """
    if 0 < share < 0.0005:
        return "under\u00a00.1\u00a0%"
    if 0.9995 <= share < 1:
        return "over\u00a099.9\u00a0%"
    return f"{100 * share:.0f}\u00a0%" if share in (0.0, 1.0) else f"{100 * share:.1f}\u00a0%"


def _place(line: DayLine, first: DayLine, unit: str) -> int:
    """How many days, weeks or months after the first."""
    if unit == "month":
        return (line.day.year - first.day.year) * 12 + line.day.month - first.day.month
    return (line.day - first.day).days // (7 if unit == "week" else 1)


def _round_step(most: int) -> int:
    """A step of 1, 2 or 5 times a power of ten, of which about four reach `most`.

    >>> [_round_step(most) for most in (0, 3, 8, 37, 4_100)]
    [1, 1, 2, 10, 2000]
    """
    wanted = max(1.0, most / 4)
    power = 10 ** math.floor(math.log10(wanted))
    return int(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= wanted * 0.999))


def _shade(n: int, most: int) -> Color:
    """By the logarithm, as one full cell would leave all others white."""
    share = 1.0 if most <= 1 else math.log(n) / math.log(most)
    low, high, at = (SCALE[0], SCALE[1], share * 2) if share < 0.5 else (SCALE[1], SCALE[2], share * 2 - 1)
    return Color(*(a + (b - a) * at for a, b in zip(low.rgb(), high.rgb(), strict=True)))


def _legend(drawing: Drawing, x: float, y: float, colours: Mapping[Label, Color], fonts: Fonts) -> None:
    for emotion, colour in colours.items():
        said = emotion_name(emotion, fonts)
        drawing.add(Rect(x, y, 7, 7, fillColor=colour, strokeColor=None))
        write(drawing, x + 10, y, said, fonts)
        x += 10 + stringWidth(said, fonts.regular, SIZE) + 10


def write(
    drawing: Drawing, x: float, y: float, text: str, fonts: Fonts, *, anchor: str = "start", colour: Color = INK
) -> None:
    """Text in a chart; `anchor` is start, middle or end."""
    drawing.add(String(x, y, text, fontName=fonts.regular, fontSize=SIZE, fillColor=colour, textAnchor=anchor))
