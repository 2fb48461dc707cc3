"""Comparisons of networks and augmentations: resumable, seeded, with tables that say what was measured."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from core.domain import Emotion
from core.features.prosody import MEASURES
from training import compare
from training.augment import AUGMENTATIONS
from training.cache import Recordings
from training.compare import (
    Budget,
    LogMels,
    Material,
    Places,
    Result,
    Trial,
    ablation_trials,
    augmentations_table,
    draw_pool,
    networks_table,
    prepare_material,
    run_linear_trial,
    run_trial,
    score_answers,
    training_batches,
)
from training.corpora import ManifestRow
from training.networks import LiteRtBundle
from training.splits import Split

BUDGET = Budget(n_training=16, n_epochs=2, batch_size=8, crop_frames=40, seed=0)
N_RECORDINGS = 28


@pytest.fixture(scope="module")
def recordings() -> Recordings:
    """Half-second voices: low and falling is sad, high and rising is happy; one in another language."""
    rng = np.random.default_rng(0)
    rows, parts = [], []
    for number in range(N_RECORDINGS):
        happy = number % 2
        time_s = np.arange(8_000 + 320 * (number % 5)) / 16_000
        pitch_hz = (220 if happy else 110) * (1 + (0.2 if happy else -0.2) * time_s) * rng.uniform(0.95, 1.05)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / 16_000
        samples = sum(np.cos(k * phase) / k for k in range(1, 20)) * 0.1 + rng.normal(size=len(time_s)) * 0.01
        parts.append(np.round(samples * 32_767).clip(-32_768, 32_767).astype(np.int16))
        rows.append(
            ManifestRow(
                path=f"{number}.wav",
                corpus="SYNTHETIC",
                speaker=f"S-{number // 4}",
                sex="",
                language="pl" if number == 0 else "en",
                emotion=Emotion.HAPPY if happy else Emotion.SAD,
                intensity="",
                statement="",
                duration_s=0.5,
                sha256_original=str(number),
                licence="",
            )
        )
    n_frames = np.array([len(part) // 320 for part in parts])
    return Recordings(
        rows=tuple(rows),
        n_frames=n_frames,
        offsets=np.concatenate([[0], np.cumsum(n_frames)]),
        samples=np.concatenate(parts),
    )


def _split() -> Split:
    paths = [f"{number}.wav" for number in range(N_RECORDINGS)]
    return Split(
        name="made_up",
        protocol="a made-up split",
        seed=0,
        manifest_sha256="",
        training=tuple(paths[:18]),
        validation=tuple(paths[18:22]),
        test=tuple(paths[22:]),
    )


@pytest.fixture(scope="module")
def material(recordings: Recordings, tmp_path_factory: pytest.TempPathFactory) -> Material:
    return prepare_material(
        recordings,
        _split(),
        pool=draw_pool(recordings, _split(), BUDGET),
        budget=BUDGET,
        augmentations=("gain", "telephone", "spec_augment"),
        views_folder=tmp_path_factory.mktemp("views"),
        uses_prosody=True,
        is_disturbed=True,
    )


def _trial(**changes: object) -> Trial:
    trial = Trial(
        name="trial",
        network="convolutional",
        split="made_up",
        strengths={"gain": 1.0, "telephone": 1.0, "spec_augment": 1.0, "mixup": 1.0},
        uses_prosody=False,
        budget=BUDGET,
    )
    return dataclasses.replace(trial, **changes)


def test_parts_are_those_of_the_split_and_english_only(material: Material) -> None:
    assert len(material.training) == 16
    assert 0 not in material.training, "the Polish one"
    assert set(material.training) <= set(range(18))
    assert_array_equal(material.validation, range(18, 22))
    assert_array_equal(material.test, range(22, 28))


def test_acoustic_features_are_standardised_on_the_training_part(material: Material) -> None:
    values = np.stack([material.prosody[int(index)] for index in material.training])
    assert np.isfinite(values).all()
    assert np.abs(values.mean(axis=0)).max() < 0.5, "clipping and missing values move a mean a little"
    assert np.abs(np.stack([material.prosody[int(index)] for index in material.test])).max() <= 4


def test_views_hold_the_same_recordings_changed(material: Material) -> None:
    for index in material.training:
        clean = material.training_views["clean"][int(index)]
        for name in ("gain", "telephone"):
            assert material.training_views[name][int(index)].shape == clean.shape
            assert not np.array_equal(material.training_views[name][int(index)], clean)
    assert isinstance(material.disturbed_view, LogMels)


def test_epoch_hears_every_recording_once_and_is_drawn_from_its_number(material: Material) -> None:
    first, again, second = (list(training_batches(_trial(), material, epoch)) for epoch in (0, 0, 1))
    assert len(first) == 2
    for one, two in zip(first, again, strict=True):
        assert_array_equal(one.log_mels, two.log_mels)
        assert_array_equal(one.targets, two.targets)
    assert not np.array_equal(first[0].log_mels, second[0].log_mels)


def test_trial_without_augmentations_hears_recordings_as_they_are(material: Material) -> None:
    clean = material.training_views["clean"]
    heard = np.concatenate([batch.log_mels for batch in training_batches(_trial(strengths={}), material, 0)])
    wholes = [clean[int(index)] for index in material.training]
    for log_mel in heard:
        assert any(
            np.array_equal(log_mel, whole[start : start + BUDGET.crop_frames])
            for whole in wholes
            for start in range(len(whole) - BUDGET.crop_frames + 1)
        )


@pytest.mark.timeout(900)  # three graphs are traced and one network is exported: minutes on a busy machine
def test_killed_trial_goes_on_to_the_same_answers(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = _trial(uses_prosody=True)
    (tmp_path / "whole").mkdir()
    network = compare._train(trial, material, tmp_path / "whole")
    whole = compare._probabilities(network, material, material.test, material.evaluation_view)
    heard = compare.training_batches

    def until_second_epoch(trial: Trial, material: Material, epoch: int):
        if epoch == 1:
            raise KeyboardInterrupt
        return heard(trial, material, epoch)

    monkeypatch.setattr(compare, "training_batches", until_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, material, tmp_path / "killed")
    monkeypatch.undo()
    resumed = run_trial(trial, material, tmp_path / "killed")
    assert_array_equal(resumed.test_probabilities, whole)
    assert [json.loads(line)["epoch"] for line in (tmp_path / "killed" / "epochs.jsonl").read_text().splitlines()] == [
        1,
        2,
    ]
    assert resumed.protocol == "a made-up split"
    assert resumed.litert_agreement == 1.0
    assert 0 < resumed.size_bytes < 10_000_000

    monkeypatch.setattr(compare, "training_batches", until_second_epoch)
    with monkeypatch.context() as ended:
        ended.setattr(compare, "build_network", None)
        again = run_trial(trial, material, tmp_path / "killed")
    assert_array_equal(again.test_probabilities, whole)
    with pytest.raises(KeyboardInterrupt):
        run_trial(_trial(strengths={}), material, tmp_path / "killed")


def test_networks_are_compared_with_their_ensemble(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks are faked by answers: one is always right, one never, one by half."""

    def run_fake_trial(trial: Trial, material: Material, folder: Path) -> Result:
        rightness = {"bilstm": 0.05, "convolutional": 0.9, "transformer": 0.5}[trial.network]

        def answers(indices: np.ndarray) -> np.ndarray:
            right = np.eye(8)[material.labels[indices]]
            return rightness * right + (1 - rightness) * (1 - right) / 7

        return dataclasses.replace(
            _result(trial, answers(material.test)), validation_probabilities=answers(material.validation)
        )

    bundle = LiteRtBundle(encoder=b"x" * 3_000_000, head=b"", n_dims=1, mask_widths=(), dropout_rates=())
    monkeypatch.setattr(compare, "run_trial", run_fake_trial)
    monkeypatch.setattr(compare, "_train", lambda *_: None)
    monkeypatch.setattr(compare, "export_ensemble", lambda *_: bundle)
    monkeypatch.setattr(compare, "measure_latency_ms", lambda _: 12.3)
    opened: list[tuple[str, bool]] = []

    def open_material(places: Places, *, split_name: str, uses_prosody: bool = False, **_: object) -> Material:
        opened.append((split_name, uses_prosody))
        split = dataclasses.replace(material.split, protocol=f"protocol {split_name}")
        return dataclasses.replace(material, split=split)

    places = Places(manifest=tmp_path, audio=tmp_path, cache=tmp_path, run=tmp_path)
    rows = {row.name: row for row in compare.compare_networks(places, budget=BUDGET, open_material=open_material)}
    assert list(rows) == [
        "bilstm",
        "convolutional",
        "transformer",
        "weighted ensemble",
        "convolutional + acoustic features",
    ]
    assert opened == [("shared", False), ("fold_1", False), ("fold_1", True)]
    ensemble = rows["weighted ensemble"]
    assert (ensemble.n_parameters, ensemble.size_bytes) == (3 * 1_234_567, 3_000_000)
    weights = json.loads((tmp_path / "networks-shared-ensemble.json").read_text())["weights"]
    assert weights == {"bilstm": 0.0, "convolutional": 1.0, "transformer": 0.0}
    assert set(ensemble.scores) == {"protocol shared", "protocol fold_1"}
    assert set(rows["convolutional + acoustic features"].scores) == {"protocol fold_1"}
    assert rows["bilstm"].scores["protocol shared"].accuracy == 0
    assert ensemble.scores["protocol shared"].accuracy == 1
    table = (tmp_path / "networks.md").read_text()
    assert table.count("\n") == 7
    assert "accuracy, %: protocol fold_1" in table


def test_acoustic_features_come_with_the_batches_of_networks_that_take_them(material: Material) -> None:
    batch = next(training_batches(_trial(uses_prosody=True, strengths={}), material, 0))
    assert batch.prosody is not None
    assert batch.prosody.shape == (BUDGET.batch_size, len(MEASURES))
    assert next(training_batches(_trial(), material, 0)).prosody is None


def test_linear_classifier_hears_pitch_apart_and_takes_blended_labels(material: Material) -> None:
    trial = _trial(network="linear", strengths={"mixup": 1.0, "gain": 1.0})
    first, again = (run_linear_trial(trial, material) for _ in range(2))
    assert_array_equal(first.test_probabilities, again.test_probabilities)
    assert first.test_probabilities.shape == first.disturbed_probabilities.shape == (6, 8)
    np.testing.assert_allclose(first.test_probabilities.sum(axis=1), 1)
    assert (first.test_probabilities.argmax(axis=1) == material.labels[material.test]).all()
    named = {list(Emotion).index(Emotion.HAPPY), list(Emotion).index(Emotion.SAD)}
    assert set(np.flatnonzero(first.test_probabilities.any(axis=0))) == named


def test_linear_ablation_writes_a_line_per_trial(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_trial = ablation_trials(BUDGET, network="linear", split="fold_1")
    few = {title: every_trial[title] for title in ("none", "none + gain", "all", "all - gain")}
    monkeypatch.setattr(compare, "ablation_trials", lambda *_, **__: few)
    places = Places(manifest=tmp_path, audio=tmp_path, cache=tmp_path, run=tmp_path)
    clean = material.training_views["clean"]
    full = dataclasses.replace(material, training_views=dict.fromkeys(("clean", *AUGMENTATIONS), clean))
    table = compare.compare_augmentations(places, budget=BUDGET, network="linear", open_material=lambda *_, **__: full)
    assert (tmp_path / "augmentations-linear-seed-0.md").read_text() == table
    assert table.count("\n") == 2 + len(few)


# -- tables


def _result(trial: Trial, probabilities: np.ndarray) -> Result:
    return Result(
        trial=trial,
        protocol="made up" if trial.split == "made_up" else f"protocol {trial.split}",
        n_training=1,
        n_test=len(probabilities),
        n_parameters=1_234_567,
        size_bytes=2_500_000,
        latency_ms=3.21,
        litert_agreement=1.0,
        training_s=1.0,
        test_probabilities=probabilities,
        disturbed_probabilities=probabilities,
        validation_probabilities=probabilities,
    )


def test_score_has_the_interval_around_it() -> None:
    labels = np.array([0, 1] * 50)
    probabilities = np.eye(2)[np.where(np.arange(100) < 80, labels, 1 - labels)]
    score = score_answers(labels, probabilities)
    assert score.accuracy == score.uar == pytest.approx(0.8)
    assert score.accuracy_low < 0.8 < score.accuracy_high
    row = compare.NetworkRow(
        name="x", n_parameters=1_234_567, size_bytes=2_500_000, latency_ms=3.21, scores={"p": score}
    )
    line = networks_table([row]).splitlines()[2]
    assert line.startswith("| x | 1,234,567 | 2.50 | 3.2 | 80.0 (")


def test_ablation_compares_each_with_its_own_reference() -> None:
    labels = np.array([0, 1] * 50)
    right, chance = np.eye(2)[labels], np.eye(2)[np.zeros(100, int)]
    table = augmentations_table(
        {
            "none": _result(_trial(), chance),
            "none + gain": _result(_trial(), right),
            "all": _result(_trial(), right),
            "all - gain": _result(_trial(), chance),
        },
        labels,
    )
    lines = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [line[1] for line in lines] == ["50.0", "100.0", "100.0", "50.0"]
    assert lines[1][2].startswith("+50.0 (")
    assert lines[3][2].startswith("-50.0 (")
    assert lines[0][2] == lines[2][2] == ""


def test_ablation_has_none_all_and_each_both_ways() -> None:
    trials = ablation_trials(BUDGET, network="convolutional", split="fold_1")
    assert len(trials) == 2 + 2 * len(AUGMENTATIONS)
    assert trials["none"].strengths == {}
    assert set(trials["none + room"].strengths) == {"room"}
    assert set(AUGMENTATIONS) - set(trials["all - room"].strengths) == {"room"}
    assert len({trial.name for trial in trials.values()}) == len(trials)
    assert len({trial.fingerprint for trial in trials.values()}) == len(trials)
