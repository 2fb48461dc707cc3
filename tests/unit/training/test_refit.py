"""Fitting a head again: it learns the corrections, keeps the rest, and goes on after a kill as if nothing had been."""

import numpy as np
import pytest

from training import refit as refit_module
from training.head_weights import HeadWeights, logits_of
from training.refit import Examples, RefitPlan, Round, refit

N_DIMS, WIDTH, N_EMOTIONS = 12, 24, 4
PLAN = RefitPlan(n_epochs=12, learning_rate=5e-3, replay_per_round=256, batch_size=64, dropout_rates=(0.0, 0.1))
EYE = np.eye(N_EMOTIONS, dtype=np.float32)
CENTRES = 1.2 * np.random.default_rng(8).standard_normal((N_EMOTIONS, N_DIMS)).astype(np.float32)


def _clips(n: int, seed: int, shift: float = 0.0) -> Examples:
    """Clusters, one for each emotion; a new voice is the same clusters somewhere else."""
    generator = np.random.default_rng(seed)
    emotions = generator.integers(N_EMOTIONS, size=n)
    embeddings = CENTRES[emotions] + generator.standard_normal((n, N_DIMS)).astype(np.float32)
    embeddings += shift * (CENTRES[1] - CENTRES[0]) / np.linalg.norm(CENTRES[1] - CENTRES[0])
    return Examples(embeddings=embeddings.astype(np.float32), targets=EYE[emotions], importance=np.ones(n, np.float32))


def _accuracy(weights: HeadWeights, clips: Examples) -> float:
    top = logits_of(weights, clips.embeddings).argmax(axis=1)
    return float((top == clips.targets.argmax(axis=1)).mean())


@pytest.fixture(scope="module")
def parent() -> HeadWeights:
    generator = np.random.default_rng(4)
    start = HeadWeights(
        hidden_kernel=(generator.standard_normal((N_DIMS, WIDTH)) / 3).astype(np.float32),
        hidden_bias=np.zeros(WIDTH, np.float32),
        logits_kernel=(generator.standard_normal((WIDTH, N_EMOTIONS)) / 5).astype(np.float32),
        logits_bias=np.zeros(N_EMOTIONS, np.float32),
    )
    nothing = _clips(0, 1)
    return refit(
        start,
        _clips(600, 1),
        nothing,
        plan=RefitPlan(
            n_epochs=30,
            learning_rate=1e-2,
            pull_to_parent=0.0,
            replay_per_round=256,
            batch_size=64,
            dropout_rates=(0, 0),
        ),
    )


def test_a_new_voice_is_learnt_and_the_old_ones_are_kept(parent):
    old, new = _clips(500, 2), _clips(200, 3, shift=4.0)
    before_old, before_new = _accuracy(parent, old), _accuracy(parent, new)
    assert before_old > 0.9
    assert before_new < before_old - 0.1
    fitted = refit(parent, _clips(40, 5, shift=4.0), _clips(400, 6), plan=PLAN)
    assert _accuracy(fitted, new) > before_new + 0.1
    assert _accuracy(fitted, old) > before_old - 0.03


def test_without_replay_a_strong_pull_keeps_the_parents_weights(parent):
    pulled = RefitPlan(n_epochs=3, learning_rate=1e-3, pull_to_parent=500.0, dropout_rates=(0, 0))
    loose = RefitPlan(n_epochs=3, learning_rate=1e-3, pull_to_parent=0.0, dropout_rates=(0, 0))
    corrections, nothing = _clips(30, 5, shift=6.0), _clips(0, 6)

    def distance(plan: RefitPlan) -> float:
        fitted = refit(parent, corrections, nothing, plan=plan)
        return float(np.abs(fitted.hidden_kernel - parent.hidden_kernel).max())

    assert distance(pulled) < distance(loose)


def test_the_parent_is_not_changed(parent):
    kept = [array.copy() for array in parent.arrays()]
    refit(parent, _clips(20, 5), _clips(50, 6), plan=PLAN)
    assert all(np.array_equal(one, other) for one, other in zip(kept, parent.arrays(), strict=True))


def test_killed_after_any_round_it_goes_on_to_the_same_weights(parent, tmp_path):
    corrections, base = _clips(20, 5, shift=6.0), _clips(100, 6)
    whole = refit(parent, corrections, base, plan=PLAN)

    def kill(done: Round) -> None:
        if done.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refit(parent, corrections, base, plan=PLAN, after_round=kill, checkpoint=tmp_path / "fit.npz")
    numbers: list[int] = []
    resumed = refit(
        parent,
        corrections,
        base,
        plan=PLAN,
        after_round=lambda done: numbers.append(done.number),
        checkpoint=tmp_path / "fit.npz",
    )
    assert numbers == list(range(6, 13))
    assert all(np.array_equal(one, other) for one, other in zip(whole.arrays(), resumed.arrays(), strict=True))


def test_killed_before_a_round_is_kept_it_is_told_again_and_none_is_missed(parent, tmp_path, monkeypatch):
    corrections, base = _clips(20, 5, shift=6.0), _clips(100, 6)
    told: list[int] = []
    write = refit_module._State.write

    def killed_at_the_third(state, file):
        if state.n_rounds == 3 and told.count(3) == 1:
            raise KeyboardInterrupt
        write(state, file)

    monkeypatch.setattr(refit_module._State, "write", killed_at_the_third)
    arguments = {"plan": PLAN, "checkpoint": tmp_path / "fit.npz", "after_round": lambda done: told.append(done.number)}
    with pytest.raises(KeyboardInterrupt):
        refit(parent, corrections, base, **arguments)
    refit(parent, corrections, base, **arguments)
    assert told == [1, 2, 3, *range(3, PLAN.n_epochs + 1)]


def test_soft_labels_teach_their_shares(parent):
    clips = _clips(60, 5, shift=6.0)
    halves = np.tile(np.array([0.5, 0.5, 0, 0], np.float32), (60, 1))
    soft = Examples(embeddings=clips.embeddings, targets=halves, importance=clips.importance)
    plan = RefitPlan(n_epochs=200, learning_rate=5e-3, pull_to_parent=0.0, dropout_rates=(0, 0))
    logits = logits_of(refit(parent, soft, _clips(0, 6), plan=plan), clips.embeddings)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    mean = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
    assert mean[:2] == pytest.approx([0.5, 0.5], abs=0.1)
