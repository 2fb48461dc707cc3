"""The encoder in Keras gives what a plain numpy forward pass of the published definition gives."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erf

from training.whisper import LOUDEST, build_encoder, load_teacher, set_published_weights

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "encoders" / "whisper-tiny.en-encoder.npz"

Array = NDArray[np.float64]


def _gelu(values: Array) -> Array:
    return values * 0.5 * (1 + erf(values / np.sqrt(2)))


def _convolve(frames: Array, weight: Array, bias: Array, stride: int) -> Array:
    padded = np.pad(frames, ((1, 1), (0, 0)))
    starts = range(0, len(frames), stride)
    return np.stack([np.einsum("kc,ock->o", padded[start : start + 3], weight) + bias for start in starts])


def _normalise(frames: Array, weight: Array, bias: Array) -> Array:
    centred = frames - frames.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(frames.var(axis=-1, keepdims=True) + 1e-5) * weight + bias


def _forward(mel: Array, weights: dict[str, Array], *, n_blocks: int, n_heads: int) -> list[Array]:
    """Output of the stem and of every block; from Radford et al. (2023) and Vaswani et al. (2017), nothing of ours."""
    mel = mel - mel.max() + LOUDEST
    hidden = _gelu(_convolve(mel, weights["conv1.weight"], weights["conv1.bias"], 1))
    hidden = _gelu(_convolve(hidden, weights["conv2.weight"], weights["conv2.bias"], 2))
    width = hidden.shape[1]
    angles = np.arange(len(hidden))[:, None] * np.exp(-np.log(10_000) * np.arange(width // 2) / (width // 2 - 1))
    hidden = hidden + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    outputs = [hidden]
    for number in range(n_blocks):
        part = {name.removeprefix(f"blocks.{number}."): value for name, value in weights.items()}
        normal = _normalise(hidden, part["attn_ln.weight"], part["attn_ln.bias"])
        query = normal @ part["attn.query.weight"].T + part["attn.query.bias"]
        key = normal @ part["attn.key.weight"].T
        value = normal @ part["attn.value.weight"].T + part["attn.value.bias"]
        mixed = []
        for head in np.split(np.arange(width), n_heads):
            scores = query[:, head] @ key[:, head].T / np.sqrt(len(head))
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            mixed.append(shares / shares.sum(axis=1, keepdims=True) @ value[:, head])
        hidden = hidden + np.concatenate(mixed, axis=1) @ part["attn.out.weight"].T + part["attn.out.bias"]
        normal = _normalise(hidden, part["mlp_ln.weight"], part["mlp_ln.bias"])
        inner = _gelu(normal @ part["mlp.0.weight"].T + part["mlp.0.bias"])
        hidden = hidden + inner @ part["mlp.2.weight"].T + part["mlp.2.bias"]
        outputs.append(hidden)
    return outputs


def _random_weights(*, n_blocks: int, width: int) -> dict[str, Array]:
    generator = np.random.default_rng(0)
    shapes = {"conv1.weight": (width, 80, 3), "conv1.bias": (width,)}
    shapes |= {"conv2.weight": (width, width, 3), "conv2.bias": (width,)}
    for number in range(n_blocks):
        prefix = f"blocks.{number}."
        for name in ("attn.query", "attn.key", "attn.value", "attn.out"):
            shapes[f"{prefix}{name}.weight"] = (width, width)
            if name != "attn.key":
                shapes[f"{prefix}{name}.bias"] = (width,)
        for name in ("attn_ln", "mlp_ln"):
            shapes |= {f"{prefix}{name}.weight": (width,), f"{prefix}{name}.bias": (width,)}
        shapes |= {f"{prefix}mlp.0.weight": (4 * width, width), f"{prefix}mlp.0.bias": (4 * width,)}
        shapes |= {f"{prefix}mlp.2.weight": (width, 4 * width), f"{prefix}mlp.2.bias": (width,)}
    return {name: generator.normal(0, 0.15, shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("n_mel_frames", [40, 41])
def test_keras_agrees_with_numpy_on_random_weights(n_mel_frames: int) -> None:
    weights = _random_weights(n_blocks=2, width=128)
    encoder = build_encoder(2, width=128, n_heads=2)
    set_published_weights(encoder, {name: value.astype(np.float32) for name, value in weights.items()})
    mel = np.random.default_rng(1).normal(0, 0.4, (n_mel_frames, 80))
    expected = _forward(mel, weights, n_blocks=2, n_heads=2)
    for ours, theirs in zip(encoder(mel[None].astype(np.float32)), expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs, atol=2e-3)


def test_keras_agrees_with_numpy_on_published_weights() -> None:
    if not PUBLISHED.exists():
        pytest.skip("the teacher's weights are not here: ../shared/encoders/whisper-tiny.en-encoder.npz")
    with np.load(PUBLISHED) as stored:
        weights = {name: stored[name].astype(np.float64) for name in stored.files}
    mel = np.random.default_rng(1).normal(0, 0.4, (60, 80))
    expected = _forward(mel, weights, n_blocks=4, n_heads=6)
    for ours, theirs in zip(load_teacher(PUBLISHED)(mel[None].astype(np.float32)), expected, strict=True):
        np.testing.assert_allclose(ours[0], theirs, atol=0.02)


def test_padding_behind_a_clip_changes_nothing() -> None:
    encoder = build_encoder(2, width=128, n_heads=2)
    mel = np.random.default_rng(1).normal(0, 0.4, (1, 50, 80)).astype(np.float32)
    padded = np.pad(mel, ((0, 0), (0, 14), (0, 0)), constant_values=7.0)
    mask = np.pad(np.ones((1, 50), np.float32), ((0, 0), (0, 14)))
    for alone, together in zip(encoder(mel), encoder(padded, mask), strict=True):
        np.testing.assert_allclose(alone[0], together[0, :25], atol=1e-4)


def test_gain_does_not_matter() -> None:
    encoder = build_encoder(1, width=128, n_heads=2)
    mel = np.random.default_rng(1).normal(0, 0.4, (1, 50, 80)).astype(np.float32)
    for quiet, loud in zip(encoder(mel), encoder(mel + 0.3), strict=True):
        np.testing.assert_allclose(quiet, loud, atol=1e-4)
