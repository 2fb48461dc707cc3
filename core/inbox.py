"""Recordings handed in by a person who waits: each becomes an outcome, and a bad one never loses the others."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import dataclass
from uuid import UUID

from core.domain import Reader, Source
from core.errors import AnswerHiddenError, AudioError, BusyError, QuotaExceededError, RateLimitedError
from core.usage import Call, note_refusal
from core.workbench import Analysis, Workbench

Progress = Callable[[float, str], None]
"""Told how much is done, from 0 to 1, and what is being done."""

Refusal = AudioError | AnswerHiddenError | BusyError | RateLimitedError | QuotaExceededError
"""What becomes of one upload and need not become of the next."""

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Bytes that somebody takes for a recording."""

    name: str
    data: bytes
    sha256: str
    """Of the bytes."""
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an upload: an analysis, or a refusal that its sender can mend."""

    name: str
    sha256: str
    source: Source
    analysis: Analysis | None = None
    refusal: Refusal | None = None


class Pending:
    """An upload under way. It goes on whether or not anybody waits for it."""

    def __init__(
        self,
        workbench: Workbench,
        upload: Upload,
        *,
        call: Call,
        owner: UUID,
        project_id: UUID | None = None,
        model: str | None = None,
    ) -> None:
        self.upload = upload
        self._latest = (0.0, "Waiting for its turn")
        self._future: Future[Analysis] | None = None
        self._refusal: BusyError | None = None
        began_s = time.perf_counter()

        def analyse() -> Analysis:
            with workbench.serving(call, waited_s=time.perf_counter() - began_s) as use:
                analysis = workbench.analyse(
                    upload.data,
                    name=upload.name,
                    source=upload.source,
                    owner=owner,
                    shown_to=Reader(user_id=owner),
                    project_id=project_id,
                    model=model,
                    progress=self._remember,
                )
                use.add_prediction(analysis.prediction)
            return analysis

        try:
            self._future = workbench.executor.submit(analyse)
        except BusyError as busy:
            self._refusal = busy
            note_refusal(workbench.usage, call, busy)

    def _remember(self, share: float, doing: str) -> None:
        self._latest = (share, doing)

    def wait(self, progress: Progress) -> Outcome:
        """What became of it, once that is known; until then `progress` is told, by the thread that waits.

        Raises
        ------
        ModelError, StoreError, ShuttingDownError
            No recording would have fared better.
        """
        analysis: Analysis | None = None
        refusal: Refusal | None = self._refusal
        while self._future is not None and analysis is None and refusal is None:
            try:
                analysis = self._future.result(timeout=_LOOK_EVERY_S)
            except NotYetError:
                progress(*self._latest)
            except (AudioError, AnswerHiddenError, BusyError, RateLimitedError, QuotaExceededError) as error:
                refusal = error
        upload = self.upload
        return Outcome(name=upload.name, sha256=upload.sha256, source=upload.source, analysis=analysis, refusal=refusal)


def receive(data: bytes, *, name: str, source: Source) -> Upload:
    """`data` as an upload."""
    return Upload(name=name, data=data, sha256=hashlib.sha256(data).hexdigest(), source=source)
