"""`corpora index`, `corpora fetch` and `splits` as a person at a terminal meets them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from training import corpora_commands
from training.corpora import index_folder, read_manifest, write_manifest
from training.corpora_commands import app
from training.splits import read_split, splits_command
from training.training_record import Exposure, read_training_record, write_training_record


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(corpora_commands.console, "width", 400)  # wider than any folder of a test
    monkeypatch.setenv("COLUMNS", "400")

    def invoke(*arguments: str, input: str | None = None):
        return CliRunner().invoke(app, arguments, input=input)

    return invoke


def write_noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, 1600), 16_000)


def test_index_writes_a_manifest_and_names_what_it_left_out(run, tmp_path) -> None:
    write_noise(tmp_path / "OAF_back_angry.wav", 0)
    write_noise(tmp_path / "holiday.wav", 1)
    result = run("index", str(tmp_path), "--out", str(tmp_path / "out" / "m.csv"))
    assert result.exit_code == 0, result.output
    assert "left out: holiday.wav: the name is that of no known corpus" in result.output
    assert [row.path for row in read_manifest(tmp_path / "out" / "m.csv")[0]] == ["OAF_back_angry.wav"]


def test_index_of_a_folder_without_recordings_says_so(run, tmp_path) -> None:
    result = run("index", str(tmp_path))
    assert result.exit_code == 1
    assert "holds no recording of a known corpus" in result.output


def test_index_of_no_folder_says_so(run, tmp_path) -> None:
    result = run("index", str(tmp_path / "nowhere"))
    assert result.exit_code == 1
    assert "There is no folder" in result.output


def test_index_replaces_no_manifest_unless_it_is_told_to(run, tmp_path) -> None:
    write_noise(tmp_path / "OAF_back_angry.wav", 0)
    (tmp_path / "manifest.csv").write_text("somebody's work")
    result = run("index", str(tmp_path))
    assert result.exit_code == 1
    assert "is there already. Choose another place with --out, or replace it with --force." in result.output
    assert (tmp_path / "manifest.csv").read_text() == "somebody's work"


def test_index_drops_no_hashes_of_a_manifest_that_it_cannot_read(run, tmp_path) -> None:
    write_noise(tmp_path / "OAF_back_angry.wav", 0)
    (tmp_path / "manifest.csv").write_text("path,sha256_original\na.wav,12\n")
    result = run("index", str(tmp_path), "--force")
    assert result.exit_code == 1
    assert "move it out of the folder" in result.output
    assert (tmp_path / "manifest.csv").read_text().startswith("path,sha256_original")


NAMES = ("OAF_back_angry", "OAF_bar_angry", "OAF_base_angry")


@pytest.fixture
def published_and_encoded_anew(tmp_path):
    """A model that heard the first two of three published recordings, and a folder of all three as FLAC."""
    published, anew, model = tmp_path / "published", tmp_path / "anew", tmp_path / "model"
    for seed, name in enumerate(NAMES):
        write_noise(published / f"{name}.wav", seed)
        write_noise(anew / f"{name}.flac", seed)
    rows, _ = index_folder(published)
    model.mkdir()
    data = write_training_record(model, labelled=rows[:1], unlabelled=rows[1:2])
    (model / "card.json").write_text(json.dumps({"data": data}))
    return rows, anew, read_training_record(model)


@pytest.mark.parametrize("out", ["manifest.csv", "elsewhere.csv"])
def test_recordings_encoded_anew_stay_known_to_the_model_that_heard_them(run, published_and_encoded_anew, out) -> None:
    rows, anew, record = published_and_encoded_anew
    as_flac = [dataclasses.replace(row, path=row.path.replace(".wav", ".flac")) for row in rows]
    write_manifest(anew / "manifest.csv", as_flac)
    result = run("index", str(anew), "--out", str(anew / out), "--force")
    assert result.exit_code == 0, result.output
    assert "3 files have another hash than" in result.output
    assert "no manifest in" not in result.output
    indexed, _ = read_manifest(anew / out)
    assert [row.sha256_original for row in indexed] == [row.sha256_original for row in rows]
    assert [record.exposure(row) for row in indexed] == [
        Exposure.LABEL_HEARD,
        Exposure.RECORDING_HEARD,
        Exposure.SPEAKER_HEARD,
    ]


def test_index_says_that_a_model_will_not_know_recordings_encoded_anew(run, published_and_encoded_anew) -> None:
    _, anew, _ = published_and_encoded_anew
    for arguments in (("index", str(anew)), ("index", str(anew), "--force")):
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        assert "3 recordings are no WAV, as published ones are, and no manifest in" in result.output
        assert "does not know them by it" in result.output


def test_index_of_recordings_as_published_says_nothing_of_hashes(run, tmp_path) -> None:
    write_noise(tmp_path / "OAF_back_angry.wav", 0)
    assert " hash " not in run("index", str(tmp_path)).output
    assert " hash " not in run("index", str(tmp_path), "--force").output


def test_fetch_shows_the_licence_and_stops_when_it_is_declined(run, tmp_path) -> None:
    result = run("fetch", "ravdess", "--out", str(tmp_path), input="n\n")
    assert result.exit_code == 1
    assert "CC BY-NC-SA 4.0" in result.output
    assert "no commercial use" in result.output
    assert "was not accepted" in result.output
    assert list(tmp_path.iterdir()) == []


def test_fetch_of_savee_says_how_to_register(run, tmp_path) -> None:
    result = run("fetch", "savee", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "http://kahlan.eps.surrey.ac.uk/savee/Register.html" in result.output
    assert "--folder" in result.output


def test_fetch_of_savee_takes_over_a_folder(run, tmp_path) -> None:
    write_noise(tmp_path / "received" / "DC" / "a01.wav", 0)
    result = run("fetch", "savee", "--folder", str(tmp_path / "received"), "--out", str(tmp_path / "out"), input="y\n")
    assert result.exit_code == 0, result.output
    assert "1 recordings stand in" in result.output
    assert "480 are published" in result.output


def test_folder_for_a_corpus_that_is_downloaded_is_refused(run, tmp_path) -> None:
    result = run("fetch", "tess", "--folder", str(tmp_path))
    assert result.exit_code == 1
    assert "--folder is for corpora that need a registration" in result.output


def test_fetch_of_an_unknown_corpus_names_the_known_ones(run) -> None:
    result = run("fetch", "iemocap")
    assert result.exit_code == 1
    assert "ravdess, crema-d, tess, savee" in result.output


def test_splits_are_written_one_file_each(tmp_path) -> None:
    for seed in range(10):
        write_noise(tmp_path / f"03-01-0{seed % 8 + 1}-01-01-01-{seed + 1:02}.wav", seed)
    app_with_splits = typer.Typer()
    app_with_splits.command()(splits_command)
    assert CliRunner().invoke(app, ["index", str(tmp_path)]).exit_code == 0
    arguments = ["--manifest", str(tmp_path / "manifest.csv"), "--out", str(tmp_path / "s"), "--audio", str(tmp_path)]
    result = CliRunner().invoke(app_with_splits, arguments)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "s").glob("*.json"))) == 6
    split = read_split(tmp_path / "s" / "speaker_independent_split_1_of_5.json")
    assert len(split.test) == 2
    assert "grouped by speaker" in split.protocol
