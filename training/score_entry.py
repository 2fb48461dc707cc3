"""One entry of `scores` in a card: a judgement over all its recordings, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.evaluation.bootstrap import bootstrap_interval
from core.evaluation.calibration import expected_calibration_error
from core.evaluation.classification import accuracy, macro_f1, unweighted_average_recall


def score_entry(
    title: str,
    protocol: str,
    created_at: str,
    *,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    n_speakers: int,
) -> dict[str, Any]:
    """As `core.inference.model_scores` reads it.

    Parameters
    ----------
    labels
        (n_clips,), positions in the columns of `probabilities` (n_clips, n_labels).
    """
    top = probabilities.argmax(axis=1)
    error = expected_calibration_error(probabilities.max(axis=1), top == labels)

    def measured(statistic: Callable[..., float]) -> dict[str, float]:
        interval = bootstrap_interval(statistic, labels, top)
        return {
            "value": round(statistic(labels, top), 6),
            "low": round(interval.low, 6),
            "high": round(interval.high, 6),
        }

    return {
        "title": title,
        "protocol": protocol,
        "created_at": created_at,
        "groups": [
            {
                "kind": "pooled",
                "name": "pooled",
                "protocol": protocol,
                "n_recordings": len(labels),
                "n_speakers": n_speakers,
                "accuracy": measured(accuracy),
                "unweighted_average_recall": measured(unweighted_average_recall),
                "macro_f1": measured(macro_f1),
                "expected_calibration_error": round(error, 6),
            }
        ],
    }
