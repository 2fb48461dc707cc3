"""Training as a job: from a data set that is kept to a model that answers by its labels, stopped and gone on with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config import Settings
from core.domain import PROCESS, JobState, Role, Source
from core.errors import CustomTrainingFailedError, InvalidParameterError, ModelNameTakenError, UnknownDataSetError
from core.identifiers import new_id
from core.models import child, custom
from core.models.custom import CustomPlan, begin, chosen_clips, curve, estimate_s, obstacle_of
from core.models.data_sets import SentFile
from core.store.audit import select_audit_entries
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.callers import caller_of, make_user
from tests.challengers import PARENT
from tests.data_sets import own_zip
from tests.prepared_stores import prepared
from tests.sounds import voice_wav
from tests.waiting import wait_until
from training import custom as training_program
from training.augment import AUGMENTATIONS
from training.custom_splits import MIN_PER_LABEL, MIN_SPEAKERS, Protocol

PLAN = CustomPlan(n_epochs=3, learning_rate=1e-2)


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny")


@pytest.fixture
def workbench(settings):
    opened = open_workbench(settings)
    yield opened
    opened.close()


@pytest.fixture
def admin(workbench):
    return caller_of(make_user(workbench, Role.ADMIN, password=None))


@pytest.fixture
def moods(workbench, admin):
    sent = [SentFile(name="moods.zip", data=own_zip(6))]
    return workbench.data_sets.create(sent, name="Moods", by=admin, agrees=True)


def begun(workbench, moods, admin, **changes):
    return begin(workbench, moods.data_set.id, **{"name": "moods", "by": admin, "plan": PLAN, **changes})


def test_a_data_set_becomes_a_model_that_answers_by_its_labels(workbench, moods, admin):
    workbench.jobs.start(polling_interval_s=0.02)
    job = begun(workbench, moods, admin)
    with pytest.raises(ModelNameTakenError):
        begun(workbench, moods, admin)
    wait_until(lambda: workbench.jobs.job(job.id, reader=PROCESS).state.has_ended, timeout_s=120)
    done = workbench.jobs.job(job.id, reader=admin.reader)
    assert (done.state, done.error) == (JobState.SUCCEEDED, "")
    assert [line.sentence.split(":")[0] for line in done.log] == ["Round 1", "Round 2", "Round 3"]
    version = workbench.models.version("moods")
    made = version.trained
    assert (made.data_set, made.author, made.parent) == ("Moods", admin.user.email, PARENT)
    assert (made.n_clips, made.labels) == (12, {"bored": 6, "excited": 6})
    assert len(made.rounds) == 3
    assert sum(map(sum, made.confusion)) == 2
    assert not version.can_be_retrained
    answered = workbench.analyse(
        voice_wav(seconds=1.0), name="a.wav", source=Source.API, owner=admin.user.id, model="moods"
    )
    assert set(answered.prediction.probabilities) == {"bored", "excited"}
    [entry] = select_audit_entries(workbench.access.store, limit=1)
    assert (entry.action, entry.subject) == ("model.train", version.card.version)
    assert list((workbench.settings.data_dir / "training").iterdir()) == []
    workbench.models.forget_person(admin.user)
    assert workbench.models.version("moods").trained.author == str(admin.user.id)
    with pytest.raises(ModelNameTakenError):
        begun(workbench, moods, admin)


def test_cancelled_it_ends_its_child_and_the_name_is_free(workbench, moods, admin, monkeypatch):
    children = []
    start = child._start

    def remembered(command, **given):
        children.append(start(command, **given))
        return children[-1]

    monkeypatch.setattr(child, "_start", remembered)
    workbench.jobs.start(polling_interval_s=0.02)
    job = begun(workbench, moods, admin, plan=CustomPlan(n_epochs=500))
    wait_until(lambda: children)
    workbench.jobs.cancel(job.id, reader=admin.reader)
    wait_until(lambda: not workbench.jobs._runs, timeout_s=60)
    assert workbench.jobs.job(job.id, reader=PROCESS).state is JobState.CANCELLED
    assert children[0].poll() is not None
    assert begun(workbench, moods, admin).title == "Training moods"


def test_after_a_restart_it_goes_on(settings, workbench, moods, admin):
    workbench.jobs.start(polling_interval_s=0.02)
    job = begun(workbench, moods, admin, plan=CustomPlan(n_epochs=300))
    wait_until(lambda: curve(settings, "moods"), timeout_s=60)
    workbench.close()
    n_before = len(curve(settings, "moods"))
    assert 0 < n_before < 300
    again = open_workbench(settings)
    try:
        again.jobs.start(polling_interval_s=0.02)
        wait_until(lambda: again.jobs.job(job.id, reader=PROCESS).state.has_ended, timeout_s=120)
        assert again.jobs.job(job.id, reader=PROCESS).state is JobState.SUCCEEDED
        assert len(again.models.version("moods").trained.rounds) == 300
    finally:
        again.close()


def test_a_data_set_that_was_deleted_fails_the_job_with_the_reason(workbench, moods, admin):
    workbench.jobs.start(polling_interval_s=0.02)
    workbench.data_sets._sounds(moods.data_set.id).delete(moods.good[3].sha256)
    job = begun(workbench, moods, admin)
    wait_until(lambda: workbench.jobs.job(job.id, reader=PROCESS).state.has_ended, timeout_s=60)
    done = workbench.jobs.job(job.id, reader=PROCESS)
    assert done.state is JobState.FAILED
    assert moods.good[3].sha256 in done.error


def test_deleted_with_its_data_set_nothing_of_the_clips_stays(workbench, moods, admin):
    workbench.jobs.start(polling_interval_s=0.02)
    job = begun(workbench, moods, admin, plan=CustomPlan(n_epochs=300))
    kept = workbench.settings.data_dir / "training" / f"{moods.data_set.id.hex}-moods"
    wait_until(lambda: (kept / "heard.npz").exists(), timeout_s=60)
    workbench.jobs.cancel(job.id, reader=admin.reader)
    wait_until(lambda: not workbench.jobs._runs, timeout_s=60)
    assert kept.exists()
    workbench.data_sets.delete(moods.data_set.id, reader=admin.reader)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": "No Name"}, InvalidParameterError, "small letters"),
        ({"name": "tiny"}, ModelNameTakenError, "tiny"),
        ({"labels": ["bored", "none"]}, InvalidParameterError, "labels of the data set: bored, excited"),
        ({"labels": ["bored"]}, CustomTrainingFailedError, "clips of 1 label, and at least two"),
        ({"plan": CustomPlan(network="none")}, InvalidParameterError, "head"),
        ({"plan": CustomPlan(protocol="none")}, InvalidParameterError, "stratified, speakers"),
        ({"plan": CustomPlan(n_epochs=0)}, InvalidParameterError, "from 1 to 500"),
        ({"plan": CustomPlan(learning_rate=1.0)}, InvalidParameterError, r"0\.000001 to 0\.1"),
        ({"plan": CustomPlan(augmentations=("echo",))}, InvalidParameterError, "mixup"),
    ],
)
def test_what_is_out_of_place_is_refused_before_it_begins(workbench, moods, admin, changes, error, said):
    with pytest.raises(error, match=said):
        begun(workbench, moods, admin, **changes)


def test_a_strangers_data_set_is_not_there(workbench, admin):
    with pytest.raises(UnknownDataSetError):
        begin(workbench, new_id(), name="moods", by=admin)


def test_too_little_is_said_before_it_begins(moods):
    clips = chosen_clips(moods, [])
    by_speakers = CustomPlan(protocol=custom.SPEAKERS)
    assert obstacle_of(clips, PLAN) == obstacle_of(clips, by_speakers) == ""
    fewer = [clip for clip in clips if clip.label == "excited" or clip.speaker in {"s0", "s1"}]
    assert obstacle_of(fewer, PLAN) == "the label 'bored' has 4 clips, and at least 5 are needed"
    two = [replace(clip, speaker=clip.label) for clip in clips]
    assert obstacle_of(two, by_speakers) == "there are 2 speakers, and at least 3 are needed to keep them apart"
    nobody = [replace(clip, speaker="") for clip in clips]
    assert "not every clip says its speaker" in obstacle_of(nobody, by_speakers)


def test_the_estimate_grows_with_clips_rounds_and_what_is_chosen(moods):
    clips = list(moods.good)
    plain = estimate_s(clips, CustomPlan())
    for more in (
        estimate_s(clips * 2, CustomPlan()),
        estimate_s(clips, CustomPlan(n_epochs=300)),
        estimate_s(clips, CustomPlan(protocol=custom.SPEAKERS)),
        estimate_s(clips, CustomPlan(augmentations=("noise",))),
        *(estimate_s(clips, CustomPlan(network=network)) for network in custom.NETWORKS if network != custom.HEAD),
    ):
        assert more > plain
    for network in custom.NETWORKS:
        one = estimate_s(clips, CustomPlan(network=network))
        for more in (
            estimate_s(clips * 2, CustomPlan(network=network)),
            estimate_s(clips, CustomPlan(network=network, n_epochs=300)),
            estimate_s(clips, CustomPlan(network=network, protocol=custom.SPEAKERS)),
            estimate_s(clips, CustomPlan(network=network, augmentations=("noise",))),
        ):
            assert more > one


def test_the_form_offers_what_the_program_takes():
    ours, theirs = CustomPlan(), training_program.CustomPlan()
    assert (ours.network, ours.n_epochs, ours.learning_rate, ours.protocol, ours.seed) == (
        *(theirs.network, theirs.n_epochs, theirs.learning_rate, theirs.protocol.value, theirs.seed),
    )
    assert set(custom.PROTOCOLS) == {protocol.value for protocol in Protocol}
    assert set(custom.AUGMENTATIONS) <= set(AUGMENTATIONS)
    assert (custom.MIN_PER_LABEL, custom.MIN_SPEAKERS) == (MIN_PER_LABEL, MIN_SPEAKERS)
