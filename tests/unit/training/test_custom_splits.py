"""Divisions of somebody's own data set: every label everywhere, no speaker on two sides, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from training.custom_splits import Protocol, by_speakers, require_enough, stratified
from training.errors import CustomTrainingError


def parts_of(division):
    return [set(part.tolist()) for part in (division.training, division.validation, division.test)]


@pytest.mark.parametrize("counts", [(5, 5), (10, 100, 7)])
def test_every_label_is_in_each_part_and_no_clip_in_two(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = parts_of(stratified(labels, seed=3))
    assert set.union(*parts) == set(range(len(labels)))
    assert sum(map(len, parts)) == len(labels)
    for part in parts:
        assert {labels[index] for index in part} == set(range(len(counts)))
    assert parts != parts_of(stratified(labels, seed=4))


@pytest.mark.parametrize("n_speakers", [3, 4, 11])
def test_each_speaker_is_judged_once_by_who_never_heard_them(n_speakers):
    speakers = [f"s{index % n_speakers}" for index in range(20 * n_speakers)]
    labels = np.array([index // n_speakers % 2 for index in range(len(speakers))])
    *judged, last = by_speakers(labels, speakers, seed=0)
    tested = np.concatenate([division.test for division in judged])
    assert sorted(tested.tolist()) == list(range(len(speakers)))
    for division in judged:
        training, validation, test = ({speakers[index] for index in part} for part in parts_of(division))
        assert not test & (training | validation)
        assert n_speakers < 4 or not training & validation
        assert {labels[index] for index in division.training} == {0, 1}
    assert len(last.test) == 0
    assert len(last.training) + len(last.validation) == len(speakers)


@pytest.mark.parametrize(
    ("labels", "speakers", "protocol", "said"),
    [
        ("aaaaa", "", Protocol.STRATIFIED, "1 labels"),
        ("aaaaabbbb", "", Protocol.STRATIFIED, "'b' has 4 clips, and at least 5"),
        ("aaaaabbbbb", "xxyyzzxxy", Protocol.SPEAKERS, "not every clip says its speaker"),
        ("aaaaabbbbb", "xxxxxyyyyy", Protocol.SPEAKERS, "2 speakers, and at least 3"),
    ],
)
def test_too_little_is_refused_with_what_is_missing(labels, speakers, protocol, said):
    speakers = list(speakers) + [""] * (len(labels) - len(speakers))
    with pytest.raises(CustomTrainingError, match=said):
        require_enough(list(labels), speakers, protocol)
