"""A network of somebody's own, from random weights: what hears is learnt from their clips as well.

What a clip looks like to the network is kept in memory only: a log-mel tells what was said, and nothing of that kind is
written to a disk. After a restart the clips are heard again, and the fit goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from core.config import Settings
from core.features.clip_stream import LabelledClip
from core.features.log_mel import N_MELS, log_mel
from core.features.speech import speech_span
from core.features.waveform import Waveform
from core.features.windows import sliding_windows
from training.augment import Batch, Plan, augment_batch, augment_log_mel, augment_waveform
from training.custom_head import N_COPIES
from training.distil import Checkpoint
from training.head_weights import dropout_mask
from training.networks import Network, build_network, export_network, share_of_learning_rate

MAX_CONTEXT_S = 5.0
"""Longer clips are heard through windows, as by the models that ship."""
BATCH_SIZE = 32
N_PASSES = 12
FRAMES_TOGETHER = 50
"""Lengths are rounded up to whole half seconds: few shapes, so few graphs."""
LABEL_SMOOTHING = 0.05
WEIGHT_DECAY = 0.01

Array = NDArray[np.float32]
Pieces = tuple[NDArray[np.float16], ...]
"""Log-mels of the stretches that one clip is judged by, each (n_frames, n_mels)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Clips as a network is given them."""

    views: tuple[tuple[Pieces, ...], ...]
    """By clip: as it is first, then disturbed."""
    labels: tuple[str, ...]
    speakers: tuple[str, ...]
    duration_s: float

    def __len__(self) -> int:
        return len(self.labels)


def be_modest() -> None:
    """One core. Before tensorflow is first asked for anything."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def see(
    clips: Iterator[LabelledClip], augmentation: Plan, *, after_clip: Callable[[int], None] = lambda n_done: None
) -> Seen:
    """Log-mels of `clips` and of disturbed copies of them."""
    is_on = any(augmentation.strength(name) > 0 for name in set(augmentation.strengths) - {"mixup", "spec_augment"})
    views, labels, speakers = [], [], []
    duration_s = 0.0
    for number, clip in enumerate(clips):
        copies = [
            augment_waveform(clip.waveform, plan=augmentation, key=(copy, number))
            for copy in range(1, 1 + N_COPIES if is_on else 1)
        ]
        views.append(tuple(_pieces(waveform) for waveform in (clip.waveform, *copies)))
        labels.append(clip.label)
        speakers.append(clip.speaker)
        duration_s += clip.waveform.duration_s
        after_clip(number + 1)
    return Seen(views=tuple(views), labels=tuple(labels), speakers=tuple(speakers), duration_s=duration_s)


def _pieces(waveform: Waveform) -> Pieces:
    """The speech, or that of each window where it is long: as `core.inference.embedding` hears a recording."""
    start, end = speech_span(waveform)
    if end - start <= MAX_CONTEXT_S * waveform.sample_rate:
        return (_log_mel(waveform, start, end),)
    settings, rate = Settings(), waveform.sample_rate
    found = []
    for begin_s, end_s in sliding_windows(waveform.duration_s, window_s=settings.window_s, hop_s=settings.hop_s):
        window = Waveform(samples=waveform.samples[round(begin_s * rate) : round(end_s * rate)], sample_rate=rate)
        found.append(_log_mel(window, *speech_span(window)))
    return tuple(found)


def _log_mel(waveform: Waveform, start: int, end: int) -> NDArray[np.float16]:
    speech = Waveform(samples=waveform.samples[start:end], sample_rate=waveform.sample_rate)
    return log_mel(speech).astype(np.float16)  # half of the memory; its steps are a thousandth of what noise changes


class NetworkLearner:
    """Fits networks to what was seen."""

    def __init__(
        self,
        seen: Seen,
        classes: tuple[str, ...],
        *,
        network: str,
        n_epochs: int,
        learning_rate: float,
        augmentation: Plan,
        seed: int,
    ) -> None:
        self._seen, self._classes, self._network = seen, classes, network
        self._n_epochs, self._learning_rate = n_epochs, learning_rate
        self._augmentation, self._seed = augmentation, seed
        self._positions = np.array([classes.index(label) for label in seen.labels])

    def fit(
        self, training: NDArray[np.intp], *, checkpoint: Path, after_round: Callable[[int, float, FittedNetwork], None]
    ) -> FittedNetwork:
        """A network that learnt from the clips `training`; `after_round` is told number, loss in nats and the network.

        Its means and variances are those of `training` alone.
        """
        frames = np.concatenate([piece for index in training for piece in self._seen.views[index][0]])
        sample = frames[:: max(len(frames) // 50_000, 1)].astype(np.float32)
        network = build_network(
            self._network,
            log_mel_mean=sample.mean(axis=0),
            log_mel_variance=sample.var(axis=0),
            n_emotions=len(self._classes),
            seed=self._seed,
        )
        optimizer = keras.optimizers.AdamW(self._learning_rate, weight_decay=WEIGHT_DECAY, clipnorm=1.0)
        optimizer.build(network.model.trainable_variables)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)
        network.model.compile(optimizer, loss, jit_compile=False)
        kept = Checkpoint(checkpoint, [*network.model.variables, *optimizer.variables])
        fitted = FittedNetwork(network, self._seen)
        n_steps = -(-len(training) // BATCH_SIZE)
        for epoch in range(kept.restore(), self._n_epochs):
            losses = []
            for step, batch in enumerate(self._batches(training, epoch)):
                share = (epoch * n_steps + step + 1) / (self._n_epochs * n_steps)
                optimizer.learning_rate = self._learning_rate * share_of_learning_rate(share)
                losses.append(float(network.model.train_on_batch([batch.log_mels, batch.frame_mask], batch.targets)))
            try:
                after_round(epoch + 1, float(np.mean(losses)), fitted)
            finally:  # kept behind the telling: killed in between, a round is made and told again, never left out
                kept.save(epoch + 1)
        return fitted

    def _batches(self, training: NDArray[np.intp], epoch: int) -> Iterator[Batch]:
        """As many clips as there are, labels alike, each as one of its views; drawn for `epoch`."""
        rng = np.random.default_rng([self._seed, 3, epoch])
        order = _alike(training, self._positions[training], n_labels=len(self._classes), rng=rng)
        for start in range(0, len(order), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            heard = []
            for place, index in enumerate(chosen.tolist()):
                views = self._seen.views[index]
                pieces = views[rng.integers(len(views))]
                piece = pieces[rng.integers(len(pieces))].astype(np.float32)
                heard.append(augment_log_mel(piece, plan=self._augmentation, key=(epoch, start + place)))
            log_mels, frame_mask = _padded(heard)
            targets = np.eye(len(self._classes), dtype=np.float32)[self._positions[chosen]]
            batch = Batch(log_mels=log_mels, frame_mask=frame_mask, targets=targets)
            yield augment_batch(batch, plan=self._augmentation, key=(epoch, start))


def _alike(
    training: NDArray[np.intp], positions: NDArray[np.int64], *, n_labels: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """As many of `training` as there are, in a drawn order, every label as often: rare ones come several times.

    >>> order = _alike(np.arange(6), np.array([0, 0, 0, 0, 0, 1]), n_labels=2, rng=np.random.default_rng(0))
    >>> sorted(order.tolist())[-3:], len(order)
    ([5, 5, 5], 6)
    """
    present = [label for label in range(n_labels) if (positions == label).any()]
    n_each = max(1, round(len(training) / len(present)))
    drawn = []
    for label in present:
        own = training[positions == label]
        rounds = [rng.permutation(own) for _ in range(-(-n_each // len(own)))]
        drawn.append(np.concatenate(rounds)[:n_each])
    return rng.permutation(np.concatenate(drawn))


def _padded(pieces: Sequence[Array]) -> tuple[Array, Array]:
    longest = -(-max(len(piece) for piece in pieces) // FRAMES_TOGETHER) * FRAMES_TOGETHER
    log_mels = np.zeros((len(pieces), longest, N_MELS), np.float32)
    frame_mask = np.zeros((len(pieces), longest), np.float32)
    for place, piece in enumerate(pieces):
        log_mels[place, : len(piece)] = piece
        frame_mask[place, : len(piece)] = 1
    return log_mels, frame_mask


class FittedNetwork:
    """A network, and what it says of the clips."""

    def __init__(self, network: Network, seen: Seen) -> None:
        self._network, self._seen = network, seen

    def logits(self, indices: NDArray[np.intp]) -> Array:
        """(n_clips, n_labels), with every unit kept."""
        return self._head(self._embeddings(indices))

    def pass_logits(self, indices: NDArray[np.intp]) -> Array:
        """(n_passes, n_clips, n_labels), with dropout in the head, as serving has it."""
        embeddings = self._embeddings(indices)
        generator = np.random.default_rng(0)
        passes = []
        for _ in range(N_PASSES):
            masks = [
                dropout_mask(generator, (len(indices), width), rate)
                for width, rate in zip(self._network.mask_widths, self._network.dropout_rates, strict=True)
            ]
            passes.append(self._head(embeddings, *masks))
        return np.stack(passes)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write encoder and head; gives what their card has to say under `serving`."""
        bundle = export_network(self._network)
        bundle.write(folder)
        return {
            "n_dims": bundle.n_dims,
            "mask_widths": list(bundle.mask_widths),
            "dropout_rates": list(bundle.dropout_rates),
            "max_context_s": MAX_CONTEXT_S,
        }

    def _embeddings(self, indices: NDArray[np.intp]) -> Array:
        """(n_clips, n_dims) of the clips as they are: of several pieces, the mean."""
        pieces = [(row, piece) for row, index in enumerate(indices.tolist()) for piece in self._seen.views[index][0]]
        pieces.sort(key=lambda pair: len(pair[1]))
        found = np.zeros((len(indices), self._network.mask_widths[0]), np.float32)
        for start in range(0, len(pieces), BATCH_SIZE):
            some = pieces[start : start + BATCH_SIZE]
            embedded = self._network.encoder.predict_on_batch(list(_padded([piece for _, piece in some])))
            for (row, _), embedding in zip(some, embedded, strict=True):
                found[row] += embedding / len(self._seen.views[indices[row]][0])
        return found

    def _head(self, embeddings: Array, mask_0: Array | float = 1.0, mask_1: Array | float = 1.0) -> Array:
        hidden, output = self._network.head_layers
        (kernel, bias), (out_kernel, out_bias) = (layer.get_weights() for layer in (hidden, output))
        before: Array = (embeddings * mask_0) @ kernel + bias
        logits: Array = (np.maximum(before, 0) * mask_1) @ out_kernel + out_bias
        return logits
