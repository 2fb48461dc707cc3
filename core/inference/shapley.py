"""Shapley values of a game that is costly to play, from few coalitions.

Kernel SHAP fits one number to each player by weighted least squares over coalitions. Which coalitions are asked about
decides how good the fit is: here every size gets as many as any other, none twice, and each comes with its complement.
Asked for as often, values of two seeds agree far better than with coalitions drawn by the kernel's weights, as
`shap.KernelExplainer` does (docs/decisions/0005-coalitions.md).

Conventions: a coalition is a row of booleans, one for each player, True where it takes part.

References
----------
Lundberg and Lee (2017), "A unified approach to interpreting model predictions", NIPS, section 4.1 (Kernel SHAP).
Musco and Witter (2025), "Provably accurate Shapley value estimation via leverage score sampling", ICLR (the sizes).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalitions:
    """What to ask about, beside nobody and everybody."""

    members: NDArray[np.bool_]
    """`(n_coalitions, n_players)`, each row followed by its complement."""
    weights: NDArray[np.float64]
    """Of each row in the fit: the kernel's weight over the chance to be drawn."""


def draw_coalitions(n_players: int, *, n_coalitions: int, seed: int) -> Coalitions:
    """At most `n_coalitions` coalitions, all there are where they are no more.

    Parameters
    ----------
    n_players
        At least 2.
    seed
        0 or more; the same seed draws the same coalitions.

    Examples
    --------
    >>> draw_coalitions(2, n_coalitions=10, seed=0).members.tolist()
    [[True, False], [False, True]]
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    members: list[NDArray[np.bool_]] = []
    weights: list[float] = []
    for size, n_pairs in _pairs_by_size(n_players, n_coalitions // 2).items():
        weight = _n_pairs(n_players, size) / max(1, n_pairs) / (size * (n_players - size) * comb(n_players, size))
        for players in _draw_pairs(n_players, size, n_pairs, generator):
            coalition = np.isin(np.arange(n_players), players)
            members += [coalition, ~coalition]
            weights += [weight, weight]
    return Coalitions(members=np.array(members), weights=np.array(weights))


def solve_shapley(
    coalitions: Coalitions, worths: NDArray[np.float64], *, worth_of_nobody: float, worth_of_everybody: float
) -> NDArray[np.float64]:
    """The values, float64 (n_players,), that fit `worths` best and add up to what everybody is worth above nobody.

    Parameters
    ----------
    worths
        Of each of `coalitions.members`.
    """
    n_players = coalitions.members.shape[1]
    share = (worth_of_everybody - worth_of_nobody) / n_players
    members = coalitions.members.astype(np.float64)
    rest = worths - worth_of_nobody - share * members.sum(axis=1)
    roots = np.sqrt(coalitions.weights)
    # What is left after equal shares adds up to nothing, and so must whatever is fitted to it.
    centred = members - members.mean(axis=1, keepdims=True)
    fitted, *_ = np.linalg.lstsq(centred * roots[:, np.newaxis], rest * roots, rcond=None)
    values: NDArray[np.float64] = share + fitted - fitted.mean()
    return values


def _n_pairs(n_players: int, size: int) -> int:
    """How many pairs of a coalition of `size` and its complement there are."""
    return comb(n_players, size) // (2 if 2 * size == n_players else 1)


def _pairs_by_size(n_players: int, n_pairs: int) -> dict[int, int]:
    """As many pairs of each size as of any other; what a size does not have goes to those that have more."""
    sizes = sorted(range(1, n_players // 2 + 1), key=lambda size: _n_pairs(n_players, size))
    counts: dict[int, int] = {}
    left = n_pairs
    for position, size in enumerate(sizes):
        counts[size] = min(_n_pairs(n_players, size), left // (len(sizes) - position))
        left -= counts[size]
    return counts


def _draw_pairs(n_players: int, size: int, n_pairs: int, generator: np.random.Generator) -> list[tuple[int, ...]]:
    """The smaller coalition of each pair; of two equally large ones the one with the first player."""
    is_half = 2 * size == n_players
    if n_pairs == _n_pairs(n_players, size):
        everything = itertools.combinations(range(n_players), size)
        return [players for players in everything if not is_half or 0 in players]
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < n_pairs:
        players = set(generator.choice(n_players, size, replace=False).tolist())
        drawn.add(tuple(sorted(set(range(n_players)) - players if is_half and 0 not in players else players)))
    return sorted(drawn)
