"""Processes that score a batch and are killed: `python -m tests.batch_process DATA_DIR`.

Whoever started it writes a line for each process wanted. What takes long to load is loaded once, here, and each process
is a fork of this one, which opens the workbench for itself, adopts what the one before left and says so; it ends by
itself once the batch has.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import core.batches
import core.jobs.runtime
from core.config import Settings
from core.domain import PROCESS
from core.workbench import Workbench, open_workbench
from tests.bundles import TINY

BATCH = UUID(int=99)
GROUP, GROUP_S = 4, 0.03
"""Small groups that take their time, so that no machine is done before it was killed as often as is wanted."""


def settings_in(data_dir: Path) -> Settings:
    return Settings(
        data_dir=data_dir,
        models_dir=TINY.parent,
        model="tiny",
        n_passes=2,
        batch_workers=2,
        allowed_networks="127.0.0.0/8",
    )


def opened(data_dir: Path) -> Workbench:
    """Webhooks accept messages, and send none: `tests/integration/webhooks/test_killed.py` kills what sends them."""
    workbench = open_workbench(settings_in(data_dir))
    workbench.webhooks.hand_over = None
    workbench.jobs.start(polling_interval_s=0.02)
    return workbench


def score(data_dir: Path) -> None:
    """One process: it works until the batch is done, or it is killed."""
    workbench = opened(data_dir)
    score_together = workbench.batches._score_together

    def slowly(*given: Any) -> int:
        time.sleep(GROUP_S)
        return score_together(*given)

    workbench.batches._score_together = slowly  # type: ignore[method-assign]
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    while not workbench.batches.status(BATCH, reader=PROCESS).state.has_ended:
        time.sleep(0.1)
    sys.stdout.write("done\n")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)  # no way of ending is kinder than the one that is tested


def main() -> None:
    data_dir = Path(sys.argv[1])
    core.batches.GROUP, core.batches.NICENESS = GROUP, 0
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            score(data_dir)
        os.waitpid(child, 0)
        sys.stdout.write("ended\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
