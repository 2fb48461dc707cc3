"""How much a retraining that runs slows answers: the same recording judged over and over, before and meanwhile.

python -m benchmarks.retraining                      # the model of the settings; 60 answers, then as many meanwhile
python -m benchmarks.retraining --n-answers 200 --threads 2

A retraining works in a child process at niceness 10 on one core. Its corrections are recordings of synthetic voices; it
is made long by many rounds, and cancelled at the end. The aim: at most 20 % slower at the median. Run it at niceness 0,
as a workbench runs, on a machine that does nothing else: at niceness 10 both would have the same claim to the cores.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from core.config import Settings
from core.domain import Caller, Emotion, Job, JobState, Role, Source
from core.models.retraining import CorrectedRecording, RetrainingPlan, begin
from core.workbench import Workbench, open_workbench
from tests.callers import make_user
from tests.sounds import voice_wav

N_CORRECTIONS = 40
N_EPOCHS = 200
NAME = "benchmark"

console = Console(width=120)


def judge(workbench: Workbench, caller: Caller, sound: bytes, number: int) -> float:
    """Milliseconds of one answer."""
    began = time.perf_counter()
    workbench.analyse(sound, name=f"{number}.wav", source=Source.API, owner=caller.user.id)
    return 1e3 * (time.perf_counter() - began)


def answers(workbench: Workbench, caller: Caller, n: int, n_threads: int) -> list[float]:
    """Milliseconds of `n` answers, asked for by so many at a time, each of another recording."""
    sounds = [voice_wav(seconds=3.0, pitch_hz=90.0 + 2 * number) for number in range(n)]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(lambda pair: judge(workbench, caller, pair[1], pair[0]), enumerate(sounds)))


def begun(workbench: Workbench, caller: Caller) -> Job:
    """A retraining that has begun to learn."""
    emotions = list(Emotion)
    corrections = [
        CorrectedRecording(
            recording_id=workbench.analyse(
                voice_wav(seconds=2.0, pitch_hz=95.0 + 5 * number),
                name=f"correction {number}.wav",
                source=Source.API,
                owner=caller.user.id,
            ).recording.id,
            shares={emotions[number % len(emotions)]: 1.0},
        )
        for number in range(N_CORRECTIONS)
    ]
    plan = RetrainingPlan(n_epochs=N_EPOCHS)
    job = begin(workbench, corrections, name=NAME, source="a benchmark", by=caller, plan=plan)
    run = workbench.settings.data_dir / "retraining" / NAME
    while not list(run.glob("*.npz")):
        state = workbench.jobs.job(job.id, reader=caller.reader)
        if state.state.has_ended:
            raise RuntimeError(f"the retraining has ended: {state.error}")
        time.sleep(0.2)
    return job


def main(
    n_answers: Annotated[int, typer.Option(min=2, help="How many answers before, and how many meanwhile.")] = 60,
    threads: Annotated[int, typer.Option(min=1, help="How many ask at a time.")] = 1,
    model: Annotated[str, typer.Option(help="Which model answers and is retrained.")] = "telepathy",
) -> None:
    """Print how much slower answers are."""
    table = Table("meanwhile", "answers", "p50, ms", "p95, ms", box=box.MARKDOWN)
    medians = []
    loads = []
    with tempfile.TemporaryDirectory() as folder:
        workbench = open_workbench(Settings(data_dir=Path(folder), model=model))
        try:
            workbench.jobs.start()
            caller = workbench.access.caller_on_behalf(make_user(workbench, Role.ADMIN, password=None).id)
            answers(workbench, caller, 5, threads)  # the first ones open files
            for doing in ("nothing", "a retraining"):
                job = begun(workbench, caller) if doing != "nothing" else None
                loads.append(f"{psutil.getloadavg()[0]:.1f}")
                times_ms = answers(workbench, caller, n_answers, threads)
                if job is not None:
                    state = workbench.jobs.job(job.id, reader=caller.reader).state
                    if state is not JobState.RUNNING:
                        console.print(f"The retraining ended meanwhile ({state.value}): ask for fewer answers.")
                    else:
                        workbench.jobs.cancel(job.id, reader=caller.reader)
                p50, p95 = np.percentile(times_ms, [50, 95])
                medians.append(float(p50))
                table.add_row(doing, str(len(times_ms)), f"{p50:.0f}", f"{p95:.0f}")
        finally:
            workbench.close()
    console.print(table)
    if os.nice(0) > 0:
        console.print(f"This process has niceness {os.nice(0)} itself: the figure below says nothing of a workbench.")
    console.print(f"Slower by {100 * (medians[1] / medians[0] - 1):.0f} % at the median.")
    console.print(f"Load of the machine before each: {', '.join(loads)}; its cores: {psutil.cpu_count()}")


if __name__ == "__main__":
    typer.run(main)
