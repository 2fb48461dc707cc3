"""A process that runs durable jobs and nothing else: `python -m tests.job_process DATA_DIR N_STEPS`.

Its one kind of job writes a line when a step begins and another when it ends, into files beside the database.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from core.config import Settings
from core.domain import PROCESS
from core.jobs.jobs import Jobs

JOB = UUID(int=77)
OWNER = UUID(int=5)


def open_jobs(data_dir: Path, *, step_s: float = 0.0) -> Jobs:
    """Jobs with one kind, `count`, not started."""
    jobs = Jobs(cast(Any, None), Settings(data_dir=data_dir))

    def write(number: int) -> int:
        with (data_dir / "begun").open("a") as file:
            file.write(f"{number}\n")
        time.sleep(step_s)
        with (data_dir / "done").open("a") as file:
            file.write(f"{number}\n")
        return number

    def count(_workbench: object, n_steps: int) -> int:
        total = 0
        for number in range(n_steps):
            total += jobs.step(f"write {number}", write, number)
            jobs.tell((number + 1) / n_steps, f"Counting to {n_steps}")
            jobs.note(f"Counted {number}.")
        return total

    jobs.register("count", count, title="Counting")
    return jobs


def main() -> None:
    """Start, enqueue the job where it is not there yet, and end once it has."""
    data_dir, n_steps = Path(sys.argv[1]), int(sys.argv[2])
    jobs = open_jobs(data_dir, step_s=0.02)
    jobs.start(polling_interval_s=0.05)
    jobs.enqueue("count", owner=OWNER, job_id=JOB, arguments={"n_steps": n_steps})
    sys.stdout.write("started\n")
    sys.stdout.flush()
    while not jobs.job(JOB, reader=PROCESS).state.has_ended:
        time.sleep(0.02)
    jobs.close()


if __name__ == "__main__":
    main()
