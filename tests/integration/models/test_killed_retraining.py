"""`kill -9` of the whole process in the middle of a retraining: the next start goes on, and one model comes of it."""

from __future__ import annotations

import signal

from core.config import Settings
from core.domain import PROCESS, Emotion, JobState, Role, Source
from core.models.retraining import CorrectedRecording, RetrainingPlan, begin
from core.store.audit import select_audit_entries
from core.store.training_uses import count_deleted_training_recordings
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.callers import make_user
from tests.prepared_stores import prepared
from tests.process import running_app
from tests.sounds import voice_wav
from tests.waiting import wait_until

NAME = "tiny-2"
N, N_EPOCHS = 6, 30
MODEL = {"models_dir": TINY.parent, "model": "tiny"}


def test_a_retraining_whose_process_was_killed_goes_on_and_ends_once(tmp_path):
    settings = Settings(data_dir=prepared(tmp_path), **MODEL)
    workbench = open_workbench(settings)
    try:
        admin = workbench.access.caller_on_behalf(make_user(workbench, Role.ADMIN, password=None).id)
        corrections = [
            CorrectedRecording(
                recording_id=workbench.analyse(
                    voice_wav(seconds=1.0, pitch_hz=110.0 + 20 * number),
                    name=f"{number}.wav",
                    source=Source.API,
                    owner=admin.user.id,
                ).recording.id,
                shares={emotion: 1.0},
            )
            for number, emotion in zip(range(N), Emotion, strict=False)
        ]
        # Who is to do it is the process that is killed: it looks as rarely, since DBOS keeps how often with the queue.
        workbench.jobs.start(polling_interval_s=3)
        job = begin(
            workbench, corrections, name=NAME, source="a test", by=admin, plan=RetrainingPlan(n_epochs=N_EPOCHS)
        )
    finally:
        workbench.close()

    made = settings.installed_models_dir / NAME / "card.json"
    run = settings.data_dir / "retraining" / NAME
    """Where each fit keeps a checkpoint after every round."""
    with running_app(settings.data_dir, signs_in=False, **MODEL) as app:
        wait_until(lambda: list(run.glob("*.npz")), timeout_s=120)
        app.stop(signal.SIGKILL)
    assert not made.exists()

    with running_app(settings.data_dir, signs_in=False, **MODEL) as app:
        wait_until(made.exists, timeout_s=240)
        app.stop(signal.SIGKILL)

    workbench = open_workbench(settings)
    try:
        workbench.jobs.start(polling_interval_s=0.02)
        wait_until(lambda: workbench.jobs.job(job.id, reader=PROCESS).state.has_ended, timeout_s=60)
        done = workbench.jobs.job(job.id, reader=PROCESS)
        assert (done.state, done.error) == (JobState.SUCCEEDED, "")
        version = workbench.models.version(NAME)
        assert (version.retrained.n_corrections, version.retrained.n_epochs) == (N, N_EPOCHS)
        entries = select_audit_entries(workbench.access.store, limit=50)
        assert [each.subject for each in entries if each.action == "model.retrain"] == [version.card.version]
        workbench.delete_recording(corrections[0].recording_id, reader=PROCESS)
        assert count_deleted_training_recordings(workbench.store, reader=PROCESS) == {version.card.version: 1}
        assert list((settings.data_dir / "retraining").iterdir()) == []
    finally:
        workbench.close()
