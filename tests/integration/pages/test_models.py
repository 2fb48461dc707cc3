"""Models: the table of versions, what an admin can do with one, and how a retraining is begun."""

from __future__ import annotations

import json

import pytest

from core.config import REPOSITORY
from core.domain import PROCESS, JobState, Role
from core.inference.model_scores import read_model_scores
from core.models import retraining
from tests.bundles import copy_of_tiny
from tests.challengers import PARENT, challenger
from tests.labelling_projects import make_labelled, rate_all
from tests.waiting import wait_until


@pytest.fixture
def own(workbench):
    workbench.settings.installed_models_dir.mkdir(exist_ok=True)
    return workbench.settings.installed_models_dir


def said(app):
    return " ".join(element.value for element in [*app.markdown, *app.caption, *app.warning, *app.info])


def look_at(app, name):
    return app.selectbox(key="models_chosen").set_value(name).run()


def test_a_fresh_process_shows_the_model_that_answers(open_page):
    app = open_page("models")
    assert not app.exception
    assert app.dataframe[0].value["State"].tolist() == ["answers"]
    assert "**tiny** answers whoever names no model." in said(app)
    assert "models_roll_back" not in {button.key for button in app.button}


def test_scores_of_one_protocol_name_it_once(open_page, monkeypatch):
    shipped = read_model_scores(REPOSITORY / "data" / "models" / "telepathy")
    monkeypatch.setattr("pages.parts.model_versions.read_model_scores", lambda folder: shipped)
    shown = [caption.value for caption in open_page("models").caption]
    (by_fold,) = [text for text in shown if "one at a time" in text]
    assert all(f"Fold {number} of 5" in by_fold for number in range(1, 6))


def test_an_admin_deploys_a_challenger_and_rolls_back(open_page, own, workbench):
    challenger(own)
    app = look_at(open_page("models"), "tiny-2")
    assert "Not worse on the test set and better on the corrections." in said(app)
    assert f"From {PARENT} by ada" in said(app)
    app.button(key="models_deploy_tiny-2").click().run()
    assert workbench.models.deployed == "tiny-2"
    assert "**tiny-2** answers whoever names no model." in said(app)
    app.button(key="models_roll_back").click().run()
    assert workbench.models.deployed == "tiny"
    assert "rolled back to **tiny**" in said(app)


def test_each_version_shows_its_data_settings_and_caveats_and_its_card(open_page, own):
    def learnt(card):
        corpus = {"n_recordings": 1234, "n_labelled": 1234, "n_speakers": 20, "hours": 1.11, "licence": "CC BY 4.0"}
        card.update(version="other-0123456789ab", data={"corpora": {"RAVDESS": corpus}})
        card.update(head={"n_epochs": 30, "is_masked_by_corpus": False}, caveats=["Acted speech alone."])

    copy_of_tiny(own, "other", change=learnt)
    challenger(own)
    app = look_at(open_page("models"), "other")
    data = next(each.value for each in app.table if "Learnt from" in each.value.columns)
    assert data.iloc[0].tolist() == ["RAVDESS \\(CC BY 4\\.0\\)", "1,234", "20", "1.1"]
    assert "Settings: rounds 30; masked by corpus no" in said(app)
    assert "Acted speech alone" in said(app)
    assert "models_card_file_other" in {button.key for button in app.get("download_button")}
    look_at(app, "tiny-2")
    assert "And 40 corrections: a test" in said(app)
    assert "rounds 2; learning rate 0\\.0003; correction share 0\\.3" in said(app)


def drawn_intervals(app):
    """What the chart of the gate draws: a difference with the ends of its interval, in points, by row."""
    [chart] = [chart for chart in app.get("plotly_chart") if chart.proto.id.endswith("models_gate")]
    found = {}
    for trace in json.loads(chart.proto.spec)["data"]:
        found.setdefault(trace["y"][0], {})[trace["mode"]] = trace["x"]
    return {row: (*drawn["markers"], *drawn["lines"]) for row, drawn in found.items()}


@pytest.mark.parametrize("passes", [True, False], ids=["passed", "stopped"])
def test_the_gate_shows_the_intervals_that_it_decided_by(open_page, own, workbench, passes):
    challenger(own, passes=passes)
    gate = workbench.models.version("tiny-2").retrained.gate
    app = look_at(open_page("models"), "tiny-2")
    drawn = drawn_intervals(app)
    for row, decided in {"Test speakers": gate.test, "Corrections": gate.corrections}.items():
        assert drawn[row] == pytest.approx([100 * decided.difference, 100 * decided.low, 100 * decided.high])
        difference, low, high = (f"{100 * each:+z.1f}" for each in (decided.difference, decided.low, decided.high))
        assert f"over {decided.n_clips} clips, {difference} points ({low} to {high})." in said(app)
    assert "95 % interval (paired bootstrap)" in said(app)


def test_what_the_gate_stops_is_deployed_with_a_reason_only(open_page, own, workbench):
    challenger(own, passes=False)
    app = look_at(open_page("models"), "tiny-2")
    assert "not surely better on the corrections" in said(app)
    assert app.button(key="models_deploy_tiny-2").disabled
    app.text_input(key="models_reason_tiny-2").set_value("A demonstration").run()
    app.button(key="models_deploy_tiny-2").click().run()
    assert workbench.models.deployed == "tiny-2"
    assert "Because: A demonstration" in said(app)


def test_a_model_listens_in_the_shadow_until_it_is_told_to_stop(open_page, own, workbench):
    challenger(own)
    app = look_at(open_page("models"), "tiny-2")
    app.button(key="models_shadow_tiny-2").click().run()
    assert "**tiny-2** listens in the shadow." in said(app)
    assert "Nothing was asked since it began." in said(app)
    app.button(key="models_end_shadow").click().run()
    assert workbench.models.standing.shadow is None


def test_an_analyst_looks_and_changes_nothing(open_page, own, sign_in):
    challenger(own)
    sign_in(Role.ANALYST)
    app = look_at(open_page("models"), "tiny-2")
    assert not app.exception
    keys = {button.key for button in app.button}
    assert not {key for key in keys if key and key.startswith(("models_deploy", "models_shadow", "models_roll"))}
    assert "Admins deploy models" in said(app)


@pytest.fixture
def rated(workbench):
    """Six recordings that two people rated, of which they disagree about one; a reviewer decided two others."""
    labelled = make_labelled(workbench, n_clips=6, overlap=2)
    rate_all(workbench, labelled, labelled.annotators[0], ["happy", "sad", "angry"])
    rate_all(workbench, labelled, labelled.annotators[1], ["calm", "sad", "angry", "happy", "sad", "angry"])
    for recording in labelled.recordings[1:3]:
        workbench.labelling.adjudicate(labelled.project.id, recording.id, "fearful", by=labelled.owner)
    return labelled


def test_what_people_rated_becomes_a_model_by_the_button(open_page, workbench, rated, monkeypatch):
    sent = []
    begin = retraining.begin
    monkeypatch.setattr(
        retraining,
        "begin",
        lambda of, corrections, **given: sent.extend(corrections) or begin(of, corrections, **given),
    )
    workbench.jobs.start(polling_interval_s=0.02)
    app = open_page("models")
    assert "6 corrections; about" in said(app)
    app.radio(key="models_which").set_value("Those a reviewer decided").run()
    assert "2 corrections; at least 5 are needed." in said(app)
    assert app.button(key="models_begin").disabled
    app.radio(key="models_which").set_value("All that were rated").run()
    app.slider(key="models_epochs").set_value(5).run()
    app.button(key="models_begin").click().run()
    assert not app.exception
    [job] = [job for job in workbench.jobs.list_jobs(reader=PROCESS) if job.kind == retraining.KIND]
    wait_until(lambda: workbench.jobs.job(job.id, reader=PROCESS).state.has_ended, timeout_s=120)
    assert workbench.jobs.job(job.id, reader=PROCESS).state is JobState.SUCCEEDED
    made = workbench.models.version("tiny-2").retrained
    assert (made.n_corrections, made.n_epochs) == (6, 5)
    assert made.source == f"labelling project {rated.project.name}"
    shares = {each.recording_id: each.shares for each in sent}
    disputed, decided = rated.recordings[0].id, rated.recordings[1].id
    assert shares[disputed] == {"happy": 0.5, "calm": 0.5}
    assert shares[decided] == {"fearful": 1.0}
    app.run()
    assert "tiny-2" in app.dataframe[0].value["Model"].tolist()


def test_a_table_says_how_many_corrections_it_holds_and_what_is_wrong(open_page):
    app = open_page("models")
    assert app.text_input(key="models_name_tiny-2").value == "tiny-2"
    assert app.button(key="models_begin").disabled
    rows = "".join(f"01900000-0000-7000-8000-00000000000{number},sad\n" for number in range(6))
    table = f"recording_id,label\n{rows}nobody,happy\n".encode()
    app.file_uploader(key="models_table_file").set_value(("corrections.csv", table, "text/csv")).run()
    assert "6 corrections; about" in said(app)
    assert "Row 7: recording_id is 'nobody', not the id of a recording." in said(app)
    assert not app.button(key="models_begin").disabled


def test_a_table_without_its_columns_is_refused_in_words(open_page):
    app = open_page("models")
    app.file_uploader(key="models_table_file").set_value(("a.csv", b"path,label\na,sad\n", "text/csv")).run()
    assert not app.exception
    assert "recording_id and label" in " ".join(error.value for error in [*app.error, *app.warning])
