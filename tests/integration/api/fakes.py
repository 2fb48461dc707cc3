"""A workbench that does as it is told, for what a real one does only on bad days."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from core.access.guards import KeyGuard, SignInGuard
from core.access.limits import CallLimits
from core.access.windows import Windows
from core.config import Settings
from core.domain import Caller, Emotion, Source
from core.inference.attribution import Attribution, Stretch
from core.inference.executor import InferenceExecutor
from core.plans import default_plans
from core.usage import Use
from tests.callers import FakeAccess
from tests.factories import make_prediction, make_probabilities, make_recording
from tests.ledgers import RememberedUsage

NO_LIMIT = "1000000 per minute"
ROOMY_PLANS = {
    name: replace(plan, limits=NO_LIMIT, calls_per_month=None, audio_s_per_month=None, max_concurrent=1000)
    for name, plan in default_plans().items()
}
"""For tests that ask more than a plan allows, of something else than plans."""


class FakeWorkbench:
    """Answers every recording with a made-up prediction, after calling `on_analyse`."""

    def __init__(self, settings: Settings, on_analyse: Callable[[], None] = lambda: None) -> None:
        self.settings = replace(settings, plans=ROOMY_PLANS)
        self.usage = RememberedUsage()
        self.access = FakeAccess()
        self.projects = SimpleNamespace(require_consent=lambda *_, **__: None)
        windows = Windows()
        self.limits = CallLimits(windows, address_limits=NO_LIMIT)
        self.key_guard = KeyGuard(windows, settings)
        self.sign_in_guard = SignInGuard(windows, settings)
        self.executor = InferenceExecutor(n_workers=settings.inference_workers, n_queue=settings.inference_queue)
        self.checks = [SimpleNamespace(name="model", ok=True, sentence="The model is loaded.")]
        self.outbox = SimpleNamespace(n_waiting=0)
        waiting = SimpleNamespace(n_deliveries=0, overdue_s=0.0)
        self.webhooks = SimpleNamespace(waiting=lambda: waiting, n_lost=0)
        self.jobs = SimpleNamespace(waiting=lambda: (0, 0.0))
        self.alerts = SimpleNamespace(open_alerts=lambda: [])
        self.n_begun = 0
        self._on_analyse = on_analyse
        self._lock = threading.Lock()

    def analyse(self, data: bytes, *, name: str, source: Source, **_: object) -> SimpleNamespace:
        with self._lock:
            self.n_begun += 1
        self._on_analyse()
        recording = make_recording(name=name, source=source)
        return SimpleNamespace(recording=recording, prediction=make_prediction(recording))

    def explain(self, data: bytes, **_: object) -> Attribution:
        with self._lock:
            self.n_begun += 1
        self._on_analyse()
        return Attribution(
            model_version="made-up",
            emotion=Emotion.HAPPY,
            contrast=None,
            values=np.array([[0.5], [1.5]], np.float32),
            time_edges_s=np.array([0.0, 0.5, 1.0]),
            band_edges_hz=np.array([0.0, 8000.0]),
            log_mel=np.zeros((100, 80), np.float32),
            baseline=-1.0,
            output=1.0,
            probabilities=make_probabilities(),
            runner_up=Emotion.SAD,
            n_evaluations=4,
            seed=0,
            window=Stretch(start_s=0.0, end_s=1.0),
        )

    def explain_voice(self, data: bytes, attribution: Attribution, **_: object) -> SimpleNamespace:
        contours = SimpleNamespace(time_s=np.zeros(0), pitch_hz=np.zeros(0), intensity_dbfs=np.zeros(0))
        return SimpleNamespace(
            contours=contours,
            reference=SimpleNamespace(name="made up", n_recordings=3, n_speakers=1),
            deviations=(),
            deviation_sentences=(),
            surrogate=None,
            surrogate_sentences=(),
            surrogate_missing="Nobody made one.",
        )

    def count_audio(self, caller: Caller | None, use: Use) -> None:
        """There is no month's quota."""

    def readiness(self) -> list[SimpleNamespace]:
        return self.checks
