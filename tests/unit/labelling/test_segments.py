"""Segments of several people: the label that most say at each moment, what is contested, what a reviewer decided."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from core.domain import Decision, DecisionKind, RatedSegment
from core.labelling.segments import agree_on_segments
from tests.labelling_projects import make_rating

REVIEWER = UUID(int=9)


def drew(*stretches):
    segments = tuple(RatedSegment(start_s=start, end_s=end, label=label) for start, end, label in stretches)
    return make_rating(None, flag=None, segments=segments)


def decided(kind=DecisionKind.ADJUDICATE_SEGMENT, start_s=None, end_s=None, label=None):
    return Decision(
        id=UUID(int=1),
        project_id=UUID(int=2),
        recording_id=UUID(int=3),
        kind=kind,
        label=label,
        note="",
        by=REVIEWER,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        start_s=start_s,
        end_s=end_s,
    )


def said(found):
    return [(each.start_s, each.end_s, each.label) for each in found]


def test_at_each_moment_the_label_of_most_counts():
    ratings = [
        drew((0.0, 2.0, "happy"), (2.0, 4.0, "sad")),
        drew((0.0, 3.0, "happy"), (3.0, 4.0, "sad")),
        drew((0.0, 2.5, "happy"), (2.5, 5.0, "sad")),
    ]
    found = agree_on_segments(ratings, [])
    assert said(found) == [(0.0, 2.5, "happy"), (2.5, 4.0, "sad")]
    # Of 2.5 s, 2 with all voices and 0.5 with two of three; of 1.5 s, 0.5 with two and 1 with all.
    assert [each.share for each in found] == [pytest.approx((2 + 0.5 * 2 / 3) / 2.5), pytest.approx((1 + 1 / 3) / 1.5)]
    assert {each.n_ratings for each in found} == {3}


def test_drawing_nothing_is_a_voice_too_and_a_tie_is_for_a_reviewer():
    two = [drew((1.0, 3.0, "sad")), drew((1.0, 2.0, "sad"), (4.0, 5.0, "calm"))]
    assert said(agree_on_segments(two, [])) == [(1.0, 2.0, "sad"), (2.0, 3.0, None), (4.0, 5.0, None)]
    three = [*two, drew((1.0, 2.0, "sad"))]
    assert said(agree_on_segments(three, [])) == [(1.0, 2.0, "sad")]


def test_what_hands_differ_by_makes_no_segment_of_its_own():
    ratings = [drew((0.0, 2.0, "sad"), (2.0, 4.0, "calm")), drew((0.04, 2.06, "sad"), (2.06, 4.0, "calm"))]
    found = agree_on_segments(ratings, [])
    assert said(found) == [(0.04, 2.06, "sad"), (2.06, 4.0, "calm")]


def test_who_labels_the_whole_or_cannot_tell_has_no_voice_about_segments():
    assert agree_on_segments([make_rating("sad"), make_rating(None)], []) == []
    both = [make_rating("angry"), drew((0.0, 1.0, "sad"))]
    assert said(agree_on_segments(both, [])) == [(0.0, 1.0, "sad")]


def test_a_reviewers_stretch_lies_over_all_and_without_a_label_leaves_nothing():
    ratings = [drew((0.0, 4.0, "sad"))]
    over = decided(start_s=1.0, end_s=2.0, label="calm")
    found = agree_on_segments(ratings, [over])
    assert said(found) == [(0.0, 1.0, "sad"), (1.0, 2.0, "calm"), (2.0, 4.0, "sad")]
    assert [each.adjudicated_by for each in found] == [None, REVIEWER, None]
    nothing = decided(start_s=1.5, end_s=3.0)
    found = agree_on_segments(ratings, [over, nothing])
    assert said(found) == [(0.0, 1.0, "sad"), (1.0, 1.5, "calm"), (3.0, 4.0, "sad")]
    assert said(agree_on_segments([], [over])) == [(1.0, 2.0, "calm")]


@pytest.mark.parametrize("kind", [DecisionKind.SEND_BACK, DecisionKind.COMMENT, DecisionKind.ADJUDICATE])
def test_only_sending_back_undoes_what_was_decided(kind):
    over = decided(start_s=1.0, end_s=2.0, label="calm")
    found = agree_on_segments([drew((0.0, 4.0, "sad"))], [over, decided(kind, label="sad")])
    assert len(found) == (1 if kind is DecisionKind.SEND_BACK else 3)
