"""Manifests of corrections: labels and shares, and rows that cannot be used named one by one."""

import json
from uuid import UUID

import numpy as np
import pytest

from core.domain import Emotion
from training.corrections import Corrections, load_corrections, read_corrections, write_corrections
from training.errors import ManifestError

ID = "01900000-0000-7000-8000-000000000001"


def test_labels_and_shares_are_read_from_csv(tmp_path):
    file = tmp_path / "corrections.csv"
    file.write_text(f"path,label,happy,sad,speaker,weight,recording_id\na.wav,angry,,,S-1,,{ID}\nb.wav,,3,1,,2,\n")
    rows, problems = read_corrections(file)
    assert not problems
    assert [row.path for row in rows] == ["a.wav", "b.wav"]
    assert rows[0].shares == {Emotion.ANGRY: 1.0}
    assert (rows[0].speaker, rows[0].recording_id) == ("S-1", UUID(ID))
    assert rows[1].shares == {Emotion.HAPPY: 0.75, Emotion.SAD: 0.25}
    assert rows[1].weight == 2.0


def test_json_lines_hold_probabilities(tmp_path):
    file = tmp_path / "corrections.jsonl"
    file.write_text(
        json.dumps({"path": "a.wav", "probabilities": {"happy": 0.2, "sad": 0.6}})
        + "\n\n"
        + json.dumps({"path": "b.wav", "label": "calm"})
    )
    rows, problems = read_corrections(file)
    assert not problems
    assert rows[0].shares == pytest.approx({Emotion.HAPPY: 0.25, Emotion.SAD: 0.75})
    assert rows[1].shares == {Emotion.CALM: 1.0}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",happy,,,,,", "path is empty"),
        ("a.wav,glad,,,,,", "label is 'glad', not one of neutral"),
        ("a.wav,,,,,,", "neither a label nor a share"),
        ("a.wav,,-1,2,,,", "neither a label nor a share"),
        ("a.wav,happy,,,,-2,", "weight is -2"),
        ("a.wav,,much,,,,", "could not convert"),
        ("a.wav,happy,,,,,nobody", "badly formed"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_kept(tmp_path, row, reason):
    file = tmp_path / "corrections.csv"
    file.write_text(f"path,label,happy,sad,speaker,weight,recording_id\n{row}\ngood.wav,sad,,,,,\n")
    rows, problems = read_corrections(file)
    assert [one.path for one in rows] == ["good.wav"]
    assert reason in problems[0].reason
    assert problems[0].reason.startswith("row 1:")


@pytest.mark.parametrize(("name", "text"), [("gone.csv", None), ("a.jsonl", "{"), ("b.jsonl", "[1]")])
def test_a_file_that_is_no_manifest_is_refused(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError):
        read_corrections(tmp_path / name)


def test_embeddings_are_handed_over_whole(tmp_path):
    kept = Corrections(
        embeddings=np.arange(6, dtype=np.float32).reshape(2, 3),
        shares=np.eye(8, dtype=np.float32)[:2],
        weights=np.ones(2, np.float32),
        speakers=("S-1", ""),
        recording_ids=(ID, ""),
    )
    write_corrections(tmp_path / "run" / "c.npz", kept)
    found = load_corrections(tmp_path / "run" / "c.npz")
    assert found.sha256 == kept.sha256
    assert (found.speakers, found.recording_ids) == (kept.speakers, kept.recording_ids)
    with pytest.raises(ManifestError):
        load_corrections(tmp_path / "gone.npz")
