"""One answer in full: the verdict in words, the sound, the probabilities, the doubt, the quality of the recording."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import streamlit as st

from core.domain import Emotion, Prediction, Recording, in_order, own_labels
from core.workbench import Workbench
from pages.parts import charts, deleting, playhead, question, report_document, session, words
from pages.parts.players import player
from pages.parts.theme import EMOTION_COLOURS, EMOTION_SIGNS, colours_of, sign_of, surface


def show(
    workbench: Workbench,
    recording: Recording,
    prediction: Prediction,
    *,
    prefix: str,
    on_deleted: Callable[[], None] = lambda: None,
) -> None:
    """Draw `prediction` about `recording`; keys of widgets begin with `prefix`.

    `on_deleted` is called when the reader has deleted the recording, for whoever remembers it.
    """
    shades = surface()
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.html(verdict(recording, prediction))
        with st.container(key=f"{prefix}_player"):
            is_audible = player(workbench, recording)
        for note in prediction.quality.notes:
            st.warning(note.sentence, icon=":material/hearing:")
        for warning in recording.format.warnings:
            st.warning(warning, icon=":material/content_cut:")
        st.page_link(
            "explain.py",
            label="Explain this answer",
            icon=":material/lightbulb:",
            query_params=question.link_to(prediction.id),
        )
    with right:
        probabilities(prediction, key=f"{prefix}_probabilities")
    if is_audible:
        _heading("What it sounds like", help=_sound_help(prediction))
        st.plotly_chart(
            charts.sound(session.picture(workbench, recording.sha256), prediction, shades),
            key=f"{prefix}_sound",
            config=charts.CONFIG,
            alt=_sound_in_words(prediction),
        )
        playhead.follow(player=f"{prefix}_player", chart=f"{prefix}_sound", key=f"{prefix}_playhead")
    doubt, quality = st.columns(2, gap="large")
    with doubt:
        _uncertainty(prediction)
    with quality:
        _quality(prediction)
    _provenance(workbench, recording, prediction)
    report, deletion = st.columns([5, 6], gap="large")
    with report:
        report_document.offer(workbench, recording, prediction, key=f"{prefix}_report")
    with deletion:
        deleting.offer(workbench, recording, prefix=prefix, on_deleted=on_deleted)


def probabilities(prediction: Prediction, *, key: str) -> None:
    """The probability of each emotion, with the range of the passes."""
    what = "label" if own_labels(prediction.probabilities) else "emotion"
    _heading(f"How likely each {what} is", help=words.INTERVAL_HELP)
    st.plotly_chart(
        charts.probabilities(prediction, surface()),
        key=key,
        config=charts.CONFIG,
        alt=_probabilities_in_words(prediction),
    )


def legend() -> None:
    """The eight emotions, each with its sign and colour."""
    items = "".join(
        f'<span role="listitem"><span class="telepathy-sign" style="color:{EMOTION_COLOURS[emotion]}">'
        f"{EMOTION_SIGNS[emotion]}</span>{emotion}</span>"
        for emotion in Emotion
    )
    st.html(f'<div class="telepathy-legend" role="list" aria-label="The eight emotions">{items}</div>')


def verdict(recording: Recording, prediction: Prediction) -> str:
    """The answer as a heading with the emotion's sign in its colour; names of files are escaped."""
    first, second, *_ = words.ranked(prediction)
    shown = (first, second) if prediction.abstained else (first,)
    colours = colours_of(in_order(prediction.probabilities))
    signs = "".join(
        f'<span class="telepathy-sign" style="color:{colours[emotion]}">{sign_of(emotion)}</span>' for emotion in shown
    )
    sentences = f"{words.runner_up(prediction)} {words.doubt(prediction.uncertainty)}"
    return (
        f'<section class="telepathy-verdict" aria-label="Verdict">'
        f'<p class="telepathy-name">{escape(recording.name)}</p>'
        f'<p class="telepathy-lead">{words.verdict_lead(prediction)}:</p>'
        f"<h2>{signs} {escape(words.verdict(prediction))}</h2>"
        f"<p>{escape(sentences)}</p>"
        f"</section>"
    )


def _heading(text: str, *, help: str | None = None) -> None:
    st.markdown(f"##### {text}", help=help, anchors=False)


def _probabilities_in_words(prediction: Prediction) -> str:
    parts = [
        f"{emotion} {words.percent(prediction.probabilities[emotion])} "
        f"({words.percent(prediction.intervals[emotion].low)} to {words.percent(prediction.intervals[emotion].high)})"
        for emotion in words.ranked(prediction)
    ]
    return "Probability of each emotion: " + ", ".join(parts) + "."


def _sound_in_words(prediction: Prediction) -> str:
    parts = [
        f"{words.clock(segment.start_s)} to {words.clock(segment.end_s)} {segment.emotion or 'nobody speaks'}"
        for segment in prediction.segments
    ]
    what = "Waveform and spectrogram of the recording"
    return f"{what}. Segments: {', '.join(parts)}." if parts else f"{what}."


def _sound_help(prediction: Prediction) -> str:
    pale = "where nobody speaks" if charts.is_long(prediction) else "if we are not sure"
    text = (
        f"Above, the loudness of the voice, in the colour of the emotion we hear there; pale {pale}. "
        "Below it, the spectrogram: which pitches are loud when. Click anywhere to listen from there."
    )
    if charts.is_long(prediction):
        text += (
            " At the bottom, how likely each emotion is over time: the recording is judged in overlapping "
            "windows. Drag across the chart to look closer, double-click to see all of it again."
        )
    return text


def _uncertainty(prediction: Prediction) -> None:
    _heading("Where doubt comes from", help="All in nats, the natural unit of information. Recording + model = total.")
    uncertainty = prediction.uncertainty
    with st.container(horizontal=True, gap="small"):
        _figure("In total", f"{uncertainty.predictive_entropy_nats:.2f} nats", words.UNCERTAINTY_HELP)
        _figure("Recording", f"{uncertainty.expected_entropy_nats:.2f} nats", words.RECORDING_DOUBT_HELP)
        _figure("Model", f"{uncertainty.mutual_information_nats:.2f} nats", words.MODEL_DOUBT_HELP)


def _quality(prediction: Prediction) -> None:
    _heading("How good the recording is")
    quality = prediction.quality
    with st.container(horizontal=True, gap="small"):
        _figure("Peak", f"{words.decibels(quality.peak_dbfs)} dBFS", words.LOUDNESS_HELP)
        _figure("Speech", words.percent(quality.speech_ratio), words.SPEECH_HELP)
        _figure("Clarity", f"{words.decibels(quality.snr_db)} dB", words.NOISE_HELP)
        _figure("Reaches", f"{quality.bandwidth_hz / 1000:.1f} kHz", words.BANDWIDTH_HELP)


def _figure(label: str, value: str, help: str) -> None:
    st.metric(label, value, help=help, width=88)


def _provenance(workbench: Workbench, recording: Recording, prediction: Prediction) -> None:
    """Which model said this, what it learnt from, and by which way: no number stands without it."""
    card = session.cards(workbench, str(workbench.settings.models_dir)).get(prediction.model_version)
    by_which_way = (
        f"Model **{prediction.model_version}**",
        f"mean of {prediction.n_passes} passes",
        f"answered in {words.duration(prediction.latency_ms / 1e3, exact=True)}",
        words.when(prediction.created_at, session.zone()),
        words.origin(recording, prediction.source),
    )
    st.caption(" · ".join(by_which_way))
    if card is None:
        st.caption("This model is no longer at hand, so its card cannot be shown.")
    else:
        st.caption(f"{card.description} Terms: {card.licence}.")
