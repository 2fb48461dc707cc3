"""The weights of an exported head: read, applied, differentiated and written back, without tensorflow.

A head is small (0.8 million numbers), so that numpy on one core fits it again in a minute, in a process of 0.2 GB that
a workbench can start beside itself; with tensorflow it would take 1 GB. What is written is the parent's own graph with
other numbers in it: whatever serves the parent serves the child.

Conventions: `embedding` (n_clips, n_dims) times a mask, a hidden layer (width) with the exact GELU times a mask, logits
(n_clips, n_emotions), as `training.heads.Head`. A head that keeps groups of recordings apart has logits of (group,
emotion) pairs, which it sums over the groups as probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from scipy.special import erf

from training.errors import RetrainingError

_TOLERANCE = 2e-2
"""Largest difference of logits between graph and numpy that rounding explains; theirs are of the order of 10."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadWeights:
    """Two layers."""

    hidden_kernel: Array
    """(n_dims, width)"""
    hidden_bias: Array
    logits_kernel: Array
    """(width, n_emotions), or (width, n_groups * n_emotions)"""
    logits_bias: Array
    """(n_emotions,), or (n_groups, n_emotions)"""

    def arrays(self) -> tuple[Array, ...]:
        """All four, in the order of the fields."""
        return self.hidden_kernel, self.hidden_bias, self.logits_kernel, self.logits_bias

    @property
    def shape(self) -> tuple[int, int, int]:
        """Inputs, hidden units, outputs."""
        return (*self.hidden_kernel.shape, self.logits_bias.shape[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """One weight as it lies in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype


def logits_of(
    weights: HeadWeights, embeddings: Array, mask_0: Array | float = 1.0, mask_1: Array | float = 1.0
) -> Array:
    """Logits (n_clips, n_emotions), before any temperature."""
    before = (embeddings * mask_0) @ weights.hidden_kernel + weights.hidden_bias
    return _over_groups(weights, (_gelu(before) * mask_1) @ weights.logits_kernel)[0]


def pass_logits(
    weights: HeadWeights, embeddings: Array, *, dropout_rates: tuple[float, float], n_passes: int = 12, seed: int = 0
) -> Array:
    """Logits of forward passes with dropout, (n_passes, n_clips, n_emotions), before any temperature."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(n_passes):
        mask_0, mask_1 = (
            (generator.random((len(embeddings), width), dtype=np.float32) >= rate).astype(np.float32)
            / np.float32(1 - rate)
            for width, rate in zip(weights.shape[:2], dropout_rates, strict=True)
        )
        found.append(logits_of(weights, embeddings, mask_0, mask_1))
    return np.stack(found)


def dropout_mask(generator: np.random.Generator, shape: tuple[int, ...], rate: float) -> Array:
    """0 where a number is dropped, 1 over the share kept elsewhere."""
    kept = generator.random(shape, dtype=np.float32) >= rate
    mask: Array = kept.astype(np.float32) / np.float32(1 - rate)
    return mask


def gradients_of(
    weights: HeadWeights, embeddings: Array, targets: Array, importance: Array, mask_0: Array, mask_1: Array
) -> tuple[float, HeadWeights]:
    """Mean cross-entropy in nats of softened `targets`, and its gradient.

    Parameters
    ----------
    targets
        (n_clips, n_emotions), rows sum to 1.
    importance
        (n_clips,), how much each clip counts; the mean is over their sum.
    """
    inputs = embeddings * mask_0
    before = inputs @ weights.hidden_kernel + weights.hidden_bias
    hidden = _gelu(before) * mask_1
    logits, shares_of_groups = _over_groups(weights, hidden @ weights.logits_kernel)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    share = (importance / importance.sum())[:, None]
    loss = -float((share * targets * log_probabilities).sum())
    of_emotions = share * (np.exp(log_probabilities) - targets)
    of_logits = (of_emotions[:, None, :] * shares_of_groups).reshape(len(embeddings), -1)
    of_before = (of_logits @ weights.logits_kernel.T) * mask_1 * _gelu_slope(before)
    return loss, HeadWeights(
        hidden_kernel=inputs.T @ of_before,
        hidden_bias=of_before.sum(axis=0),
        logits_kernel=hidden.T @ of_logits,
        logits_bias=of_logits.sum(axis=0).reshape(weights.logits_bias.shape),
    )


def _over_groups(weights: HeadWeights, products: Array) -> tuple[Array, Array]:
    """Logits (n_clips, n_emotions), and each group's share of every one (n_clips, n_groups, n_emotions)."""
    bias = weights.logits_bias.reshape(-1, weights.shape[2])
    pairs = products.reshape(-1, *bias.shape) + bias
    logits: Array = np.logaddexp.reduce(pairs, axis=1)
    return logits, np.exp(pairs - logits[:, None, :])


def read_head(file: Path) -> HeadWeights:
    """The weights of an exported head of two layers.

    Raises
    ------
    RetrainingError
        It is another network.
    """
    graph = file.read_bytes()
    found = _find_weights(file, graph)
    zeros = {"hidden_bias": found["hidden_kernel"].shape[0], "logits_bias": found["logits_kernel"].shape[0]}
    arrays = {
        name: _cut(graph, found[name]) if name in found else np.zeros(zeros[name], np.float32)
        for name in HeadWeights.__dataclass_fields__
    }
    n_emotions = int(Interpreter(model_content=graph).get_output_details()[0]["shape"][-1])
    if len(arrays["logits_bias"]) > n_emotions:
        arrays["logits_bias"] = arrays["logits_bias"].reshape(-1, n_emotions)
    for name in ("hidden_kernel", "logits_kernel"):
        arrays[name] = np.ascontiguousarray(arrays[name].T)
    weights = HeadWeights(**arrays)
    _require_same(file, graph, weights)
    return weights


def write_head(parent: Path, weights: HeadWeights, file: Path) -> HeadWeights:
    """Write the head in `parent` with other weights; gives them as they were rounded.

    Raises
    ------
    RetrainingError
        The file written does not compute what the weights do.
    """
    graph = bytearray(parent.read_bytes())
    for name, stored in _find_weights(parent, bytes(graph)).items():
        values = getattr(weights, name)
        raw = np.ascontiguousarray(values.T if name.endswith("kernel") else values).astype(stored.dtype).tobytes()
        graph[stored.offset : stored.offset + len(raw)] = raw
    _require_same(parent, bytes(graph), weights)
    partial = file.with_name(file.name + ".part")
    partial.write_bytes(bytes(graph))
    partial.replace(file)
    return read_head(file)


def has_biases(file: Path) -> bool:
    """Whether the graph keeps biases: converters drop those that are all zero."""
    return {"hidden_bias", "logits_bias"} <= set(_find_weights(file, file.read_bytes()))


def _find_weights(file: Path, graph: bytes) -> dict[str, _Stored]:
    """Where each weight lies in the file, found by its bytes: kernels lie there transposed."""
    interpreter = Interpreter(model_content=graph)
    interpreter.allocate_tensors()
    sizes = {
        one["name"].split(":")[0].removeprefix("serving_default_"): one["shape"]
        for one in interpreter.get_input_details()
    }
    if set(sizes) != {"embedding", "mask_0", "mask_1"}:
        raise RetrainingError(f"{file.name} is no head that can be fitted again: its inputs are {', '.join(sizes)}")
    n_dims, width = int(sizes["embedding"][-1]), int(sizes["mask_1"][-1])
    n_emotions = int(interpreter.get_output_details()[0]["shape"][-1])
    details = interpreter.get_tensor_details()
    shapes = [tuple(int(size) for size in detail["shape"]) for detail in details]
    # Outputs of the second layer: as many as emotions, or so many for each group.
    n_pairs = next((one[0] for one in shapes if len(one) == 2 and one[1] == width and not one[0] % n_emotions), 0)
    names = {
        (width, n_dims): "hidden_kernel",
        (n_pairs, width): "logits_kernel",
        (width,): "hidden_bias",
        (n_pairs,): "logits_bias",
    }
    found: dict[str, _Stored] = {}
    for detail, shape in zip(details, shapes, strict=True):
        name = names.get(shape)
        if name is None or detail["dtype"] not in (np.float16, np.float32):
            continue
        try:
            raw = interpreter.get_tensor(detail["index"]).tobytes()
        except ValueError:
            continue
        if name not in found and graph.count(raw) == 1:
            found[name] = _Stored(offset=graph.index(raw), shape=shape, dtype=np.dtype(detail["dtype"]))
    if not {"hidden_kernel", "logits_kernel"} <= set(found):
        raise RetrainingError(f"{file.name} is no head of two layers, the only kind that can be fitted again")
    return found


def _cut(graph: bytes, stored: _Stored) -> Array:
    n_numbers = int(np.prod(stored.shape))
    values = np.frombuffer(graph, stored.dtype, count=n_numbers, offset=stored.offset)
    return values.reshape(stored.shape).astype(np.float32)


def _require_same(file: Path, graph: bytes, weights: HeadWeights) -> None:
    n_dims, width, _ = weights.shape
    generator = np.random.default_rng(0)
    embeddings = generator.standard_normal((8, n_dims)).astype(np.float32)
    mask_0 = (generator.random((8, n_dims)) > 0.2).astype(np.float32)
    mask_1 = (generator.random((8, width)) > 0.5).astype(np.float32)
    runner = Interpreter(model_content=graph).get_signature_runner()
    (found,) = runner(embedding=embeddings, mask_0=mask_0, mask_1=mask_1).values()
    expected = logits_of(weights, embeddings, mask_0, mask_1)
    difference = float(np.abs(found - expected).max())
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise RetrainingError(
            f"{file.name} computes something else than its two layers do: logits differ by {difference:.3g}"
        )


def _gelu(values: Array) -> Array:
    result: Array = 0.5 * values * (1 + erf(values * np.float32(0.7071067811865476)))
    return result


def _gelu_slope(values: Array) -> Array:
    normal = np.exp(-0.5 * np.square(values)) * np.float32(0.3989422804014327)
    result: Array = 0.5 * (1 + erf(values * np.float32(0.7071067811865476))) + values * normal
    return result
