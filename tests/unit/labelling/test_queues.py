"""Queues: which clip comes next, and why."""

from collections import Counter
from uuid import UUID

import numpy as np
import pytest

from core.domain import Emotion, QueueKind, Sketch
from core.labelling.queues import Spread, farthest_first, kind_of_turn, random_rank, ranks
from core.store.labelling import Clip

IDS = [UUID(int=number) for number in range(1, 5)]


def clip(number, *, angry, doubt=0.1):
    rest = (1 - angry) / 7
    probabilities = {emotion: angry if emotion is Emotion.ANGRY else rest for emotion in Emotion}
    return Clip(recording_id=IDS[number], probabilities=probabilities, mutual_information_nats=doubt)


CLIPS = [clip(0, angry=0.9, doubt=0.1), clip(1, angry=0.3, doubt=0.2), clip(2, angry=0.5, doubt=0.4)]


def first(kind, labels=None, **given):
    return int(np.argmax(ranks(kind, CLIPS, labels=labels or {}, seed=0, **given)))


def test_each_queue_puts_what_it_looks_for_first():
    assert first(QueueKind.UNCERTAIN) == 2
    assert first(QueueKind.LIKELY_WRONG) == 1
    assert first(QueueKind.DISAGREEMENT, {IDS[0]: ["sad", "sad"], IDS[1]: ["sad", "calm"]}) == 1
    assert first(QueueKind.DIVERSE, {IDS[1]: ["sad"]}) == 0


def test_clip_without_a_prediction_is_the_most_likely_wrong():
    unheard = Clip(recording_id=IDS[3], probabilities={}, mutual_information_nats=0.0)
    assert np.argmax(ranks(QueueKind.LIKELY_WRONG, [*CLIPS, unheard], labels={}, seed=0)) == 3


def sketch(*numbers, encoder="one"):
    return Sketch(encoder=encoder, numbers=np.array(numbers, "<f2").tobytes())


def test_diverse_goes_by_embeddings_and_not_by_probabilities():
    sketches = {IDS[0]: sketch(0, 0), IDS[1]: sketch(1, 1), IDS[2]: sketch(9, 9)}
    assert first(QueueKind.DIVERSE, {IDS[0]: ["sad"]}, sketches=sketches) == 2
    assert first(QueueKind.DIVERSE, {IDS[0]: ["sad"]}) == 1


def test_clips_of_two_encoders_are_spread_each_among_their_own_and_those_less_done_come_first():
    sketches = {IDS[0]: sketch(0, 0), IDS[1]: sketch(0, 1), IDS[2]: sketch(500, 500, encoder="other")}
    assert first(QueueKind.DIVERSE, {IDS[0]: ["sad"]}, sketches=sketches) == 2
    assert first(QueueKind.DIVERSE, {IDS[0]: ["sad"], IDS[2]: ["sad"]}, sketches=sketches) == 1


def test_clips_without_an_embedding_get_their_turn_by_probabilities():
    clips = [*CLIPS, clip(3, angry=0.88)]
    sketches = {IDS[1]: sketch(0, 0)}
    order, labels = [], {IDS[1]: []}
    for _ in range(3):
        numbers = ranks(QueueKind.DIVERSE, clips, labels=labels, seed=0, sketches=sketches)
        order.append(int(np.argmax(numbers)))
        labels[IDS[order[-1]]] = []
    assert sorted(order) == [0, 2, 3]
    assert set(order[:2]) != {0, 3}, "two that the model answers alike do not follow each other"


def test_spread_that_takes_clips_one_by_one_is_that_of_all_of_them():
    generator = np.random.default_rng(0)
    clips = [
        Clip(
            recording_id=UUID(int=number),
            probabilities=dict(zip(Emotion, generator.dirichlet(np.ones(8)), strict=True)),
            mutual_information_nats=0.1,
        )
        for number in range(1, 601)
    ]
    sketches = {
        each.recording_id: sketch(*generator.standard_normal(8), encoder=("one", "other")[number % 2])
        for number, each in enumerate(clips[100:])
    }
    spread, labels = Spread(clips, sketches, done=()), {}
    for _ in range(400):
        chosen = clips[int(np.argmax(spread.ranks()))].recording_id
        assert chosen not in labels
        labels[chosen] = []
        spread.add(chosen)
        if len(labels) in {1, 2, 3, 100, 400}:
            anew = ranks(QueueKind.DIVERSE, clips, labels=labels, seed=0, sketches=sketches)
            assert spread.ranks() == pytest.approx(anew, abs=1e-3)
    spread.add(UUID(int=9999))
    assert spread.ranks() == pytest.approx(anew, abs=1e-3), "what was deleted meanwhile changes nothing"


def test_farthest_first_covers_two_groups_before_it_repeats_one():
    vectors = np.array([[0, 0], [0, 0.1], [5, 5], [5, 5.1]], np.float32)
    done = np.array([True, False, False, False])
    chosen = int(np.argmax(farthest_first(vectors, done)))
    assert chosen == 3
    done[chosen] = True
    assert farthest_first(vectors, done).max() < 0.2


def test_random_order_depends_on_the_seed_alone():
    orders = [[sorted(IDS, key=lambda each: random_rank(seed, each)) for _ in range(2)] for seed in range(8)]
    assert all(one == again for one, again in orders)
    assert len({tuple(one) for one, _ in orders}) > 3


@pytest.mark.parametrize(
    "shares", [{QueueKind.RANDOM: 100}, {QueueKind.UNCERTAIN: 70, QueueKind.DIVERSE: 20, QueueKind.RANDOM: 10}]
)
def test_turns_keep_the_shares(shares):
    turns = Counter(kind_of_turn(turn, shares) for turn in range(200))
    assert {kind: turns[kind] / 2 for kind in turns} == shares
    early = Counter(kind_of_turn(turn, shares) for turn in range(10))
    assert all(abs(early[kind] - share / 10) <= 1 for kind, share in shares.items())
