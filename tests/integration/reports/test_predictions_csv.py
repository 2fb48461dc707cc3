"""Predictions as CSV: all of them, exact, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from core.domain import PROCESS, Emotion, Reader
from core.identifiers import new_id
from core.reports.predictions_csv import COLUMNS, predictions_csv, without_formula
from core.store.engine import open_store
from core.store.predictions import MAX_PAGE_ROWS, PredictionFilter, insert_predictions
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording


@pytest.fixture
def store(tmp_path):
    """DuckDB only: the file's content does not depend on the database, and the store's own tests cover both."""
    with open_store(tmp_path / "store.duckdb") as opened:
        yield opened


def read(store, **asked) -> list[dict[str, str]]:
    text = "".join(predictions_csv(store, reader=PROCESS, **asked)).encode().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_empty_store_gives_the_header_only(store):
    assert read(store) == []
    assert "".join(predictions_csv(store, reader=PROCESS)) == "\ufeff" + ",".join(COLUMNS) + "\r\n"


def test_numbers_come_back_exactly(store):
    recording = insert_recording(store, recording=make_recording())
    prediction = make_prediction(recording, emotion=Emotion.SAD, confidence=0.7123456789012345)
    insert_predictions(store, predictions=[prediction])
    [row] = read(store)
    assert row["id"] == str(prediction.id)
    assert row["emotion"] == "sad"
    assert row["recording_name"] == recording.name
    assert float(row["confidence"]) == prediction.confidence
    assert {emotion: float(row[f"probability_{emotion}"]) for emotion in Emotion} == prediction.probabilities
    assert row["created_at"].endswith("+00:00")
    assert row["abstained"] == "false"


def test_more_than_one_page_is_written_once_each_and_filtered(store):
    recording = insert_recording(store, recording=make_recording())
    emotions = [Emotion.ANGRY, Emotion.CALM]
    made = [make_prediction(recording, emotion=emotions[n % 2]) for n in range(2 * MAX_PAGE_ROWS + 6)]
    insert_predictions(store, predictions=made)
    assert {row["id"] for row in read(store)} == {str(prediction.id) for prediction in made}
    calm = read(store, filter=PredictionFilter(emotions=[Emotion.CALM]))
    assert len(calm) == MAX_PAGE_ROWS + 3
    assert {row["emotion"] for row in calm} == {"calm"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_name_that_a_spreadsheet_would_run_is_disarmed(store, start):
    name = f"{start}cmd|' /C calc'!A0.wav"
    recording = insert_recording(store, recording=make_recording(name=name))
    insert_predictions(store, predictions=[make_prediction(recording)])
    [row] = read(store)
    assert row["recording_name"] == f"'{name}"


def test_other_names_stay_as_they_are():
    for name in ('Größe, "1" = 2; -3.wav', "a-b+c@d=e.wav", "x\ny.wav"):
        assert without_formula(name) == name


def test_strangers_get_the_header_alone(store):
    recording = insert_recording(store, recording=make_recording(owner_id=new_id()))
    insert_predictions(store, predictions=[make_prediction(recording)])
    for reader, n_lines in ((Reader(user_id=recording.owner_id), 2), (Reader(user_id=new_id()), 1)):
        assert len("".join(predictions_csv(store, reader=reader)).splitlines()) == n_lines
