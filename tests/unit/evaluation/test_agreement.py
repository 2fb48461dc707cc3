"""Agreement: by hand, at the edges, and as independent tools have it."""

import csv
import itertools
import math
import statistics
from collections import defaultdict
from pathlib import Path
from uuid import UUID

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
from core.labelling.consensus import Method, agree
from core.labelling.state import Counted
from tests.labelling_projects import make_rating

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


@pytest.fixture(scope="module")
def listeners() -> np.ndarray:
    """What most listeners named by the voice, by the face and by both, `(n_clips, 3)`; NaN where they were divided."""
    if not VOTES.exists():
        pytest.skip(f"needs {VOTES.name} of CREMA-D beside the project")
    initials = "".join(name[0] for name in EMOTIONS)
    with VOTES.open() as file:
        said = [[row[f"{by}Vote"] for by in ("Voice", "Face", "MultiModal")] for row in csv.DictReader(file)]
    return np.array([[initials.index(vote) if len(vote) == 1 else NAN for vote in votes] for votes in said])


def test_agreement_of_crema_ds_listeners_is_what_independent_tools_find(listeners):
    assert krippendorff_alpha(listeners) == pytest.approx(
        krippendorff.alpha(listeners.T, level_of_measurement="nominal"), abs=1e-12
    )
    kappas = pairwise_cohen_kappa(listeners)
    pairs_by_clip, named, named_twice = [], defaultdict(int), defaultdict(int)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = listeners[~np.isnan(listeners[:, [one, other]]).any(axis=1)].astype(float)
        assert kappas[one, other] == pytest.approx(cohen_kappa_score(both[:, one], both[:, other]), abs=1e-12)
    for row in listeners.tolist():
        pairs = list(itertools.combinations([vote for vote in row if not math.isnan(vote)], 2))
        for weighed in pairs:  # a clip with three votes has three pairs: each vote stands in two of them
            for vote in weighed:
                named[vote] += 1
                named_twice[vote] += weighed[0] == weighed[1]
        if pairs:
            pairs_by_clip.append(sum(one == other for one, other in pairs) / len(pairs))
    assert percent_agreement(listeners) == pytest.approx(np.mean(pairs_by_clip), abs=1e-12)
    by_label = agreement_by_label(listeners, n_labels=len(EMOTIONS))
    assert by_label.tolist() == pytest.approx([named_twice[each] / named[each] for each in range(len(EMOTIONS))])
    assert [krippendorff_alpha(listeners), percent_agreement(listeners)] == pytest.approx([0.535, 0.635], abs=5e-4)


def test_plurality_of_crema_ds_listeners_is_that_of_the_standard_library(listeners):
    clips = {UUID(int=number): row for number, row in enumerate(listeners[:2000].tolist())}
    ratings = {
        clip: [
            make_rating(EMOTIONS[int(vote)], recording_id=clip, annotator_id=UUID(int=by))
            for by, vote in enumerate(row)
            if not math.isnan(vote)
        ]
        for clip, row in clips.items()
    }
    found = agree(Counted(ratings=ratings, decisions={}), EMOTIONS, method=Method.MAJORITY)
    assert {each.recording_id for each in found} == {clip for clip, said in ratings.items() if said}
    n_divided = 0
    for each in found:
        modes = statistics.multimode(rating.label for rating in ratings[each.recording_id])
        most = max(each.probabilities.values())
        assert {label for label, share in each.probabilities.items() if share == most} == set(modes)
        assert each.label in modes
        n_divided += len(modes) > 1
    assert 0 < n_divided < len(found) / 4
