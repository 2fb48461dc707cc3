"""What stands on the teacher learns from labels, goes on where it was, and leaves frozen blocks alone."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from core.domain import Emotion
from tests.sounds import voice
from training import adapt as adapt_module
from training import distil
from training.adapt import Method, adapt, adapted_table
from training.cache import SAMPLES_PER_FRAME, Recordings, write_layers
from training.corpora import ManifestRow
from training.splits import Split
from training.whisper import build_encoder

N = 48
METHODS = (
    Method(name="frozen", n_epochs=25),
    Method(name="attention", has_attention=True, n_epochs=25),
    Method(name="tuned", n_tuned=1, n_epochs=12, n_tuned_epochs=3),
)


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    """Low voices are sad, high ones angry, in two corpora."""
    rows, sounds = [], []
    for number in range(N):
        is_high = number % 2 == 1
        speech = voice(seconds=0.5, pitch_hz=(220.0 if is_high else 110.0) + number % 7)
        sounds.append(np.round(speech[: 25 * SAMPLES_PER_FRAME] * 32767).astype(np.int16))
        rows.append(
            ManifestRow(
                path=str(number),
                corpus="A" if number % 3 else "B",
                speaker=str(number),
                sex="",
                language="en",
                emotion=Emotion.ANGRY if is_high else Emotion.SAD,
                intensity="",
                statement="",
                duration_s=0.5,
                sha256_original="",
                licence="",
            )
        )
    return Recordings(
        rows=tuple(rows),
        n_frames=np.full(N, 25),
        offsets=np.arange(N + 1) * 25,
        samples=np.concatenate(sounds),
    )


def _teacher():
    keras.utils.set_random_seed(0)
    return build_encoder(2, width=64, n_heads=1)


@pytest.fixture(scope="module")
def targets(recordings, tmp_path_factory):
    return write_layers(
        recordings, _teacher(), name="teacher", n_layers=3, width=64, folder=tmp_path_factory.mktemp("cache")
    )


SPLIT = Split(
    name="x",
    protocol="x",
    seed=0,
    manifest_sha256="",
    training=tuple(str(number) for number in range(32)),
    validation=tuple(str(number) for number in range(32, 40)),
    test=tuple(str(number) for number in range(40, N)),
)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_learns_and_changes_only_what_it_tunes(method, recordings, targets, tmp_path) -> None:
    teacher = _teacher()
    before = [[value.copy() for value in block.get_weights()] for block in teacher.blocks]
    found = adapt(method, teacher, targets, recordings, SPLIT, corpora=("A", "B"), folder=tmp_path)
    assert found.training_accuracy > 0.9
    assert found.test_accuracies["all"] > 0.7
    assert set(found.test_accuracies) == {"A", "B", "all"}
    for number, (block, values) in enumerate(zip(teacher.blocks, before, strict=True)):
        is_tuned = number >= len(before) - method.n_tuned
        same = all(np.array_equal(now, then) for now, then in zip(block.get_weights(), values, strict=True))
        assert same is not is_tuned
    again = adapt(method, _teacher(), targets, recordings, SPLIT, corpora=("A", "B"), folder=tmp_path)
    assert again == found


class Killed(Exception):
    """In the middle of a fit."""


@pytest.mark.parametrize("n_epochs_done", [2, 5])
def test_a_fit_that_was_killed_goes_on_from_its_last_epoch(
    n_epochs_done, recordings, targets, tmp_path, monkeypatch
) -> None:
    method = replace(METHODS[2], n_epochs=3, n_tuned_epochs=3)
    expected = adapt(method, _teacher(), targets, recordings, SPLIT, corpora=("A", "B"), folder=tmp_path / "whole")
    saved = []

    class Checkpoint(distil.Checkpoint):
        def save(self, n_epochs_done_here: int) -> None:
            super().save(n_epochs_done_here)
            saved.append(n_epochs_done_here)
            if len(saved) == n_epochs_done:
                raise Killed

    monkeypatch.setattr(adapt_module, "Checkpoint", Checkpoint)
    arguments = {"corpora": ("A", "B"), "folder": tmp_path / "killed"}
    with pytest.raises(Killed):
        adapt(method, _teacher(), targets, recordings, SPLIT, **arguments)
    found = adapt(method, _teacher(), targets, recordings, SPLIT, **arguments)
    assert saved == [1, 2, 3, 1, 2, 3]
    assert found.validation_nats == pytest.approx(expected.validation_nats, abs=0.05)
    assert found.test_accuracies == pytest.approx(expected.test_accuracies, abs=0.13)


def test_the_table_names_its_protocol_and_every_method(recordings, targets, tmp_path) -> None:
    rows = [
        adapt(replace(each, n_epochs=1), _teacher(), targets, recordings, SPLIT, corpora=("A",), folder=tmp_path / name)
        for name, each in zip("ab", METHODS[:2], strict=True)
    ]
    table = adapted_table(rows, protocol="fold 1 of 5")
    assert table.startswith("fold 1 of 5\n\n| what learns |")
    assert [line.split(" | ")[0] for line in table.splitlines()[4:]] == ["| frozen", "| attention"]
    assert "test A | test all |" in table
