"""How fast the whole process starts and answers predictions over HTTP, and what memory it keeps.

python -m benchmarks.api                     # the committed model; 1,000 recordings of 5 s, each sent once
python -m benchmarks.api --model tiny --models-dir tests/reference/models      # what is left without a real model

The real process runs with a data folder of its own; every answer is in its store before it is sent. Sender and process
share the machine's cores, as they do for one who tries Telepathy out.
"""

from __future__ import annotations

import http.client
import itertools
import re
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import httpx2
import numpy as np
import psutil
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from core.config import Settings
from tests.process import RunningApp, running_app
from tests.sounds import voice_wav

DEFAULTS = Settings()
BOUNDARY = "recording"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
N_ROUNDS = 3
"""Memory is looked at after each: growth that goes on shows."""
STAGE = re.compile(r'telepathy_inference_stage_duration_seconds_(sum|count){stage="(\w+)"} ([0-9.e+-]+)')


class Sender:
    """Posts recordings, never the same twice."""

    def __init__(self, app: RunningApp, *, seconds: float) -> None:
        self._app = app
        self._voices = [voice_wav(seconds=seconds, pitch_hz=pitch) for pitch in range(90, 250, 10)]
        self._numbers = itertools.count()
        self.n_sent = 0

    def _body(self) -> bytes:
        number = next(self._numbers)
        data = bytearray(self._voices[number % len(self._voices)])
        data[1000:1008] = number.to_bytes(8, "little")  # a click of four samples makes it another recording
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{number}.wav"\r\n\r\n'
        return head.encode() + bytes(data) + f"\r\n--{BOUNDARY}--\r\n".encode()

    def post(self, n_requests: int) -> list[float]:
        """Seconds that each of `n_requests` took, one after the other over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self._app.port, timeout=60)
        durations_s = []
        for _ in range(n_requests):
            body = self._body()
            started = time.perf_counter()
            connection.request("POST", "/api/v1/predict", body, HEADERS | self._app.headers)
            answer = connection.getresponse()
            said = answer.read()
            durations_s.append(time.perf_counter() - started)
            self.n_sent += 1
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {said[:500]!r}")
        connection.close()
        return durations_s

    def post_at_once(self, n_requests: int, *, concurrency: int) -> tuple[float, list[float]]:
        """Seconds that `concurrency` callers together took, and the seconds that each request took."""
        started = time.perf_counter()
        with ThreadPoolExecutor(concurrency) as callers:
            parts = list(callers.map(self.post, [n_requests // concurrency] * concurrency))
        durations_s = [duration for part in parts for duration in part]
        return time.perf_counter() - started, durations_s


def resident_mb(app: RunningApp) -> float:
    """Resident memory of the process and its children, in megabytes of 1,000,000 bytes."""
    process = psutil.Process(app.process.pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 1e6


def cpu_seconds(app: RunningApp) -> float:
    """Processor time that the process has used so far: unlike the clock, it hardly feels what else the machine does."""
    times = psutil.Process(app.process.pid).cpu_times()
    return times.user + times.system


def stage_milliseconds(app: RunningApp) -> dict[str, float]:
    """Mean milliseconds of each stage of an analysis, as /metrics tells them."""
    found: dict[str, dict[str, float]] = {}
    for kind, stage, value in STAGE.findall(httpx2.get(f"{app.url}/metrics").text):
        found.setdefault(stage, {})[kind] = float(value)
    return {stage: 1000 * of["sum"] / of["count"] for stage, of in found.items() if of["count"]}


def p(durations_s: list[float], percentile: int) -> str:
    return f"{1000 * np.percentile(durations_s, percentile):.0f} ms"


def main(
    n_requests: Annotated[int, typer.Option(help="Recordings sent over the whole run, at least 300.")] = 1000,
    seconds: Annotated[float, typer.Option(help="Length of each recording.")] = 5.0,
    concurrency: Annotated[int, typer.Option(help="Callers at once.")] = 8,
    model: Annotated[str, typer.Option(help="Name of the model.")] = DEFAULTS.model,
    models_dir: Annotated[Path, typer.Option(help="Where it stands.")] = DEFAULTS.models_dir,
) -> None:
    """Print start-up, latency, throughput and memory of the real process."""
    table = Table("figure", "target", "measured", title=f"API, model {model}, {seconds:g} s clips", box=box.MARKDOWN)
    settings = {"model": model, "models_dir": models_dir.resolve(), "log_level": "warning"}
    with tempfile.TemporaryDirectory() as folder, running_app(Path(folder), **settings) as app:
        table.add_row("from start to /readyz 200", "< 8 s", f"{app.ready_after_s:.1f} s")
        table.add_row("resident memory when ready", "", f"{resident_mb(app):.0f} MB")
        sender = Sender(app, seconds=seconds)
        sender.post(20)
        alone_s = sender.post(80)
        table.add_row("one caller, p50", "< 80 ms", p(alone_s, 50))
        table.add_row("one caller, p95", "", p(alone_s, 95))
        stages_ms = stage_milliseconds(app)
        memory_mb = {sender.n_sent: resident_mb(app)}
        cpu_s, together_s, spent_s = cpu_seconds(app), list[float](), 0.0
        for _ in range(N_ROUNDS):
            round_s, durations_s = sender.post_at_once((n_requests - 100) // N_ROUNDS, concurrency=concurrency)
            spent_s += round_s
            together_s += durations_s
            memory_mb[sender.n_sent] = resident_mb(app)
        rate = len(together_s) / spent_s
        table.add_row(f"{concurrency} callers, throughput", ">= 25 requests/s", f"{rate:.1f} requests/s")
        table.add_row(f"{concurrency} callers, p50", "", p(together_s, 50))
        table.add_row(f"{concurrency} callers, p95", "< 500 ms", p(together_s, 95))
        table.add_row(
            "processor time of a request", "", f"{1000 * (cpu_seconds(app) - cpu_s) / len(together_s):.0f} ms"
        )
        for n_sent, resident in memory_mb.items():
            table.add_row(f"resident memory after {n_sent:,} requests", "< 600 MB", f"{resident:.0f} MB")
        started = time.monotonic()
        app.stop()
        table.add_row("from SIGTERM to the end", "", f"{time.monotonic() - started:.1f} s")
    console = Console(width=110)
    console.print(table)
    shares = Table("stage, one caller", "mean", "share", box=box.MARKDOWN)
    whole_ms = 1000 * statistics.mean(alone_s)
    for stage, spent_ms in stages_ms.items():
        shares.add_row(stage, f"{spent_ms:.1f} ms", f"{spent_ms / whole_ms:.0%}")
    rest_ms = whole_ms - sum(stages_ms.values())
    shares.add_row("HTTP, form, queue, answer, sender", f"{rest_ms:.1f} ms", f"{rest_ms / whole_ms:.0%}")
    shares.add_row("whole request", f"{whole_ms:.1f} ms", "100%")
    console.print(shares)


if __name__ == "__main__":
    typer.run(main)
