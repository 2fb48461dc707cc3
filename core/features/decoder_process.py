"""FFmpeg in processes of its own: what a hostile file does to them, it does to nothing else.

A decoder process may take `MEMORY_MB` more than it has after start-up, answers within the deadline or is killed, and is
started anew when it dies. It is kept between recordings, since starting one takes 0.15 s.

The two sides talk over a socket pair: the request is a JSON header and the file, the answer a JSON header and the
samples. Nothing is unpickled, so that a decoder taken over by a file can say nothing but what the header holds.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.config import REPOSITORY
from core.domain import AudioFormat
from core.errors import AudioError, DamagedAudioError, DecodeTimeoutError
from core.features.containers import Container, Recognised
from core.features.ffmpeg import decode_with_ffmpeg
from core.features.mixing import Mixer
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, DecodedAudio, DecodeLimits, Waveform

MEMORY_MB = 384
"""The largest upload twice (25 MB), ten minutes of samples twice (38 MB), blocks, and room to spare."""
_START_S = 60.0
"""A loaded machine may take this long to start a process and import what it needs."""
_GRACE_S = 1.0
"""The process looks at the clock itself, between packets and reads; it is killed this long after the deadline."""
_WORN_MB = 128
"""A process that keeps this much between recordings, by leaks or fragments, is replaced."""
_MB = 1_000_000
_READY = b"ready"
_LONGEST_HEADER = 1_000_000
_MESSAGE_SAMPLES = 262_144
_Samples = NDArray[np.float32]


def decode_apart(data: bytes, recognised: Recognised, *, limits: DecodeLimits) -> DecodedAudio:
    """The waveform in `data`, decoded by FFmpeg in another process.

    Raises
    ------
    AudioError
        Whatever `core.features.audio.decode` says.
    """
    return _POOL.decode(data, recognised, limits)


def start_decoder() -> None:
    """Start a decoder process ahead of the first recording, which would otherwise wait 0.15 s for it."""
    _POOL.start()


class DecoderPool:
    """A bounded number of decoder processes, started when they are needed and kept."""

    def __init__(self, n_processes: int) -> None:
        self._turns = threading.BoundedSemaphore(n_processes)
        self._lock = threading.Lock()
        self._idle: list[_DecoderProcess] = []

    def start(self) -> None:
        """Have a process ready, unless one is."""
        with self._turns:
            with self._lock:
                is_ready = bool(self._idle)
            if not is_ready:
                self._put_back(_DecoderProcess())

    def decode(self, data: bytes, recognised: Recognised, limits: DecodeLimits) -> DecodedAudio:
        """The waveform in `data`; waits for its turn."""
        with self._turns:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is not None and not process.is_alive:  # killed from outside while it waited
                process.stop()
                process = None
            process = process or _DecoderProcess()
            try:
                return process.decode(data, recognised, limits)
            finally:
                self._put_back(process)

    def _put_back(self, process: _DecoderProcess) -> None:
        if process.is_fit:
            with self._lock:
                self._idle.append(process)
        else:
            process.stop()

    def close(self) -> None:
        """Stop the processes that are idle; those at work stop with this process."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.stop()


class _DecoderProcess:
    """One decoder process, seen from the side that asks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this module
                [sys.executable, "-m", "core.features.decoder_process", str(theirs.fileno())],
                cwd=REPOSITORY,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C in the terminal is for the server; this one ends with the socket
            )
        self._connection = Connection(ours.detach())
        self.is_fit = True
        """Whether it can take another recording: not while one is under way, and not once it is worn."""
        try:
            is_ready = self._connection.poll(_START_S) and self._connection.recv_bytes() == _READY
        except EOFError:
            is_ready = False
        if not is_ready:
            self.stop()
            raise RuntimeError("the decoder process did not start")

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def decode(self, data: bytes, recognised: Recognised, limits: DecodeLimits) -> DecodedAudio:
        """Send the file, wait for the answer."""
        self.is_fit = False
        request = {"container": recognised.container, "limits": dataclasses.asdict(limits)}
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            self._connection.send_bytes(memoryview(data)[recognised.start :])
            if not self._connection.poll(limits.decode_deadline_s + _GRACE_S):
                raise DecodeTimeoutError(limits.decode_deadline_s)
            answer = json.loads(self._connection.recv_bytes(_LONGEST_HEADER))
            samples = np.empty(answer.get("n_samples", 0), dtype=np.float32)
            for start in range(0, len(samples), _MESSAGE_SAMPLES):  # a message is held twice while it is received
                self._connection.recv_bytes_into(samples[start : start + _MESSAGE_SAMPLES].data.cast("B"))
        except (EOFError, OSError) as error:
            raise DamagedAudioError(recognised.container, "the decoder broke down on it") from error
        self.is_fit = not answer["is_worn"]
        if "failure" in answer:
            raise RuntimeError(answer["failure"])
        if "error" in answer:
            raise _revive(answer["error"], answer["sentence"], answer["values"])
        return DecodedAudio(
            waveform=Waveform(samples=samples, sample_rate=TARGET_SAMPLE_RATE_HZ),
            format=AudioFormat(**{**answer["format"], "warnings": tuple(answer["format"]["warnings"])}),
            clipping_share=answer["clipping_share"],
        )

    def stop(self) -> None:
        """End it, whatever it does."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


_POOL = DecoderPool(n_processes=max(2, os.cpu_count() or 1))
atexit.register(_POOL.close)


def _revive(name: str, sentence: str, values: dict[str, object]) -> AudioError:
    """The error of class `name` with the sentence and the attributes it had in the other process."""
    kind = next(kind for kind in AudioError.__subclasses__() if kind.__name__ == name)
    error = kind.__new__(kind, sentence)
    vars(error).update(values)
    return error


# -- inside the decoder process


def main(descriptor: int) -> None:
    """Answer requests until the other side hangs up."""
    connection = Connection(descriptor)
    at_start = _address_space_bytes()
    if at_start:
        most = at_start + MEMORY_MB * _MB
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError, ConnectionError):  # the other side has hung up
        connection.send_bytes(_READY)
        while True:
            request = json.loads(connection.recv_bytes())
            data = connection.recv_bytes()
            answer, samples = _answer(data, Container(request["container"]), DecodeLimits(**request["limits"]))
            del data
            answer["is_worn"] = "failure" in answer or _address_space_bytes() - at_start > _WORN_MB * _MB
            connection.send_bytes(json.dumps(answer).encode())
            if samples is not None:
                for start in range(0, len(samples), _MESSAGE_SAMPLES):
                    connection.send_bytes(samples[start : start + _MESSAGE_SAMPLES].data.cast("B"))
            del samples


def _answer(data: bytes, container: Container, limits: DecodeLimits) -> tuple[dict[str, object], _Samples | None]:
    mixer = Mixer(limits)
    try:
        try:
            decoded = mixer.finish(decode_with_ffmpeg(data, Recognised(container, 0), mixer))
        except MemoryError as error:
            raise DamagedAudioError(container, "it asks for more memory than a recording needs") from error
    except AudioError as error:
        return {"error": type(error).__name__, "sentence": str(error), "values": vars(error)}, None
    except Exception:  # noqa: BLE001 - raised anew on the other side, with this traceback
        return {"failure": traceback.format_exc()}, None
    samples = decoded.waveform.samples
    return {
        "format": dataclasses.asdict(decoded.format),
        "clipping_share": decoded.clipping_share,
        "n_samples": len(samples),
    }, samples


def _address_space_bytes() -> int:
    """Address space in use, which `RLIMIT_AS` bounds; 0 where the system does not tell (macOS)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
