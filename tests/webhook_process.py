"""A process that tells of events and delivers them: `python -m tests.webhook_process DATA_DIR OWNER N_EVENTS`.

It prints `kept` and the id of each message once that is so, beside its log, and then delivers until it is killed.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from uuid import UUID

from core.config import Settings
from core.workbench import open_workbench
from tests.bundles import TINY


def settings_of(data_dir: Path) -> Settings:
    """Of a workbench that may reach this machine."""
    return Settings(data_dir=data_dir, models_dir=TINY.parent, model="tiny", allowed_networks="127.0.0.0/8")


def main() -> None:
    data_dir, owner, n_events = Path(sys.argv[1]), UUID(sys.argv[2]), int(sys.argv[3])
    workbench = open_workbench(settings_of(data_dir))
    workbench.jobs.start(polling_interval_s=0.05)
    for number in range(n_events):
        message_id = workbench.webhooks.emit("prediction.created", owner=owner, data={"number": number})
        workbench.webhooks.flush()
        sys.stdout.write(f"kept {message_id}\n")
        sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
