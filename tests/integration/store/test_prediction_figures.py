"""What reports add up in the database: recomputed here row by row, on each database."""

from __future__ import annotations

import pytest

from core.domain import PROCESS, Emotion, Source
from core.identifiers import new_id
from core.store.predictions import (
    PredictionFilter,
    count_predictions,
    count_predictions_by_model_version,
    count_predictions_by_source,
    insert_predictions,
    select_emotion_figures,
)
from core.store.recordings import insert_recording
from tests.factories import make_prediction, make_recording


def test_figures_of_each_emotion_are_the_sums_of_its_predictions(store):
    recording = insert_recording(store, recording=make_recording())
    made = [
        make_prediction(recording, emotion=emotion, confidence=confidence, duration_s=duration_s)
        for emotion, confidence, duration_s in [
            (Emotion.SAD, 0.3, 1.25),
            (Emotion.SAD, 0.9, 2.5),
            (Emotion.CALM, 0.55, 4.0),
        ]
    ]
    fewer = {Emotion.SAD: 0.75, Emotion.CALM: 0.25}
    made.append(make_prediction(recording, emotion=Emotion.SAD, confidence=0.75, probabilities=fewer))
    insert_predictions(store, predictions=made)
    found = select_emotion_figures(store, reader=PROCESS)
    assert [figures.emotion for figures in found] == list(Emotion)
    for figures in found:
        theirs = [each for each in made if each.emotion is figures.emotion]
        assert figures.n_predictions == len(theirs)
        assert figures.n_not_sure == sum(each.abstained for each in theirs)
        assert figures.duration_s == pytest.approx(sum(each.duration_s for each in theirs))
        assert figures.sum_of_confidence == pytest.approx(sum(each.confidence for each in theirs))
        doubts = [each.uncertainty for each in theirs]
        assert figures.sum_of_predictive_entropy_nats == pytest.approx(sum(d.predictive_entropy_nats for d in doubts))
        assert figures.sum_of_mutual_information_nats == pytest.approx(sum(d.mutual_information_nats for d in doubts))
        for emotion in Emotion:
            expected = sum(each.probabilities.get(emotion, 0.0) for each in theirs)
            assert figures.sums_of_probabilities[emotion] == pytest.approx(expected)


def test_predictions_are_counted_by_model_source_and_project(store):
    project = new_id()
    shared = insert_recording(store, recording=make_recording(project_id=project))
    own = insert_recording(store, recording=make_recording())
    made = [
        *(make_prediction(shared, model_version="b", source=Source.API) for _ in range(3)),
        make_prediction(own, model_version="c", source=Source.UPLOAD),
        make_prediction(own, model_version="a", source=Source.API),
    ]
    insert_predictions(store, predictions=made)
    assert list(count_predictions_by_model_version(store, reader=PROCESS).items()) == [("b", 3), ("a", 1), ("c", 1)]
    assert list(count_predictions_by_source(store, reader=PROCESS).items()) == [(Source.UPLOAD, 1), (Source.API, 4)]
    of_project = PredictionFilter(project_id=project)
    assert count_predictions(store, reader=PROCESS, filter=of_project) == 3
    assert count_predictions_by_model_version(store, reader=PROCESS, filter=of_project) == {"b": 3}
