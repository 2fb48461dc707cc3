"""A model with labels of its own answers over HTTP and WebSocket by those labels."""

from __future__ import annotations

import pytest

from tests.own_labels import LABELS, own_model
from tests.sounds import voice_wav


@pytest.fixture(autouse=True)
def moods(workbench):
    workbench.settings.installed_models_dir.mkdir()
    return own_model(workbench.settings.installed_models_dir)


@pytest.fixture
def answer(client):
    sent = client.post("/api/v1/predict", files={"file": ("a.wav", voice_wav(seconds=6.0))}, data={"model": "moods"})
    assert sent.status_code == 200, sent.text
    return sent.json()


def test_predict_answers_with_own_labels(client, answer):
    assert set(answer["probabilities"]) == set(answer["intervals"]) == set(LABELS)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["emotion"] == max(answer["probabilities"], key=answer["probabilities"].get)
    kept = client.get(f"/api/v1/predictions/{answer['id']}").json()
    assert kept["probabilities"] == answer["probabilities"]
    assert kept["segments"] == answer["segments"]


def test_lists_and_filters_know_them(client, answer):
    top = answer["emotion"]
    other = next(label for label in LABELS if label != top)
    assert [one["id"] for one in client.get("/api/v1/predictions", params={"emotion": top}).json()["items"]] == [
        answer["id"]
    ]
    assert client.get("/api/v1/predictions", params={"emotion": other}).json()["items"] == []


def test_the_list_of_models_says_which_labels_each_has(client):
    found = {one["name"]: one["emotions"] for one in client.get("/api/v1/models").json()["items"]}
    assert found["moods"] == LABELS


def test_an_explanation_is_about_own_labels(client, answer):
    sent = client.post(
        "/api/v1/explain",
        files={"file": ("a.wav", voice_wav(seconds=1.0))},
        data={"model": "moods", "emotion": "bored", "contrast": "angry"},
    )
    assert sent.status_code == 200, sent.text
    assert (sent.json()["emotion"], sent.json()["contrast"]) == ("bored", "angry")


def test_a_model_of_other_labels_is_neither_deployed_nor_a_shadow(client):
    for action in ("deploy", "shadow"):
        refused = client.post(f"/api/v1/models/moods/{action}", json={"reason": "A demonstration"})
        assert (refused.status_code, refused.json()["code"]) == (409, "other_labels")
    assert "bored" in refused.json()["detail"]
    assert "neutral" in refused.json()["detail"]
