"""The number format of training follows the machine."""

from __future__ import annotations

import pytest

from training.precision import fastest_policy


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16"])
def test_processor_that_computes_in_bfloat16_trains_in_it(flag):
    assert fastest_policy(processor_flags={"avx2", flag}, n_gpus=0) == "mixed_bfloat16"


def test_processor_that_would_emulate_it_trains_in_float32():
    assert fastest_policy(processor_flags={"avx2", "avx512f"}, n_gpus=0) == "float32"


def test_gpu_trains_in_bfloat16_whatever_the_processor():
    assert fastest_policy(processor_flags=set(), n_gpus=1) == "mixed_bfloat16"
