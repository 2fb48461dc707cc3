"""What holds for all pages: they open on nothing, say what to do, and show errors in one place only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.config import REPOSITORY
from core.domain import Role
from core.errors import BusyError, ShuttingDownError
from core.workbench import open_workbench, set_current_workbench
from pages.parts import session
from tests.bundles import PUBLISHED_ENCODER, copy_of_tiny

PAGES = [
    path.stem for path in sorted((REPOSITORY / "pages").glob("*.py")) if path.stem not in {"__init__", "navigation"}
]


def text_of(app) -> str:
    shown = [*app.markdown, *app.error, *app.warning, *app.info, *app.caption, *app.subheader, *app.title, *app.code]
    return "\n".join(element.value for element in shown)


@pytest.mark.parametrize("page", PAGES)
def test_opens_on_an_empty_store_with_a_heading_and_without_errors(open_page, page):
    app = open_page(page)
    assert not app.exception
    assert not app.error
    assert [title.value for title in app.title] == [page.replace("_", " ").capitalize()]


@pytest.mark.parametrize("page", PAGES)
def test_every_input_has_a_label(open_page, page):
    app = open_page(page)
    for kind in ("button", "file_uploader", "audio_input", "text_input", "slider", "multiselect", "selectbox"):
        assert all(widget.label for widget in getattr(app, kind))


def test_empty_explore_leads_to_analyse(open_page):
    app = open_page("explore")
    assert "No predictions yet" in text_of(app)
    assert [link.label for link in app.get("page_link")] == ["Analyse a recording"]


def test_a_missing_model_says_how_to_make_one_and_leaves_explore_alone(settings, tmp_path, open_page, sign_in):
    bare = open_workbench(replace(settings, data_dir=tmp_path / "bare", models_dir=tmp_path / "none"))
    set_current_workbench(bare)
    sign_in(Role.ADMIN)
    try:
        app = open_page("analyse")
        assert not app.exception
        assert "no model named 'tiny'" in app.error[0].value
        assert app.code[0].value == "make model"
        assert "No predictions yet" in text_of(open_page("explore"))
    finally:
        bare.close()


def test_a_missing_encoder_says_how_to_install_it(settings, tmp_path, open_page, sign_in):
    folder = copy_of_tiny(tmp_path / "models", "whisper", lambda card: card.update(encoder=PUBLISHED_ENCODER))
    (folder / "encoder.tflite").unlink()
    bare = open_workbench(
        replace(settings, data_dir=tmp_path / "bare", models_dir=tmp_path / "models", model="whisper")
    )
    set_current_workbench(bare)
    sign_in(Role.ADMIN)
    try:
        app = open_page("analyse")
        assert not app.exception
        assert "needs the encoder Whisper tiny.en (OpenAI), which is not installed" in app.error[0].value
        assert app.code[0].value == "python -m training whisper install"
    finally:
        bare.close()


def test_a_failing_store_says_so_and_offers_another_try(open_page, workbench):
    workbench.store.close()
    app = open_page("explore")
    assert not app.exception
    assert "The store failed" in app.error[0].value
    assert [button.label for button in app.button] == ["Try again"]


@pytest.mark.parametrize("error", [BusyError(70, 4), ShuttingDownError()])
def test_a_passing_trouble_offers_another_try_that_works(open_page, monkeypatch, error):
    def refuse():
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(session, "zone", refuse)
        app = open_page("explore")
        assert str(error) in text_of(app)
        [again] = app.button
    app = again.click().run()
    assert not app.error
    assert "No predictions yet" in text_of(app)


def test_trouble_before_anybody_is_known_is_told_too(open_page, workbench):
    workbench.access.close()
    app = open_page()
    assert not app.exception
    assert "The store failed" in app.error[0].value
    assert not app.title


def test_any_other_error_stays_loud(open_page, monkeypatch):
    def break_down():
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(session, "zone", break_down)
    assert open_page("explore").exception[0].message == "a mistake of ours"
