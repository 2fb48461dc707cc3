"""Domain objects for tests, whole and plausible; every field can be given."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import replace
from datetime import UTC, datetime

from core.domain import (
    NOBODY,
    AudioFormat,
    Bandwidth,
    Emotion,
    Interval,
    Prediction,
    Quality,
    QualityNote,
    Recording,
    Segment,
    Source,
    TimelineWindow,
    Uncertainty,
    UsageEvent,
)
from core.identifiers import new_id

_random = random.Random(0)


def make_recording(content: str | None = None, **given: object) -> Recording:
    """A recording of `content`, or of content no other has."""
    recording_id = new_id()
    sha256 = hashlib.sha256((content or str(recording_id)).encode()).hexdigest()
    recording = Recording(
        id=recording_id,
        owner_id=NOBODY,
        sha256=sha256,
        name="Größe 1.wav",
        size_bytes=160_044,
        duration_s=5.0,
        format=AudioFormat(
            container="wav", codec="pcm_s16le", sample_rate_hz=44_100, n_channels=2, warnings=("The end is missing.",)
        ),
        source=Source.UPLOAD,
        created_at=datetime.now(UTC),
    )
    return replace(recording, **given)


def make_probabilities(emotion: Emotion = Emotion.HAPPY, confidence: float = 0.6) -> dict[Emotion, float]:
    """Probabilities with `emotion` on top; the others share the rest unevenly, in digits that test exactness."""
    weights = {other: _random.random() * 0.2 + 0.9 for other in Emotion if other is not emotion}
    total = sum(weights.values())
    rest = {other: (1 - confidence) * weight / total for other, weight in weights.items()}
    return {each: confidence if each is emotion else rest[each] for each in Emotion}


def make_prediction(
    recording: Recording, *, emotion: Emotion = Emotion.HAPPY, confidence: float = 0.6, **given: object
) -> Prediction:
    """A prediction about `recording`, with two windows and two segments."""
    probabilities = make_probabilities(emotion, confidence)
    entropy = -sum(p * math.log(p) for p in probabilities.values() if p > 0)
    prediction = Prediction(
        id=new_id(),
        recording_id=recording.id,
        model_version="telepathy-0123456789ab",
        probabilities=probabilities,
        standard_deviations={each: p / 7 for each, p in probabilities.items()},
        intervals={each: Interval(low=p * 0.9, high=min(1.0, p * 1.1)) for each, p in probabilities.items()},
        uncertainty=Uncertainty(
            predictive_entropy_nats=entropy, expected_entropy_nats=entropy * 0.9, mutual_information_nats=entropy * 0.1
        ),
        abstained=confidence < 0.4,
        n_passes=30,
        quality=Quality(
            peak_dbfs=-3.1,
            rms_dbfs=-21.7,
            clipping_share=0.0,
            speech_ratio=0.81,
            snr_db=23.4,
            bandwidth=Bandwidth.WIDE,
            bandwidth_hz=7312.5,
            notes=(QualityNote(code="noisy", sentence="Noise is loud: trust this less «maybe» 嗎?"),),
        ),
        segments=(
            Segment(start_s=0.0, end_s=3.0, emotion=emotion, confidence=confidence),
            Segment(start_s=3.0, end_s=5.0, emotion=None, confidence=0.0),
        ),
        windows=(
            TimelineWindow(
                start_s=0.0, end_s=3.0, probabilities=probabilities, speech_ratio=0.9, predictive_entropy_nats=entropy
            ),
            TimelineWindow(start_s=2.0, end_s=5.0, probabilities={}, speech_ratio=0.0, predictive_entropy_nats=0.0),
        ),
        duration_s=5.0,
        latency_ms=31.25,
        source=recording.source,
        created_at=datetime.now(UTC),
    )
    return replace(prediction, **given)


def make_usage_event(**given: object) -> UsageEvent:
    """A prediction asked for over HTTP and answered."""
    event = UsageEvent(
        id=new_id(),
        at=datetime.now(UTC),
        user_id=None,
        key_id=None,
        plan=None,
        route="/api/v1/predict",
        method="POST",
        status=200,
        duration_ms=41.5,
        n_predictions=1,
        audio_s=5.0,
        emotion=Emotion.HAPPY,
        confidence=0.6,
        model_version="telepathy-0123456789ab",
        request_id=new_id().hex,
        address="192.0.2.0/24",
    )
    return replace(event, **given)
