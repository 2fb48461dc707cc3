"""`python -m core.batch`: a folder scored without a server, in three formats of the same figures."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from core import batch
from core.config import Settings
from core.features.audio import DecodeLimits, decode
from core.inference.recogniser import Recogniser
from tests.bundles import TINY
from tests.sounds import voice_wav


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "audio"
    (made / "inner").mkdir(parents=True)
    (made / "a.wav").write_bytes(voice_wav(seconds=1.0, pitch_hz=110))
    (made / "inner" / "b.WAV").write_bytes(voice_wav(seconds=1.0, pitch_hz=190))
    (made / "=broken.wav").write_bytes(b"nothing like a sound")
    (made / "notes.txt").write_text("no recording")
    return made


@pytest.fixture
def run(folder, tmp_path, monkeypatch):
    """Runs the command over the folder; gives its exit code, its output and where the results are."""
    monkeypatch.setattr(batch, "settings_of_this_machine", lambda: Settings(models_dir=TINY.parent, model="tiny"))

    def call(name: str, *options: str, where=folder):
        out = tmp_path / name
        done = CliRunner().invoke(batch.app, [str(where), "--out", str(out), "--workers", "2", *options])
        return done.exit_code, done.output, out

    return call


def test_every_recording_has_a_row_and_every_format_the_same_figures(run, folder):
    code, said, table = run("results.parquet")
    assert code == 0, said
    assert "2 scored, 1 with a problem" in said
    frame = pd.read_parquet(table)
    assert list(frame["file"]) == ["=broken.wav", "a.wav", "inner/b.WAV"]
    assert list(frame["problem_code"]) == ["unsupported_format", "", ""]
    settings = Settings()
    waveform = decode((folder / "a.wav").read_bytes(), limits=DecodeLimits.from_settings(settings)).waveform
    alone = Recogniser.open(TINY).recognise(
        waveform,
        n_passes=settings.n_passes,
        seed=settings.seed,
        window_s=settings.window_s,
        hop_s=settings.hop_s,
        abstention_confidence=settings.abstention_confidence,
    )
    answered = frame.iloc[1]
    assert {emotion: answered[f"probability_{emotion}"] for emotion in alone.probabilities} == alone.probabilities
    assert answered["confidence"] == max(alone.probabilities.values())
    _, _, lines = run("results.jsonl")
    read = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row["confidence"] for row in read[1:]] == list(frame["confidence"][1:])
    _, _, sheet = run("results.csv")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        cells = list(csv.DictReader(file))
    assert cells[0]["file"] == "'=broken.wav"
    assert [float(row["confidence"]) for row in cells[1:]] == list(frame["confidence"][1:])


def test_a_recording_longer_than_a_window_has_the_answer_of_one_alone_at_one_run_of_the_encoder(
    run, tmp_path, monkeypatch
):
    (tmp_path / "long").mkdir()
    sound = voice_wav(seconds=4.5)
    (tmp_path / "long" / "a.wav").write_bytes(sound)
    settings = Settings()
    alone = Recogniser.open(TINY).recognise(
        decode(sound, limits=DecodeLimits.from_settings(settings)).waveform,
        n_passes=settings.n_passes,
        seed=settings.seed,
        window_s=settings.window_s,
        hop_s=settings.hop_s,
        abstention_confidence=settings.abstention_confidence,
    )
    assert len(alone.windows) > 1
    embed, lengths = Recogniser.embed_log_mel, []

    def counted(self, frames):
        lengths.append(len(frames))
        return embed(self, frames)

    monkeypatch.setattr(Recogniser, "embed_log_mel", counted)
    _, _, lines = run("results.jsonl", where=tmp_path / "long")
    [row] = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {emotion: row[f"probability_{emotion}"] for emotion in alone.probabilities} == alone.probabilities
    assert len([length for length in lengths if length != 100]) == 1  # the second of noise that warms it up apart


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("results.xls", (), ".parquet, .csv, .jsonl"),
        ("nowhere/results.csv", (), "a file in a folder that exists"),
        ("results.csv", ("--model", "none"), "no model named"),
        ("results.csv", ("--n-passes", "1"), "n_passes"),
    ],
    ids=["format", "no folder", "model", "passes"],
)
def test_what_is_out_of_place_is_one_sentence(run, name, options, sentence):
    code, said, out = run(name, *options)
    assert code == 1
    assert sentence in " ".join(said.split())
    assert not out.exists()


def test_nothing_is_scored_for_a_file_in_no_folder(run, monkeypatch):
    monkeypatch.setattr(Recogniser, "open", lambda *_, **__: pytest.fail("scored"))
    code, said, _ = run("nowhere/results.csv")
    assert (code, "Scoring" in said) == (1, False)


def test_results_that_cannot_be_written_say_why(run, tmp_path):
    (tmp_path / "results.csv").mkdir()
    code, said, _ = run("results.csv")
    assert code == 1
    assert "it must be a file that can be written (Is a directory)" in " ".join(said.split())


def test_an_empty_or_missing_folder_says_so(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no recordings" in " ".join(run("results.csv", where=tmp_path / "empty")[1].split())
    assert "no such folder" in " ".join(run("results.csv", where=tmp_path / "none")[1].split())
