"""Predictions with labels of somebody's own come back as they went in, are counted, and go with their recording."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from core.domain import PROCESS, Emotion
from core.store.predictions import (
    PredictionFilter,
    TimeBucket,
    count_predictions_by_emotion,
    count_predictions_over_time,
    insert_predictions,
    select_emotion_figures,
    select_prediction,
    select_predictions,
)
from core.store.recordings import delete_recording, insert_recording
from core.store.schema import prediction_own_labels
from tests.factories import make_prediction, make_recording
from tests.own_labels import BORED, EXCITED, make_own_prediction


@pytest.fixture
def kept(store):
    recording = insert_recording(store, recording=make_recording())
    made = [
        make_own_prediction(recording, bored=0.5),
        make_own_prediction(recording, bored=0.25),
        make_prediction(recording, emotion=Emotion.ANGRY),
    ]
    insert_predictions(store, predictions=made)
    return made


def test_a_prediction_comes_back_whole(store, kept):
    for made in kept:
        assert select_prediction(store, prediction_id=made.id, reader=PROCESS) == made


def test_pages_have_every_probability_and_filters_know_own_labels(store, kept):
    rows = {row.id: row for row in select_predictions(store, reader=PROCESS).items}
    assert {made.id: made.probabilities for made in kept} == {row.id: row.probabilities for row in rows.values()}
    found = select_predictions(store, reader=PROCESS, filter=PredictionFilter(emotions=(EXCITED,))).items
    assert [row.id for row in found] == [kept[1].id]
    assert found[0].emotion == EXCITED


def test_counts_have_the_eight_and_then_own_labels(store, kept):
    counts = count_predictions_by_emotion(store, reader=PROCESS)
    assert list(counts) == [*Emotion, BORED, EXCITED]
    assert (counts[BORED], counts[EXCITED], counts[Emotion.ANGRY], counts[Emotion.CALM]) == (1, 1, 1, 0)
    over_time = count_predictions_over_time(store, bucket=TimeBucket.MONTH, reader=PROCESS)
    assert [count.emotion for count in over_time] == [Emotion.ANGRY, BORED, EXCITED]


def test_sums_of_own_probabilities_add_up(store, kept):
    figures = {one.emotion: one for one in select_emotion_figures(store, reader=PROCESS)}
    assert figures[BORED].sums_of_probabilities[EXCITED] == pytest.approx(0.375)
    assert figures[EXCITED].sums_of_probabilities[BORED] == pytest.approx(0.25)
    assert figures[BORED].sums_of_probabilities[Emotion.ANGRY] == pytest.approx(0.125)


def test_they_are_deleted_with_the_recording(store, kept):
    delete_recording(store, recording_id=kept[0].recording_id, reader=PROCESS)
    with store.transaction("counting") as connection:
        assert connection.execute(select(func.count()).select_from(prediction_own_labels)).scalar_one() == 0
