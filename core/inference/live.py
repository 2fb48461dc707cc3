"""Sound in while it is spoken, emotion out: one engine for the WebSocket, the WebRTC microphone and any other stream.

Samples come at any rate and in pieces of any size. Every `hop_s` the newest `window_s` is judged, by the very calls
that judge the windows of a file, so that the same samples give the same numbers (tested). Windows in which nobody
speaks get no emotion. Nothing is kept but the newest window and running sums: a stream of hours takes no more memory
than one of seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from core.domain import Label, LiveEmotion, LiveSummary
from core.errors import InvalidParameterError
from core.features.voice_activity import FRAME_S, VoiceActivity
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, Waveform
from core.inference.recogniser import Recogniser, require_passes
from core.inference.uncertainty import summarise_passes

MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 8_000, 192_000
MIN_WINDOW_S, MAX_WINDOW_S = 0.5, 5.0
MIN_HOP_S, MAX_HOP_S = 0.25, 1.0
MIN_SPEECH_RATIO = 0.3
"""A window with less speech gets no emotion: 0.3 s of one second, as long as the shortest recording accepted."""
_FLOOR_DBFS = -120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a stream is cut and judged.

    Raises
    ------
    InvalidParameterError
        A value is out of place.
    """

    sample_rate_hz: int
    """Of the samples that will be pushed."""
    window_s: float = 1.0
    hop_s: float = 0.5
    smoothing_s: float = 1.0
    """Time constant of the exponential mean, 0 for none. The smoothed answer lags behind by this much on average, and
    half a window more, because a window stands for its middle."""
    n_passes: int = 30
    seed: int = 0
    abstention_confidence: float = 0.4

    def __post_init__(self) -> None:
        _require("sample_rate", self.sample_rate_hz, MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ)
        _require("window_s", self.window_s, MIN_WINDOW_S, MAX_WINDOW_S)
        _require("hop_s", self.hop_s, MIN_HOP_S, MAX_HOP_S)
        _require("smoothing_s", self.smoothing_s, 0.0, 10.0)
        if self.hop_s > self.window_s:
            raise InvalidParameterError("hop_s", f"{self.hop_s:g}", f"at most window_s, which is {self.window_s:g}")
        require_passes(self.n_passes)

    @property
    def lag_s(self) -> float:
        """Mean age of what a smoothed answer tells of, in seconds, without the time it takes to compute and send."""
        return self.smoothing_s + self.window_s / 2


class LiveStream:
    """One stream under way. Not thread safe: push from one thread at a time."""

    def __init__(
        self,
        recogniser: Recogniser,
        options: LiveOptions,
        *,
        on_samples: Callable[[NDArray[np.float32]], None] | None = None,
    ) -> None:
        """`on_samples` is handed what was pushed, at 16 kHz, as it comes: to keep the stream as a recording."""
        self.options = options
        self._on_samples = on_samples
        self._recogniser = recogniser
        self._voice = VoiceActivity()
        self._resampler: soxr.ResampleStream | None = None
        if options.sample_rate_hz != TARGET_SAMPLE_RATE_HZ:
            self._resampler = soxr.ResampleStream(options.sample_rate_hz, TARGET_SAMPLE_RATE_HZ, 1, dtype="float32")
        self._n_window = round(options.window_s * TARGET_SAMPLE_RATE_HZ)
        self._flags: deque[bool] = deque(maxlen=round(options.window_s / FRAME_S))
        self._kept = np.zeros(0, dtype=np.float32)
        self._n_dropped = 0
        """Samples before the first of `_kept`."""
        self._n_flagged = 0
        """Frames the voice activity has judged."""
        self._n_voiced = 0
        self._n_windows = 0
        self._n_windows_with_speech = 0
        self._smoothed: NDArray[np.float64] | None = None
        self._total = np.zeros(len(recogniser.card.emotions))
        self._total_weight = 0.0

    @property
    def model_version(self) -> str:
        """Of the model that judges."""
        return self._recogniser.card.version

    @property
    def duration_s(self) -> float:
        """Sound received, in seconds."""
        return (self._n_dropped + len(self._kept)) / TARGET_SAMPLE_RATE_HZ

    def push(self, samples: NDArray[np.float32]) -> list[LiveEmotion]:
        """Take the next samples and judge the windows they complete.

        Parameters
        ----------
        samples : float32 (n_samples,)
            Mono, at the stream's rate, any number; values beyond [-1, 1] are clipped, and those that are not numbers
            count as 0.

        Returns
        -------
        list of LiveEmotion
            One for each window that ends within `samples`, in order of time; often none.
        """
        return self._take(samples, is_last=False)

    def finish(self) -> list[LiveEmotion]:
        """Judge the windows that only the end of the stream completes (resampling holds some milliseconds back)."""
        return self._take(np.zeros(0, dtype=np.float32), is_last=True)

    def summary(self) -> LiveSummary:
        """The stream so far, in one answer."""
        mean = self._total / self._total_weight if self._total_weight else None
        return LiveSummary(
            duration_s=self.duration_s,
            speech_s=self._n_voiced * FRAME_S,
            n_windows=self._n_windows,
            n_windows_with_speech=self._n_windows_with_speech,
            probabilities={} if mean is None else self._by_emotion(mean),
        )

    def _take(self, samples: NDArray[np.float32], *, is_last: bool) -> list[LiveEmotion]:
        clean = np.clip(np.nan_to_num(np.asarray(samples, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0), -1, 1)
        if self._resampler is not None:
            clean = np.clip(self._resampler.resample_chunk(clean, last=is_last), -1, 1)
        if self._on_samples is not None:
            self._on_samples(clean)
        found: list[LiveEmotion] = []
        for first in range(0, len(clean), self._n_window):
            # At most a window's worth at a time, so that one huge push needs no more memory than many small ones.
            self._kept = np.concatenate([self._kept, clean[first : first + self._n_window]])
            found += self._judge_complete_windows()
        return found

    def _judge_complete_windows(self) -> list[LiveEmotion]:
        found: list[LiveEmotion] = []
        while True:
            start_s = self._n_windows * self.options.hop_s
            end_s = start_s + self.options.window_s
            start, end = round(start_s * TARGET_SAMPLE_RATE_HZ), round(end_s * TARGET_SAMPLE_RATE_HZ)
            if end - self._n_dropped > len(self._kept):
                break
            self._flag_until(end)
            window = self._kept[start - self._n_dropped : end - self._n_dropped]
            found.append(self._judge(window, start_s, end_s))
            self._n_windows += 1
            n_done = round(self._n_windows * self.options.hop_s * TARGET_SAMPLE_RATE_HZ) - self._n_dropped
            self._kept = self._kept[n_done:].copy()
            self._n_dropped += n_done
        return found

    def _flag_until(self, end: int) -> None:
        """Have the voice activity judge everything up to sample `end` of the stream that it has not heard yet."""
        heard = self._n_flagged
        flags = self._voice.push(self._kept[heard - self._n_dropped : end - self._n_dropped])
        self._n_flagged = end
        self._n_voiced += sum(flags)
        self._flags.extend(flags)

    def _judge(self, window: NDArray[np.float32], start_s: float, end_s: float) -> LiveEmotion:
        speech_ratio = sum(self._flags) / len(self._flags)
        level_dbfs = max(_FLOOR_DBFS, 10 * float(np.log10(np.mean(np.square(window, dtype=np.float64)) + 1e-12)))
        if speech_ratio < MIN_SPEECH_RATIO:
            self._smoothed = None
            return LiveEmotion(
                start_s=start_s,
                end_s=end_s,
                probabilities={},
                smoothed={},
                uncertainty=None,
                abstained=False,
                speech_ratio=speech_ratio,
                level_dbfs=level_dbfs,
            )
        self._n_windows_with_speech += 1
        embedding = self._recogniser.embed_speech(Waveform(samples=window, sample_rate=TARGET_SAMPLE_RATE_HZ))
        passes = self._recogniser.pass_probabilities(
            embedding[np.newaxis], n_passes=self.options.n_passes, seed=self.options.seed
        )
        summary = summarise_passes(passes[:, 0])
        self._total += speech_ratio * summary.mean
        self._total_weight += speech_ratio
        self._smoothed = self._smooth(summary.mean)
        return LiveEmotion(
            start_s=start_s,
            end_s=end_s,
            probabilities=self._by_emotion(summary.mean),
            smoothed=self._by_emotion(self._smoothed),
            uncertainty=summary.uncertainty,
            abstained=bool(self._smoothed.max() < self.options.abstention_confidence),
            speech_ratio=speech_ratio,
            level_dbfs=level_dbfs,
        )

    def _smooth(self, newest: NDArray[np.float64]) -> NDArray[np.float64]:
        """Exponential mean; after silence it begins anew, since another sentence may carry another emotion."""
        if self._smoothed is None or self.options.smoothing_s == 0:
            return newest
        kept = float(np.exp(-self.options.hop_s / self.options.smoothing_s))
        return kept * self._smoothed + (1 - kept) * newest

    def _by_emotion(self, values: NDArray[np.float64]) -> Mapping[Label, float]:
        return dict(zip(self._recogniser.card.emotions, values.tolist(), strict=True))


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InvalidParameterError(name, f"{value:g}", f"a number from {low:g} to {high:g}")
