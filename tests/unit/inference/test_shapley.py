"""Shapley values from few coalitions: exact where they can be, as shap's own, fair to all sizes."""

import itertools
import math

import numpy as np
import pytest

from core.inference.shapley import draw_coalitions, solve_shapley


def curved_game(n_players, seed=0):
    """Worths with interactions of all orders, for rows of booleans."""
    generator = np.random.default_rng(seed)
    alone, mixing = generator.normal(size=n_players), generator.normal(size=(n_players, 3))
    return lambda members: members @ alone + np.sin(members @ mixing).prod(axis=1) + np.tanh(members @ mixing[:, 0])


def solved(worth, n_players, *, n_coalitions, seed=0):
    drawn = draw_coalitions(n_players, n_coalitions=n_coalitions, seed=seed)
    nobody, everybody = worth(np.zeros((1, n_players))), worth(np.ones((1, n_players)))
    return solve_shapley(
        drawn,
        worth(drawn.members.astype(float)),
        worth_of_nobody=float(nobody[0]),
        worth_of_everybody=float(everybody[0]),
    )


def by_formula(worth, n_players):
    values = np.zeros(n_players)
    for player in range(n_players):
        others = [each for each in range(n_players) if each != player]
        for kept in itertools.chain.from_iterable(itertools.combinations(others, n) for n in range(n_players)):
            without = np.isin(np.arange(n_players), kept).astype(float)[np.newaxis]
            together = np.isin(np.arange(n_players), [*kept, player]).astype(float)[np.newaxis]
            share = math.factorial(len(kept)) * math.factorial(n_players - len(kept) - 1) / math.factorial(n_players)
            values[player] += share * float((worth(together) - worth(without))[0])
    return values


@pytest.mark.parametrize("n_players", [2, 3, 6, 7])
def test_with_all_coalitions_the_values_are_those_of_shapleys_formula(n_players):
    worth = curved_game(n_players)
    found = solved(worth, n_players, n_coalitions=2**n_players)
    assert found == pytest.approx(by_formula(worth, n_players), abs=1e-9)


def test_with_all_coalitions_shap_says_the_same():
    import shap

    worth = curved_game(6)
    explainer = shap.KernelExplainer(worth, np.zeros((1, 6)))
    expected = explainer.shap_values(np.ones(6), nsamples=64, l1_reg=False, silent=True)
    assert solved(worth, 6, n_coalitions=62) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_players", [12, 21, 24])
def test_values_from_few_coalitions_add_up_and_those_of_an_additive_game_are_exact(n_players):
    alone = np.random.default_rng(1).normal(size=n_players)
    assert solved(lambda members: 3 + members @ alone, n_players, n_coalitions=118) == pytest.approx(alone)
    worth = curved_game(n_players)
    difference = float((worth(np.ones((1, n_players))) - worth(np.zeros((1, n_players))))[0])
    assert solved(worth, n_players, n_coalitions=118).sum() == pytest.approx(difference)


def test_more_coalitions_bring_the_values_nearer_to_the_exact_ones():
    worth = curved_game(10)
    exact = by_formula(worth, 10)
    errors = [
        np.mean([np.abs(solved(worth, 10, n_coalitions=many, seed=seed) - exact).mean() for seed in range(20)])
        for many in (40, 120, 400)
    ]
    assert errors[0] > 1.3 * errors[1] > 1.3**2 * errors[2]


@pytest.mark.parametrize(("n_players", "n_coalitions"), [(24, 118), (21, 118), (12, 62), (7, 62), (6, 62), (6, 100)])
def test_coalitions_are_different_come_in_pairs_and_keep_to_their_number(n_players, n_coalitions):
    drawn = draw_coalitions(n_players, n_coalitions=n_coalitions, seed=3)
    assert len({row.tobytes() for row in drawn.members}) == len(drawn.members)
    assert min(n_coalitions, 2**n_players - 2) - len(drawn.members) in (0, 1)
    assert np.array_equal(drawn.members[::2], ~drawn.members[1::2])
    assert drawn.members.sum(axis=1).min() > 0


def test_all_sizes_get_as_many_as_they_have_or_as_the_others():
    drawn = draw_coalitions(24, n_coalitions=118, seed=0)
    smaller = np.minimum(drawn.members.sum(axis=1), 24 - drawn.members.sum(axis=1))[::2]
    counts = np.bincount(smaller, minlength=13)[1:]
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == 59


def test_same_seed_draws_the_same_and_another_others():
    one, same, other = (draw_coalitions(24, n_coalitions=118, seed=seed).members for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
