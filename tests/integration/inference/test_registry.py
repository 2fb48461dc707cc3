"""Finding models and reading their cards, whole and spoilt."""

from datetime import UTC, datetime

import pytest

from core.domain import Emotion
from core.errors import DamagedModelError, ModelNotFoundError
from core.inference.registry import (
    find_model,
    list_models,
    read_card,
    read_models,
    read_serving_parameters,
    weights_digest,
)
from tests.bundles import TINY, copy_of_tiny


def test_card_says_what_the_model_is():
    card = read_card(TINY)
    assert card.name == "tiny"
    assert card.version == f"tiny-{weights_digest(TINY)[:12]}"
    assert card.emotions == tuple(Emotion)
    assert card.is_commercial_use_allowed
    assert card.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert card.size_bytes == sum((TINY / name).stat().st_size for name in ("encoder.tflite", "head.tflite"))


def test_serving_parameters_stand_in_the_card():
    parameters = read_serving_parameters(TINY)
    assert (parameters.sample_rate_hz, parameters.n_mels, parameters.n_dims) == (16_000, 80, 24)
    assert (parameters.mask_widths, parameters.dropout_rates) == ((24, 16), (0.2, 0.3))
    assert (parameters.temperature, parameters.max_context_s) == (1.5, 12.0)


def test_models_are_listed_by_name_and_one_bad_card_loses_no_other(tmp_path):
    copy_of_tiny(tmp_path, "zeta")
    copy_of_tiny(tmp_path, "alpha")
    copy_of_tiny(tmp_path, "broken")
    (tmp_path / "broken" / "card.json").write_text("{")
    (tmp_path / "no model").mkdir()
    cards, problems = read_models(tmp_path)
    assert [card.name for card in cards] == ["alpha", "zeta"]
    assert [type(problem) for problem in problems] == [DamagedModelError]
    assert "'broken'" in str(problems[0])
    assert list_models(tmp_path) == cards


def test_folder_without_models_has_none(tmp_path):
    assert list_models(tmp_path / "missing") == []


def test_unknown_model_is_refused_with_the_names_there_are(tmp_path):
    copy_of_tiny(tmp_path, "alpha")
    with pytest.raises(ModelNotFoundError, match=r"no model named 'beta'. Available: alpha."):
        find_model(tmp_path, "beta")
    with pytest.raises(ModelNotFoundError, match="`make model`"):
        find_model(tmp_path / "missing", "beta")


@pytest.mark.parametrize("name", ["../alpha", "alpha/", "./alpha", "", ".", "alpha/../alpha"])
def test_name_of_a_model_is_never_followed_as_a_path(tmp_path, name):
    copy_of_tiny(tmp_path, "alpha")
    with pytest.raises(ModelNotFoundError):
        find_model(tmp_path, name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda card: card.pop("version"), "lacks the field 'version'"),
        (lambda card: card.pop("serving"), "lacks the field 'serving'"),
        (lambda card: card["serving"].pop("temperature"), "lacks the field 'temperature'"),
        (lambda card: card.update(emotions=["sad", "jolly "]), "'jolly '"),
        (lambda card: card.update(emotions=["sad", "sad"]), "two different"),
        (lambda card: card.update(emotions="sad"), "a list"),
        (lambda card: card.update(created_at="soon"), "isoformat"),
        (lambda card: card["serving"].update(temperature=0), "above 0"),
        (lambda card: card["serving"].update(dropout_rates=[0.2]), "one length"),
        (lambda card: card["serving"].update(dropout_rates=[0.2, 1.0]), r"\[0, 1\)"),
        (lambda card: card["serving"].update(n_dims="many"), "many"),
    ],
)
def test_card_that_is_not_whole_says_what_is_wrong_with_it(tmp_path, change, said):
    with pytest.raises(DamagedModelError, match=said):
        read_card(copy_of_tiny(tmp_path, change=change))


@pytest.mark.parametrize("missing", ["card.json", "encoder.tflite", "head.tflite"])
def test_missing_file_is_named(tmp_path, missing):
    folder = copy_of_tiny(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(DamagedModelError, match=f"{missing} is missing"):
        read_card(folder)
