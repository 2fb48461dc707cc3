"""How long decoding and quality take for each kind of file, and how much memory ten minutes need.

    python -m benchmarks.decode

The voice is synthetic (tests/audio_files.py). Each time is the median and the best of many decodings in a warm
process; each memory figure comes from a process of its own. Run it on an idle machine.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from core.config import Settings  # noqa: E402 - found by the line above
from core.features import decoder_process  # noqa: E402
from core.features.audio import DecodeLimits, decode, start_decoder  # noqa: E402
from core.features.quality import measure_quality  # noqa: E402
from tests.audio_files import encode, voice  # noqa: E402

LIMITS = DecodeLimits.from_settings(Settings())
FILES = [
    ("WAV 16-bit", "wav_16", 16_000, 1),
    ("WAV 24-bit", "wav_24", 44_100, 2),
    ("FLAC", "flac_16", 16_000, 1),
    ("FLAC", "flac_16", 44_100, 2),
    ("MP3", "mp3", 44_100, 2),
    ("Ogg Vorbis", "ogg_vorbis", 44_100, 2),
    ("Ogg Opus", "ogg_opus", 48_000, 1),
    ("WebM Opus", "webm", 48_000, 1),
    ("M4A AAC", "m4a", 44_100, 2),
    ("AAC (ADTS)", "aac", 16_000, 1),
]


def spent_ms(action: Callable[[], object], *, n_times: int) -> tuple[float, float]:
    """Median and best time of `action`, in milliseconds."""
    times = []
    for _ in range(n_times):
        begun = time.perf_counter()
        action()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times), min(times)


def long_voice(duration_s: int, sample_rate: int) -> np.ndarray:
    """The same ten seconds again and again."""
    return np.tile(voice(10.0, sample_rate=sample_rate, hisses=True), -(-duration_s // 10))[: duration_s * sample_rate]


def memory_mb(pid: int | str, line: str) -> float:
    """A line of `/proc/PID/status`, in megabytes."""
    found = re.search(rf"{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1.024 / 1_000 if found else float("nan")


def report_memory(path: Path) -> None:
    """Decode a file, and print what this process and the decoder's took beyond what they had."""
    data = path.read_bytes()
    decode(encode(voice(1.0), 16_000, path.stem), limits=LIMITS)
    decoders = [process._process.pid for process in decoder_process._POOL._idle]
    Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark anew
    own, decoder = memory_mb("self", "VmRSS"), sum(memory_mb(pid, "VmRSS") for pid in decoders)
    decoded = decode(data, limits=LIMITS)
    print(
        json.dumps(
            {
                "file_mb": len(data) / 1e6,
                "waveform_mb": decoded.waveform.samples.nbytes / 1e6,
                "own_mb": memory_mb("self", "VmHWM") - own,
                "decoder_mb": sum(memory_mb(pid, "VmHWM") for pid in decoders) - decoder,
            }
        )
    )


def main() -> None:
    """Print both tables."""
    start_decoder()
    print(f"{'file':24}{'5 s: ms (best)':>18}{'60 s: ms (best)':>20}")
    for name, kind, sample_rate, n_channels in FILES:
        row = f"{name}, {sample_rate / 1_000:g} kHz, {n_channels}"
        for duration_s, n_times, width in ((5, 40, 18), (60, 8, 20)):
            data = encode(long_voice(duration_s, sample_rate), sample_rate, kind, n_channels=n_channels)
            median, best = spent_ms(lambda data=data: decode(data, limits=LIMITS), n_times=n_times)
            row = f"{row:24}" + f"{f'{median:.1f} ({best:.1f})':>{width}}"
        print(row, flush=True)
    for duration_s, n_times in ((5, 40), (60, 8), (600, 2)):
        waveform = decode(encode(long_voice(duration_s, 16_000), 16_000, "wav_16"), limits=LIMITS).waveform
        median, best = spent_ms(lambda it=waveform: measure_quality(it, source_sample_rate_hz=16_000), n_times=n_times)
        print(f"quality of {duration_s} s: {median:.1f} ms ({best:.1f})", flush=True)
    print("\nten minutes at 16 kHz, mono")
    print(f"{'kind':16}{'file MB':>10}{'waveform MB':>14}{'peak here MB':>15}{'in decoder MB':>16}")
    for kind in ("wav_16", "flac_16", "mp3", "ogg_vorbis", "ogg_opus", "webm", "m4a", "aac"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / kind
            path.write_bytes(encode(long_voice(600, 16_000), 16_000, kind))
            command = [sys.executable, __file__, "--memory", str(path)]
            said = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        print(
            f"{kind:16}{said['file_mb']:>10.1f}{said['waveform_mb']:>14.1f}"
            f"{said['own_mb']:>15.1f}{said['decoder_mb']:>16.1f}",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        report_memory(Path(sys.argv[2]))
    else:
        main()
