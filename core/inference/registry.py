"""Which models there are: one folder each, with `encoder.tflite`, `head.tflite` and `card.json`.

A model may lack the encoder where its card says under `encoder` whose it is: weights that others publish are no part of
Telepathy. Such an encoder is installed on demand into another folder, as `MODEL/encoder.tflite` beside
`MODEL/installed.json`, which says of which weights and by which recipe it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.domain import ModelCard, label_of
from core.errors import DamagedModelError, EncoderMissingError, ModelError, ModelNotFoundError

ENCODER, HEAD, CARD = "encoder.tflite", "head.tflite", "card.json"
INSTALLED = "installed.json"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedEncoder:
    """An encoder that a model uses and others publish: `encoder` in its card."""

    name: str
    licence: str
    url: str
    """Of the file that holds its weights."""
    sha256: str
    """Of that file."""
    weights_sha256: str
    """Of the weights that the head was trained on, however they are filed."""
    recipe: str
    """How `encoder.tflite` is made of the weights; another recipe gives other embeddings."""


def read_models(models_dir: Path, *, installed_dir: Path | None = None) -> tuple[list[ModelCard], list[ModelError]]:
    """The cards of the models in `models_dir` and of those made in `installed_dir`; what is wrong with the others."""
    cards: list[ModelCard] = []
    problems: list[ModelError] = []
    for _, folder in sorted(model_folders(models_dir, installed_dir).items()):
        try:
            cards.append(read_card(folder, installed_dir=installed_dir))
        except ModelError as problem:
            problems.append(problem)
    return cards, problems


def list_models(models_dir: Path, *, installed_dir: Path | None = None) -> list[ModelCard]:
    """The cards of all models that are whole, by name; some may want an encoder installed first."""
    return read_models(models_dir, installed_dir=installed_dir)[0]


def model_folders(models_dir: Path, installed_dir: Path | None) -> dict[str, Path]:
    """The folder of each model by its name; what ships goes before what was made here under the same name."""
    made = installed_dir.glob(f"*/{CARD}") if installed_dir is not None else ()
    return {card_file.parent.name: card_file.parent for card_file in (*made, *models_dir.glob(f"*/{CARD}"))}


def find_model(models_dir: Path, name: str, *, installed_dir: Path | None = None) -> Path:
    """The folder of the model called `name`, or of the one whose version that is.

    Raises
    ------
    ModelNotFoundError
        There is no such folder with a card; names with path separators are never followed.
    """
    folders = model_folders(models_dir, installed_dir)
    if name in folders:
        return folders[name]
    start, _, digits = name.rpartition("-")
    is_version = len(digits) == VERSION_DIGITS and start in folders
    if is_version and read_card(folders[start], installed_dir=installed_dir).version == name:
        return folders[start]
    raise ModelNotFoundError(name, tuple(sorted(folders)))


def read_card(folder: Path, *, installed_dir: Path | None = None) -> ModelCard:
    """The card in `folder`.

    Parameters
    ----------
    installed_dir
        Where encoders that others publish are installed; without it none is.

    Raises
    ------
    DamagedModelError
        The card is missing, is no valid card, or weights are missing beside it.
    """
    return _read(folder, installed_dir)[0]


def read_serving_parameters(folder: Path) -> ServingParameters:
    """What the card in `folder` says under `serving`.

    Raises
    ------
    DamagedModelError
        As `read_card`.
    """
    return _read(folder, None)[1]


def read_published_encoder(folder: Path) -> PublishedEncoder | None:
    """What the card in `folder` says of the encoder that others publish; None where the model has one of its own.

    Raises
    ------
    DamagedModelError
        As `read_card`.
    """
    return _read(folder, None)[2]


def find_encoder(folder: Path, *, installed_dir: Path | None = None) -> Path:
    """The `encoder.tflite` of the model in `folder`: its own, or the installed one.

    Raises
    ------
    EncoderMissingError
        It is not installed, or what is installed is not what the head was trained on.
    DamagedModelError
        As `read_card`.
    """
    published = read_published_encoder(folder)
    if published is None:
        return folder / ENCODER
    if not _is_installed(folder.name, published, installed_dir):
        raise EncoderMissingError(folder.name, published.name)
    assert installed_dir is not None
    file = installed_dir / folder.name / ENCODER
    made = json.loads(file.with_name(INSTALLED).read_text(encoding="utf-8"))
    if hashlib.sha256(file.read_bytes()).hexdigest() != made["encoder_sha256"]:
        raise EncoderMissingError(folder.name, published.name, "was changed after it was installed")
    return file


def weights_digest(folder: Path, *, published: PublishedEncoder | None = None) -> str:
    """SHA-256 of encoder and head, one after the other, in hexadecimal digits; versions carry its beginning.

    An encoder that others publish is not in `folder`: the digest of its weights and its recipe stand for it.
    """
    digest = hashlib.sha256()
    if published is None:
        digest.update((folder / ENCODER).read_bytes())
    else:
        digest.update(f"{published.weights_sha256} {published.recipe}".encode())
    digest.update((folder / HEAD).read_bytes())
    return digest.hexdigest()


def write_installed(folder: Path, published: PublishedEncoder) -> None:
    """Write beside the `encoder.tflite` in `folder` what it was made of; until then it is not installed."""
    made = {
        "weights_sha256": published.weights_sha256,
        "recipe": published.recipe,
        "encoder_sha256": hashlib.sha256((folder / ENCODER).read_bytes()).hexdigest(),
    }
    partial = folder / f"{INSTALLED}.part"
    partial.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / INSTALLED)


def _is_installed(model: str, published: PublishedEncoder, installed_dir: Path | None) -> bool:
    """Whether an encoder of the right weights and recipe stands in `installed_dir`; its bytes are not looked at."""
    if installed_dir is None or not (installed_dir / model / ENCODER).is_file():
        return False
    try:
        made = json.loads((installed_dir / model / INSTALLED).read_text(encoding="utf-8"))
        return bool(
            made["weights_sha256"] == published.weights_sha256
            and made["recipe"] == published.recipe
            and made["encoder_sha256"]
        )
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _read(folder: Path, installed_dir: Path | None) -> tuple[ModelCard, ServingParameters, PublishedEncoder | None]:
    try:
        fields = json.loads((folder / CARD).read_text(encoding="utf-8"))
        size_bytes = (folder / HEAD).stat().st_size
        published = _published_encoder(fields["encoder"]) if "encoder" in fields else None
        if published is None:
            size_bytes += (folder / ENCODER).stat().st_size
        is_installed = published is None or _is_installed(folder.name, published, installed_dir)
        if published is not None and is_installed and installed_dir is not None:
            size_bytes += (installed_dir / folder.name / ENCODER).stat().st_size
        card = _card(fields, size_bytes, is_installed=is_installed)
        return card, _serving_parameters(fields["serving"]), published
    except FileNotFoundError as error:
        raise DamagedModelError(folder.name, f"{Path(error.filename).name} is missing") from error
    except OSError as error:
        raise DamagedModelError(folder.name, f"it cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise DamagedModelError(folder.name, f"{CARD} lacks the field {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise DamagedModelError(folder.name, f"{CARD} is not valid ({error})") from error


def _published_encoder(fields: Mapping[str, object]) -> PublishedEncoder:
    return PublishedEncoder(**{name: str(fields[name]) for name in PublishedEncoder.__dataclass_fields__})


def _card(fields: Mapping[str, object], size_bytes: int, *, is_installed: bool) -> ModelCard:
    emotions = fields["emotions"]
    if not isinstance(emotions, list) or len(set(emotions)) != len(emotions) or len(emotions) < 2:
        raise ValueError("emotions must be a list of at least two different ones")
    return ModelCard(
        name=str(fields["name"]),
        version=str(fields["version"]),
        description=str(fields["description"]),
        emotions=tuple(label_of(str(emotion)) for emotion in emotions),
        licence=str(fields["licence"]),
        is_commercial_use_allowed=fields["is_commercial_use_allowed"] is True,
        created_at=datetime.fromisoformat(str(fields["created_at"])),
        size_bytes=size_bytes,
        is_installed=is_installed,
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
