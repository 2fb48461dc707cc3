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


def take_over(student: Encoder, earlier: Encoder) -> None:
    """Give `student` the weights of `earlier`, which has as many blocks or fewer; blocks beyond it stay as they are."""
    student.stem.set_weights(earlier.stem.get_weights())
    for ours, theirs in zip(student.blocks, earlier.blocks, strict=False):
        ours.set_weights(theirs.get_weights())
