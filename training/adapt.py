"""What labels add to the teacher: a head on its frozen layers, pooling by attention, and fine-tuned upper blocks.

Everything starts from the cached layers, so that blocks that stay as they are never run again. A network learns from
the training part of a split; the epoch count is fixed beforehand, and validation and test parts are only asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import structlog
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from training.cache import LayerCache, Recordings, ahead, batches
from training.corpora import manifest_sha256
from training.distil import Checkpoint
from training.heads import N_EMOTIONS, Head, pool
from training.judge import emotion_numbers
from training.networks import AttentionPooling, share_of_learning_rate
from training.precision import policy_of_this_machine
from training.splits import Split
from training.student import N_BLOCKS
from training.train import Places, prepare, teacher_layers
from training.whisper import Block, Encoder, load_teacher
from training.whole_files import digest_of, write_atomically

_log = structlog.get_logger("training")
stateless_dropout = tf.nn.experimental.stateless_dropout

ENGLISH = ("RAVDESS", "CREMA-D", "TESS", "SAVEE")
HIDDEN_WIDTH = 512
ATTENTION_WIDTH = 256
CHANNEL_DROPOUT = 0.3
"""Of the frames that attention sees, whole channels at a time, as the embedding's are dropped."""
MIXUP_ALPHA = 0.8
DROPOUT_RATES = (0.5, 0.5)
"""Of the embedding and of the hidden units."""
FRAMES_PER_BATCH = 6_000
HEAD_RATE, BLOCK_RATE = 1e-3, 5e-5
"""Highest learning rates, of what is new and of blocks that know something already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to use the teacher."""

    name: str
    has_attention: bool = False
    """Whether the embedding also holds mean and deviation weighted by attention."""
    n_tuned: int = 0
    """Blocks from the last one down that go on learning once the head has learnt on them as they are."""
    n_epochs: int = 12
    n_tuned_epochs: int = 0


METHODS = (
    Method(name="frozen, mean and deviation"),
    Method(name="frozen, attention pooling beside them", has_attention=True),
    Method(name="last block fine-tuned", n_tuned=1, n_tuned_epochs=4),
    Method(name="last two blocks fine-tuned", n_tuned=2, n_tuned_epochs=4),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What came of one method."""

    name: str
    n_trained: int
    """Parameters that learnt."""
    training_accuracy: float
    validation_accuracy: float
    validation_nats: float
    """Mean negative log-likelihood; no temperature."""
    test_accuracies: dict[str, float]
    """By corpus, and "all"."""
    seconds: float


class OnTeacher:
    """Some of the teacher's blocks, pooling over time, and a head that tells (corpus, emotion) pairs apart."""

    def __init__(self, tuned: Sequence[Block], *, n_blocks: int, n_groups: int, has_attention: bool) -> None:
        self.tuned = list(tuned)
        self.n_blocks = n_blocks
        self.head = Head(HIDDEN_WIDTH, n_groups)
        self.mean, self.scale = tf.constant(0.0), tf.constant(1.0)
        self.frame_mean, self.frame_scale = tf.constant(0.0), tf.constant(1.0)
        self.project = layers.Dense(ATTENTION_WIDTH, activation="gelu", name="project") if has_attention else None
        self.attend = AttentionPooling(name="attend") if has_attention else None
        self.level = layers.LayerNormalization(name="level") if has_attention else None

    def standardise(self, pooled: NDArray[np.float32]) -> None:
        """Take mean and deviation of every number from embeddings (n_clips, n_dims) of training recordings."""
        self.mean, self.scale = tf.constant(pooled.mean(axis=0)), tf.constant(pooled.std(axis=0) + 1e-4)
        by_block = pooled.reshape(len(pooled), -1, 2, pooled.shape[1] // (2 * self.n_blocks))
        means, deviations = by_block[:, :, 0], by_block[:, :, 1]
        self.frame_mean = tf.constant(means.mean(axis=0).ravel())
        self.frame_scale = tf.constant(np.sqrt(np.square(deviations).mean(axis=0) + means.var(axis=0)).ravel() + 1e-4)

    def embed(self, outputs: Sequence[tf.Tensor], mask: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Mean and deviation of every block (n_clips, n_dims), and the outputs of all blocks, tuned ones included."""
        everything = [tf.cast(output, tf.float32) for output in outputs]
        for block in self.tuned:
            everything.append(block(everything[-1], mask))
        return pool([everything[0], *everything], mask), everything

    @property
    def new_variables(self) -> list[keras.Variable]:
        """What stands on the blocks; complete once the network was called."""
        parts = [part for part in (self.project, self.attend, self.level, self.head) if part is not None]
        return [variable for part in parts for variable in part.trainable_variables]

    def __call__(self, outputs: Sequence[tf.Tensor], mask: tf.Tensor, *, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Embedding (n_clips, n_dims) ready for the head, of the outputs of the blocks below.

        Parameters
        ----------
        seed
            (2,) whole numbers: channels that attention sees are dropped, drawn by these; none are without it.
        """
        pooled, everything = self.embed(outputs, mask)
        embedding = tf.clip_by_value((pooled - self.mean) / self.scale, -8.0, 8.0)
        if self.project is None or self.attend is None or self.level is None:
            return embedding
        frames = tf.clip_by_value((tf.concat(everything, axis=-1) - self.frame_mean) / self.frame_scale, -8.0, 8.0)
        if seed is not None:
            shape = [tf.shape(frames)[0], 1, frames.shape[-1]]
            frames = stateless_dropout(frames, CHANNEL_DROPOUT, seed, noise_shape=shape)
        return tf.concat([embedding, self.level(self.attend(self.project(frames), mask))], axis=-1)


def adapt(
    method: Method,
    teacher: Encoder,
    targets: LayerCache,
    recordings: Recordings,
    split: Split,
    *,
    corpora: Sequence[str],
    folder: Path,
    seed: int = 0,
) -> Adapted:
    """Train one method on the training part of `split`; the result is kept below `folder` and read from there again.

    Parameters
    ----------
    teacher
        With as many blocks as `targets` has layers behind the stem. Its tuned blocks change.
    corpora
        Only recordings of these are learnt from and asked about.
    """
    digest = digest_of(asdict(method), list(corpora), split.name, seed, manifest_sha256(recordings.rows))
    folder = folder / f"{method.name.replace(' ', '_').replace(',', '')}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "result.json"
    if kept.exists():
        return Adapted(**json.loads(kept.read_text()))
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    training, validation, test = (
        np.array([index for index in recordings.indices(part) if recordings.rows[index].corpus in corpora])
        for part in (split.training, split.validation, split.test)
    )
    groups = sorted({recordings.rows[index].corpus for index in training})
    n_fixed = teacher.n_blocks - method.n_tuned
    network = OnTeacher(
        teacher.blocks[n_fixed:],
        n_blocks=teacher.n_blocks,
        n_groups=len(groups),
        has_attention=method.has_attention,
    )
    reader = _Reader(targets, range(1, n_fixed + 1), recordings)
    pooled = np.concatenate([network.embed(*reader(batch))[0].numpy() for batch in reader.batches(training, None)])
    network.standardise(pooled)
    embedding = network(*reader(training[:1]))
    network.head(embedding, tf.ones_like(embedding), tf.ones([1, HIDDEN_WIDTH]))

    emotions = emotion_numbers(recordings)
    number = {corpus: position for position, corpus in enumerate(groups)}
    pairs = emotions + N_EMOTIONS * np.array([number.get(row.corpus, 0) for row in recordings.rows])
    tuned = [variable for block in network.tuned for variable in block.trainable_variables]
    new = network.new_variables
    _fit(network, reader, training, pairs, new, (), n_epochs=method.n_epochs, folder=folder, name="head", seed=seed)
    if method.n_tuned:
        _fit(
            network,
            reader,
            training,
            pairs,
            new,
            tuned,
            n_epochs=method.n_tuned_epochs,
            folder=folder,
            name="fine_tune",
            seed=seed + 1,
        )

    def right(indices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether each is answered right, and the probability of its label."""
        probabilities = np.zeros((len(recordings.rows), N_EMOTIONS))
        for batch in reader.batches(indices, None):
            embedding = network(*reader(batch))
            ones = tf.ones([len(batch), HIDDEN_WIDTH])
            probabilities[batch] = tf.nn.softmax(network.head(embedding, tf.ones_like(embedding), ones)).numpy()
        found = probabilities[indices]
        return found.argmax(axis=1) == emotions[indices], found[np.arange(len(indices)), emotions[indices]]

    of_test, _ = right(test)
    of_validation, likelihood = right(validation)
    corpus_of = np.array([recordings.rows[index].corpus for index in test])
    found = Adapted(
        name=method.name,
        n_trained=sum(int(np.prod(variable.shape)) for variable in [*new, *tuned]),
        training_accuracy=float(right(training)[0].mean()),
        validation_accuracy=float(of_validation.mean()),
        validation_nats=float(-np.log(np.maximum(likelihood, 1e-12)).mean()),
        test_accuracies={
            **{str(corpus): float(of_test[corpus_of == corpus].mean()) for corpus in np.unique(corpus_of)},
            "all": float(of_test.mean()),
        },
        seconds=time.monotonic() - started,
    )
    write_atomically(kept, json.dumps(asdict(found), indent=1) + "\n")
    _log.info(method.name, validation=round(found.validation_accuracy, 3), seconds=round(found.seconds))
    return found


def adapted_table(rows: Sequence[Adapted], *, protocol: str) -> str:
    """The methods side by side in Markdown; accuracies in per cent."""
    corpora = list(rows[0].test_accuracies)
    titles = ["what learns", "parameters", "training", "validation", "nats", *(f"test {name}" for name in corpora)]
    lines = [
        [
            row.name,
            f"{row.n_trained / 1e6:.1f} M",
            f"{100 * row.training_accuracy:.1f}",
            f"{100 * row.validation_accuracy:.1f}",
            f"{row.validation_nats:.3f}",
            *(f"{100 * row.test_accuracies[name]:.1f}" for name in corpora),
        ]
        for row in rows
    ]
    table = [titles, ["---"] * len(titles), *lines]
    return protocol + "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"


def compare_methods(places: Places, *, fold: int, corpora: Sequence[str] = ENGLISH) -> str:
    """Train every method on one speaker-independent fold, below `places.run`, and give their table."""
    material = prepare(places)
    targets = teacher_layers(places, material)
    split = material.folds[fold - 1]
    rows = []
    for method in METHODS:
        keras.mixed_precision.set_global_policy(policy_of_this_machine())
        teacher = load_teacher(places.teacher, n_blocks=N_BLOCKS)
        teacher.trainable = True
        keras.mixed_precision.set_global_policy("float32")
        folder = places.run / f"teacher-fold-{fold}"
        rows.append(adapt(method, teacher, targets, material.recordings, split, corpora=corpora, folder=folder))
    table = adapted_table(rows, protocol=f"{', '.join(corpora)}; fold {fold} of 5, speakers apart.")
    write_atomically(places.run / f"teacher-fold-{fold}.md", table)
    return table


class _Reader:
    """Layers of recordings as tensors, from the cache."""

    def __init__(self, targets: LayerCache, wanted: Sequence[int], recordings: Recordings) -> None:
        self._targets, self._wanted, self._recordings = targets, wanted, recordings

    def __call__(self, batch: NDArray[np.int64]) -> tuple[list[tf.Tensor], tf.Tensor]:
        read = [self._targets.padded(layer, batch) for layer in self._wanted]
        return [tf.constant(values) for values, _ in read], tf.constant(read[0][1])

    def batches(self, indices: NDArray[np.int64], seed: int | None) -> list[NDArray[np.int64]]:
        return batches(indices, self._recordings.n_frames, frames_per_batch=FRAMES_PER_BATCH, seed=seed)


def _fit(
    network: OnTeacher,
    reader: _Reader,
    training: NDArray[np.int64],
    pairs: NDArray[np.int64],
    new: Sequence[keras.Variable],
    tuned: Sequence[keras.Variable],
    *,
    n_epochs: int,
    folder: Path,
    name: str,
    seed: int,
) -> None:
    """Train `new` at `HEAD_RATE`, a tenth of it once blocks learn too, and `tuned` at `BLOCK_RATE`."""
    rates = [(list(new), HEAD_RATE * (0.1 if tuned else 1.0)), *([(list(tuned), BLOCK_RATE)] if tuned else [])]
    optimizers = []
    for variables, rate in rates:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-2, clipnorm=1.0)
        optimizer.build(variables)
        optimizers.append((variables, optimizer, rate))
    learnt = [variable for variables, *_ in optimizers for variable in variables]
    n_pairs = N_EMOTIONS * network.head.n_groups
    states = [variable for _, optimizer, _ in optimizers for variable in optimizer.variables]
    checkpoint = Checkpoint(folder / f"{name}.npz", [*learnt, *states])

    @tf.function(reduce_retracing=True)
    def step(
        outputs: list[tf.Tensor],
        mask: tf.Tensor,
        target: tf.Tensor,
        other: tf.Tensor,
        share: tf.Tensor,
        draw: tf.Tensor,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            embedding = network(outputs, mask, seed=draw)
            embedding = share * embedding + (1 - share) * tf.gather(embedding, other)
            mixed = share * target + (1 - share) * tf.gather(target, other)
            mask_0 = stateless_dropout(tf.ones_like(embedding), DROPOUT_RATES[0], draw + 1)
            mask_1 = stateless_dropout(tf.ones([tf.shape(embedding)[0], HIDDEN_WIDTH]), DROPOUT_RATES[1], draw + 2)
            logits = network.head.group_logits(embedding, mask_0, mask_1)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(mixed, logits))
        gradients = tape.gradient(loss, learnt)
        first = 0
        for variables, optimizer, _ in optimizers:
            optimizer.apply_gradients(zip(gradients[first : first + len(variables)], variables, strict=True))
            first += len(variables)
        return loss

    for epoch in range(checkpoint.restore(), n_epochs):
        generator = np.random.default_rng([seed, epoch])
        work = reader.batches(training, seed * 1000 + epoch)
        losses = []
        for number, (batch, (outputs, mask)) in enumerate(ahead(work, reader)):
            for _, optimizer, rate in optimizers:
                optimizer.learning_rate.assign(
                    rate * share_of_learning_rate((epoch + (number + 1) / len(work)) / n_epochs)
                )
            share = generator.beta(MIXUP_ALPHA, MIXUP_ALPHA, (len(batch), 1)).astype(np.float32)
            target = np.eye(n_pairs, dtype=np.float32)[pairs[batch]]
            losses.append(
                step(
                    outputs,
                    mask,
                    tf.constant(target),
                    tf.constant(generator.permutation(len(batch)).astype(np.int32)),
                    tf.constant(np.maximum(share, 1 - share)),
                    tf.constant([seed * 1000 + epoch, 3 * number], tf.int32),
                ).numpy()
            )
        checkpoint.save(epoch + 1)
        _log.info(f"{folder.name}/{name} {epoch + 1}/{n_epochs}", loss_nats=round(float(np.mean(losses)), 3))
