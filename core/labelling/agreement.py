"""How far the annotators of a project agree, with each other, with the consensus and with the gold clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from core.domain import Reader
from core.evaluation.agreement import (
    against_consensus,
    agreement_by_label,
    krippendorff_alpha,
    krippendorff_alpha_interval,
    pairwise_cohen_kappa,
    percent_agreement,
)
from core.evaluation.bootstrap import ConfidenceInterval
from core.labelling.consensus import Method, agree

if TYPE_CHECKING:
    from core.labelling.labelling import Labelling

N_RESAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorFigures:
    """One annotator."""

    annotator_id: UUID
    n_rated: int
    """Clips with a label by them."""
    agreement: float
    """Share of those on which they said what all agree on; NaN without any."""
    confusion: NDArray[np.int64]
    """Consensus (rows) and their label (columns), `(n_labels, n_labels)`."""
    median_spent_s: float
    """Time on a clip; NaN without any."""
    n_gold: int
    """Gold clips with a label by them."""
    gold_accuracy: float
    """Share of those that they labelled rightly; NaN without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """All figures of a project, over the ratings that count and have a label."""

    labels: tuple[str, ...]
    n_clips: int
    """Rated by anybody."""
    n_shared: int
    """Rated by two at least: what agreement is measured on."""
    alpha: float
    """Krippendorff's, nominal; NaN where it does not exist."""
    alpha_interval: ConfidenceInterval
    percent: float
    """Observed agreement of pairs, in [0, 1]."""
    by_label: NDArray[np.float64]
    """Specific agreement of each label, `(n_labels,)`."""
    annotators: tuple[UUID, ...]
    kappa: NDArray[np.float64]
    """Cohen's of every pair, `(n_annotators, n_annotators)`."""
    figures: tuple[AnnotatorFigures, ...]
    """In the order of `annotators`."""


def agreement_of(
    labelling: Labelling, project_id: UUID, *, reader: Reader, method: Method = Method.MAJORITY
) -> Agreement:
    """How far the annotators of a project agree, at this moment.

    Raises
    ------
    UnknownProjectError, NotLabelledError
        There is no such project, or nobody set it up.
    """
    settings = labelling.settings(project_id, reader)
    counted = labelling.counted(project_id, reader=reader)
    numbers = {label: number for number, label in enumerate(settings.labels)}
    said = {
        recording_id: {
            rating.annotator_id: rating for rating in ratings if rating.label is not None and rating.label in numbers
        }
        for recording_id, ratings in counted.ratings.items()
    }
    said = {recording_id: ratings for recording_id, ratings in said.items() if ratings}
    clips = sorted(said)
    everybody = {annotator for ratings in said.values() for annotator in ratings}
    annotators = (*settings.annotators, *sorted(everybody - set(settings.annotators)))
    table = np.full((len(clips), len(annotators)), math.nan)
    for row, recording_id in enumerate(clips):
        for column, annotator in enumerate(annotators):
            if annotator in said[recording_id]:
                table[row, column] = numbers[said[recording_id][annotator].label or ""]
    agreed = {
        each.recording_id: numbers.get(each.label, math.nan) for each in agree(counted, settings.labels, method=method)
    }
    gold = _gold(settings.gold, numbers, clips)
    figures = []
    for column, annotator in enumerate(annotators):
        own = table[:, column]
        against = against_consensus(own, [agreed.get(clip, math.nan) for clip in clips], n_labels=len(numbers))
        against_gold = against_consensus(own, gold, n_labels=len(numbers))
        times = [said[clip][annotator].spent_s for clip in clips if annotator in said[clip]]
        figures.append(
            AnnotatorFigures(
                annotator_id=annotator,
                n_rated=len(times),
                agreement=against.agreement,
                confusion=against.confusion,
                median_spent_s=median(times) if times else math.nan,
                n_gold=against_gold.n_clips,
                gold_accuracy=against_gold.agreement,
            )
        )
    return Agreement(
        labels=settings.labels,
        n_clips=len(clips),
        n_shared=int(((~np.isnan(table)).sum(axis=1) >= 2).sum()),
        alpha=krippendorff_alpha(table),
        alpha_interval=krippendorff_alpha_interval(table, n_resamples=N_RESAMPLES),
        percent=percent_agreement(table),
        by_label=agreement_by_label(table, n_labels=len(numbers)),
        annotators=annotators,
        kappa=pairwise_cohen_kappa(table),
        figures=tuple(figures),
    )


def _gold(gold: Mapping[UUID, str], numbers: Mapping[str, int], clips: Sequence[UUID]) -> list[float]:
    return [numbers.get(gold.get(clip, ""), math.nan) for clip in clips]
