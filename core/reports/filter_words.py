"""A filter in words, for whoever reads a report and was not there when it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo

from core.domain import Source
from core.store.predictions import MAX_ENTROPY_NATS, PredictionFilter

SOURCE_WORDS: Mapping[Source, str] = {
    Source.UPLOAD: "Upload",
    Source.MICROPHONE: "Microphone",
    Source.SAMPLE: "Sample",
    Source.API: "API",
    Source.STREAM: "Live",
    Source.BATCH: "Batch",
}


def filter_words(
    filter: PredictionFilter, *, project_name: str = "", batch_name: str = ""
) -> tuple[tuple[str, str], ...]:
    """Name and value of each filter that is on, but for the period.

    Examples
    --------
    >>> filter_words(PredictionFilter(abstained=True, min_confidence=0.25))
    (('Answer', 'not sure'), ('Confidence', '25 % to 100 %'))
    """
    said: list[tuple[str, str]] = []
    if filter.project_id is not None:
        said.append(("Project", project_name or str(filter.project_id)))
    if filter.batch_id is not None:
        said.append(("Batch", batch_name or str(filter.batch_id)))
    if filter.emotions:
        said.append(("Emotion", ", ".join(emotion.value for emotion in filter.emotions)))
    if filter.abstained is not None:
        said.append(("Answer", "not sure" if filter.abstained else "sure"))
    if filter.min_confidence is not None or filter.max_confidence is not None:
        low, high = filter.min_confidence or 0.0, 1.0 if filter.max_confidence is None else filter.max_confidence
        said.append(("Confidence", f"{100 * low:g} % to {100 * high:g} %"))
    if filter.min_entropy_nats is not None or filter.max_entropy_nats is not None:
        most = MAX_ENTROPY_NATS if filter.max_entropy_nats is None else filter.max_entropy_nats
        said.append(("Uncertainty", f"{filter.min_entropy_nats or 0.0:.2f} to {most:.2f} nats"))
    if filter.sources:
        said.append(("Came by", ", ".join(SOURCE_WORDS[source] for source in filter.sources)))
    if filter.model_versions:
        said.append(("Model", ", ".join(filter.model_versions)))
    if filter.recording_name:
        said.append(("Name holds", filter.recording_name))
    if filter.recording_id is not None:
        said.append(("Recording", str(filter.recording_id)))
    return tuple(said)


def zone_name(zone: tzinfo) -> str:
    """The zone as people know it: `Europe/Berlin`, `UTC`."""
    return "UTC" if zone is UTC else str(zone)
