"""Models for tests that were made of the tiny one: as a retraining leaves them, in a moment."""

from __future__ import annotations

import json
from pathlib import Path

from core.inference.registry import HEAD, VERSION_DIGITS, weights_digest
from tests.bundles import TINY, copy_of_tiny
from training.head_weights import HeadWeights, read_head, write_head

PARENT = json.loads((TINY / "card.json").read_text())["version"]


def challenger(
    models_dir: Path, name: str = "tiny-2", *, passes: bool = True, parent: str = PARENT, scale: float = -1.0
) -> Path:
    """A model in `models_dir` whose logits are `scale` times the tiny one's: by default it says the opposite."""
    folder = copy_of_tiny(models_dir, name)
    weights = read_head(TINY / HEAD)
    write_head(
        TINY / HEAD,
        HeadWeights(
            hidden_kernel=weights.hidden_kernel,
            hidden_bias=weights.hidden_bias,
            logits_kernel=weights.logits_kernel * scale,
            logits_bias=weights.logits_bias,
        ),
        folder / HEAD,
    )
    card = json.loads((folder / "card.json").read_text())
    low = 0.05 if passes else -0.05
    card |= {
        "version": f"{name}-{weights_digest(folder)[:VERSION_DIGITS]}",
        "created_at": "2026-02-01T00:00:00+00:00",
        "data": {"corrections": {"n_recordings": 40, "n_speakers": 1, "sha256": "00", "source": "a test"}},
        "retraining": {
            "parent": parent,
            "parent_name": "tiny",
            "author": "ada@example.org",
            "plan": {"n_epochs": 2, "learning_rate": 3e-4, "correction_share": 0.3},
            "gate": {
                "test": {
                    "n_clips": 600,
                    "champion": 0.7,
                    "challenger": 0.71,
                    "difference": 0.01,
                    "low": -0.01,
                    "high": 0.03,
                },
                "corrections": {
                    "n_clips": 40,
                    "champion": 0.3,
                    "challenger": 0.5,
                    "difference": 0.2,
                    "low": low,
                    "high": 0.35,
                },
            },
            "rounds": [
                {"round": 1, "loss_nats": 1.5, "validation_uar": 0.6, "corrections_accuracy": 0.4},
                {"round": 2, "loss_nats": 1.2, "validation_uar": 0.62, "corrections_accuracy": 0.5},
            ],
        },
    }
    (folder / "card.json").write_text(json.dumps(card))
    return folder
