"""What numbers mean, said to people who are not engineers. The one place that chooses such words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

from core.domain import Emotion, JobState, Label, Prediction, Recording, Source, Uncertainty, in_order
from core.reports.filter_words import SOURCE_WORDS
from core.store.predictions import PredictionOrder
from pages.parts.theme import sign_of

MAX_ENTROPY_NATS = math.log(len(Emotion))

CONFIDENCE_HELP = (
    "The probability of the emotion we hear most. It was adjusted so that, of all answers with 70 %, about 70 % "
    "should be right; how well that holds for each kind of recording stands on the model's card."
)
INTERVAL_HELP = (
    "The model is asked many times, each time with another random part of it switched off. "
    "The line spans the middle 90 % of those answers: a short line means that they agree."
)
UNCERTAINTY_HELP = (
    "Predictive entropy, in nats. 0: one emotion and no other comes into question. "
    f"{MAX_ENTROPY_NATS:.2f}: all eight are equally likely, so we know nothing."
)
RECORDING_DOUBT_HELP = (
    "Expected entropy, in nats: doubt that lies in the recording. The voice itself is ambiguous, noisy or mixed, "
    "and no better model would be sure."
)
MODEL_DOUBT_HELP = (
    "Mutual information, in nats: doubt that lies in the model. Its parts disagree, mostly because it has heard "
    "little that sounds like this."
)
LOUDNESS_HELP = "Loudest moment and average, in decibels below the loudest that a file can hold (dBFS)."
SPEECH_HELP = "Share of the recording in which somebody speaks."
NOISE_HELP = "How far speech stands above the noise between the words, in decibels. 20 dB and more is good."
BANDWIDTH_HELP = "How high the recorded sound reaches. Telephones stop near 3,400 Hz; 8,000 Hz is all the model uses."

OPENING_HELP = "Tick a row to open it; by keyboard, go there with the arrows and press Shift and Space."

ORDER_WORDS = {
    PredictionOrder.NEWEST: "Newest first",
    PredictionOrder.OLDEST: "Oldest first",
    PredictionOrder.MOST_CONFIDENT: "Most confident first",
    PredictionOrder.LEAST_CONFIDENT: "Least confident first",
    PredictionOrder.MOST_UNCERTAIN: "Most uncertain first",
    PredictionOrder.LEAST_UNCERTAIN: "Least uncertain first",
}


def emotion_label(emotion: Label) -> str:
    """Sign and word: `✕ angry`."""
    return f"{sign_of(emotion)} {emotion.value}"


def shown_labels(labels: Iterable[Label]) -> list[Label]:
    """What has a row where a model says `labels`: all eight emotions, known to it or not, or its own labels."""
    found = in_order(labels)
    return list(Emotion) if set(found) <= set(Emotion) else found


def ranked(prediction: Prediction) -> list[Label]:
    """The emotions, the most probable first."""
    return sorted(prediction.probabilities, key=lambda emotion: -prediction.probabilities[emotion])


def verdict(prediction: Prediction) -> str:
    """The answer in one line: `angry, 72 % sure` or `angry or disgust`."""
    first, second, *_ = ranked(prediction)
    if prediction.abstained:
        return f"{first} or {second}"
    return f"{first}, {percent(prediction.confidence)} sure"


def verdict_lead(prediction: Prediction) -> str:
    """What stands before the verdict."""
    return "Not sure" if prediction.abstained else "We hear"


def runner_up(prediction: Prediction) -> str:
    """How the best two compare, in one sentence."""
    first, second, *_ = ranked(prediction)
    probabilities = prediction.probabilities
    if prediction.abstained:
        return (
            f"The best guess, {first}, reaches only {percent(probabilities[first])}, so we would rather not decide. "
            f"Next comes {second} with {percent(probabilities[second])}."
        )
    if prediction.intervals[second].high > prediction.intervals[first].low:
        return f"{second.capitalize()} is possible too, with {percent(probabilities[second])}."
    return f"Next comes {second} with {percent(probabilities[second])}, well behind."


def doubt(uncertainty: Uncertainty) -> str:
    """How much doubt there is and where it lies, in one sentence."""
    if uncertainty.predictive_entropy_nats < 0.5:
        return "There is hardly any doubt."
    amount = "some doubt" if uncertainty.predictive_entropy_nats < 1.2 else "much doubt"
    model_share = uncertainty.mutual_information_nats / uncertainty.predictive_entropy_nats
    if model_share < 0.15:
        return f"There is {amount}, and it lies in the voice: it carries more than one emotion, or little of any."
    if model_share < 0.5:
        return f"There is {amount}: partly in the voice, partly because the model has heard little like it."
    return f"There is {amount}, mostly because the model has heard little that sounds like this."


def percent(share: float) -> str:
    """`72 %`, on one line; never 0 % or 100 % of what is not."""
    if 0 < share < 0.005:
        return "under 1\u00a0%"
    if 0.995 <= share < 1:
        return "over 99\u00a0%"
    return f"{share:.0%}".replace("%", "\u00a0%")


def decibels(level: float) -> str:
    """A level or ratio in whole decibels, never `-0`."""
    text = f"{level:.0f}"
    return "0" if text == "-0" else text


def duration(seconds: float, *, exact: bool = False) -> str:
    """`4.2 s`, or `3:07 min` from a minute on; `exact` says `48 ms` below a second."""
    if exact and seconds < 0.9995:
        return f"{seconds * 1e3:.0f}\u00a0ms"
    if seconds < 59.95:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}\u00a0min"


def share_of(n_shown: int, n_all: int) -> str:
    """How many predictions are shown, of how many."""
    if n_shown < n_all:
        return f"{n_shown:,} of {n_all:,} predictions"
    return "The only prediction so far" if n_all == 1 else f"All {n_all:,} predictions"


def sample_name(stem: str) -> str:
    """A sample's file name as a label: `slow-low-flat` becomes `Slow, low, flat`."""
    return stem.replace("-", ", ").capitalize()


def clock(seconds: float) -> str:
    """A place in a recording: `1:07`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def origin(recording: Recording, source: Source) -> str:
    """By which door a recording came this time, and what it is: `Upload · WAV, 44,100 Hz, stereo · 4.2 s`."""
    channels = {1: "mono", 2: "stereo"}.get(recording.format.n_channels, f"{recording.format.n_channels} channels")
    kind = f"{recording.format.container}, {recording.format.sample_rate_hz:,} Hz, {channels}"
    return f"{SOURCE_WORDS[source]} · {kind} · {duration(recording.duration_s)}"


JOB_WORDS = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "under way",
    JobState.PAUSED: "paused",
    JobState.SUCCEEDED: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
JOB_ICONS = {
    JobState.QUEUED: ":material/schedule:",
    JobState.RUNNING: ":material/play_circle:",
    JobState.PAUSED: ":material/pause_circle:",
    JobState.SUCCEEDED: ":material/check_circle:",
    JobState.FAILED: ":material/error:",
    JobState.CANCELLED: ":material/cancel:",
}


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 recording`, `1,000 recordings`.

    >>> count(1, "recording"), count(1000, "recording"), count(2, "entry", "entries")
    ('1 recording', '1,000 recordings', '2 entries')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def when(moment: datetime, zone: tzinfo) -> str:
    """Day and time at the reader's clock; UTC says so."""
    return f"{moment.astimezone(zone):%d %b %Y, %H:%M}{' UTC' if zone is UTC else ''}"


def plain(text: str) -> str:
    """What somebody typed, as they typed it: nothing in it counts as markdown.

    >>> plain("a*b*")
    'a\\\\*b\\\\*'
    """
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=@])", r"\\\1", " ".join(text.split()))


def browser(user_agent: str) -> str:
    """The program and system behind a `User-Agent`, as far as can be told.

    >>> browser("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36")
    'Chrome on Linux'
    """
    programs = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {
        **{"iPhone": "iPhone", "iPad": "iPad", "Android": "Android"},
        **{"Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux"},
    }
    program = next((name for mark, name in programs.items() if mark in user_agent), "A program")
    system = next((name for mark, name in systems.items() if mark in user_agent), "")
    return f"{program} on {system}" if system else program
