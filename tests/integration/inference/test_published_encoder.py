"""A model whose encoder others publish: listed before it is installed, refused with what to run, served afterwards."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.config import Settings
from core.errors import DamagedModelError, EncoderMissingError
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, Waveform
from core.inference.recogniser import Recogniser
from core.inference.registry import (
    ENCODER,
    INSTALLED,
    find_encoder,
    list_models,
    read_card,
    read_published_encoder,
    weights_digest,
    write_installed,
)
from core.workbench import open_workbench
from tests.bundles import PUBLISHED_ENCODER, TINY, copy_of_tiny
from tests.sounds import voice


@pytest.fixture
def models_dir(tmp_path):
    """Holds the model `whisper`: the tiny one's head and card, without its encoder."""
    folder = copy_of_tiny(tmp_path / "models", "whisper", lambda card: card.update(encoder=PUBLISHED_ENCODER))
    (folder / ENCODER).unlink()
    digest = weights_digest(folder, published=read_published_encoder(folder))
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"version": f"whisper-{digest[:12]}"}))
    return tmp_path / "models"


@pytest.fixture
def installed_dir(tmp_path, models_dir):
    """Holds the encoder of that model."""
    folder = tmp_path / "data" / "models" / "whisper"
    folder.mkdir(parents=True)
    (folder / ENCODER).write_bytes((TINY / ENCODER).read_bytes())
    write_installed(folder, read_published_encoder(models_dir / "whisper"))
    return folder.parent


def test_model_without_its_encoder_is_listed_with_its_terms_as_not_installed(models_dir, tmp_path):
    (card,) = list_models(models_dir, installed_dir=tmp_path / "nothing")
    assert (card.name, card.is_installed) == ("whisper", False)
    assert card.licence == read_card(TINY).licence
    assert card.size_bytes == (models_dir / "whisper" / "head.tflite").stat().st_size


def test_installed_model_is_listed_as_such_with_the_size_of_both_parts(models_dir, installed_dir):
    (card,) = list_models(models_dir, installed_dir=installed_dir)
    assert card.is_installed
    assert card.size_bytes == read_card(TINY).size_bytes


def test_model_with_an_encoder_of_its_own_is_always_installed():
    assert read_card(TINY).is_installed
    assert read_published_encoder(TINY) is None


def test_missing_encoder_is_refused_with_the_command_that_installs_it(models_dir, tmp_path):
    for installed_dir in (None, tmp_path / "nothing"):
        with pytest.raises(EncoderMissingError, match="Run `python -m training whisper install` once"):
            Recogniser.open(models_dir / "whisper", installed_dir=installed_dir)


def test_installed_model_gives_the_numbers_of_one_with_its_own_encoder(models_dir, installed_dir):
    clip = Waveform(samples=voice(seconds=1.5), sample_rate=TARGET_SAMPLE_RATE_HZ)
    served = Recogniser.open(models_dir / "whisper", installed_dir=installed_dir)
    assert (served.embed(clip) == Recogniser.open(TINY).embed(clip)).all()


@pytest.mark.parametrize("field", ["weights_sha256", "recipe"])
def test_encoder_of_other_weights_or_recipe_counts_as_missing(models_dir, installed_dir, field):
    published = read_published_encoder(models_dir / "whisper")
    write_installed(installed_dir / "whisper", replace(published, **{field: "22" * 32}))
    with pytest.raises(EncoderMissingError, match="which is not installed"):
        find_encoder(models_dir / "whisper", installed_dir=installed_dir)
    assert not read_card(models_dir / "whisper", installed_dir=installed_dir).is_installed


def test_encoder_that_was_changed_afterwards_is_refused(models_dir, installed_dir):
    with (installed_dir / "whisper" / ENCODER).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(EncoderMissingError, match="was changed after it was installed"):
        Recogniser.open(models_dir / "whisper", installed_dir=installed_dir)


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", "null"])
def test_installation_without_a_readable_note_counts_as_missing(models_dir, installed_dir, note):
    (installed_dir / "whisper" / INSTALLED).write_text(note)
    with pytest.raises(EncoderMissingError):
        find_encoder(models_dir / "whisper", installed_dir=installed_dir)


def test_version_follows_the_weights_of_the_encoder_and_the_head(models_dir, installed_dir):
    folder = models_dir / "whisper"
    published = read_published_encoder(folder)
    digests = {
        weights_digest(folder, published=published),
        weights_digest(folder, published=replace(published, weights_sha256="22" * 32)),
        weights_digest(folder, published=replace(published, recipe="another")),
    }
    assert len(digests) == 3
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"encoder": PUBLISHED_ENCODER | {"recipe": "another"}}))
    write_installed(installed_dir / "whisper", read_published_encoder(folder))
    with pytest.raises(DamagedModelError, match="are not those of version"):
        Recogniser.open(folder, installed_dir=installed_dir)


def test_card_that_says_too_little_of_its_encoder_is_damaged(models_dir):
    card = json.loads((models_dir / "whisper" / "card.json").read_text())
    del card["encoder"]["weights_sha256"]
    (models_dir / "whisper" / "card.json").write_text(json.dumps(card))
    with pytest.raises(DamagedModelError, match="lacks the field 'weights_sha256'"):
        read_card(models_dir / "whisper")


def test_workbench_opens_without_the_encoder_says_what_to_run_and_finds_it_once_it_is_there(
    models_dir, tmp_path, request
):
    workbench = open_workbench(Settings(data_dir=tmp_path / "data", models_dir=models_dir, model="whisper"))
    try:
        (check,) = (check for check in workbench.readiness() if check.name == "model")
        assert not check.ok
        assert check.sentence == (
            "Model 'whisper' needs the encoder Whisper tiny.en (OpenAI), which is not installed. "
            "Run `python -m training whisper install` once, then ask again."
        )
        request.getfixturevalue("installed_dir")
        assert workbench.recogniser().card.is_installed
    finally:
        workbench.close()
