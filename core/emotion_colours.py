"""One colour and one sign for each emotion: the same on every page, in every chart and in every report.

tests/unit/test_theme.py checks that the colours can be told apart by colour-blind readers and stand out from the
backgrounds of both themes, and so from paper.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from core.domain import Emotion, Label

EMOTION_COLOURS = {
    Emotion.NEUTRAL: "#6D6D6C",
    Emotion.CALM: "#1A97A6",
    Emotion.HAPPY: "#BB8303",
    Emotion.SAD: "#3F65C2",
    Emotion.ANGRY: "#CC2124",
    Emotion.FEARFUL: "#8E75F9",
    Emotion.DISGUST: "#287B41",
    Emotion.SURPRISED: "#DF4489",
}

EMOTION_SIGNS = {
    Emotion.NEUTRAL: "●",
    Emotion.CALM: "■",
    Emotion.HAPPY: "▲",
    Emotion.SAD: "▼",
    Emotion.ANGRY: "✕",
    Emotion.FEARFUL: "◆",
    Emotion.DISGUST: "✚",
    Emotion.SURPRISED: "★",
}
"""A mark of its own for each, beside its name, for whoever sees no colours."""

OWN_SIGN = "○"
"""Beside every label that is none of the eight."""


def sign_of(label: Label) -> str:
    """The mark beside a label's name."""
    return EMOTION_SIGNS[label] if isinstance(label, Emotion) else OWN_SIGN


def colours_of(labels: Iterable[Label]) -> dict[Label, str]:
    """A colour for each label of one set, in the order of the set.

    The eight emotions have their own. Others take, in their order, those that no emotion of the set has; of more than
    there are, some share a colour.

    Examples
    --------
    >>> from core.domain import label_of
    >>> found = colours_of([Emotion.CALM, label_of("bored")])
    >>> [EMOTION_COLOURS[Emotion.CALM], EMOTION_COLOURS[Emotion.HAPPY]] == list(found.values())
    True
    """
    labels = list(dict.fromkeys(labels))
    free = [colour for emotion, colour in EMOTION_COLOURS.items() if emotion not in labels and emotion != _GREY]
    colours = itertools.cycle(free or list(EMOTION_COLOURS.values()))
    return {label: EMOTION_COLOURS[label] if isinstance(label, Emotion) else next(colours) for label in labels}


_GREY = Emotion.NEUTRAL
"""Its colour means that nothing is felt, or little: no other label takes it."""

SPEAKS_FOR, SPEAKS_AGAINST = "#C65A00", "#0B6BB5"
"""What raises an emotion and what lowers it, on paper and light backgrounds: warm and cool, with + or \u2212 beside."""
