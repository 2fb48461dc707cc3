"""Retraining from end to end with the tiny model: corrections in, a bundle out that serves, killed in between."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from core.domain import Emotion
from core.inference.recogniser import Recogniser
from core.inference.registry import ENCODER, HEAD, read_card
from tests.bundles import PUBLISHED_ENCODER, copy_of_tiny
from tests.sounds import voice_wav
from training.__main__ import app
from training.base_sample import BASE, PARTS, SHAREABLE_LICENCES, make_base_sample, read_base_sample
from training.corpora import ManifestRow
from training.corrections import Corrections
from training.embedded import Embedded, embed_files
from training.errors import RetrainingError
from training.refit import RefitPlan
from training.retrain import Retraining, retrain

N_DIMS = 24
PLAN = RefitPlan(n_epochs=4, learning_rate=3e-3, replay_per_round=128, batch_size=64)


def _row(number: int, licence: str = "ODbL 1.0") -> ManifestRow:
    return ManifestRow(
        path=f"{number}.wav",
        corpus="C",
        speaker=f"C-{number % 20}",
        sex="",
        language="en",
        emotion=list(Emotion)[number % 8],
        intensity="",
        statement="",
        duration_s=1.0,
        sha256_original=f"{number:064x}",
        licence=licence,
    )


def _embeddings(n: int, seed: int = 0):
    return np.random.default_rng(seed).standard_normal((n, N_DIMS)).astype(np.float32)


def _corrections(n: int = 30) -> Corrections:
    return Corrections(
        embeddings=_embeddings(n, 7),
        shares=np.eye(8, dtype=np.float32)[np.arange(n) % 8],
        weights=np.ones(n, np.float32),
        speakers=("S-1",) * n,
        recording_ids=("",) * n,
    )


@pytest.fixture
def parent(tmp_path):
    folder = copy_of_tiny(tmp_path / "models")
    rows = [_row(number) for number in range(400)] + [_row(400 + number, "research only") for number in range(50)]
    embedded = Embedded(names=tuple(row.path for row in rows), embeddings=_embeddings(450), problems=())
    assert make_base_sample(rows, embedded, folder=folder, n_recordings=300) == 300
    return folder


def _asked(parent, tmp_path, **changes) -> Retraining:
    fields = {
        "parent": parent,
        "into": tmp_path / "own" / "tiny-2",
        "run": tmp_path / "run",
        "author": "Ada",
        "source": "a test",
        "plan": PLAN,
    }
    return Retraining(**{**fields, **changes})


def test_the_base_sample_shares_no_speaker_between_its_parts(parent):
    base = read_base_sample(parent)
    assert list(base) == list(PARTS)
    speakers = [set(part.speakers) for part in base.values()]
    assert [len(one) for one in speakers] == [12, 3, 5]
    assert not (speakers[0] & speakers[1] | speakers[0] & speakers[2] | speakers[1] & speakers[2])
    assert sum(map(len, base.values())) == 300
    assert "research only" not in SHAREABLE_LICENCES


def test_embeddings_of_the_base_sample_are_right_to_a_thirty_second(parent):
    stored = np.concatenate([part.embeddings for part in read_base_sample(parent).values()])
    given = _embeddings(450)
    for row in stored[:20]:
        assert np.abs(given - row).max(axis=1).min() <= 1 / 32 + 1e-6


def test_a_sample_of_another_encoder_is_not_replayed(parent):
    (parent / ENCODER).write_bytes((parent / ENCODER).read_bytes() + b" ")
    assert sum(map(len, read_base_sample(parent).values())) == 0


def test_a_retrained_model_serves_and_its_card_says_where_it_comes_from(parent, tmp_path):
    said = []
    card = retrain(_asked(parent, tmp_path), _corrections(), tell=said.append)
    folder = tmp_path / "own" / "tiny-2"
    assert card == read_card(folder)
    assert (folder / ENCODER).read_bytes() == (parent / ENCODER).read_bytes()
    assert (folder / HEAD).read_bytes() != (parent / HEAD).read_bytes()
    assert Recogniser.open(folder).card.version == card.version
    fields = json.loads((folder / "card.json").read_text())
    assert fields["licence"] == json.loads((parent / "card.json").read_text())["licence"]
    made = fields["retraining"]
    assert made["parent"] == read_card(parent).version
    assert made["author"] == "Ada"
    assert made["plan"]["n_epochs"] == 4
    assert made["gate"]["test"]["n_clips"] == len(read_base_sample(parent)["test"])
    assert made["gate"]["corrections"]["n_clips"] == 30
    assert [one["round"] for one in made["rounds"]] == [1, 2, 3, 4]
    assert fields["data"]["corrections"] == {
        "n_recordings": 30,
        "n_speakers": 1,
        "sha256": _corrections().sha256,
        "source": "a test",
    }
    assert [score["title"] for score in fields["scores"]] == ["Base test speakers", "Corrections"]
    assert said[-1]["event"] == "done"
    shares = [one["share"] for one in said]
    assert shares == sorted(shares)
    assert not (tmp_path / "run").exists()


def test_killed_it_goes_on_to_the_same_model(parent, tmp_path):
    whole = retrain(_asked(parent, tmp_path, into=tmp_path / "whole" / "tiny-2"), _corrections())

    def kill(said):
        if said.get("round") == 2 and said["is_final_fit"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain(_asked(parent, tmp_path), _corrections(), tell=kill)
    said = []
    resumed = retrain(_asked(parent, tmp_path), _corrections(), tell=said.append)
    assert resumed.version == whole.version
    assert [one["round"] for one in said if one["event"] == "round"] == [3, 4]
    rounds = json.loads((tmp_path / "own" / "tiny-2" / "card.json").read_text())["retraining"]["rounds"]
    assert [one["round"] for one in rounds] == [1, 2, 3, 4]


def test_checkpoints_of_other_corrections_are_not_used(parent, tmp_path):
    def kill(said):
        if said.get("round") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain(_asked(parent, tmp_path), _corrections(), tell=kill)
    said = []
    retrain(_asked(parent, tmp_path), _corrections(20), tell=said.append)
    assert sum(one["event"] == "round" for one in said) == 6 * PLAN.n_epochs


def test_without_a_base_sample_it_trains_and_says_that_nothing_was_tested(tmp_path):
    parent = copy_of_tiny(tmp_path / "models")
    retrain(_asked(parent, tmp_path), _corrections())
    fields = json.loads((tmp_path / "own" / "tiny-2" / "card.json").read_text())
    assert fields["retraining"]["gate"]["test"] == {
        "n_clips": 0,
        "champion": None,
        "challenger": None,
        "difference": None,
        "low": None,
        "high": None,
    }
    assert [score["title"] for score in fields["scores"]] == ["Corrections"]


def test_too_few_corrections_are_refused(parent, tmp_path):
    with pytest.raises(RetrainingError, match="4 corrections, and at least 5"):
        retrain(_asked(parent, tmp_path), _corrections(4))


def test_a_model_on_somebody_elses_encoder_is_refused(tmp_path):
    parent = copy_of_tiny(tmp_path / "models", change=lambda card: card.update(encoder=PUBLISHED_ENCODER))
    (parent / ENCODER).unlink()
    with pytest.raises(RetrainingError, match="no encoder of its own"):
        retrain(_asked(parent, tmp_path), _corrections())


def test_a_label_that_the_model_does_not_tell_apart_is_refused(tmp_path):
    parent = copy_of_tiny(tmp_path / "models", change=lambda card: card.update(emotions=["happy", "sad"]))
    with pytest.raises(RetrainingError, match="does not tell apart"):
        retrain(_asked(parent, tmp_path), _corrections())


def test_recordings_are_heard_once_and_bad_ones_named(parent, tmp_path):
    recogniser = Recogniser.open(parent)
    asked = []

    def read(name):
        asked.append(name)
        if name == "gone.wav":
            raise FileNotFoundError(2, "No such file or directory")
        return voice_wav(seconds=1) if name != "bad.wav" else b"nothing"

    cache = tmp_path / "cache.npz"
    first = embed_files(recogniser, ["a.wav", "gone.wav", "bad.wav", "b.wav"], read, cache=cache)
    assert first.names == ("a.wav", "b.wav")
    assert [problem.path for problem in first.problems] == ["gone.wav", "bad.wav"]
    assert first.problems[0].reason == "No such file or directory"
    again = embed_files(recogniser, ["b.wav", "a.wav"], read, cache=cache)
    assert asked == ["a.wav", "gone.wav", "bad.wav", "b.wav"]
    assert np.array_equal(again.embeddings, first.embeddings[::-1])


def test_the_command_prints_json_and_keeps_good_rows(parent, tmp_path, monkeypatch):
    monkeypatch.setattr("training.retrain_commands.be_modest", lambda: None)
    for number in range(6):
        (tmp_path / f"{number}.wav").write_bytes(voice_wav(seconds=1, pitch_hz=110 + 20 * number))
    manifest = tmp_path / "corrections.csv"
    manifest.write_text(
        "path,label\n"
        + "".join(f"{number}.wav,{emotion}\n" for number, emotion in enumerate(list(Emotion)[:6]))
        + "gone.wav,happy\nodd.wav,glad\n"
    )
    monkeypatch.setenv("TELEPATHY_MODELS_DIR", str(parent.parent))
    monkeypatch.setenv("TELEPATHY_DATA_DIR", str(tmp_path / "data"))
    asked = ["retrain", str(manifest), "--name", "tiny-2", "--model", "tiny", "--epochs", "2", "--json"]
    result = CliRunner().invoke(app, [*asked, "--audio", str(tmp_path)], catch_exceptions=False)
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [(one["path"], one["reason"]) for one in said if one["event"] == "problem"][1][0] == "gone.wav"
    assert said[-1]["event"] == "done"
    assert (tmp_path / "data" / "models" / "tiny-2" / "card.json").exists()
    assert (tmp_path / "data" / "models" / "tiny-2" / BASE).exists()
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 2
