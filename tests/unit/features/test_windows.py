from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.features.windows import sliding_windows


def test_a_recording_of_whole_steps_ends_with_its_last_window():
    assert sliding_windows(5.0, window_s=3.0, hop_s=1.0) == [(0.0, 3.0), (1.0, 4.0), (2.0, 5.0)]


def test_a_rest_gets_a_window_that_ends_with_the_recording():
    assert sliding_windows(4.4, window_s=3.0, hop_s=1.0) == [(0.0, 3.0), (1.0, 4.0), (pytest.approx(1.4), 4.4)]


@pytest.mark.parametrize("duration_s", [0.3, 2.999, 3.0])
def test_a_recording_no_longer_than_a_window_is_one_window(duration_s):
    assert sliding_windows(duration_s, window_s=3.0, hop_s=1.0) == [(0.0, duration_s)]


def test_steps_that_floats_cannot_hold_add_no_window():
    assert len(sliding_windows(0.9, window_s=0.3, hop_s=0.1)) == 7


def test_ten_minutes_give_a_window_every_second():
    assert len(sliding_windows(600.0, window_s=3.0, hop_s=1.0)) == 598


@pytest.mark.parametrize(("duration_s", "window_s", "hop_s"), [(0, 3, 1), (-1, 3, 1), (5, 3, 0), (5, 3, 4)])
def test_lengths_that_leave_gaps_or_never_end_are_refused(duration_s, window_s, hop_s):
    with pytest.raises(ValueError, match="need duration"):
        sliding_windows(duration_s, window_s=window_s, hop_s=hop_s)


@settings(deadline=None, derandomize=True)
@given(
    duration_s=st.floats(0.1, 120),
    window_s=st.floats(0.5, 30),
    share=st.floats(0.05, 1),
)
def test_windows_cover_the_recording_in_order_and_stay_within_it(duration_s, window_s, share):
    windows = sliding_windows(duration_s, window_s=window_s, hop_s=window_s * share)
    assert windows[0][0] == 0
    assert windows[-1][1] == pytest.approx(duration_s, abs=1e-5)
    for (start_s, end_s), (next_start_s, _) in itertools.pairwise(windows):
        assert start_s < next_start_s <= end_s + 1e-9
    for start_s, end_s in windows:
        assert start_s >= 0
        assert end_s <= duration_s + 1e-6
        assert end_s - start_s == pytest.approx(min(window_s, duration_s))
