"""How full the machine is: memory and disk, as shares. In a container, its own limit of memory counts."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


def host_name() -> str:
    """What this machine, or this container, calls itself."""
    return platform.node() or "this machine"


def memory_share(cgroup: Path = CGROUP) -> float:
    """The share of memory in use, in [0, 1]: of the machine, or of the container's limit where that is fuller."""
    machine = float(psutil.virtual_memory().percent) / 100
    return max(machine, _share_of_container(cgroup))


def _share_of_container(cgroup: Path) -> float:
    """Memory that cannot be given back without asking, over the limit; 0 without a limit (cgroup version 2)."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit == "max":
            return 0.0
        current = int((cgroup / "memory.current").read_text())
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return max(0.0, current - int(statistics.get("inactive_file", 0))) / int(limit)
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def processor_share() -> float:
    """The share of all cores in use, in [0, 1], over the tenth of a second in which this waits."""
    return float(psutil.cpu_percent(interval=0.1)) / 100


def resident_mb() -> float:
    """Memory of this process, in megabytes of 1,000,000 bytes."""
    return float(psutil.Process().memory_info().rss) / 1e6


def disk_share(folder: Path) -> float:
    """The share in use, in [0, 1], of the disk that holds `folder`, as programs without privileges see it."""
    usage = psutil.disk_usage(str(folder))
    of_all = usage.used + usage.free  # none where a mounted bucket tells no size
    return float(usage.used) / float(of_all) if of_all else 0.0  # `usage.percent` is rounded to thousandths
