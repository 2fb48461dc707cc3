"""POST /api/v1/batch-predict: each recording is answered or refused for itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.domain import PROCESS
from core.store.predictions import count_predictions
from tests.problems import refused
from tests.sounds import voice_wav


def test_each_file_is_answered_or_refused_in_its_place(client, workbench):
    files = [
        ("files", ("one.wav", voice_wav(seconds=1.0, pitch_hz=110))),
        ("files", ("broken.wav", b"nothing like a sound")),
        ("files", ("two.wav", voice_wav(seconds=1.0, pitch_hz=190))),
        ("files", ("empty.wav", b"")),
    ]
    answer = client.post("/api/v1/batch-predict", files=files, params={"n_passes": 5})
    assert answer.status_code == 200
    body = answer.json()
    assert [(each["position"], each["name"]) for each in body["results"]] == [(0, "one.wav"), (2, "two.wav")]
    assert all(each["prediction"]["n_passes"] == 5 for each in body["results"])
    assert all(each["prediction"]["source"] == "batch" for each in body["results"])
    codes = [(each["position"], each["name"], each["problem"]["code"]) for each in body["problems"]]
    assert codes == [(1, "broken.wav", "unsupported_format"), (3, "empty.wav", "empty_audio")]
    assert count_predictions(workbench.store, reader=PROCESS) == 2


def test_batch_of_one_says_what_predict_says(client, wav, predict):
    body = client.post("/batch-predict", files=[("files", wav)]).json()
    assert body["results"][0]["prediction"]["probabilities"] == predict()["probabilities"]


def test_too_many_files_are_refused_before_any_is_looked_at(client, workbench, wav):
    answer = client.post("/api/v1/batch-predict", files=[("files", wav[:2000])] * 51)
    assert "at most 50" in refused(answer, 422, "invalid_parameter")["detail"]
    assert count_predictions(workbench.store, reader=PROCESS) == 0


def test_batch_as_a_whole_has_a_limit(client):
    answer = client.post("/api/v1/batch-predict", files=[("files", bytes(1_600_000))] * 2)
    assert "The batch" in refused(answer, 413, "upload_too_large")["detail"]


def test_file_beyond_the_limit_for_one_is_a_problem_of_its_own(client, wav):
    body = client.post("/api/v1/batch-predict", files=[("files", bytes(2_500_000)), ("files", wav)]).json()
    assert [each["problem"]["code"] for each in body["problems"]] == ["upload_too_large"]
    assert len(body["results"]) == 1


@pytest.mark.parametrize("files", [[("file", b"x")], [("file", b"x"), ("files", b"y")]])
def test_file_under_another_name_is_refused(client, files):
    refused(client.post("/api/v1/batch-predict", files=files), 422, "invalid_parameter")


@pytest.fixture
def four_calls(workbench, monkeypatch):
    """The plan of every caller allows four calls a month from here on."""
    plan = replace(workbench.settings.plans["enterprise"], calls_per_month=4)
    monkeypatch.setitem(workbench.settings.plans, "enterprise", plan)


def month_of(answer):
    """What is left of the month's calls, as the answer says."""
    return answer.headers["RateLimit"].partition('"month";r=')[2].partition(";")[0]


@pytest.mark.usefixtures("four_calls")
def test_each_recording_that_is_answered_counts_a_call_of_the_quota(client, workbench):
    three = [("files", voice_wav(seconds=1.0, pitch_hz=pitch_hz)) for pitch_hz in (110, 150, 190)]
    first = client.post("/api/v1/batch-predict", files=[*three[:2], ("files", b"nothing like a sound")])
    assert (first.status_code, month_of(first)) == (200, "1")
    refusal = client.post("/api/v1/batch-predict", files=three)
    detail = refused(refusal, 429, "quota_exceeded")["detail"]
    assert "only 2 of them are left" in detail
    assert count_predictions(workbench.store, reader=PROCESS) == 2
    assert client.post("/api/v1/batch-predict", files=three[1:]).status_code == 200
    refused(client.post("/api/v1/batch-predict", files=three[:1]), 429, "quota_exceeded")


@pytest.mark.usefixtures("four_calls")
def test_a_batch_of_which_nothing_is_answered_costs_nothing(client):
    for _ in range(3):
        answer = client.post("/api/v1/batch-predict", files=[("files", b"nothing like a sound")] * 2)
        assert answer.status_code == 200
    assert client.post("/api/v1/predict", files=[("file", voice_wav(seconds=1.0))]).status_code == 200
