"""Which models there are: one folder each, with `encoder.tflite`, `head.tflite` and `card.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.domain import Emotion, ModelCard
from core.errors import DamagedModelError, ModelError, ModelNotFoundError

ENCODER, HEAD, CARD = "encoder.tflite", "head.tflite", "card.json"
VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingParameters:
    """What the recogniser has to know of a model beyond its weights: `serving` in its card."""

    sample_rate_hz: int
    n_mels: int
    temperature: float
    """Logits are divided by it before the softmax; found on validation data."""
    n_dims: int
    mask_widths: tuple[int, ...]
    dropout_rates: tuple[float, ...]
    max_context_s: float
    """Longest stretch the encoder takes whole."""


def read_models(models_dir: Path) -> tuple[list[ModelCard], list[ModelError]]:
    """The cards of all models in `models_dir`, by name, and what is wrong with the others."""
    cards: list[ModelCard] = []
    problems: list[ModelError] = []
    for card_file in sorted(models_dir.glob(f"*/{CARD}")):
        try:
            cards.append(read_card(card_file.parent))
        except ModelError as problem:
            problems.append(problem)
    return cards, problems


def list_models(models_dir: Path) -> list[ModelCard]:
    """The cards of all models in `models_dir` that can be used, by name."""
    return read_models(models_dir)[0]


def find_model(models_dir: Path, name: str) -> Path:
    """The folder of the model called `name`.

    Raises
    ------
    ModelNotFoundError
        There is no such folder with a card; names with path separators are never followed.
    """
    folders = {card_file.parent.name: card_file.parent for card_file in sorted(models_dir.glob(f"*/{CARD}"))}
    if name not in folders:
        raise ModelNotFoundError(name, tuple(folders))
    return folders[name]


def read_card(folder: Path) -> ModelCard:
    """The card in `folder`.

    Raises
    ------
    DamagedModelError
        The card is missing, is no valid card, or weights are missing beside it.
    """
    return _read(folder)[0]


def read_serving_parameters(folder: Path) -> ServingParameters:
    """What the card in `folder` says under `serving`.

    Raises
    ------
    DamagedModelError
        As `read_card`.
    """
    return _read(folder)[1]


def weights_digest(folder: Path) -> str:
    """SHA-256 of encoder and head, one after the other, in hexadecimal digits; versions carry its beginning."""
    digest = hashlib.sha256()
    for name in (ENCODER, HEAD):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _read(folder: Path) -> tuple[ModelCard, ServingParameters]:
    try:
        fields = json.loads((folder / CARD).read_text(encoding="utf-8"))
        size_bytes = sum((folder / name).stat().st_size for name in (ENCODER, HEAD))
        return _card(fields, size_bytes), _serving_parameters(fields["serving"])
    except FileNotFoundError as error:
        raise DamagedModelError(folder.name, f"{Path(error.filename).name} is missing") from error
    except OSError as error:
        raise DamagedModelError(folder.name, f"it cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise DamagedModelError(folder.name, f"{CARD} lacks the field {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise DamagedModelError(folder.name, f"{CARD} is not valid ({error})") from error


def _card(fields: Mapping[str, object], size_bytes: int) -> ModelCard:
    emotions = fields["emotions"]
    if not isinstance(emotions, list) or len(set(emotions)) != len(emotions) or len(emotions) < 2:
        raise ValueError("emotions must be a list of at least two different ones")
    return ModelCard(
        name=str(fields["name"]),
        version=str(fields["version"]),
        description=str(fields["description"]),
        emotions=tuple(Emotion(emotion) for emotion in emotions),
        licence=str(fields["licence"]),
        is_commercial_use_allowed=fields["is_commercial_use_allowed"] is True,
        created_at=datetime.fromisoformat(str(fields["created_at"])),
        size_bytes=size_bytes,
    )


def _serving_parameters(fields: Mapping[str, object]) -> ServingParameters:
    widths, rates = fields["mask_widths"], fields["dropout_rates"]
    if not isinstance(widths, list) or not isinstance(rates, list) or len(widths) != len(rates):
        raise ValueError("mask_widths and dropout_rates must be lists of one length")
    parameters = ServingParameters(
        sample_rate_hz=int(str(fields["sample_rate_hz"])),
        n_mels=int(str(fields["n_mels"])),
        temperature=float(str(fields["temperature"])),
        n_dims=int(str(fields["n_dims"])),
        mask_widths=tuple(int(width) for width in widths),
        dropout_rates=tuple(float(rate) for rate in rates),
        max_context_s=float(str(fields["max_context_s"])),
    )
    if not (parameters.temperature > 0 and parameters.max_context_s > 0):
        raise ValueError("temperature and max_context_s must be above 0")
    if not all(0 <= rate < 1 for rate in parameters.dropout_rates):
        raise ValueError("dropout_rates must lie in [0, 1)")
    return parameters
