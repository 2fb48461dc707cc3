"""A stream whose samples come on one thread and whose answers are read on another, such as a WebRTC microphone."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from core.domain import LiveEmotion, LiveSummary
from core.errors import QuotaExceededError, StoreError, TelepathyError
from core.features.stream_file import StreamFile
from core.inference.live import LiveOptions, LiveStream
from core.inference.recogniser import Recogniser

KEPT_EVENTS = 130
"""The newest half minute at four answers a second, and a little more."""
_WAITING_FRAMES = 1_500
"""Frames of 20 ms that may wait to be judged: half a minute."""
CHECK_EVERY_S = 3.0
"""How long a session can go on whose owner may not listen any more."""
_LOOK_EVERY_S = 0.1
_PEAK_FRAMES = 15
"""Frames of 20 ms over which a level meter looks: a little more than lies between two looks of a page."""

log = structlog.get_logger(__name__)


class LiveSession:
    """Judges, on a thread of its own, what `push` takes; keeps the newest answers and, as a file, the sound.

    The thread begins with the first samples and ends with `finish`, with `discard`, or, when neither is called because
    the other side is gone, once nothing has come for `idle_s`; the sound is then let go of.

    Parameters
    ----------
    recogniser
        The model.
    options
        From the sample rate, which only the first frame tells.
    max_duration_s
        What comes after so much is judged and not kept.
    folder
        Where the sound waits on disk.
    idle_s
        How long silence from the other side is borne.
    may_go_on
        Asked every `CHECK_EVERY_S`, by the session's thread, with the seconds heard. What it raises ends the session;
        the sound waits for `finish` or `discard` where a quota is used up, and is let go of otherwise.
    on_over
        Told, by the session's thread, of the whole and the model's version once nothing more is judged.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        options: Callable[[int], LiveOptions],
        *,
        max_duration_s: float,
        folder: Path,
        idle_s: float = 600.0,
        may_go_on: Callable[[float], None] | None = None,
        on_over: Callable[[LiveSummary, str], None] | None = None,
    ) -> None:
        self._recogniser = recogniser
        self._options = options
        self._max_duration_s = max_duration_s
        self._folder = folder
        self._n_idle = max(1, round(idle_s / _LOOK_EVERY_S))
        self._may_go_on = may_go_on
        self._check_at_s = time.monotonic() + CHECK_EVERY_S
        self._on_over = on_over
        self._waiting: queue.Queue[tuple[NDArray[np.float32], int]] = queue.Queue(_WAITING_FRAMES)
        self._changing = threading.Lock()
        self._events: deque[LiveEmotion] = deque(maxlen=KEPT_EVENTS)
        self._file: StreamFile | None = None
        self._stream: LiveStream | None = None
        self._peaks: deque[float] = deque(maxlen=_PEAK_FRAMES)
        self._duration_s = 0.0
        self._n_lost = 0
        self._ending = threading.Event()
        self._failure: TelepathyError | None = None
        self._worker: threading.Thread | None = None

    @property
    def events(self) -> list[LiveEmotion]:
        """The newest answers, oldest first.

        Raises
        ------
        TelepathyError
            Why there are no more.
        """
        with self._changing:
            if self._failure is not None:
                raise self._failure
            return list(self._events)

    @property
    def duration_s(self) -> float:
        """Sound judged so far, in seconds."""
        with self._changing:
            return self._duration_s

    @property
    def peak_dbfs(self) -> float:
        """Loudest sample of the newest frames, as they came in, before anything is judged: for a level meter."""
        with self._changing:
            return 20 * math.log10(max(self._peaks, default=0.0) + 1e-6)

    @property
    def failure(self) -> TelepathyError | None:
        """Why nothing more is judged; None while it goes on, or when it was ended."""
        with self._changing:
            return self._failure

    @property
    def is_over(self) -> bool:
        """Whether it takes nothing more: finished, discarded, or left alone so long that its sound was let go of."""
        return self._ending.is_set()

    @property
    def n_lost(self) -> int:
        """Frames that came while too many others waited, and were dropped; 0 unless the machine is overloaded."""
        with self._changing:
            return self._n_lost

    def push(self, samples: NDArray[np.float32], sample_rate: int) -> None:
        """Take samples, float32 (n_samples,). Returns at once, from whatever thread."""
        with self._changing:
            self._peaks.append(float(np.abs(samples).max(initial=0.0)))
            if self._worker is None and not self._ending.is_set():
                self._file = StreamFile(self._max_duration_s, folder=self._folder)
                self._worker = threading.Thread(target=self._work, name="live-session", daemon=True)
                self._worker.start()
            if self._failure is not None:
                return
        try:
            self._waiting.put_nowait((samples, sample_rate))
        except queue.Full:
            with self._changing:
                self._n_lost += 1

    def finish(self) -> bytes | None:
        """Judge what waits, stop, and give the sound as a FLAC file; None when none is there, or no longer."""
        self._stop()
        kept, self._file = self._file, None
        return None if kept is None else kept.finish()

    def discard(self) -> None:
        """Stop and let go of the sound."""
        self._stop()
        self._let_go()

    def _stop(self) -> None:
        self._ending.set()
        if self._worker is not None:
            self._worker.join()

    def _let_go(self) -> None:
        kept, self._file = self._file, None
        if kept is not None:
            kept.discard()

    def _work(self) -> None:
        try:
            self._judge_all()
        except TelepathyError as error:
            with self._changing:
                self._failure = error
            if not isinstance(error, QuotaExceededError):
                self._ending.set()
                self._let_go()
        finally:
            self._tell_over()

    def _tell_over(self) -> None:
        if self._stream is not None and self._on_over is not None:
            self._on_over(self._stream.summary(), self._stream.model_version)

    def _judge_all(self) -> None:
        n_idle = 0
        while n_idle < self._n_idle:
            try:
                samples, sample_rate = self._waiting.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                if self._ending.is_set():
                    return
                n_idle += 1
                continue
            n_idle = 0
            self._check()
            if self._stream is None or self._stream.options.sample_rate_hz != sample_rate:
                self._tell_over()
                self._stream = LiveStream(self._recogniser, self._options(sample_rate), on_samples=self._keep)
            heard = self._stream.push(samples)
            with self._changing:
                self._events.extend(heard)
                self._duration_s = self._stream.duration_s
        self._ending.set()
        self._let_go()

    def _check(self) -> None:
        if self._may_go_on is None or time.monotonic() < self._check_at_s:
            return
        try:
            self._may_go_on(self.duration_s)
        except StoreError as error:
            log.warning("whether a stream may go on is not known", reason=str(error))
        self._check_at_s = time.monotonic() + CHECK_EVERY_S

    def _keep(self, samples: NDArray[np.float32]) -> None:
        if self._file is not None:
            self._file.write(samples)
