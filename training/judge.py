"""What an encoder is worth: embeddings of every recording, heads inside each protocol, scores with intervals.

A head, its temperature and its scores never share a recording: it learns from a split's training part, its temperature
comes from the validation part, its scores from the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from core.domain import Emotion
from training.cache import Recordings, ahead, batches, padded_log_mels
from training.calibrate import N_PASSES, fit_temperature, mean_probabilities, pass_logits
from training.corpora import manifest_sha256
from training.distil import disturb
from training.heads import Head, HeadEpoch, HeadPlan, pool, predict_logits, principal_axes, standardised, train_head
from training.progress import Progress
from training.report import scores_for_card
from training.scores import ScoredRecording, summarise_answers
from training.splits import Split
from training.training_record import Exposure, TrainingRecord
from training.whisper import Encoder, frame_mask

DISTURBED_SHARE = 0.4
ABSTENTION_CONFIDENCE = 0.4
"""As serving by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """Pooled layers of every recording before scaling: (n_clips, n_dims), clean and disturbed."""

    clean: NDArray[np.float32]
    disturbed: NDArray[np.float32]
    further: tuple[NDArray[np.float32], ...] = ()
    """Other copies that heads learn from."""

    def among(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `indices` that were embedded; the rest hold zeros."""
        return indices[self.clean[indices].any(axis=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedHead:
    """A head with the scaling of its embeddings and its temperature."""

    head: Head
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    axes: NDArray[np.float32] | None
    """(n_dims, n_components) where the plan wants fewer dimensions."""
    temperature: float
    validation_logits: NDArray[np.float32]
    """(n_passes, n_validation, n_emotions)"""
    validation: NDArray[np.int64]

    def inputs(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings (n_clips, n_dims) as the head takes them."""
        return _inputs(embeddings, self.mean, self.scale, self.axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Calibrated probabilities of test recordings under one protocol."""

    indices: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    plain_confidence: NDArray[np.float64]
    """Largest probability without dropout."""
    expected_entropy: NDArray[np.float64]
    mutual_information: NDArray[np.float64]


def embed_all(
    encoder: Encoder,
    recordings: Recordings,
    *,
    path: Path,
    wanted: NDArray[np.int64],
    heard: NDArray[np.int64],
    audio: Path,
    copies: Recordings | None = None,
    n_copies: int = 0,
    seed: int = 0,
) -> Embeddings:
    """Embeddings of the recordings `wanted`, and of a drawn part of `heard` disturbed; from `path` when they are there.

    Babble is mixed from `heard` only. Recordings that are not disturbed have their clean embedding in both.

    Parameters
    ----------
    audio
        Folder that the manifest's paths begin in: whole files are disturbed, then cut, so that heads learn from the
        cuts that noise makes in serving.
    copies, n_copies
        As `training.copies.with_sped_copies` numbers them, and how many of each of `wanted` are embedded too.
    """
    if path.exists():
        return read_embeddings(path, n_copies=n_copies)
    encode = tf.function(
        lambda mels, mask: pool(encoder(mels, mask), frame_mask(mask)),
        input_signature=[tf.TensorSpec([None, None, 80]), tf.TensorSpec([None, None])],
    )

    n_rows = len(recordings.rows)

    def embed(
        indices: NDArray[np.int64], name: str, waveform_of: Callable[[int], object], *, source: Recordings = recordings
    ) -> NDArray[np.float32]:
        found = np.zeros((n_rows, 2 * encoder.width * encoder.n_blocks), dtype=np.float32)
        work = batches(indices, source.n_frames, frames_per_batch=3_000, seed=None)
        with Progress(f"{path.stem} {name}", len(indices)) as progress:
            for batch, (mels, mask) in ahead(work, lambda b: padded_log_mels([waveform_of(int(index)) for index in b])):
                found[batch % n_rows] = encode(tf.constant(mels), tf.constant(mask)).numpy()
                progress.advance(len(batch))
        return found

    clean = embed(wanted, "clean", recordings.waveform)
    further = tuple(
        embed(wanted + copy * n_rows, f"copy {copy}", copies.waveform, source=copies)
        for copy in range(1, n_copies + 1)
        if copies is not None
    )
    disturbed = clean.copy()
    if not len(heard):
        return _kept(path, Embeddings(clean=clean, disturbed=disturbed, further=further))
    chosen = np.sort(np.random.default_rng(seed).choice(heard, size=round(DISTURBED_SHARE * len(heard)), replace=False))
    disturbed[chosen] = embed(
        chosen,
        "disturbed",
        lambda index: disturb(
            recordings, index, others=heard, rng=np.random.default_rng([seed, 77, index]), audio=audio
        ),
    )[chosen]
    return _kept(path, Embeddings(clean=clean, disturbed=disturbed, further=further))


def read_embeddings(path: Path, *, n_copies: int) -> Embeddings:
    """What `embed_all` kept at `path`, with so many copies of each recording.

    Raises
    ------
    FileNotFoundError
        It kept nothing there.
    """
    with np.load(path) as stored:
        further = tuple(stored[f"copy_{copy}"] for copy in range(1, n_copies + 1))
        return Embeddings(clean=stored["clean"], disturbed=stored["disturbed"], further=further)


def _kept(path: Path, embeddings: Embeddings) -> Embeddings:
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        copies = {f"copy_{number}": copy for number, copy in enumerate(embeddings.further, start=1)}
        np.savez(file, clean=embeddings.clean, disturbed=embeddings.disturbed, **copies)
    partial.replace(path)
    return embeddings


def emotion_numbers(recordings: Recordings) -> NDArray[np.int64]:
    """Position in `Emotion` of every recording's label."""
    order = {emotion: number for number, emotion in enumerate(Emotion)}
    return np.array([order[row.emotion] for row in recordings.rows], dtype=np.int64)


def fit_head(
    embeddings: Embeddings,
    recordings: Recordings,
    *,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    plan: HeadPlan,
    record: Callable[[HeadEpoch], None] = lambda epoch: None,
) -> FittedHead:
    """A head from `training`; its temperature from `validation`, or 1 where there is none.

    `record` hears every epoch.
    """
    emotions = emotion_numbers(recordings)
    corpora = [recordings.rows[index].corpus for index in training]
    mean = embeddings.clean[training].mean(axis=0)
    scale = embeddings.clean[training].std(axis=0) + 1e-4
    clean = standardised(embeddings.clean[training], mean, scale)
    axes = principal_axes(clean, plan.n_components) if plan.n_components else None
    copies = [
        _inputs(part[training], mean, scale, axes)
        for part in (embeddings.clean, embeddings.disturbed, *embeddings.further)
    ]
    head = train_head(copies, emotions[training], corpora, plan=plan, record=record)
    logits = pass_logits(
        head, _inputs(embeddings.clean[validation], mean, scale, axes), dropout_rates=plan.dropout_rates
    )
    temperature = fit_temperature(logits, emotions[validation]) if len(validation) else 1.0
    return FittedHead(
        head=head,
        mean=mean,
        scale=scale,
        axes=axes,
        temperature=temperature,
        validation_logits=logits,
        validation=validation,
    )


def answer(fitted: FittedHead, embeddings: NDArray[np.float32], indices: NDArray[np.int64], plan: HeadPlan) -> Answers:
    """What a head says of `indices`, mean of the passes, calibrated."""
    scaled = fitted.inputs(embeddings[indices])
    logits = pass_logits(fitted.head, scaled, dropout_rates=plan.dropout_rates)
    passes = np.stack([mean_probabilities(one[None], temperature=fitted.temperature) for one in logits])
    probabilities = passes.mean(axis=0)
    expected_entropy = _entropy(passes).mean(axis=0)
    plain = mean_probabilities(predict_logits(fitted.head, scaled)[None], temperature=fitted.temperature)
    return Answers(
        indices=indices,
        probabilities=probabilities,
        plain_confidence=plain.max(axis=1),
        expected_entropy=expected_entropy,
        mutual_information=_entropy(probabilities) - expected_entropy,
    )


def answer_split(
    split: Split,
    embeddings: Embeddings,
    recordings: Recordings,
    plan: HeadPlan,
    *,
    corpora: Sequence[str],
    record: Callable[[HeadEpoch], None] = lambda epoch: None,
) -> tuple[Answers, FittedHead]:
    """Answers for the test part of `split`, recordings of `corpora` only, from a head of its training part.

    `record` hears every epoch.
    """
    training, validation, test = (
        embeddings.among(
            np.array([index for index in recordings.indices(part) if recordings.rows[index].corpus in corpora])
        )
        for part in (split.training, split.validation, split.test)
    )
    fitted = fit_head(embeddings, recordings, training=training, validation=validation, plan=plan, record=record)
    return answer(fitted, embeddings.clean, test, plan), fitted


def select(answers: Answers, chosen: NDArray[np.bool_]) -> Answers:
    """Some of the answers."""
    return Answers(**{field.name: getattr(answers, field.name)[chosen] for field in fields(Answers)})


def joined(answers: Sequence[Answers]) -> Answers:
    """Answers of several folds as one."""
    return Answers(
        **{field.name: np.concatenate([getattr(part, field.name) for part in answers]) for field in fields(Answers)}
    )


def score(
    answers: Answers,
    recordings: Recordings,
    *,
    title: str,
    protocol: str,
    exposure: Exposure,
    corpora: Sequence[str],
    name: str,
    votes: Mapping[str, tuple[Emotion, ...]],
) -> dict[str, object]:
    """Scores with 95 % bootstrap intervals, pooled, by corpus, language and sex, as a card holds them.

    Parameters
    ----------
    exposure
        What the encoder and the head behind `answers` knew of these recordings.
    corpora
        What they were trained on; emotions that none of these has are not known to the model.
    votes
        From `training.scores.read_votes`: what listeners said of CREMA-D's voices.
    """
    known = tuple(
        emotion
        for emotion in Emotion
        if any(row.emotion == emotion for row in recordings.rows if row.corpus in corpora)
    )
    scored = [
        ScoredRecording(
            row=recordings.rows[index],
            exposure=exposure,
            probabilities=tuple(float(value) for value in answers.probabilities[position]),
            plain_confidence=float(answers.plain_confidence[position]),
            predictive_entropy_nats=float(answers.expected_entropy[position] + answers.mutual_information[position]),
            expected_entropy_nats=float(answers.expected_entropy[position]),
            mutual_information_nats=float(answers.mutual_information[position]),
            is_abstained=bool(answers.probabilities[position].max() < ABSTENTION_CONFIDENCE),
        )
        for position, index in enumerate(answers.indices)
    ]
    evaluation = summarise_answers(
        scored,
        protocol=protocol,
        known=known,
        model={"name": name, "version": ""},
        settings={"n_passes": N_PASSES, "abstention_confidence": ABSTENTION_CONFIDENCE},
        manifest={"name": "manifest.csv", "sha256": manifest_sha256(recordings.rows)},
        record=TrainingRecord(speakers=None, is_label_used=None, corpora=tuple(corpora)),
        votes=votes,
        n_resamples=300,
    )
    return scores_for_card(evaluation, title=title)


def _inputs(
    embeddings: NDArray[np.float32],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    axes: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    scaled = standardised(embeddings, mean, scale)
    return scaled if axes is None else scaled @ axes


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    entropy: NDArray[np.float64] = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1)
    return entropy
