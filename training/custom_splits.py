"""How the clips of somebody's own data set are divided: by label alone, or so that no speaker is on two sides."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import CustomTrainingError

MIN_PER_LABEL = 5
MIN_SPEAKERS = 3
N_FOLDS = 5
_FEW_FOLDS = 4
TEST_SHARE = VALIDATION_SHARE = 0.1

Indices = NDArray[np.intp]


class Protocol(enum.StrEnum):
    """How a model is judged."""

    STRATIFIED = "stratified"
    """80/10/10, every label in each part; speakers may be on both sides."""
    SPEAKERS = "speakers"
    """Each speaker is judged by a model that never heard them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """What a fit learns from, what sets its temperature, what it is judged on."""

    training: Indices
    validation: Indices
    test: Indices


def require_enough(labels: Sequence[str], speakers: Sequence[str], protocol: Protocol) -> None:
    """Raise CustomTrainingError where there is too little to learn from or to judge by."""
    names, counts = np.unique(np.array(labels, np.str_), return_counts=True)
    if len(names) < 2:
        raise CustomTrainingError(f"there are clips of {len(names)} labels, and at least two are needed")
    least = int(counts.argmin())
    if counts[least] < MIN_PER_LABEL:
        raise CustomTrainingError(
            f"the label {str(names[least])!r} has {counts[least]} clips, and at least {MIN_PER_LABEL} are needed"
        )
    if protocol is Protocol.SPEAKERS:
        if not all(speakers):
            raise CustomTrainingError("not every clip says its speaker, so that none can be kept apart")
        if len(set(speakers)) < MIN_SPEAKERS:
            raise CustomTrainingError(
                f"there are {len(set(speakers))} speakers, and at least {MIN_SPEAKERS} are needed to keep them apart"
            )


def stratified(labels: NDArray[np.int64], *, seed: int) -> Division:
    """80/10/10 within each label, at least one clip of it in each part.

    Examples
    --------
    >>> parts = stratified(np.repeat([0, 1], 20), seed=0)
    >>> len(parts.training), len(parts.validation), len(parts.test)
    (32, 4, 4)
    """
    generator = np.random.default_rng([seed, 8])
    parts: list[list[Indices]] = [[], [], []]
    for label in np.unique(labels):
        mine = generator.permutation(np.flatnonzero(labels == label))
        n_test = max(1, round(TEST_SHARE * len(mine)))
        n_held = n_test + max(1, round(VALIDATION_SHARE * len(mine)))
        for part, chosen in zip(parts, (mine[n_held:], mine[n_test:n_held], mine[:n_test]), strict=True):
            part.append(chosen)
    training, validation, test = (np.sort(np.concatenate(part)) for part in parts)
    return Division(training=training, validation=validation, test=test)


def by_speakers(labels: NDArray[np.int64], speakers: Sequence[str], *, seed: int) -> list[Division]:
    """Up to five folds of speakers, each the test of one fit.

    Validation clips are those of the next fold; of fewer than four folds that would leave too few speakers to learn
    from, and a tenth of the clips is taken instead. A last division has no test: what ships learns from every fold but
    the one, or the tenth, that sets its temperature.
    """
    order = np.random.default_rng([seed, 9]).permutation(sorted(set(speakers)))
    folds = np.array_split(order, min(N_FOLDS, len(order)))
    whose = np.array(speakers, np.str_)
    inside = [np.isin(whose, fold) for fold in folds]
    nothing = np.zeros(len(whose), bool)
    divisions = []
    for number, tested in enumerate([*inside, nothing]):
        if len(folds) >= _FEW_FOLDS:
            held = inside[(number + 1) % len(folds)]
        else:
            left = np.flatnonzero(~tested)
            held = nothing.copy()
            held[left[stratified(labels[left], seed=seed).validation]] = True
        divisions.append(
            Division(
                training=np.flatnonzero(~(tested | held)),
                validation=np.flatnonzero(held),
                test=np.flatnonzero(tested),
            )
        )
    return divisions
