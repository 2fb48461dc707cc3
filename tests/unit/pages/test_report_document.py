"""The report of one recording: with reasons and without, whole and safe."""

from __future__ import annotations

from datetime import UTC
from io import BytesIO

from pypdf import PdfReader

from core.domain import Emotion
from core.errors import BusyError
from pages.parts import explanation_report
from pages.parts.explanation import Regions
from pages.parts.report_document import report
from tests.attributions import make_attribution, make_voice
from tests.factories import make_prediction, make_recording

NAME = "<script>alert(1)</script>.wav"


def made(explanation=()):
    recording = make_recording(name=NAME)
    prediction = make_prediction(recording, emotion=Emotion.ANGRY)
    return report(
        recording, prediction, card=None, scores=None, seen=make_voice().seen, explanation=explanation, zone=UTC
    ).decode()


def printed(explanation=()):
    """The pages of the PDF, as text."""
    recording = make_recording(name=NAME)
    file = report(
        recording,
        make_prediction(recording, emotion=Emotion.ANGRY),
        card=None,
        scores=None,
        seen=None,
        explanation=explanation,
        zone=UTC,
        is_pdf=True,
    )
    return " ".join(" ".join(page.extract_text().split()) for page in PdfReader(BytesIO(file)).pages)


def explained(contrast):
    found = Regions(attribution=make_attribution(), voice=make_voice())
    return explanation_report.parts(found, (), None, contrast=contrast)


def against_calm():
    return make_attribution(contrast=Emotion.CALM)


def test_without_reasons_it_holds_the_sound_and_the_probabilities_as_charts():
    text = made()
    assert 'id="probabilities"' in text
    assert 'id="sound"' in text
    assert "Which parts of the sound" not in text
    assert text.count("plotly.js v") == 1


def test_with_reasons_it_holds_the_heat_map_and_why_not_the_runner_up():
    text = made(explained(against_calm))
    assert 'id="regions"' in text
    assert "Why angry? Which parts of the sound" in text
    assert "Why angry and not calm?" in text
    assert text.count("plotly.js v") == 1


def test_name_of_the_file_is_no_markup():
    assert "<script>alert(1)" not in made(explained(against_calm))


def test_a_model_too_busy_for_the_contrast_costs_that_part_alone():
    def busy():
        raise BusyError(n_waiting=9, retry_after_s=1)

    text = made(explained(busy))
    assert "This could not be found out now." in text
    assert "Why angry? Which parts of the sound" in text


def test_pdf_with_reasons_holds_the_heat_map_its_words_and_why_not_the_runner_up():
    text = printed(explained(against_calm))
    for said in (
        "Why angry? Which parts of the sound",
        "+ speaks for angry",
        "+1.0",
        "The stretch 0.5 to 1.0 s speaks most for angry (+1.20 nats)",
        "Why angry and not calm?",
        "Model tiny-0123456789ab",
        "Page 1 of",
    ):
        assert said in text
    assert "<script>alert(1)</script>.wav" in text


def test_pdf_without_reasons_holds_the_answer_alone():
    text = printed()
    assert "How likely each emotion is" in text
    assert "60.0 %" in text
    assert "speaks for" not in text
