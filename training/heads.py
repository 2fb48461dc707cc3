"""From an encoder's layers to eight emotions: pooling over time, and a small network with dropout masks as inputs.

Pooling is deterministic and belongs to the encoder; dropout belongs to the head, so that thirty Monte Carlo passes cost
thirty small matrix products and one encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from core.domain import Emotion
from training.whisper import Encoder, frame_mask

N_EMOTIONS = len(Emotion)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPlan:
    """How a head is trained."""

    width: int = 256
    """Hidden units of one member."""
    n_members: int = 2
    """Networks trained from different seeds; their mean logits are one network of so many times the width."""
    dropout_rates: tuple[float, float] = (0.2, 0.5)
    """Of the embedding and of the hidden units."""
    n_epochs: int = 14
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-2
    batch_size: int = 192
    mixup_alpha: float = 0.3
    n_components: int = 0
    """Principal components of the training recordings that the embedding is reduced to; 0 keeps it as it is."""
    is_masked_by_corpus: bool = False
    """Whether an emotion that a corpus lacks is left out of the loss of its recordings."""
    are_corpora_apart: bool = False
    """Whether the head tells (corpus, emotion) pairs apart and sums over corpora: each corpus has its own way of acting
    an emotion, and one classifier for all of them has to blur it."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadEpoch:
    """Figures of one epoch of one member."""

    member: int
    epoch: int
    loss_nats: float
    """Mean over its batches, dropout, mixing and disturbed copies included."""


def pool(outputs: Sequence[tf.Tensor], mask: tf.Tensor | None) -> tf.Tensor:
    """Mean and standard deviation over time of the blocks' outputs: (n_clips, 2 * width * n_blocks).

    The stem's output (the first) is left out: it adds nothing to its blocks.
    """
    weights = tf.ones_like(outputs[0][:, :, 0]) if mask is None else tf.cast(mask, tf.float32)
    weights = (weights / tf.reduce_sum(weights, axis=1, keepdims=True))[:, :, None]
    parts = []
    for output in outputs[1:]:
        output = tf.cast(output, tf.float32)
        mean = tf.reduce_sum(output * weights, axis=1)
        variance = tf.reduce_sum(tf.square(output - mean[:, None, :]) * weights, axis=1)
        parts += [mean, tf.sqrt(tf.maximum(variance, 1e-8))]
    return tf.concat(parts, axis=-1)


@keras.saving.register_keras_serializable("telepathy")
class Embedder(keras.Model):
    """Encoder, pooling and scaling to zero mean and unit variance over the training recordings."""

    def __init__(self, encoder: Encoder, mean: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean = tf.constant(mean)
        self.scale = tf.constant(scale)

    def call(self, log_mel: tf.Tensor, mel_mask: tf.Tensor | None = None) -> tf.Tensor:
        mask = None if mel_mask is None else frame_mask(mel_mask)
        pooled = pool(self.encoder(log_mel, mel_mask), mask)
        return tf.clip_by_value((pooled - self.mean) / self.scale, -8.0, 8.0)


def standardised(
    pooled: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What `Embedder` does behind the pooling, in numpy."""
    return np.clip((pooled - mean) / scale, -8, 8).astype(np.float32)


def principal_axes(scaled: NDArray[np.float32], n_components: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Axes (n_dims, n_components) of the largest variance, by subspace iteration.

    Parameters
    ----------
    scaled
        Standardised embeddings (n_clips, n_dims) of training recordings.

    Returns
    -------
    float32 (n_dims, n_components)
        Orthogonal, of one length: the components of `scaled @ axes` have a variance of 1 on average, large ones
        more. Making all alike cost half a point (docs/experiments-whisper.md).

    References
    ----------
    Halko, Martinsson and Tropp (2011), "Finding structure with randomness", SIAM Review 53(2), algorithm 4.4.
    """
    covariance = scaled.T @ scaled / len(scaled)
    n_dims = len(covariance)
    basis = np.random.default_rng(seed).standard_normal((n_dims, min(n_dims, n_components + 50))).astype(np.float32)
    for _ in range(5):
        basis, _ = np.linalg.qr(covariance @ basis)
    variances, rotation = np.linalg.eigh(basis.T @ covariance @ basis)
    order = np.argsort(variances)[::-1][:n_components]
    axes: NDArray[np.float32] = (basis @ rotation[:, order] / np.sqrt(variances[order].mean())).astype(np.float32)
    return axes


@keras.saving.register_keras_serializable("telepathy")
class Head(keras.Model):
    """Embedding times `mask_0`, a hidden layer times `mask_1`, logits. Masks of ones give the deterministic answer."""

    def __init__(self, width: int, n_groups: int = 1) -> None:
        super().__init__()
        self.n_groups = n_groups
        """Sets of recordings whose emotions are kept apart up to the last step."""
        self.hidden = layers.Dense(width, name="hidden")
        self.logits = layers.Dense(N_EMOTIONS * n_groups, name="logits")

    def group_logits(self, embedding: tf.Tensor, mask_0: tf.Tensor, mask_1: tf.Tensor) -> tf.Tensor:
        """Logits of (group, emotion) pairs, (n_clips, n_groups * n_emotions)."""
        hidden = keras.activations.gelu(self.hidden(embedding * mask_0), approximate=False)
        return self.logits(hidden * mask_1)

    def call(self, embedding: tf.Tensor, mask_0: tf.Tensor, mask_1: tf.Tensor) -> tf.Tensor:
        logits = self.group_logits(embedding, mask_0, mask_1)
        if self.n_groups == 1:
            return logits
        return tf.reduce_logsumexp(tf.reshape(logits, [-1, self.n_groups, N_EMOTIONS]), axis=1)


@keras.saving.register_keras_serializable("telepathy")
class ScalingHead(keras.Model):
    """A head that takes embeddings as an encoder gives them: it scales them, and projects them on `axes`, itself.

    For encoders that others publish: nothing of ours is in their graph.
    """

    def __init__(
        self,
        head: Head,
        mean: NDArray[np.float32],
        scale: NDArray[np.float32],
        axes: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.head = head
        self.mean = tf.constant(mean)
        self.scale = tf.constant(scale)
        self.axes = None if axes is None else tf.constant(axes)

    @property
    def hidden(self) -> layers.Dense:
        """The hidden layer, which `mask_1` is as wide as."""
        return self.head.hidden

    def call(self, embedding: tf.Tensor, mask_0: tf.Tensor, mask_1: tf.Tensor) -> tf.Tensor:
        scaled = tf.clip_by_value((embedding - self.mean) / self.scale, -8.0, 8.0)
        return self.head(scaled if self.axes is None else scaled @ self.axes, mask_0, mask_1)


def predict_logits(head: Head, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Deterministic logits (n_clips, n_emotions)."""
    width = head.hidden.units
    ones = tf.ones([len(embeddings), embeddings.shape[1]])
    return head(tf.constant(embeddings), ones, tf.ones([len(embeddings), width])).numpy()


def missing_emotions(corpora: Sequence[str], emotions: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """By corpus: -30 for each emotion that none of its recordings has, else 0; added to logits in a masked loss."""
    found: dict[str, NDArray[np.float32]] = {}
    for corpus in sorted(set(corpora)):
        present = {int(emotion) for name, emotion in zip(corpora, emotions, strict=True) if name == corpus}
        found[corpus] = np.array([0.0 if number in present else -30.0 for number in range(N_EMOTIONS)], np.float32)
    return found


def train_head(
    copies: Sequence[NDArray[np.float32]],
    emotions: NDArray[np.int64],
    corpora: Sequence[str],
    *,
    plan: HeadPlan,
    record: Callable[[HeadEpoch], None] = lambda epoch: None,
) -> Head:
    """A head from standardised embeddings.

    Parameters
    ----------
    copies
        The embeddings (n_clips, n_dims) of the same recordings, clean first, then disturbed; every epoch sees each
        recording once, half of them disturbed.
    emotions
        Position in `Emotion` of each recording's label.
    corpora
        Corpus of each recording.
    record
        Is told every epoch's figures.
    """
    members = [
        _train_member(copies, emotions, corpora, plan=plan, member=member, record=record)
        for member in range(plan.n_members)
    ]
    n_dims = copies[0].shape[1]
    joined = Head(plan.width * plan.n_members, members[0].n_groups)
    joined(tf.zeros([1, n_dims]), tf.zeros([1, n_dims]), tf.zeros([1, plan.width * plan.n_members]))
    kernels, biases = zip(*(member.hidden.get_weights() for member in members), strict=True)
    joined.hidden.set_weights([np.concatenate(kernels, axis=1), np.concatenate(biases)])
    kernels, biases = zip(*(member.logits.get_weights() for member in members), strict=True)
    joined.logits.set_weights([np.concatenate(kernels) / plan.n_members, np.mean(biases, axis=0)])
    return joined


def _train_member(
    copies: Sequence[NDArray[np.float32]],
    emotions: NDArray[np.int64],
    corpora: Sequence[str],
    *,
    plan: HeadPlan,
    member: int,
    record: Callable[[HeadEpoch], None],
) -> Head:
    seed = plan.seed + member
    keras.utils.set_random_seed(seed)
    generator = np.random.default_rng(seed)
    n_clips, n_dims = copies[0].shape
    groups = sorted(set(corpora)) if plan.are_corpora_apart else [""]
    head = Head(plan.width, len(groups))
    head(tf.zeros([1, n_dims]), tf.zeros([1, n_dims]), tf.zeros([1, plan.width]))
    n_batches = max(1, n_clips // plan.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(plan.learning_rate, plan.n_epochs * n_batches)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=plan.weight_decay)
    optimizer.build(head.trainable_variables)
    group_of = {corpus: number for number, corpus in enumerate(groups)}
    pairs = emotions + N_EMOTIONS * np.array([group_of.get(corpus, 0) for corpus in corpora])
    targets = np.eye(N_EMOTIONS * len(groups), dtype=np.float32)[pairs]
    by_corpus = missing_emotions(corpora, emotions)
    offsets = np.zeros_like(targets)
    if plan.is_masked_by_corpus:
        offsets += np.tile(np.stack([by_corpus[corpus] for corpus in corpora]), (1, len(groups)))
    rate_0, rate_1 = plan.dropout_rates

    @tf.function(reduce_retracing=True)
    def step(embedding: tf.Tensor, target: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        mask_0 = tf.nn.dropout(tf.ones_like(embedding), rate_0)
        mask_1 = tf.nn.dropout(tf.ones([tf.shape(embedding)[0], plan.width]), rate_1)
        with tf.GradientTape() as tape:
            logits = head.group_logits(embedding, mask_0, mask_1) + offset
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(target, logits))
        gradients = tape.gradient(loss, head.trainable_variables)
        optimizer.apply_gradients(zip(gradients, head.trainable_variables, strict=True))
        return loss

    stacked = np.stack(copies)
    for epoch in range(plan.n_epochs):
        losses = []
        source = np.zeros(n_clips, dtype=np.int64)
        if len(copies) > 1:
            source = generator.integers(1, len(copies), n_clips) * (generator.random(n_clips) < 0.5)
        for chosen in np.array_split(generator.permutation(n_clips), n_batches):
            embedding = stacked[source[chosen], chosen]
            target, offset = targets[chosen], offsets[chosen]
            if plan.mixup_alpha > 0:
                other = generator.permutation(len(chosen))
                share = generator.beta(plan.mixup_alpha, plan.mixup_alpha, (len(chosen), 1)).astype(np.float32)
                share = np.maximum(share, 1 - share)
                embedding = share * embedding + (1 - share) * embedding[other]
                target = share * target + (1 - share) * target[other]
                offset = np.maximum(offset, offset[other])
            losses.append(step(tf.constant(embedding), tf.constant(target), tf.constant(offset)))
        record(HeadEpoch(member=member + 1, epoch=epoch + 1, loss_nats=round(float(np.mean(losses)), 4)))
    return head
