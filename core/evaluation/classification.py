"""How often the right class is named.

Conventions
-----------
`labels` and `predictions` are integer arrays of shape `(n_clips,)` that hold class numbers from 0. A figure that does
not exist (nothing to average) is NaN, never 0. Values that are no class numbers raise `ValueError`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Share of clips whose class is named rightly.

    Parameters
    ----------
    labels, predictions
        Class numbers, `(n_clips,)`.

    Returns
    -------
    float
        In [0, 1]; NaN without clips.

    Raises
    ------
    ValueError
        The arrays differ in length or hold something else than class numbers.

    Examples
    --------
    >>> accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    0.75
    """
    truth, answer = _class_numbers(labels, predictions)
    return float(np.mean(truth == answer)) if truth.size else math.nan


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, *, n_classes: int) -> NDArray[np.int64]:
    """Count clips by true class (rows) and predicted class (columns).

    Parameters
    ----------
    labels, predictions
        Class numbers, `(n_clips,)`, below `n_classes`.
    n_classes
        Number of classes, occurring or not.

    Returns
    -------
    ndarray
        Counts, `(n_classes, n_classes)`.

    Raises
    ------
    ValueError
        As for `accuracy`, or a class number is `n_classes` or more.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1], [0, 1, 1], n_classes=2)
    array([[1, 1],
           [0, 1]])
    """
    truth, answer = _class_numbers(labels, predictions)
    if truth.size and max(truth.max(), answer.max()) >= n_classes:
        raise ValueError(f"class number {max(truth.max(), answer.max())} with only {n_classes} classes")
    counts = np.bincount(truth * n_classes + answer, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall of each class from a confusion matrix, `(n_classes,)`; NaN where a class has no clips.

    Examples
    --------
    >>> recalls(np.array([[1, 1], [0, 1]]))
    array([0.5, 1. ])
    """
    return _divide(np.diagonal(confusion), confusion.sum(axis=1))


def precisions(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision of each class from a confusion matrix, `(n_classes,)`; NaN where a class is never predicted.

    Examples
    --------
    >>> precisions(np.array([[1, 1], [0, 1]]))
    array([1. , 0.5])
    """
    return _divide(np.diagonal(confusion), confusion.sum(axis=0))


def f1_scores(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 of each class, `2 TP / (2 TP + FP + FN)`, `(n_classes,)`; NaN where a class neither occurs nor is predicted.

    Examples
    --------
    >>> f1_scores(np.array([[1, 1], [0, 1]])).round(3)
    array([0.667, 0.667])
    """
    return _divide(2 * np.diagonal(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def unweighted_average_recall(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Mean recall over the classes that occur in `labels` (UAR, balanced accuracy).

    Source: Schuller, Steidl, Batliner: "The INTERSPEECH 2009 emotion challenge", Interspeech 2009, section 3.

    Parameters
    ----------
    labels, predictions
        Class numbers, `(n_clips,)`.

    Returns
    -------
    float
        In [0, 1]; NaN without clips. Chance is one over the number of classes that occur, however unequal they are.

    Raises
    ------
    ValueError
        As for `accuracy`.

    Examples
    --------
    Three of four neutral clips and the only sad one are found.

    >>> unweighted_average_recall([0, 0, 0, 0, 1], [0, 0, 0, 1, 1])
    0.875
    """
    truth, answer = _class_numbers(labels, predictions)
    if not truth.size:
        return math.nan
    per_class = recalls(confusion_matrix(truth, answer, n_classes=_n_classes(truth, answer)))
    return float(np.nanmean(per_class))


def macro_f1(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Mean F1 over the classes that occur in `labels`.

    A class that is predicted without occurring costs recall where it is wrongly predicted, but adds no zero of its own
    to the mean: the same eight-class model can so be scored on a corpus of six classes.

    Source: Opitz, Burst: "Macro F1 and Macro F1", arXiv:1911.03347, equation 2 (the mean of F1 scores).

    Parameters
    ----------
    labels, predictions
        Class numbers, `(n_clips,)`.

    Returns
    -------
    float
        In [0, 1]; NaN without clips.

    Raises
    ------
    ValueError
        As for `accuracy`.

    Examples
    --------
    >>> round(macro_f1([0, 0, 1], [0, 1, 1]), 3)
    0.667
    """
    truth, answer = _class_numbers(labels, predictions)
    if not truth.size:
        return math.nan
    confusion = confusion_matrix(truth, answer, n_classes=_n_classes(truth, answer))
    occurs = confusion.sum(axis=1) > 0
    return float(np.mean(f1_scores(confusion)[occurs]))


def _class_numbers(labels: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    checked = []
    for name, values in (("labels", labels), ("predictions", predictions)):
        array = np.asarray(values)
        if array.ndim != 1:
            raise ValueError(f"{name} has shape {array.shape}, not (n_clips,)")
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} holds {array.dtype} values, not class numbers")
        if array.size and array.min() < 0:
            raise ValueError(f"{name} holds {array.min()}, but class numbers start at 0")
        checked.append(array.astype(np.int64))
    truth, answer = checked
    if truth.size != answer.size:
        raise ValueError(f"{truth.size} labels, but {answer.size} predictions")
    return truth, answer


def _n_classes(truth: NDArray[np.int64], answer: NDArray[np.int64]) -> int:
    return int(max(truth.max(), answer.max())) + 1


def _divide(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
