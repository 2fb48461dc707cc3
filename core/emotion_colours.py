"""One colour and one sign for each emotion: the same on every page, in every chart and in every report.

tests/unit/test_theme.py checks that the colours can be told apart by colour-blind readers and stand out from the
backgrounds of both themes, and so from paper.
"""

from __future__ import annotations

from core.domain import Emotion

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

SPEAKS_FOR, SPEAKS_AGAINST = "#C65A00", "#0B6BB5"
"""What raises an emotion and what lowers it, on paper and light backgrounds: warm and cool, with + or \u2212 beside."""
