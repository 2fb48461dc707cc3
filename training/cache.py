"""What training reads again and again, computed once and kept below the run folder.

`waveforms.i16` holds every recording decoded, cut to its `speech_span` and to whole 20 ms frames; `layers-NAME.f16`
holds an encoder's outputs for them. Both are flat files read as memory maps; `offsets` says where each recording lies.

Conventions: recordings are in the order of the manifest's rows; one frame is 20 ms, 320 samples, two log-mel frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import tensorflow as tf
from numpy.typing import NDArray

from core.features.audio import TARGET_SAMPLE_RATE_HZ, Waveform
from core.features.log_mel import log_mel
from core.features.speech import speech_span
from training.corpora import ManifestRow, content_hashes, manifest_sha256
from training.progress import Progress
from training.whole_files import digest_of, write_atomically

Item = TypeVar("Item")
Made = TypeVar("Made")

SAMPLES_PER_FRAME = 320
MAX_FRAMES = 600
"""12 s: longer recordings are cut, as serving encodes at most that much at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """Every recording of a manifest, ready to be made into features."""

    rows: tuple[ManifestRow, ...]
    n_frames: NDArray[np.int64]
    offsets: NDArray[np.int64]
    """First frame of each recording in the flat files, and one past the last."""
    samples: NDArray[np.int16]

    def waveform(self, index: int) -> Waveform:
        """Recording `index`, cut to its speech."""
        start, end = self.offsets[index] * SAMPLES_PER_FRAME, self.offsets[index + 1] * SAMPLES_PER_FRAME
        samples = self.samples[start:end].astype(np.float32) / 32768
        return Waveform(samples=samples, sample_rate=TARGET_SAMPLE_RATE_HZ)

    def indices(self, paths: Iterable[str]) -> NDArray[np.int64]:
        """Positions of the recordings at `paths`, in ascending order."""
        wanted = set(paths)
        return np.array([index for index, row in enumerate(self.rows) if row.path in wanted], dtype=np.int64)


def trimmed(waveform: Waveform) -> Waveform:
    """`waveform` cut to its speech span and to whole 20 ms frames, at least two and at most 12 s."""
    start, end = speech_span(waveform)
    n_frames = min(max((end - start) // SAMPLES_PER_FRAME, 2), MAX_FRAMES)
    samples = waveform.samples[start : start + n_frames * SAMPLES_PER_FRAME]
    samples = np.pad(samples, (0, n_frames * SAMPLES_PER_FRAME - len(samples)))
    return Waveform(samples=samples, sample_rate=waveform.sample_rate)


def open_recordings(rows: Sequence[ManifestRow], *, audio: Path, folder: Path) -> Recordings:
    """Recordings of `rows` from the cache in `folder`, which is made first when it is not there.

    Raises
    ------
    soundfile.LibsndfileError
        A recording cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index, data = folder / "waveforms.json", folder / "waveforms.i16"
    content = manifest_sha256(rows)
    if not index.exists() or json.loads(index.read_text())["manifest_sha256"] != content:
        n_frames: list[int] = []
        with data.open("wb") as file, ThreadPoolExecutor(2) as pool, Progress("decode", len(rows)) as progress:
            for samples in pool.map(lambda row: _read_trimmed(audio / row.path), rows):
                file.write(samples.tobytes())
                n_frames.append(len(samples) // SAMPLES_PER_FRAME)
                progress.advance()
        write_atomically(index, json.dumps({"manifest_sha256": content, "n_frames": n_frames}))
    counts = np.array(json.loads(index.read_text())["n_frames"], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    samples = np.memmap(data, dtype=np.int16, mode="r")
    return Recordings(rows=tuple(rows), n_frames=counts, offsets=offsets, samples=samples)


def read_whole(path: Path) -> Waveform:
    """A recording of a corpus as it is, silence around it included.

    Raises
    ------
    soundfile.LibsndfileError
        It cannot be read.
    """
    samples, sample_rate = soundfile.read(path, dtype="float32")
    return Waveform(samples=samples, sample_rate=sample_rate)


def _read_trimmed(path: Path) -> NDArray[np.int16]:
    waveform = trimmed(read_whole(path))
    return np.clip(np.round(waveform.samples * 32768), -32768, 32767).astype(np.int16)


def cached_content_hashes(rows: Sequence[ManifestRow], *, audio: Path, folder: Path) -> dict[str, str]:
    """`corpora.content_hashes` of `rows`, from the cache in `folder`, which is made first when it is not there."""
    path = folder / f"content_hashes-{digest_of(manifest_sha256(rows))}.json"
    if not path.exists():
        write_atomically(path, json.dumps(content_hashes(rows, audio)[0]))
    hashes: dict[str, str] = json.loads(path.read_text())
    return hashes


def batches(
    indices: NDArray[np.int64], n_frames: NDArray[np.int64], *, frames_per_batch: int, seed: int | None
) -> list[NDArray[np.int64]]:
    """Batches of recordings of like length that hold at most `frames_per_batch` frames, padding included.

    With a seed, lengths are blurred by a tenth and batches come in a drawn order; without, the longest come first.
    """
    lengths = n_frames[indices].astype(np.float64)
    generator = np.random.default_rng(seed)
    if seed is not None:
        lengths = lengths * generator.uniform(0.9, 1.1, len(lengths))
    made: list[NDArray[np.int64]] = []
    current: list[int] = []
    longest = 0
    for index in indices[np.argsort(-lengths, kind="stable")]:
        if current and max(longest, int(n_frames[index])) * (len(current) + 1) > frames_per_batch:
            made.append(np.array(current))
            current, longest = [], 0
        current.append(int(index))
        longest = max(longest, int(n_frames[index]))
    if current:
        made.append(np.array(current))
    if seed is not None:
        made = [made[position] for position in generator.permutation(len(made))]
    return made


def padded_log_mels(waveforms: Sequence[Waveform]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log-mels of `waveforms`, padded behind, (n_clips, n_mel_frames, 80), and their mask (n_clips, n_mel_frames)."""
    mels = [log_mel(waveform) for waveform in waveforms]
    longest = max(len(mel) for mel in mels)
    padded = np.zeros((len(mels), longest, 80), dtype=np.float32)
    mask = np.zeros((len(mels), longest), dtype=np.float32)
    for row, mel in enumerate(mels):
        padded[row, : len(mel)] = mel
        mask[row, : len(mel)] = 1
    return padded, mask


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCache:
    """An encoder's outputs, one flat array per layer: float16 (n_frames_in_all, width)."""

    layers: tuple[NDArray[np.float16], ...]
    offsets: NDArray[np.int64]

    def padded(self, layer: int, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One layer's output for some recordings, (n_clips, n_frames, width), and its mask (n_clips, n_frames)."""
        counts = self.offsets[indices + 1] - self.offsets[indices]
        out = np.zeros((len(indices), int(counts.max()), self.layers[layer].shape[1]), dtype=np.float32)
        mask = np.zeros(out.shape[:2], dtype=np.float32)
        for row, (index, count) in enumerate(zip(indices, counts, strict=True)):
            out[row, :count] = self.layers[layer][self.offsets[index] : self.offsets[index + 1]]
            mask[row, :count] = 1
        return out, mask


def write_layers(
    recordings: Recordings,
    encode: Callable[[tf.Tensor, tf.Tensor], Sequence[tf.Tensor]],
    *,
    name: str,
    n_layers: int,
    width: int,
    folder: Path,
) -> LayerCache:
    """Outputs of `encode` for every recording, from the cache in `folder` when a whole one is there.

    Parameters
    ----------
    encode
        From a padded log-mel and its mask to `n_layers` tensors (n_clips, n_frames, width).
    """
    offsets = recordings.offsets
    done = folder / f"layers-{name}.done"
    paths = [folder / f"layers-{name}-{layer}.f16" for layer in range(n_layers)]
    shape = (int(offsets[-1]), width)
    if not done.exists():
        everything = np.arange(len(recordings.rows))
        arrays = [np.memmap(path, dtype=np.float16, mode="w+", shape=shape) for path in paths]
        with Progress(f"layers {name}", int(recordings.n_frames.sum()), unit="frames") as progress:
            work = batches(everything, recordings.n_frames, frames_per_batch=6_000, seed=None)
            for batch, (mels, mask) in ahead(
                work, lambda batch: padded_log_mels([recordings.waveform(int(index)) for index in batch])
            ):
                for array, output in zip(arrays, encode(tf.constant(mels), tf.constant(mask)), strict=True):
                    values = output.numpy()
                    for row, index in enumerate(batch):
                        frames = values[row, : recordings.n_frames[index]]
                        array[offsets[index] : offsets[index + 1]] = frames
                progress.advance(int(recordings.n_frames[batch].sum()))
        for array in arrays:
            array.flush()
        write_atomically(done, "")
    layers = tuple(np.memmap(path, dtype=np.float16, mode="r", shape=shape) for path in paths)
    return LayerCache(layers=layers, offsets=offsets)


def ahead(items: Iterable[Item], make: Callable[[Item], Made]) -> Iterator[tuple[Item, Made]]:
    """`(item, make(item))` for every item, made by one thread a few items ahead of who reads them."""
    with ThreadPoolExecutor(1) as pool:
        waiting = []
        for item in items:
            waiting.append((item, pool.submit(make, item)))
            if len(waiting) > 3:
                first, future = waiting.pop(0)
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
