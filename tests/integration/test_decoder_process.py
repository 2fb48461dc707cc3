"""What a hostile file does to a decoder process, it does to nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import REPOSITORY, Settings
from core.errors import AudioError, DamagedAudioError, DecodeTimeoutError
from core.features.audio import DecodeLimits
from core.features.containers import recognise
from core.features.decoder_process import MEMORY_MB, DecoderPool
from tests.audio_files import encode, voice

LIMITS = DecodeLimits.from_settings(Settings())


@pytest.fixture
def pool():
    pool = DecoderPool(n_processes=1)
    yield pool
    pool.close()


def decode(pool: DecoderPool, data: bytes, limits: DecodeLimits = LIMITS):
    return pool.decode(data, recognise(data), limits)


def process_id(pool: DecoderPool) -> int:
    """The one decoder process of a pool that is idle."""
    (process,) = pool._idle
    return process._process.pid


def memory_mb(pid: int, line: str) -> float:
    if not Path("/proc/self/status").exists():
        pytest.skip("memory of other processes is read from /proc, which this system lacks")
    found = re.search(rf"{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1_000


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def m4a_with_an_index_of(n_packets: int) -> bytes:
    """An M4A file that says its sound lies in so many packets of one byte: FFmpeg keeps 24 bytes for each."""
    data = encode(voice(1.0), 16_000, "m4a")
    data = patched(data, data.find(b"stsz") + 8, struct.pack(">II", 1, n_packets))
    return patched(data, data.find(b"stsc") + 12, struct.pack(">III", 1, n_packets, 1))


def fragmented_m4a_with_a_run_of(n_packets: int) -> bytes:
    """A fragment that says it holds so many packets, none with a size of its own."""
    data = encode(voice(1.0), 16_000, "m4a_fragmented")
    return patched(data, data.find(b"trun") + 4, struct.pack(">II", 1, n_packets))


def aac_with_pictures(n_pictures: int) -> bytes:
    """An AAC stream with a tag in its middle whose pictures are 200 MB of zeros each, compressed to 0.2 MB."""

    def synchsafe(number: int) -> bytes:
        return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))

    sound = encode(voice(1.0), 16_000, "aac")
    picture = b"\0image/png\0\x03\0" + bytes(200_000_000)
    compressed = synchsafe(len(picture)) + zlib.compress(picture, 9)
    frame = b"APIC" + synchsafe(len(compressed)) + b"\x00\x09" + compressed
    return sound + b"ID3\x04\0\0" + synchsafe(n_pictures * len(frame)) + n_pictures * frame + sound


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: m4a_with_an_index_of(40_000_000),
        lambda: fragmented_m4a_with_a_run_of(40_000_000),
        lambda: aac_with_pictures(8),
    ],
    ids=["index", "fragment", "pictures"],
)
def test_a_memory_bomb_stays_within_the_bound(pool, bomb):
    data = bomb()
    assert len(data) < 2_000_000
    decode(pool, encode(voice(0.5), 16_000, "flac_16"))
    pid = process_id(pool)
    before, own = memory_mb(pid, "VmRSS"), memory_mb(os.getpid(), "VmHWM")
    peaks: list[float] = []

    def look() -> None:
        with contextlib.suppress(FileNotFoundError, AssertionError):  # it may be gone already, or be going
            peaks.append(memory_mb(pid, "VmHWM"))

    def watch() -> None:
        while not done.wait(0.002):
            look()

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert decode(pool, data).waveform.duration_s > 0.5
    except AudioError as error:
        assert str(error).endswith(".")  # noqa: PT017 - a refusal is as good an outcome as sound
    finally:
        done.set()
        watcher.join()
        look()
    assert max(peaks) - before < MEMORY_MB
    assert memory_mb(os.getpid(), "VmHWM") - own < 20
    assert decode(pool, encode(voice(1.0), 16_000, "mp3")).waveform.duration_s > 0.9


def test_processes_are_kept_between_recordings(pool):
    data = encode(voice(0.5), 16_000, "mp3")
    decode(pool, data)
    first = process_id(pool)
    for _ in range(20):
        decode(pool, data)
    with pytest.raises(DamagedAudioError):
        decode(pool, encode(voice(0.5), 16_000, "m4a")[:2_000])
    assert process_id(pool) == first


def test_a_process_can_be_started_ahead(pool):
    pool.start()
    first = process_id(pool)
    pool.start()
    decode(pool, encode(voice(0.5), 16_000, "mp3"))
    assert process_id(pool) == first


def test_a_process_that_died_in_its_sleep_is_replaced_unseen(pool):
    data = encode(voice(0.5), 16_000, "mp3")
    decode(pool, data)
    first = process_id(pool)
    os.kill(first, signal.SIGKILL)
    time.sleep(0.2)
    assert decode(pool, data).waveform.duration_s > 0.4
    assert process_id(pool) != first


def test_a_process_that_dies_at_work_costs_one_recording(pool):
    data = encode(voice(0.5), 16_000, "mp3")
    decode(pool, data)
    pid = process_id(pool)
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(DamagedAudioError, match="the decoder broke down on it"):
        decode(pool, data)
    assert decode(pool, data).waveform.duration_s > 0.4


def test_a_process_that_hangs_is_killed_after_the_deadline(pool):
    data = encode(voice(0.5), 16_000, "mp3")
    decode(pool, data)
    pid = process_id(pool)
    os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(DecodeTimeoutError, match=r"given up after 0\.5 s"):
        decode(pool, data, replace(LIMITS, decode_deadline_s=0.5))
    assert time.monotonic() - begun < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert decode(pool, data).waveform.duration_s > 0.4


def test_callers_wait_for_their_turn(pool):
    data = encode(voice(0.5), 16_000, "mp3")
    with ThreadPoolExecutor(6) as threads:
        decoded = list(threads.map(lambda _: decode(pool, data), range(12)))
    assert len(decoded) == 12
    process_id(pool)


def test_no_process_outlives_the_one_that_started_it():
    program = (
        "import sys\n"
        "from core.features import audio, decoder_process\n"
        "from core.config import Settings\n"
        "audio.decode(sys.stdin.buffer.read(), limits=audio.DecodeLimits.from_settings(Settings()))\n"
        "print(decoder_process._POOL._idle[0]._process.pid, flush=True)\n"
        "sys.stdin.close()\n"
        "import os; os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=encode(voice(0.5), 16_000, "mp3"), capture_output=True, cwd=REPOSITORY
    )
    pid = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1]:
            return
        time.sleep(0.05)
    pytest.fail(f"decoder process {pid} is still there")


def test_damaged_files_write_nothing_to_the_terminal():
    program = (
        "import sys\n"
        "from core.features.audio import DecodeLimits, decode\n"
        "from core.config import Settings\n"
        "from core.errors import AudioError\n"
        "from tests.audio_files import AV_KINDS, encode, voice\n"
        "for kind in ('wav_16', 'flac_16', 'ogg_vorbis', *AV_KINDS):\n"
        "    data = bytearray(encode(voice(1.0), 16_000, kind))\n"
        "    for at in range(100, len(data), 997): data[at] ^= 0x55\n"
        "    for end in (200, len(data) // 2, len(data)):\n"
        "        try: decode(bytes(data[:end]), limits=DecodeLimits.from_settings(Settings()))\n"
        "        except AudioError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
