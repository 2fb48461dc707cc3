"""The workbench: one way from bytes to a stored answer, what is missing told plainly, nothing acknowledged lost."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from core.config import REPOSITORY, Settings
from core.domain import NOBODY, PROCESS, Source
from core.errors import (
    AudioError,
    InvalidParameterError,
    InvalidSettingError,
    ModelNotFoundError,
    ShuttingDownError,
    StoreError,
    TelepathyError,
)
from core.features.audio import DecodeLimits, decode
from core.identifiers import new_id
from core.inference.attribution import attribute
from core.inference.recogniser import Recogniser
from core.mail import Mail
from core.store.alerts import select_open_alerts
from core.store.engine import open_store
from core.store.predictions import count_predictions, select_prediction
from core.store.recordings import count_recordings, insert_recording, select_recording
from core.workbench import MAX_OPEN_MODELS, current_workbench, open_workbench, set_current_workbench
from tests.bundles import TINY, copy_of_tiny
from tests.mail_server import mail_server
from tests.prepared_stores import prepared
from tests.sounds import voice, voice_wav, wav_bytes


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=prepared(tmp_path / "data"), models_dir=TINY.parent, model="tiny")


@pytest.fixture
def workbench(settings):
    opened = open_workbench(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def clip():
    return voice_wav(seconds=2.0)


def analyse(workbench, data, **given):
    return workbench.analyse(data, **({"name": "clip.wav", "source": Source.UPLOAD, "owner": NOBODY} | given))


def numbers(prediction):
    """What a prediction says, without whose and when it is."""
    return (
        prediction.probabilities,
        prediction.standard_deviations,
        prediction.intervals,
        prediction.uncertainty,
        prediction.abstained,
        prediction.quality,
        prediction.segments,
        prediction.windows,
    )


# -- the one way through


def test_recording_becomes_a_stored_answer(workbench, clip):
    analysis = analyse(workbench, clip, name="Größe.wav", source=Source.MICROPHONE)
    assert (
        select_prediction(workbench.store, reader=PROCESS, prediction_id=analysis.prediction.id) == analysis.prediction
    )
    assert select_recording(workbench.store, reader=PROCESS, recording_id=analysis.recording.id) == analysis.recording
    assert workbench.recording_files.read(analysis.recording.sha256) == clip
    assert analysis.prediction.recording_id == analysis.recording.id
    assert analysis.prediction.model_version == workbench.recogniser().card.version
    assert (analysis.recording.name, analysis.recording.size_bytes) == ("Größe.wav", len(clip))
    assert analysis.recording.duration_s == analysis.prediction.duration_s == pytest.approx(2.0)
    assert analysis.recording.source is analysis.prediction.source is Source.MICROPHONE
    assert sum(analysis.prediction.probabilities.values()) == pytest.approx(1)


def test_clipping_is_counted_before_mixing_and_resampling_blur_it(workbench):
    loud = wav_bytes(np.clip(4 * voice(seconds=2.0, sample_rate_hz=44_100), -1, 1), 44_100)
    quality = analyse(workbench, loud).prediction.quality
    counted = decode(loud, limits=DecodeLimits.from_settings(workbench.settings)).clipping_share
    assert quality.clipping_share == counted > 0.01
    assert "clipped" in [note.code for note in quality.notes]


def test_long_recording_is_stored_with_its_timeline(workbench):
    prediction = analyse(workbench, voice_wav(seconds=5.0)).prediction
    assert len(prediction.windows) == 3
    assert select_prediction(workbench.store, reader=PROCESS, prediction_id=prediction.id) == prediction
    assert analyse(workbench, voice_wav(seconds=5.0), timeline=False).prediction.windows == ()


def test_explanation_is_of_what_analyse_hears_and_is_not_stored(workbench, clip):
    told = []
    explained = workbench.explain(clip, progress=lambda share, _: told.append(share))
    waveform = decode(clip, limits=DecodeLimits.from_settings(workbench.settings)).waveform
    expected = attribute(workbench.recogniser(), waveform, seed=workbench.settings.seed)
    assert np.array_equal(explained.values, expected.values)
    assert explained.model_version == analyse(workbench, clip).prediction.model_version
    assert (told[0], told[-1]) == (0, 1)
    assert count_predictions(workbench.store, reader=PROCESS) == count_recordings(workbench.store, reader=PROCESS) == 1


def test_closed_workbench_explains_nothing(workbench, clip):
    workbench.close()
    with pytest.raises(ShuttingDownError):
        workbench.explain(clip)


def test_same_upload_twice_is_one_recording_and_two_equal_answers(workbench, clip):
    first, second = analyse(workbench, clip), analyse(workbench, clip, name="again.wav")
    assert first.recording == second.recording
    assert first.prediction.id != second.prediction.id
    assert numbers(first.prediction) == numbers(second.prediction)
    assert (count_recordings(workbench.store, reader=PROCESS), count_predictions(workbench.store, reader=PROCESS)) == (
        1,
        2,
    )


def test_passes_follow_the_settings_unless_the_caller_says(workbench, clip):
    assert analyse(workbench, clip).prediction.n_passes == workbench.settings.n_passes == 30
    assert analyse(workbench, clip, n_passes=7).prediction.n_passes == 7


def test_threshold_for_not_sure_follows_the_settings(settings, clip, tmp_path):
    for name, threshold, is_unsure in (("sure", 0.0, False), ("unsure", 1.0, True)):
        changed = replace(settings, data_dir=tmp_path / name, abstention_confidence=threshold)
        workbench = open_workbench(changed)
        assert analyse(workbench, clip).prediction.abstained is is_unsure
        workbench.close()


def test_stages_say_where_the_time_went(workbench):
    analysis = analyse(workbench, voice_wav(seconds=5.0))
    assert set(analysis.stage_durations_s) == {
        *("decode", "quality", "speech", "log_mel", "encoder", "passes", "timeline", "store")
    }
    before_store_s = sum(spent for stage, spent in analysis.stage_durations_s.items() if stage != "store")
    assert 0 < before_store_s <= analysis.prediction.latency_ms / 1e3


def test_progress_rises_from_decoding_to_done(workbench):
    told = []
    analyse(workbench, voice_wav(seconds=5.0), progress=lambda share, doing: told.append((share, doing)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[0] == (0.0, "Decoding")
    assert told[-1] == (1.0, "Done")


def test_whoever_counts_is_told_of_every_stored_analysis(workbench, clip):
    told = []
    workbench.on_analysis = told.append
    analysis = analyse(workbench, clip)
    with pytest.raises(AudioError):
        analyse(workbench, b"")
    assert told == [analysis]


# -- refusals


@pytest.mark.parametrize("data", [b"", b"no sound", voice_wav(seconds=0.1)], ids=["empty", "text", "too short"])
def test_recording_that_cannot_be_used_leaves_nothing_behind(workbench, data):
    with pytest.raises(AudioError):
        analyse(workbench, data)
    assert count_recordings(workbench.store, reader=PROCESS) == 0
    assert not [path for path in (workbench.settings.data_dir / "recordings").rglob("*") if path.is_file()]


def test_impossible_number_of_passes_is_refused_before_anything_is_decoded(workbench):
    with pytest.raises(InvalidParameterError, match="'n_passes' is 501"):
        analyse(workbench, b"no sound", n_passes=501)


def test_unknown_model_is_refused_with_the_names_there_are(workbench, clip):
    with pytest.raises(ModelNotFoundError, match=r"no model named 'nobody'. Available: tiny"):
        analyse(workbench, clip, model="nobody")


def test_workbench_without_a_model_opens_and_says_how_to_make_one(settings, clip, tmp_path):
    workbench = open_workbench(replace(settings, models_dir=tmp_path / "models"))
    with pytest.raises(ModelNotFoundError, match="`make model`"):
        analyse(workbench, clip)
    assert count_predictions(workbench.store, reader=PROCESS) == 0
    (check,) = [check for check in workbench.readiness() if check.name == "model"]
    assert not check.ok
    assert "`make model`" in check.sentence
    (tmp_path / "models").mkdir()
    copy_of_tiny(tmp_path / "models")
    assert analyse(workbench, clip).prediction.n_passes == 30  # found without a restart
    workbench.close()


def test_store_that_fails_is_a_store_error_and_shows_in_readiness(workbench, clip):
    workbench.store.close()
    with pytest.raises(StoreError):
        analyse(workbench, clip)
    assert [check.name for check in workbench.readiness() if not check.ok] == ["store"]


def test_store_that_cannot_be_opened_is_a_store_error(settings, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for broken in (
        replace(settings, data_dir=tmp_path / "file"),
        replace(settings, store_url=str(tmp_path / "file" / "store.duckdb")),
        replace(settings, recordings_url=str(tmp_path / "file")),
    ):
        with pytest.raises(StoreError):
            open_workbench(broken)


def test_ready_workbench_says_so(workbench):
    checks = workbench.readiness()
    assert [(check.name, check.ok) for check in checks] == [("model", True), ("store", True), ("disk", True)]
    assert workbench.recogniser().card.version in checks[0].sentence


def test_full_disk_is_not_ready(settings, tmp_path):
    workbench = open_workbench(replace(settings, min_free_disk_mb=1e9))
    (check,) = [check for check in workbench.readiness() if not check.ok]
    assert check.name == "disk"
    assert check.sentence.endswith("MB are free; 1,000,000,000 MB are needed.")
    workbench.close()


# -- models


def test_models_are_opened_on_demand_and_only_so_many_stay_open(settings, clip, tmp_path):
    for index in range(MAX_OPEN_MODELS + 1):
        copy_of_tiny(tmp_path, f"model-{index}")
    workbench = open_workbench(replace(settings, models_dir=tmp_path, model="model-0"))
    first = workbench.recogniser()
    assert workbench.recogniser("model-0") is first
    for index in range(1, MAX_OPEN_MODELS):
        workbench.recogniser(f"model-{index}")
    assert workbench.recogniser() is first
    workbench.recogniser(f"model-{MAX_OPEN_MODELS}")
    assert workbench.recogniser() is first  # used last but one; model-1, unused longest, made room
    assert analyse(workbench, clip, model="model-1").prediction.n_passes == 30
    workbench.close()


def test_model_asked_for_by_many_at_once_is_opened_once(settings, tmp_path, monkeypatch):
    copy_of_tiny(tmp_path, "shared")
    workbench = open_workbench(replace(settings, models_dir=tmp_path, model="absent"))
    opened, real_open = [], Recogniser.open

    def counting_open(folder, **given):
        opened.append(folder.name)
        return real_open(folder, **given)

    monkeypatch.setattr(Recogniser, "open", counting_open)
    start = threading.Barrier(6)

    def ask(_):
        start.wait(10)
        return workbench.recogniser("shared")

    with ThreadPoolExecutor(6) as threads:
        assert len(set(map(id, threads.map(ask, range(6))))) == 1
    assert opened == ["shared"]
    workbench.close()


# -- many at once, and the end


def test_many_threads_get_the_answers_that_one_gets_and_all_are_stored(workbench):
    clips = [voice_wav(seconds=1.0 + 0.2 * index, pitch_hz=100.0 + 10 * index) for index in range(6)]
    alone = [numbers(analyse(workbench, data).prediction) for data in clips]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda index: analyse(workbench, clips[index % 6]), range(24)))
    assert [numbers(analysis.prediction) for analysis in together] == [alone[index % 6] for index in range(24)]
    assert (count_recordings(workbench.store, reader=PROCESS), count_predictions(workbench.store, reader=PROCESS)) == (
        6,
        30,
    )


def test_close_finishes_what_was_accepted_and_loses_nothing_acknowledged(settings, clip):
    workbench = open_workbench(settings)
    futures = [
        workbench.executor.submit(workbench.analyse, clip, name="clip.wav", source=Source.API, owner=NOBODY)
        for _ in range(20)
    ]
    workbench.close()
    acknowledged = []
    for future in futures:
        with contextlib.suppress(CancelledError):  # then its caller heard of it
            acknowledged.append(future.result(timeout=0).prediction)
    assert acknowledged
    with open_store(settings.store_location) as store:
        assert count_predictions(store, reader=PROCESS) == len(acknowledged)
        assert all(select_prediction(store, reader=PROCESS, prediction_id=each.id) == each for each in acknowledged)


def test_close_waits_for_analyses_that_run_outside_the_executor(settings, clip):
    workbench = open_workbench(settings)
    has_begun, may_go_on, kept = threading.Event(), threading.Event(), []

    def hold(share, doing):
        if doing == "Storing":
            has_begun.set()
            may_go_on.wait(10)

    outsider = threading.Thread(target=lambda: kept.append(analyse(workbench, clip, progress=hold)))
    outsider.start()
    assert has_begun.wait(10)
    closer = threading.Thread(target=workbench.close)
    closer.start()
    while True:  # until closing has begun
        try:
            workbench.executor.submit(abs, 0)
        except ShuttingDownError:
            break
    assert closer.is_alive()
    may_go_on.set()
    outsider.join(10)
    closer.join(10)
    with open_store(settings.store_location) as store:
        assert select_prediction(store, reader=PROCESS, prediction_id=kept[0].prediction.id) == kept[0].prediction


def test_closed_workbench_takes_nothing_new_and_closes_again_without_harm(settings, clip):
    workbench = open_workbench(settings)
    workbench.close()
    workbench.close()
    with pytest.raises(ShuttingDownError):
        analyse(workbench, clip)
    with pytest.raises(ShuttingDownError):
        workbench.executor.submit(abs, -1)
    assert not all(check.ok for check in workbench.readiness())


# -- one per process


def test_current_workbench_is_the_one_that_was_set(workbench):
    set_current_workbench(workbench)
    try:
        assert current_workbench() is workbench
    finally:
        set_current_workbench(None)


def test_current_workbench_opens_from_the_settings_of_the_machine_where_nobody_set_one(settings, monkeypatch):
    monkeypatch.setattr("core.workbench.settings_of_this_machine", lambda: settings)
    set_current_workbench(None)
    try:
        opened = current_workbench()
        assert opened.settings is settings
        assert current_workbench() is opened
        opened.close()
    finally:
        set_current_workbench(None)


def test_workbench_that_cannot_open_tells_every_caller(settings, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(
        "core.workbench.settings_of_this_machine", lambda: replace(settings, data_dir=tmp_path / "file")
    )
    set_current_workbench(None)
    for _ in range(2):
        with pytest.raises(TelepathyError):
            current_workbench()


def test_import_brings_neither_numba_nor_anything_else_that_is_slow_to_load():
    code = "import core.workbench, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert not set(done.stdout.split()) & {"tensorflow", "streamlit", "numba", "librosa", "sklearn", "pandas", "shap"}


# -- mail and alerts


def test_mail_under_way_is_handed_in_before_the_end(settings):
    with mail_server() as server:
        workbench = open_workbench(replace(settings, smtp_url=f"smtp://127.0.0.1:{server.port}"))
        mails = [Mail(to="ann@example.org", subject=f"Number {number}", text="Text") for number in range(5)]
        assert [workbench.mail(mail) for mail in mails] == [True] * 5
        workbench.close()
    assert [message["Subject"] for message in server.messages] == [mail.subject for mail in mails]


def test_without_a_mail_server_the_workbench_says_so(workbench):
    assert workbench.mail(Mail(to="ann@example.org", subject="Hello", text="Text")) is False


def test_full_disk_is_an_alert_kept_in_the_store(settings):
    workbench = open_workbench(replace(settings, alert_disk_share=0.0, alert_memory_share=1.0))
    with capture_logs():
        [alert] = workbench.alerts.evaluate()
    workbench.close()
    with open_store(settings.store_location) as store:
        assert select_open_alerts(store) == [alert]
    assert (alert.rule, alert.limit) == ("disk", 0.0)


@pytest.mark.parametrize("wrong", [{"smtp_url": "mail"}, {"alert_emails": "ann"}, {"alert_webhook_url": "ftp://x"}])
def test_wrong_receiver_is_told_at_the_start_and_lets_go_of_the_store(settings, wrong):
    with pytest.raises(InvalidSettingError, match=next(iter(wrong))):
        open_workbench(replace(settings, **wrong))
    open_workbench(settings).close()


def test_recordings_are_encrypted_on_disk_when_the_settings_say_so(settings, clip):
    with contextlib.closing(open_workbench(replace(settings, encrypt_recordings=True))) as workbench:
        sha256 = analyse(workbench, clip).recording.sha256
        assert workbench.recording_files.read(sha256) == clip
        [kept] = (settings.data_dir / "recordings").glob(f"*/{sha256}")
        assert b"RIFF" not in kept.read_bytes()
        assert clip[1000:1032] not in kept.read_bytes()
    with contextlib.closing(open_workbench(settings)) as workbench:
        assert workbench.recording_files.read(sha256) == clip
        assert analyse(workbench, clip).recording.sha256 == sha256


def test_falling_accuracy_on_corrected_answers_is_an_alert(settings):
    quiet = replace(settings, alert_disk_share=1.0, alert_memory_share=1.0)
    with contextlib.closing(open_workbench(quiet)) as workbench, capture_logs():
        assert [alert.rule for alert in workbench.alerts.evaluate()] == []
        workbench.corrected_answers = lambda: [False] * 50 + [True] * 200
        assert [alert.rule for alert in workbench.alerts.evaluate()] == ["accuracy"]


# -- deleting


def test_recording_whose_sound_could_not_be_deleted_can_be_deleted_again(workbench, clip, monkeypatch):
    recording = analyse(workbench, clip).recording

    def refuse(_sha256):
        raise StoreError("deleting a recording", "the disk is busy")

    with monkeypatch.context() as patched:
        patched.setattr(workbench.recording_files, "delete", refuse)
        with pytest.raises(StoreError):
            workbench.delete_recording(recording.id, reader=PROCESS)
    assert workbench.delete_recording(recording.id, reader=PROCESS).id == recording.id
    assert not workbench.recording_files.exists(recording.sha256)
    assert count_recordings(workbench.store, reader=PROCESS) == 0


def test_sound_sent_by_another_while_it_is_deleted_is_given_back(workbench, clip, monkeypatch):
    recording = analyse(workbench, clip).recording
    delete = workbench.recording_files.delete

    def delete_while_another_sends_it(sha256):
        delete(sha256)
        monkeypatch.setattr(workbench.recording_files, "delete", delete)
        insert_recording(
            workbench.store, recording=replace(recording, id=new_id(), owner_id=new_id())
        )  # as it stands between their sound, which was there, and their look at it

    monkeypatch.setattr(workbench.recording_files, "delete", delete_while_another_sends_it)
    workbench.delete_recording(recording.id, reader=PROCESS)
    assert workbench.recording_files.read(recording.sha256) == clip
    assert count_recordings(workbench.store, reader=PROCESS) == 1
