"""Labels: the eight emotions are what they are, others are names, and both can stand beside each other."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from core.domain import Emotion, Label, OwnLabel, in_order, label_of
from core.emotion_colours import EMOTION_COLOURS, OWN_SIGN, colours_of, sign_of

BORED, EXCITED = OwnLabel("bored"), OwnLabel("excited")


@pytest.mark.parametrize("name", ["", " bored", "bored ", "a\nb", "x" * 41, "happy"])
def test_what_is_no_name_or_one_of_the_eight_is_no_own_label(name):
    with pytest.raises(ValueError, match=r"no label|one of the eight"):
        OwnLabel(name)


def test_json_gives_back_the_eight_as_emotions_and_others_as_own_labels():
    adapter = TypeAdapter(dict[Label, float])
    shares = {Emotion.HAPPY: 0.25, BORED: 0.75}
    again = adapter.validate_json(adapter.dump_json(shares))
    assert again == shares
    assert [type(label) for label in again] == [Emotion, OwnLabel]
    with pytest.raises(ValidationError):
        adapter.validate_json('{" ": 1.0}')


def test_the_schema_of_a_label_names_the_eight_and_allows_others():
    first, second = TypeAdapter(Label).json_schema()["anyOf"]
    assert first.get("enum") or first.get("$ref")
    assert (second["type"], second["maxLength"]) == ("string", 40)


def test_order_is_that_of_the_eight_then_that_of_coming():
    assert in_order([EXCITED, Emotion.ANGRY, BORED, Emotion.CALM, EXCITED]) == [
        Emotion.CALM,
        Emotion.ANGRY,
        EXCITED,
        BORED,
    ]
    assert label_of("calm") is Emotion.CALM


def test_own_labels_differ_in_colour_from_each_other_and_from_emotions_beside_them():
    labels = [Emotion.ANGRY, Emotion.NEUTRAL, *(OwnLabel(f"own {number}") for number in range(6))]
    colours = colours_of(labels)
    assert len(set(colours.values())) == len(labels)
    assert colours[Emotion.ANGRY] == EMOTION_COLOURS[Emotion.ANGRY]
    assert EMOTION_COLOURS[Emotion.NEUTRAL] not in colours_of([BORED, *labels[2:]]).values()
    assert len(colours_of(OwnLabel(f"own {number}") for number in range(40))) == 40
    assert sign_of(BORED) == OWN_SIGN
