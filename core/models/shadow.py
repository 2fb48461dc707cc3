"""A model in the shadow: it hears what the deployed one answers, says what it would have said, and nobody is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import structlog

from core.config import Settings
from core.domain import Prediction, Recording
from core.errors import TelepathyError
from core.features.waveform import Waveform
from core.inference.recogniser import Recogniser
from core.store.engine import Store
from core.store.models import ShadowAnswer, insert_shadow_answer

log = structlog.get_logger(__name__)

MAX_WAITING = 8
"""Clips that may wait for the shadow; what comes beyond is left out, as a sample serves a comparison too."""
NICENESS = 15


class Shadow:
    """One thread at low priority; recordings wait in memory until it comes to them."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="shadow", initializer=_be_modest)
        self._changing = threading.Lock()
        self._n_waiting = 0
        self.n_left_out = 0
        """Clips that it was too busy for, since the process began."""

    def hear(
        self, open_model: Callable[[], Recogniser], waveform: Waveform, recording: Recording, prediction: Prediction
    ) -> bool:
        """Have the model that `open_model` gives judge a clip that was answered; False when too many wait.

        Never raises: whoever was answered has nothing to do with it.
        """
        with self._changing:
            if self._n_waiting >= MAX_WAITING:
                self.n_left_out += 1
                return False
            self._n_waiting += 1
        try:
            self._threads.submit(self._judge, open_model, waveform, recording, prediction)
        except RuntimeError:  # the process is about to end
            with self._changing:
                self._n_waiting -= 1
            return False
        return True

    def _judge(
        self, open_model: Callable[[], Recogniser], waveform: Waveform, recording: Recording, prediction: Prediction
    ) -> None:
        try:
            settings = self._settings
            recognition = open_model().recognise(
                waveform,
                n_passes=prediction.n_passes,
                seed=settings.seed,
                window_s=settings.window_s,
                hop_s=settings.hop_s,
                abstention_confidence=settings.abstention_confidence,
                timeline=False,
            )
            top, confidence = max(prediction.probabilities.items(), key=lambda pair: pair[1])
            insert_shadow_answer(
                self._store,
                answer=ShadowAnswer(
                    prediction_id=prediction.id,
                    recording_id=recording.id,
                    answered_at=datetime.now(UTC),
                    champion_version=prediction.model_version,
                    champion_emotion=top,
                    champion_confidence=confidence,
                    shadow_version=recognition.model_version,
                    probabilities=recognition.probabilities,
                ),
            )
        except TelepathyError as error:
            log.warning("a model in the shadow said nothing", reason=str(error))
        except Exception as error:
            log.error("a model in the shadow failed", exc_info=error)
        finally:
            with self._changing:
                self._n_waiting -= 1

    def close(self) -> None:
        """Finish the clip at hand and forget those that wait."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _be_modest() -> None:
    """This thread alone: Linux keeps a niceness for each."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
