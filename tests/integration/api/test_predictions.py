"""GET /api/v1/predictions: paging, filters, one of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from core.domain import Emotion, Source
from core.identifiers import new_id
from core.store.predictions import insert_predictions
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording
from tests.problems import refused

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def stored(workbench):
    """Five predictions an hour apart, oldest first: two happy, two sad, one angry that is not sure."""
    made = []
    for hour, (emotion, confidence) in enumerate(
        [(Emotion.HAPPY, 0.9), (Emotion.SAD, 0.8), (Emotion.HAPPY, 0.7), (Emotion.SAD, 0.6), (Emotion.ANGRY, 0.3)]
    ):
        source = Source.UPLOAD if hour % 2 else Source.API
        recording = insert_recording(workbench.store, recording=make_recording(name=f"clip {hour}.wav", source=source))
        made.append(
            make_prediction(recording, emotion=emotion, confidence=confidence, created_at=START + timedelta(hours=hour))
        )
    insert_predictions(workbench.store, predictions=made)
    return made


def listed(client, **query) -> list[str]:
    answer = client.get("/api/v1/predictions", params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_newest_comes_first(client, stored):
    assert listed(client) == [str(each.id) for each in reversed(stored)]


def test_empty_store_gives_an_empty_page(client):
    assert client.get("/api/v1/predictions").json() == {"items": [], "next_cursor": None}


def test_pages_follow_each_other_by_cursor_and_by_link(client, stored):
    first = client.get("/api/v1/predictions", params={"limit": 2, "source": ["api", "upload"]})
    assert first.links["next"]["url"].startswith("/api/v1/predictions?limit=2&source=api&source=upload&cursor=")
    second = client.get(first.links["next"]["url"])
    third = client.get("/api/v1/predictions", params={"limit": 2, "cursor": second.json()["next_cursor"]})
    assert "link" not in third.headers
    assert third.json()["next_cursor"] is None
    seen = [item["id"] for page in (first, second, third) for item in page.json()["items"]]
    assert seen == [str(each.id) for each in reversed(stored)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"emotion": "happy"}, [2, 0]),
        ({"emotion": ["happy", "angry"]}, [4, 2, 0]),
        ({"min_confidence": 0.75}, [1, 0]),
        ({"max_confidence": 0.65}, [4, 3]),
        ({"abstained": "true"}, [4]),
        ({"source": "upload"}, [3, 1]),
        ({"model_version": "another"}, []),
        ({"created_from": "2026-03-01T14:00:00Z"}, [4, 3, 2]),
        ({"created_before": "2026-03-01T14:00:00+01:00"}, [0]),
        ({"recording_name": "CLIP 3"}, [3]),
        ({"order": "least_confident", "limit": 2}, [4, 3]),
        ({"order": "oldest", "emotion": "sad"}, [1, 3]),
    ],
)
def test_filters_and_orders(client, stored, query, expected):
    assert listed(client, **query) == [str(stored[position].id) for position in expected]


def test_predictions_of_one_recording(client, stored):
    assert listed(client, recording_id=str(stored[1].recording_id)) == [str(stored[1].id)]


def test_entropy_bounds(client, stored):
    entropies = sorted(each.uncertainty.predictive_entropy_nats for each in stored)
    middle = (entropies[1] + entropies[2]) / 2
    assert len(listed(client, min_entropy=middle)) == 3
    assert len(listed(client, max_entropy=middle)) == 2


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"emotion": "e" * 41}, "emotion"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"min_confidence": "nan"}, "min_confidence"),
        ({"min_confidence": 1.5}, "min_confidence"),
        ({"created_from": "yesterday"}, "created_from"),
        ({"created_from": "2026-03-01T14:00:00"}, "created_from"),
        ({"created_from": "9999-12-31T23:59:59-14:00"}, "created_from"),
        ({"created_before": "0001-01-01T00:00:00+14:00"}, "created_before"),
        ({"recording_name": "a\x00b"}, "recording_name"),
        ({"model_version": "\x00"}, "model_version"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"emotions": "happy"}, "emotions"),
        ({"recording_id": "7"}, "recording_id"),
    ],
)
def test_filter_out_of_place_is_refused(client, stored, query, parameter):
    body = refused(client.get("/api/v1/predictions", params=query), 422, "invalid_parameter")
    assert f"The parameter '{parameter}' is" in body["detail"]
    assert "it must be" in body["detail"]
    assert not re.search(r"parse|valid|should|String", body["detail"]), "pydantic's words are about its own workings"


def test_one_prediction_is_read_whole(client, predict):
    made = predict(timeline=True)
    assert client.get(f"/api/v1/predictions/{made['id']}").json() == made


def test_unknown_prediction_is_said_to_be_unknown(client):
    unknown = new_id()
    body = refused(client.get(f"/api/v1/predictions/{unknown}"), 404, "unknown_prediction")
    assert str(unknown) in body["detail"]


def test_identifier_that_is_none_is_refused(client):
    refused(client.get("/api/v1/predictions/seven"), 422, "invalid_parameter")
