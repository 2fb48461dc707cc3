"""A folder of recordings becomes a project's clips: what can be used is, what cannot is told, nothing comes twice."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from core.domain import PROCESS, Source
from core.errors import ConsentNeededError, InvalidParameterError
from core.labelling.__main__ import commands
from core.labelling.folders import FolderImport, FolderProblem, import_folder
from core.store.recordings import select_recordings
from tests.bundles import TINY
from tests.sounds import voice_wav


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "to_import"
    (made / "anna").mkdir(parents=True)
    (made / "anna" / "one.wav").write_bytes(voice_wav(seconds=1))
    (made / "copy.wav").write_bytes(voice_wav(seconds=1))
    (made / "two.WAV").write_bytes(voice_wav(seconds=1, pitch_hz=200))
    (made / "broken.wav").write_bytes(b"no sound")
    (made / "notes.txt").write_text("no recording")
    return made


def test_recordings_of_a_folder_are_the_owners_judged_and_taken_once(make_studio, folder):
    studio = make_studio(n_clips=0)
    workbench, project = studio.workbench, studio.project
    with pytest.raises(ConsentNeededError, match="Voices"):
        import_folder(workbench, folder, project.id)
    heard: list[tuple[int, int]] = []
    found = import_folder(workbench, folder, project.id, agrees=True, told=lambda *counts: heard.append(counts))
    assert (found.n_new, found.n_known, [problem.path for problem in found.problems]) == (2, 1, ["broken.wav"])
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    kept = select_recordings(workbench.store, reader=PROCESS, project_id=project.id)
    assert {recording.name for recording in kept} == {"anna/one.wav", "two.WAV"}
    assert {(recording.owner_id, recording.source) for recording in kept} == {(studio.owner.user.id, Source.BATCH)}
    tasks = studio.queue(studio.annotators[0]).tasks
    assert {task.recording.id for task in tasks} == {recording.id for recording in kept}
    again = import_folder(workbench, folder, project.id)
    assert again == FolderImport(
        n_new=0, n_known=3, problems=[FolderProblem(path="broken.wav", reason=found.problems[0].reason)]
    )


def test_folder_without_recordings_is_refused(make_studio, tmp_path):
    studio = make_studio(n_clips=0)
    with pytest.raises(InvalidParameterError, match="a folder with recordings"):
        import_folder(studio.workbench, tmp_path / "nowhere", studio.project.id)


def test_operator_imports_by_a_command(make_studio, folder, tmp_path, store_url):
    studio = make_studio(n_clips=0)
    studio.workbench.close()
    environ = {
        "TELEPATHY_DATA_DIR": str(tmp_path),
        "TELEPATHY_MODELS_DIR": str(TINY.parent),
        "TELEPATHY_MODEL": "tiny",
    }
    if store_url.startswith("postgresql"):
        environ["TELEPATHY_STORE_URL"] = store_url
    done = CliRunner().invoke(
        commands, ["import-folder", str(folder), str(studio.project.id), "--consent"], env=environ
    )
    assert (done.exit_code, done.stdout) == (0, "2 new, 1 known already, 1 with a problem\n")
    assert done.stderr.startswith("broken.wav: ")
