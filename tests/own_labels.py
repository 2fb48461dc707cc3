"""Models and predictions for tests with labels that are none of the eight emotions."""

from __future__ import annotations

from pathlib import Path

from core.domain import Emotion, Interval, OwnLabel, Prediction, Recording, Segment, TimelineWindow
from tests.bundles import copy_of_tiny
from tests.factories import make_prediction

BORED, EXCITED = OwnLabel("bored"), OwnLabel("excited")
LABELS = ["bored", "excited", "tired", "keen", "angry", "mild", "loud", "soft"]
"""As many as the tiny model says; one of them is an emotion."""


def own_model(models_dir: Path, name: str = "moods") -> Path:
    """The tiny model under other labels."""
    return copy_of_tiny(
        models_dir,
        name,
        change=lambda card: card.update(version=card["version"].replace("tiny", name), emotions=LABELS),
    )


def make_own_prediction(recording: Recording, *, bored: float = 0.5, **given: object) -> Prediction:
    """A prediction of bored, excited and angry, with a timeline."""
    probabilities = {Emotion.ANGRY: 0.125, BORED: bored, EXCITED: 0.875 - bored}
    top = max(probabilities, key=lambda label: probabilities[label])
    return make_prediction(
        recording,
        probabilities=probabilities,
        standard_deviations=dict.fromkeys(probabilities, 0.01),
        intervals={label: Interval(low=0.9 * share, high=share) for label, share in probabilities.items()},
        windows=tuple(
            TimelineWindow(
                start_s=float(start),
                end_s=start + 3.0,
                probabilities=probabilities,
                speech_ratio=0.9,
                predictive_entropy_nats=0.9,
            )
            for start in range(8)
        ),
        segments=(Segment(start_s=0.0, end_s=8.0, emotion=top, confidence=max(probabilities.values())),),
        model_version="moods-0123456789ab",
        **given,
    )
