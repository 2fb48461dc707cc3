"""Recordings of a folder on this machine into a project, to be labelled there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from core.domain import NOBODY, PROCESS, Source
from core.errors import AudioError, ConsentNeededError, InvalidParameterError
from core.features.containers import SUFFIXES
from core.store.recordings import select_recordings

if TYPE_CHECKING:
    from core.workbench import Workbench

_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderProblem:
    """A file that could not be used, and why."""

    path: str
    """Within the folder, with forward slashes."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderImport:
    """What became of a folder."""

    n_new: int
    n_known: int
    """Left out, since the project holds the same sound already."""
    problems: Sequence[FolderProblem]


def import_folder(
    workbench: Workbench,
    folder: Path,
    project_id: UUID,
    *,
    agrees: bool = False,
    told: Callable[[int, int], None] = lambda n_done, n_total: None,
) -> FolderImport:
    """Take every recording below `folder` into a project as its owner's, each judged by the model.

    A file that cannot be used never loses the others. Stopped half way, the same call goes on: what the project holds
    already is left out.

    Parameters
    ----------
    agrees
        Whether those who speak have agreed to being recorded for the project's purpose; needed once for a project.
    told
        Told after each file how many are done, of how many.

    Raises
    ------
    UnknownProjectError
        There is no such project.
    ConsentNeededError
        Its owner has not agreed yet, and nobody agrees now.
    InvalidParameterError
        There is no such folder, or it holds no recordings.
    ModelError, StoreError
        Nothing can be judged or kept.
    """
    project = workbench.projects.find(project_id, PROCESS)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InvalidParameterError(
            "folder", repr(str(folder)), f"a folder with recordings ({', '.join(sorted(SUFFIXES))})"
        )
    if not workbench.projects.has_agreed(project.owner_id, project_id):
        if not agrees:
            raise ConsentNeededError(f"the project {project.name!r}")
        workbench.projects.agree(project.owner_id, project_id)
    held = _held(workbench, project_id)
    n_new = n_known = 0
    problems = []
    for n_done, path in enumerate(files, start=1):
        name = path.relative_to(folder).as_posix()
        try:
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if digest in held:
                n_known += 1
            else:
                workbench.analyse(data, name=name, source=Source.BATCH, owner=project.owner_id, project_id=project_id)
                held.add(digest)
                n_new += 1
        except (AudioError, OSError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            problems.append(FolderProblem(path=name, reason=reason))
        told(n_done, len(files))
    return FolderImport(n_new=n_new, n_known=n_known, problems=problems)


def _held(workbench: Workbench, project_id: UUID) -> set[str]:
    """Hashes of the sound that a project holds."""
    found: set[str] = set()
    after = NOBODY
    while some := select_recordings(
        workbench.store, reader=PROCESS, project_id=project_id, after=after, limit=_AT_ONCE
    ):
        found |= {recording.sha256 for recording in some}
        after = some[-1].id
    return found
