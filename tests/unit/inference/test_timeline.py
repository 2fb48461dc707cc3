"""Segments from windows: the rule at the top of core/inference/timeline.py, clause by clause."""

import itertools

import numpy as np
import pytest

from core.domain import Emotion, TimelineWindow
from core.features.windows import sliding_windows
from core.inference.timeline import merge_windows, speech_share

FRAME_S = 0.01
HAPPY, SAD, ANGRY = Emotion.HAPPY, Emotion.SAD, Emotion.ANGRY


def window(start_s, end_s, probabilities, speech_ratio=1.0):
    return TimelineWindow(
        start_s=start_s,
        end_s=end_s,
        probabilities=probabilities,
        speech_ratio=speech_ratio,
        predictive_entropy_nats=0.5 if probabilities else 0.0,
    )


def activity(duration_s, *silences):
    frames = np.ones(round(duration_s / FRAME_S), dtype=bool)
    for start_s, end_s in silences:
        frames[round(start_s / FRAME_S) : round(end_s / FRAME_S)] = False
    return frames


def merged(windows, duration_s, *, silences=(), hop_s=1.0):
    return merge_windows(
        windows, activity=activity(duration_s, *silences), frame_s=FRAME_S, duration_s=duration_s, hop_s=hop_s
    )


def outline(segments):
    return [(segment.start_s, segment.end_s, segment.emotion) for segment in segments]


def steps_of(*emotions, hop_s=1.0, sure=0.8):
    """One window per step, so that every window votes alone."""
    other = {HAPPY: SAD, SAD: HAPPY, ANGRY: SAD}
    return [
        window(
            index * hop_s,
            (index + 1) * hop_s,
            {e: sure if e is emotion else (1 - sure if e is other[emotion] else 0.0) for e in (HAPPY, SAD, ANGRY)},
        )
        for index, emotion in enumerate(emotions)
    ]


def test_one_emotion_throughout_is_one_segment():
    (segment,) = merged(steps_of(SAD, SAD, SAD, SAD), 4.0)
    assert (segment.start_s, segment.end_s, segment.emotion) == (0.0, 4.0, SAD)
    assert segment.confidence == pytest.approx(0.8)


def test_overlapping_windows_vote_by_how_much_speech_they_hold():
    windows = [
        window(0, 3, {HAPPY: 0.9, SAD: 0.1}, speech_ratio=0.2),
        window(0, 3, {HAPPY: 0.3, SAD: 0.7}, speech_ratio=0.8),
    ]
    (segment,) = merged(windows, 3.0)
    assert segment.emotion is SAD
    assert segment.confidence == pytest.approx((0.1 * 0.2 + 0.7 * 0.8) / 1.0)


def test_change_of_emotion_is_found_where_the_vote_changes():
    windows = [
        window(start, end, {HAPPY: 0.9, SAD: 0.1} if (start + end) / 2 < 5 else {HAPPY: 0.1, SAD: 0.9})
        for start, end in sliding_windows(10, window_s=3, hop_s=1)
    ]
    assert outline(merged(windows, 10.0)) == [(0.0, 5.0, HAPPY), (5.0, 10.0, SAD)]


def test_silence_belongs_to_nobody():
    segments = merged(steps_of(SAD, SAD, SAD, SAD, SAD, SAD), 6.0, silences=[(2, 4)])
    assert outline(segments) == [(0.0, 2.0, SAD), (2.0, 4.0, None), (4.0, 6.0, SAD)]
    assert segments[1].confidence == 0


def test_recording_without_speech_is_one_segment_of_nobody():
    silent = [window(start, start + 3, {}, speech_ratio=0.0) for start in (0, 1, 2)]
    assert outline(merged(silent, 5.0, silences=[(0, 5)])) == [(0.0, 5.0, None)]


def test_blip_between_two_segments_takes_the_more_probable_neighbour():
    windows = steps_of(HAPPY, HAPPY, ANGRY, SAD, SAD)
    windows[2] = window(2, 3, {HAPPY: 0.1, SAD: 0.3, ANGRY: 0.6})
    segments = merged(windows, 5.0)
    assert outline(segments) == [(0.0, 2.0, HAPPY), (2.0, 5.0, SAD)]
    assert segments[1].confidence == pytest.approx((0.8 + 0.8 + 0.3) / 3)


def test_exclamation_between_two_pauses_stays():
    segments = merged(steps_of(SAD, SAD, ANGRY, SAD, SAD), 5.0, silences=[(1, 2), (3, 4)])
    assert outline(segments)[2] == (2.0, 3.0, ANGRY)


def test_alternating_emotions_end_in_segments_of_at_least_the_shortest_length():
    segments = merged(steps_of(*[HAPPY, SAD] * 5), 10.0)
    assert all(segment.end_s - segment.start_s >= 1.5 for segment in segments)
    assert len(segments) < 5


def test_pause_shorter_than_half_a_second_is_bridged():
    windows = steps_of(*[SAD] * 10, hop_s=0.25)
    assert outline(merged(windows, 2.5, silences=[(1.0, 1.25)], hop_s=0.25)) == [(0.0, 2.5, SAD)]
    assert len(merged(windows, 2.5, silences=[(1.0, 1.5)], hop_s=0.25)) == 3


def test_segments_follow_one_another_to_the_very_end():
    duration_s = 7.3
    windows = [
        window(start, end, {HAPPY: 0.6, SAD: 0.4}) for start, end in sliding_windows(duration_s, window_s=3, hop_s=1)
    ]
    segments = merged(windows, duration_s, silences=[(3, 5)])
    assert segments[0].start_s == 0
    assert segments[-1].end_s == duration_s
    assert all(before.end_s == after.start_s for before, after in itertools.pairwise(segments))
    assert all(before.emotion is not after.emotion for before, after in itertools.pairwise(segments))


def test_speech_share_counts_the_frames_between():
    frames = activity(1.0, (0.5, 0.75))
    assert speech_share(frames, frame_s=FRAME_S, start_s=0.5, end_s=1.0) == pytest.approx(0.5)
    assert speech_share(frames, frame_s=FRAME_S, start_s=1.0, end_s=1.0) == 0
