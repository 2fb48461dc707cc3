"""The agreement of a project, from its ratings."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest

from core.domain import LabellingSettings, Rating, RatingFlag
from core.identifiers import new_id
from core.labelling.agreement_report import agreement_report
from core.labelling.labelling import Counted

ANN, BEN, CY = (UUID(int=number) for number in (1, 2, 3))
CLIPS = [UUID(int=100 + number) for number in range(4)]
SETTINGS = LabellingSettings(labels=("happy", "sad"), gold={CLIPS[0]: "happy", CLIPS[1]: "sad"})


def rating(clip: UUID, annotator: UUID, label: str | None, **given: object) -> Rating:
    return Rating(
        id=new_id(),
        project_id=UUID(int=9),
        recording_id=clip,
        annotator_id=annotator,
        label=label,
        rated_at=datetime(2026, 11, 25, tzinfo=UTC),
        **given,
    )


def counted(*ratings: Rating) -> Counted:
    by_clip: dict[UUID, list[Rating]] = {}
    for each in ratings:
        by_clip.setdefault(each.recording_id, []).append(each)
    return Counted(ratings=by_clip, decisions={})


def test_two_annotators_are_compared_on_the_clips_both_rated():
    report = agreement_report(
        counted(
            *(rating(clip, ANN, label) for clip, label in zip(CLIPS, ["happy", "happy", "sad", "sad"], strict=True)),
            *(rating(clip, BEN, label) for clip, label in zip(CLIPS[:3], ["happy", "sad", "sad"], strict=True)),
        ),
        SETTINGS,
    )
    assert (report.n_clips, report.n_compared) == (4, 3)
    assert report.percent == pytest.approx(2 / 3)
    assert report.kappas[0, 1] == report.kappas[1, 0] == pytest.approx(0.4)
    assert report.alpha_interval.low <= report.alpha <= report.alpha_interval.high
    assert report.by_label == pytest.approx({"happy": 2 / 3, "sad": 2 / 3})


def test_each_annotator_has_their_time_their_flags_and_their_gold():
    report = agreement_report(
        counted(
            rating(CLIPS[0], ANN, "happy", spent_s=2.0),
            rating(CLIPS[1], ANN, "happy", spent_s=4.0),
            rating(CLIPS[2], ANN, None, flag=RatingFlag.CANNOT_TELL, spent_s=30.0),
            rating(CLIPS[0], BEN, "happy", spent_s=1.0),
        ),
        SETTINGS,
    )
    first, second = report.annotators
    assert (first.annotator_id, first.n_ratings, first.n_flags, first.median_spent_s) == (ANN, 3, 1, 4.0)
    assert (first.n_gold, first.gold_accuracy) == (2, 0.5)
    assert (second.annotator_id, second.n_gold, second.gold_accuracy) == (BEN, 1, 1.0)
    assert first.consensus.confusion.tolist() == [[2, 0], [0, 0]]


def test_labels_no_longer_asked_for_are_left_out():
    report = agreement_report(counted(rating(CLIPS[0], ANN, "calm"), rating(CLIPS[0], BEN, "happy")), SETTINGS)
    assert report.n_compared == 0
    assert math.isnan(report.percent)


def test_nothing_rated_is_no_error():
    report = agreement_report(counted(), SETTINGS)
    assert (report.annotators, report.n_clips, report.n_compared) == ((), 0, 0)
    assert math.isnan(report.alpha)
    assert np.array(report.kappas).size == 0
