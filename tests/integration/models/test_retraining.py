"""Retraining as a job: from recordings that are kept to a model that serves, stopped and gone on with."""

from __future__ import annotations

import json
from uuid import UUID

import numpy as np
import pytest

from core.config import Settings
from core.domain import PROCESS, Emotion, JobState, Reader, Role, Source
from core.errors import InvalidParameterError, ModelNameTakenError, RetrainingFailedError
from core.identifiers import new_id
from core.models import child, retraining
from core.models.retraining import CorrectedRecording, RetrainingPlan, begin, curve
from core.store.audit import select_audit_entries
from core.store.training_uses import count_deleted_training_recordings
from core.workbench import open_workbench
from tests.bundles import PUBLISHED_ENCODER, TINY, copy_of_tiny
from tests.callers import make_user
from tests.challengers import PARENT
from tests.prepared_stores import prepared
from tests.sounds import voice_wav
from tests.waiting import wait_until
from training.corrections import load_corrections

PLAN = RetrainingPlan(n_epochs=2)
N = 6


@pytest.fixture
def workbench(tmp_path):
    opened = open_workbench(Settings(data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny"))
    yield opened
    opened.close()


@pytest.fixture
def admin(workbench):
    return workbench.access.caller_on_behalf(make_user(workbench, Role.ADMIN, password=None).id)


@pytest.fixture
def corrections(workbench, admin):
    emotions = list(Emotion)
    kept = [
        workbench.analyse(
            voice_wav(seconds=1.0, pitch_hz=110.0 + 20 * number),
            name=f"{number}.wav",
            source=Source.API,
            owner=admin.user.id,
        ).recording.id
        for number in range(N)
    ]
    return [
        CorrectedRecording(recording_id=each, shares={emotions[number]: 3.0, Emotion.SAD: 1.0})
        for number, each in enumerate(kept)
    ]


def begun(workbench, corrections, admin, **changes):
    fields = {"name": "tiny-2", "source": "a test", "by": admin, "plan": PLAN}
    return begin(workbench, corrections, **{**fields, **changes})


def test_corrections_become_a_model_that_says_what_it_learnt(workbench, corrections, admin):
    workbench.jobs.start(polling_interval_s=0.02)
    gone = CorrectedRecording(recording_id=new_id(), shares={Emotion.HAPPY: 1.0})
    job = begun(workbench, [*corrections, gone], admin)
    with pytest.raises(ModelNameTakenError):
        begun(workbench, corrections, admin)
    wait_until(lambda: workbench.jobs.job(job.id, reader=PROCESS).state.has_ended, timeout_s=120)
    done = workbench.jobs.job(job.id, reader=admin.reader)
    assert (done.state, done.error) == (JobState.SUCCEEDED, "")
    version = workbench.models.version("tiny-2")
    assert (version.retrained.parent, version.retrained.source) == (PARENT, "a test")
    assert version.retrained.author == admin.user.email
    assert (version.retrained.n_corrections, version.retrained.n_epochs) == (N, 2)
    said = [line.sentence for line in done.log]
    assert str(gone.recording_id) in said[0]
    assert [sentence.split(":")[0] for sentence in said[1:3]] == ["Round 1", "Round 2"]
    assert said[3] == version.retrained.gate.sentence
    answered = workbench.analyse(
        voice_wav(seconds=1.0), name="a.wav", source=Source.API, owner=admin.user.id, model="tiny-2"
    )
    assert answered.prediction.model_version == version.card.version
    workbench.delete_recording(corrections[0].recording_id, reader=PROCESS)
    assert count_deleted_training_recordings(workbench.store, reader=PROCESS) == {version.card.version: 1}
    [entry] = select_audit_entries(workbench.access.store, limit=1)
    assert (entry.action, entry.subject) == ("model.retrain", version.card.version)
    assert list((workbench.settings.data_dir / "retraining").iterdir()) == []
    with pytest.raises(ModelNameTakenError):
        begun(workbench, corrections, admin)


def test_cancelled_it_ends_its_child_and_the_name_is_free(workbench, corrections, admin, monkeypatch):
    children = []
    start = child._start

    def remembered(command, **given):
        children.append(start(command, **given))
        return children[-1]

    monkeypatch.setattr(child, "_start", remembered)
    workbench.jobs.start(polling_interval_s=0.02)
    job = begun(workbench, corrections, admin, plan=RetrainingPlan(n_epochs=200))
    wait_until(lambda: children)
    workbench.jobs.cancel(job.id, reader=admin.reader)
    wait_until(lambda: not workbench.jobs._runs, timeout_s=60)
    assert workbench.jobs.job(job.id, reader=PROCESS).state is JobState.CANCELLED
    assert children[0].poll() is not None
    assert [version.card.name for version in workbench.models.list_versions()[0]] == ["tiny"]
    assert begun(workbench, corrections, admin).title == "Retraining tiny-2"


def test_recordings_are_handed_over_as_the_child_reads_them(workbench, corrections, admin, tmp_path):
    asked = [
        {"recording_id": str(each.recording_id), "shares": {str(k): v for k, v in each.shares.items()}, "weight": 2.0}
        for each in corrections
    ]
    retraining._hear(workbench, asked, parent="tiny", reader=admin.reader, file=tmp_path / "heard.npz")
    found = load_corrections(tmp_path / "heard.npz")
    assert found.embeddings.shape == (N, 24)
    assert np.allclose(found.shares.sum(axis=1), 1)
    assert found.shares[0].tolist()[0] == 0.75
    assert found.weights.tolist() == [2.0] * N
    assert [UUID(each) for each in found.recording_ids] == [each.recording_id for each in corrections]


def test_what_nobody_else_may_hear_is_not_learnt_from(workbench, corrections, tmp_path):
    asked = [{"recording_id": str(each.recording_id), "shares": {"sad": 1.0}, "weight": 1.0} for each in corrections]
    stranger = Reader(user_id=new_id())
    with pytest.raises(RetrainingFailedError, match="0 of 6 recordings could be heard"):
        retraining._hear(workbench, asked, parent="tiny", reader=stranger, file=tmp_path / "heard.npz")
    assert not (tmp_path / "heard.npz").exists()


@pytest.mark.parametrize("name", ["", "Upper", "a b", "../a", "a--b", "x" * 41])
def test_a_name_that_no_folder_may_have_is_refused(workbench, corrections, admin, name):
    with pytest.raises(InvalidParameterError, match="small letters"):
        begun(workbench, corrections, admin, name=name)


@pytest.mark.parametrize("given", [{"n_epochs": 0}, {"n_epochs": 201}, {"learning_rate": 0.1}, {"correction_share": 1}])
def test_a_plan_out_of_place_is_refused(workbench, corrections, admin, given):
    with pytest.raises(InvalidParameterError, match=next(iter(given))):
        begun(workbench, corrections, admin, plan=RetrainingPlan(**given))


def test_too_few_recordings_are_refused(workbench, corrections, admin):
    with pytest.raises(InvalidParameterError, match="4 recordings"):
        begun(workbench, corrections[:4], admin)


def test_a_model_on_somebody_elses_encoder_cannot_be_retrained(workbench, corrections, admin, tmp_path):
    copy_of_tiny(tmp_path / "others", change=lambda card: card.update(encoder=PUBLISHED_ENCODER))
    other = open_workbench(
        Settings(data_dir=prepared(tmp_path / "other"), models_dir=tmp_path / "others", model="tiny")
    )
    try:
        with pytest.raises(RetrainingFailedError, match="no encoder of its own"):
            begun(other, corrections, admin)
    finally:
        other.close()


def test_the_curve_of_a_retraining_that_runs_is_read_from_its_folder(workbench):
    folder = workbench.settings.data_dir / "retraining" / "tiny-2"
    folder.mkdir(parents=True)
    assert curve(workbench.settings, "tiny-2") == ()
    (folder / "rounds.json").write_text(json.dumps([{"round": 1, "loss_nats": 1.5, "corrections_accuracy": 0.5}]))
    [point] = curve(workbench.settings, "tiny-2")
    assert (point.number, point.loss_nats, point.validation_uar) == (1, 1.5, None)


def test_a_table_of_corrections_is_read_and_bad_rows_are_named():
    one, two = new_id(), new_id()
    rows, problems = retraining.read_corrections(
        f"recording_id,label,happy,sad\n{one},angry,,\n{two},,1,3\nnobody,sad,,\n{one},glad,,\n"
    )
    assert [(row.recording_id, dict(row.shares)) for row in rows] == [
        (one, {Emotion.ANGRY: 1.0}),
        (two, {Emotion.HAPPY: 0.25, Emotion.SAD: 0.75}),
    ]
    assert [problem.split(":")[0] for problem in problems] == ["Row 3", "Row 4"]
    with pytest.raises(InvalidParameterError, match="path"):
        retraining.read_corrections("path,label\na.wav,sad\n")


def test_what_a_deleted_recording_sounded_like_is_dropped_and_the_model_is_marked_all_the_same(workbench, corrections):
    """As after a retraining that failed, whose embeddings wait for somebody to retry it."""
    gone, kept = corrections[0].recording_id, corrections[1].recording_id
    heard = workbench.settings.data_dir / "retraining" / "tiny-2-0123456789ab.npz"
    heard.parent.mkdir()
    arrays = {"embeddings": np.array([[1.0, 2.0], [3.0, 4.0]]), "weights": np.array([1.0, 2.0])}
    np.savez(heard, recording_ids=np.array([str(gone), str(kept)]), **arrays)
    workbench.delete_recording(corrections[2].recording_id, reader=PROCESS)
    workbench.delete_recording(gone, reader=PROCESS)
    with np.load(heard) as left:
        assert left["recording_ids"].tolist() == [str(kept)]
        assert (left["embeddings"].tolist(), left["weights"].tolist()) == ([[3.0, 4.0]], [2.0])
    retraining._note_uses(workbench, "tiny-2-0123456789ab", heard)
    assert count_deleted_training_recordings(workbench.store, reader=PROCESS) == {"tiny-2-0123456789ab": 1}
    workbench.delete_recording(kept, reader=PROCESS)
    assert count_deleted_training_recordings(workbench.store, reader=PROCESS) == {"tiny-2-0123456789ab": 2}
