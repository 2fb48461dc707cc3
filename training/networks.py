"""Networks that hear an emotion in a log-mel: attention BiLSTM, convolutional, transformer, and their ensemble.

All have one shape: an encoder takes a log-mel of any length to one embedding (front network, then attention pooling), a
head with dropout takes the embedding to logits. Optionally the encoder takes hand-made acoustic features (`prosody`) as
a second input. What is padding is told by a mask, and padding changes no output: each layer that looks beside its own
frame sees zeros there, just as beyond the end of an unpadded clip.

Exported, a network is two LiteRT files. `encoder.tflite` has no randomness; `head.tflite` takes the dropout masks as
inputs, so that many stochastic passes are one batched call:

    encoder   log_mel (1, n_frames, 80) [, prosody (1, n_prosody)] -> embedding (1, n_dims)
    head      embedding (n, n_dims), mask_0 (n, width_0), mask_1 (n, width_1) ... -> logits (n, n_emotions)
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray

from core.domain import Emotion
from core.features.log_mel import N_MELS

NETWORKS = ("bilstm", "convolutional", "transformer")
N_DIMS = 192
HIDDEN_WIDTH = 128
DROPOUT_RATES = (0.3, 0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network in its two parts, and both joined for training."""

    name: str
    encoder: keras.Model
    """(log_mel, frame_mask [, prosody]) -> embedding float32 (n_clips, n_dims)."""
    head_layers: tuple[keras.layers.Dense, keras.layers.Dense]
    """Hidden layer and output layer; dropout stands before each."""
    model: keras.Model
    """The same inputs -> logits float32 (n_clips, n_emotions)."""
    dropout_rates: tuple[float, ...]
    n_prosody: int

    @property
    def mask_widths(self) -> tuple[int, ...]:
        """Width of the dropout mask before each layer of the head."""
        return tuple(int(layer.kernel.shape[0]) for layer in self.head_layers)

    @property
    def n_parameters(self) -> int:
        """Number of weights, the fixed mean and variance of the inputs included."""
        return int(self.model.count_params())


def build_network(
    name: str,
    *,
    log_mel_mean: NDArray[np.float32],
    log_mel_variance: NDArray[np.float32],
    n_prosody: int = 0,
    n_emotions: int = len(Emotion),
    seed: int = 0,
) -> Network:
    """An untrained network, with weights drawn from `seed`.

    Parameters
    ----------
    name
        One of `NETWORKS`.
    log_mel_mean, log_mel_variance
        float32 (n_mels,), over the training part of a split only.
    n_prosody
        Number of acoustic features of the second input, standardised by the caller; 0 for none.

    Raises
    ------
    ValueError
        There is no such network.
    """
    fronts: Mapping[str, Callable[..., keras.KerasTensor]] = {
        "bilstm": _bilstm_front,
        "convolutional": _convolutional_front,
        "transformer": _transformer_front,
    }
    if name not in fronts:
        raise ValueError(f"there is no network {name!r}, only {', '.join(NETWORKS)}")
    keras.utils.set_random_seed(seed)
    log_mel = keras.Input((None, N_MELS), name="log_mel")
    frame_mask = keras.Input((None,), name="frame_mask")
    inputs = [log_mel, frame_mask]
    standardised = layers.Normalization(axis=-1, mean=log_mel_mean, variance=log_mel_variance, name="standardise")(
        log_mel
    )
    frames, mask = fronts[name](ZeroPadding()(standardised, frame_mask), frame_mask)
    embedding = AttentionPooling(name="pool")(frames, mask)
    if n_prosody:
        prosody = keras.Input((n_prosody,), name="prosody")
        inputs.append(prosody)
        by_hand = layers.Dense(48, activation="relu", name="prosody_1")(prosody)
        embedding = layers.Concatenate()([embedding, layers.Dense(48, activation="relu", name="prosody_2")(by_hand)])
    embedding = layers.Dense(N_DIMS, name="embedding")(embedding)
    # float32 under any policy: what follows is small, and its numbers are stored and compared.
    embedding = layers.LayerNormalization(dtype="float32", name="embedding_norm")(embedding)
    encoder = keras.Model(inputs, embedding, name=f"{name}_encoder")

    hidden = layers.Dense(HIDDEN_WIDTH, activation="relu", dtype="float32", name="hidden")
    output = layers.Dense(n_emotions, dtype="float32", name="logits")
    dropped = layers.Dropout(DROPOUT_RATES[0], seed=seed, dtype="float32")(embedding)
    dropped = layers.Dropout(DROPOUT_RATES[1], seed=seed + 1, dtype="float32")(hidden(dropped))
    model = keras.Model(inputs, output(dropped), name=name)
    return Network(
        name=name,
        encoder=encoder,
        head_layers=(hidden, output),
        model=model,
        dropout_rates=DROPOUT_RATES,
        n_prosody=n_prosody,
    )


def share_of_learning_rate(share: float) -> float:
    """Of the highest learning rate, after `share` of all steps: up over the first tenth, then down as a cosine.

    >>> share_of_learning_rate(0.05), share_of_learning_rate(0.1), share_of_learning_rate(1.0)
    (0.5, 1.0, 0.0)
    """
    return share / 0.1 if share < 0.1 else 0.5 * (1 + math.cos(math.pi * (share - 0.1) / 0.9))


# -- fronts: (frames, mask) -> (frames at a quarter of the rate or less, their mask)


def _stem(
    frames: keras.KerasTensor, mask: keras.KerasTensor, width: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Two convolutions over time of stride 2: 100 frames a second become 25."""
    for number, kernel in enumerate((5, 3)):
        frames = layers.ZeroPadding1D(kernel // 2)(frames)
        frames = layers.Conv1D(width, kernel, strides=2, name=f"stem_{number}")(frames)
        mask = EverySecond()(mask)
        frames = ZeroPadding()(layers.Activation("gelu")(layers.LayerNormalization()(frames)), mask)
    return frames, mask


def _bilstm_front(frames: keras.KerasTensor, mask: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Two bidirectional LSTM layers (Mirsamadi et al. 2017, with attention pooling behind)."""
    frames, mask = _stem(frames, mask, 128)
    for number in range(2):
        # Padding is masked rather than skipped: the backward direction must start at the clip's own end.
        frames = layers.Bidirectional(layers.LSTM(96, return_sequences=True), name=f"bilstm_{number}")(
            frames, mask=IsFrame()(mask)
        )
        frames = ZeroPadding()(layers.Dropout(0.2)(frames), mask)
    return frames, mask


def _convolutional_front(
    frames: keras.KerasTensor, mask: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Residual blocks with squeeze and excitation over time and frequency (He et al. 2016; Hu et al. 2018)."""
    image = layers.Reshape((-1, N_MELS, 1))(frames)
    image, mask = _convolve(image, mask, 16, stride=2), EverySecond()(mask)
    image = _activate(image, mask)
    for width in (24, 48, 96):
        beside = _convolve(image, mask, width, stride=2, kernel=1)
        image = _convolve(image, mask, width, stride=2)
        mask = EverySecond()(mask)
        image = _convolve(_activate(image, mask), mask, width)
        image = MaskedBatchNormalization()(image, mask)
        image = SqueezeAndExcitation()(image, mask)
        image = ZeroPadding()(layers.Activation("relu")(layers.Add()([image, beside])), mask)
    return layers.Reshape((-1, image.shape[2] * image.shape[3]))(image), mask


def _convolve(
    image: keras.KerasTensor, mask: keras.KerasTensor, width: int, *, stride: int = 1, kernel: int = 3
) -> keras.KerasTensor:
    # Explicit zeros on both sides: "same" padding with a stride shifts by a frame when the length is odd.
    padded = layers.ZeroPadding2D(kernel // 2)(image) if kernel > 1 else image
    return layers.Conv2D(width, kernel, strides=stride, use_bias=False)(padded)


def _activate(image: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
    return ZeroPadding()(layers.Activation("relu")(MaskedBatchNormalization()(image, mask)), mask)


def _transformer_front(
    frames: keras.KerasTensor, mask: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Four pre-norm transformer blocks (Vaswani et al. 2017; Xiong et al. 2020).

    Positions come from a depthwise convolution (as in wav2vec 2.0, Baevski et al. 2020): no longest clip.
    """
    width = 144
    frames, mask = _stem(frames, mask, width)
    positions = layers.DepthwiseConv1D(15, name="positions")(layers.ZeroPadding1D(7)(frames))
    frames = ZeroPadding()(layers.Add()([frames, positions]), mask)
    for number in range(4):
        attended = SelfAttention(n_heads=4, name=f"attention_{number}")(layers.LayerNormalization()(frames), mask)
        frames = layers.Add()([frames, layers.Dropout(0.1)(attended)])
        wide = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(frames))
        frames = layers.Add()([frames, layers.Dropout(0.1)(layers.Dense(width)(wide))])
    return ZeroPadding()(layers.LayerNormalization()(frames), mask), mask


# -- layers that know what is padding


class FrameLayer(layers.Layer):
    """A layer that takes the mask as an input of its own; Keras's implicit masks end here."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def compute_mask(self, *_: object) -> None:
        """None: nothing is masked implicitly."""


class ZeroPadding(FrameLayer):
    """Frames of the padding set to zero: (n_clips, n_frames, ...), mask (n_clips, n_frames) -> the same shape."""

    def call(self, frames: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
        return frames * ops.cast(_like(frame_mask, frames), frames.dtype)


class EverySecond(FrameLayer):
    """Mask after a stride of 2: (n_clips, n_frames) -> (n_clips, n_frames / 2, rounded up)."""

    def call(self, frame_mask: tf.Tensor) -> tf.Tensor:
        return frame_mask[:, ::2]


class IsFrame(FrameLayer):
    """Mask as truth values."""

    def call(self, frame_mask: tf.Tensor) -> tf.Tensor:
        return frame_mask > 0.5


class MaskedBatchNormalization(FrameLayer):
    """Batch normalisation over clips, frames and frequency whose statistics leave the padding out."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.normalise = layers.BatchNormalization(momentum=0.9)

    def build(self, image_shape: tuple[int | None, ...], *_: object) -> None:
        self.normalise.build(image_shape)

    def call(self, image: tf.Tensor, frame_mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return self.normalise(image, training=False)
        everywhere = ops.broadcast_to(ops.expand_dims(frame_mask, -1), ops.shape(image)[:3])
        return self.normalise(image, training=True, mask=everywhere)


class SqueezeAndExcitation(FrameLayer):
    """Channels weighed by what the whole clip is like (Hu et al. 2018), over its frames without the padding."""

    def build(self, image_shape: tuple[int | None, ...], *_: object) -> None:
        width = int(image_shape[-1])
        self.squeeze = layers.Dense(max(width // 4, 8), activation="relu", dtype=self.dtype_policy)
        self.excite = layers.Dense(width, activation="sigmoid", dtype=self.dtype_policy)
        self.squeeze.build((None, width))
        self.excite.build((None, max(width // 4, 8)))

    def call(self, image: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
        # Averaged over frequency first and in float32: sums over a clip overflow float16.
        bands = ops.cast(ops.mean(image, axis=2), "float32")
        wide = ops.expand_dims(ops.cast(frame_mask, "float32"), -1)
        mean = ops.sum(bands * wide, axis=1) / ops.maximum(ops.sum(wide, axis=1), 1.0)
        weights = self.excite(self.squeeze(ops.cast(mean, image.dtype)))
        return image * ops.expand_dims(weights, (1, 2))


class SelfAttention(FrameLayer):
    """Multi-head self-attention over the frames that are no padding: (n_clips, n_frames, width) -> the same shape.

    Plain products of matrices: Keras's own layer is made of einsums, which LiteRT cannot run with a length that varies.
    """

    def __init__(self, *, n_heads: int, **options: object) -> None:
        super().__init__(**options)
        self.n_heads = n_heads

    def build(self, frames_shape: tuple[int | None, ...], *_: object) -> None:
        width = int(frames_shape[-1])
        self.to_heads = layers.Dense(3 * width, dtype=self.dtype_policy)
        self.from_heads = layers.Dense(width, dtype=self.dtype_policy)
        self.to_heads.build((None, None, width))
        self.from_heads.build((None, None, width))

    def call(self, frames: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
        n_clips, n_frames, width = ops.shape(frames)
        per_head = width // self.n_heads
        split = ops.reshape(self.to_heads(frames), (n_clips, n_frames, 3 * self.n_heads, per_head))
        query, key, value = ops.split(ops.transpose(split, (0, 2, 1, 3)), 3, axis=1)
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        absent = ops.expand_dims(1 - ops.cast(frame_mask, "float32"), (1, 2))
        scores = ops.cast(scores, "float32") / per_head**0.5 - 1e4 * absent
        mixed = ops.matmul(ops.cast(ops.softmax(scores), frames.dtype), value)
        return self.from_heads(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (n_clips, n_frames, width)))


class AttentionPooling(FrameLayer):
    """Mean and standard deviation over time, weighted by attention (Okabe et al. 2018, equations 3 to 6).

    (n_clips, n_frames, width), mask (n_clips, n_frames) -> float32 (n_clips, 2 width). Computed in float32 under any
    policy.
    """

    def __init__(self, **options: object) -> None:
        super().__init__(dtype="float32", **options)

    def build(self, frames_shape: tuple[int | None, ...], *_: object) -> None:
        width = int(frames_shape[-1])
        self.attend = layers.Dense(64, activation="tanh", dtype="float32")
        self.score = layers.Dense(1, use_bias=False, dtype="float32")
        self.attend.build((None, None, width))
        self.score.build((None, None, 64))

    def call(self, frames: tf.Tensor, frame_mask: tf.Tensor) -> tf.Tensor:
        scores = self.score(self.attend(frames)) - 1e4 * (1 - ops.expand_dims(frame_mask, -1))
        weights = ops.softmax(scores, axis=1)
        mean = ops.sum(weights * frames, axis=1)
        variance = ops.sum(weights * ops.square(frames - ops.expand_dims(mean, 1)), axis=1)
        return ops.concatenate([mean, ops.sqrt(variance + 1e-5)], axis=-1)


def _like(mask: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """`mask` (n_clips, n_frames) with as many axes as `frames`."""
    # Not by indexing with None, which LiteRT cannot do where the shape varies.
    return ops.expand_dims(mask, tuple(range(2, len(frames.shape))))


# -- ensemble


def fit_ensemble_weights(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, n_steps: int = 500
) -> NDArray[np.float64]:
    """Shares of networks in a mixture that makes held-out labels most likely.

    Expectation-maximisation of the mixture's weights; the log-likelihood is concave in them, so where it starts does
    not matter. Fitted on validation data, never on test data.

    Parameters
    ----------
    probabilities
        (n_networks, n_clips, n_emotions).
    labels
        (n_clips,), positions in the last axis.

    Returns
    -------
    float64 (n_networks,)
        At least 0, summing to 1.

    Raises
    ------
    ValueError
        There are no clips.

    Examples
    --------
    >>> right, wrong = [[0.9, 0.1], [0.1, 0.9]], [[0.1, 0.9], [0.9, 0.1]]
    >>> fit_ensemble_weights(np.array([right, wrong]), np.array([0, 1])).round(3).tolist()
    [1.0, 0.0]
    """
    if len(labels) == 0:
        raise ValueError("weights cannot be found on no clips")
    likelihoods = np.maximum(probabilities[:, np.arange(len(labels)), labels].astype(np.float64), 1e-12)
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(n_steps):
        shares = weights[:, None] * likelihoods
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


def ensemble_probabilities(probabilities: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weighted mean of what networks say: (n_networks, n_clips, n_emotions) -> (n_clips, n_emotions)."""
    return np.tensordot(np.asarray(weights, np.float64), np.asarray(probabilities, np.float64), 1)


# -- export


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteRtBundle:
    """The two files of an exported network, as bytes, and what a program must know to call them."""

    encoder: bytes
    head: bytes
    n_dims: int
    mask_widths: tuple[int, ...]
    dropout_rates: tuple[float, ...]

    @property
    def size_bytes(self) -> int:
        """Both files together."""
        return len(self.encoder) + len(self.head)

    def write(self, folder: Path) -> None:
        """Write `encoder.tflite` and `head.tflite` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "encoder.tflite").write_bytes(self.encoder)
        (folder / "head.tflite").write_bytes(self.head)


def export_network(network: Network) -> LiteRtBundle:
    """`network` as LiteRT in float32, its length of clip left open."""
    return export_ensemble([network], np.ones(1))


def export_ensemble(networks: Sequence[Network], weights: NDArray[np.floating]) -> LiteRtBundle:
    """Networks and their weights as one bundle of the same two files as a single network.

    The encoder joins the embeddings of all; the head takes them apart, lets each network's head speak with dropout
    masks of its own, and returns the logarithm of the weighted mean of their probabilities. A network alone keeps its
    logits.

    Raises
    ------
    ValueError
        The networks differ in the number of their acoustic features.
    """
    n_prosody = networks[0].n_prosody
    if any(network.n_prosody != n_prosody for network in networks):
        raise ValueError("networks with and without acoustic features do not make one bundle")
    widths = [network.mask_widths[0] for network in networks]
    mask_widths = tuple(width for network in networks for width in network.mask_widths)

    def encode(log_mel: tf.Tensor, prosody: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        everything = tf.ones((1, tf.shape(log_mel)[1]), tf.float32)
        inputs = [log_mel, everything] if prosody is None else [log_mel, everything, prosody]
        embeddings = [network.encoder(inputs, training=False) for network in networks]
        return {"embedding": tf.concat(embeddings, axis=-1) if len(embeddings) > 1 else embeddings[0]}

    def answer(embedding: tf.Tensor, **masks: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = tf.split(embedding, widths, axis=-1) if len(widths) > 1 else [embedding]
        logits = []
        for number, (network, part) in enumerate(zip(networks, parts, strict=True)):
            hidden, output = network.head_layers
            logits.append(output(hidden(part * masks[f"mask_{2 * number}"]) * masks[f"mask_{2 * number + 1}"]))
        if len(logits) == 1:
            return {"logits": logits[0]}
        mean = tf.add_n([float(w) * tf.nn.softmax(one) for w, one in zip(weights, logits, strict=True)])
        return {"logits": tf.math.log(mean + 1e-9)}

    specs = {"log_mel": tf.TensorSpec((1, None, N_MELS), tf.float32, name="log_mel")}
    if n_prosody:
        specs["prosody"] = tf.TensorSpec((1, n_prosody), tf.float32, name="prosody")
    head_specs = {"embedding": tf.TensorSpec((None, sum(widths)), tf.float32, name="embedding")}
    for number, width in enumerate(mask_widths):
        head_specs[f"mask_{number}"] = tf.TensorSpec((None, width), tf.float32, name=f"mask_{number}")
    return LiteRtBundle(
        encoder=_convert(encode, specs, [network.encoder for network in networks]),
        head=_convert(answer, head_specs, [layer for network in networks for layer in network.head_layers]),
        n_dims=sum(widths),
        mask_widths=mask_widths,
        dropout_rates=tuple(rate for network in networks for rate in network.dropout_rates),
    )


def _convert(
    function: Callable[..., dict[str, tf.Tensor]],
    specs: Mapping[str, tf.TensorSpec],
    parts: Sequence[keras.Layer],
) -> bytes:
    """LiteRT of `function` with named inputs and outputs, built-in operators only."""
    module = tf.Module()
    # The converter freezes only variables that the module itself lists.
    module.weights = [weight.value for part in parts for weight in part.weights]
    module.function = tf.function(function, input_signature=None)
    concrete = module.function.get_concrete_function(**specs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        return bytes(converter.convert())
