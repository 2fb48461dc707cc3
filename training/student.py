"""Our own network: the shapes of the teacher's first layers, weights of its own from a random start."""

from __future__ import annotations

from training.whisper import Encoder, build_encoder

N_BLOCKS = 3
"""The teacher's second and third blocks know most of emotion, its fourth less (docs/experiments.md)."""


def build_student(*, n_blocks: int = N_BLOCKS) -> Encoder:
    """An untrained student, its weights drawn from Keras's seed.

    Same width as the teacher, so that each of its layers can learn from the teacher's layer of the same number.
    """
    return build_encoder(n_blocks)
