"""In which number format to train on this machine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

BFLOAT16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names them for x86 and ARM processors."""


def fastest_policy(*, processor_flags: Collection[str], n_gpus: int) -> str:
    """Keras's policy for the fastest training that this project's networks bear.

    Without instructions for it, bfloat16 is emulated: a step then took 2.3 times the processor time of float32 (AMD
    Zen 3), where with them it takes 0.6 of it (docs/experiments.md).

    Examples
    --------
    >>> fastest_policy(processor_flags={"avx2", "fma"}, n_gpus=0)
    'float32'
    >>> fastest_policy(processor_flags={"avx2", "avx512_bf16"}, n_gpus=0)
    'mixed_bfloat16'
    """
    has_instructions = not BFLOAT16_INSTRUCTIONS.isdisjoint(processor_flags)
    return "mixed_bfloat16" if has_instructions or n_gpus else "float32"


def policy_of_this_machine() -> str:
    """`fastest_policy` for the processor and the GPUs that are visible."""
    listed = Path("/proc/cpuinfo")
    flags: set[str] = set()
    if listed.exists():
        for line in listed.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                flags.update(value.split())
    return fastest_policy(processor_flags=flags, n_gpus=len(tf.config.list_physical_devices("GPU")))
