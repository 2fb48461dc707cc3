"""What several people's segments of one recording come to: at each moment the label that most of them say."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from core.domain import ConsensusSegment, Decision, DecisionKind, Rating
from core.evaluation.segment_agreement import Stretch, cuts, label_at

SHORTEST_S = 0.1
"""People's hands differ by as much: what is shorter goes to the piece before it."""


def segmentations(ratings: Sequence[Rating]) -> list[list[Stretch]]:
    """What each person who drew segments drew, in the order of `ratings`."""
    return [
        sorted((each.start_s, each.end_s, each.label) for each in rating.segments)
        for rating in ratings
        if rating.segments
    ]


def agree_on_segments(ratings: Sequence[Rating], decisions: Sequence[Decision]) -> list[ConsensusSegment]:
    """The consensus of those who drew segments, in order of time; what a reviewer decided counts before it.

    Between two boundaries that follow each other nobody changes their mind, so that there the label with most voices
    counts; to draw nothing is a voice as well. Where as many say another, the label is None, for a reviewer to decide.
    Neighbours with the same label are one, whose share is the mean over its time.
    """
    drawn = segmentations(ratings)
    found: list[ConsensusSegment] = []
    for start_s, end_s in cuts(drawn):
        voices = Counter(label_at(each, start_s, end_s) for each in drawn)
        most = max(voices.values())
        leaders = [label for label, n in voices.items() if n == most]
        if leaders == [None]:
            continue
        label = leaders[0] if len(leaders) == 1 else None
        _add(
            found,
            ConsensusSegment(start_s=start_s, end_s=end_s, label=label, share=most / len(drawn), n_ratings=len(drawn)),
        )
    for decision in _standing(decisions):
        found = _paint(found, decision, n_ratings=len(drawn))
    return found


def _add(found: list[ConsensusSegment], new: ConsensusSegment) -> None:
    before = found[-1] if found and found[-1].end_s == new.start_s else None
    length_s = new.end_s - new.start_s
    if before is not None and (length_s < SHORTEST_S or before.label == new.label):
        whole_s = new.end_s - before.start_s
        share = before.share + (new.share - before.share) * length_s / whole_s
        found[-1] = dataclasses.replace(before, end_s=new.end_s, share=share)
    elif length_s >= SHORTEST_S:
        found.append(new)


def _standing(decisions: Sequence[Decision]) -> list[Decision]:
    """Decisions on segments since the recording was last sent back, oldest first."""
    standing: list[Decision] = []
    for decision in decisions:
        if decision.kind is DecisionKind.SEND_BACK:
            standing = []
        elif decision.kind is DecisionKind.ADJUDICATE_SEGMENT:
            standing.append(decision)
    return standing


def _paint(found: Sequence[ConsensusSegment], decision: Decision, *, n_ratings: int) -> list[ConsensusSegment]:
    """`found` with a reviewer's stretch laid over it; one without a label leaves nothing there."""
    start_s, end_s = decision.start_s or 0.0, decision.end_s or 0.0
    left: list[ConsensusSegment] = []
    for each in found:
        if each.start_s < start_s:
            left.append(dataclasses.replace(each, end_s=min(each.end_s, start_s)))
        if each.end_s > end_s:
            left.append(dataclasses.replace(each, start_s=max(each.start_s, end_s)))
    if decision.label is not None:
        left.append(
            ConsensusSegment(
                start_s=start_s,
                end_s=end_s,
                label=decision.label,
                share=1.0,
                n_ratings=n_ratings,
                adjudicated_by=decision.by,
            )
        )
    return sorted((each for each in left if each.end_s > each.start_s), key=lambda each: each.start_s)
