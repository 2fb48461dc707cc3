"""Train your own on Models: from an empty store to a model side by side with another, without leaving the page."""

from __future__ import annotations

import pytest

from core.domain import PROCESS, JobState
from tests.data_sets import own_zip
from tests.sounds import voice_wav
from tests.waiting import wait_until


def button(app, label):
    return next(each for each in app.button if each.label == label)


def name_field(app):
    return next(each for each in app.text_input if (each.key or "").startswith("models_own_name"))


@pytest.fixture
def page(open_page, workbench):
    workbench.jobs.start(polling_interval_s=0.02)
    return open_page("models")


def send(app, files):
    uploader = next(each for each in app.get("file_uploader") if each.label == "Clips, and a CSV of their labels")
    uploader.set_value(files)
    app.run()
    button(app, "Take it in").click().run()
    assert not app.exception
    return app


def test_a_zip_becomes_a_model_that_stands_beside_others(page, workbench):
    extra = {"set/s0/bored/bad.wav": b"nothing", "set/loose.wav": voice_wav(seconds=0.5, pitch_hz=400.0)}
    app = send(page, [("moods.zip", own_zip(6, extra=extra), "application/zip")])
    problems = next(each.value for each in app.table if "Problem" in each.value.columns)
    assert {name.replace("\\", "") for name in problems["File"]} == extra.keys()
    labels = next(each for each in app.get("button_group") if each.label == "Labels to learn")
    assert set(labels.value) == {"bored", "excited"}
    assert any("12 clips; about 10 s" in caption.value.replace("\u00a0", " ") for caption in app.caption)
    network = next(each for each in app.selectbox if each.key == "models_own_network")
    assert network.value == "head"
    network.set_value("bilstm").run()
    assert any("12 clips; about 30 s" in caption.value.replace("\u00a0", " ") for caption in app.caption)
    next(each for each in app.selectbox if each.key == "models_own_network").set_value("head").run()
    next(each for each in app.slider if each.key == "models_own_epochs").set_value(5).run()
    assert name_field(app).value == "moods"
    button(app, "Train").click().run()
    assert not app.exception
    assert name_field(app).value == "moods-2", "moods is being made"
    [job] = [job for job in workbench.jobs.list_jobs(reader=PROCESS) if job.kind == "train"]
    wait_until(lambda: workbench.jobs.job(job.id, reader=PROCESS).state.has_ended, timeout_s=120)
    assert workbench.jobs.job(job.id, reader=PROCESS).state is JobState.SUCCEEDED
    app.run()
    assert not app.exception
    assert any("model=moods" in text.value for text in app.markdown)
    table = next(each.value for each in app.table if "moods" in each.value.columns)
    assert table.loc["Labels", "moods"] == "bored 6, excited 6"
    chosen = next(each for each in app.selectbox if each.label == "Look at")
    chosen.set_value("moods").run()
    assert not app.exception
    assert any("whoever names it" in caption.value for caption in app.caption)
    assert any("From the data set moods" in text.value for text in app.markdown)


def test_what_is_missing_is_said_and_nothing_can_be_begun(page):
    app = send(page, [("few.zip", own_zip(3), "application/zip")])
    assert any("The label 'bored' has 3 clips, and at least 5 are needed." in each.value for each in app.caption)
    assert button(app, "Train").disabled


def test_a_table_without_its_columns_is_refused_in_words(page):
    uploader = next(each for each in page.get("file_uploader") if each.label == "Clips, and a CSV of their labels")
    uploader.set_value([("a.wav", voice_wav(seconds=0.5), "audio/wav"), ("labels.csv", b"x,y\n", "text/csv")])
    page.run()
    button(page, "Take it in").click().run()
    assert any("file and label, and perhaps speaker" in each.value for each in page.error)


def test_a_data_set_is_deleted(page, workbench):
    app = send(page, [("moods.zip", own_zip(5), "application/zip")])
    button(app, "Delete it").click().run()
    assert not app.exception
    assert workbench.data_sets.list_data_sets(reader=PROCESS) == []
