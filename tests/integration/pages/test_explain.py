"""Explain: from nothing to an answer's reasons; each thing that is missing costs its own part of the page alone."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from core.config import Settings
from core.domain import NOBODY, PROCESS, Emotion, Role, Source
from core.inference.registry import ENCODER
from core.store.predictions import count_predictions, insert_prediction
from core.workbench import open_workbench, set_current_workbench
from pages.parts import session
from tests.bundles import PUBLISHED_ENCODER, TINY, copy_of_tiny
from tests.factories import make_prediction
from tests.sounds import voice_wav
from tests.surrogates import write_small_surrogate

CLIP = voice_wav(seconds=1.5)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    """The tiny model with a surrogate, another without, and one whose encoder is not installed."""
    folder = tmp_path_factory.mktemp("models")
    write_small_surrogate(copy_of_tiny(folder, "tiny"))
    copy_of_tiny(folder, "other", lambda card: card.update(version="other-f613c0fae301"))
    apart = copy_of_tiny(
        folder, "apart", lambda card: card.update(version="apart-0123456789ab", encoder=PUBLISHED_ENCODER)
    )
    (apart / ENCODER).unlink()
    return folder


@pytest.fixture
def settings(tmp_path, models_dir):
    return Settings(data_dir=tmp_path, models_dir=models_dir, model="tiny")


@pytest.fixture
def prediction(workbench):
    return workbench.analyse(CLIP, name="clip.wav", source=Source.UPLOAD, owner=NOBODY).prediction


def text_of(app) -> str:
    shown = [*app.markdown, *app.error, *app.warning, *app.info, *app.success, *app.caption, *app.subheader]
    return "\n".join(element.value for element in shown) + "\n".join(element.body for element in app.get("html"))


def charts(app) -> int:
    return len(app.get("plotly_chart"))


def pills(app, label: str):
    return next(group for group in app.pills if group.label.startswith(label))


def test_an_empty_store_offers_samples_and_the_view_over_many_recordings(open_page):
    app = open_page("explain")
    assert not app.exception
    assert "No answers yet" in text_of(app)
    assert charts(app) == 1
    assert "Over 40 recordings" in text_of(app)
    assert "reasons of a surrogate, not of the model" in text_of(app)


def test_a_sample_is_analysed_and_explained_in_one_click(open_page, workbench, tmp_path, monkeypatch):
    (tmp_path / "soft-calm.wav").write_bytes(CLIP)
    monkeypatch.setattr(session, "samples", lambda: [tmp_path / "soft-calm.wav"])
    app = open_page("explain")
    app = next(button for button in app.button if button.label == "Soft, calm").click().run()
    assert not app.exception
    assert count_predictions(workbench.store, reader=PROCESS) == 1
    assert "The strongest reasons" in text_of(app)


def test_a_recent_answer_is_explained_in_one_click(open_page, prediction):
    app = open_page("explain")
    [recent] = [button for button in app.button if "clip.wav" in button.label.replace("\\", "")]
    app = recent.click().run()
    assert not app.exception
    assert app.query_params["prediction"] in (str(prediction.id), [str(prediction.id)])


def test_an_answer_gets_its_regions_reasons_features_spread_and_limits(open_page, prediction):
    app = open_page("explain", prediction=str(prediction.id))
    assert not app.exception
    assert charts(app) == 4
    said = text_of(app)
    assert f"Why {prediction.emotion}? Which parts of the sound" in said
    assert "nats" in said
    assert "neutral speech in CREMA-D" in said
    assert "reasons of a surrogate, not of the model" in said
    assert "Here both agree" in said or "Here they disagree" in said
    assert f"Asked {prediction.n_passes} times" in said
    assert "What this is not" in said
    assert prediction.model_version in said
    assert [button.label for button in app.get("download_button")] == [
        "Download as HTML",
        "Report (PDF)",
        "Report (HTML)",
    ]
    frame = app.table[0].value
    assert list(frame.columns) == ["Feature", "Distance", "Here", "Usual there"]
    assert "Pitch" in set(frame["Feature"])


def test_a_contrast_is_chosen_in_one_click_stands_in_the_address_and_changes_the_numbers(open_page, prediction):
    app = open_page("explain", prediction=str(prediction.id))
    before = text_of(app)
    runner_up = pills(app, "Why").options[1].split()[1]
    pills(app, "Why").set_value(runner_up)
    app.run()
    assert not app.exception
    assert app.query_params["against"] in (runner_up, [runner_up])
    assert f"Why {prediction.emotion} and not {runner_up}?" in text_of(app)
    assert f"{prediction.emotion} rather than {runner_up}" in text_of(app)
    assert text_of(app) != before


def test_a_second_run_asks_the_model_nothing(open_page, prediction, workbench, monkeypatch):
    app = open_page("explain", prediction=str(prediction.id))

    def refuse(*_given, **_named):
        raise AssertionError("computed again")

    monkeypatch.setattr(workbench.executor, "submit", refuse)
    assert not app.run().exception


def test_a_link_to_what_is_not_there_says_so_and_leads_on(open_page, prediction):
    app = open_page("explain", prediction=str(uuid4()))
    assert "There is no prediction" in app.warning[0].value
    assert not app.exception


def test_a_contrast_that_is_the_answer_itself_is_no_contrast(open_page, prediction):
    app = open_page("explain", prediction=str(prediction.id), against=prediction.emotion.value)
    assert not app.exception
    assert pills(app, "Why").value == "all others"


def test_sound_that_is_no_longer_kept_leaves_the_answer_and_its_spread(open_page, workbench, prediction):
    [file] = [path for path in workbench.settings.data_dir.rglob("*") if path.is_file() and path.read_bytes() == CLIP]
    file.unlink()
    app = open_page("explain", prediction=str(prediction.id))
    assert not app.exception
    assert "no longer kept, so its regions cannot be shown" in text_of(app)
    assert charts(app) == 2


def test_a_model_that_is_gone_offers_the_one_in_use(open_page, workbench, prediction):
    old = replace(
        make_prediction(session.answer_of(workbench, prediction.id)[0], emotion=Emotion.SAD), model_version="old-0123"
    )
    insert_prediction(workbench.store, prediction=old)
    app = open_page("explain", prediction=str(old.id))
    assert not app.exception
    assert "Model old-0123, which gave this answer, is no longer at hand" in text_of(app)
    assert "How the voice sounds" in text_of(app)
    app = next(button for button in app.button if button.label == "Ask the model in use now").click().run()
    assert not app.exception
    assert "The strongest reasons" in text_of(app)


def test_without_a_surrogate_one_sentence_says_so_and_the_rest_works(tmp_path, open_page, sign_in):
    bare = open_workbench(Settings(data_dir=tmp_path / "bare", models_dir=TINY.parent, model="tiny"))
    set_current_workbench(bare)
    sign_in(Role.ADMIN)
    try:
        prediction = bare.analyse(
            voice_wav(seconds=1.2), name="clip.wav", source=Source.UPLOAD, owner=NOBODY
        ).prediction
        app = open_page("explain", prediction=str(prediction.id))
        assert not app.exception
        assert "has no surrogate" in text_of(app)
        assert "The strongest reasons" in text_of(app)
        assert charts(app) == 2
    finally:
        bare.close()


def test_a_speakers_own_recordings_are_a_reference_from_three_on(open_page, workbench, prediction):
    for pitch_hz in (100.0, 115.0, 130.0):
        workbench.analyse(
            voice_wav(seconds=1.5, pitch_hz=pitch_hz), name=f"{pitch_hz}.wav", source=Source.UPLOAD, owner=NOBODY
        )
    app = open_page("explain", prediction=str(prediction.id))
    app.selectbox(key="explain_reference").set_value("this speaker's own neutral recordings")
    app.run()
    assert "Choose 3 more." in text_of(app)
    own = app.multiselect(key="explain_own")
    for label in own.options:
        own.select(label)
    app.run()
    assert not app.exception
    assert "this speaker's neutral" in text_of(app)
    assert "3 recordings of 1 speaker" in text_of(app)


def test_a_second_recording_stands_beside_the_first(open_page, workbench, prediction):
    other = workbench.analyse(
        voice_wav(seconds=1.2, pitch_hz=210.0), name="b.wav", source=Source.UPLOAD, owner=NOBODY
    ).prediction
    app = open_page("explain", prediction=str(prediction.id), beside=str(other.id))
    assert not app.exception
    assert charts(app) == 6
    assert "b.wav" in [text.value for text in app.text]


def test_a_second_model_stands_beside_the_first(open_page, prediction):
    app = open_page("explain", prediction=str(prediction.id), beside_model="other")
    assert not app.exception
    assert charts(app) == 6
    versions = [caption.value.rsplit(" · ", 1)[-1] for caption in app.caption if ", odds " in caption.value]
    assert [version.split("-")[0] for version in versions] == ["tiny", "other"]


def test_model_that_is_not_installed_is_not_offered(open_page, prediction):
    app = open_page("explain", prediction=str(prediction.id))
    offered = next(box for box in app.selectbox if box.label == "Same recording, another model").options
    assert any("other" in option for option in offered)
    assert not any("apart" in option for option in offered)


def test_what_cannot_stand_beside_says_why(open_page, prediction):
    app = open_page("explain", prediction=str(prediction.id), beside=str(uuid4()))
    assert not app.exception
    assert "There is no prediction" in text_of(app)
    assert charts(app) == 4


def test_recordings_kept_here_can_be_seen_together(open_page, prediction):
    app = open_page("explain", prediction=str(prediction.id))
    app.segmented_control(key="explain_many_where").set_value("Recordings kept here")
    app.run()
    assert not app.exception
    assert "Over 1 recording," in text_of(app)


def test_the_view_over_many_begins_with_the_answer_whatever_was_looked_at_before(open_page, prediction):
    app = open_page("explain")
    other = next(emotion for emotion in Emotion if emotion is not prediction.emotion)
    app.session_state["explain_many_emotion"] = other.value
    app.query_params["prediction"] = str(prediction.id)
    app.run()
    assert pills(app, "What speaks for").value == prediction.emotion.value
    pills(app, "What speaks for").set_value(other.value)
    app.run()
    assert pills(app, "What speaks for").value == other.value


def test_names_of_files_are_never_taken_for_markup(open_page, workbench):
    workbench.analyse(CLIP, name="**<img src=x>** :red[x] $a$.wav", source=Source.UPLOAD, owner=NOBODY)
    app = open_page("explain")
    [label] = [button.label for button in app.button if "img" in button.label]
    assert r"\*\*\<img" in label
    assert r"\$a\$" in label
