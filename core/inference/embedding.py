"""What a model's encoder says of a whole recording: what a head learns from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.config import Settings
from core.features.audio import DecodeLimits, decode
from core.features.speech import speech_span
from core.features.waveform import Waveform
from core.features.windows import sliding_windows
from core.inference.recogniser import Recogniser


def embed_recording(recogniser: Recogniser, data: bytes, *, settings: Settings) -> NDArray[np.float32]:
    """Embedding (n_dims,) of one recording, as it would be judged.

    Of one longer than the encoder takes at once it is the mean over its windows.

    Raises
    ------
    AudioError
        It cannot be used.
    """
    return embed_waveform(
        recogniser, decode(data, limits=DecodeLimits.from_settings(settings)).waveform, settings=settings
    )


def embed_waveform(recogniser: Recogniser, waveform: Waveform, *, settings: Settings) -> NDArray[np.float32]:
    """As `embed_recording`, of a recording that is decoded."""
    start, end = speech_span(waveform)
    if end - start <= recogniser.parameters.max_context_s * waveform.sample_rate:
        return recogniser.embed_speech(waveform)
    rate = waveform.sample_rate
    bounds = sliding_windows(waveform.duration_s, window_s=settings.window_s, hop_s=settings.hop_s)
    parts = [
        recogniser.embed_speech(
            Waveform(samples=waveform.samples[round(begin * rate) : round(stop * rate)], sample_rate=rate)
        )
        for begin, stop in bounds
    ]
    mean: NDArray[np.float32] = np.mean(parts, axis=0, dtype=np.float32)
    return mean
