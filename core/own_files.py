"""Files that nobody else on this machine may read: what is kept tells of voices, and of who spoke."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import structlog

OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO

log = structlog.get_logger(__name__)


def keep_new_files_private() -> None:
    """Have what this process, and whatever it starts, writes from now on be readable by its owner alone.

    For programs to call once, at their start: databases, their logs, object files and models are written by many
    libraries, and the mask of the process is what all of them go by.
    """
    os.umask(os.umask(OF_OTHERS) | OF_OTHERS)


def make_own_folder(folder: Path) -> None:
    """See that the folder is there and that nobody else may look into it. Raises OSError where it cannot be made.

    One that is somebody else's, or that everybody shares, such as /tmp, is left as it is, with a line in the log.
    """
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    status = folder.stat()
    if not status.st_mode & OF_OTHERS:
        return
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        with contextlib.suppress(PermissionError):  # some network shares know no modes
            folder.chmod(stat.S_IMODE(status.st_mode) & ~OF_OTHERS)
            return
    log.warning("others on this machine may look into the data folder", folder=str(folder))
