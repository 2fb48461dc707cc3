"""Consensus: what several ratings of one recording come to."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from core.domain import Decision, DecisionKind, Rating, RatingFlag
from core.labelling.consensus import Method, agree
from core.labelling.state import Counted

PROJECT = UUID(int=9)
ANN, BOB, CAT = (UUID(int=number) for number in (11, 12, 13))
FIRST, SECOND = UUID(int=1), UUID(int=2)
START = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = ("calm", "sad")


def rated(recording_id, annotator, label, flag=None):
    return Rating(
        id=UUID(int=recording_id.int * 100 + annotator.int),
        project_id=PROJECT,
        recording_id=recording_id,
        annotator_id=annotator,
        label=label,
        flag=flag,
        rated_at=START,
    )


def decided(kind, label=None, minutes=1):
    return Decision(
        id=UUID(int=500 + minutes),
        project_id=PROJECT,
        recording_id=FIRST,
        kind=kind,
        label=label,
        note="",
        by=CAT,
        at=START + timedelta(minutes=minutes),
    )


def counted(ratings, decisions=()):
    by_recording = {}
    for rating in ratings:
        by_recording.setdefault(rating.recording_id, []).append(rating)
    return Counted(ratings=by_recording, decisions={FIRST: list(decisions)} if decisions else {})


def test_majority_keeps_the_distribution():
    said = [rated(FIRST, ANN, "sad"), rated(FIRST, BOB, "sad"), rated(FIRST, CAT, "calm")]
    (agreed,) = agree(counted(said), LABELS, method=Method.MAJORITY)
    assert agreed.probabilities == pytest.approx({"calm": 1 / 3, "sad": 2 / 3})
    assert (agreed.label, agreed.n_ratings, agreed.method) == ("sad", 3, "majority")


def test_flags_are_no_labels():
    said = [rated(FIRST, ANN, None, RatingFlag.CANNOT_TELL), rated(SECOND, ANN, "sad")]
    assert [each.recording_id for each in agree(counted(said), LABELS, method=Method.MAJORITY)] == [SECOND]


@pytest.mark.parametrize("method", Method)
def test_adjudication_counts_before_any_method(method):
    said = [rated(FIRST, ANN, "sad"), rated(FIRST, BOB, "sad"), rated(SECOND, ANN, "calm"), rated(SECOND, BOB, "calm")]
    verdict = decided(DecisionKind.ADJUDICATE, "calm")
    agreed = agree(counted(said, [verdict]), LABELS, method=method)[0]
    assert (agreed.probabilities, agreed.method, agreed.adjudicated_by) == ({"calm": 1.0}, "adjudicated", CAT)


def test_last_verdict_stands_until_the_recording_is_sent_back():
    said = [rated(FIRST, ANN, "sad")]
    verdicts = [decided(DecisionKind.ADJUDICATE, "calm"), decided(DecisionKind.COMMENT, minutes=2)]
    assert agree(counted(said, verdicts), LABELS, method=Method.MAJORITY)[0].label == "calm"
    verdicts.append(decided(DecisionKind.SEND_BACK, minutes=3))
    assert agree(counted(said, verdicts), LABELS, method=Method.MAJORITY)[0].label == "sad"


def test_dawid_skene_believes_whoever_agrees_with_the_others():
    """Two careful annotators and one who answers the opposite half the time: where only he differs, he is overruled;
    where a careful one alone faces him, the careful one is believed, which a majority cannot decide."""
    said = []
    for number in range(1, 41):
        recording = UUID(int=number)
        truth = LABELS[number % 2]
        other = LABELS[(number + 1) % 2]
        said.append(rated(recording, ANN, truth))
        if number <= 30:
            said.append(rated(recording, BOB, truth))
        said.append(rated(recording, CAT, other if number % 4 < 2 else truth))
    agreed = {each.recording_id.int: each for each in agree(counted(said), LABELS, method=Method.DAWID_SKENE)}
    assert [agreed[number].label for number in range(1, 41)] == [LABELS[number % 2] for number in range(1, 41)]
    assert all(sum(each.probabilities.values()) == pytest.approx(1) for each in agreed.values())
    tied = agree(counted([each for each in said if each.recording_id.int == 40]), LABELS, method=Method.MAJORITY)[0]
    assert tied.probabilities == {"calm": 0.5, "sad": 0.5}


@pytest.mark.parametrize("method", Method)
def test_nothing_rated_agrees_on_nothing(method):
    assert agree(counted([]), LABELS, method=method) == []
