"""What several people's ratings of one recording come to."""

from __future__ import annotations

import enum
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from core.domain import ConsensusLabel, Decision, DecisionKind, Rating

if TYPE_CHECKING:
    from core.labelling.state import Counted


ADJUDICATED = "adjudicated"
"""Stands in place of a method where a reviewer decided."""


class Method(enum.StrEnum):
    """How ratings become a consensus."""

    MAJORITY = "majority"
    """Each rating counts alike; the shares of the labels stay as soft labels."""
    DAWID_SKENE = "dawid_skene"
    """Ratings count by how reliable their annotator proves, and for which labels."""


def agree(counted: Counted, labels: Sequence[str], *, method: Method) -> list[ConsensusLabel]:
    """The consensus of every recording that has a rating with a label, or an adjudication; by recording.

    Flags (can't tell, bad audio) and segments have no label of the whole recording and do not count. A recording sent
    back has no consensus until it is rated again; one adjudicated has that label alone.
    """
    by_recording = {
        recording_id: said
        for recording_id, ratings in counted.ratings.items()
        if (said := [rating for rating in ratings if rating.label is not None])
    }
    adjudicated = {
        recording_id: last
        for recording_id, decisions in counted.decisions.items()
        if (last := _last_verdict(decisions)) is not None
    }
    shares = _dawid_skene(by_recording, labels) if method is Method.DAWID_SKENE else _majority(by_recording)
    found = []
    for recording_id in sorted({*by_recording, *adjudicated}):
        verdict = adjudicated.get(recording_id)
        found.append(
            ConsensusLabel(
                recording_id=recording_id,
                probabilities={verdict.label or "": 1.0} if verdict else shares[recording_id],
                method=ADJUDICATED if verdict else method.value,
                n_ratings=len(by_recording.get(recording_id, ())),
                adjudicated_by=verdict.by if verdict else None,
            )
        )
    return found


def _last_verdict(decisions: Sequence[Decision]) -> Decision | None:
    """The adjudication that stands: the last one, unless the recording was sent back after it."""
    weighty = [each for each in decisions if each.kind in {DecisionKind.ADJUDICATE, DecisionKind.SEND_BACK}]
    return weighty[-1] if weighty and weighty[-1].kind is DecisionKind.ADJUDICATE else None


def _majority(by_recording: Mapping[UUID, Sequence[Rating]]) -> dict[UUID, dict[str, float]]:
    shares = {}
    for recording_id, ratings in by_recording.items():
        counts = Counter(rating.label or "" for rating in ratings)
        shares[recording_id] = {label: count / len(ratings) for label, count in sorted(counts.items())}
    return shares


def _dawid_skene(by_recording: Mapping[UUID, Sequence[Rating]], labels: Sequence[str]) -> dict[UUID, dict[str, float]]:
    """Dawid and Skene (1979), "Maximum likelihood estimation of observer error-rates using the EM algorithm"."""
    if not by_recording:
        return {}
    import pandas as pd
    from crowdkit.aggregation import DawidSkene  # two seconds and 100 MB, which only this method should cost

    said = pd.DataFrame(
        [
            (str(recording_id), str(rating.annotator_id), rating.label)
            for recording_id, ratings in sorted(by_recording.items())
            for rating in ratings
        ],
        columns=["task", "worker", "label"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.Pandas4Warning)  # crowd-kit 1.4.2 asks pandas 3 for `inplace`
        fitted = DawidSkene(n_iter=100, tol=1e-5).fit_predict_proba(said)
    shares = {}
    for recording_id in by_recording:
        row = fitted.loc[str(recording_id)]
        kept = {label: float(row[label]) for label in labels if label in row.index and row[label] > 1e-6}
        total = sum(kept.values())
        shares[recording_id] = {label: share / total for label, share in kept.items()}
    return shares
