"""Ratings as Praat TextGrids: a file for each recording, an interval tier for each annotator.

Tiers hold labels and segments; second choices, intensities and notes have no place in them. What cannot be judged
stands in parentheses, as `(cannot_tell)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

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

_TOKEN = re.compile(r'"((?:[^"]|"")*)"|<(\w+)>|(?<!\S)(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?!\S)')
"""All that Praat reads of a text file: strings, flags and numbers that stand free (Praat manual, "TextGrid file
formats")."""


def write_textgrids(ratings: Sequence[FileRating]) -> Files:
    """A file for each recording that anybody rated."""
    return {f"{stem_of(some[0])}.TextGrid": _textgrid(some).encode() for some in by_recording(ratings).values()}


def _textgrid(ratings: Sequence[FileRating]) -> str:
    lanes = [lane for rating in ratings for lane in lanes_of(rating)]
    ends_s = [stretch.end_s for _, stretches in lanes for stretch in stretches]
    end_s = max([ratings[0].duration_s or 0.0, *ends_s])
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end_s!r}",
        "tiers? <exists>",
        f"size = {len(lanes)}",
        "item []:",
    ]
    for number, (name, stretches) in enumerate(lanes, 1):
        intervals = list(_filled(stretches, end_s))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f"        name = {_quoted(name)}",
            "        xmin = 0",
            f"        xmax = {end_s!r}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, interval in enumerate(intervals, 1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {interval.start_s!r}",
                f"            xmax = {interval.end_s!r}",
                f"            text = {_quoted(interval.label)}",
            ]
    return "\n".join(lines) + "\n"


def _filled(stretches: Sequence[RatedSegment], end_s: float) -> Iterator[RatedSegment]:
    """The stretches and what lies between them: a tier leaves no gaps."""
    at_s = 0.0
    for stretch in stretches:
        if stretch.start_s > at_s:
            yield RatedSegment(start_s=at_s, end_s=stretch.start_s, label="")
        yield stretch
        at_s = stretch.end_s
    if at_s < end_s:
        yield RatedSegment(start_s=at_s, end_s=end_s, label="")


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def read_textgrids(files: Files) -> Reading:
    """Ratings of every interval tier, long or short text format; point tiers are left out."""
    ratings: list[FileRating] = []
    problems: list[FileProblem] = []
    for path, data in files.items():
        recording_id, name = recording_of(path)
        try:
            tiers = _tiers(text_of(data))
        except (ValueError, IndexError, UnicodeDecodeError):
            problems.append(FileProblem(where=path, sentence="This is no TextGrid as Praat saves it as text."))
            continue
        for tier, stretches in tiers:
            if stretches:
                ratings.append(
                    FileRating(
                        where=f"{path}, tier {tier!r}",
                        recording_id=recording_id,
                        recording_name=name,
                        duration_s=None,
                        annotator=annotator_of_lane(tier),
                        segments=tuple(stretches),
                    )
                )
    return Reading(ratings=merged(ratings), problems=problems)


def _tiers(text: str) -> list[tuple[str, list[RatedSegment]]]:
    tokens = [(found[1], found[2], found[3]) for found in _TOKEN.finditer(text)]
    place = 0

    def string() -> str:
        nonlocal place
        found = tokens[place][0]
        if found is None:
            raise ValueError("no string")
        place += 1
        return str(found).replace('""', '"')

    def number() -> float:
        nonlocal place
        found = tokens[place][2]
        if found is None:
            raise ValueError("no number")
        place += 1
        return float(found)

    if [string(), string()] != ["ooTextFile", "TextGrid"]:
        raise ValueError("no TextGrid")
    number(), number()
    if tokens[place][1] != "exists":
        return []
    place += 1
    tiers = []
    for _ in range(int(number())):
        kind, name = string(), string()
        number(), number()
        stretches = []
        for _ in range(int(number())):
            if kind == "IntervalTier":
                start_s, end_s, label = number(), number(), string().strip()
                if label:
                    stretches.append(RatedSegment(start_s=start_s, end_s=end_s, label=label))
            else:
                number(), string()
        tiers.append((name, stretches))
    return tiers
