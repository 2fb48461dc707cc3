"""Batch and Jobs: hand in many, watch, read what came of it, pause, go on, cancel."""

from __future__ import annotations

import io
import threading
import zipfile

import pytest
from streamlit.testing.v1 import AppTest

from core.batches import Submitted
from core.domain import PROCESS, JobState, Role, Source
from core.errors import ModelNotFoundError
from core.usage import Call
from pages.parts import words
from tests.integration.pages.conftest import NAVIGATION
from tests.sounds import voice_wav
from tests.waiting import wait_until

KEY = "batch_files_0"


@pytest.fixture
def running(workbench):
    workbench.jobs.start(polling_interval_s=0.02)
    return workbench


def zipped(*pitches: float) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for pitch in pitches:
            archive.writestr(f"day {pitch:.0f}/voice.wav", voice_wav(seconds=0.6, pitch_hz=pitch))
    return file.getvalue()


def text_of(app) -> str:
    return "\n".join(each.value for each in [*app.markdown, *app.caption, *app.subheader, *app.info, *app.error])


def metrics(app) -> dict[str, str]:
    return {metric.label: metric.value.replace("\u00a0", " ") for metric in app.metric}


def table(app, column: str):
    return next(frame.value for frame in app.dataframe if column in frame.value.columns)


def all_ended(workbench) -> None:
    wait_until(lambda: all(status.state.has_ended for status in workbench.batches.list_batches(reader=PROCESS)))


def submit(workbench, caller, n: int):
    call = Call(route="/batch", method="PAGE", caller=caller, request_id="r", address="")
    sounds = [Submitted(name=f"{i}.wav", data=voice_wav(seconds=0.6, pitch_hz=100 + i)) for i in range(n)]
    return workbench.batches.create(sounds, caller=caller, call=call, source=Source.UPLOAD)


def test_files_and_archives_are_scored_and_shown(running, open_page):
    app = open_page("batch")
    assert "No batches yet" in text_of(app)
    assert "Jobs" not in text_of(app)
    files = [
        ("clips.zip", zipped(110, 150), "application/zip"),
        ("one.wav", voice_wav(seconds=0.6, pitch_hz=190), "audio/wav"),
        ("broken.wav", b"nothing like a sound", "audio/wav"),
    ]
    app.file_uploader(key=KEY).set_value(files).run()
    app.button(key="batch_start").click().run()
    assert not app.exception
    assert not app.error
    all_ended(running)
    app.run()
    assert metrics(app)["Recordings"] == "4 of 4"
    assert (metrics(app)["Answered"], metrics(app)["Problems"]) == ("3", "1")
    assert list(table(app, "Answer")["Recording"]) == ["clips/day 110/voice.wav", "clips/day 150/voice.wav", "one.wav"]
    [problems] = [each.value for each in app.table]
    assert list(problems["Recording"]) == [words.plain("broken.wav")]
    assert "not a recording that can be read" in problems["What is wrong"][0]
    assert len(app.get("plotly_chart")) == 2


def test_an_archive_that_cannot_be_unpacked_is_refused_in_a_sentence(running, open_page):
    app = open_page("batch")
    app.file_uploader(key=KEY).set_value([("clips.zip", zipped(110)[:-30], "application/zip")]).run()
    app.button(key="batch_start").click().run()
    assert "cannot be unpacked" in app.error[0].value
    assert running.batches.list_batches(reader=PROCESS) == []


def test_a_batch_is_paused_goes_on_and_is_cancelled(running, open_page, sign_in, monkeypatch):
    began, may_go_on = threading.Event(), threading.Event()
    keep = running.batches._keep

    def slowly(*given):
        began.set()
        assert may_go_on.wait(30)
        return keep(*given)

    monkeypatch.setattr(running.batches, "_keep", slowly)
    app = open_page("batch")
    signed_in = sign_in(Role.ADMIN)
    caller = running.access.caller_of_page(signed_in.access_token, signed_in.refresh_token)
    status = submit(running, caller, 8)
    assert began.wait(20)
    app = open_page("jobs")
    key = f"jobs_{status.batch.id}"
    assert "Scoring 8 recordings" in text_of(app)
    assert "under way" in text_of(app)
    app.button(key=f"{key}_pause").click().run()
    may_go_on.set()
    assert running.jobs.job(status.batch.id, reader=PROCESS).state is JobState.PAUSED
    assert "paused" in text_of(app)
    wait_until(lambda: not running.jobs._runs)
    may_go_on.clear()
    app.button(key=f"{key}_resume").click().run()
    wait_until(lambda: running.jobs.job(status.batch.id, reader=PROCESS).state is JobState.RUNNING)
    app.run()
    app.button(key=f"{key}_cancel").click().run()
    may_go_on.set()
    assert running.batches.status(status.batch.id, reader=PROCESS).state is JobState.CANCELLED
    wait_until(lambda: not running.jobs._runs)


def test_a_batch_that_failed_says_why_and_goes_on_at_a_click(running, open_page, sign_in, monkeypatch):
    """The first of three groups fails while the second is about to keep what it heard, and before the third begins."""
    monkeypatch.setattr("core.batches.GROUP", 1)
    score, keep = running.batches._score_together, running.batches._keep
    is_heard, has_failed = threading.Event(), threading.Event()
    calls, happened = [], []

    def failing_once(batch, items, recogniser, run, is_stopping):
        [position] = [item.position for item in items]
        calls.append(position)
        if not has_failed.is_set() and position == 0:
            assert is_heard.wait(20)
            has_failed.set()
            raise ModelNotFoundError("tiny", ())
        if calls.count(position) == 1 and position == 2:
            wait_until(is_stopping)
        return score(batch, items, recogniser, run, is_stopping)

    def late(batch, outcomes, *given):
        if [outcome.position for outcome in outcomes] == [1]:
            is_heard.set()
            assert has_failed.wait(20)
            wait_until(lambda: not running.batches._threads._work_queue.qsize())
        n_kept = keep(batch, outcomes, *given)
        happened.extend(["kept"] * n_kept)
        return n_kept

    monkeypatch.setattr(running.batches, "_score_together", failing_once)
    monkeypatch.setattr(running.batches, "_keep", late)
    monkeypatch.setattr(running.batches, "on_failure", lambda *_: happened.append("failed"))
    signed_in = sign_in(Role.ANALYST)
    caller = running.access.caller_of_page(signed_in.access_token, signed_in.refresh_token)
    batch = submit(running, caller, 3).batch
    all_ended(running)
    assert happened == ["kept", "failed"]
    app = AppTest.from_file(NAVIGATION, default_timeout=60).run().switch_page("batch.py").run()
    assert running.jobs.job(batch.id, reader=PROCESS).error in [error.value for error in app.error]
    assert metrics(app)["Recordings"] == "1 of 3"
    app.button(key="batch_retry").click().run()
    wait_until(lambda: running.batches.status(batch.id, reader=PROCESS).state is JobState.SUCCEEDED)
    wait_until(lambda: running.jobs.job(batch.id, reader=PROCESS).state.has_ended)
    app.run()
    assert not app.error
    assert (metrics(app)["Recordings"], metrics(app)["Answered"]) == ("3 of 3", "3")
    assert "batch_retry" not in [button.key for button in app.button]
    assert (calls.count(0), calls.count(1)) == (2, 1)


def test_others_see_neither_batch_nor_job(running, open_page, sign_in):
    signed_in = sign_in(Role.ANALYST)
    submit(running, running.access.caller_of_page(signed_in.access_token, signed_in.refresh_token), 1)
    all_ended(running)
    sign_in(Role.ANALYST)
    for page, nothing in (("batch", "No batches yet"), ("jobs", "No jobs yet")):
        app = AppTest.from_file(NAVIGATION, default_timeout=60).run().switch_page(f"{page}.py").run()
        assert nothing in text_of(app)


def test_without_running_jobs_the_pages_say_so(open_page):
    for page in ("batch", "jobs"):
        app = open_page(page)
        assert not app.exception
        assert "in the background here at the moment" in text_of(app) or "works on jobs" in text_of(app)
