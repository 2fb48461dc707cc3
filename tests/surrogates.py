"""A small surrogate beside a model, fitted in a moment to answers that rest on pitch alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.inference.registry import read_card
from core.inference.surrogate import SCHEMA, SURROGATE_MEASURES, surrogate_vector
from tests.prosodies import drawn_voices
from training.surrogate import TREES_PLAN, fit_imitation, log_odds, score_imitation, write_surrogate

N_VOICES = 120


def write_small_surrogate(folder: Path) -> None:
    """Write one into the folder of a model."""
    card = read_card(folder)
    voices = drawn_voices(N_VOICES)
    measures = np.stack([surrogate_vector(voice) for voice in voices])
    speakers = [f"S-{number % 6}" for number in range(N_VOICES)]
    logits = np.zeros((N_VOICES, len(card.emotions)))
    logits[:, 0] = 4 * np.log(measures[:, SURROGATE_MEASURES.index("pitch_median_hz")] / 200)
    powers = np.exp(logits)
    targets = log_odds(powers / powers.sum(axis=1, keepdims=True))
    plan = {**TREES_PLAN, "max_iter": 8, "learning_rate": 0.4}
    imitation = fit_imitation(measures, targets, speakers, plan=plan)
    fields = {
        "schema": SCHEMA,
        "model_version": card.version,
        "emotions": [str(emotion) for emotion in card.emotions],
        "measures": list(SURROGATE_MEASURES),
        "fidelity": score_imitation(
            imitation.held_out,
            targets,
            speakers=speakers,
            corpora=["A"] * N_VOICES,
            emotions=card.emotions,
            protocol="made up",
        ),
        "corpora": {"A": N_VOICES},
        "licence": "none",
        "duration_s": {"shortest": 0.5, "longest": 5.0},
    }
    write_surrogate(folder, fields, imitation.regressors, shown=voices[:40])
