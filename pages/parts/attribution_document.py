"""An explanation as parts of a report, and alone as one HTML file: the chart, plotly.js inside, and its sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.domain import Prediction, Recording
from core.explaining import Voice
from core.inference.attribution import Attribution
from core.reports.analysis import Drawer, Part, write_report
from pages.parts import attribution_charts, attribution_words, words
from pages.parts.report_document import drawn
from pages.parts.theme import LIGHT

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing

    from core.reports.fonts import Fonts

KEY = (
    f'<p class="key"><i style="background:{LIGHT.speaks_for}"></i>speaks for it (+)'
    f'<i style="background:{LIGHT.speaks_against}"></i>speaks against it (\u2212) · numbers in nats of log-odds: '
    "+0.7 doubles the odds</p>"
)


def document(recording: Recording, prediction: Prediction, attribution: Attribution, voice: Voice) -> bytes:
    """The file, UTF-8. It holds no sound; names and sentences are escaped."""
    return write_report(
        name=recording.name,
        heading=f"{words.verdict_lead(prediction)}: {words.verdict(prediction)}",
        lead=(),
        parts=[regions_part(attribution, voice, has_plotly=True)],
    )


def regions_part(attribution: Attribution, voice: Voice, *, has_plotly: bool) -> Part:
    """The chart of the regions and the strongest reasons."""
    figure = attribution_charts.regions(attribution, voice, LIGHT)
    return Part(
        title=f"{attribution_words.question(attribution.emotion, attribution.contrast)} Which parts of the sound",
        drawing=_drawer(attribution, voice),
        figure=KEY + drawn(figure, name="regions", has_plotly=has_plotly, config=attribution_charts.REGIONS_CONFIG),
        sentences=(*said(attribution), attribution_words.odds_sentence(attribution)),
        notes=(*attribution_words.LIMITS, attribution_words.provenance(attribution).replace("**", "")),
    )


def _drawer(attribution: Attribution, voice: Voice) -> Drawer:
    def draw(fonts: Fonts, width: float) -> Drawing:
        from core.reports.explanation_figure import regions  # reportlab: half a second that only PDF reports need

        return regions(attribution, voice.seen, voice.contours, fonts, width=width)

    return draw


def contrast_part(attribution: Attribution) -> Part:
    """Why this emotion and not another, in sentences."""
    return Part(
        title=attribution_words.question(attribution.emotion, attribution.contrast),
        sentences=(*said(attribution), attribution_words.odds_sentence(attribution)),
        notes=(attribution_words.provenance(attribution).replace("**", ""),),
    )


def said(attribution: Attribution) -> tuple[str, ...]:
    """The strongest reasons; or that nothing stands out."""
    sentences = tuple(reason.sentence for reason in attribution_words.reasons(attribution))
    return sentences or (attribution_words.nothing_stands_out(attribution),)
