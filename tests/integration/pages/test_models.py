"""Models: the table of versions, what an admin can do with one, and how a retraining is begun."""

from __future__ import annotations

import pytest

from core.domain import Role
from tests.challengers import PARENT, challenger


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
