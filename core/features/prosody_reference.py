"""A voice beside other voices: how far each measure lies from a reference, in standard deviations and in words.

References are of two kinds: figures of research corpora, made by `python -m training references` and kept in
`data/references/prosody.json`, and a speaker's own recordings, taken together at run time.

Conventions: measures that count as ratios (`Measure.is_logarithmic`) are averaged as natural logarithms, so that their
mean is geometric and one standard deviation is a factor. Both are compared with the prosody of speech without the
silence at its ends (`measure_speech_prosody`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.config import REPOSITORY
from core.errors import DamagedReferencesError, TooFewRecordingsError
from core.features.prosody import MEASURES, Prosody
from core.features.prosody_measures import MEASURE_OF, write_value

REFERENCES = REPOSITORY / "data" / "references" / "prosody.json"
SCHEMA = "telepathy-prosody-references-1"
MIN_RECORDINGS = 3
"""Fewer say nothing of how much a voice varies. Of three, the standard deviation found lies between 0.4 and 1.4 of the
true one two times in three (chi squared with two degrees of freedom): sentences name the reference, pages its n."""
NEVER_COMPARED = frozenset({"n_pauses"})
"""A count grows with the recording; `pause_share` says the same without that."""
OWN_RECORDINGS_ONLY = frozenset({"intensity_mean_dbfs", "pause_share", "pause_mean_s"})
"""Never compared with a corpus: a level says more of microphone and distance than of the voice, and corpora of single
sentences do not pause (99 % of their neutral recordings in the worst case), so that any pause would stand out."""
BOUND_TO_LENGTH = frozenset({"pause_share", "pause_mean_s"})
"""Compared only where the recording is about as long as the reference's are."""
_LENGTH_FACTOR = 2.0
_USUAL_Z = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureStatistics:
    """How one measure is spread over the recordings of a reference, on its own scale (see Conventions)."""

    n_recordings: int
    """Those in which it could be measured."""
    mean: float
    standard_deviation: float
    """With n - 1 below the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProsodyReference:
    """Voices that a voice is compared with."""

    name: str
    """As it stands after "above": "neutral speech of women in CREMA-D", "this speaker's neutral"."""
    n_recordings: int
    n_speakers: int
    mean_duration_s: float
    statistics: Mapping[str, MeasureStatistics]
    """By measure; those that at least three recordings have and that vary among them."""
    corpus: str = ""
    """Empty for a speaker's own recordings; so the next three."""
    sex: str = ""
    """`female`, `male`, or empty for both or where the corpus does not say."""
    is_neutral: bool = True
    """Neutral speech alone; otherwise all emotions of the corpus alike."""
    licence: str = ""
    """Of the recordings that were measured; the figures hold none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far one measure of a recording lies from a reference."""

    measure: str
    label: str
    value: float
    unit: str
    reference_name: str
    n_recordings: int
    """Behind mean and standard deviation."""
    reference_mean: float
    """In the unit of the value; geometric where the measure counts as a ratio."""
    usual_low: float
    usual_high: float
    """One standard deviation below and above the mean, in the unit of the value."""
    standard_deviation: float
    """In the unit of the value, or of its natural logarithm where the measure counts as a ratio."""
    z: float
    """Standard deviations above the mean; negative below."""


def make_reference(
    prosodies: Sequence[Prosody],
    *,
    name: str,
    n_speakers: int = 1,
    corpus: str = "",
    sex: str = "",
    is_neutral: bool = True,
    licence: str = "",
) -> ProsodyReference:
    """Mean and spread of every measure over `prosodies`, such as one speaker's own neutral recordings.

    Parameters
    ----------
    prosodies
        From `measure_speech_prosody`, at least three.
    name
        As it stands after "above".

    Raises
    ------
    TooFewRecordingsError
        There are fewer than three.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from core.features.prosody import measure_prosody
    >>> from core.features.waveform import Waveform
    >>> silence = measure_prosody(Waveform(samples=np.zeros(32_000, np.float32), sample_rate=16_000))
    >>> calm = [replace(silence, pitch_slope_semitones_per_s=slope) for slope in (-1.0, 0.0, 1.0)]
    >>> reference = make_reference(calm, name="this speaker's neutral")
    >>> found = compare_prosody(replace(silence, pitch_slope_semitones_per_s=2.1), reference)
    >>> [describe_deviation(deviation) for deviation in found]
    ["Pitch slope 2.1 semitones/s: 2.1 sd above this speaker's neutral (usually -1.0 to 1.0)."]
    """
    if len(prosodies) < MIN_RECORDINGS:
        raise TooFewRecordingsError(len(prosodies), MIN_RECORDINGS)
    statistics = {}
    for measure in MEASURES:
        if measure in NEVER_COMPARED or (corpus and measure in OWN_RECORDINGS_ONLY):
            continue
        scaled = [_scaled(measure, getattr(prosody, measure)) for prosody in prosodies]
        known = np.array([value for value in scaled if value is not None])
        if len(known) >= MIN_RECORDINGS and float(np.ptp(known)) > 1e-9 * max(1.0, float(np.abs(known).max())):
            statistics[measure] = MeasureStatistics(
                n_recordings=len(known), mean=float(known.mean()), standard_deviation=float(known.std(ddof=1))
            )
    return ProsodyReference(
        name=name,
        n_recordings=len(prosodies),
        n_speakers=n_speakers,
        mean_duration_s=float(np.mean([prosody.duration_s for prosody in prosodies])),
        statistics=statistics,
        corpus=corpus,
        sex=sex,
        is_neutral=is_neutral,
        licence=licence,
    )


def compare_prosody(prosody: Prosody, reference: ProsodyReference) -> tuple[Deviation, ...]:
    """How far every measure lies from `reference`, in the order of `MEASURES`.

    Left out is what cannot be compared: measures that are None, that the reference lacks, and pauses where the
    recording is more than twice or less than half as long as the reference's are on average.

    Parameters
    ----------
    prosody
        From `measure_speech_prosody`.
    """
    ratio = prosody.duration_s / reference.mean_duration_s
    is_of_like_length = 1 / _LENGTH_FACTOR <= ratio <= _LENGTH_FACTOR
    deviations = []
    for measure in MEASURES:
        value, statistics = getattr(prosody, measure), reference.statistics.get(measure)
        scaled = _scaled(measure, value)
        if scaled is None or statistics is None or (measure in BOUND_TO_LENGTH and not is_of_like_length):
            continue
        mean, deviation = statistics.mean, statistics.standard_deviation
        deviations.append(
            Deviation(
                measure=measure,
                label=MEASURE_OF[measure].label,
                value=float(value),
                unit=MEASURE_OF[measure].unit,
                reference_name=reference.name,
                n_recordings=statistics.n_recordings,
                reference_mean=_unscaled(measure, mean),
                usual_low=_unscaled(measure, mean - deviation),
                usual_high=_unscaled(measure, mean + deviation),
                standard_deviation=deviation,
                z=(scaled - mean) / deviation,
            )
        )
    return tuple(deviations)


def describe_deviation(deviation: Deviation) -> str:
    """One plain sentence: the value, how far it lies from the reference, and what is usual there."""
    measure = deviation.measure
    told = write_value(measure, deviation.value)
    low, high = (write_value(measure, bound, has_unit=False) for bound in (deviation.usual_low, deviation.usual_high))
    beginning = f"{deviation.label[0].upper()}{deviation.label[1:]} {told}"
    if abs(deviation.z) < _USUAL_Z:
        return f"{beginning}: as usual for {deviation.reference_name} ({low} to {high})."
    direction = "above" if deviation.z > 0 else "below"
    return f"{beginning}: {abs(deviation.z):.1f} sd {direction} {deviation.reference_name} (usually {low} to {high})."


def read_references(path: Path = REFERENCES) -> list[ProsodyReference]:
    """The references made from corpora, in the file's order: corpus by corpus, neutral speech first.

    Raises
    ------
    DamagedReferencesError
        The file is missing or cannot be read.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["schema"] != SCHEMA:
            raise ValueError(f"schema is {fields['schema']!r}, not {SCHEMA!r}")
        return [_read_reference(entry) for entry in fields["references"]]
    except OSError as error:
        raise DamagedReferencesError(path.name, error.strerror or "it cannot be read") from error
    except KeyError as error:
        raise DamagedReferencesError(path.name, f"the field {error.args[0]!r} is missing") from error
    except (TypeError, ValueError) as error:
        raise DamagedReferencesError(path.name, str(error)) from error


def _read_reference(entry: Mapping[str, object]) -> ProsodyReference:
    measures = entry["measures"]
    if not isinstance(measures, dict):
        raise TypeError("measures must be an object")
    return ProsodyReference(
        name=str(entry["name"]),
        n_recordings=int(str(entry["n_recordings"])),
        n_speakers=int(str(entry["n_speakers"])),
        mean_duration_s=float(str(entry["mean_duration_s"])),
        statistics={
            measure: MeasureStatistics(
                n_recordings=int(found["n_recordings"]),
                mean=float(found["mean"]),
                standard_deviation=float(found["standard_deviation"]),
            )
            for measure, found in measures.items()
            if measure in MEASURE_OF
        },
        corpus=str(entry["corpus"]),
        sex=str(entry["sex"]),
        is_neutral=entry["is_neutral"] is True,
        licence=str(entry["licence"]),
    )


def _scaled(measure: str, value: float | None) -> float | None:
    """`value` on the scale it is compared on; None where it has no place there."""
    if value is None or not math.isfinite(value):
        return None
    if MEASURE_OF[measure].is_logarithmic:
        return math.log(value) if value > 0 else None
    return float(value)


def _unscaled(measure: str, value: float) -> float:
    return math.exp(value) if MEASURE_OF[measure].is_logarithmic else value
