"""The strong model from end to end, made small: a head trained here, an encoder of random weights installed apart."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from core.config import Settings
from core.domain import Emotion
from core.errors import EncoderMissingError
from core.features.log_mel import log_mel
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, Waveform
from core.inference.recogniser import Recogniser
from core.inference.registry import ENCODER, read_card, read_published_encoder
from core.workbench import open_workbench
from tests.sounds import voice
from tests.whisper_files import random_weights, write_pt
from training import whisper_commands
from training.bundle import BundleTexts
from training.cache import Recordings
from training.corpora import ManifestRow
from training.errors import CheckpointError, ChecksumMismatchError, InstallationError
from training.heads import HeadPlan, ScalingHead, train_head
from training.judge import FittedHead
from training.rounding import LARGEST, rounded
from training.whisper_checkpoint import read_weights
from training.whisper_install import (
    MAX_BLOCKS,
    RECIPE,
    install,
    pooled_encoder,
    published_encoder,
    write_encoder,
)
from training.whisper_model import write_head

PLAN = HeadPlan(width=16, n_members=2, n_epochs=1, batch_size=32)
N_DIMS = 2 * 2 * 64


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """Random weights of an encoder 64 wide with two blocks, as a file."""
    path = tmp_path_factory.mktemp("weights") / "encoder.npz"
    np.savez(path, **random_weights())
    return path


@pytest.fixture(scope="module")
def fitted():
    """A head that learnt from noise."""
    generator = np.random.default_rng(0)
    embeddings = generator.normal(0, 1, (64, N_DIMS)).astype(np.float32)
    head = train_head([embeddings], generator.integers(0, 8, 64), ["A"] * 64, plan=PLAN)
    return FittedHead(
        head=head,
        mean=generator.normal(0, 1, N_DIMS).astype(np.float32),
        scale=generator.uniform(0.5, 2, N_DIMS).astype(np.float32),
        axes=None,
        temperature=1.5,
        validation_logits=np.zeros((1, 0, 8), np.float32),
        validation=np.zeros(0, np.int64),
    )


def written(folder, npz, fitted, *, agreement: float):
    """The model `whisper` in `folder`; its encoder agrees with Keras so far."""
    row = ManifestRow(
        path="a.opus",
        corpus="RAVDESS",
        speaker="RAVDESS-01",
        sex="male",
        language="en",
        emotion=Emotion.HAPPY,
        intensity="normal",
        statement="",
        duration_s=1.0,
        sha256_original="ab" * 32,
        licence="CC BY-NC-SA 4.0",
    )
    write_head(
        folder,
        fitted,
        Recordings(rows=(row,), n_frames=np.array([50]), offsets=np.array([0, 50]), samples=np.zeros(16_000, np.int16)),
        plan=PLAN,
        encoder=published_encoder(read_weights(npz)),
        texts=BundleTexts(name="whisper", description="Small.", licence="none", protocol="none", caveats=()),
        labelled=np.array([0]),
        probe=np.random.default_rng(1).normal(0, 1, (50, N_DIMS)).astype(np.float32),
        scores=[],
        table=[
            {"number_format": "float16", "agreement_with_keras": 1.0},
            {"number_format": "int8", "agreement_with_keras": agreement},
        ],
    )
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, npz, fitted):
    """Folder of the model `whisper` as it is committed."""
    return written(tmp_path_factory.mktemp("models") / "whisper", npz, fitted, agreement=0.985)


@pytest.fixture(scope="module")
def installed_dir(tmp_path_factory, model, npz):
    """Folder of installed encoders, with this model's in it."""
    folder = tmp_path_factory.mktemp("data") / "models"
    install(npz, model=model, installed_dir=folder)
    return folder


def test_no_weights_of_the_encoder_stand_beside_the_head(model):
    assert {path.name for path in model.iterdir()} == {"card.json", "head.tflite", "heard.csv"}
    assert not read_card(model).is_installed


def test_card_names_the_number_format_of_the_encoder_and_how_far_it_agrees(model):
    card = json.loads((model / "card.json").read_text())
    assert (card["number_format"], card["agreement_with_keras"]) == ("int8", 0.985)
    assert [row["number_format"] for row in card["number_formats"]] == ["float16", "int8"]


def test_encoder_that_int8_spoils_leaves_no_model(tmp_path, npz, fitted):
    with pytest.raises(ValueError, match=r"int8 agrees with Keras on 97.0% only"):
        written(tmp_path / "whisper", npz, fitted, agreement=0.97)
    assert list(tmp_path.iterdir()) == []


def test_committed_head_is_for_the_encoder_that_this_code_makes():
    published = read_published_encoder(Settings().models_dir / "whisper")
    assert published is not None
    assert published.recipe == RECIPE.format(n_blocks=MAX_BLOCKS)


def test_weights_of_the_encoder_are_those_that_int8_keeps(npz, tmp_path):
    encoder = pooled_encoder(read_weights(npz)).encoder
    kernels = [variable.numpy() for variable in encoder.variables if variable.name == "kernel"]
    assert len(kernels) == 2 + 2 * 6
    for kernel in kernels:
        assert np.array_equal(kernel, rounded(kernel))
        assert len(np.unique(kernel[..., 0])) <= 2 * LARGEST + 1
    write_encoder(read_weights(npz), tmp_path / ENCODER)
    n_weights = sum(variable.numpy().size for variable in encoder.variables)
    assert (tmp_path / ENCODER).stat().st_size < 1.9 * n_weights


def test_head_scales_what_the_encoder_gives(fitted):
    raw = np.random.default_rng(2).normal(0, 1, (3, N_DIMS)).astype(np.float32)
    ones = np.ones_like(raw), np.ones((3, 32), np.float32)
    scaled = np.clip((raw - fitted.mean) / fitted.scale, -8, 8)
    given = ScalingHead(fitted.head, fitted.mean, fitted.scale)(raw, *ones)
    np.testing.assert_allclose(given, fitted.head(scaled, *ones), atol=1e-5)


def test_head_projects_what_it_scaled(fitted):
    generator = np.random.default_rng(3)
    raw = generator.normal(0, 1, (3, 2 * N_DIMS)).astype(np.float32)
    axes = generator.normal(0, 0.1, (2 * N_DIMS, N_DIMS)).astype(np.float32)
    ones = np.ones((3, N_DIMS), np.float32), np.ones((3, 32), np.float32)
    zeros = np.zeros(2 * N_DIMS, np.float32)
    given = ScalingHead(fitted.head, zeros, zeros + 1, axes)(raw, *ones)
    np.testing.assert_allclose(given, fitted.head(raw @ axes, *ones), atol=1e-5)


def test_installed_model_serves_the_embedding_that_keras_gives(model, installed_dir, npz):
    served = Recogniser.open(model, installed_dir=installed_dir)
    clip = Waveform(samples=voice(seconds=1.0), sample_rate=TARGET_SAMPLE_RATE_HZ)
    expected = pooled_encoder(read_weights(npz))(log_mel(clip)[None]).numpy()[0]
    np.testing.assert_allclose(served.embed(clip), expected, atol=0.01 * np.abs(expected).max())


def test_passes_of_the_installed_model_differ_by_dropout_and_repeat_by_seed(model, installed_dir):
    served = Recogniser.open(model, installed_dir=installed_dir)
    embedding = served.embed(Waveform(samples=voice(seconds=1.0), sample_rate=TARGET_SAMPLE_RATE_HZ))[None]
    passes = served.pass_probabilities(embedding, n_passes=5, seed=0)
    assert np.ptp(passes, axis=0).max() > 0
    assert np.array_equal(passes, served.pass_probabilities(embedding, n_passes=5, seed=0))


def test_workbench_serves_the_model_once_it_is_installed(model, installed_dir):
    settings = Settings(data_dir=installed_dir.parent, models_dir=model.parent, model="whisper")
    workbench = open_workbench(settings)
    try:
        assert workbench.recogniser().card.is_installed
    finally:
        workbench.close()


def test_published_checkpoint_installs_like_the_archive(tmp_path, monkeypatch, model, installed_dir, npz):
    path = tmp_path / "tiny.en.pt"
    write_pt(path, random_weights(), monkeypatch)
    written = []

    def write(weights, target):
        written.append(weights)
        target.write_bytes((installed_dir / "whisper" / ENCODER).read_bytes())

    monkeypatch.setattr("training.whisper_install.write_encoder", write)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    install(path, model=model, installed_dir=tmp_path / "models", sha256=sha256)
    expected = read_weights(npz)
    assert all(np.array_equal(written[0][name], expected[name]) for name in expected)
    assert read_card(model, installed_dir=tmp_path / "models").is_installed


def test_checkpoint_with_a_wrong_checksum_installs_nothing(tmp_path, monkeypatch, model):
    write_pt(tmp_path / "tiny.en.pt", random_weights(), monkeypatch)
    with pytest.raises(ChecksumMismatchError):
        install(tmp_path / "tiny.en.pt", model=model, installed_dir=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_weights_that_the_head_did_not_learn_with_are_refused(tmp_path, model):
    np.savez(tmp_path / "other.npz", **random_weights(seed=1))
    with pytest.raises(CheckpointError, match="not those the head learnt with"):
        install(tmp_path / "other.npz", model=model, installed_dir=tmp_path / "models")
    with pytest.raises(EncoderMissingError):
        Recogniser.open(model, installed_dir=tmp_path / "models")


def test_head_of_another_recipe_is_refused(tmp_path, model, npz):
    folder = tmp_path / "whisper"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "card.json").read_text())
    card["encoder"]["recipe"] = "blocks 1 to 9"
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(InstallationError, match="its head wants 'blocks 1 to 9'"):
        install(npz, model=folder, installed_dir=tmp_path / "models")


def test_graph_that_does_not_say_what_keras_says_is_not_kept(tmp_path, npz, monkeypatch):
    monkeypatch.setattr("training.whisper_install.WORST_DIFFERENCE", 0.0)
    with pytest.raises(ValueError, match="is off by"):
        write_encoder(read_weights(npz), tmp_path / ENCODER)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def command(tmp_path, model, monkeypatch):
    """Runs `whisper install` with settings of a machine that has nothing."""
    monkeypatch.setattr(whisper_commands.console, "width", 400)  # wider than any folder of a test

    def run(*arguments: str, whisper_encoder: str = "", answer: str | None = None):
        settings = Settings(data_dir=tmp_path / "data", models_dir=model.parent, whisper_encoder=whisper_encoder)
        monkeypatch.setattr(whisper_commands, "settings_of_this_machine", lambda: settings)
        return CliRunner().invoke(whisper_commands.app, ["install", *arguments], input=answer)

    return run


def test_command_names_the_licence_and_installs_from_a_file(command, npz, model, tmp_path, installed_dir, monkeypatch):
    graph = (installed_dir / "whisper" / ENCODER).read_bytes()
    monkeypatch.setattr("training.whisper_install.write_encoder", lambda weights, path: path.write_bytes(graph))
    result = command("--from", str(npz))
    assert result.exit_code == 0, result.output
    assert "licence: MIT" in result.output
    assert "TELEPATHY_MODEL=whisper" in result.output
    assert read_card(model, installed_dir=tmp_path / "data" / "models").is_installed


def test_command_takes_the_file_of_the_settings(command, npz, monkeypatch):
    monkeypatch.setattr("training.whisper_install.write_encoder", lambda weights, path: path.write_bytes(b"no graph"))
    result = command(whisper_encoder=str(npz))
    assert "Reading the weights in encoder.npz" in result.output
    assert result.exit_code == 1
    assert "encoder.tflite cannot be loaded" in result.output


def test_command_says_in_a_sentence_what_is_wrong_with_a_file(command, tmp_path):
    result = command("--from", str(tmp_path / "nowhere.npz"))
    assert result.exit_code == 1
    assert "there is no such file" in result.output


def test_command_downloads_nothing_before_it_is_told_to(command, tmp_path):
    result = command(answer="n\n")
    assert result.exit_code == 1
    assert "Nothing was fetched" in result.output
    assert not (tmp_path / "data" / "downloads").exists()
