"""What a row of a table says about a clip: one label, or how large a share of the ratings each emotion has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from core.domain import Emotion


def label_shares(record: Mapping[str, Any]) -> dict[Emotion, float]:
    """Shares by emotion, above 0, that sum to 1: of `label`, of `probabilities`, or of one field for each emotion.

    Raises
    ------
    ValueError, TypeError
        It says none, or nonsense; the message is for people.

    Examples
    --------
    >>> {str(emotion): share for emotion, share in label_shares({"happy": "3", "sad": "1", "angry": ""}).items()}
    {'happy': 0.75, 'sad': 0.25}
    """
    label = str(record.get("label") or "").strip()
    if label:
        if label not in set(Emotion):
            raise ValueError(f"label is {label!r}, not one of {', '.join(Emotion)}")
        return {Emotion(label): 1.0}
    said = record.get("probabilities") or {emotion: record.get(emotion) for emotion in Emotion}
    unknown = sorted(set(said) - set(Emotion))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(Emotion)}")
    shares = {Emotion(name): float(value) for name, value in said.items() if value not in (None, "")}
    total = sum(shares.values())
    if not 0 < total < math.inf or min(shares.values()) < 0:
        raise ValueError("there is neither a label nor a share of any emotion")
    return {emotion: share / total for emotion, share in shares.items() if share > 0}
