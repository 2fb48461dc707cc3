"""From the overlapping windows of a long recording to segments in which one emotion stays on top.

The rule, in the order in which it is applied:

1. The recording is cut into steps as long as the hop. A step in which less than `MIN_SPEECH_SHARE` of the frames hold
   speech belongs to nobody.
2. Every window that heard speech votes in each step whose middle it covers: the step's probabilities are the mean of
   theirs, weighted by their speech ratios. With windows of 3 s every 1 s three windows vote, which also smooths.
3. Neighbouring steps with the same emotion on top become one segment.
4. A segment of speech shorter than `MIN_SEGMENT_S` that touches another takes its emotion: the shortest first, and of
   two neighbours the one whose emotion is more probable there. An exclamation between two pauses stays.
5. A pause shorter than `MIN_PAUSE_S` between two segments goes to the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.domain import Label, Segment, TimelineWindow

MIN_SPEECH_SHARE = 0.2
"""More than a breath or a click in a step of a second."""
MIN_SEGMENT_S = 1.5
"""In ten minutes joined from held-out recordings by mood, 63 % of the speech got its label with 1.5 s, and 60 and 61 %
with 0 and 2.5 s (model telepathy-123d5ca55025; 75 % where the recordings were heard one by one)."""
MIN_PAUSE_S = 0.5
"""Shorter ones occur inside sentences; seen only where the hop is shorter than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    start_s: float
    end_s: float
    probabilities: Mapping[Label, float]
    """Empty where nobody speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Steps in a row under one emotion, or under none."""

    steps: tuple[_Step, ...]
    emotion: Label | None

    @property
    def duration_s(self) -> float:
        return self.steps[-1].end_s - self.steps[0].start_s

    def mean_probability(self, emotion: Label) -> float:
        """Mean over the steps in which somebody speaks; 0 where nobody does."""
        heard = [step.probabilities[emotion] for step in self.steps if step.probabilities]
        return sum(heard) / len(heard) if heard else 0.0


def merge_windows(
    windows: Sequence[TimelineWindow],
    *,
    activity: NDArray[np.bool_],
    frame_s: float,
    duration_s: float,
    hop_s: float,
) -> tuple[Segment, ...]:
    """Segments that follow one another without gap from 0 to `duration_s`, by the rule at the top of this module.

    Parameters
    ----------
    windows
        In order of time; those without speech carry no probabilities.
    activity : bool (n_frames,)
        Whether each frame of `frame_s` seconds holds speech.
    frame_s, duration_s, hop_s : float
        In seconds.

    Returns
    -------
    tuple of Segment
        At least one; neighbours differ in emotion. `confidence` is the mean probability of the segment's emotion over
        its steps.

    Examples
    --------
    >>> from core.domain import Emotion
    >>> heard = [TimelineWindow(start_s=s, end_s=s + 2.0, probabilities={Emotion.SAD: p, Emotion.HAPPY: 1 - p},
    ...                         speech_ratio=1.0, predictive_entropy_nats=0.5) for s, p in [(0.0, 0.9), (2.0, 0.2)]]
    >>> for segment in merge_windows(heard, activity=np.ones(40, bool), frame_s=0.1, duration_s=4.0, hop_s=2.0):
    ...     print(segment.start_s, segment.end_s, segment.emotion, segment.confidence)
    0.0 2.0 sad 0.9
    2.0 4.0 happy 0.8
    """
    steps = _steps(windows, activity=activity, frame_s=frame_s, duration_s=duration_s, hop_s=hop_s)
    stretches = _joined([_Stretch(steps=(step,), emotion=_top(step.probabilities)) for step in steps])
    stretches = _without_short_pauses(_without_blips(stretches))
    return tuple(
        Segment(
            start_s=stretch.steps[0].start_s,
            end_s=stretch.steps[-1].end_s,
            emotion=stretch.emotion,
            confidence=0.0 if stretch.emotion is None else stretch.mean_probability(stretch.emotion),
        )
        for stretch in stretches
    )


def _steps(
    windows: Sequence[TimelineWindow],
    *,
    activity: NDArray[np.bool_],
    frame_s: float,
    duration_s: float,
    hop_s: float,
) -> list[_Step]:
    n_steps = max(1, int(np.ceil(duration_s / hop_s - 1e-9)))
    heard = [window for window in windows if window.probabilities]
    steps: list[_Step] = []
    first = 0
    for index in range(n_steps):
        start_s, end_s = index * hop_s, min((index + 1) * hop_s, duration_s)
        middle_s = (start_s + end_s) / 2
        while first < len(heard) and heard[first].end_s <= middle_s:
            first += 1
        probabilities: Mapping[Label, float] = {}
        if speech_share(activity, frame_s=frame_s, start_s=start_s, end_s=end_s) >= MIN_SPEECH_SHARE:
            voters = []
            for window in heard[first:]:
                if window.start_s > middle_s:
                    break
                voters.append(window)
            probabilities = _vote(voters)
        steps.append(_Step(start_s=start_s, end_s=end_s, probabilities=probabilities))
    return steps


def speech_share(activity: NDArray[np.bool_], *, frame_s: float, start_s: float, end_s: float) -> float:
    """Share of the frames between `start_s` and `end_s` that hold speech, in [0, 1]."""
    frames = activity[round(start_s / frame_s) : max(round(end_s / frame_s), round(start_s / frame_s) + 1)]
    return float(frames.mean()) if len(frames) else 0.0


def _vote(windows: Sequence[TimelineWindow]) -> Mapping[Label, float]:
    total = sum(window.speech_ratio for window in windows)
    if not total:
        return {}
    return {
        emotion: sum(window.speech_ratio * window.probabilities[emotion] for window in windows) / total
        for emotion in windows[0].probabilities
    }


def _top(probabilities: Mapping[Label, float]) -> Label | None:
    return max(probabilities, key=lambda emotion: probabilities[emotion]) if probabilities else None


def _joined(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    joined: list[_Stretch] = []
    for stretch in stretches:
        if joined and joined[-1].emotion == stretch.emotion:
            joined[-1] = replace(joined[-1], steps=joined[-1].steps + stretch.steps)
        else:
            joined.append(stretch)
    return joined


def _without_blips(stretches: list[_Stretch]) -> list[_Stretch]:
    while True:
        short = [
            (stretch.duration_s, index)
            for index, stretch in enumerate(stretches)
            if stretch.emotion is not None
            and stretch.duration_s < MIN_SEGMENT_S - 1e-9
            and _neighbouring_emotions(stretches, index)
        ]
        if not short:
            return stretches
        _, index = min(short)
        blip = stretches[index]
        louder = max(_neighbouring_emotions(stretches, index), key=blip.mean_probability)
        stretches = _joined([*stretches[:index], replace(blip, emotion=louder), *stretches[index + 1 :]])


def _neighbouring_emotions(stretches: Sequence[_Stretch], index: int) -> list[Label]:
    neighbours = [*stretches[max(0, index - 1) : index], *stretches[index + 1 : index + 2]]
    return [stretch.emotion for stretch in neighbours if stretch.emotion is not None]


def _without_short_pauses(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    bridged = [
        replace(stretch, emotion=stretches[index - 1].emotion)
        if stretch.emotion is None and 0 < index < len(stretches) - 1 and stretch.duration_s < MIN_PAUSE_S - 1e-9
        else stretch
        for index, stretch in enumerate(stretches)
    ]
    return _joined(bridged)
