"""An explanation as one HTML file that opens without internet: the chart with plotly.js inside, and its sentences."""

from __future__ import annotations

from html import escape

from core.domain import Prediction, Recording
from core.explaining import Voice
from core.inference.attribution import Attribution
from pages.parts import attribution_charts, attribution_words, words
from pages.parts.theme import LIGHT

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    f"color:{LIGHT.text};background:{LIGHT.background}}}"
    "h1{font-size:1.6rem;line-height:1.2;margin:.2rem 0}"
    f"small,.key{{color:{LIGHT.muted};font-size:.875rem}}"
    "i{display:inline-block;width:1.2em;height:.8em;margin:0 .3em}"
)


def document(recording: Recording, prediction: Prediction, attribution: Attribution, voice: Voice) -> bytes:
    """The file, UTF-8. It holds no sound; names and sentences are escaped."""
    figure = attribution_charts.regions(attribution, voice, LIGHT)
    chart = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        config={name: value for name, value in attribution_charts.REGIONS_CONFIG.items() if name != "showLink"},
        div_id="regions",
    )
    sentences = [reason.sentence for reason in attribution_words.reasons(attribution)]
    sentences = sentences or [attribution_words.nothing_stands_out(attribution)]
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    limits = "".join(f"<p><small>{escape(sentence)}</small></p>" for sentence in attribution_words.LIMITS)
    heading = f"{words.verdict_lead(prediction)}: {words.verdict(prediction)}"
    about = attribution_words.question(attribution.emotion, attribution.contrast)
    provenance = attribution_words.provenance(attribution).replace("**", "")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(about)} {escape(recording.name)}</title><style>{STYLE}</style></head><body>"
        f"<small>Telepathy · {escape(recording.name)}</small><h1>{escape(heading)}</h1><p>{escape(about)}</p>"
        f'<p class="key"><i style="background:{LIGHT.speaks_for}"></i>speaks for it (+)'
        f'<i style="background:{LIGHT.speaks_against}"></i>speaks against it (\u2212) · numbers in nats of log-odds: '
        f"+0.7 doubles the odds</p>{chart}<ul>{said}</ul><p>{escape(attribution_words.odds_sentence(attribution))}</p>"
        f"{limits}<p><small>{escape(provenance)}</small></p></body></html>"
    ).encode()
