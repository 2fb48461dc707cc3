"""Heads put together without tensorflow compute what their weights say, for any number of labels."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from training.head_weights import HeadWeights, dropout_mask, logits_of
from training.lite_head import write_lite_head


def weights(n_labels, n_dims=24, width=16):
    generator = np.random.default_rng(n_labels)

    def drawn(*shape):
        return generator.standard_normal(shape).astype(np.float32)

    return HeadWeights(
        hidden_kernel=drawn(n_dims, width),
        hidden_bias=drawn(width),
        logits_kernel=drawn(width, n_labels),
        logits_bias=drawn(n_labels),
    )


@pytest.mark.parametrize("n_labels", [2, 3, 8, 50])
def test_the_file_computes_what_the_weights_do_for_any_number_of_clips(tmp_path, n_labels):
    asked = weights(n_labels)
    written = write_lite_head(asked, tmp_path / "head.tflite")
    for before, after in zip(asked.arrays(), written.arrays(), strict=True):
        np.testing.assert_array_equal(before, after)
    runner = Interpreter(str(tmp_path / "head.tflite")).get_signature_runner("serving_default")
    generator = np.random.default_rng(0)
    for n_clips in (1, 7):
        embeddings = generator.standard_normal((n_clips, 24)).astype(np.float32)
        masks = dropout_mask(generator, (n_clips, 24), 0.2), dropout_mask(generator, (n_clips, 16), 0.5)
        (found,) = runner(embedding=embeddings, mask_0=masks[0], mask_1=masks[1]).values()
        np.testing.assert_allclose(found, logits_of(asked, embeddings, *masks), rtol=1e-4, atol=1e-4)
