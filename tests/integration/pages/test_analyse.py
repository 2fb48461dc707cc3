"""Analyse: recordings in, answers out; nothing twice, nothing lost."""

from __future__ import annotations

import pytest

from core.domain import NOBODY, PROCESS, Role, Source
from core.store.predictions import count_predictions, select_predictions
from pages.parts import session
from tests.callers import make_user
from tests.own_labels import LABELS, own_model
from tests.sounds import voice_wav

CLIP = voice_wav(seconds=1.5)
OTHER = voice_wav(seconds=1.2, pitch_hz=210.0)


def uploader(app):
    [found] = app.file_uploader
    return found


def html(app) -> str:
    return "\n".join(element.body for element in app.get("html"))


def test_nothing_is_done_until_something_is_handed_in(open_page, workbench):
    app = open_page()
    assert count_predictions(workbench.store, reader=PROCESS) == 0
    assert "Nothing handed in yet" in app.subheader[0].value


def test_an_upload_gets_its_verdict_numbers_and_charts(open_page, workbench):
    app = open_page()
    uploader(app).set_value([("clip.wav", CLIP, "audio/wav")])
    app.run()
    assert not app.exception
    [row] = select_predictions(workbench.store, reader=PROCESS).items
    assert row.source is Source.UPLOAD
    assert row.emotion.value in html(app)
    assert "We hear" in html(app) or "Not sure" in html(app)
    assert len(app.get("plotly_chart")) == 2
    figures = {metric.label: metric.value for metric in app.metric}
    assert figures["In total"] == f"{row.uncertainty.predictive_entropy_nats:.2f} nats"
    assert set(figures) == {"In total", "Recording", "Model", "Peak", "Speech", "Clarity", "Reaches"}
    assert any(row.model_version in caption.value for caption in app.caption)


def test_the_same_file_is_analysed_once_however_often_the_page_runs(open_page, workbench):
    app = open_page()
    uploader(app).set_value([("clip.wav", CLIP, "audio/wav")])
    for _ in range(3):
        app.run()
    uploader(app).set_value([("clip.wav", CLIP, "audio/wav"), ("the same again.wav", CLIP, "audio/wav")])
    app.run()
    assert count_predictions(workbench.store, reader=PROCESS) == 1


def test_one_bad_file_loses_none_of_the_others(open_page, workbench):
    app = open_page()
    uploader(app).set_value(
        [("a.wav", CLIP, "audio/wav"), ("b.txt", b"not sound at all", "text/plain"), ("c.wav", OTHER, "audio/wav")]
    )
    app.run()
    assert not app.exception
    assert count_predictions(workbench.store, reader=PROCESS) == 2
    table = app.dataframe[0].value
    assert list(table["Recording"]) == ["c.wav", "b.txt", "a.wav"], "newest first: the open one is in sight"
    assert list(table["Answer"].iloc[1]) == ["refused"]
    assert "This is text" in table["Note"].iloc[1]
    assert table["Confidence"].isna().tolist() == [False, True, False]


def test_a_refusal_says_what_is_wrong_and_what_works(open_page):
    app = open_page()
    uploader(app).set_value([("notes.txt", b"dear diary", "text/plain")])
    app.run()
    assert "This is text, not a recording" in app.error[0].value
    assert app.text[0].value == "notes.txt"
    assert "two seconds or more" in app.markdown[-1].value


def test_speaking_is_analysed_as_from_the_microphone(open_page, workbench):
    app = open_page()
    app.audio_input[0].set_value(("recording.wav", CLIP, "audio/wav"))
    app.run()
    assert not app.exception
    assert select_predictions(workbench.store, reader=PROCESS).items[0].source is Source.MICROPHONE


def test_a_sample_takes_one_click(open_page, workbench, tmp_path, monkeypatch):
    (tmp_path / "soft-calm.wav").write_bytes(CLIP)
    monkeypatch.setattr(session, "samples", lambda: [tmp_path / "soft-calm.wav"])
    app = open_page()
    [sample] = [button for button in app.button if button.label == "Soft, calm"]
    app = sample.click().run()
    assert not app.exception
    assert select_predictions(workbench.store, reader=PROCESS).items[0].source is Source.SAMPLE


def test_a_sample_heard_before_is_opened_again(open_page, workbench, tmp_path, monkeypatch):
    samples = [tmp_path / "first.wav", tmp_path / "second.wav"]
    for path, data in zip(samples, (CLIP, OTHER), strict=True):
        path.write_bytes(data)
    monkeypatch.setattr(session, "samples", lambda: samples)
    app = open_page()
    for label in ("First", "Second", "First", "Second"):
        app = next(button for button in app.button if button.label == label).click().run()
        assert f"{label.lower()}.wav" in html(app)
    assert count_predictions(workbench.store, reader=PROCESS) == 2


def test_names_of_files_are_never_taken_for_html_or_markdown(open_page):
    app = open_page()
    uploader(app).set_value([("<img src=x onerror=alert(1)>.wav", CLIP, "audio/wav")])
    app.run()
    assert "&lt;img" in html(app)
    assert "<img" not in html(app)


def test_starting_afresh_forgets_the_answers_and_keeps_the_store(open_page, workbench):
    app = open_page()
    uploader(app).set_value([("clip.wav", CLIP, "audio/wav")])
    app.run()
    [afresh] = [button for button in app.button if button.label == "Start afresh"]
    app = afresh.click().run()
    assert not app.get("plotly_chart")
    assert count_predictions(workbench.store, reader=PROCESS) == 1


def test_the_newest_is_open_and_a_session_keeps_a_bounded_number(open_page, monkeypatch):
    monkeypatch.setattr(session, "MAX_OUTCOMES", 2)
    app = open_page()
    files = [(f"{pitch}.wav", voice_wav(seconds=0.6, pitch_hz=pitch), "audio/wav") for pitch in (110.0, 150.0, 190.0)]
    uploader(app).set_value(files)
    app.run()
    assert list(app.dataframe[0].value["Recording"]) == ["190.0.wav", "150.0.wav"]
    assert "190.0.wav" in html(app)


def test_page_and_core_give_the_same_numbers(open_page, workbench):
    app = open_page()
    uploader(app).set_value([("clip.wav", CLIP, "audio/wav")])
    app.run()
    by_core = workbench.analyse(CLIP, name="clip.wav", source=Source.API, owner=NOBODY).prediction
    by_page = select_predictions(workbench.store, reader=PROCESS).items[-1]
    assert dict(by_page.probabilities) == dict(by_core.probabilities)
    assert by_page.uncertainty == by_core.uncertainty


@pytest.mark.parametrize("n_runs", [2])
def test_what_fails_for_another_reason_can_be_tried_again(open_page, workbench, monkeypatch, n_runs):
    from core.errors import StoreError

    def fail(*_args, **_given):
        raise StoreError("appending predictions", "the disk is full")

    app = open_page()
    with monkeypatch.context() as broken:
        broken.setattr(workbench, "analyse", fail)
        uploader(app).set_value([("clip.wav", CLIP, "audio/wav")])
        for _ in range(n_runs):
            app.run()
            assert "the disk is full" in app.error[0].value
    app.run()
    assert not app.error
    assert count_predictions(workbench.store, reader=PROCESS) == 1


def test_who_came_by_the_set_up_link_is_asked_to_choose_a_password(open_page, sign_in, workbench):
    text = "Choose a password to come back"
    assert not any(text in element.value for element in open_page().markdown)
    sign_in(Role.ADMIN, make_user(workbench, Role.ADMIN, password=None))
    assert any(text in element.value for element in open_page().markdown)


def test_another_model_answers_by_its_own_labels_when_it_is_chosen(open_page, workbench):
    workbench.settings.installed_models_dir.mkdir()
    own_model(workbench.settings.installed_models_dir)
    app = open_page()
    uploader(app).set_value([("clip.wav", CLIP, "audio/wav")])
    app.run()
    model = next(each for each in app.selectbox if each.label == "Model")
    assert model.options == ["tiny", "moods"]
    model.set_value("moods").run()
    assert not app.exception
    newest, oldest = select_predictions(workbench.store, reader=PROCESS).items
    assert (newest.model_version.split("-")[0], oldest.model_version.split("-")[0]) == ("moods", "tiny")
    assert set(newest.probabilities) == set(LABELS)
    assert f"{newest.emotion.value}" in html(app)
    assert any("bored, excited" in caption.value for caption in app.caption)
    explored = open_page("explore")
    assert not explored.exception
    assert {row["Answer"][0] for row in explored.dataframe[0].value.to_dict("records")} >= {f"\u25cb {newest.emotion}"}
