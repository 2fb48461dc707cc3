"""The gate: not worse where neither learnt, better where people corrected."""

import numpy as np

from core.evaluation.gate import Comparison, Gate, judge_challenger

LABELS = np.tile(np.arange(4), 100)


def _wrong(labels, share, seed=0):
    answers = labels.copy()
    chosen = np.random.default_rng(seed).random(len(labels)) < share
    answers[chosen] = (answers[chosen] + 1) % 4
    return answers


def _gate(on_test, on_corrections) -> Gate:
    corrected = LABELS[:80]
    return judge_challenger(
        test_labels=LABELS,
        champion_on_test=_wrong(LABELS, 0.3),
        challenger_on_test=on_test,
        corrected_labels=corrected,
        champion_on_corrections=_wrong(corrected, 0.6),
        challenger_on_corrections=on_corrections,
    )


def test_same_on_the_test_set_and_better_on_corrections_passes():
    gate = _gate(_wrong(LABELS, 0.3), _wrong(LABELS[:80], 0.2))
    assert gate.is_passed
    assert gate.test.difference == 0
    assert gate.corrections.low > 0
    assert gate.sentence == "Not worse on the test set and better on the corrections."


def test_what_forgets_does_not_pass_however_much_better_it_is():
    gate = _gate(_wrong(LABELS, 0.5, seed=1), LABELS[:80])
    assert not gate.is_not_worse
    assert gate.is_better
    assert not gate.is_passed
    assert gate.sentence == "May be worse on the test set but better on the corrections."


def test_what_learnt_nothing_does_not_pass():
    gate = _gate(_wrong(LABELS, 0.3), _wrong(LABELS[:80], 0.6))
    assert not gate.is_better
    assert not gate.is_passed


def test_without_a_test_set_nothing_passes():
    nothing = np.zeros(0, dtype=int)
    corrected = LABELS[:80]
    gate = judge_challenger(
        test_labels=nothing,
        champion_on_test=nothing,
        challenger_on_test=nothing,
        corrected_labels=corrected,
        champion_on_corrections=_wrong(corrected, 0.6),
        challenger_on_corrections=corrected,
    )
    assert gate.is_better
    assert not gate.is_not_worse


def test_the_margin_is_two_points():
    def with_low(low: float) -> Gate:
        same = Comparison(n_clips=9, champion=0.5, challenger=0.6, difference=0.1, low=0.05, high=0.2)
        test = Comparison(n_clips=9, champion=0.5, challenger=0.5, difference=0.0, low=low, high=0.1)
        return Gate(test=test, corrections=same)

    assert with_low(-0.02).is_passed
    assert not with_low(-0.021).is_passed
