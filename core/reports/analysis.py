"""One recording's analysis as a document: one HTML file that opens without internet and prints well, or PDF.

A report is a heading and parts. This module knows what the facts, the probabilities and the model are; sentences that
interpret, and figures, are handed in by whoever draws (`pages/parts/report_document.py`). All text is escaped here;
figures are markup of our own and go in as they are. `analysis_pdf` writes the same parts as PDF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, TypeAlias

from core.domain import AudioFormat, Label, ModelCard, Prediction, Recording
from core.inference.model_scores import Measured, ModelScores

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing  # half a second that only PDF reports need

    from core.reports.fonts import Fonts

STYLE = """
:root{--text:#23262E;--muted:#5E6470;--line:#E4E1DA}
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
body{color:var(--text);background:#fff}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0}
h2{font-size:1.2rem;margin:2rem 0 .4rem;border-top:1px solid var(--line);padding-top:1rem}
h1,p,li,dd,small{overflow-wrap:anywhere}
small,.key,.note{color:var(--muted);font-size:.875rem}
.key i{display:inline-block;width:1.2em;height:.8em;margin:0 .3em}
.figure,.table{overflow-x:auto}
.figure{max-width:680px}
table{border-collapse:collapse;width:100%;font-size:.925rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
dl{display:grid;grid-template-columns:minmax(8rem,auto) 1fr;gap:.15rem 1rem;margin:0}
dt{color:var(--muted)}dd{margin:0}
@page{size:A4;margin:16mm}
@media print{
body{max-width:none;margin:0;padding:0;font-size:10.5pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
h2{break-after:avoid}
.figure,tr,li,dl{break-inside:avoid}
.figure,.table{overflow:visible}
}
""".strip()
# Figures are 680 pixels wide at most, which fits a sheet of A4 between its margins, and as narrow as a phone.


Drawer: TypeAlias = "Callable[[Fonts, float], Drawing]"
"""Draws a figure in these fonts, as wide as this many points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One section of a report; whatever it lacks is left out."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    """Name and value."""
    figure: str = ""
    """Markup of our own, not escaped."""
    drawing: Drawer | None = None
    """The figure as vectors, for PDF."""
    sentences: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    """In small print."""


def write_report(*, name: str, heading: str, lead: Sequence[str], parts: Iterable[Part]) -> bytes:
    """The document, UTF-8.

    Parameters
    ----------
    name
        Of the recording, as its sender called it.
    heading
        The answer in one line.
    lead
        Sentences below it.
    """
    body = "".join(f"<p>{escape(sentence)}</p>" for sentence in lead) + "".join(map(_part, parts))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(name)}: {escape(heading)}</title><style>{STYLE}</style></head><body>"
        f"<small>Telepathy · {escape(name)}</small><h1>{escape(heading)}</h1>{body}</body></html>"
    ).encode("utf-8", "replace")


def recording_part(recording: Recording, prediction: Prediction, *, heard_at: str) -> Part:
    """What the recording is, and how good.

    Parameters
    ----------
    heard_at
        When the answer was given, at the reader's clock.
    """
    quality, form = prediction.quality, recording.format
    return Part(
        title="The recording",
        facts=(
            ("Name", recording.name),
            ("Length", f"{recording.duration_s:.1f} s"),
            ("Format", _format(form)),
            ("Size", f"{recording.size_bytes:,} bytes"),
            ("SHA-256", recording.sha256),
            ("Analysed", heard_at),
            ("Speech", f"{quality.speech_ratio:.0%} of the recording"),
            ("Level", f"peak {quality.peak_dbfs:.0f} dBFS, average {quality.rms_dbfs:.0f} dBFS"),
            ("Speech above noise", f"{quality.snr_db:.0f} dB"),
            ("Reaches up to", f"{quality.bandwidth_hz / 1000:.1f} kHz"),
        ),
        sentences=tuple(note.sentence for note in quality.notes) + form.warnings,
    )


def probabilities_part(
    prediction: Prediction, *, figure: str, drawing: Drawer | None = None, notes: Sequence[str] = ()
) -> Part:
    """How likely each emotion is, with the spread of the passes and where doubt comes from."""
    doubt = prediction.uncertainty
    return Part(
        title="How likely each emotion is",
        figure=figure,
        drawing=drawing,
        columns=("Emotion", "Probability", "90 % of the passes", "Standard deviation"),
        rows=tuple(_probability_row(prediction, emotion) for emotion in _ranked(prediction)),
        sentences=(
            f"Doubt in all {doubt.predictive_entropy_nats:.2f} nats (predictive entropy): "
            f"{doubt.expected_entropy_nats:.2f} in the recording (expected entropy) and "
            f"{doubt.mutual_information_nats:.2f} in the model (mutual information).",
        ),
        notes=tuple(notes),
    )


def timeline_part(prediction: Prediction, *, figure: str) -> Part:
    """What is heard when."""
    return Part(
        title="What is heard when",
        figure=figure,
        columns=("From", "To", "Emotion", "Mean probability") if prediction.segments else (),
        rows=tuple(
            (
                f"{segment.start_s:.1f}\u00a0s",
                f"{segment.end_s:.1f}\u00a0s",
                segment.emotion.value if segment.emotion else "nobody speaks",
                f"{segment.confidence:.0%}" if segment.emotion else "",
            )
            for segment in prediction.segments
        ),
    )


def model_part(prediction: Prediction, card: ModelCard | None, scores: ModelScores | None) -> Part:
    """Which model answered, how well it does and by which protocol that was measured."""
    facts: list[tuple[str, str]] = [("Version", prediction.model_version), ("Passes", str(prediction.n_passes))]
    if card is not None:
        facts += [("What it is", card.description), ("Terms", card.licence), ("Made", f"{card.created_at:%-d %B %Y}")]
    found = scores.scores if scores is not None else ()
    missing = () if card is not None else ("This model is no longer at hand, so its card cannot be shown.",)
    return Part(
        title="The model, and how far to trust it",
        facts=tuple(facts),
        columns=("Judged on", "Recordings", "Speakers", "Right (95 %)", "Mean recall (95 %)", "Calibration error")
        if found
        else (),
        rows=tuple(
            (
                f"{score.title}: {score.protocol}",
                f"{score.n_recordings:,}",
                f"{score.n_speakers:,}",
                _interval(score.accuracy),
                _interval(score.unweighted_average_recall),
                "" if score.expected_calibration_error is None else f"{score.expected_calibration_error:.3f}",
            )
            for score in found
        ),
        sentences=missing + (scores.caveats if scores is not None else ()),
        notes=(scores.protocol,) if scores is not None and scores.protocol else (),
    )


def _format(form: AudioFormat) -> str:
    """`WAV, pcm_s16le, 44,100 Hz, stereo`; a codec of the container's own name is not said twice."""
    codec = "" if form.codec.lower() == form.container.lower() else f"{form.codec}, "
    channels = {1: "mono", 2: "stereo"}.get(form.n_channels, f"{form.n_channels} channels")
    return f"{form.container.upper()}, {codec}{form.sample_rate_hz:,} Hz, {channels}"


def _ranked(prediction: Prediction) -> list[Label]:
    return sorted(prediction.probabilities, key=lambda emotion: -prediction.probabilities[emotion])


def _probability_row(prediction: Prediction, emotion: Label) -> tuple[str, ...]:
    interval = prediction.intervals[emotion]
    return (
        emotion.value,
        f"{prediction.probabilities[emotion]:.1%}",
        f"{interval.low:.1%} to {interval.high:.1%}",
        f"{prediction.standard_deviations[emotion]:.3f}",
    )


def _interval(measured: Measured) -> str:
    return f"{measured.value:.1%} ({measured.low:.1%} to {measured.high:.1%})"


def _part(part: Part) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in part.facts)
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in part.sentences)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in part.notes)
    return "".join(
        (
            f"<section><h2>{escape(part.title)}</h2>",
            f"<dl>{facts}</dl>" if facts else "",
            f'<div class="figure">{part.figure}</div>' if part.figure else "",
            f"<ul>{sentences}</ul>" if sentences else "",
            _table(part) if part.rows else "",
            notes,
            "</section>",
        )
    )


def _table(part: Part) -> str:
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in part.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows)
    return f'<div class="table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
