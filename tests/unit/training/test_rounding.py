"""Rounded weights are those that int8 keeps."""

from pathlib import Path

import keras
import numpy as np

from training.export import LiteEncoder, NumberFormat, export_encoder
from training.heads import Embedder
from training.rounding import round_weights, rounded
from training.whisper import Encoder, build_encoder


def _encoder() -> Encoder:
    keras.utils.set_random_seed(0)
    return build_encoder(1, width=128, n_heads=2)


def test_every_channel_is_on_a_grid_of_255_steps_of_its_own() -> None:
    kernel = np.random.default_rng(0).normal(0, 1, (3, 40, 7)).astype(np.float32) * np.arange(7, dtype=np.float32)
    found = rounded(kernel)
    largest = np.abs(kernel).max(axis=(0, 1))
    np.testing.assert_array_equal(np.abs(found).max(axis=(0, 1)), largest)
    assert np.abs(found - kernel).max() <= (largest / 127).max() / 2 * 1.001
    steps = found[..., 1:] / (largest[1:] / 127)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert not found[..., 0].any(), "a channel of zeros stays one"


def test_rounding_twice_is_rounding_once() -> None:
    once = rounded(np.random.default_rng(1).normal(0, 1, (64, 32)).astype(np.float32))
    np.testing.assert_allclose(rounded(once), once, rtol=1e-6)


def test_kernels_are_rounded_and_nothing_else() -> None:
    encoder, untouched = _encoder(), _encoder()
    round_weights(encoder)
    changed = {
        ours.name
        for ours, theirs in zip(encoder.variables, untouched.variables, strict=True)
        if not np.array_equal(ours.numpy(), theirs.numpy())
    }
    assert changed == {"kernel"}
    np.testing.assert_array_equal(encoder.blocks[0].mlp_in.kernel, rounded(untouched.blocks[0].mlp_in.kernel.numpy()))


def _int8_error(encoder: Encoder, path: Path) -> float:
    """How far int8 is from Keras, root mean square over embeddings of noise."""
    embedder = Embedder(encoder, np.zeros(256, np.float32), np.ones(256, np.float32))
    export_encoder(embedder, path, number_format=NumberFormat.INT8)
    lite = LiteEncoder(path)
    mels = np.random.default_rng(0).normal(0, 0.4, (8, 60, 80)).astype(np.float32)
    errors = [lite.embed(mel) - embedder(mel[None]).numpy()[0] for mel in mels]
    return float(np.sqrt(np.mean(np.square(errors))))


def test_int8_changes_no_weight_of_a_rounded_encoder(tmp_path: Path) -> None:
    plain = _int8_error(_encoder(), tmp_path / "plain.tflite")
    encoder = _encoder()
    round_weights(encoder)
    assert _int8_error(encoder, tmp_path / "rounded.tflite") < 0.8 * plain
