"""A head of somebody's own labels on the encoder of a model that is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import Settings
from core.features.clip_stream import LabelledClip
from core.features.log_mel import log_mel
from core.features.speech import speech_span
from core.features.waveform import Waveform
from core.inference.embedding import embed_waveform
from core.inference.recogniser import Recogniser
from core.inference.registry import ENCODER, HEAD
from training.augment import Plan, augment_log_mel, augment_waveform
from training.head_weights import Array, HeadWeights, logits_of, pass_logits, read_head
from training.lite_head import write_lite_head
from training.refit import Examples, RefitPlan, Round, refit
from training.whole_files import link_or_copy

N_COPIES = 2
"""Disturbed copies of each clip that is learnt from, where augmentations are on."""
DROPOUT_RATES = (0.2, 0.5)
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Clips as an encoder gives them."""

    embeddings: Array
    """(n_clips, 1 + n_copies, n_dims): as they are first, then disturbed."""
    labels: tuple[str, ...]
    speakers: tuple[str, ...]
    names: tuple[str, ...]
    duration_s: float

    def __len__(self) -> int:
        return len(self.labels)


def hear(
    clips: Iterator[LabelledClip],
    recogniser: Recogniser,
    augmentation: Plan,
    *,
    cache: Path,
    after_clip: Callable[[int], None] = lambda n_done: None,
) -> Heard:
    """Embeddings of `clips` and of their copies; those in `cache` are not made again."""
    known = _read_cache(cache, recogniser.card.version)
    is_on = any(augmentation.strength(name) > 0 for name in augmentation.strengths if name != "mixup")
    n_copies = N_COPIES if is_on else 0
    settings = Settings()
    found: list[Array] = []
    said: list[LabelledClip] = []
    duration_s = 0.0
    for number, clip in enumerate(clips):
        parts = []
        for copy in range(1 + n_copies):
            key = f"{number} {copy} {clip.name}"
            if key not in known:
                known[key] = (
                    embed_waveform(recogniser, clip.waveform, settings=settings)
                    if copy == 0
                    else _disturbed(recogniser, clip.waveform, augmentation, (copy, number))
                )
            parts.append(known[key])
        found.append(np.stack(parts))
        duration_s += clip.waveform.duration_s
        said.append(
            LabelledClip(name=clip.name, label=clip.label, speaker=clip.speaker, waveform=_nothing(clip.waveform))
        )
        after_clip(number + 1)
        if (number + 1) % 200 == 0:
            _write_cache(cache, recogniser.card.version, known)
    _write_cache(cache, recogniser.card.version, known)
    n_dims = recogniser.parameters.n_dims
    return Heard(
        embeddings=np.stack(found) if found else np.zeros((0, 1 + n_copies, n_dims), np.float32),
        labels=tuple(clip.label for clip in said),
        speakers=tuple(clip.speaker for clip in said),
        names=tuple(clip.name for clip in said),
        duration_s=duration_s,
    )


def _nothing(waveform: Waveform) -> Waveform:
    return Waveform(samples=np.zeros(0, np.float32), sample_rate=waveform.sample_rate)


def _disturbed(recogniser: Recogniser, waveform: Waveform, plan: Plan, key: tuple[int, ...]) -> Array:
    heard = augment_waveform(waveform, plan=plan, key=key)
    if plan.strength("spec_augment") <= 0:
        return embed_waveform(recogniser, heard, settings=Settings())
    start, end = speech_span(heard)
    longest = round(recogniser.parameters.max_context_s * heard.sample_rate)
    speech = Waveform(samples=heard.samples[start : min(end, start + longest)], sample_rate=heard.sample_rate)
    return recogniser.embed_log_mel(augment_log_mel(log_mel(speech), plan=plan, key=key))


class HeadLearner:
    """Fits heads to what was heard."""

    def __init__(
        self,
        heard: Heard,
        classes: tuple[str, ...],
        *,
        parent: Path,
        n_epochs: int,
        learning_rate: float,
        augmentation: Plan,
        seed: int,
    ) -> None:
        self._heard, self._classes, self._parent = heard, classes, parent
        self._augmentation, self._seed = augmentation, seed
        self._positions = np.array([classes.index(label) for label in heard.labels])
        self._plan = RefitPlan(
            n_epochs=n_epochs,
            learning_rate=learning_rate,
            pull_to_parent=0.0,
            batch_size=BATCH_SIZE,
            replay_per_round=1 << 30,
            dropout_rates=DROPOUT_RATES,
            seed=seed,
        )

    def fit(
        self, training: NDArray[np.intp], *, checkpoint: Path, after_round: Callable[[int, float, FittedHead], None]
    ) -> FittedHead:
        """A head that learnt from the clips `training`; `after_round` is told number, loss in nats and the head."""

        def tell(done: Round) -> None:
            after_round(done.number, done.loss_nats, FittedHead(done.weights, self._heard, self._parent))

        examples = self._examples(training)
        n_dims = self._heard.embeddings.shape[2]
        nothing = Examples(
            embeddings=np.zeros((0, n_dims), np.float32),
            targets=np.zeros((0, len(self._classes)), np.float32),
            importance=np.zeros(0, np.float32),
        )
        weights = refit(self._first(), examples, nothing, plan=self._plan, checkpoint=checkpoint, after_round=tell)
        return FittedHead(weights, self._heard, self._parent)

    def _first(self) -> HeadWeights:
        """Weights to begin with: the parent's hidden layer, which hears feelings already, and no answer yet."""
        parent = read_head(self._parent / HEAD)
        generator = np.random.default_rng([self._seed, 7])
        width = parent.shape[1]
        spread = np.float32(0.1 / np.sqrt(width))
        return HeadWeights(
            hidden_kernel=parent.hidden_kernel,
            hidden_bias=parent.hidden_bias,
            logits_kernel=generator.standard_normal((width, len(self._classes)), dtype=np.float32) * spread,
            logits_bias=np.zeros(len(self._classes), np.float32),
        )

    def _examples(self, training: NDArray[np.intp]) -> Examples:
        """The clips and their copies, labels as common as each other; with mixup, as many mixtures of two."""
        n_views = self._heard.embeddings.shape[1]
        embeddings = self._heard.embeddings[training].reshape(len(training) * n_views, -1)
        positions = np.repeat(self._positions[training], n_views)
        counts = np.bincount(positions, minlength=len(self._classes))
        importance = (len(positions) / (len(self._classes) * counts[positions])).astype(np.float32)
        targets = np.eye(len(self._classes), dtype=np.float32)[positions]
        strength = self._augmentation.strength("mixup")
        if strength > 0:
            generator = np.random.default_rng([self._augmentation.seed, 11])
            other = generator.permutation(len(positions))
            share = generator.beta(0.4 * strength, 0.4 * strength, (len(positions), 1)).astype(np.float32)
            embeddings = np.concatenate([embeddings, share * embeddings + (1 - share) * embeddings[other]])
            targets = np.concatenate([targets, share * targets + (1 - share) * targets[other]])
            importance = np.concatenate([importance, share[:, 0] * importance + (1 - share[:, 0]) * importance[other]])
        return Examples(embeddings=embeddings, targets=targets, importance=importance)


class FittedHead:
    """A head, and what it says of the clips."""

    def __init__(self, weights: HeadWeights, heard: Heard, parent: Path) -> None:
        self._weights, self._heard, self._parent = weights, heard, parent

    def logits(self, indices: NDArray[np.intp]) -> Array:
        """(n_clips, n_labels), with every unit kept."""
        return logits_of(self._weights, self._heard.embeddings[indices, 0])

    def pass_logits(self, indices: NDArray[np.intp]) -> Array:
        """(n_passes, n_clips, n_labels), with dropout."""
        return pass_logits(self._weights, self._heard.embeddings[indices, 0], dropout_rates=DROPOUT_RATES)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write encoder and head; gives what their card has to say under `serving`."""
        link_or_copy(self._parent / ENCODER, folder / ENCODER)
        write_lite_head(self._weights, folder / HEAD)
        n_dims, width, _ = self._weights.shape
        return {"n_dims": n_dims, "mask_widths": [n_dims, width], "dropout_rates": list(DROPOUT_RATES)}


def _read_cache(cache: Path, version: str) -> dict[str, Array]:
    if not cache.exists():
        return {}
    with np.load(cache) as stored:
        if str(stored["version"]) != version:
            return {}
        return dict(zip(stored["keys"].tolist(), stored["embeddings"], strict=True))


def _write_cache(cache: Path, version: str, known: dict[str, Array]) -> None:
    if not known:
        return
    partial = cache.with_name(cache.name + ".part")
    with partial.open("wb") as file:
        np.savez(file, version=version, keys=np.array(list(known)), embeddings=np.stack(list(known.values())))
    partial.replace(cache)
