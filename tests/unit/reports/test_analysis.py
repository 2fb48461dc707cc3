"""A report says what is known of one recording, escapes what others wrote, and asks nobody for anything."""

from __future__ import annotations

import re

from core.config import Settings
from core.domain import Emotion
from core.inference.model_scores import Measured, ModelScore, ModelScores, read_model_scores
from core.inference.registry import list_models
from core.reports.analysis import (
    Part,
    model_part,
    probabilities_part,
    recording_part,
    timeline_part,
    write_report,
)
from tests.bundles import TINY
from tests.factories import make_prediction, make_recording

SCORES = ModelScores(
    protocol="Heads fitted inside each split.",
    scores=(
        ModelScore(
            title="Unseen speakers",
            protocol="grouped folds",
            n_recordings=5778,
            n_speakers=44,
            accuracy=Measured(value=0.55, low=0.54, high=0.57),
            unweighted_average_recall=Measured(value=0.54, low=0.52, high=0.56),
            expected_calibration_error=0.031,
        ),
    ),
    caveats=("All recordings are acted.",),
)


def report(recording, prediction, **given):
    parts = [
        recording_part(recording, prediction, heard_at="1 Nov 2026, 12:00"),
        probabilities_part(prediction, figure="<svg></svg>", notes=("A note.",)),
        timeline_part(prediction, figure=""),
        model_part(prediction, list_models(TINY.parent)[0], given.get("scores", SCORES)),
    ]
    return write_report(name=recording.name, heading="We hear: happy", lead=("Next comes sad.",), parts=parts).decode()


def test_facts_probabilities_doubt_timeline_and_the_models_protocol_are_all_there():
    recording = make_recording(name="call 1.wav")
    prediction = make_prediction(recording, emotion=Emotion.HAPPY, confidence=0.6)
    text = report(recording, prediction)
    for said in (
        "call 1.wav",
        "We hear: happy",
        recording.sha256,
        "The end is missing.",
        "60.0%",
        "mutual information",
        prediction.model_version,
        "Unseen speakers: grouped folds",
        "55.0% (54.0% to 57.0%)",
        "All recordings are acted.",
        "Heads fitted inside each split.",
    ):
        assert said in text, said
    assert all(emotion.value in text for emotion in Emotion)
    assert all(f"{segment.start_s:.1f}\u00a0s" in text for segment in prediction.segments)


def test_what_others_wrote_is_text_and_never_markup():
    recording = make_recording(name='<script>alert("x")</script>.wav')
    text = report(recording, make_prediction(recording))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 3


def test_a_name_that_no_file_can_hold_does_not_stop_the_report():
    recording = make_recording(name="lone \udcff.wav")
    assert "lone ?.wav" in report(recording, make_prediction(recording))


def test_it_asks_for_nothing_from_anywhere():
    recording = make_recording()
    text = report(recording, make_prediction(recording))
    assert not re.findall(r'(?:src|href)="(?!data:)|@import|url\(', text)


def test_it_knows_paper():
    recording = make_recording()
    text = report(recording, make_prediction(recording))
    assert "@page" in text
    assert "@media print" in text


def test_a_model_that_is_gone_is_said_to_be_gone():
    part = model_part(make_prediction(make_recording()), None, None)
    assert part.sentences == ("This model is no longer at hand, so its card cannot be shown.",)
    assert part.rows == ()


def test_a_part_leaves_out_what_it_lacks():
    text = write_report(name="a", heading="b", lead=(), parts=[Part(title="Only this")]).decode()
    assert "<section><h2>Only this</h2></section>" in text


def test_scores_of_the_shipped_card_come_with_their_protocols():
    settings = Settings()
    scores = read_model_scores(settings.models_dir / settings.model)
    assert scores.caveats
    assert all(score.protocol and 0 < score.accuracy.low <= score.accuracy.high < 1 for score in scores.scores)
    assert max(score.n_recordings for score in scores.scores) > 1000


def test_a_card_without_scores_has_none():
    assert read_model_scores(TINY) == ModelScores(protocol="", scores=(), caveats=())
