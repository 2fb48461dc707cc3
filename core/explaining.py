"""What an explanation needs beside the attribution: the voice in the stretch explained, to be drawn and compared.

Importing this loads Praat (30 MB): import it where something is explained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.errands import Progress
from core.errors import InvalidParameterError, SurrogateMismatchError, SurrogateNotFoundError
from core.features.audio import DecodeLimits, decode
from core.features.overview import Overview, overview
from core.features.prosody import (
    MIN_DURATION_S,
    Prosody,
    ProsodyContours,
    measure_speech_prosody,
    prosody_contours,
)
from core.features.prosody_reference import (
    Deviation,
    ProsodyReference,
    compare_prosody,
    describe_deviation,
    read_references,
)
from core.features.waveform import Waveform
from core.inference.attribution import Attribution, Stretch
from core.inference.surrogate import ProsodyAttribution, describe_attribution, explain_prosody, open_surrogate
from core.workbench import Workbench


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voice:
    """One stretch of a recording, seen and measured. All times are seconds from the start of the recording."""

    window: Stretch
    seen: Overview
    contours: ProsodyContours
    prosody: Prosody
    """Of the stretch without the silence at its ends."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VoiceReasons:
    """What the voice in the stretch explained does, and what a surrogate makes of it."""

    contours: ProsodyContours
    reference: ProsodyReference
    deviations: tuple[Deviation, ...]
    deviation_sentences: tuple[str, ...]
    """One for each of `deviations`."""
    surrogate: ProsodyAttribution | None
    surrogate_sentences: tuple[str, ...]
    surrogate_missing: str
    """Why there is no surrogate; empty where there is one."""


def explain_voice(
    workbench: Workbench,
    data: bytes,
    attribution: Attribution,
    *,
    model: str | None = None,
    reference: str | None = None,
) -> VoiceReasons:
    """The acoustic side of `attribution`, which is about the recording `data`; in the calling thread.

    Parameters
    ----------
    model
        Name of the model that was explained; None for that of the settings.
    reference
        Name of the voices to compare with; None for the first of `read_references`.

    Raises
    ------
    InvalidParameterError
        No reference has this name.
    AudioError
        The recording cannot be used.
    """
    by_name = {each.name: each for each in read_references()}
    name = next(iter(by_name)) if reference is None else reference
    if name not in by_name:
        raise InvalidParameterError("reference", repr(reference), f"one of {', '.join(map(repr, by_name))}")
    waveform = decode(data, limits=DecodeLimits.from_settings(workbench.settings)).waveform
    part = _cut(waveform, attribution.window)
    prosody = measure_speech_prosody(part)
    surrogate, missing = _explained(
        workbench, prosody, model=model or workbench.models.deployed, attribution=attribution
    )
    deviations = compare_prosody(prosody, by_name[name])
    return VoiceReasons(
        contours=_moved(prosody_contours(part), attribution.window.start_s),
        reference=by_name[name],
        deviations=deviations,
        deviation_sentences=tuple(map(describe_deviation, deviations)),
        surrogate=surrogate,
        surrogate_sentences=() if surrogate is None else describe_attribution(surrogate),
        surrogate_missing=missing,
    )


def _explained(
    workbench: Workbench, prosody: Prosody, *, model: str, attribution: Attribution
) -> tuple[ProsodyAttribution | None, str]:
    try:
        surrogate = open_surrogate(workbench.models.folder(model))
    except (SurrogateNotFoundError, SurrogateMismatchError) as error:
        return None, str(error)
    explained = explain_prosody(
        surrogate,
        prosody,
        emotion=attribution.emotion,
        contrast=attribution.contrast,
        model_probabilities=attribution.probabilities,
    )
    return explained, ""


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
        contours=_moved(contours, window.start_s),
        prosody=measure_speech_prosody(part),
    )


def measure_recording(workbench: Workbench, data: bytes, *, progress: Progress) -> Prosody:
    """Decode a recording and measure its speech; in the calling thread. Raises like `look_at_voice`."""
    progress(0.0, "Measuring the voice")
    return measure_speech_prosody(decode(data, limits=DecodeLimits.from_settings(workbench.settings)).waveform)


def _moved(contours: ProsodyContours, start_s: float) -> ProsodyContours:
    """Contours of a stretch, on the time axis of the recording in which it begins at `start_s`."""
    return replace(
        contours,
        time_s=contours.time_s + start_s,
        syllable_times_s=contours.syllable_times_s + start_s,
        pauses_s=contours.pauses_s + start_s,
    )


def _cut(waveform: Waveform, window: Stretch) -> Waveform:
    """The samples of `window`, and never fewer than can be measured."""
    rate = waveform.sample_rate
    first = max(0, min(round(window.start_s * rate), waveform.samples.size - round(MIN_DURATION_S * rate)))
    last = max(round(window.end_s * rate), first + round(MIN_DURATION_S * rate))
    return Waveform(samples=waveform.samples[first:last], sample_rate=rate)
