"""Agreement: by hand, at the edges, and as independent tools have it."""

import csv
import math
from collections import defaultdict
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from core.config import REPOSITORY
from core.evaluation.agreement import (
    against_consensus,
    agreement_by_label,
    cohen_kappa,
    krippendorff_alpha,
    krippendorff_alpha_interval,
    pairwise_cohen_kappa,
    percent_agreement,
)

NAN = math.nan
KRIPPENDORFF_2011 = [
    *([1, 1, NAN, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4]),
    *([1, 1, 2, 1], [2, 2, 2, 2], [NAN, 5, 5, 5], [NAN, NAN, 1, 1], [NAN, NAN, 3, NAN]),
]
"""The data of Krippendorff 2011, section C, whose nominal alpha is 0.743 there."""


def drawn(seed, n_clips=60, n_annotators=4, n_labels=5, absent=0.3):
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_labels, size=n_clips)
    noise = rng.integers(n_labels, size=(n_clips, n_annotators))
    ratings = np.where(rng.random((n_clips, n_annotators)) < 0.6, truth[:, None], noise).astype(float)
    ratings[rng.random(ratings.shape) < absent] = NAN
    return ratings


def test_alpha_is_that_of_the_published_example():
    assert round(krippendorff_alpha(KRIPPENDORFF_2011), 3) == 0.743


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_an_independent_package(seed):
    ratings = drawn(seed)
    expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement="nominal")
    assert krippendorff_alpha(ratings) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_scikit_learn(seed):
    ratings = drawn(seed)
    kappas = pairwise_cohen_kappa(ratings)
    for one, other in ((0, 1), (2, 3)):
        both = ~np.isnan(ratings[:, [one, other]]).any(axis=1)
        expected = cohen_kappa_score(ratings[both, one], ratings[both, other])
        assert kappas[one, other] == kappas[other, one] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(np.diag(kappas)).all()


def test_agreement_in_everything_is_one():
    ratings = [[0, 0, 0], [1, 1, 1], [2, NAN, 2]]
    assert krippendorff_alpha(ratings) == 1
    assert percent_agreement(ratings) == 1
    assert cohen_kappa([0, 1, 2], [0, 1, 2]) == 1


@pytest.mark.parametrize("ratings", [[], [[NAN, NAN]], [[0, NAN], [NAN, 1]], np.zeros((0, 3))])
def test_without_a_clip_that_two_rated_nothing_is_known(ratings):
    assert math.isnan(krippendorff_alpha(ratings))
    assert math.isnan(percent_agreement(ratings))
    assert math.isnan(krippendorff_alpha_interval(ratings).low)


def test_where_everybody_always_says_the_same_chance_cannot_be_told_from_agreement():
    assert math.isnan(krippendorff_alpha([[1, 1], [1, 1]]))
    assert math.isnan(cohen_kappa([1, 1], [1, 1]))


def test_interval_holds_the_figure_and_narrows_with_clips():
    few, many = drawn(1, n_clips=30), drawn(1, n_clips=600)
    wide, narrow = krippendorff_alpha_interval(few, n_resamples=200), krippendorff_alpha_interval(many, n_resamples=200)
    assert wide.low < krippendorff_alpha(few) < wide.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 2


def test_agreement_by_label_counts_pairs():
    # Pairs of clip 1: 00, 01, 01; of clip 2: 11. Label 0: 2 * 1 / (2 * 1 + 2); label 1: 2 * 1 / (2 * 1 + 2).
    assert agreement_by_label([[0, 0, 1], [1, 1, NAN]], n_labels=2).tolist() == [0.5, 0.5]


def test_annotator_against_consensus():
    found = against_consensus([0, 1, 1, NAN], [0, 0, 1, 1], n_labels=2)
    assert found.confusion.tolist() == [[1, 1], [0, 1]]
    assert (found.n_clips, round(found.agreement, 3)) == (3, 0.667)
    assert math.isnan(against_consensus([NAN], [0], n_labels=2).agreement)


@pytest.mark.parametrize("wrong", [[0, 1], [[0.5, 1]], [[-1, 0]]])
def test_what_is_no_table_of_ratings_is_refused(wrong):
    with pytest.raises(ValueError, match="ratings"):
        krippendorff_alpha(wrong)


VOTES = REPOSITORY.parent / "shared" / "corpora" / "crema-d-votes.csv"
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")


@pytest.mark.skipif(not VOTES.exists(), reason=f"needs {VOTES.name} of CREMA-D beside the project")
def test_actors_against_the_listeners_of_crema_d_are_as_published():
    """The plurality of listeners names the acted emotion of 41.6 % of clips by the voice alone (ties count as none)."""
    acted, heard = [], []
    with Path(VOTES).open() as file:
        for row in csv.DictReader(file):
            emotion = row["FileName"].split("_")[2]
            votes = row["VoiceVote"].split(":")
            acted.append(EMOTIONS.index(emotion))
            heard.append(
                next(i for i, name in enumerate(EMOTIONS) if name[0] == votes[0]) if len(votes) == 1 else len(EMOTIONS)
            )
    found = against_consensus(acted, heard, n_labels=len(EMOTIONS) + 1)
    assert found.agreement == pytest.approx(0.416, abs=0.005)
    assert found.confusion.sum() == found.n_clips == len(acted)
    by_emotion = defaultdict(int)
    for emotion in acted:
        by_emotion[emotion] += 1
    assert found.confusion.sum(axis=0)[: len(EMOTIONS)].tolist() == [by_emotion[each] for each in range(len(EMOTIONS))]
