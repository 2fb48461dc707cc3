"""What an explanation needs beside the attribution: the voice in the stretch explained, to be drawn and compared.

Importing this loads Praat (30 MB): import it where something is explained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.errands import Progress
from core.features.audio import DecodeLimits, decode
from core.features.overview import Overview, overview
from core.features.prosody import (
    MIN_DURATION_S,
    Prosody,
    ProsodyContours,
    measure_speech_prosody,
    prosody_contours,
)
from core.features.waveform import Waveform
from core.inference.attribution import Stretch
from core.workbench import Workbench


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voice:
    """One stretch of a recording, seen and measured. All times are seconds from the start of the recording."""

    window: Stretch
    seen: Overview
    contours: ProsodyContours
    prosody: Prosody
    """Of the stretch without the silence at its ends."""


def look_at_voice(workbench: Workbench, data: bytes, *, window: Stretch, n_columns: int, progress: Progress) -> Voice:
    """Decode a recording and look at its `window`, in at most `n_columns` columns; in the calling thread.

    Raises
    ------
    AudioError
        The recording cannot be used.
    """
    progress(0.0, "Decoding")
    waveform = decode(data, limits=DecodeLimits.from_settings(workbench.settings)).waveform
    part = _cut(waveform, window)
    progress(0.2, "Drawing the sound")
    seen = overview(part, n_columns=n_columns)
    progress(0.4, "Measuring pitch and loudness")
    contours = prosody_contours(part)
    progress(0.7, "Measuring the voice")
    return Voice(
        window=window,
        seen=replace(
            seen,
            times_s=seen.times_s + window.start_s,
            log_mel_times_s=seen.log_mel_times_s + window.start_s,
        ),
        contours=replace(
            contours,
            time_s=contours.time_s + window.start_s,
            syllable_times_s=contours.syllable_times_s + window.start_s,
            pauses_s=contours.pauses_s + window.start_s,
        ),
        prosody=measure_speech_prosody(part),
    )


def measure_recording(workbench: Workbench, data: bytes, *, progress: Progress) -> Prosody:
    """Decode a recording and measure its speech; in the calling thread. Raises like `look_at_voice`."""
    progress(0.0, "Measuring the voice")
    return measure_speech_prosody(decode(data, limits=DecodeLimits.from_settings(workbench.settings)).waveform)


def _cut(waveform: Waveform, window: Stretch) -> Waveform:
    """The samples of `window`, and never fewer than can be measured."""
    rate = waveform.sample_rate
    first = max(0, min(round(window.start_s * rate), waveform.samples.size - round(MIN_DURATION_S * rate)))
    last = max(round(window.end_s * rate), first + round(MIN_DURATION_S * rate))
    return Waveform(samples=waveform.samples[first:last], sample_rate=rate)
