"""A model of one's own labels from end to end with the tiny model's encoder: clips in, a bundle out that serves."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from core.domain import OwnLabel
from core.features.clip_stream import end_clips, read_clips, write_clip
from core.inference.model_scores import read_model_scores
from core.inference.recogniser import Recogniser
from core.inference.registry import HEAD
from tests.bundles import TINY
from tests.data_sets import own_clips, own_zip
from tests.sounds import voice_wav
from training import custom
from training.__main__ import app
from training.custom import CustomPlan, CustomTraining, make_custom
from training.custom_splits import Protocol
from training.errors import CustomTrainingError

PLAN = CustomPlan(n_epochs=6, learning_rate=1e-2)


def asked(tmp_path, name="moods", plan=PLAN) -> CustomTraining:
    return CustomTraining(
        parent=TINY,
        into=tmp_path / "own" / name,
        run=tmp_path / "run" / name,
        author="ada@example.org",
        data_set="Two moods",
        plan=plan,
    )


def make(tmp_path, name="moods", plan=PLAN, clips=None, tell=lambda said: None):
    clips = list(own_clips()) if clips is None else clips
    return make_custom(asked(tmp_path, name, plan), iter(clips), n_clips=len(clips), tell=tell)


def test_it_serves_by_its_labels_and_says_what_it_is_worth(tmp_path):
    told = []
    card = make(tmp_path, tell=told.append)
    assert card.emotions == (OwnLabel("bored"), OwnLabel("excited"))
    recogniser = Recogniser.open(tmp_path / "own" / "moods")
    clips = list(own_clips())
    for clip in clips[:4]:
        recognition = recogniser.recognise(
            clip.waveform, n_passes=10, seed=0, window_s=3, hop_s=1, abstention_confidence=0.1
        )
        assert max(recognition.probabilities, key=recognition.probabilities.get) == clip.label
    [score] = read_model_scores(tmp_path / "own" / "moods").scores
    assert score.n_recordings == 2
    assert score.unweighted_average_recall.value == 1.0
    fields = json.loads((tmp_path / "own" / "moods" / "card.json").read_text())
    assert fields["training"]["confusion"] == [[1, 0], [0, 1]]
    assert fields["data"]["labels"] == {"bored": 8, "excited": 8}
    assert len(fields["training"]["rounds"]) == 6
    assert not (tmp_path / "run" / "moods").exists()
    shares = [said["share"] for said in told]
    assert shares == sorted(shares)
    assert "Listening to clip 16 of 16" in [said.get("doing") for said in told]
    assert told[-1]["event"] == "done"


@pytest.mark.parametrize(("network", "left_s"), [("head", [65.0, 30.0]), ("own", [None, None])])
def test_while_clips_are_heard_the_time_left_counts_what_a_head_learns_afterwards(monkeypatch, network, left_s):
    at_s, told = iter([0.0, 35.0, 70.0]), []
    monkeypatch.setattr(custom, "time", SimpleNamespace(monotonic=lambda: next(at_s)))
    after_clip = custom._listening(20, told.append, replace(PLAN, network=network))
    for n_heard in (5, 10, 20):
        after_clip(n_heard)
    assert [said.get("seconds_left") for said in told] == left_s


def test_speakers_are_judged_by_who_never_heard_them(tmp_path):
    make(tmp_path, plan=CustomPlan(n_epochs=3, learning_rate=1e-2, protocol=Protocol.SPEAKERS))
    [score] = read_model_scores(tmp_path / "own" / "moods").scores
    assert (score.n_recordings, score.n_speakers) == (16, 4)
    assert "never heard them" in score.protocol


@pytest.mark.parametrize("n_told", [3, 9])
def test_killed_at_any_moment_the_same_call_goes_on_to_the_same_weights(tmp_path, n_told):
    class Killed(Exception):
        pass

    n_left = [n_told]

    def kill(_said):
        n_left[0] -= 1
        if n_left[0] == 0:
            raise Killed

    whole = make(tmp_path, "whole")
    with pytest.raises(Killed):
        make(tmp_path, "moods", tell=kill)
    again = make(tmp_path, "moods")
    heads = [(tmp_path / "own" / name / HEAD).read_bytes() for name in ("whole", "moods")]
    assert heads[0] == heads[1]
    assert again.version.removeprefix("moods") == whole.version.removeprefix("whole")


def test_augmentation_gives_copies_to_learn_from_and_never_to_judge_by(tmp_path):
    plain = make(tmp_path, "plain")
    strengths = {"noise": 0.5, "spec_augment": 0.5, "mixup": 0.5}
    other = make(tmp_path, "other", CustomPlan(n_epochs=6, learning_rate=1e-2, strengths=strengths))
    assert plain.version.rpartition("-")[2] != other.version.rpartition("-")[2]
    [score] = read_model_scores(tmp_path / "own" / "other").scores
    assert score.n_recordings == 2
    fields = json.loads((tmp_path / "own" / "other" / "card.json").read_text())
    assert fields["training"]["augmentations"] == strengths


def test_too_few_clips_are_refused_and_leave_no_model(tmp_path):
    with pytest.raises(CustomTrainingError, match="'bored' has 4 clips"):
        make(tmp_path, clips=list(own_clips(4)))
    assert not (tmp_path / "own" / "moods").exists()


def test_clips_go_through_a_pipe_and_a_broken_one_is_noticed():
    sent = list(own_clips(2))
    pipe = io.BytesIO()
    for clip in sent:
        write_clip(pipe, clip)
    whole = pipe.getvalue()
    end_clips(pipe)
    found = list(read_clips(io.BytesIO(pipe.getvalue())))
    assert [(clip.name, clip.label, clip.speaker) for clip in found] == [
        (clip.name, clip.label, clip.speaker) for clip in sent
    ]
    np.testing.assert_allclose(found[0].waveform.samples, sent[0].waveform.samples, atol=1e-4)
    for broken in (whole, whole[:-7], whole[:20]):
        with pytest.raises(EOFError):
            list(read_clips(io.BytesIO(broken)))


def test_the_command_names_what_it_cannot_use_and_learns_from_the_rest(tmp_path, monkeypatch):
    import zipfile

    monkeypatch.setattr("training.custom_commands.be_modest", lambda: None)
    monkeypatch.setenv("TELEPATHY_MODELS_DIR", str(TINY.parent))
    monkeypatch.setenv("TELEPATHY_MODEL", "tiny")
    monkeypatch.setenv("TELEPATHY_DATA_DIR", str(tmp_path / "data"))
    folder = tmp_path / "clips"
    zipfile.ZipFile(io.BytesIO(own_zip())).extractall(folder)
    (folder / "set" / "s0" / "bored" / "bad.wav").write_bytes(b"nothing")
    (folder / "set" / "odd.wav").write_bytes(voice_wav(seconds=0.5))
    arguments = ["custom", str(folder), "--name", "moods", "--epochs", "2", "--augment", "gain=0.5", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["path"] for one in said if one["event"] == "problem"} == {"set/odd.wav", "set/s0/bored/bad.wav"}
    assert said[-1]["event"] == "done"
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert CliRunner().invoke(app, [*arguments[:3], "two", "--augment", "nonsense"]).exit_code == 2
