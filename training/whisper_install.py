"""Make the encoder of the model `whisper` out of published weights, into the folder of this machine's installations.

What is committed is a head and a card; the encoder is OpenAI's and stays out of the repository. The graph made here is
the frozen encoder with its pooling: the head does the scaling, so nothing of ours is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from core.errors import ModelError
from core.features.log_mel import N_MELS
from core.inference.recogniser import Recogniser
from core.inference.registry import ENCODER, INSTALLED, PublishedEncoder, read_published_encoder, write_installed
from training.errors import CheckpointError, InstallationError
from training.export import LiteEncoder, NumberFormat, export_encoder
from training.heads import pool
from training.rounding import round_weights
from training.whisper import Encoder, build_encoder, frame_mask, set_published_weights
from training.whisper_checkpoint import LICENCE, NAME, PUBLISHED, SHA256, Weights, read_weights, weights_sha256

NUMBER_FORMAT = NumberFormat.INT8
"""Of the encoder: two fifths of float16's time where a processor has instructions for it, half the bytes anywhere."""
RECIPE = "blocks 1 to {n_blocks}, mean and deviation over time, int8 weights, level shifted, 2"
"""Its number goes up whenever this code would make other embeddings of the same weights."""
MAX_BLOCKS = 3
"""The fourth adds nothing that a linear classifier finds (docs/experiments-whisper.md) and a fifth of the time."""
WORST_DIFFERENCE = 0.02
"""In units of the largest value of an embedding: weights are on int8's grid in both, so LiteRT differs by rounding what
it multiplies them with."""


@keras.saving.register_keras_serializable("telepathy")
class PooledEncoder(keras.Model):
    """An encoder and its pooling, without any scaling."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def call(self, log_mel: tf.Tensor, mel_mask: tf.Tensor | None = None) -> tf.Tensor:
        mask = None if mel_mask is None else frame_mask(mel_mask)
        return pool(self.encoder(log_mel, mel_mask), mask)


def published_encoder(weights: Weights) -> PublishedEncoder:
    """What a card says of an encoder with these weights."""
    return PublishedEncoder(
        name=NAME,
        licence=LICENCE,
        url=PUBLISHED.url,
        sha256=SHA256,
        weights_sha256=weights_sha256(weights),
        recipe=RECIPE.format(n_blocks=count_blocks(weights)),
    )


def count_blocks(weights: Weights) -> int:
    """How many transformer blocks of a checkpoint are used."""
    return min(MAX_BLOCKS, len({name.split(".")[1] for name in weights if name.startswith("blocks.")}))


def pooled_encoder(weights: Weights) -> PooledEncoder:
    """The network with these weights, rounded as int8 keeps them, in Keras."""
    width = len(weights["conv1.bias"])
    encoder = build_encoder(count_blocks(weights), width=width, n_heads=max(1, width // 64))
    set_published_weights(encoder, weights)
    round_weights(encoder)
    encoder.trainable = False
    pooled = PooledEncoder(encoder)
    pooled(tf.zeros([1, 10, N_MELS]))
    return pooled


def write_encoder(weights: Weights, path: Path) -> None:
    """Write the graph and hear whether it says what Keras says.

    Raises
    ------
    ValueError
        It does not.
    """
    network = pooled_encoder(weights)
    partial = path.with_name(path.name + ".part")
    export_encoder(network, partial, number_format=NUMBER_FORMAT)
    lite = LiteEncoder(partial)
    for n_frames in (40, 300, 133):
        mel = np.random.default_rng(n_frames).uniform(-0.5, 1.2, (n_frames, N_MELS)).astype(np.float32)
        expected = network(mel[None]).numpy()[0]
        difference = float(np.abs(lite.embed(mel) - expected).max() / np.abs(expected).max())
        if not difference < WORST_DIFFERENCE:
            partial.unlink()
            raise ValueError(f"its embedding of {n_frames} frames is off by {difference:.3g} of its largest value")
    partial.replace(path)


def install(
    source: Path,
    *,
    model: Path,
    installed_dir: Path,
    sha256: str = SHA256,
    doing: Callable[[str], None] = lambda what: None,
) -> Path:
    """Make the encoder of the model in the folder `model` from the weights in `source`, and try the model out.

    Parameters
    ----------
    source
        `.pt` as published, or `.npz`.
    installed_dir
        The encoder goes to `installed_dir/NAME`.
    doing
        Told what is being done.

    Returns
    -------
    Path
        Folder of the installed encoder.

    Raises
    ------
    CheckpointError, ChecksumMismatchError
        `source` cannot be used, or holds other weights than the head was trained on.
    InstallationError
        The graph could not be made, or the model does not answer with it.
    ModelError
        The model in `model` cannot be used.
    """
    wanted = read_published_encoder(model)
    if wanted is None:
        raise InstallationError(model.name, "it has an encoder of its own, so there is nothing to install")
    doing(f"Reading the weights in {source.name}")
    weights = read_weights(source, sha256=sha256)
    found = weights_sha256(weights)
    if found != wanted.weights_sha256:
        raise CheckpointError(
            source, f"they are not those the head learnt with (SHA-256 {found[:12]}, not {wanted.weights_sha256[:12]})"
        )
    if (made := published_encoder(weights).recipe) != wanted.recipe:
        raise InstallationError(model.name, f"this version makes {made!r}, its head wants {wanted.recipe!r}")
    folder = installed_dir / model.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INSTALLED).unlink(missing_ok=True)
    doing("Building the encoder")
    try:
        write_encoder(weights, folder / ENCODER)
    except ValueError as error:
        raise InstallationError(model.name, str(error)) from error
    write_installed(folder, wanted)
    doing("Trying it out")
    try:
        Recogniser.open(model, installed_dir=installed_dir)
    except ModelError:
        (folder / INSTALLED).unlink()
        raise
    return folder
