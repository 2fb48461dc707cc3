"""In whitened coordinates every direction counts alike, and only training recordings say what they are."""

import numpy as np
import pytest
import tensorflow as tf

from training.cache import LayerCache
from training.heads import pool
from training.whitening import (
    clip_whitening,
    fit_whitening,
    frame_whitening,
    whitened_clip_error,
    whitened_frame_error,
)

WIDTH = 6


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(WIDTH, WIDTH)) * np.array([30, 10, 3, 1, 0.3, 0.1])
    return (generator.normal(size=(4_000, WIDTH)) @ mixing.T + 5).astype(np.float32)


@pytest.fixture(scope="module")
def targets() -> LayerCache:
    generator = np.random.default_rng(1)
    counts = generator.integers(5, 12, 40)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    layers = tuple(
        (generator.normal(size=(offsets[-1], WIDTH)) * np.array([4, 3, 2, 2, 1, 1])).astype(np.float16)
        for _ in range(3)
    )
    return LayerCache(layers=layers, offsets=offsets)


def test_whitened_features_are_uncorrelated_and_of_one_variance(features: np.ndarray) -> None:
    whitened = fit_whitening(features, floor=0).coordinates(features)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(np.cov(whitened, rowvar=False, bias=True), np.eye(WIDTH), atol=1e-2)


def test_distance_is_that_of_mahalanobis(features: np.ndarray) -> None:
    whitening = fit_whitening(features, floor=0)
    first, second = features[:1].astype(np.float64), features[1:2].astype(np.float64)
    inverse = np.linalg.inv(np.cov(features.astype(np.float64), rowvar=False, bias=True))
    expected = float(((first - second) @ inverse @ (first - second).T)[0, 0])
    coordinates = whitening.coordinates(features[:2])
    assert float(np.square(coordinates[0] - coordinates[1]).sum()) == pytest.approx(expected, rel=1e-2)


def test_floor_keeps_directions_that_hardly_vary_small() -> None:
    generator = np.random.default_rng(2)
    features = (generator.normal(size=(2_000, 2)) * np.array([10, 1e-4])).astype(np.float32)
    whitened = fit_whitening(features, floor=1e-2).coordinates(features)
    deviations = np.sort(whitened.std(axis=0))
    assert deviations[0] < 1e-3
    assert deviations[1] == pytest.approx(1, abs=0.05)


def test_features_that_never_vary_give_no_infinity() -> None:
    assert np.isfinite(fit_whitening(np.ones((10, 3), np.float32)).axes).all()


def test_one_row_has_no_whitening() -> None:
    with pytest.raises(ValueError, match="1 rows"):
        fit_whitening(np.ones((1, 3), np.float32))


def test_recordings_outside_the_training_part_do_not_move_it(targets: LayerCache) -> None:
    training = np.arange(30)
    changed = LayerCache(
        layers=tuple(
            np.concatenate([layer[: targets.offsets[30]], 100 * layer[targets.offsets[30] :]])
            for layer in targets.layers
        ),
        offsets=targets.offsets,
    )
    for fit in (frame_whitening, clip_whitening):
        np.testing.assert_array_equal(fit(targets, training, layer=1).axes, fit(changed, training, layer=1).axes)
        assert not np.allclose(fit(changed, np.arange(40), layer=1).axes, fit(targets, training, layer=1).axes)


def test_what_a_layer_adds_is_whitened_by_itself(targets: LayerCache) -> None:
    whitening = frame_whitening(targets, np.arange(40), layer=2, are_differences=True)
    added = targets.layers[2].astype(np.float32) - targets.layers[1].astype(np.float32)
    np.testing.assert_allclose(whitening.coordinates(added).std(axis=0), 1, atol=0.1)


def test_frames_far_from_the_target_by_one_deviation_each_way_err_by_one(targets: LayerCache) -> None:
    whitening = frame_whitening(targets, np.arange(40), layer=1)
    target, mask = targets.padded(1, np.arange(4))
    steps = np.linalg.inv(whitening.axes.astype(np.float64)).astype(np.float32)
    output = target + steps.sum(axis=0)
    # Padding is no frame: what stands there must not count.
    output[mask == 0] = 1e6
    error = whitened_frame_error(tf.constant(output), tf.constant(target), tf.constant(mask), whitening=whitening)
    assert float(error) == pytest.approx(1, rel=1e-3)


def test_clip_error_is_that_of_the_pooled_layers(targets: LayerCache) -> None:
    whitening = clip_whitening(targets, np.arange(40), layer=1)
    target, mask = targets.padded(1, np.arange(4))
    output = target * 1.2 + 0.1
    pooled = [pool([one, one], mask).numpy() for one in (output, target)]
    expected = np.square(whitening.coordinates(pooled[0]) - whitening.coordinates(pooled[1])).mean()
    error = whitened_clip_error(tf.constant(output), tf.constant(target), tf.constant(mask), whitening=whitening)
    assert float(error) == pytest.approx(float(expected), rel=1e-3)
    same = whitened_clip_error(tf.constant(target), tf.constant(target), tf.constant(mask), whitening=whitening)
    assert float(same) == 0


def test_a_larger_floor_leaves_more_to_the_loud_directions(targets: LayerCache) -> None:
    chosen = np.arange(40)
    for fit in (frame_whitening, clip_whitening):
        gains = [np.linalg.norm(fit(targets, chosen, layer=1, floor=floor).axes, axis=0) for floor in (0.0, 1.0)]
        ratios = [gain.max() / gain.min() for gain in gains]
        assert ratios[1] < 0.7 * ratios[0]
