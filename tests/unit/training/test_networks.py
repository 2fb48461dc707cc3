"""Networks: padding changes nothing, LiteRT says what Keras says at any length, ensembles weigh as they should."""

import doctest
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.testing import assert_allclose, assert_array_equal

from core.models import custom
from training import networks
from training.networks import (
    NETWORKS,
    LiteRtBundle,
    Network,
    build_network,
    ensemble_probabilities,
    export_ensemble,
    export_network,
    fit_ensemble_weights,
)

N_PROSODY = 5
LENGTHS = (120, 77, 41)


def _build(name: str, *, n_prosody: int = 0, seed: int = 0) -> Network:
    rng = np.random.default_rng(0)
    return build_network(
        name,
        log_mel_mean=rng.normal(size=80).astype(np.float32),
        log_mel_variance=rng.uniform(0.5, 2, size=80).astype(np.float32),
        n_prosody=n_prosody,
        seed=seed,
    )


def test_the_form_offers_them_all():
    assert set(custom.NETWORKS) == {custom.HEAD, *NETWORKS}


class _Runner:
    """A bundle as a serving program runs it."""

    def __init__(self, bundle: LiteRtBundle) -> None:
        self.bundle = bundle
        self._encoder = Interpreter(model_content=bundle.encoder, num_threads=1).get_signature_runner()
        self._head = Interpreter(model_content=bundle.head, num_threads=1).get_signature_runner()

    def embed(self, log_mel: np.ndarray, prosody: np.ndarray | None = None) -> np.ndarray:
        extra = {} if prosody is None else {"prosody": prosody}
        return self._encoder(log_mel=log_mel, **extra)["embedding"]

    def answer(self, embeddings: np.ndarray, masks: list[np.ndarray] | None = None) -> np.ndarray:
        if masks is None:
            masks = [np.ones((len(embeddings), width), np.float32) for width in self.bundle.mask_widths]
        named = {f"mask_{number}": mask for number, mask in enumerate(masks)}
        return self._head(embedding=embeddings, **named)["logits"]


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    """Of each kind one, with statistics of the batch normalisation that are not the initial ones."""
    built = _build(request.param, n_prosody=N_PROSODY if request.param == "convolutional" else 0)
    rng = np.random.default_rng(1)
    for weight in built.model.non_trainable_weights:
        if "moving" in weight.name:
            weight.assign(rng.uniform(0.5, 1.5, size=weight.shape))
    return built


@pytest.fixture(scope="module")
def runner(network: Network) -> _Runner:
    """`network` exported, and opened as a serving program opens it."""
    return _Runner(export_network(network))


def _clips(network: Network) -> list[np.ndarray]:
    """Three clips of different lengths, padded with rubbish that no output may show."""
    rng = np.random.default_rng(2)
    log_mels = rng.normal(size=(3, max(LENGTHS), 80)).astype(np.float32)
    frame_mask = np.array([[1.0] * n + [0.0] * (max(LENGTHS) - n) for n in LENGTHS], np.float32)
    inputs = [log_mels, frame_mask]
    if network.n_prosody:
        inputs.append(rng.normal(size=(3, network.n_prosody)).astype(np.float32))
    return inputs


def _unpadded(inputs: list[np.ndarray], index: int) -> list[np.ndarray]:
    n_frames = LENGTHS[index]
    return [inputs[0][index : index + 1, :n_frames], np.ones((1, n_frames), np.float32)] + [
        extra[index : index + 1] for extra in inputs[2:]
    ]


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_padding_changes_no_output(network: Network) -> None:
    inputs = _clips(network)
    together = network.model.predict_on_batch(inputs)
    assert together.shape == (3, 8)
    for index in range(3):
        alone = network.model.predict_on_batch(_unpadded(inputs, index))
        assert_allclose(alone[0], together[index], atol=2e-5)
    assert np.ptp(together, axis=0).max() > 1e-3, "the clips differ, and so do the answers"


def test_litert_says_what_keras_says_at_every_length(network: Network, runner: _Runner) -> None:
    inputs = _clips(network)
    assert runner.bundle.size_bytes < 10_000_000
    assert runner.bundle.n_dims == networks.N_DIMS
    for index in (0, 2, 1, 0):
        log_mel, _, *prosody = _unpadded(inputs, index)
        embedding = runner.embed(log_mel, *prosody)
        assert embedding.shape == (1, networks.N_DIMS)
        expected = network.model.predict_on_batch(_unpadded(inputs, index))
        assert_allclose(runner.answer(embedding), expected, atol=1e-4)


def test_head_takes_dropout_masks_for_many_passes_at_once(network: Network, runner: _Runner) -> None:
    rng = np.random.default_rng(3)
    embeddings = np.repeat(rng.normal(size=(1, networks.N_DIMS)).astype(np.float32), 30, axis=0)
    masks = [
        (rng.random((30, width)) < 1 - rate).astype(np.float32) / np.float32(1 - rate)
        for width, rate in zip(runner.bundle.mask_widths, runner.bundle.dropout_rates, strict=True)
    ]
    answers = runner.answer(embeddings, masks)
    hidden, output = (layer.get_weights() for layer in network.head_layers)
    expected = np.maximum((embeddings * masks[0]) @ hidden[0] + hidden[1], 0) * masks[1] @ output[0] + output[1]
    assert_allclose(answers, expected, atol=1e-4)
    assert answers.std(axis=0).min() > 1e-3


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (_build("bilstm", seed=seed).model.get_weights() for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        assert_array_equal(one, two)
    assert any(not np.array_equal(one, two) for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_network_learns_two_classes_that_differ_in_one_band(name: str) -> None:
    network = _build(name)
    rng = np.random.default_rng(4)
    log_mels = rng.normal(size=(16, 48, 80)).astype(np.float32)
    log_mels[8:, :, 20:40] += 2
    frame_mask = np.ones((16, 48), np.float32)
    frame_mask[::2, 30:] = 0
    targets = np.eye(8, dtype=np.float32)[[0] * 8 + [1] * 8]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    network.model.compile(keras.optimizers.Adam(3e-3), loss)
    losses = [network.model.train_on_batch([log_mels, frame_mask], targets) for _ in range(12)]
    assert all(np.isfinite(losses))
    assert losses[-1] < 0.5 * losses[0]


def test_statistics_of_batch_normalisation_leave_padding_out() -> None:
    layer = networks.MaskedBatchNormalization()
    rng = np.random.default_rng(5)
    image = rng.normal(3, 2, size=(4, 50, 6, 3)).astype(np.float32)
    frame_mask = np.ones((4, 50), np.float32)
    frame_mask[:, 20:] = 0
    image[:, 20:] = 1_000
    normalised = np.asarray(layer(image, frame_mask, training=True))[:, :20]
    assert_allclose(normalised.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    assert_allclose(normalised.std(axis=(0, 1, 2)), 1, atol=1e-2)


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    """Half precision while a test runs."""
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("mixed_precision")
@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_precision_stays_finite_on_loud_clips(name: str) -> None:
    network = _build(name)
    inputs = _clips(network)
    inputs[0] *= 20
    logits = network.model.predict_on_batch(inputs)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    network.model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    assert np.isfinite(network.model.train_on_batch(inputs, np.eye(8, dtype=np.float32)[:3]))


def test_acoustic_features_reach_the_answer() -> None:
    network = _build("convolutional", n_prosody=N_PROSODY)
    inputs = _clips(network)
    before = network.model.predict_on_batch(inputs)
    inputs[2] = inputs[2] + 1
    assert np.abs(network.model.predict_on_batch(inputs) - before).max() > 1e-3


def test_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'perceptron'"):
        _build("perceptron")


# -- ensemble


def test_ensemble_weights_are_the_most_likely_mixture() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(4, size=200)
    right = np.eye(4)[labels]
    probabilities = np.stack([_softmax(k * right + rng.normal(size=(200, 4))) for k in (2.0, 1.5)])
    weights = fit_ensemble_weights(probabilities, labels)
    assert weights.sum() == pytest.approx(1)
    grid = np.linspace(0, 1, 1_001)
    picked = probabilities[:, np.arange(200), labels]
    likelihoods = [np.log(share * picked[0] + (1 - share) * picked[1]).sum() for share in grid]
    assert weights[0] == pytest.approx(grid[int(np.argmax(likelihoods))], abs=2e-3)


def test_ensemble_of_equals_keeps_equal_weights() -> None:
    same = np.repeat(_softmax(np.random.default_rng(7).normal(size=(1, 10, 3))), 3, axis=0)
    assert_allclose(fit_ensemble_weights(same, np.zeros(10, int)), 1 / 3)


def test_ensemble_without_clips_is_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        fit_ensemble_weights(np.zeros((2, 0, 3)), np.zeros(0, int))


def test_exported_ensemble_is_the_weighted_mean_of_its_networks() -> None:
    members = [_build("bilstm"), _build("transformer", seed=1)]
    weights = np.array([0.3, 0.7])
    runner = _Runner(export_ensemble(members, weights))
    assert runner.bundle.n_dims == 2 * networks.N_DIMS
    assert len(runner.bundle.mask_widths) == len(runner.bundle.dropout_rates) == 4
    inputs = _unpadded(_clips(members[0]), 1)
    expected = ensemble_probabilities(
        np.stack([_softmax(member.model.predict_on_batch(inputs)) for member in members]), weights
    )
    assert_allclose(_softmax(runner.answer(runner.embed(inputs[0]))), expected, atol=1e-5)


def test_networks_with_and_without_acoustic_features_do_not_join() -> None:
    with pytest.raises(ValueError, match="do not make one bundle"):
        export_ensemble([_build("bilstm"), _build("bilstm", n_prosody=2)], np.array([0.5, 0.5]))


def test_examples_in_docstrings_hold() -> None:
    outcome = doctest.testmod(networks)
    assert outcome.attempted >= 2
    assert outcome.failed == 0
