"""The address of Explain: what it asks comes back, and nonsense in it asks nothing."""

from __future__ import annotations

from uuid import uuid4

from core.domain import Emotion
from pages.parts.question import Question, link_to, question_of


def test_an_address_asks_for_answer_contrast_stretch_and_a_second():
    first, second = uuid4(), uuid4()
    asked = question_of({"prediction": [str(first)], "against": ["calm"], "from_s": ["12.5"], "beside": [str(second)]})
    assert asked == Question(prediction_id=first, contrast=Emotion.CALM, start_s=12.5, other_id=second)


def test_nonsense_asks_nothing():
    parameters = {"prediction": ["x"], "against": [" "], "from_s": ["-1"], "beside": ["../.."]}
    assert question_of(parameters) == Question()
    assert question_of({"from_s": ["nan"]}) == question_of({"from_s": ["1e9"]}) == Question()


def test_a_link_leads_back_to_its_prediction():
    prediction_id = uuid4()
    assert question_of({name: [value] for name, value in link_to(prediction_id).items()}).prediction_id == prediction_id
