"""What an encoder hears, and whose voices set the temperature, follow from the plans."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from core.domain import Emotion
from training import train
from training.cache import Recordings
from training.corpora import ManifestRow
from training.distil import Phase
from training.splits import shared_speaker_split, speaker_independent_splits
from training.train import (
    ENCODERS,
    MODELS,
    EncoderPlan,
    Material,
    Places,
    describe_run,
    encoder_folder,
    temperature_encoder,
    train_encoder,
)


@pytest.fixture(scope="module")
def material() -> Material:
    rows = tuple(
        ManifestRow(
            path=f"{corpus}/{speaker}-{emotion}",
            corpus=corpus,
            speaker=f"{corpus}-{speaker}",
            sex="female",
            language="en",
            emotion=emotion,
            intensity="",
            statement="",
            duration_s=1.0,
            sha256_original=f"{corpus}{speaker}{emotion}",
            licence="",
        )
        for corpus in ("RAVDESS", "nEMO")
        for speaker in range(20)
        for emotion in (Emotion.SAD, Emotion.HAPPY)
    )
    n_frames = np.full(len(rows), 2)
    recordings = Recordings(
        rows=rows,
        n_frames=n_frames,
        offsets=np.concatenate([[0], np.cumsum(n_frames)]),
        samples=np.zeros(0, np.int16),
    )
    return Material(
        recordings=recordings,
        folds=speaker_independent_splits(rows),
        shared=shared_speaker_split(rows),
    )


def _speakers(material: Material, paths: tuple[str, ...]) -> set[str]:
    return {row.speaker for row in material.rows if row.path in paths}


def test_an_encoder_of_some_folds_hears_no_speaker_of_the_others(material: Material) -> None:
    heard = {material.rows[index].speaker for index in material.heard_by(EncoderPlan(name="x", folds=(3, 4, 5)))}
    assert heard
    for split in material.folds[:2]:
        assert heard.isdisjoint(_speakers(material, split.test))


def test_validation_speakers_stay_strangers_when_a_plan_says_so(material: Material) -> None:
    plan = EncoderPlan(name="x", folds=(3, 4, 5), leaves_out_validation=True, share_of_nemo=1.0)
    heard = {material.rows[index].speaker for index in material.heard_by(plan)}
    heard_before = {
        material.rows[index].speaker for index in material.heard_by(replace(plan, leaves_out_validation=False))
    }
    validation = {name for split in material.folds[:2] for name in _speakers(material, split.validation)}
    assert heard_before & validation
    assert heard == heard_before - validation


def test_the_temperature_comes_from_voices_that_an_encoder_never_heard_where_there_are_any() -> None:
    telepathy, commercial = MODELS[:2]
    strangers = [replace(plan, leaves_out_validation=True) for plan in ENCODERS]
    assert temperature_encoder(telepathy, strangers) == telepathy.clean_encoder
    assert temperature_encoder(commercial, strangers) == commercial.encoder
    heard_all = [replace(plan, leaves_out_validation=False) for plan in ENCODERS]
    assert temperature_encoder(telepathy, heard_all) == telepathy.encoder


def _and_what_it_began_as(plan: EncoderPlan) -> list[EncoderPlan]:
    """A plan, the one it begins as, and so on."""
    found = [plan]
    while found[-1].begins_as:
        found.append(next(one for one in ENCODERS if one.name == found[-1].begins_as))
    return found


@pytest.mark.parametrize("name", ["telepathy", "telepathy-commercial"])
def test_what_an_encoder_began_as_heard_nothing_that_it_may_not(material: Material, name: str) -> None:
    model = next(one for one in MODELS if one.name == name)
    for encoder in filter(None, (model.clean_encoder, model.encoder)):
        plan, *earlier = _and_what_it_began_as(next(one for one in ENCODERS if one.name == encoder))
        allowed = set(material.heard_by(plan))
        for before in earlier:
            assert set(material.heard_by(before)) <= allowed
            assert not plan.corpora or set(before.corpora) <= set(plan.corpora)
            assert before.n_blocks <= plan.n_blocks


def test_an_encoder_made_otherwise_is_kept_elsewhere(material: Material, tmp_path, monkeypatch) -> None:
    places = Places(manifest=tmp_path, audio=tmp_path, teacher=tmp_path, run=tmp_path)
    first, second = ENCODERS[:2]
    assert second.begins_as == first.name
    folders = [encoder_folder(plan, places, material) for plan in (first, second)]
    assert [folder.name.rsplit("-", 1)[0] for folder in folders] == [first.name, second.name]
    assert encoder_folder(replace(first, seed=first.seed + 1), places, material) != folders[0]
    # What it began as is part of how it was made.
    monkeypatch.setattr(train, "ENCODERS", (replace(first, seed=first.seed + 1), second))
    assert encoder_folder(second, places, material) != folders[1]


def test_an_encoder_begins_as_another_and_is_not_trained_twice(material: Material, tmp_path, monkeypatch) -> None:
    places = Places(manifest=tmp_path, audio=tmp_path, teacher=tmp_path, run=tmp_path)
    first = EncoderPlan(name="first", n_blocks=1, together=Phase(n_epochs=1, learning_rate=1e-3))
    second = replace(first, name="second", begins_as="first")
    monkeypatch.setattr(train, "ENCODERS", (first, second))
    trained = []

    def distil(student, *_, phase, folder) -> None:
        trained.append((folder.name.split("-")[0], student.stem.conv1.bias.numpy()[0]))
        student.stem.conv1.bias.assign_add(np.ones(384, np.float32))

    monkeypatch.setattr(train, "distil_together", distil)
    made = train_encoder(second, places, material, None)
    assert trained == [("first", 0.0), ("second", 1.0)]
    again = train_encoder(second, places, material, None)
    assert len(trained) == 2
    assert all(map(np.array_equal, made.get_weights(), again.get_weights()))


def test_every_run_is_described_with_commit_plans_and_splits(material: Material, tmp_path) -> None:
    teacher = tmp_path / "teacher.npz"
    teacher.write_bytes(b"weights")
    places = Places(manifest=tmp_path, audio=tmp_path, teacher=teacher, run=tmp_path / "run")
    places.run.mkdir()
    for _ in range(2):
        describe_run(places, material)
    first, second = map(json.loads, (places.run / "runs.jsonl").read_text().splitlines())
    assert first["teacher_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert [plan["name"] for plan in second["encoders"]] == [plan.name for plan in ENCODERS]
    assert len(list((places.run / "splits").glob("*.json"))) == 6
