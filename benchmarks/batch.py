"""How fast batches are, against one call after the other, and what somebody who waits for an answer notices of one.

python -m benchmarks.batch                  # 1,000 real clips of ../shared/corpora; the table of docs/batches.md
python -m benchmarks.batch --n-clips 200

Each clip is the first 3 s of a recording, as WAV. Shares of cores are measured too: on a machine that others use, time
on the clock says little, and time on the cores much.
"""

from __future__ import annotations

import csv
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from core.batches import BatchStatus, Submitted
from core.config import REPOSITORY, Settings
from core.domain import Caller, Reader, Scope, Source
from core.features.audio import DecodeLimits, decode
from core.usage import Call
from core.workbench import Workbench, open_workbench
from tests.callers import make_user
from tests.sounds import wav_bytes

CORPORA = REPOSITORY.parent / "shared" / "corpora"
CLIP_S = 3.0
PAUSE_S = 0.2

console = Console()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Time of one part."""

    clock_s: float
    cores_s: float


def real_clips(n_clips: int, corpora: Path) -> list[bytes]:
    """The first 3 s of recordings that last as long, spread over all corpora."""
    with (corpora / "manifest.csv").open(encoding="utf-8") as file:
        paths = [row["path"] for row in csv.DictReader(file) if float(row["duration_s"]) >= CLIP_S + 0.05]
    limits = DecodeLimits.from_settings(Settings())
    clips = []
    for index in np.linspace(0, len(paths) - 1, n_clips).astype(int):
        waveform = decode((corpora / paths[index]).read_bytes(), limits=limits).waveform
        clips.append(wav_bytes(waveform.samples[: int(CLIP_S * waveform.sample_rate)], waveform.sample_rate))
    return clips


def spent_on(act: Callable[[], object]) -> Spent:
    """What `act` takes."""
    started_s, before = time.perf_counter(), os.times()
    act()
    after = os.times()
    return Spent(
        clock_s=time.perf_counter() - started_s, cores_s=after.user + after.system - before.user - before.system
    )


def run_batch(workbench: Workbench, caller: Caller, clips: list[bytes]) -> BatchStatus:
    call = Call(route="/api/v1/batches", method="POST", caller=caller, request_id="benchmark", address="")
    submitted = [Submitted(name=f"{number}.wav", data=data) for number, data in enumerate(clips)]
    ended: queue.SimpleQueue[BatchStatus] = queue.SimpleQueue()
    workbench.batches.on_end = ended.put
    workbench.batches.create(submitted, caller=caller, call=call, source=Source.BATCH)
    status = ended.get()
    assert status.progress.n_problems == 0, status
    return status


def interactive(
    workbench: Workbench, caller: Caller, clips: list[bytes], is_over: Callable[[int], bool]
) -> list[float]:
    """Milliseconds of answers to somebody who asks now and then, until that is over."""
    spent_ms: list[float] = []
    while not is_over(len(spent_ms)):
        data = clips[len(spent_ms) % len(clips)]
        started_s = time.perf_counter()
        workbench.executor.submit(
            workbench.analyse, data, name="clip.wav", source=Source.API, owner=caller.user.id
        ).result()
        spent_ms.append((time.perf_counter() - started_s) * 1e3)
        time.sleep(PAUSE_S)
    return spent_ms


def main(
    n_clips: Annotated[int, typer.Option(help="Clips in the batch.")] = 1000,
    corpora: Annotated[Path, typer.Option(help="Folder of the corpora.")] = CORPORA,
) -> None:
    """Print the table."""
    n_single = min(200, n_clips)
    clips = real_clips(n_clips + 100 + n_single, corpora)
    batch_clips, others, single_clips = clips[:n_clips], clips[n_clips : n_clips + 100], clips[n_clips + 100 :]
    with tempfile.TemporaryDirectory() as folder:
        workbench = open_workbench(Settings(data_dir=Path(folder), batch_workers=os.cpu_count() or 1))
        try:
            workbench.jobs.start()
            user = make_user(workbench, password=None)
            caller = Caller(user=user, scopes=frozenset(Scope), reader=Reader(user_id=user.id), plan=user.plan)
            run_batch(workbench, caller, others[:16])  # opens the batches' own interpreters
            quiet_ms = interactive(workbench, caller, others, lambda n_done: n_done >= 60)
            single = spent_on(
                lambda: [
                    workbench.analyse(data, name="clip.wav", source=Source.API, owner=caller.user.id)
                    for data in single_clips
                ]
            )
            is_over, beside_ms = threading.Event(), []
            asking = threading.Thread(
                target=lambda: beside_ms.extend(interactive(workbench, caller, others, lambda _n: is_over.is_set()))
            )
            other_owner = make_user(workbench, password=None)
            other = Caller(
                user=other_owner, scopes=frozenset(Scope), reader=Reader(user_id=other_owner.id), plan=user.plan
            )
            alone = spent_on(lambda: run_batch(workbench, other, batch_clips))
            asking.start()
            third_owner = make_user(workbench, password=None)
            third = Caller(
                user=third_owner, scopes=frozenset(Scope), reader=Reader(user_id=third_owner.id), plan=user.plan
            )
            run_batch(workbench, third, batch_clips)
            is_over.set()
            asking.join()
            again = spent_on(lambda: run_batch(workbench, third, batch_clips))
        finally:
            workbench.close()
    _print(n_clips, n_single, single, alone, again, quiet_ms, beside_ms)


def _print(
    n_clips: int,
    n_single: int,
    single: Spent,
    alone: Spent,
    again: Spent,
    quiet_ms: list[float],
    beside_ms: list[float],
) -> None:
    n_cores = os.cpu_count() or 1
    table = Table("what", "figure", title=f"{n_clips:,} real clips of {CLIP_S:g} s", box=box.MARKDOWN)
    single_rate, batch_rate = n_single / single.clock_s, n_clips / alone.clock_s
    table.add_row("cores; load of the machine meanwhile", f"{n_cores}; {psutil.getloadavg()[0]:.1f}")
    table.add_row("batch: clips a second", f"{batch_rate:.1f}")
    table.add_row("batch: times real time per core, by the clock", f"{batch_rate * CLIP_S / n_cores:.0f}")
    table.add_row("batch: times real time per core, by the cores' time", f"{n_clips * CLIP_S / alone.cores_s:.0f}")
    table.add_row("one by one: clips a second", f"{single_rate:.1f}")
    table.add_row("one by one: times real time, by the cores' time", f"{n_single * CLIP_S / single.cores_s:.0f}")
    table.add_row("batch against one by one, by the clock", f"{batch_rate / single_rate:.2f}")
    single_cost, batch_cost = single.cores_s / n_single, alone.cores_s / n_clips
    table.add_row("batch against one by one, by the cores' time", f"{single_cost / batch_cost:.2f}")
    table.add_row("the same batch again: clips a second", f"{n_clips / again.clock_s:.0f}")
    for name, values in (("nothing else", quiet_ms), ("a batch", beside_ms)):
        p50, p95 = np.percentile(values, [50, 95])
        table.add_row(f"one answer beside {name}: p50, p95 ({len(values)} answers)", f"{p50:.0f} ms, {p95:.0f} ms")
    table.add_row(
        "p95 beside a batch against p95 alone", f"{np.percentile(beside_ms, 95) / np.percentile(quiet_ms, 95):.2f}"
    )
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
