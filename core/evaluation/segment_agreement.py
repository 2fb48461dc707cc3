"""How far several people agree who each divided a recording into segments with labels.

Conventions
-----------
A segmentation is a sequence of (start in seconds, end in seconds, label), none over another of the same person; what
lies in none of them has no label. A figure that does not exist (fewer than two people, nothing drawn) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

Stretch = tuple[float, float, str]
TOLERANCE_S = 0.25
"""Two boundaries this near to each other count as one. Music research uses 0.5 s; turns of a voice are shorter."""


def cuts(segmentations: Sequence[Sequence[Stretch]]) -> list[tuple[float, float]]:
    """The stretches between all boundaries of all people, in order: within each, nobody changes their mind.

    Examples
    --------
    >>> cuts([[(0.0, 2.0, "sad")], [(1.0, 3.0, "sad")]])
    [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    """
    edges = sorted({edge for each in segmentations for start, end, _ in each for edge in (start, end)})
    return list(pairwise(edges))


def label_at(segmentation: Sequence[Stretch], start_s: float, end_s: float) -> str | None:
    """What one person said of a stretch that none of their boundaries cuts; None where they drew nothing."""
    return next((label for start, end, label in segmentation if start <= start_s and end >= end_s), None)


def time_agreement(segmentations: Sequence[Sequence[Stretch]]) -> float:
    """Share of time on which two people say the same, over all pairs; only time that one of the two labelled counts.

    For two people who use one label it is the intersection over the union of their segments.

    Examples
    --------
    >>> round(time_agreement([[(0.0, 2.0, "sad")], [(1.0, 3.0, "sad")]]), 3)
    0.333
    >>> time_agreement([[(0.0, 2.0, "sad")], [(0.0, 2.0, "calm")]]), time_agreement([[(0.0, 2.0, "sad")]])
    (0.0, nan)
    """
    same = counted = 0.0
    for one, other in combinations(segmentations, 2):
        for start, end in cuts([one, other]):
            said = label_at(one, start, end), label_at(other, start, end)
            if said != (None, None):
                counted += end - start
                same += (end - start) * (said[0] == said[1])
    return same / counted if counted else math.nan


def boundary_agreement(segmentations: Sequence[Sequence[Stretch]], *, tolerance_s: float = TOLERANCE_S) -> float:
    """How many boundaries of two people meet: the F-measure of hits within `tolerance_s`, mean over pairs.

    Each boundary is matched with one of the other's at most; F = 2 hits / (boundaries of one + those of the other).

    Source: Turnbull et al.: "A supervised approach for detecting boundaries in music using difference features and
    boosting", ISMIR 2007, section 2.1, with its tolerance as a parameter.

    Examples
    --------
    >>> boundary_agreement([[(0.0, 2.0, "sad")], [(0.1, 3.0, "sad")]])
    0.5
    """
    found = []
    for one, other in combinations(segmentations, 2):
        mine, theirs = (sorted({edge for start, end, _ in each for edge in (start, end)}) for each in (one, other))
        if mine or theirs:
            found.append(2 * _n_hits(mine, theirs, tolerance_s) / (len(mine) + len(theirs)))
    return sum(found) / len(found) if found else math.nan


def _n_hits(mine: Sequence[float], theirs: Sequence[float], tolerance_s: float) -> int:
    """Pairs of boundaries within the tolerance, none in two pairs; taking the earliest is best on a line."""
    hits = place = 0
    for edge in mine:
        while place < len(theirs) and theirs[place] < edge - tolerance_s:
            place += 1
        if place < len(theirs) and theirs[place] <= edge + tolerance_s:
            hits += 1
            place += 1
    return hits
