"""The teacher: the encoder of Whisper (Radford et al. 2023, section 2.2), built in Keras from its published shapes.

The layers here are also those of our own network (`training.student`), which has fewer of them and its own weights.

Conventions: log-mels enter as `(n_clips, n_mel_frames, 80)`; behind the stem there is one vector every 20 ms,
`(n_clips, n_frames, width)`, with `n_frames` = `n_mel_frames` / 2 rounded up. Masks are 1 for frames of a clip, 0 for
padding behind: a padded clip gives the numbers that it gives alone.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

WIDTH = 384
N_HEADS = 6
N_BLOCKS = 4
LOUDEST = 1.25
"""Every log-mel is shifted so that its largest value is this, about the middle of the corpora: gain then has no effect.
A shift of a log-mel is a change of gain, as the front end's floor lies relative to its maximum."""


@keras.saving.register_keras_serializable("telepathy")
class Stem(layers.Layer):
    """Level shift, two convolutions over time (the second with stride 2) and sinusoidal positions."""

    def __init__(self, width: int = WIDTH, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.conv1 = layers.Conv1D(width, 3, name="conv1")
        self.conv2 = layers.Conv1D(width, 3, strides=2, name="conv2")

    def call(self, log_mel: tf.Tensor, mel_mask: tf.Tensor | None = None) -> tf.Tensor:
        mel = tf.cast(shift_level(log_mel, mel_mask), self.compute_dtype)
        if mel_mask is None:
            hidden = keras.activations.gelu(self.conv1(_pad(mel)), approximate=False)
        else:
            mask = tf.cast(mel_mask, self.compute_dtype)[:, :, None]
            hidden = keras.activations.gelu(self.conv1(_pad(mel * mask)), approximate=False) * mask
        hidden = tf.cast(keras.activations.gelu(self.conv2(_pad(hidden)), approximate=False), tf.float32)
        # Counting by a running sum keeps every shape known once the input's is: LiteRT then plans all of it ahead.
        numbers = tf.cumsum(tf.ones_like(hidden[:1, :, :1]), axis=1) - 1
        return hidden + sinusoids(numbers, self.width)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("telepathy")
class Block(layers.Layer):
    """Pre-norm transformer block: self-attention, then a two-layer network four times as wide, both as residuals."""

    def __init__(self, width: int = WIDTH, n_heads: int = N_HEADS, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width, self.n_heads = width, n_heads
        self.attn_ln = layers.LayerNormalization(epsilon=1e-5, name="attn_ln")
        self.query = layers.Dense(width, name="query")
        self.key = layers.Dense(width, use_bias=False, name="key")
        self.value = layers.Dense(width, name="value")
        self.out = layers.Dense(width, name="out")
        self.mlp_ln = layers.LayerNormalization(epsilon=1e-5, name="mlp_ln")
        self.mlp_in = layers.Dense(4 * width, name="mlp_in")
        self.mlp_out = layers.Dense(width, name="mlp_out")

    def call(self, hidden: tf.Tensor, frames_inside: tf.Tensor | None = None) -> tf.Tensor:
        # Keras fills an argument named `mask` on its own.
        hidden = tf.cast(hidden, tf.float32)
        hidden = hidden + tf.cast(self.attend(self.attn_ln(hidden), frames_inside), tf.float32)
        inner = keras.activations.gelu(self.mlp_in(self.mlp_ln(hidden)), approximate=False)
        return hidden + tf.cast(self.mlp_out(inner), tf.float32)

    def attend(self, hidden: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        """Self-attention over the frames of each clip; without a mask there is one clip only, and no padding."""
        n_clips = 1 if mask is None else tf.shape(hidden)[0]
        n_frames = -1 if mask is None else tf.shape(hidden)[1]

        def heads(vectors: tf.Tensor) -> tf.Tensor:
            split = tf.reshape(vectors, [n_clips, n_frames, self.n_heads, self.width // self.n_heads])
            return tf.transpose(split, [0, 2, 1, 3])

        query, key, value = heads(self.query(hidden)), heads(self.key(hidden)), heads(self.value(hidden))
        scale = (self.width // self.n_heads) ** -0.5
        scores = tf.cast(tf.matmul(query * tf.cast(scale, query.dtype), key, transpose_b=True), tf.float32)
        if mask is not None:
            scores = scores + (tf.cast(mask, tf.float32)[:, None, None, :] - 1) * 1e9
        mixed = tf.matmul(tf.cast(tf.nn.softmax(scores), value.dtype), value)
        return self.out(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [n_clips, n_frames, self.width]))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "width": self.width, "n_heads": self.n_heads}


@keras.saving.register_keras_serializable("telepathy")
class Encoder(keras.Model):
    """Stem and blocks; gives the output of each: `n_blocks + 1` tensors (n_clips, n_frames, width)."""

    def __init__(self, n_blocks: int, width: int = WIDTH, n_heads: int = N_HEADS, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.n_blocks, self.width, self.n_heads = n_blocks, width, n_heads
        self.stem = Stem(width, name="stem")
        self.blocks = [Block(width, n_heads, name=f"block_{number}") for number in range(1, n_blocks + 1)]

    def call(self, log_mel: tf.Tensor, mel_mask: tf.Tensor | None = None) -> list[tf.Tensor]:
        outputs = [self.stem(log_mel, mel_mask)]
        mask = None if mel_mask is None else frame_mask(mel_mask)
        for block in self.blocks:
            outputs.append(block(outputs[-1], mask))
        return outputs

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "n_blocks": self.n_blocks, "width": self.width, "n_heads": self.n_heads}


def build_encoder(n_blocks: int, *, width: int = WIDTH, n_heads: int = N_HEADS) -> Encoder:
    """An `Encoder` with random weights from Keras's seed."""
    encoder = Encoder(n_blocks, width, n_heads)
    encoder(tf.zeros([1, 10, 80]), tf.ones([1, 10]))
    return encoder


def float32_copy(encoder: Encoder) -> Encoder:
    """The same network computing in float32: LiteRT has no bfloat16, in which training runs."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    copy = build_encoder(encoder.n_blocks, width=encoder.width, n_heads=encoder.n_heads)
    keras.mixed_precision.set_global_policy(policy)
    copy.set_weights(encoder.get_weights())
    return copy


def load_teacher(path: Path, *, n_blocks: int | None = None) -> Encoder:
    """Whisper tiny.en's encoder with its published weights, without its last normalisation, which nothing here uses.

    Parameters
    ----------
    path
        `.npz` under the names of the original checkpoint.
    n_blocks
        Keep only the first so many blocks; all without it.
    """
    with np.load(path) as stored:
        weights = {name: stored[name].astype(np.float32) for name in stored.files}
    n_blocks = n_blocks or len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    width = len(weights["conv1.bias"])
    teacher = build_encoder(n_blocks, width=width, n_heads=width // 64)
    set_published_weights(teacher, weights)
    teacher.trainable = False
    return teacher


def set_published_weights(encoder: Encoder, weights: dict[str, NDArray[np.float32]]) -> None:
    """Give `encoder` the weights of a checkpoint in Whisper's naming; axes are turned to Keras's."""
    for name in ("conv1", "conv2"):
        layer = getattr(encoder.stem, name)
        layer.set_weights([weights[f"{name}.weight"].transpose(2, 1, 0), weights[f"{name}.bias"]])
    for number, block in enumerate(encoder.blocks):
        prefix = f"blocks.{number}."
        for ours, theirs in (("attn_ln", "attn_ln"), ("mlp_ln", "mlp_ln")):
            getattr(block, ours).set_weights([weights[f"{prefix}{theirs}.weight"], weights[f"{prefix}{theirs}.bias"]])
        block.key.set_weights([weights[f"{prefix}attn.key.weight"].T])
        for ours, theirs in (
            ("query", "attn.query"),
            ("value", "attn.value"),
            ("out", "attn.out"),
            ("mlp_in", "mlp.0"),
            ("mlp_out", "mlp.2"),
        ):
            getattr(block, ours).set_weights([weights[f"{prefix}{theirs}.weight"].T, weights[f"{prefix}{theirs}.bias"]])


def shift_level(log_mel: tf.Tensor, mel_mask: tf.Tensor | None = None) -> tf.Tensor:
    """`log_mel` with its largest value within the mask moved to `LOUDEST`."""
    log_mel = tf.cast(log_mel, tf.float32)
    inside = log_mel if mel_mask is None else log_mel - (1 - tf.cast(mel_mask, tf.float32)[:, :, None]) * 100
    return log_mel - tf.reduce_max(inside, axis=[1, 2], keepdims=True) + LOUDEST


def frame_mask(mel_mask: tf.Tensor) -> tf.Tensor:
    """Mask of the 20 ms frames behind the stem: every second one of the log-mel's."""
    return tf.cast(mel_mask, tf.float32)[:, ::2]


def sinusoids(numbers: tf.Tensor, width: int) -> tf.Tensor:
    """Sine and cosine positions with wavelengths from 2 pi to 20,000 pi (Vaswani et al. 2017, section 3.5).

    Whisper puts the sines in the first half of the vector and the cosines in the second.

    Parameters
    ----------
    numbers
        Frame numbers from 0 on (1, n_frames, 1).
    """
    step = np.log(10_000) / (width // 2 - 1)
    rates = tf.constant(np.exp(-step * np.arange(width // 2)), tf.float32)
    angles = numbers * rates[None, None, :]
    return tf.concat([tf.sin(angles), tf.cos(angles)], axis=-1)


def _pad(frames: tf.Tensor) -> tf.Tensor:
    return tf.pad(frames, [[0, 0], [1, 1], [0, 0]])
