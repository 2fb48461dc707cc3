"""How long `core` takes from bytes to a stored answer, where the time goes, and what memory it keeps.

python -m benchmarks.latency                 # the committed model; prints the tables of benchmarks/latency.md
python -m benchmarks.latency --model tiny --models-dir tests/reference/models      # all but a real model
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import soundfile
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from core.config import REPOSITORY, Settings
from core.domain import NOBODY, Source
from core.features.waveform import Waveform
from core.inference.recogniser import Recogniser
from core.inference.registry import find_model
from core.workbench import Analysis, Workbench, open_workbench
from tests.sounds import SAMPLE_RATE_HZ, voice

STAGES = ("decode", "quality", "speech", "log_mel", "encoder", "passes", "timeline", "store")
CONCURRENCY = 8
DEFAULTS = Settings()

console = Console()


def clips(n_clips: int, *, seconds: float, container: str = "WAV") -> list[bytes]:
    """As many different recordings."""
    return [written(voice(seconds=seconds, pitch_hz=90 + 160 * index / n_clips), container) for index in range(n_clips)]


def written(samples: np.ndarray, container: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format=container, subtype="PCM_16")
    return file.getvalue()


def analyse(workbench: Workbench, data: bytes, *, timeline: bool | None = None) -> Analysis:
    return workbench.analyse(data, name="clip", source=Source.API, owner=NOBODY, timeline=timeline)


def resident_mb() -> float:
    """Resident memory of this process and its children, in megabytes of 1,000,000 bytes."""
    process = psutil.Process()
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 1e6


def percentiles(seconds: list[float]) -> tuple[str, str]:
    p50, p95 = np.percentile(np.asarray(seconds) * 1e3, [50, 95])
    return f"{p50:.1f}", f"{p95:.1f}"


def single_caller(workbench: Workbench, n_clips: int) -> Table:
    """Milliseconds of one caller, whole and by stage."""
    table = Table(
        "recording",
        "p50",
        "p95",
        *STAGES,
        title="One caller, ms: bytes to stored answer; stages: median",
        box=box.MARKDOWN,
    )
    kinds: list[tuple[str, str, float, bool | None]] = [
        ("5 s WAV, no timeline", "WAV", 5, False),
        ("5 s WAV", "WAV", 5, None),
        ("5 s FLAC", "FLAC", 5, None),
        ("2 s WAV", "WAV", 2, None),
    ]
    for name, container, seconds, timeline in kinds:
        data = clips(n_clips, seconds=seconds, container=container)
        for each in data[:5]:
            analyse(workbench, each, timeline=timeline)
        durations_s, analyses = [], []
        for each in data[5:]:
            started = time.perf_counter()
            analyses.append(analyse(workbench, each, timeline=timeline))
            durations_s.append(time.perf_counter() - started)
        spent = [np.median([each.stage_durations_s.get(stage, 0) for each in analyses]) * 1e3 for stage in STAGES]
        table.add_row(name, *percentiles(durations_s), *(f"{each:.1f}" for each in spent))
    return table


def many_callers(workbench: Workbench, n_clips: int) -> Table:
    """Analyses per second when several callers wait at the executor."""
    table = Table("recording", "callers", "per second", "p50", "p95", title="Many callers, ms", box=box.MARKDOWN)
    data = clips(n_clips, seconds=5)

    def ask(each: bytes) -> float:
        started = time.perf_counter()
        workbench.executor.submit(analyse, workbench, each).result()
        return time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as callers:
        durations_s = list(callers.map(ask, data))
    per_second = n_clips / (time.perf_counter() - started)
    table.add_row("5 s WAV", str(CONCURRENCY), f"{per_second:.0f}", *percentiles(durations_s))
    return table


def long_recording(workbench: Workbench) -> Table:
    """Ten minutes, in seconds and in memory beyond what the process held before."""
    table = Table("recording", "seconds", *STAGES, "windows", title="Ten minutes, s", box=box.MARKDOWN)
    data = written(np.tile(voice(seconds=60), 10), "WAV")
    started = time.perf_counter()
    analysis = analyse(workbench, data)
    spent_s = time.perf_counter() - started
    stages = (f"{analysis.stage_durations_s.get(stage, 0):.2f}" for stage in STAGES)
    table.add_row("10 min WAV", f"{spent_s:.1f}", *stages, str(len(analysis.prediction.windows)))
    return table


def threads_within_a_call(settings: Settings) -> Table:
    """Whether more threads in one interpreter would pay."""
    table = Table("threads", "encoder p50", "encoder p95", title="Encoder on 5 s, ms", box=box.MARKDOWN)
    folder = find_model(settings.models_dir, settings.model)
    waveform = Waveform(samples=voice(seconds=5), sample_rate=SAMPLE_RATE_HZ)
    for n_threads in (1, 2):
        recogniser = Recogniser.open(folder, installed_dir=settings.installed_models_dir, n_threads=n_threads)
        table.add_row(str(n_threads), *percentiles(timed(lambda r=recogniser: r.embed(waveform), 60)))
    return table


def timed(function: Callable[[], object], n_times: int) -> list[float]:
    durations_s = []
    for _ in range(n_times):
        started = time.perf_counter()
        function()
        durations_s.append(time.perf_counter() - started)
    return durations_s


def start_up(settings: Settings) -> Table:
    """A fresh process: from its first instruction to a loaded model and a writable store."""
    code = """
import sys, time
started = time.perf_counter()
from core.workbench import open_workbench
imported = time.perf_counter()
from pathlib import Path
from core.config import Settings
settings = Settings(data_dir=Path(sys.argv[1]), models_dir=Path(sys.argv[2]), model=sys.argv[3])
workbench = open_workbench(settings)
assert all(check.ok for check in workbench.readiness()), workbench.readiness()
sys.stdout.write(f"{imported - started:.2f} {time.perf_counter() - started:.2f}")
workbench.close()
"""
    table = Table("import, s", "ready, s", title="Start of core in a fresh process", box=box.MARKDOWN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, folder, str(settings.models_dir), settings.model]
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
        table.add_row(*done.stdout.split())
    return table


def main(
    model: Annotated[str, typer.Option(help="Name of the model.")] = DEFAULTS.model,
    models_dir: Annotated[Path, typer.Option(help="Where models stand.")] = DEFAULTS.models_dir,
    n_clips: Annotated[int, typer.Option(help="Recordings for each row.")] = 205,
) -> None:
    """Print the tables of benchmarks/latency.md."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), models_dir=models_dir.resolve(), model=model)
        console.print(start_up(settings))
        workbench = open_workbench(settings)
        memory = Table("when", "resident, MB", title="Memory of the process and its decoders", box=box.MARKDOWN)
        memory.add_row("ready", f"{resident_mb():.0f}")
        console.print(f"Model {workbench.recogniser().card.version}, {settings.n_passes} passes")
        console.print(single_caller(workbench, n_clips))
        console.print(many_callers(workbench, n_clips))
        memory.add_row(f"after {5 * n_clips} recordings", f"{resident_mb():.0f}")
        console.print(long_recording(workbench))
        memory.add_row("after ten minutes", f"{resident_mb():.0f}")
        console.print(threads_within_a_call(settings))
        console.print(memory)
        workbench.close()


if __name__ == "__main__":
    typer.run(main)
