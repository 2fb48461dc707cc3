"""A model's memory of what it heard."""

from __future__ import annotations

import dataclasses
import json

import pytest

from core.domain import Emotion
from tests.unit.training.answers import make_answer
from training.training_record import Exposure, read_training_record, write_training_record


def make_row(number: int, *, speaker: str, licence: str = "ODbL 1.0", corpus: str = "CREMA-D"):
    row = make_answer(label=Emotion.SAD, answer=Emotion.SAD, corpus=corpus, speaker=speaker, name=str(number)).row
    return dataclasses.replace(row, sha256_original=f"{number:064x}"[::-1], licence=licence)


@pytest.fixture
def model(tmp_path):
    labelled = [make_row(number, speaker="a") for number in range(3)]
    unlabelled = [make_row(number, speaker="b") for number in range(2, 5)]
    data = write_training_record(tmp_path, labelled=labelled, unlabelled=unlabelled)
    (tmp_path / "card.json").write_text(json.dumps({"data": data}))
    return tmp_path


@pytest.mark.parametrize(
    ("number", "speaker", "expected"),
    [
        (0, "a", Exposure.LABEL_HEARD),
        (2, "a", Exposure.LABEL_HEARD),
        (4, "b", Exposure.RECORDING_HEARD),
        (9, "a", Exposure.SPEAKER_HEARD),
        (9, "b", Exposure.SPEAKER_HEARD),
        (9, "c", Exposure.SPEAKER_UNSEEN),
    ],
)
def test_model_says_what_it_knows_of_a_recording(model, number, speaker, expected) -> None:
    assert read_training_record(model).exposure(make_row(number, speaker=speaker)) is expected


def test_hash_in_capitals_is_the_same_recording(model) -> None:
    row = make_row(0xABCDEF, speaker="c")
    write_training_record(model, labelled=[row])
    capitals = dataclasses.replace(row, sha256_original=row.sha256_original.upper())
    assert read_training_record(model).exposure(capitals) is Exposure.LABEL_HEARD


def test_recording_without_a_hash_is_told_by_its_speaker(model) -> None:
    row = dataclasses.replace(make_row(0, speaker="a"), sha256_original="")
    assert read_training_record(model).exposure(row) is Exposure.SPEAKER_HEARD


@pytest.mark.parametrize("card", ["{}", "not json", '{"data": []}', '{"data": {"speakers": ["CREMA-D-a"]}}'])
def test_model_that_does_not_say_what_it_heard_leaves_the_overlap_unknown(tmp_path, card) -> None:
    (tmp_path / "card.json").write_text(card)
    assert read_training_record(tmp_path).exposure(make_row(0, speaker="a")) is Exposure.UNKNOWN


def test_data_of_a_card_counts_what_was_heard(model) -> None:
    data = json.loads((model / "card.json").read_text())["data"]
    assert data["corpora"] == {
        "CREMA-D": {"n_recordings": 5, "n_labelled": 3, "n_speakers": 2, "hours": 0.0, "licence": "ODbL 1.0"}
    }
    assert data["speakers"] == ["CREMA-D-a", "CREMA-D-b"]
    assert data["is_commercial_use_allowed"] is True


@pytest.mark.parametrize("licence", ["CC BY-NC-SA 4.0", "CC BY-NC-ND 4.0", "research only", ""])
def test_one_recording_without_commercial_terms_forbids_commercial_use(tmp_path, licence) -> None:
    rows = [make_row(0, speaker="a"), make_row(1, speaker="b", licence=licence, corpus="RAVDESS")]
    assert write_training_record(tmp_path, labelled=rows[:1], unlabelled=rows[1:])["is_commercial_use_allowed"] is False
