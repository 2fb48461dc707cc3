"""Export to LiteRT: `encoder.tflite` and `head.tflite` as serving reads them, in three number formats."""

from __future__ import annotations

import enum
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from training.heads import Head, ScalingHead


class NumberFormat(enum.StrEnum):
    """How weights are kept. Activations stay float32 in all three, so that nothing overflows on unusual sound."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    """Weights as int8 per channel; products are int8 with a scale per frame, found as it comes (dynamic range)."""


def export_encoder(embedder: keras.Model, path: Path, *, number_format: NumberFormat) -> None:
    """Write the part from log-mel to embedding: input `log_mel` (1, n_frames, 80), output `embedding` (1, n_dims)."""

    @tf.function(input_signature=[tf.TensorSpec([1, None, 80], tf.float32, name="log_mel")])
    def serve(log_mel: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": embedder(log_mel)}

    _convert(embedder, serve, path, number_format)


def export_head(
    head: Head | ScalingHead, path: Path, *, n_dims: int, number_format: NumberFormat, n_inputs: int | None = None
) -> None:
    """Write the part from embedding and masks to logits; the number of rows is free.

    Parameters
    ----------
    n_inputs
        What the head takes behind its own projection, where it has one.
    """
    width = head.hidden.units

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, n_dims], tf.float32, name="embedding"),
            tf.TensorSpec([None, n_inputs or n_dims], tf.float32, name="mask_0"),
            tf.TensorSpec([None, width], tf.float32, name="mask_1"),
        ]
    )
    def serve(embedding: tf.Tensor, mask_0: tf.Tensor, mask_1: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": head(embedding, mask_0, mask_1)}

    _convert(head, serve, path, number_format)


def _convert(model: keras.Model, serve: object, path: Path, number_format: NumberFormat) -> None:
    # A Keras model saved as it is brings a signature of its own, in which masks are no inputs.
    holder = tf.Module()
    holder.kept = [variable.value for variable in model.variables]
    holder.serve = serve
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(holder, folder, signatures={"serving_default": serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if number_format is not NumberFormat.FLOAT32:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if number_format is NumberFormat.FLOAT16:
            converter.target_spec.supported_types = [tf.float16]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(converter.convert())


class LiteEncoder:
    """An exported encoder, to compare with the network it came from; serving has its own in `core.inference`."""

    def __init__(self, path: Path, *, n_threads: int = 2) -> None:
        self._interpreter = Interpreter(str(path), num_threads=n_threads)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    @property
    def n_dims(self) -> int:
        """Length of an embedding."""
        return int(self._interpreter.get_output_details()[0]["shape"][-1])

    def embed(self, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embedding (n_dims,) of a log-mel (n_frames, 80)."""
        self._interpreter.resize_tensor_input(self._input, [1, *log_mel.shape])
        self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input, log_mel[None])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)[0].copy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds per clip."""

    median_ms: float
    p95_ms: float
    cpu_ms: float
    """Time of all threads together, mean."""


def measure_latency(path: Path, *, seconds: float = 5.0, n_runs: int = 40, n_threads: int = 2) -> Latency:
    """Latency of an exported encoder on noise of a given length."""
    encoder = LiteEncoder(path, n_threads=n_threads)
    mel = np.random.default_rng(0).uniform(-0.5, 1.2, (round(seconds * 100), 80)).astype(np.float32)
    for _ in range(3):
        encoder.embed(mel)
    walls: list[float] = []
    cpu_started = time.process_time()
    for _ in range(n_runs):
        started = time.perf_counter()
        encoder.embed(mel)
        walls.append((time.perf_counter() - started) * 1000)
    cpu_ms = (time.process_time() - cpu_started) * 1000 / n_runs
    return Latency(median_ms=float(np.median(walls)), p95_ms=float(np.percentile(walls, 95)), cpu_ms=cpu_ms)


def top_agreement(first: Sequence[int] | NDArray[np.int64], second: Sequence[int] | NDArray[np.int64]) -> float:
    """Share of clips on which two models put the same emotion on top."""
    return float(np.mean(np.asarray(first) == np.asarray(second)))
