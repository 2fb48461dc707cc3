"""What the server does between two clips of an annotator, by the size of the project: a queue, and a rating.

python -m benchmarks.next_clip                              # projects of 100 and 1,000 clips, 30 ratings each
python -m benchmarks.next_clip --sizes 100,1000,5000

In one process over an embedded store, by the calls that the API makes; the browser's part is `benchmarks.annotate`. The
queue gives ten clips, as the annotating page asks for them; the rating is on the disk when it returns.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from core.config import Settings
from core.domain import Emotion
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.labelling_projects import make_labelled, make_rating
from tests.sounds import voice_wav

N_ASKED = 10

console = Console(width=120)


def measure(n_clips: int, n_ratings: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each queue and of each rating in a project of `n_clips`."""
    queues_ms: list[float] = []
    ratings_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        workbench = open_workbench(Settings(data_dir=Path(folder), models_dir=TINY.parent, model="tiny"))
        try:
            # Each of another pitch: the same sound handed in twice is one recording.
            sounds = [voice_wav(seconds=0.3, pitch_hz=80.0 + 0.1 * number) for number in range(n_clips)]
            made = make_labelled(workbench, n_clips=n_clips, n_annotators=1, sounds=sounds)
            labelling, project_id, annotator = workbench.labelling, made.project.id, made.annotators[0]
            emotions = list(Emotion)
            while len(ratings_ms) < n_ratings:
                began = time.perf_counter()
                tasks = labelling.queue(project_id, annotator=annotator, n=N_ASKED).tasks
                queues_ms.append(1e3 * (time.perf_counter() - began))
                if not tasks:
                    raise RuntimeError(f"the queue is empty after {len(ratings_ms)} ratings")
                for task in tasks[: n_ratings - len(ratings_ms)]:
                    rating = make_rating(emotions[len(ratings_ms) % len(emotions)].value)
                    began = time.perf_counter()
                    labelling.rate(project_id, task.assignment.id, rating, annotator=annotator)
                    labelling.progress_of(project_id, annotator=annotator)
                    ratings_ms.append(1e3 * (time.perf_counter() - began))
        finally:
            workbench.close()
    return queues_ms, ratings_ms


def main(
    sizes: Annotated[str, typer.Option(help="Clips of each project, with commas between.")] = "100,1000",
    n_ratings: Annotated[int, typer.Option(min=1, help="How many clips are rated in each.")] = 30,
) -> None:
    """Print how long the server takes."""
    table = Table("clips", "rating, p50, ms", "p95, ms", "queue of 10, p50, ms", "longest, ms", box=box.MARKDOWN)
    for n_clips in (int(size) for size in sizes.split(",")):
        queues_ms, ratings_ms = measure(n_clips, min(n_ratings, n_clips))
        p50, p95 = np.percentile(ratings_ms, [50, 95])
        table.add_row(
            f"{n_clips:,}", f"{p50:.1f}", f"{p95:.1f}", f"{np.median(queues_ms):.0f}", f"{max(queues_ms):.0f}"
        )
    console.print(table)
    console.print(f"Load of the machine: {psutil.getloadavg()[0]:.1f}; its cores: {psutil.cpu_count()}")


if __name__ == "__main__":
    typer.run(main)
