"""Many files in, many answers out: the way that the workbench goes with one, without a store, in groups."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.config import Settings
from core.domain import Quality
from core.errors import AudioError
from core.features.audio import DecodedAudio, DecodeLimits, decode
from core.features.quality import measure_quality
from core.features.speech import speech_activity
from core.inference.recogniser import Recogniser, Recognition

GROUP = 32
"""Files that are heard together: their passes run in few calls of the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one file turned out to be, and what was heard in it."""

    audio: DecodedAudio
    quality: Quality
    recognition: Recognition
    latency_ms: float
    """Its own decoding and quality, and its share of what the group took to recognise."""


def hear_many(
    files: Sequence[bytes],
    *,
    recogniser: Recogniser,
    settings: Settings,
    n_passes: int,
    timeline: bool | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> list[Heard | AudioError]:
    """Decode, measure and recognise each file, in the calling thread; the same numbers as one by one.

    One file that cannot be used gives its error in its place and loses none of the others. Asks `is_stopping` before
    each; once it says so, the rest is left out, so that the list is shorter than `files`.
    """
    limits = DecodeLimits.from_settings(settings)
    results: dict[int, Heard | AudioError] = {}
    ready: dict[int, tuple[DecodedAudio, Quality, float]] = {}
    activities: list[NDArray[np.bool_]] = []
    for index, data in enumerate(files):
        if is_stopping():
            break
        started_s = time.perf_counter()
        try:
            audio = decode(data, limits=limits)
        except AudioError as error:
            results[index] = error
            continue
        activities.append(speech_activity(audio.waveform))
        quality = measure_quality(
            audio.waveform,
            source_sample_rate_hz=audio.format.sample_rate_hz,
            clipping_share=audio.clipping_share,
            activity=activities[-1],
        )
        ready[index] = (audio, quality, time.perf_counter() - started_s)
    started_s = time.perf_counter()
    recognitions = recogniser.recognise_many(
        [audio.waveform for audio, _, _ in ready.values()],
        activities=activities,
        n_passes=n_passes,
        seed=settings.seed,
        window_s=settings.window_s,
        hop_s=settings.hop_s,
        abstention_confidence=settings.abstention_confidence,
        timeline=timeline,
        is_stopping=is_stopping,
    )
    share_s = (time.perf_counter() - started_s) / max(1, len(recognitions))
    if len(recognitions) < len(ready):  # stopped: later files, heard or refused, wait for another time
        unheard = list(ready)[len(recognitions)]
        results = {index: result for index, result in results.items() if index < unheard}
    for (index, (audio, quality, own_s)), recognition in zip(ready.items(), recognitions, strict=False):
        latency_ms = (own_s + share_s) * 1e3
        results[index] = Heard(audio=audio, quality=quality, recognition=recognition, latency_ms=latency_ms)
    return [results[index] for index in sorted(results)]


def fingerprint(
    sha256: str, *, model_version: str, settings: Settings, n_passes: int, timeline: bool | None = None
) -> str:
    """What an answer depends on, as one hash: the same content, model version and settings give the same answer."""
    parts = [
        *(sha256, model_version, n_passes, timeline),
        *(settings.seed, settings.window_s, settings.hop_s, settings.abstention_confidence),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
