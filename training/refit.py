"""A head that serves, fitted again to corrections without forgetting what it knows.

Three things hold it back: examples of the base data in every batch (replay), the parent's own answers as what they
should say (as learning without forgetting, Li and Hoiem 2016, does for lack of the old data), and a pull towards the
parent's weights (L2-SP, Li, Grandvalet and Davoine 2018). docs/retraining.md has what each is worth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.head_weights import Array, HeadWeights, dropout_mask, gradients_of, logits_of

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitPlan:
    """How a head is fitted again."""

    n_epochs: int = 20
    """Rounds over the corrections; every round replays as many base clips as `replay_per_round` says."""
    learning_rate: float = 3e-4
    """Of Adam, falling to zero along half a cosine."""
    correction_share: float = 0.3
    """How much of the loss is that of the corrections; the rest is replay."""
    parent_share: float = 0.5
    """Of the target of a replayed clip: the parent's own answer; the rest is its label."""
    pull_to_parent: float = 1e-3
    """Strength of the pull towards the parent's weights."""
    replay_per_round: int = 1024
    batch_size: int = 128
    """Replayed clips of one step; the corrections are spread evenly over the steps of a round."""
    dropout_rates: tuple[float, float] = (0.2, 0.5)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """What a head learns from."""

    embeddings: Array
    """(n_clips, n_dims), as the encoder gives them."""
    targets: Array
    """(n_clips, n_emotions); rows sum to 1."""
    importance: Array
    """(n_clips,), above 0."""

    def __len__(self) -> int:
        return len(self.embeddings)

    def at(self, chosen: NDArray[np.intp]) -> Examples:
        """Some of them."""
        return Examples(
            embeddings=self.embeddings[chosen], targets=self.targets[chosen], importance=self.importance[chosen]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How far a fit is after one round."""

    number: int
    n_rounds: int
    loss_nats: float
    seconds: float
    weights: HeadWeights


def refit(
    parent: HeadWeights,
    corrections: Examples,
    base: Examples,
    *,
    plan: RefitPlan,
    after_round: Callable[[Round], None] = lambda done: None,
    checkpoint: Path | None = None,
) -> HeadWeights:
    """The parent's weights after learning from `corrections` and replaying `base`.

    Parameters
    ----------
    base
        May be empty: then the pull towards the parent's weights alone keeps what it knew.
    after_round
        Told after each round; what it raises ends the fit, which goes on from there when called again.
    checkpoint
        File that holds the state after each round. The same call after a kill gives the same weights, bit for bit.
    """
    state = _State.begin(parent)
    if checkpoint is not None:
        state = _State.read(checkpoint) or state
    held = [array.copy() for array in parent.arrays()]
    answers = _softmax(logits_of(parent, base.embeddings)) if len(base) else base.targets
    replayed = Examples(
        embeddings=base.embeddings,
        targets=plan.parent_share * answers + (1 - plan.parent_share) * base.targets,
        importance=base.importance,
    )
    n_steps = max(1, min(plan.replay_per_round, max(len(base), len(corrections))) // plan.batch_size)
    total = plan.n_epochs * n_steps
    for number in range(state.n_rounds, plan.n_epochs):
        started = time.monotonic()
        generator = np.random.default_rng([plan.seed, number])
        old = np.array_split(_drawn(len(replayed), plan.replay_per_round, generator), n_steps)
        # Fewer corrections than steps: every step has at least a few, again and again.
        new = np.array_split(_repeated(len(corrections), max(n_steps * 8, len(corrections)), generator), n_steps)
        losses = []
        for step, (old_rows, new_rows) in enumerate(zip(old, new, strict=True)):
            batch = _joined(replayed.at(old_rows), corrections.at(new_rows), plan.correction_share)
            rate_0, rate_1 = plan.dropout_rates
            mask_0 = dropout_mask(generator, batch.embeddings.shape, rate_0)
            mask_1 = dropout_mask(generator, (len(batch), parent.shape[1]), rate_1)
            loss, slopes = gradients_of(
                state.weights, batch.embeddings, batch.targets, batch.importance, mask_0, mask_1
            )
            losses.append(loss)
            share = (number * n_steps + step) / total
            state.step(slopes, held, plan, plan.learning_rate * 0.5 * (1 + float(np.cos(np.pi * share))))
        state.n_rounds = number + 1
        done = Round(
            number=number + 1,
            n_rounds=plan.n_epochs,
            loss_nats=float(np.mean(losses)),
            seconds=time.monotonic() - started,
            weights=state.weights,
        )
        try:
            after_round(done)
        finally:  # kept behind the telling: killed in between, a round is made and told again, never left out
            if checkpoint is not None:
                state.write(checkpoint)
    return state.weights


class _State:
    """Weights and Adam's moments; changed in place."""

    def __init__(self, arrays: list[Array], means: list[Array], squares: list[Array], n_steps: int, n_rounds: int):
        self.arrays, self.means, self.squares = arrays, means, squares
        self.n_steps, self.n_rounds = n_steps, n_rounds

    @classmethod
    def begin(cls, parent: HeadWeights) -> _State:
        arrays = [array.astype(np.float32, copy=True) for array in parent.arrays()]
        return cls(arrays, [np.zeros_like(one) for one in arrays], [np.zeros_like(one) for one in arrays], 0, 0)

    @classmethod
    def read(cls, file: Path) -> _State | None:
        """What was kept last; None without a file."""
        if not file.exists():
            return None
        with np.load(file) as kept:
            parts = [[kept[f"{part}_{number}"] for number in range(4)] for part in ("array", "mean", "square")]
            return cls(*parts, int(kept["n_steps"]), int(kept["n_rounds"]))

    def write(self, file: Path) -> None:
        partial = file.with_name(file.name + ".part")
        parts = {"array": self.arrays, "mean": self.means, "square": self.squares}
        named = {f"{part}_{number}": one for part, arrays in parts.items() for number, one in enumerate(arrays)}
        with partial.open("wb") as opened:
            np.savez(opened, n_steps=self.n_steps, n_rounds=self.n_rounds, **named)
        partial.replace(file)

    @property
    def weights(self) -> HeadWeights:
        return HeadWeights(**dict(zip(HeadWeights.__dataclass_fields__, self.arrays, strict=True)))

    def step(self, slopes: HeadWeights, held: list[Array], plan: RefitPlan, rate: float) -> None:
        """One step of Adam; the pull is decoupled from it, as weight decay is in AdamW."""
        self.n_steps += 1
        for array, mean, square, slope, parent in zip(
            self.arrays, self.means, self.squares, slopes.arrays(), held, strict=True
        ):
            mean += (1 - _BETA_1) * (slope - mean)
            square += (1 - _BETA_2) * (np.square(slope) - square)
            corrected = np.sqrt(square / (1 - _BETA_2**self.n_steps)) + _EPSILON
            array -= (rate / (1 - _BETA_1**self.n_steps)) * mean / corrected
            array -= rate * plan.pull_to_parent * (array - parent)


def _joined(old: Examples, new: Examples, share_of_new: float) -> Examples:
    """One batch in which `new` makes up a given share of the loss."""
    if not len(old):
        return new
    old_weight = old.importance / old.importance.sum() * (1 - share_of_new)
    new_weight = new.importance / new.importance.sum() * share_of_new
    return Examples(
        embeddings=np.concatenate([old.embeddings, new.embeddings]),
        targets=np.concatenate([old.targets, new.targets]),
        importance=np.concatenate([old_weight, new_weight]).astype(np.float32),
    )


def _drawn(n_all: int, n_wanted: int, generator: np.random.Generator) -> NDArray[np.intp]:
    return generator.permutation(n_all)[:n_wanted]


def _repeated(n_all: int, n_wanted: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """`n_wanted` positions in which every one of `n_all` comes about as often."""
    rounds = [generator.permutation(n_all) for _ in range(-(-n_wanted // n_all))]
    return np.concatenate(rounds)[:n_wanted]


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Array = powers / powers.sum(axis=1, keepdims=True)
    return result
