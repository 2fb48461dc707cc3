"""Ratings as Audacity label tracks: `RECORDING/ANNOTATOR.txt`, on each line start, end and label between tabs.

Tracks hold labels and segments; second choices, intensities and notes have no place in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from core.domain import RatedSegment
from core.labelling.formats.file_ratings import (
    FileProblem,
    FileRating,
    Files,
    Reading,
    merged,
    recording_of,
    stem_of,
    stretches_of,
    text_of,
)


def write_label_tracks(ratings: Sequence[FileRating]) -> Files:
    """A file for each recording and annotator."""
    return {
        f"{stem_of(rating)}/{_file_name(rating.annotator)}.txt": "".join(
            f"{each.start_s:.6f}\t{each.end_s:.6f}\t{each.label}\n" for each in stretches_of(rating)
        ).encode()
        for rating in ratings
    }


def _file_name(annotator: str) -> str:
    return re.sub(r"[^\w.@+-]+", "_", annotator) or "nobody"


def read_label_tracks(files: Files) -> Reading:
    """Ratings of every file; one that lies in no folder is about the recording of its own name, by nobody named."""
    ratings: list[FileRating] = []
    problems: list[FileProblem] = []
    for path, data in files.items():
        folder = PurePosixPath(path).parent.name
        recording_id, name = recording_of(f"{folder}.txt" if folder else path)
        try:
            lines = text_of(data).splitlines()
        except UnicodeDecodeError as error:
            problems.append(FileProblem(where=path, sentence=f"This is no text in UTF-8: {error}."))
            continue
        segments, places = [], []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("\\"):  # a backslash begins the frequencies of the label before
                continue
            try:
                start, end, label = line.split("\t", 2)
                segments.append(RatedSegment(start_s=_seconds(start), end_s=_seconds(end), label=label.strip()))
                places.append(f"{path}, line {number}")
            except ValueError:
                problems.append(
                    FileProblem(
                        where=f"{path}, line {number}", sentence="Start, end and label are needed, with tabs between."
                    )
                )
        if segments:
            ratings.append(
                FileRating(
                    where=path,
                    recording_id=recording_id,
                    recording_name=name,
                    duration_s=None,
                    annotator=PurePosixPath(path).stem if folder else "",
                    segments=tuple(segments),
                    segment_places=tuple(places),
                )
            )
    return Reading(ratings=merged(ratings), problems=problems)


def _seconds(text: str) -> float:
    return float(text.strip().replace(",", "."))  # Audacity writes the decimal sign of its user's language
