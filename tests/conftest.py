"""Where all tests run: files in memory where there is room, and a garbage collector that leaves modules alone.

Most of what a short test waits for is the disk, and most of what a page costs in `AppTest` was the collection that
Streamlit asks for after each run: 0.6 s, beside all that tests import.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import structlog

IN_MEMORY = Path("/dev/shm")
NEEDED_BYTES = 2 * 1024**3
"""Several times what two workers have at a time."""


def _has_room(folder: Path) -> bool:
    """Whether `folder` can be written and is large enough; in a container it often is not."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= NEEDED_BYTES


# Nothing is proved less than on a disk: what a killed process promised is read back from the kernel in both cases.
if "TMPDIR" not in os.environ and _has_room(IN_MEMORY):
    os.environ["TMPDIR"] = str(IN_MEMORY)
    tempfile.tempdir = None

# Tracebacks with all that was at hand, as structlog draws them while nobody says otherwise, take 0.3 s each.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_collection_finish() -> None:
    """What was imported by now lives until the end: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
