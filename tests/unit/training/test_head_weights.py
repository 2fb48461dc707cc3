"""A head read from its file computes what the file computes; its gradient is the slope of its loss."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from core.config import REPOSITORY
from core.inference.registry import CARD, HEAD
from tests.bundles import TINY
from training.errors import RetrainingError
from training.head_weights import HeadWeights, gradients_of, logits_of, pass_logits, read_head, write_head


def _random_head(*, n_groups: int = 1) -> HeadWeights:
    n_dims, width, n_emotions = 6, 5, 4
    generator = np.random.default_rng(3)
    bias_shape = (n_emotions,) if n_groups == 1 else (n_groups, n_emotions)
    return HeadWeights(
        hidden_kernel=generator.standard_normal((n_dims, width)).astype(np.float32),
        hidden_bias=generator.standard_normal(width).astype(np.float32),
        logits_kernel=generator.standard_normal((width, n_groups * n_emotions)).astype(np.float32),
        logits_bias=generator.standard_normal(bias_shape).astype(np.float32),
    )


def _from_file(file, embeddings, mask_0, mask_1):
    runner = Interpreter(str(file)).get_signature_runner()
    (logits,) = runner(embedding=embeddings, mask_0=mask_0, mask_1=mask_1).values()
    return logits


@pytest.mark.parametrize("model", ["telepathy", "telepathy-commercial"])
def test_weights_of_a_shipped_head_give_the_logits_of_its_file(model):
    file = REPOSITORY / "data" / "models" / model / HEAD
    weights = read_head(file)
    n_dims = json.loads(file.with_name(CARD).read_text())["serving"]["n_dims"]
    assert weights.shape == (n_dims, 512, 8)
    generator = np.random.default_rng(1)
    embeddings = generator.standard_normal((5, n_dims)).astype(np.float32)
    mask_0 = (generator.random((5, n_dims)) > 0.2).astype(np.float32)
    mask_1 = (generator.random((5, 512)) > 0.5).astype(np.float32)
    expected = _from_file(file, embeddings, mask_0, mask_1)
    assert np.allclose(logits_of(weights, embeddings, mask_0, mask_1), expected, atol=5e-3)


def test_a_head_written_with_other_weights_serves_them(tmp_path):
    weights = read_head(TINY / HEAD)
    other = HeadWeights(
        hidden_kernel=weights.hidden_kernel * 0.5,
        hidden_bias=weights.hidden_bias,
        logits_kernel=weights.logits_kernel[:, ::-1].copy(),
        logits_bias=weights.logits_bias,
    )
    written = write_head(TINY / HEAD, other, tmp_path / HEAD)
    assert np.array_equal(written.hidden_kernel, other.hidden_kernel)
    embeddings = np.random.default_rng(0).standard_normal((3, 24)).astype(np.float32)
    ones = np.ones((3, 16), np.float32)
    served = _from_file(tmp_path / HEAD, embeddings, np.ones_like(embeddings), ones)
    assert np.allclose(served, logits_of(other, embeddings), atol=1e-4)
    assert not list(tmp_path.glob("*.part"))


def test_weights_written_back_unchanged_give_the_same_file(tmp_path):
    file = REPOSITORY / "data" / "models" / "telepathy" / HEAD
    write_head(file, read_head(file), tmp_path / HEAD)
    assert (tmp_path / HEAD).read_bytes() == file.read_bytes()


def test_a_head_of_another_kind_is_refused():
    with pytest.raises(RetrainingError, match=r"computes something else|no head of two layers"):
        read_head(REPOSITORY / "data" / "models" / "whisper" / HEAD)


def test_an_encoder_is_refused_with_its_inputs():
    with pytest.raises(RetrainingError, match="its inputs are log_mel"):
        read_head(TINY / "encoder.tflite")


def test_groups_are_summed_as_probabilities():
    weights = _random_head(n_groups=3)
    embeddings = np.random.default_rng(5).standard_normal((7, 6)).astype(np.float32)
    parts = [
        logits_of(replace(weights, logits_kernel=kernel, logits_bias=bias), embeddings)
        for kernel, bias in zip(np.split(weights.logits_kernel, 3, axis=1), weights.logits_bias, strict=True)
    ]
    assert weights.shape == (6, 5, 4)
    assert np.allclose(np.exp(logits_of(weights, embeddings)), np.exp(parts).sum(axis=0), rtol=1e-4)


@pytest.mark.parametrize("n_groups", [1, 3])
def test_gradients_are_the_slopes_of_the_loss(n_groups):
    weights = _random_head(n_groups=n_groups)
    generator = np.random.default_rng(5)
    embeddings = generator.standard_normal((7, 6)).astype(np.float32)
    targets = generator.dirichlet(np.ones(4), 7).astype(np.float32)
    importance = generator.uniform(0.5, 2, 7).astype(np.float32)
    mask_0 = (generator.random((7, 6)) > 0.3).astype(np.float32)
    mask_1 = (generator.random((7, 5)) > 0.3).astype(np.float32)
    _, slopes = gradients_of(weights, embeddings, targets, importance, mask_0, mask_1)
    for name in HeadWeights.__dataclass_fields__:
        values = getattr(weights, name)
        place = np.unravel_index(int(generator.integers(values.size)), values.shape)
        losses = []
        for change in (-1e-2, 1e-2):
            values[place] += change
            losses.append(gradients_of(weights, embeddings, targets, importance, mask_0, mask_1)[0])
            values[place] -= change
        assert getattr(slopes, name)[place] == pytest.approx((losses[1] - losses[0]) / 2e-2, abs=2e-3), name


def test_passes_differ_and_average_to_about_the_plain_logits():
    weights = _random_head()
    embeddings = np.random.default_rng(5).standard_normal((2, 6)).astype(np.float32)
    passes = pass_logits(weights, embeddings, dropout_rates=(0.0, 0.2), n_passes=4000)
    assert passes.shape == (4000, 2, 4)
    assert passes.std(axis=0).min() > 0
    assert np.allclose(passes.mean(axis=0), logits_of(weights, embeddings), atol=0.1)
