"""Whitening: coordinates in which every direction of a set of features counts alike.

The teacher's features vary most in what is loud: phonemes, level, position. What tells emotions apart lies in
directions that vary a hundred times less, and an error measured channel by channel hardly counts them. In whitened
coordinates the error of each direction is measured in standard deviations of that direction (Mahalanobis 1936),
whatever the channels it runs across.

Conventions: features are `(n, n_dims)`; a whitening is estimated on training recordings only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from training.cache import LayerCache
from training.heads import pool

FRAME_FLOOR, CLIP_FLOOR = 3e-3, 3e-2
"""Added to every direction's variance, as a share of the mean variance: below it lies what float16 rounds off, and what
too few recordings cannot tell from nothing. The larger, the more what is loud counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whitening:
    """From features to whitened coordinates: `(features - mean) @ axes`."""

    mean: NDArray[np.float32]
    """(n_dims,)"""
    axes: NDArray[np.float32]
    """(n_dims, n_dims): directions of the covariance, each divided by its standard deviation."""

    def coordinates(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features (n, n_dims) in whitened coordinates (n, n_dims)."""
        whitened: NDArray[np.float32] = (features - self.mean) @ self.axes
        return whitened


def fit_whitening(features: NDArray[np.float32], *, floor: float = FRAME_FLOOR) -> Whitening:
    """The whitening of `features` (n, n_dims), from training recordings only.

    Parameters
    ----------
    floor
        Share of the mean variance that is added to every direction's.

    Raises
    ------
    ValueError
        There are fewer than two rows.

    Examples
    --------
    A direction that varies a hundred times less counts as much as the other one:

    >>> features = np.array([[100, 1], [100, -1], [-100, 1], [-100, -1]], np.float32)
    >>> np.abs(fit_whitening(features, floor=0).coordinates(features)).round(3).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} rows have no covariance")
    centred = features.astype(np.float64)
    mean = centred.mean(axis=0)
    centred -= mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    variances = np.maximum(variances, 0)
    # The tiny constant keeps features that never vary from being divided by nothing.
    deviations = np.sqrt(variances + floor * variances.mean() + 1e-12)
    return Whitening(mean=mean.astype(np.float32), axes=(directions / deviations).astype(np.float32))


def frame_whitening(
    targets: LayerCache,
    indices: NDArray[np.int64],
    *,
    layer: int,
    are_differences: bool = False,
    floor: float = FRAME_FLOOR,
    n_clips: int = 300,
) -> Whitening:
    """Whitening of the frames of one layer, or of what it adds to the layer before, from `n_clips` of `indices`."""
    frames = [_clip(targets, index, layer=layer) for index in _drawn(indices, n_clips)]
    if are_differences:
        before = [_clip(targets, index, layer=layer - 1) for index in _drawn(indices, n_clips)]
        frames = [after - earlier for after, earlier in zip(frames, before, strict=True)]
    return fit_whitening(np.concatenate(frames), floor=floor)


def clip_whitening(
    targets: LayerCache, indices: NDArray[np.int64], *, layer: int, floor: float = CLIP_FLOOR, n_clips: int = 3_000
) -> Whitening:
    """Whitening of one layer's mean and deviation over time, (2 * width,) a clip, from `n_clips` of `indices`."""
    chosen = _drawn(indices, n_clips)
    clips = (_clip(targets, index, layer=layer) for index in chosen)
    pooled = [np.concatenate([clip.mean(axis=0), np.sqrt(np.maximum(clip.var(axis=0), 1e-8))]) for clip in clips]
    return fit_whitening(np.stack(pooled), floor=floor)


def whitened_frame_error(output: tf.Tensor, target: tf.Tensor, mask: tf.Tensor, *, whitening: Whitening) -> tf.Tensor:
    """Mean squared error over frames and whitened coordinates: 1 is what the mean of all frames would make.

    Parameters
    ----------
    output, target
        (n_clips, n_frames, width)
    mask
        (n_clips, n_frames), 1 for frames of a clip.
    """
    coordinates = (tf.cast(output, tf.float32) - target) @ tf.constant(whitening.axes)
    error = tf.reduce_mean(tf.square(coordinates), axis=-1)
    return tf.reduce_sum(error * mask) / tf.reduce_sum(mask)


def whitened_clip_error(output: tf.Tensor, target: tf.Tensor, mask: tf.Tensor, *, whitening: Whitening) -> tf.Tensor:
    """The same for the mean and deviation over time, which are all that heads are given; over clips."""
    difference = pool([output, output], mask) - pool([target, target], mask)
    return tf.reduce_mean(tf.square(difference @ tf.constant(whitening.axes)))


def _drawn(indices: NDArray[np.int64], n_clips: int) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(0).choice(indices, size=min(n_clips, len(indices)), replace=False))


def _clip(targets: LayerCache, index: np.int64, *, layer: int) -> NDArray[np.float32]:
    return targets.layers[layer][targets.offsets[index] : targets.offsets[index + 1]].astype(np.float32)
