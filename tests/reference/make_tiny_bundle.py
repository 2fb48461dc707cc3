"""Make `tests/reference/models/tiny`: a bundle of the shape of a real one, with random weights, for tests.

    python tests/reference/make_tiny_bundle.py

Its answers mean nothing; they are sharp enough (logits of a few units) that entropies and intervals move.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

FOLDER = Path(__file__).parent / "models" / "tiny"
EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]
WIDTH, N_DIMS, MASK_WIDTHS, DROPOUT_RATES = 16, 24, [24, 16], [0.2, 0.3]


def main() -> None:
    keras.utils.set_random_seed(20)
    FOLDER.mkdir(parents=True, exist_ok=True)
    encoder, head = build_encoder(), build_head()
    (FOLDER / "encoder.tflite").write_bytes(converted(encoder_function(encoder), encoder))
    (FOLDER / "head.tflite").write_bytes(converted(head_function(head), head))
    weights = (FOLDER / "encoder.tflite").read_bytes() + (FOLDER / "head.tflite").read_bytes()
    card = {
        "name": "tiny",
        "version": "tiny-" + hashlib.sha256(weights).hexdigest()[:12],
        "description": "Random weights, for tests only",
        "emotions": EMOTIONS,
        "licence": "MIT",
        "is_commercial_use_allowed": True,
        "created_at": "2026-01-01T00:00:00+00:00",
        "serving": {
            "sample_rate_hz": 16_000,
            "n_mels": 80,
            "temperature": 1.5,
            "n_dims": N_DIMS,
            "mask_widths": MASK_WIDTHS,
            "dropout_rates": DROPOUT_RATES,
            "max_context_s": 12,
        },
    }
    (FOLDER / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def build_encoder() -> keras.Model:
    log_mel = keras.Input((None, 80), batch_size=1)
    hidden = keras.layers.Conv1D(WIDTH, 5, 4, padding="same", activation="gelu")(log_mel)
    query = keras.layers.LayerNormalization()(hidden)
    hidden += keras.layers.MultiHeadAttention(2, WIDTH // 2)(query, query)
    attention = keras.layers.Softmax(axis=1)(keras.layers.Dense(1)(hidden))
    pooled = keras.ops.sum(attention * hidden, axis=1)
    return keras.Model(log_mel, keras.layers.LayerNormalization()(keras.layers.Dense(N_DIMS)(pooled)))


def build_head() -> keras.Model:
    embedding = keras.Input((N_DIMS,))
    masks = [keras.Input((width,)) for width in MASK_WIDTHS]
    hidden = keras.layers.Dense(MASK_WIDTHS[1], activation="gelu")(embedding * masks[0])
    spread = keras.initializers.RandomNormal(stddev=1.5)
    return keras.Model(
        [embedding, *masks], keras.layers.Dense(len(EMOTIONS), kernel_initializer=spread)(hidden * masks[1])
    )


def encoder_function(encoder: keras.Model) -> tf.types.experimental.ConcreteFunction:
    @tf.function(input_signature=[tf.TensorSpec((1, None, 80), tf.float32, name="log_mel")])
    def encode(log_mel):
        return {"embedding": encoder(log_mel)}

    return encode.get_concrete_function()


def head_function(head: keras.Model) -> tf.types.experimental.ConcreteFunction:
    names_and_widths = [("embedding", N_DIMS), *((f"mask_{i}", width) for i, width in enumerate(MASK_WIDTHS))]

    @tf.function(
        input_signature=[tf.TensorSpec((None, width), tf.float32, name=name) for name, width in names_and_widths]
    )
    def judge(embedding, mask_0, mask_1):
        return {"logits": head([embedding, mask_0, mask_1])}

    return judge.get_concrete_function()


def converted(function: tf.types.experimental.ConcreteFunction, model: keras.Model) -> bytes:
    """Constants first: otherwise the converter leaves the weights outside the file as resource variables."""
    frozen = convert_variables_to_constants_v2(function)
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen], model).convert()


if __name__ == "__main__":
    main()
