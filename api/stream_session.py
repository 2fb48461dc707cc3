"""One live stream over a WebSocket: reading, judging and answering side by side, none of them losing anything silently.

Frames wait in an inbox that holds `INBOX_S` seconds of sound; when it is full, or when a sender is faster than
`MAX_SPEED` times real time, reading pauses (the network then slows the sender down) and the sender is told. Answers
wait in an outbox of `OUTBOX` messages; when it is full because nobody reads them, judging pauses, and the reader is
told once it reads again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from api.stream_events import ENCODINGS, Configuration, End, Failed, Ready, Warned, event_of, summary_of
from core.domain import Caller, LiveEmotion, Source
from core.errors import AccessError, InvalidParameterError, QuotaExceededError, StoreError, TelepathyError
from core.features.stream_file import StreamFile
from core.identifiers import new_id
from core.inference.live import LiveOptions, LiveStream
from core.usage import Use
from core.workbench import Workbench

T = TypeVar("T")

MAX_SPEED = 4.0
"""Times real time that a sender may keep up; `BURST_S` seconds of sound come on top, for one that catches up."""
BURST_S = 30.0
MAX_FRAMES_PER_S = 200.0
"""Frames of 5 ms; smaller ones cost more in handling than in listening."""
BURST_FRAMES = 1_000.0
MAX_FRAME_BYTES = 1_000_000
INBOX_S = 10.0
OUTBOX = 64
_TELL_AGAIN_S = 5.0
_NOTICEABLE_S = 1.0

CHECK_EVERY_S = 3.0
"""How long a stream can go on whose key, session, account or quota has come to its end."""

CLOSED_NORMALLY, CLOSED_FOR_SIZE, CLOSED_FOR_IDLENESS, CLOSED_FOR_MISTAKE = 1000, 1009, 4408, 4400
CLOSED_FOR_ACCESS, CLOSED_FOR_QUOTA = 4401, 4429

log = structlog.get_logger(__name__)


class Pace:
    """Token buckets over seconds of sound and over frames: how long to wait before reading on."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen_at = now()
        self._sound_s = BURST_S
        self._frames = BURST_FRAMES

    def delay_s(self, sound_s: float) -> float:
        """Take a frame of `sound_s` seconds; 0 while the sender keeps within its rates."""
        now = self._now()
        passed, self._seen_at = now - self._seen_at, now
        self._sound_s = min(BURST_S, self._sound_s + passed * MAX_SPEED) - sound_s
        self._frames = min(BURST_FRAMES, self._frames + passed * MAX_FRAMES_PER_S) - 1
        return max(0.0, -self._sound_s / MAX_SPEED, -self._frames / MAX_FRAMES_PER_S)


class Inbox:
    """Frames received and not judged yet, bounded by the seconds of sound in them."""

    def __init__(self) -> None:
        self._frames: deque[NDArray[np.float32]] = deque()
        self._changed = asyncio.Condition()
        self._is_open = True
        self._n_samples = 0

    def seconds(self, sample_rate: int) -> float:
        """Sound that waits."""
        return self._n_samples / sample_rate

    async def put(self, samples: NDArray[np.float32], sample_rate: int) -> None:
        """Append, once there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.seconds(sample_rate) < INBOX_S)
            self._frames.append(samples)
            self._n_samples += len(samples)
            self._changed.notify_all()

    async def take(self) -> NDArray[np.float32] | None:
        """Everything that waits, as one; None once it is closed and empty."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._frames or not self._is_open)
            if not self._frames:
                return None
            samples = np.concatenate(self._frames)
            self._frames.clear()
            self._n_samples = 0
            self._changed.notify_all()
            return samples

    async def close(self) -> None:
        """Nothing more will be put in."""
        async with self._changed:
            self._is_open = False
            self._changed.notify_all()


class StreamSession:
    """What happens between accepting a WebSocket and closing it."""

    def __init__(
        self, websocket: WebSocket, workbench: Workbench, executor: Executor, use: Use, *, caller: Caller
    ) -> None:
        self._websocket = websocket
        self._use = use
        self._workbench = workbench
        self._executor = executor
        self._caller = caller
        self._idle_s = workbench.settings.stream_idle_s
        self._inbox = Inbox()
        self._outbox: asyncio.Queue[BaseModel | None] = asyncio.Queue(OUTBOX)
        self._close_code = CLOSED_NORMALLY
        self._told_at: dict[str, float] = {}
        self._is_wanted = False
        """Whether the stream is to be kept, as far as is known."""

    async def run(self) -> int:
        """Talk until the other side ends, leaves or goes quiet; then close. Gives the code it closed with."""
        writing = asyncio.create_task(self._write())
        try:
            configured = await self._configure()
            if configured is not None:
                await self._listen(*configured)
        except WebSocketDisconnect:
            log.info("stream left")
        finally:
            await self._outbox.put(None)
            await writing
        if self._websocket.application_state is WebSocketState.CONNECTED:
            await self._websocket.close(self._close_code)
        return self._close_code

    async def _configure(self) -> tuple[Configuration, LiveStream, StreamFile | None] | None:
        """The first message that can be followed; None when the sender goes quiet before."""
        while True:
            message = await self._receive()
            if message is None:
                return None
            try:
                if not isinstance(message, str):
                    raise InvalidParameterError("the first message", "binary", "the configuration, as JSON text")
                configuration = Configuration.model_validate_json(message)
                recogniser = await self._in_thread(partial(self._workbench.recogniser, configuration.model))
                options = self._options(configuration)
                may_store = configuration.store or configuration.may_store
                if may_store:
                    await self._in_thread(partial(self._require_consent, configuration))
                kept = self._new_file() if may_store else None
                live = LiveStream(recogniser, options, on_samples=kept.write if kept is not None else None)
            except ValidationError as error:
                await self._outbox.put(Failed(code="invalid_parameter", detail=_sentence(error), recoverable=True))
            except TelepathyError as error:
                await self._outbox.put(Failed(code=error.code, detail=str(error), recoverable=True))
            else:
                await self._outbox.put(
                    Ready(
                        stream_id=new_id(),
                        model_version=recogniser.card.version,
                        emotions=list(recogniser.card.emotions),
                        lag_s=live.options.lag_s,
                        configuration=configuration,
                    )
                )
                return configuration, live, kept

    def _require_consent(self, configuration: Configuration) -> None:
        self._workbench.projects.require_consent(self._caller, configuration.project, agrees=configuration.consent)

    def _new_file(self) -> StreamFile:
        settings = self._workbench.settings
        return StreamFile(settings.max_duration_s, folder=settings.data_dir)

    def _options(self, configuration: Configuration) -> LiveOptions:
        settings = self._workbench.settings
        return LiveOptions(
            sample_rate_hz=configuration.sample_rate,
            window_s=configuration.window_s,
            hop_s=configuration.hop_s,
            smoothing_s=configuration.smoothing_s,
            n_passes=configuration.n_passes or settings.n_passes,
            seed=settings.seed,
            abstention_confidence=settings.abstention_confidence,
        )

    async def _listen(self, configuration: Configuration, live: LiveStream, kept: StreamFile | None) -> None:
        self._is_wanted = configuration.store
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._judge(configuration, live, kept))
                reading = group.create_task(self._read(configuration))
                watching = group.create_task(self._watch(live, reading))
                reading.add_done_callback(lambda _: watching.cancel())
        finally:
            self._use.add_summary(live.summary(), model_version=live.model_version)
        recording_id, prediction_id = await self._keep(configuration, kept)
        summary = summary_of(live.summary(), recording_id=recording_id, prediction_id=prediction_id)
        await self._outbox.put(summary)

    async def _read(self, configuration: Configuration) -> None:
        try:
            await self._read_frames(configuration)
        except WebSocketDisconnect:
            log.info("stream left")
        finally:
            await self._inbox.close()

    async def _watch(self, live: LiveStream, reading: asyncio.Task[None]) -> None:
        """End the stream, with the reason told, once its caller may not go on. Windows do not wait for this."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                await self._in_thread(
                    lambda: self._workbench.require_still_allowed(self._caller, audio_s=live.duration_s)
                )
            except QuotaExceededError as error:
                self._close_code = CLOSED_FOR_QUOTA
                refusal: AccessError = error
            except AccessError as error:
                self._close_code = CLOSED_FOR_ACCESS
                self._is_wanted = False
                refusal = error
            except StoreError as error:
                log.warning("whether a stream may go on is not known", reason=str(error))
                continue
            else:
                continue
            await self._outbox.put(Failed(code=refusal.code, detail=str(refusal), recoverable=False))
            reading.cancel()
            return

    async def _read_frames(self, configuration: Configuration) -> None:
        """Take frames until the sender ends the stream or goes quiet."""
        pace = Pace()
        width, rate = ENCODINGS[configuration.encoding], configuration.sample_rate
        while True:
            message = await self._receive()
            if message is None:
                return
            if isinstance(message, str):
                end = _end_of(message)
                if end is not None:
                    self._is_wanted = configuration.store if end.store is None else end.store
                    return
                detail = 'This text is no message of this protocol. Send frames, then {"type": "end"}.'
                await self._outbox.put(Failed(code="unknown_message", detail=detail, recoverable=True))
                continue
            if len(message) > MAX_FRAME_BYTES:
                detail = f"The frame has {len(message):,} bytes; at most {MAX_FRAME_BYTES:,} are accepted."
                await self._outbox.put(Failed(code="frame_too_large", detail=detail, recoverable=False))
                self._close_code = CLOSED_FOR_SIZE
                return
            if len(message) % width:
                detail = (
                    f"The frame has {len(message):,} bytes and was left out; "
                    f"samples of {configuration.encoding} have {width} bytes each."
                )
                await self._outbox.put(Failed(code="broken_frame", detail=detail, recoverable=True))
                continue
            sound_s = len(message) / width / rate
            delay_s = pace.delay_s(sound_s)
            if delay_s > 0:
                await self._warn_too_fast(
                    f"Frames come faster than {MAX_SPEED:g} times real time, or too many a second"
                )
                await asyncio.sleep(delay_s)
            if self._inbox.seconds(rate) >= INBOX_S:
                await self._warn_too_fast(f"{INBOX_S:g} s of sound wait to be judged")
            await self._inbox.put(_samples(message, configuration.encoding), rate)

    async def _warn_too_fast(self, why: str) -> None:
        now = time.monotonic()
        if now - self._told_at.get("too_fast", -_TELL_AGAIN_S) >= _TELL_AGAIN_S:
            self._told_at["too_fast"] = now
            detail = f"{why}: reading pauses until the rest is judged. Nothing is lost."
            await self._outbox.put(Warned(code="too_fast", detail=detail))

    async def _judge(self, configuration: Configuration, live: LiveStream, kept: StreamFile | None) -> None:
        """Judge what the inbox holds until it is closed, and tell of every window."""
        rate = configuration.sample_rate
        n_at_once = max(1, round(configuration.window_s * rate))
        is_last = False
        while not is_last:
            samples = await self._inbox.take()
            is_last = samples is None
            works = [live.finish] if samples is None else _pushes(live, samples, n_at_once)
            for number, work in enumerate(works, start=1):
                heard = await self._in_thread(work)
                waiting_s = self._inbox.seconds(rate) + (len(works) - number) * configuration.window_s
                for one in heard:
                    await self._tell(event_of(one, lag_s=waiting_s))
                if kept is not None and kept.is_full and "recording_full" not in self._told_at:
                    self._told_at["recording_full"] = time.monotonic()
                    limit_s = self._workbench.settings.max_duration_s
                    detail = f"A recording holds {limit_s:g} s. The stream goes on; what comes now is not kept."
                    await self._tell(Warned(code="recording_full", detail=detail))

    async def _tell(self, event: BaseModel) -> None:
        """Put `event` in the outbox; say so when that took noticeably long because nobody reads."""
        began = time.monotonic()
        await self._outbox.put(event)
        waited_s = time.monotonic() - began
        if waited_s >= _NOTICEABLE_S:
            detail = f"Answers were not read for {waited_s:.1f} s, so judging paused. Nothing is lost."
            await self._outbox.put(Warned(code="slow_reader", detail=detail))

    async def _keep(self, configuration: Configuration, kept: StreamFile | None) -> tuple[UUID | None, UUID | None]:
        """Store the stream as a recording with its timeline, when that was asked for."""
        if kept is None:
            return None, None
        if not self._is_wanted:
            kept.discard()
            return None, None
        try:
            analysis = await self._in_thread(
                lambda: self._workbench.analyse(
                    kept.finish(),
                    name=configuration.name,
                    source=Source.STREAM,
                    owner=self._caller.user.id,
                    project_id=configuration.project,
                    n_passes=configuration.n_passes,
                    timeline=True,
                    model=configuration.model,
                )
            )
        except TelepathyError as error:
            await self._outbox.put(Failed(code=error.code, detail=str(error), recoverable=False))
            return None, None
        return analysis.recording.id, analysis.prediction.id

    async def _receive(self) -> str | bytes | None:
        """The next message; None, and the reason told, when none comes in time."""
        try:
            async with asyncio.timeout(self._idle_s):
                message = await self._websocket.receive()
        except TimeoutError:
            detail = f"Nothing was received for {self._idle_s:g} s. Open the stream again when there is sound to send."
            await self._outbox.put(Failed(code="idle", detail=detail, recoverable=False))
            self._close_code = CLOSED_FOR_IDLENESS
            return None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text, data = message.get("text"), message.get("bytes")
        return str(text) if text is not None else bytes(data or b"")

    async def _write(self) -> None:
        """Send what the outbox holds. Once the other side is gone or does not read, let the rest go."""
        is_there = True
        while True:
            event = await self._outbox.get()
            if event is None:
                return
            if not is_there:
                continue
            try:
                async with asyncio.timeout(self._idle_s):
                    await self._websocket.send_text(event.model_dump_json())
            except (TimeoutError, WebSocketDisconnect, RuntimeError):
                is_there = False  # Starlette raises RuntimeError for a socket that was closed in between

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _pushes(live: LiveStream, samples: NDArray[np.float32], n_at_once: int) -> list[Callable[[], list[LiveEmotion]]]:
    """`samples` as one push for every `n_at_once` of them, so that answers go out as they come."""
    return [partial(live.push, samples[first : first + n_at_once]) for first in range(0, len(samples), n_at_once)]


def _samples(frame: bytes, encoding: str) -> NDArray[np.float32]:
    if encoding == "s16le":
        return (np.frombuffer(frame, dtype="<i2") / np.float32(32_768)).astype(np.float32)
    return np.frombuffer(frame, dtype="<f4").astype(np.float32)


def _end_of(text: str) -> End | None:
    """The message that ends a stream; None when `text` is another."""
    try:
        return End.model_validate_json(text)
    except ValidationError:
        return None


def _sentence(error: ValidationError) -> str:
    """The first thing wrong with a configuration, and what would be right."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "The configuration"
    example = '{"sample_rate": 16000, "encoding": "s16le"}'
    return f"{where}: {first['msg']}. A configuration looks like {example}; the AsyncAPI document lists all fields."
