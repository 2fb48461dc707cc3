"""Why this emotion: SHAP values of the served model over stretches of time and bands of frequency.

The log-mel that the model hears is cut into regions, a few stretches long and three bands high. A coalition is a set of
regions that are kept; all others are replaced by the recording's own background. Kernel SHAP asks the model about many
coalitions and shares the difference between its answers for all regions and for none among the regions.

Conventions: values are in nats of log-odds. Without `contrast` they explain `ln p / (1 - p)` of one emotion; with it
`ln p / q` of one emotion over another. `p` and `q` are the plain answer: every unit kept, at the card's temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.domain import Label
from core.errors import InvalidParameterError
from core.features.log_mel import FRAMES_PER_SECOND, log_mel, mel_borders_hz
from core.features.speech import speech_span
from core.features.waveform import Waveform
from core.inference.recogniser import MIN_PASSES, Progress, Recogniser, softmax
from core.inference.shapley import draw_coalitions, solve_shapley

N_BANDS = 3
"""Below 1 kHz pitch and first formant, to 2.8 kHz the second, above it breath and sibilants."""
MAX_STRETCHES = 8
SHORTEST_STRETCH_S = 0.25
"""About a syllable, or half of a slow one."""
EVALUATIONS_PER_REGION = 5
"""One number is fitted for each region, and the answers are far from additive: values of two seeds correlate by 0.84 on
20 recordings, by 0.92 with eight evaluations; `benchmarks/attribution.py` says how it stands now. With five, five
seconds of speech take less than three on two cores without AVX-512."""
MIN_EVALUATIONS = 64
"""All coalitions of the six regions of a short clip, whose values are exact."""
QUIET_SHARE = 0.1
DYNAMIC_RANGE = 2.0
"""The front end holds nothing lower than its maximum less this: 80 dB."""
MAX_SEED = 2**32 - 1
_ASKED, _WALKED = 0.95, 0.4
"""How far an explanation is once the model has been asked, and once a long recording has been walked through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From when to when, in seconds from the start of the waveform handed in."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """How much each region of a recording spoke for an emotion."""

    model_version: str
    emotion: Label
    """The one explained."""
    contrast: Label | None
    """The one it is set against; None for all others together."""
    values: NDArray[np.float32]
    """SHAP value of each region in nats, `(n_times, n_bands)`; they sum to `output - baseline`."""
    time_edges_s: NDArray[np.float64]
    """`(n_times + 1,)`, in seconds from the start of the waveform handed in: silence at its ends is not explained."""
    band_edges_hz: NDArray[np.float64]
    """`(n_bands + 1,)`, rising from 0 to 8000."""
    log_mel: NDArray[np.float32]
    """Of the whole waveform, `(n_frames, n_mels)`, 100 frames a second: for drawing."""
    baseline: float
    """Log-odds in nats when every region is replaced by the background."""
    output: float
    """Log-odds in nats of the recording as it is."""
    probabilities: Mapping[Label, float]
    """The plain answer for `window`, without dropout; sums to 1."""
    runner_up: Label
    """The most probable emotion beside `emotion`."""
    n_evaluations: int
    """Times the encoder was run on a coalition."""
    seed: int
    window: Stretch
    """What was explained: the whole waveform, or the one window of a long one."""


def attribute(
    recogniser: Recogniser,
    waveform: Waveform,
    *,
    emotion: Label | None = None,
    contrast: Label | None = None,
    seed: int = 0,
    start_s: float | None = None,
    window_s: float = 3.0,
    hop_s: float = 1.0,
    progress: Progress | None = None,
) -> Attribution:
    """Share an emotion's log-odds among the times and bands of a recording.

    Regions that are left out hold, in each mel band, the mean of the recording's quietest tenth of frames: as if the
    room had been silent there. One value is never left out, the loudest of the log-mel: the encoder measures every
    level from it, so without it all that remains would seem louder.

    Parameters
    ----------
    waveform
        Mono, 16 kHz, more than 200 samples. Where its speech is longer than the model hears at once, the window in
        which the emotion is most probable is explained, and `window` tells which.
    emotion
        What to explain; None for the answer on the whole recording.
    contrast
        Explain why `emotion` and not this one; None for why not any other.
    seed
        Of the coalitions, 0 to 2**32 - 1; the same seed gives the same values, bit for bit.
    start_s
        Explain the window that starts here instead; one that would end beyond the recording ends with it.
    window_s, hop_s
        Length and step of the windows of a long recording, as in `Recogniser.recognise`.
    progress
        Called from this thread.

    Raises
    ------
    InvalidParameterError
        The model does not know an emotion, `contrast` is `emotion`, or `seed` or `start_s` is out of place.

    References
    ----------
    Lundberg and Lee (2017), "A unified approach to interpreting model predictions", NIPS, section 4.1 (Kernel SHAP).
    """
    _require(recogniser, waveform, emotion=emotion, contrast=contrast, seed=seed, start_s=start_s)
    tell = progress or _tell_nobody
    tell(0.0, "Listening")
    emotion, window, shown = _find_window(
        recogniser, waveform, emotion=emotion, start_s=start_s, window_s=window_s, hop_s=hop_s, tell=tell
    )
    whole = log_mel(waveform)
    heard, offset_s = _frames_of_speech(waveform, window)
    regions = _Regions.of(heard, background=quiet_background(whole))
    logits = recogniser.plain_logits(recogniser.embed_log_mel(heard)[np.newaxis])
    probabilities = dict(zip(recogniser.card.emotions, softmax(logits, temperature=1)[0].tolist(), strict=True))
    if emotion is None:
        emotion = max(probabilities, key=lambda each: probabilities[each])
    if contrast is not None and contrast == emotion:
        raise InvalidParameterError("contrast", repr(contrast.value), "another emotion than the one explained")
    index = recogniser.card.emotions.index(emotion)
    other = None if contrast is None else recogniser.card.emotions.index(contrast)

    def ask(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        embeddings = []
        with ThreadPoolExecutor(recogniser.n_interpreters, thread_name_prefix="explain") as threads:
            answers = threads.map(lambda kept: recogniser.embed_log_mel(regions.masked(kept)), coalitions)
            for number, embedding in enumerate(answers, start=1):
                embeddings.append(embedding)
                tell(shown + (_ASKED - shown) * number / len(coalitions), f"Asked {number} of {len(coalitions)} times")
        return log_odds(recogniser.plain_logits(np.stack(embeddings)), index, contrast=other)

    game = _Game(ask)
    values = _shapley_values(game, n_players=regions.n_times * N_BANDS, seed=seed)
    tell(1.0, "Explained")
    everything = np.ones(regions.n_times * N_BANDS, dtype=bool)
    return Attribution(
        model_version=recogniser.card.version,
        emotion=emotion,
        contrast=contrast,
        values=values.reshape(regions.n_times, N_BANDS).astype(np.float32),
        time_edges_s=offset_s + regions.frame_edges / FRAMES_PER_SECOND,
        band_edges_hz=mel_borders_hz()[regions.mel_edges],
        log_mel=whole,
        baseline=game.worth_of(~everything),
        output=game.worth_of(everything),
        probabilities=probabilities,
        runner_up=max((each for each in probabilities if each != emotion), key=lambda each: probabilities[each]),
        n_evaluations=game.n_evaluations,
        seed=seed,
        window=window,
    )


def strongest_stretch(attribution: Attribution) -> tuple[float, float]:
    """The stretch that mattered most, `(start_s, end_s)`: to be played alone.

    Of all runs of neighbouring stretches of time, the one with the largest sum of SHAP values above the average of
    the stretches (or above zero where the average is negative). Counted without the average, a recording that speaks
    for its emotion throughout would be its own strongest stretch.
    """
    by_time = attribution.values.sum(axis=1, dtype=np.float64)
    excess = by_time - max(0.0, float(by_time.mean()))
    sums = np.concatenate([[0.0], np.cumsum(excess)])
    n_times = len(by_time)
    gains = {(start, end): sums[end] - sums[start] for start in range(n_times) for end in range(start + 1, n_times + 1)}
    start, end = max(gains, key=lambda bounds: (gains[bounds], bounds[0] - bounds[1]))
    return float(attribution.time_edges_s[start]), float(attribution.time_edges_s[end])


def probabilities_after_deletion(
    recogniser: Recogniser, waveform: Waveform, attribution: Attribution, order: Sequence[int]
) -> NDArray[np.float64]:
    """The emotion's probability as one region after another is replaced by the background.

    The better an attribution, the faster this falls when regions go in the order of their values.

    Parameters
    ----------
    waveform
        The one that `attribution` is about.
    order
        Indexes into `attribution.values.ravel()`.

    Returns
    -------
    float64 (len(order) + 1,)
        The first is the whole answer.

    References
    ----------
    Petsiuk, Das and Saenko (2018), "RISE: Randomized input sampling for explanation of black-box models", BMVC,
    section 4.2 (deletion metric).
    """
    heard, _ = _frames_of_speech(waveform, attribution.window)
    regions = _Regions.of(heard, background=quiet_background(attribution.log_mel))
    kept = np.ones(regions.n_times * N_BANDS, dtype=bool)
    embeddings = [recogniser.embed_log_mel(heard)]
    for index in order:
        kept[index] = False
        embeddings.append(recogniser.embed_log_mel(regions.masked(kept)))
    probabilities = softmax(recogniser.plain_logits(np.stack(embeddings)), temperature=1)
    return probabilities[:, recogniser.card.emotions.index(attribution.emotion)]


def log_odds(logits: NDArray[np.float64], index: int, *, contrast: int | None) -> NDArray[np.float64]:
    """`ln p / (1 - p)` of the emotion at `index`, or `ln p / q` over the one at `contrast`, in nats.

    Taken from the logits, since probabilities near 1 have no digits left for it.

    Examples
    --------
    >>> log_odds(np.log([[1.0, 6.0, 2.0]]), 1, contrast=None).round(4).tolist(), round(float(np.log(6 / 3)), 4)
    ([0.6931], 0.6931)
    >>> log_odds(np.log([[1.0, 6.0, 2.0]]), 1, contrast=2).round(4).tolist(), round(float(np.log(6 / 2)), 4)
    ([1.0986], 1.0986)
    """
    if contrast is not None:
        against: NDArray[np.float64] = logits[:, contrast]
    else:
        against = np.logaddexp.reduce(np.delete(logits, index, axis=1), axis=1)
    difference: NDArray[np.float64] = logits[:, index] - against
    return difference


def quiet_background(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a recording sounds like where nobody speaks: mean of its quietest tenth of frames, float32 (n_mels,)."""
    n_quiet = max(1, round(QUIET_SHARE * len(frames)))
    quietest = np.argsort(frames.mean(axis=1), kind="stable")[:n_quiet]
    background: NDArray[np.float32] = frames[quietest].mean(axis=0)
    return background


@dataclass(frozen=True, slots=True, kw_only=True)
class _Regions:
    """The log-mel that the model hears, cut up, and what stands in for the regions left out."""

    heard: NDArray[np.float32]
    silent: NDArray[np.float32]
    frame_edges: NDArray[np.int64]
    mel_edges: NDArray[np.int64]

    @classmethod
    def of(cls, heard: NDArray[np.float32], *, background: NDArray[np.float32]) -> _Regions:
        n_frames, n_mels = heard.shape
        longest = int(n_frames / FRAMES_PER_SECOND / SHORTEST_STRETCH_S)
        n_times = min(n_frames, max(2, min(longest, MAX_STRETCHES)))
        silent = np.tile(np.maximum(background, heard.max() - DYNAMIC_RANGE), (n_frames, 1))
        loudest = np.unravel_index(heard.argmax(), heard.shape)
        silent[loudest] = heard[loudest]
        return cls(
            heard=heard,
            silent=silent.astype(np.float32),
            frame_edges=np.linspace(0, n_frames, n_times + 1).round().astype(np.int64),
            mel_edges=np.linspace(0, n_mels, N_BANDS + 1).round().astype(np.int64),
        )

    @property
    def n_times(self) -> int:
        return len(self.frame_edges) - 1

    def masked(self, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The log-mel with the regions `kept`, (n_times * n_bands,), and the background elsewhere."""
        grid = kept.reshape(self.n_times, N_BANDS)
        frames = np.repeat(grid, np.diff(self.frame_edges), axis=0)
        return np.where(np.repeat(frames, np.diff(self.mel_edges), axis=1), self.heard, self.silent)


class _Game:
    """What coalitions are worth; each is asked for once, many at a time."""

    def __init__(self, ask: Callable[[NDArray[np.bool_]], NDArray[np.float64]]) -> None:
        self._ask = ask
        self._worths: dict[bytes, float] = {}

    @property
    def n_evaluations(self) -> int:
        return len(self._worths)

    def learn(self, coalitions: NDArray[np.bool_]) -> None:
        new = {kept.tobytes(): kept for kept in coalitions if kept.tobytes() not in self._worths}
        if new:
            self._worths |= dict(zip(new, self._ask(np.stack(list(new.values()))).tolist(), strict=True))

    def worth_of(self, kept: NDArray[np.bool_]) -> float:
        return self._worths[kept.tobytes()]


def _shapley_values(game: _Game, *, n_players: int, seed: int) -> NDArray[np.float64]:
    """Ask about coalitions drawn with `seed`, and share their worths among the regions."""
    nobody, everybody = np.zeros((1, n_players), dtype=bool), np.ones((1, n_players), dtype=bool)
    drawn = draw_coalitions(n_players, n_coalitions=_n_coalitions(n_players), seed=seed)
    game.learn(np.concatenate([nobody, everybody, drawn.members]))
    return solve_shapley(
        drawn,
        np.array([game.worth_of(kept) for kept in drawn.members]),
        worth_of_nobody=game.worth_of(nobody[0]),
        worth_of_everybody=game.worth_of(everybody[0]),
    )


def _n_coalitions(n_players: int) -> int:
    return max(MIN_EVALUATIONS, EVALUATIONS_PER_REGION * n_players) - 2


def _find_window(
    recogniser: Recogniser,
    waveform: Waveform,
    *,
    emotion: Label | None,
    start_s: float | None,
    window_s: float,
    hop_s: float,
    tell: Progress,
) -> tuple[Label | None, Stretch, float]:
    """What to explain of which stretch, and how far the explanation is once that is known."""
    duration_s = waveform.duration_s
    if start_s is not None and duration_s > window_s:
        first_s = min(start_s, duration_s - window_s)
        return emotion, Stretch(start_s=first_s, end_s=first_s + window_s), 0.0
    start, end = speech_span(waveform)
    if end - start <= recogniser.parameters.max_context_s * waveform.sample_rate:
        return emotion, Stretch(start_s=0.0, end_s=duration_s), 0.0
    answer = recogniser.without_dropout().recognise(
        waveform,
        n_passes=MIN_PASSES,
        seed=0,
        window_s=window_s,
        hop_s=hop_s,
        abstention_confidence=0.0,
        timeline=True,
        progress=lambda share, doing: tell(share * _WALKED, doing),
    )
    found = emotion or max(answer.probabilities, key=lambda each: answer.probabilities[each])
    window = max(answer.windows, key=lambda each: each.probabilities.get(found, 0.0))
    return found, Stretch(start_s=window.start_s, end_s=window.end_s), _WALKED


def _frames_of_speech(waveform: Waveform, window: Stretch) -> tuple[NDArray[np.float32], float]:
    """The log-mel that the model hears of `window`, and when its first frame begins on the waveform's time axis."""
    rate = waveform.sample_rate
    first = round(window.start_s * rate)
    samples = waveform.samples[first : round(window.end_s * rate)]
    start, end = speech_span(Waveform(samples=samples, sample_rate=rate))
    heard = log_mel(Waveform(samples=samples[start:end], sample_rate=rate))
    return heard, (first + start) / rate


def _require(
    recogniser: Recogniser,
    waveform: Waveform,
    *,
    emotion: Label | None,
    contrast: Label | None,
    seed: int,
    start_s: float | None,
) -> None:
    known = recogniser.card.emotions
    for name, given in (("emotion", emotion), ("contrast", contrast)):
        if given is not None and given not in known:
            raise InvalidParameterError(
                name, repr(given.value), f"one that {recogniser.card.name} says: {', '.join(known)}"
            )
    if not 0 <= seed <= MAX_SEED:
        raise InvalidParameterError("seed", str(seed), f"a whole number from 0 to {MAX_SEED}")
    if start_s is not None and not 0 <= start_s < waveform.duration_s:
        expected = f"at least 0 and less than the recording's {waveform.duration_s:.2f} s"
        raise InvalidParameterError("start_s", f"{start_s:g}", expected)


def _tell_nobody(_share: float, _doing: str) -> None:
    """The progress of an explanation that nobody watches."""
