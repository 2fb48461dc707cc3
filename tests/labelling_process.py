"""An annotator in a process of their own: `python -m tests.labelling_process DATA_DIR STORE_URL PROJECT_ID API_KEY`.

Rates clip after clip until none is left, and writes a line with the rating's id once each is acknowledged.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from core.config import Settings
from core.domain import NOBODY, Rating
from core.identifiers import new_id
from core.workbench import open_workbench
from tests.bundles import TINY


def settings_of(data_dir: Path, store_url: str) -> Settings:
    """Those of the annotator's process and of whoever looks at its store."""
    return Settings(data_dir=data_dir, models_dir=TINY.parent, model="tiny", store_url=store_url)


def main() -> None:
    """Label to the end."""
    data_dir, store_url, project, key = sys.argv[1:]
    project_id = UUID(project)
    workbench = open_workbench(settings_of(Path(data_dir), store_url))
    annotator = workbench.access.caller_of_key(key)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    while tasks := workbench.labelling.queue(project_id, annotator=annotator, n=1).tasks:
        rating = Rating(
            id=new_id(),
            project_id=project_id,
            recording_id=NOBODY,
            annotator_id=annotator.user.id,
            label="sad",
            rated_at=datetime.now(UTC),
        )
        workbench.labelling.rate(project_id, tasks[0].assignment.id, rating, annotator=annotator)
        sys.stdout.write(f"{rating.id}\n")
        sys.stdout.flush()
    workbench.close()


if __name__ == "__main__":
    main()
