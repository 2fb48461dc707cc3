"""Batch, a second time on the same page: what was just handed in is what is looked at."""

from __future__ import annotations

import threading

import pytest

from core.domain import PROCESS, JobState
from core.errors import JobError, NothingScoredError
from core.identifiers import new_id
from tests.sounds import voice_wav
from tests.waiting import wait_until


@pytest.fixture
def running(workbench):
    workbench.jobs.start(polling_interval_s=0.02)
    return workbench


def test_the_batch_just_handed_in_is_the_one_that_is_open(running, open_page):
    app = open_page("batch")
    for place, name in enumerate(("first.wav", "second.wav")):
        sound = voice_wav(seconds=0.6, pitch_hz=110 + 40 * place)
        app.file_uploader(key=f"batch_files_{place}").set_value([(name, sound, "audio/wav")]).run()
        app.button(key="batch_start").click().run()
        assert not app.exception
        newest = running.batches.list_batches(reader=PROCESS)[0]
        assert newest.batch.name == name
        assert app.selectbox(key="batch_chosen").value == str(newest.batch.id)
        assert app.query_params["batch"] == str(newest.batch.id)
    wait_until(lambda: all(status.state.has_ended for status in running.batches.list_batches(reader=PROCESS)))


def test_two_batches_of_one_name_are_told_apart_and_one_without_a_usable_recording_says_so(running, open_page):
    app = open_page("batch")
    for place in range(2):
        app.file_uploader(key=f"batch_files_{place}").set_value([("letter.wav", b"Dear all", "audio/wav")]).run()
        app.text_input(key=f"batch_name_{place}").set_value("Monday")
        app.button(key="batch_start").click().run()
    wait_until(lambda: all(status.state.has_ended for status in running.batches.list_batches(reader=PROCESS)))
    app.run()
    newest, oldest = running.batches.list_batches(reader=PROCESS)
    labels = app.selectbox(key="batch_chosen").options
    assert len(set(labels)) == 2
    assert all(label.startswith("Monday (") for label in labels)
    assert [error.value for error in app.error] == [str(NothingScoredError(1))]
    assert "batch_retry" not in [button.key for button in app.button]
    app.selectbox(key="batch_chosen").set_value(str(oldest.batch.id)).run()
    assert app.query_params["batch"] == str(oldest.batch.id) != str(newest.batch.id)
    app = open_page("jobs")
    assert [error.value for error in app.error] == [str(NothingScoredError(1))] * 2
    assert len([each.value for each in app.caption if "1 of 1 done, 1 with a problem" in each.value]) == 2
    assert not [button for button in app.button if (button.key or "").endswith("_retry")]


def test_a_job_that_failed_does_not_tell_the_time_that_was_left(workbench, open_page):
    def learn(of):
        of.jobs.tell(0.4, "Learning, 44 s left")
        raise JobError("The disk is full.")

    workbench.jobs.register("learn", learn, title="Training moods")
    workbench.jobs.start(polling_interval_s=0.02)
    job = workbench.jobs.enqueue("learn", owner=new_id())
    wait_until(lambda: workbench.jobs.job(job.id, reader=PROCESS).state is JobState.FAILED)
    app = open_page("jobs")
    assert "The disk is full." in [error.value for error in app.error]
    assert not [each.value for each in app.caption if "left" in each.value]


def test_jobs_lets_a_batch_go_on_whose_last_step_failed(running, open_page, monkeypatch):
    def end(_batch_id):
        raise JobError("The disk is full.")

    app = open_page("batch")
    app.file_uploader(key="batch_files_0").set_value([("one.wav", voice_wav(seconds=0.6), "audio/wav")]).run()
    with monkeypatch.context() as failing:
        failing.setattr(running.batches, "_end", end)
        app.button(key="batch_start").click().run()
        [status] = running.batches.list_batches(reader=PROCESS)
        wait_until(lambda: running.jobs.job(status.batch.id, reader=PROCESS).state is JobState.FAILED)
    app = open_page("jobs")
    app.button(key=f"jobs_{status.batch.id}_retry").click().run()
    assert not app.exception
    wait_until(lambda: running.jobs.job(status.batch.id, reader=PROCESS).state is JobState.SUCCEEDED)


def test_a_paused_batch_can_be_cancelled_where_it_is_looked_at(running, open_page):
    app = open_page("batch")
    may_go_on = threading.Event()
    running.batches._require_quota = lambda batch: may_go_on.wait(30)  # stands still before its first recording
    app.file_uploader(key="batch_files_0").set_value([("one.wav", voice_wav(seconds=0.6), "audio/wav")]).run()
    app.button(key="batch_start").click().run()
    [status] = running.batches.list_batches(reader=PROCESS)
    wait_until(lambda: running.jobs.job(status.batch.id, reader=PROCESS).state is JobState.RUNNING)
    app.run()
    app.button(key="batch_pause").click().run()
    assert not app.exception
    assert "batch_resume" in [button.key for button in app.button]
    app.button(key="batch_cancel").click().run()
    may_go_on.set()
    assert running.batches.status(status.batch.id, reader=PROCESS).state is JobState.CANCELLED
    wait_until(lambda: not running.jobs._runs)
