"""How far the annotators of a project agree, with each other and with what their ratings come to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from core.domain import LabellingSettings, Rating
from core.evaluation.agreement import (
    AgainstConsensus,
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
    from core.labelling.labelling import Counted


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorReport:
    """One annotator's ratings."""

    annotator_id: UUID
    n_ratings: int
    n_flags: int
    """Of those: can't tell, or bad audio."""
    median_spent_s: float
    """Seconds from a clip's showing to its rating; NaN without ratings."""
    consensus: AgainstConsensus
    """Their labels against what all ratings come to."""
    n_gold: int
    """Gold clips they rated."""
    gold_accuracy: float
    """Share of those that they labelled right; NaN without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementReport:
    """The ratings of a project, compared."""

    labels: tuple[str, ...]
    annotators: tuple[AnnotatorReport, ...]
    """Those who rated anything; who rated most first."""
    n_clips: int
    """Rated by anybody."""
    n_compared: int
    """Of those, with labels of two people or more: all that follows is about them."""
    alpha: float
    alpha_interval: ConfidenceInterval
    percent: float
    """Share of pairs of ratings that are equal; NaN without any."""
    kappas: NDArray[np.float64]
    """Cohen's kappa of each two, in the order of `annotators`; NaN where they share no clip."""
    by_label: Mapping[str, float]
    """Given that one of two ratings is this label, how often the other is; NaN where it never occurs."""


def agreement_report(
    counted: Counted, settings: LabellingSettings, *, method: Method = Method.MAJORITY
) -> AgreementReport:
    """Compare the ratings that count. Flags and segments have no label of the whole clip and are not compared."""
    labels = settings.labels
    numbers = {label: number for number, label in enumerate(labels)}
    by_annotator: dict[UUID, list[Rating]] = {}
    for ratings in counted.ratings.values():
        for rating in ratings:
            by_annotator.setdefault(rating.annotator_id, []).append(rating)
    annotators = sorted(by_annotator, key=lambda each: (-len(by_annotator[each]), each))
    recordings = sorted(counted.ratings)
    table = _table(counted, recordings, annotators, numbers)
    agreed = {each.recording_id: each.label for each in agree(counted, labels, method=method)}
    consensus = np.array([numbers.get(agreed.get(each, ""), math.nan) for each in recordings])
    return AgreementReport(
        labels=labels,
        annotators=tuple(
            AnnotatorReport(
                annotator_id=annotator,
                n_ratings=len(by_annotator[annotator]),
                n_flags=sum(rating.flag is not None for rating in by_annotator[annotator]),
                median_spent_s=float(np.median([rating.spent_s for rating in by_annotator[annotator]])),
                consensus=against_consensus(table[:, column], consensus, n_labels=len(labels)),
                n_gold=len(gold := _against_gold(by_annotator[annotator], settings.gold)),
                gold_accuracy=float(np.mean(gold)) if gold else math.nan,
            )
            for column, annotator in enumerate(annotators)
        ),
        n_clips=len(recordings),
        n_compared=int((np.sum(~np.isnan(table), axis=1) >= 2).sum()),
        alpha=krippendorff_alpha(table),
        alpha_interval=krippendorff_alpha_interval(table),
        percent=percent_agreement(table),
        kappas=pairwise_cohen_kappa(table),
        by_label=dict(zip(labels, agreement_by_label(table, n_labels=len(labels)).tolist(), strict=True)),
    )


def _table(
    counted: Counted, recordings: Sequence[UUID], annotators: Sequence[UUID], numbers: Mapping[str, int]
) -> NDArray[np.float64]:
    """Label numbers, (n_clips, n_annotators); NaN = absent, flagged, in segments, or of a label no longer asked for."""
    columns = {annotator: column for column, annotator in enumerate(annotators)}
    table = np.full((len(recordings), len(annotators)), math.nan)
    for row, recording_id in enumerate(recordings):
        for rating in counted.ratings[recording_id]:
            table[row, columns[rating.annotator_id]] = numbers.get(rating.label or "", math.nan)
    return table


def _against_gold(ratings: Sequence[Rating], gold: Mapping[UUID, str]) -> list[bool]:
    return [rating.label == gold[rating.recording_id] for rating in ratings if rating.recording_id in gold]
