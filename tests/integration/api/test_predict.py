"""POST /api/v1/predict: what it answers, and everything it refuses."""

from __future__ import annotations

import io
from uuid import UUID

import numpy as np
import pytest

from core.domain import NOBODY, PROCESS, Emotion, Source
from core.store.predictions import count_predictions, select_prediction
from tests.problems import refused
from tests.sounds import SAMPLE_RATE_HZ, voice_wav, wav_bytes

EMOTIONS = {emotion.value for emotion in Emotion}
PROMISED = {
    "id",
    "emotion",
    "confidence",
    "abstained",
    "probabilities",
    "intervals",
    "uncertainty",
    "quality",
    "segments",
    "duration_s",
    "model_version",
    "latency_ms",
}


def test_answer_has_everything_promised(predict):
    body = predict()
    assert body.keys() >= PROMISED
    assert body["probabilities"].keys() == body["intervals"].keys() == EMOTIONS
    assert sum(body["probabilities"].values()) == pytest.approx(1)
    assert body["emotion"] == max(body["probabilities"], key=body["probabilities"].get)
    assert body["confidence"] == body["probabilities"][body["emotion"]]
    for emotion, (low, high) in body["intervals"].items():
        assert 0 <= low <= high <= 1, emotion
    uncertainty = body["uncertainty"]
    assert uncertainty.keys() == {"predictive_entropy", "expected_entropy", "mutual_information"}
    assert uncertainty["predictive_entropy"] == pytest.approx(
        uncertainty["expected_entropy"] + uncertainty["mutual_information"]
    )
    assert body["duration_s"] == pytest.approx(2.0, abs=0.01)
    assert body["model_version"].startswith("tiny-")
    assert body["latency_ms"] > 0
    assert body["source"] == "api"
    assert body["n_passes"] == 30
    assert body["quality"].keys() >= {"peak_dbfs", "snr_db", "speech_ratio", "clipping_share", "bandwidth", "notes"}


def test_answer_stands_in_the_store(predict, workbench):
    body = predict()
    kept = select_prediction(workbench.store, reader=PROCESS, prediction_id=UUID(body["id"]))
    assert kept is not None
    assert kept.source is Source.API
    assert {emotion.value: p for emotion, p in kept.probabilities.items()} == body["probabilities"]


def test_same_clip_gets_the_same_numbers_under_a_new_id(predict):
    first, second = predict(), predict()
    for field in ("probabilities", "intervals", "uncertainty", "quality", "emotion", "recording_id"):
        assert first[field] == second[field], field
    assert first["id"] != second["id"]


def test_api_and_core_say_the_same(predict, wav, workbench):
    by_core = workbench.analyse(wav, name="clip.wav", source=Source.UPLOAD, owner=NOBODY).prediction
    body = predict()
    assert {emotion.value: p for emotion, p in by_core.probabilities.items()} == body["probabilities"]
    assert by_core.uncertainty.predictive_entropy_nats == body["uncertainty"]["predictive_entropy"]


@pytest.mark.parametrize("by", ["params", "data"])
def test_parameters_come_by_query_or_by_form(client, wav, by):
    given = {"n_passes": "7", "timeline": "true", "model": "tiny"}
    body = client.post("/api/v1/predict", files={"file": wav}, **{by: given}).json()
    assert body["n_passes"] == 7
    assert body["segments"]
    assert body["windows"]


def test_short_recordings_have_no_timeline_unless_asked(predict):
    assert predict()["segments"] == []
    assert predict(timeline=True)["segments"] != []


def test_long_recordings_have_a_timeline_unless_declined(client):
    file = {"file": voice_wav(seconds=6.0)}
    assert client.post("/api/v1/predict", files=file).json()["segments"]
    assert not client.post("/api/v1/predict", files=file, params={"timeline": "false"}).json()["segments"]


@pytest.mark.parametrize(
    ("query", "parameter", "expected"),
    [
        ({"n_passes": "1"}, "n_passes", "greater than or equal to 2"),
        ({"n_passes": "501"}, "n_passes", "less than or equal to 500"),
        ({"n_passes": "many"}, "n_passes", "is 'many'; it must be a whole number."),
        ({"timeline": "perhaps"}, "timeline", "true or false"),
        ({"passes": "9"}, "passes", "left out"),
    ],
)
@pytest.mark.parametrize("by", ["params", "data"])
def test_parameter_out_of_place_is_refused_with_what_would_be_right(client, wav, query, parameter, expected, by):
    body = refused(client.post("/api/v1/predict", files={"file": wav}, **{by: query}), 422, "invalid_parameter")
    assert body["errors"][0]["parameter"] == parameter
    assert expected in body["detail"]


def test_parameter_given_by_query_and_form_is_refused(client, wav):
    answer = client.post("/api/v1/predict", files={"file": wav}, params={"n_passes": 5}, data={"n_passes": 6})
    assert "given once" in refused(answer, 422, "invalid_parameter")["detail"]


def test_unknown_model_is_named_with_those_there_are(client, wav):
    answer = client.post("/api/v1/predict", files={"file": wav}, params={"model": "../tiny"})
    assert "tiny" in refused(answer, 404, "model_not_found")["detail"]


def test_form_without_the_file_is_refused(client, wav):
    answer = client.post("/api/v1/predict", files={"recording": wav})
    assert "'recording'" in refused(answer, 422, "invalid_parameter")["detail"]
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/api/v1/predict", content=b"--x--\r\n", headers=boundary)
    assert "'file'" in refused(answer, 422, "invalid_parameter")["detail"]


def test_text_in_the_place_of_the_file_is_refused(client):
    part = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhello\r\n--x--\r\n'
    answer = client.post("/api/v1/predict", content=part, headers={"content-type": "multipart/form-data; boundary=x"})
    assert "with a file name" in refused(answer, 422, "invalid_parameter")["detail"]


def test_several_files_are_refused(client, wav):
    answer = client.post("/api/v1/predict", files=[("file", wav), ("file", wav)])
    assert "batch-predict" in refused(answer, 422, "invalid_parameter")["detail"]


@pytest.mark.parametrize("content_type", ["audio/wav", "application/json", "application/x-www-form-urlencoded", None])
def test_body_of_another_kind_is_refused(client, wav, content_type):
    headers = {"content-type": content_type} if content_type else {}
    answer = client.post("/api/v1/predict", content=wav, headers=headers)
    found = f"The body is {content_type};" if content_type else "The body has no content type;"
    assert refused(answer, 415, "unsupported_media_type")["detail"].startswith(found)


@pytest.mark.parametrize(
    "headers", [{"content-type": "multipart/form-data"}, {"content-type": "multipart/form-data; boundary=other"}]
)
def test_form_that_cannot_be_read_is_refused(client, headers):
    answer = client.post("/api/v1/predict", content=b"--x\r\nnonsense", headers=headers)
    refused(answer, 400, "bad_request")


def test_form_that_breaks_off_is_refused(client, wav):
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + wav
    answer = client.post("/api/v1/predict", content=part, headers={"content-type": "multipart/form-data; boundary=x"})
    assert "before its last boundary" in refused(answer, 400, "bad_request")["detail"]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "empty_audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 415, "unsupported_format"),
        (b"This is no sound at all. " * 40, 415, "unsupported_format"),
        (wav_bytes(np.zeros(SAMPLE_RATE_HZ, np.float32)), 422, "silent_audio"),
        (voice_wav(seconds=0.1), 422, "clip_too_short"),
    ],
)
def test_recording_that_cannot_be_used_is_refused_and_not_stored(client, workbench, data, status, code):
    refused(client.post("/api/v1/predict", files={"file": ("x.wav", data)}), status, code)
    assert count_predictions(workbench.store, reader=PROCESS) == 0


def test_alias_at_the_root_answers_the_same(client, wav, predict):
    answer = client.post("/predict", files={"file": ("clip.wav", io.BytesIO(wav))}, params={"n_passes": 7})
    assert answer.json()["probabilities"] == predict(n_passes=7)["probabilities"]


def test_hostile_names_are_kept_as_text_only(client, wav, workbench):
    name = "../../etc/passwd\x07" + "n" * 500
    body = client.post("/api/v1/predict", files={"file": (name, wav)}).json()
    rows = client.get("/api/v1/predictions").json()["items"]
    assert [row["id"] for row in rows] == [body["id"]]
    assert len(rows[0]["recording_name"]) == 200
    assert "\x07" not in rows[0]["recording_name"]
