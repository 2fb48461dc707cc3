"""Distillation: a student from random weights learns what the layers of a teacher compute, without labels.

First side by side: every part of the student (stem, each block) learns the teacher's output of that part from the
teacher's input of that part, so that all of them learn at once from the first step. Then together: the parts are
chained and hear disturbed recordings (noise, babble, rooms, telephone), while the targets stay those of the clean ones.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import structlog
import tensorflow as tf
from numpy.random import Generator
from numpy.typing import NDArray

from core.features.audio import Waveform
from core.features.speech import speech_span
from training import augment
from training.cache import LayerCache, Recordings, ahead, batches, padded_log_mels, read_whole, trimmed
from training.precision import policy_of_this_machine
from training.progress import Progress
from training.whisper import Encoder, frame_mask

_log = structlog.get_logger("training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """How long and how fast to train."""

    n_epochs: int
    learning_rate: float
    frames_per_batch: int = 1_500
    disturbed_share: float = 0.0
    """Share of recordings that are disturbed before the student hears them."""
    seed: int = 0


def distil_side_by_side(
    student: Encoder,
    recordings: Recordings,
    targets: LayerCache,
    indices: NDArray[np.int64],
    *,
    phase: Phase,
    folder: Path,
) -> None:
    """Train every part of `student` on the teacher's own input of that part.

    The error of a block is that of what it adds to its input, measured in standard deviations of what the teacher
    adds, channel by channel: the residual itself is no achievement.
    """
    error_of = _frame_errors(targets, indices, n_layers=student.n_blocks + 1, differences=True)
    for block in student.blocks:
        # A block that adds nothing errs by 1, one of random weights by ten times as much.
        for last in (block.out, block.mlp_out):
            last.kernel.assign(tf.zeros_like(last.kernel))

    def loss_of(mels: tf.Tensor, mel_mask: tf.Tensor, layers: list[tf.Tensor]) -> list[tf.Tensor]:
        mask = frame_mask(mel_mask)
        losses = [error_of[0](student.stem(mels, mel_mask), layers[0], mask)]
        for number, block in enumerate(student.blocks, start=1):
            losses.append(error_of[number](block(layers[number - 1], mask), layers[number], mask))
        return losses

    _train(
        student,
        recordings,
        targets,
        indices,
        loss_of=loss_of,
        phase=phase,
        folder=folder,
        name="side_by_side",
    )


def distil_together(
    student: Encoder,
    recordings: Recordings,
    targets: LayerCache,
    indices: NDArray[np.int64],
    *,
    phase: Phase,
    folder: Path,
) -> None:
    """Train the whole of `student` on disturbed recordings towards the teacher's layers of the clean ones."""
    error_of = _frame_errors(targets, indices, n_layers=student.n_blocks + 1, differences=False)

    def loss_of(mels: tf.Tensor, mel_mask: tf.Tensor, layers: list[tf.Tensor]) -> list[tf.Tensor]:
        mask = frame_mask(mel_mask)
        outputs = student(mels, mel_mask)
        return [error(*pair, mask) for error, *pair in zip(error_of, outputs, layers, strict=True)]

    _train(
        student,
        recordings,
        targets,
        indices,
        loss_of=loss_of,
        phase=phase,
        folder=folder,
        name="together",
    )


def disturbed(
    waveform: Waveform,
    *,
    voices: Callable[[Generator], list[NDArray[np.float32]]],
    rng: Generator,
    speech: tuple[int, int] | None = None,
) -> Waveform:
    """`waveform` with none to three disturbances of a kind that serving meets, drawn by `rng`; as long as before.

    A third of the draws put it in a room, two thirds add babble or coloured noise at 2 to 25 dB, a third put it on a
    telephone line; all may happen at once. `speech` is where the voice is, which noise is measured against.
    """
    if rng.random() < 0.35:
        response = augment.room_impulse_response(
            waveform.sample_rate,
            rt60_s=float(rng.uniform(0.15, 0.7)),
            direct_to_reverberant_db=float(rng.uniform(0, 12)),
            rng=rng,
        )
        waveform = augment.reverberate(waveform, response)
    if rng.random() < 0.7:
        n_samples = len(waveform.samples)
        if rng.random() < 0.5:
            noise = augment.babble(voices(rng), n_samples, n_talkers=int(rng.integers(2, 7)), rng=rng)
        else:
            noise = augment.coloured_noise(n_samples, exponent=float(rng.uniform(0, 2)), rng=rng)
        waveform = augment.add_noise(waveform, noise, snr_db=float(rng.uniform(2, 25)), speech=speech)
    if rng.random() < 0.35:
        waveform = augment.telephone(waveform, line_snr_db=float(rng.uniform(25, 45)), rng=rng)
    return waveform


def disturb(
    recordings: Recordings, index: int, *, others: NDArray[np.int64], rng: Generator, audio: Path | None = None
) -> Waveform:
    """Recording `index` disturbed; babble comes from `others`, which must be training recordings.

    Parameters
    ----------
    audio
        Folder that the manifest's paths begin in: the whole file is disturbed and then cut, as in serving, where noise
        moves the cuts. Without it what was cut before is disturbed, and stays as long as it is.
    """

    def voices(generator: Generator) -> list[NDArray[np.float32]]:
        return [recordings.waveform(int(other)).samples for other in generator.choice(others, size=6)]

    waveform = recordings.waveform(index) if audio is None else read_whole(audio / recordings.rows[index].path)
    if np.abs(waveform.samples).max() == 0:
        return waveform if audio is None else trimmed(waveform)
    if audio is None:
        return disturbed(waveform, voices=voices, rng=rng)
    return trimmed(disturbed(waveform, voices=voices, rng=rng, speech=speech_span(waveform)))


def _train(
    student: Encoder,
    recordings: Recordings,
    targets: LayerCache,
    indices: NDArray[np.int64],
    *,
    loss_of: Callable[[tf.Tensor, tf.Tensor, list[tf.Tensor]], list[tf.Tensor]],
    phase: Phase,
    folder: Path,
    name: str,
) -> None:
    trained = student.trainable_variables
    n_layers = student.n_blocks + 1
    epoch_batches = [
        batches(indices, recordings.n_frames, frames_per_batch=phase.frames_per_batch, seed=phase.seed * 1000 + epoch)
        for epoch in range(phase.n_epochs)
    ]
    n_steps = sum(map(len, epoch_batches))
    optimizer = HalfPrecisionMuon(
        keras.optimizers.schedules.CosineDecay(
            phase.learning_rate * 0.05,
            n_steps,
            alpha=0.002,
            warmup_target=phase.learning_rate,
            warmup_steps=min(100, n_steps // 10),
        ),
        weight_decay=0.01,
        adam_weight_decay=0.01,
        exclude_embeddings=False,
    )
    optimizer.build(trained)
    checkpoint = Checkpoint(folder / f"{name}.npz", [*student.variables, *optimizer.variables])
    first_epoch = checkpoint.restore()

    specs = [tf.TensorSpec([None, None, 80]), tf.TensorSpec([None, None])]
    layer_specs = [tf.TensorSpec([None, None, student.width])] * n_layers

    @tf.function(input_signature=[*specs, layer_specs])
    def step(mels: tf.Tensor, mel_mask: tf.Tensor, layers: list[tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = loss_of(mels, mel_mask, layers)
            total = tf.add_n(losses)
        gradients = tape.gradient(total, trained)
        optimizer.apply_gradients(zip(gradients, trained, strict=True))
        return tf.stack(losses)

    def load(batch: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32], list[NDArray[np.float32]]]:
        waveforms = []
        for index in batch:
            rng = np.random.default_rng([phase.seed, epoch, int(index)])
            if rng.random() < phase.disturbed_share:
                waveforms.append(disturb(recordings, int(index), others=indices, rng=rng))
            else:
                waveforms.append(recordings.waveform(int(index)))
        mels, mask = padded_log_mels(waveforms)
        return mels, mask, [targets.padded(layer, batch)[0] for layer in range(n_layers)]

    for epoch in range(first_epoch, phase.n_epochs):
        started = time.monotonic()
        found = []
        label = f"{folder.name}/{name} {epoch + 1}/{phase.n_epochs}"
        with Progress(label, len(epoch_batches[epoch]), unit="steps") as progress:
            for _, (mels, mask, layers) in ahead(epoch_batches[epoch], load):
                losses = step(tf.constant(mels), tf.constant(mask), [tf.constant(layer) for layer in layers])
                found.append(losses.numpy())
                progress.advance()
        record = {
            "stage": name,
            "epoch": epoch + 1,
            "error": [round(float(value), 4) for value in np.mean(found, axis=0)],
            "seconds": round(time.monotonic() - started, 1),
        }
        with (folder / "epochs.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        checkpoint.save(epoch + 1)
        _log.info(label, error=record["error"], seconds=record["seconds"])


class HalfPrecisionMuon(keras.optimizers.Muon):
    """Muon (Jordan et al. 2024), its Newton-Schulz iteration in bfloat16 where training is: a third of the time."""

    def zeropower_via_newtonschulz5(self, x: tf.Tensor, steps: int) -> tf.Tensor:
        is_half = policy_of_this_machine() == "mixed_bfloat16"
        found = super().zeropower_via_newtonschulz5(tf.cast(x, tf.bfloat16) if is_half else x, steps)
        return tf.cast(found, x.dtype)


class Checkpoint:
    """Variables and the number of finished epochs in one file, replaced at once."""

    def __init__(self, path: Path, variables: list[keras.Variable]) -> None:
        self.path, self.variables = path, variables

    def save(self, n_epochs_done: int) -> None:
        """Keep the variables as they are now."""
        values = {f"v{number}": variable.numpy() for number, variable in enumerate(self.variables)}
        unfinished = self.path.with_name(self.path.name + ".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez(file, n_epochs_done=n_epochs_done, **values)
        unfinished.replace(self.path)

    def restore(self) -> int:
        """Set the variables to what was kept last; gives the number of finished epochs, 0 without a file."""
        if not self.path.exists():
            return 0
        with np.load(self.path) as stored:
            for number, variable in enumerate(self.variables):
                variable.assign(stored[f"v{number}"])
            return int(stored["n_epochs_done"])


def _standard_deviations(
    targets: LayerCache, indices: NDArray[np.int64], *, n_layers: int, differences: bool
) -> list[tf.Tensor]:
    """Per channel, of each layer's output or of what it adds to the layer before, from 300 recordings."""
    chosen = np.random.default_rng(0).choice(indices, size=min(300, len(indices)), replace=False)
    frames = np.concatenate(
        [np.arange(targets.offsets[index], targets.offsets[index + 1]) for index in np.sort(chosen)]
    )
    layers = [targets.layers[layer][frames].astype(np.float32) for layer in range(n_layers)]
    if differences:
        layers = [layers[0], *(after - before for before, after in itertools.pairwise(layers))]
    return [tf.constant(layer.std(axis=0) + 1e-3) for layer in layers]


def _frame_errors(
    targets: LayerCache, indices: NDArray[np.int64], *, n_layers: int, differences: bool
) -> list[Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]]:
    """By layer, the error of an output (n_clips, n_frames, width) against a target, over the frames of a mask."""
    scales = _standard_deviations(targets, indices, n_layers=n_layers, differences=differences)
    return [partial(_scaled_error, scale=scale) for scale in scales]


def _scaled_error(output: tf.Tensor, target: tf.Tensor, mask: tf.Tensor, *, scale: tf.Tensor) -> tf.Tensor:
    """Mean squared error over frames and channels in units of `scale`."""
    error = tf.square((tf.cast(output, tf.float32) - target) / scale)
    return tf.reduce_sum(tf.reduce_mean(error, axis=-1) * mask) / tf.reduce_sum(mask)
