"""A network from random weights, from clips of one's own to a bundle that serves, killed on the way."""

from __future__ import annotations

import json

import pytest

from core.config import Settings
from core.domain import OwnLabel
from core.inference.recogniser import Recogniser
from core.models.versions import read_version
from tests.bundles import TINY
from tests.data_sets import own_clips
from training.custom import CustomPlan, CustomTraining, make_custom
from training.errors import CustomTrainingError

N_EPOCHS = 25


class Killed(Exception):
    pass


def asked(tmp_path, network):
    return CustomTraining(
        parent=TINY,
        into=tmp_path / "own" / "moods",
        run=tmp_path / "run" / "moods",
        author="ada@example.org",
        data_set="Two moods",
        plan=CustomPlan(network=network, n_epochs=N_EPOCHS, learning_rate=1e-2, strengths={"mixup": 0.2}),
    )


def test_it_learns_goes_on_after_it_was_killed_and_serves(tmp_path):
    clips = list(own_clips(12))

    def kill_after_three_rounds(said):
        if said.get("round") == 3:
            raise Killed

    def make(tell):
        return make_custom(asked(tmp_path, "convolutional"), iter(clips), n_clips=len(clips), tell=tell)

    with pytest.raises(Killed):
        make(kill_after_three_rounds)
    assert [file.name for file in (tmp_path / "run" / "moods").glob("*.npz")] == ["fit-0.npz"], "nothing of the sound"
    told = []
    card = make(told.append)
    assert [said["round"] for said in told if said["event"] == "round"] == list(range(4, N_EPOCHS + 1))
    assert told[-1]["event"] == "done"
    assert card.emotions == (OwnLabel("bored"), OwnLabel("excited"))
    assert card.licence == "whatever the clips of the data set allow"
    folder = tmp_path / "own" / "moods"
    made = json.loads((folder / "card.json").read_text())["training"]
    assert (made["network"], made["parent"], len(made["rounds"])) == ("convolutional", "", N_EPOCHS)
    version = read_version(folder, Settings(data_dir=tmp_path, models_dir=TINY.parent, model="tiny"))
    assert not version.has_own_encoder, "no head of somebody else's can be put on it"
    recogniser = Recogniser.open(folder)
    n_right = 0
    for clip in clips:
        said = recogniser.recognise(
            clip.waveform, n_passes=10, seed=0, window_s=3, hop_s=1, abstention_confidence=0.1
        ).probabilities
        n_right += max(said, key=lambda label: said[label]) == clip.label
    assert n_right >= 20, "of 24, most of which it learnt from"


def test_a_network_that_is_none_is_refused(tmp_path):
    with pytest.raises(CustomTrainingError, match="head, bilstm, convolutional, transformer"):
        make_custom(asked(tmp_path, "perceptron"), iter(own_clips(6)), n_clips=12)
    assert not (tmp_path / "own").exists()
