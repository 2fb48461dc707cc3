"""A student comes closer to its teacher, and goes on from the last finished epoch."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from core.domain import Emotion
from core.features.log_mel import log_mel
from training.cache import SAMPLES_PER_FRAME, LayerCache, Recordings, ahead, batches, trimmed, write_layers
from training.corpora import ManifestRow
from training.distil import Checkpoint, Phase, distil_side_by_side, distil_together, disturb
from training.whisper import Encoder, build_encoder

ROW = ManifestRow(
    path="a",
    corpus="A",
    speaker="A-1",
    sex="",
    language="en",
    emotion=Emotion.SAD,
    intensity="",
    statement="",
    duration_s=1.0,
    sha256_original="",
    licence="",
)


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    generator = np.random.default_rng(0)
    n_frames = generator.integers(20, 40, 8)
    offsets = np.concatenate([[0], np.cumsum(n_frames)])
    samples = generator.normal(0, 3_000, offsets[-1] * SAMPLES_PER_FRAME).astype(np.int16)
    return Recordings(rows=(ROW,) * 8, n_frames=n_frames, offsets=offsets, samples=samples)


@pytest.fixture(scope="module")
def targets(recordings: Recordings, tmp_path_factory: pytest.TempPathFactory) -> LayerCache:
    keras.utils.set_random_seed(0)
    return write_layers(
        recordings,
        build_encoder(1, width=64, n_heads=1),
        name="teacher",
        n_layers=2,
        width=64,
        folder=tmp_path_factory.mktemp("cache"),
    )


def _student() -> Encoder:
    keras.utils.set_random_seed(1)
    return build_encoder(1, width=64, n_heads=1)


def _errors(folder: Path) -> list[float]:
    return [sum(json.loads(line)["error"]) for line in (folder / "epochs.jsonl").read_text().splitlines()]


def test_cached_layers_are_those_of_each_recording_alone(recordings: Recordings, targets: LayerCache) -> None:
    keras.utils.set_random_seed(0)
    encoder = build_encoder(1, width=64, n_heads=1)
    alone = encoder(log_mel(recordings.waveform(3))[None])[1][0]
    padded, mask = targets.padded(1, np.array([3]))
    np.testing.assert_allclose(padded[0], alone, atol=5e-3)
    assert mask.sum() == recordings.n_frames[3]


@pytest.mark.parametrize("distil", [distil_side_by_side, distil_together])
def test_error_falls(distil, recordings: Recordings, targets: LayerCache, tmp_path: Path) -> None:
    phase = Phase(n_epochs=6, learning_rate=3e-3, frames_per_batch=80, disturbed_share=0.3)
    distil(_student(), recordings, targets, np.arange(8), phase=phase, folder=tmp_path)
    errors = _errors(tmp_path)
    assert len(errors) == 6
    assert errors[-1] < 0.8 * errors[0]


def test_untrained_blocks_begin_by_adding_nothing(recordings: Recordings, targets: LayerCache, tmp_path: Path) -> None:
    student = _student()
    phase = Phase(n_epochs=1, learning_rate=0.0, frames_per_batch=80)
    distil_side_by_side(student, recordings, targets, np.arange(8), phase=phase, folder=tmp_path)
    (record,) = [json.loads(line) for line in (tmp_path / "epochs.jsonl").read_text().splitlines()]
    added = targets.layers[1].astype(np.float32) - targets.layers[0].astype(np.float32)
    expected = np.mean(np.square(added / (added.std(axis=0) + 1e-3)))
    assert record["error"][1] == pytest.approx(expected, rel=0.05)


def test_training_goes_on_from_the_last_finished_epoch(
    recordings: Recordings, targets: LayerCache, tmp_path: Path
) -> None:
    phase = Phase(n_epochs=2, learning_rate=1e-3, frames_per_batch=80)
    first = _student()
    distil_together(first, recordings, targets, np.arange(8), phase=phase, folder=tmp_path)
    again = _student()
    distil_together(again, recordings, targets, np.arange(8), phase=phase, folder=tmp_path)
    assert len(_errors(tmp_path)) == 2
    for one, other in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_brings_back_what_it_kept(tmp_path: Path) -> None:
    student = _student()
    kept = [weight.copy() for weight in student.get_weights()]
    checkpoint = Checkpoint(tmp_path / "kept.npz", student.variables)
    assert checkpoint.restore() == 0
    checkpoint.save(3)
    student.set_weights([weight + 1 for weight in kept])
    assert checkpoint.restore() == 3
    for before, after in zip(kept, student.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_disturbed_recording_is_as_long_and_drawn_by_its_seed(recordings: Recordings) -> None:
    def draw(seed: int) -> np.ndarray:
        return disturb(recordings, 2, others=np.arange(8), rng=np.random.default_rng(seed)).samples

    assert len(draw(1)) == len(recordings.waveform(2).samples)
    np.testing.assert_array_equal(draw(1), draw(1))
    assert any(np.abs(draw(seed) - recordings.waveform(2).samples).max() > 0.01 for seed in range(5))


def test_batches_hold_every_recording_once_within_their_size(recordings: Recordings) -> None:
    for seed in (None, 4):
        made = batches(np.arange(8), recordings.n_frames, frames_per_batch=80, seed=seed)
        assert sorted(np.concatenate(made).tolist()) == list(range(8))
        assert all(recordings.n_frames[batch].max() * len(batch) <= 80 for batch in made)


def test_recordings_are_cut_to_whole_frames(recordings: Recordings) -> None:
    waveform = recordings.waveform(0)
    assert len(trimmed(waveform).samples) % SAMPLES_PER_FRAME == 0


def test_what_is_made_ahead_comes_in_order() -> None:
    assert list(ahead(range(10), lambda item: item * 2)) == [(item, item * 2) for item in range(10)]


def test_a_whole_file_is_disturbed_by_its_seed_and_a_silent_one_stays_silent(
    recordings: Recordings, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    files = {"loud.wav": generator.normal(0, 0.1, 16_000), "silent.wav": np.zeros(16_000)}
    for name, samples in files.items():
        soundfile.write(tmp_path / name, samples, 16_000)
    rows = tuple(replace(ROW, path=name) for name in files)
    heard = replace(recordings, rows=rows)

    def disturbed(index: int, seed: int) -> np.ndarray:
        return disturb(heard, index, others=np.arange(8), rng=np.random.default_rng(seed), audio=tmp_path).samples

    np.testing.assert_array_equal(disturbed(0, 1), disturbed(0, 1))
    assert not np.array_equal(disturbed(0, 1), disturbed(0, 2))
    assert len(disturbed(0, 1)) % SAMPLES_PER_FRAME == 0
    assert not disturbed(1, 1).any()
