"""Agreement of segments: cases by hand, the perfect one, the empty one."""

from __future__ import annotations

import math

import pytest

from core.evaluation.segment_agreement import boundary_agreement, time_agreement

ANN = [(0.0, 2.0, "happy"), (2.0, 4.0, "sad")]
BEN = [(0.2, 2.2, "happy"), (3.0, 4.0, "sad")]
CEM = [(0.0, 4.0, "happy")]


def test_the_same_segments_agree_wholly():
    assert time_agreement([ANN, ANN, ANN]) == boundary_agreement([ANN, ANN, ANN]) == 1


def test_nothing_to_compare_is_no_number():
    for figure in (time_agreement, boundary_agreement):
        assert math.isnan(figure([]))
        assert math.isnan(figure([ANN]))
        assert math.isnan(figure([[], []]))
        assert figure([ANN, []]) == 0


def test_time_by_hand():
    # Same: 0.2 to 2.0 happy, 3.0 to 4.0 sad. Labelled by one of the two: 0.0 to 4.0.
    assert time_agreement([ANN, BEN]) == pytest.approx(2.8 / 4)
    # Ann and Cem: 2 of 4. Ben and Cem: 0.2 to 2.2 of 4.
    assert time_agreement([ANN, BEN, CEM]) == pytest.approx((2.8 + 2.0 + 2.0) / 12)


def test_boundaries_by_hand():
    # Ann 0, 2, 4; Ben 0.2, 2.2, 3, 4: three hits.
    assert boundary_agreement([ANN, BEN]) == pytest.approx(2 * 3 / 7)
    assert boundary_agreement([ANN, BEN], tolerance_s=0.1) == pytest.approx(2 * 1 / 7)
    # One boundary is matched once, however many lie near it.
    assert boundary_agreement([[(1.0, 5.0, "sad")], [(0.9, 1.1, "sad")]]) == pytest.approx(2 * 1 / 4)
