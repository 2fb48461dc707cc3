"""Ratings as ELAN documents (.eaf): a file for each recording, a tier for each annotator.

Tiers hold labels and segments, in milliseconds; second choices, intensities and notes have no place in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree

from core.domain import RatedSegment
from core.labelling.formats.file_ratings import (
    FileProblem,
    FileRating,
    Files,
    Reading,
    annotator_of_lane,
    by_recording,
    lanes_of,
    merged,
    recording_of,
    stem_of,
    text_of,
)

_TYPE = "emotion"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"


def write_eafs(ratings: Sequence[FileRating]) -> Files:
    """A document for each recording that anybody rated."""
    return {f"{stem_of(some[0])}.eaf": _document(some) for some in by_recording(ratings).values()}


def _document(ratings: Sequence[FileRating]) -> bytes:
    newest = max((each.rated_at for each in ratings if each.rated_at is not None), default=datetime.now(UTC))
    document = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "Telepathy",
            "DATE": newest.isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ElementTree.SubElement(document, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    media = {"MEDIA_URL": ratings[0].recording_name, "MIME_TYPE": "audio/*"}
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", media)
    times = ElementTree.SubElement(document, "TIME_ORDER")
    n_annotations = 0
    for rating in ratings:
        for name, stretches in lanes_of(rating):
            tier = ElementTree.SubElement(
                document, "TIER", {"TIER_ID": name, "ANNOTATOR": rating.annotator, "LINGUISTIC_TYPE_REF": _TYPE}
            )
            for stretch in stretches:
                n_annotations += 1
                slots = [f"ts{2 * n_annotations - 1}", f"ts{2 * n_annotations}"]
                for slot, seconds in zip(slots, (stretch.start_s, stretch.end_s), strict=True):
                    milliseconds = str(round(seconds * 1000))
                    ElementTree.SubElement(times, "TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": milliseconds})
                annotation = ElementTree.SubElement(
                    ElementTree.SubElement(tier, "ANNOTATION"),
                    "ALIGNABLE_ANNOTATION",
                    {"ANNOTATION_ID": f"a{n_annotations}", "TIME_SLOT_REF1": slots[0], "TIME_SLOT_REF2": slots[1]},
                )
                ElementTree.SubElement(annotation, "ANNOTATION_VALUE").text = stretch.label
    ElementTree.SubElement(
        document,
        "LINGUISTIC_TYPE",
        {"LINGUISTIC_TYPE_ID": _TYPE, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"},
    )
    ElementTree.indent(document)
    written: bytes = ElementTree.tostring(document, encoding="utf-8", xml_declaration=True)
    return written


def read_eafs(files: Files) -> Reading:
    """Ratings of every tier whose annotations have times of their own."""
    ratings: list[FileRating] = []
    problems: list[FileProblem] = []
    for path, data in files.items():
        try:
            document = _parse(data)
        except (ValueError, ElementTree.ParseError, UnicodeDecodeError) as error:
            problems.append(FileProblem(where=path, sentence=f"This is no ELAN document: {error}."))
            continue
        recording_id, name = recording_of(path)
        times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in document.iter("TIME_SLOT")}
        for tier in document.iter("TIER"):
            where = f"{path}, tier {tier.get('TIER_ID', '')!r}"
            segments = _segments(tier, times, where, problems)
            if segments:
                ratings.append(
                    FileRating(
                        where=where,
                        recording_id=recording_id,
                        recording_name=name,
                        duration_s=None,
                        annotator=annotator_of_lane(tier.get("ANNOTATOR") or tier.get("TIER_ID") or ""),
                        segments=segments,
                    )
                )
    return Reading(ratings=merged(ratings), problems=problems)


def _parse(data: bytes) -> ElementTree.Element:
    text = text_of(data)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it brings a document type, which can make a small file endlessly large")
    document = ElementTree.fromstring(text)  # noqa: S314 # nosec B314 - no document type, no entities
    if document.tag != "ANNOTATION_DOCUMENT":
        raise ValueError(f"it is <{document.tag[:50]}>, not <ANNOTATION_DOCUMENT>")
    return document


def _segments(
    tier: ElementTree.Element, times: dict[str | None, str | None], where: str, problems: list[FileProblem]
) -> tuple[RatedSegment, ...]:
    segments = []
    for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
        label = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
        bounds = [times.get(annotation.get(f"TIME_SLOT_REF{end}")) for end in (1, 2)]
        try:
            start_s, end_s = (int(bound or "") / 1000 for bound in bounds)
        except ValueError:
            name = annotation.get("ANNOTATION_ID", "")
            problems.append(FileProblem(where=where, sentence=f"The annotation {name!r} has no times."))
            continue
        if label:
            segments.append(RatedSegment(start_s=start_s, end_s=end_s, label=label))
    return tuple(segments)
