"""Acoustic reasons: a surrogate that imitates a model's answers from prosody alone, and what moved its own.

A surrogate is not the model. It is one ensemble of boosted trees for each emotion, fitted to what the model said of
recordings (`python -m training surrogate`), and hears nothing but `core.features.prosody`. What is exact about it is
its explanation: SHAP values that sum to its output. How well it stands for the model is its `Fidelity`, which goes
with every attribution, as does whether the two agree on the recording at hand.

Conventions: outputs are log-odds in nats: the logarithm of an emotion's probability over the geometric mean of all, or,
with a contrast, over the contrast's probability. Arrays of measures are (n_clips, n_measures) in the order of
`SURROGATE_MEASURES`, NaN where a measure is None. shap is imported when something is explained and never before: it
takes 2.5 s and 230 MB.
"""

from __future__ import annotations

import gc
import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from core.domain import Label, label_of
from core.errors import (
    DamagedModelError,
    FeatureMismatchError,
    InvalidParameterError,
    SurrogateMismatchError,
    SurrogateNotFoundError,
)
from core.features.prosody import MEASURES, Prosody, as_vector
from core.features.prosody_measures import MEASURE_OF, write_value
from core.inference.recogniser import softmax
from core.inference.registry import read_card

SURROGATE, TREES = "surrogate.json", "surrogate.npz"
SCHEMA = "telepathy-surrogate-1"
NOT_HEARD = frozenset({"intensity_mean_dbfs"})
"""The models do not hear it: 60 recordings made 10 dB quieter moved no emotion's log-odds by more than 0.05 on average
and left 97 % of the answers as they were. In the corpora loud is angry all the same: trees that were given the level
made it their first reason, and 10 dB less took 0.7 (telepathy) and 1.1 (telepathy-commercial) from their angry, a
reason that is none of the model's."""
SURROGATE_MEASURES = tuple(measure for measure in MEASURES if measure not in NOT_HEARD)
_COLUMNS = [MEASURES.index(measure) for measure in SURROGATE_MEASURES]
SMALLEST_NAMED = 0.05
"""Reasons smaller than this, a factor of 1.05 in odds, are not worth a reader's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How well a surrogate stands for its model on speakers that it was not fitted to."""

    protocol: str
    """One sentence: recordings, folds, what was held out."""
    n_recordings: int
    n_speakers: int
    agreement: float
    """Share of recordings for which both name the same emotion first."""
    agreement_interval: tuple[float, float]
    """95 %, resampling speakers."""
    majority_agreement: float
    """The same share for always naming the emotion that the model names most often."""
    agreement_by_corpus: Mapping[str, float]
    r_squared: Mapping[Label, float]
    """Share of the variance of the model's log-odds that the surrogate's explain; below 0 is worse than their mean."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmotionTrees:
    """Boosted trees for one emotion, node after node; children are counted within their tree."""

    base: float
    """Added to the sum of the leaves."""
    starts: NDArray[np.int64]
    """First node of each tree, and one past the last: (n_trees + 1,)."""
    left: NDArray[np.int32]
    """-1 in leaves; so the next two."""
    right: NDArray[np.int32]
    missing: NDArray[np.int32]
    """Where a measure goes that is NaN."""
    measure: NDArray[np.int32]
    """Position in `SURROGATE_MEASURES`; -2 in leaves."""
    threshold: NDArray[np.float64]
    """Values up to this go left."""
    value: NDArray[np.float64]
    """Of leaves."""
    n_recordings: NDArray[np.float64]
    """Of those fitted to, how many came this way."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GlobalAttribution:
    """SHAP values over many recordings: what a beeswarm shows."""

    model_version: str
    emotions: tuple[Label, ...]
    measures: tuple[str, ...]
    values: NDArray[np.float32]
    """(n_emotions, n_clips, n_measures), in nats."""
    measurements: NDArray[np.float32]
    """(n_clips, n_measures) in each measure's unit; NaN where it could not be measured."""
    base_values: NDArray[np.float64]
    """(n_emotions,): the surrogate's mean output."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surrogate:
    """A model's imitation by acoustic features. Safe to share between threads."""

    model_name: str
    model_version: str
    emotions: tuple[Label, ...]
    fidelity: Fidelity
    corpora: Mapping[str, int]
    """Recordings of each corpus that it was fitted to."""
    licence: str
    """Of those recordings."""
    duration_range_s: tuple[float, float]
    """Speech in those recordings, from shortest to longest: beyond, its answers are guesses."""
    trees: Mapping[Label, EmotionTrees]
    overview: GlobalAttribution
    """Of a sample of those recordings, kept beside the surrogate: a global view on an empty store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProsodyAttribution:
    """By how much each measure moved a surrogate's output for one recording.

    `base_value` and all of `values` sum to `output`, within rounding.
    """

    model_version: str
    emotion: Label
    contrast: Label | None
    """The emotion that `emotion` is set against; None for all of them."""
    base_value: float
    """The mean output over the recordings that the surrogate was fitted to."""
    values: Mapping[str, float]
    """By measure, in the order of `SURROGATE_MEASURES`, in nats."""
    measurements: Mapping[str, float | None]
    output: float
    surrogate_probabilities: Mapping[Label, float]
    model_probabilities: Mapping[Label, float] | None
    """The model's own answer, where it was given."""
    is_of_known_length: bool
    """Whether the speech is about as long as in the recordings that the surrogate was fitted to."""
    fidelity: Fidelity

    @property
    def surrogate_emotion(self) -> Label:
        """What the surrogate names first."""
        return _first(self.surrogate_probabilities)

    @property
    def is_agreed(self) -> bool | None:
        """Whether model and surrogate name the same emotion first; None where the model's answer is not known."""
        return None if self.model_probabilities is None else _first(self.model_probabilities) is self.surrogate_emotion


def open_surrogate(folder: Path) -> Surrogate:
    """The surrogate that stands beside the model in `folder`.

    Raises
    ------
    SurrogateNotFoundError
        There is none.
    SurrogateMismatchError
        It imitates another version of the model.
    FeatureMismatchError
        It was made from other measures than this version takes.
    DamagedModelError
        It, or the model's card, cannot be read.
    """
    card = read_card(folder)
    if not (folder / SURROGATE).exists():
        raise SurrogateNotFoundError(card.name)
    try:
        fields = json.loads((folder / SURROGATE).read_text(encoding="utf-8"))
        if fields["schema"] != SCHEMA:
            raise ValueError(f"schema is {fields['schema']!r}, not {SCHEMA!r}")
        if fields["model_version"] != card.version:
            raise SurrogateMismatchError(card.name, card.version, str(fields["model_version"]))
        if tuple(fields["measures"]) != SURROGATE_MEASURES:
            raise FeatureMismatchError(
                card.name, f"a surrogate of {len(fields['measures'])} measures", str(SURROGATE_MEASURES)
            )
        data = (folder / TREES).read_bytes()
        if hashlib.sha256(data).hexdigest() != fields["trees_sha256"]:
            raise ValueError(f"{TREES} is not the one that {SURROGATE} was written with")
        with np.load(folder / TREES, allow_pickle=False) as arrays:
            return _surrogate(card.name, fields, arrays)
    except OSError as error:
        raise DamagedModelError(card.name, f"{SURROGATE} or {TREES} cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise DamagedModelError(card.name, f"its surrogate lacks {error.args[0]!r}") from error
    except (TypeError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedModelError(card.name, f"its surrogate is not valid ({error})") from error


def surrogate_vector(prosody: Prosody) -> NDArray[np.float64]:
    """`SURROGATE_MEASURES` of `prosody`: float64 (n_measures,), NaN where one is None."""
    values: NDArray[np.float64] = as_vector(prosody)[_COLUMNS]
    return values


def predict_log_odds(surrogate: Surrogate, measures: NDArray[np.float64]) -> NDArray[np.float64]:
    """The surrogate's outputs: (n_clips, n_emotions) from (n_clips, n_measures), without shap."""
    return np.stack([_sum_of_trees(surrogate.trees[emotion], measures) for emotion in surrogate.emotions], axis=1)


def answer_by_prosody(surrogate: Surrogate, prosody: Prosody) -> dict[Label, float]:
    """The surrogate's own probabilities for one recording; not the model's."""
    outputs = predict_log_odds(surrogate, surrogate_vector(prosody)[np.newaxis])[0]
    return dict(zip(surrogate.emotions, softmax(outputs, temperature=1.0).tolist(), strict=True))


def explain_prosody(
    surrogate: Surrogate,
    prosody: Prosody,
    *,
    emotion: Label,
    contrast: Label | None = None,
    model_probabilities: Mapping[Label, float] | None = None,
) -> ProsodyAttribution:
    """What moved the surrogate's output for `emotion`, measure by measure.

    Parameters
    ----------
    prosody
        From `measure_speech_prosody`: with silence at the ends, rates and shares are not those it was fitted to.
    emotion
        The one to explain.
    contrast
        Another that it is set against: why this rather than that.
    model_probabilities
        The model's own answer for this recording, to tell where the two disagree.

    Raises
    ------
    InvalidParameterError
        The surrogate does not know the emotion or the contrast, or they are the same.

    References
    ----------
    Lundberg et al. (2020), "From local explanations to global understanding with explainable AI for trees", Nature
    Machine Intelligence 2, algorithm 2 (path-dependent): exact for the trees, with the recordings that they were
    fitted to as the background.
    """
    _require_known(surrogate, "emotion", emotion)
    if contrast is not None:
        _require_known(surrogate, "contrast", contrast)
        if contrast is not None and contrast == emotion:
            raise InvalidParameterError("contrast", str(contrast), "another emotion than the one explained")
    measures = surrogate_vector(prosody)[np.newaxis]
    values, base_value = _shap_values(surrogate.trees[emotion], measures)
    output = _sum_of_trees(surrogate.trees[emotion], measures)
    if contrast is not None:
        against_values, against_base = _shap_values(surrogate.trees[contrast], measures)
        values, base_value = values - against_values, base_value - against_base
        output = output - _sum_of_trees(surrogate.trees[contrast], measures)
    shortest_s, longest_s = surrogate.duration_range_s
    return ProsodyAttribution(
        model_version=surrogate.model_version,
        emotion=emotion,
        contrast=contrast,
        base_value=base_value,
        values=dict(zip(SURROGATE_MEASURES, values[0].tolist(), strict=True)),
        measurements={measure: getattr(prosody, measure) for measure in SURROGATE_MEASURES},
        output=float(output[0]),
        surrogate_probabilities=answer_by_prosody(surrogate, prosody),
        model_probabilities=model_probabilities,
        is_of_known_length=shortest_s <= prosody.duration_s <= longest_s,
        fidelity=surrogate.fidelity,
    )


def explain_many(surrogate: Surrogate, prosodies: Sequence[Prosody]) -> GlobalAttribution:
    """SHAP values of many recordings for every emotion, such as those of a store, for a beeswarm.

    Parameters
    ----------
    prosodies
        From `measure_speech_prosody`; at least one.
    """
    if not prosodies:
        raise ValueError("explain_many needs at least one recording")
    measures = np.stack([surrogate_vector(prosody) for prosody in prosodies])
    explained = [_shap_values(surrogate.trees[emotion], measures) for emotion in surrogate.emotions]
    return GlobalAttribution(
        model_version=surrogate.model_version,
        emotions=surrogate.emotions,
        measures=SURROGATE_MEASURES,
        values=np.stack([values for values, _ in explained]).astype(np.float32),
        measurements=measures.astype(np.float32),
        base_values=np.array([base for _, base in explained]),
    )


def rank_measures(attribution: GlobalAttribution, emotion: Label) -> tuple[tuple[str, float], ...]:
    """Measures and the mean size of their SHAP values for `emotion`, largest first.

    Raises
    ------
    InvalidParameterError
        The attribution does not hold the emotion.
    """
    if emotion not in attribution.emotions:
        raise InvalidParameterError("emotion", str(emotion), f"one of {', '.join(attribution.emotions)}")
    sizes = np.abs(attribution.values[attribution.emotions.index(emotion)]).mean(axis=0)
    return tuple((attribution.measures[number], float(sizes[number])) for number in np.argsort(-sizes, kind="stable"))


def describe_attribution(attribution: ProsodyAttribution, *, n_reasons: int = 5) -> tuple[str, ...]:
    """A waterfall in words: what raised, what lowered, whose reasons these are, and where to doubt them.

    Sentences in this order: raised by (largest first, at most `n_reasons`), lowered by, the surrogate's fidelity, and,
    where it applies, that it disagrees with the model, that the recording is of another length than it knows.
    """
    target = str(attribution.emotion)
    if attribution.contrast is not None:
        target = f"{attribution.emotion} rather than {attribution.contrast}"
    sizeable = sorted(
        ((measure, value) for measure, value in attribution.values.items() if abs(value) >= SMALLEST_NAMED),
        key=lambda reason: -abs(reason[1]),
    )
    raised = [reason for reason in sizeable if reason[1] > 0][:n_reasons]
    lowered = [reason for reason in sizeable if reason[1] < 0][:n_reasons]
    sentences = []
    if raised:
        sentences.append(f"Raised towards {target} by: {_listed(attribution, raised)}.")
    if lowered:
        sentences.append(f"Lowered by: {_listed(attribution, lowered)}.")
    if not sizeable:
        sentences.append(f"No single measure moved {target} by {SMALLEST_NAMED} or more.")
    sentences.append(describe_fidelity(attribution.fidelity))
    if attribution.is_agreed is False and attribution.model_probabilities is not None:
        sentences.append(
            f"Here they disagree: the surrogate says {attribution.surrogate_emotion}, the model "
            f"{_first(attribution.model_probabilities)}. These are then no reasons of the model's."
        )
    if not attribution.is_of_known_length:
        sentences.append("The speech is shorter or longer than all that the surrogate was fitted to.")
    return tuple(sentences)


def describe_fidelity(fidelity: Fidelity) -> str:
    """How far a surrogate may be taken for its model, in one sentence that belongs beside every chart of it."""
    low, high = fidelity.agreement_interval
    return (
        f"These are the reasons of a surrogate, not of the model: for speakers it was not fitted to, it named the "
        f"model's emotion in {fidelity.agreement:.0%} of recordings ({low:.0%} to {high:.0%}; always "
        f"naming the commonest: {fidelity.majority_agreement:.0%})."
    )


def _listed(attribution: ProsodyAttribution, reasons: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{_told(attribution, measure)} ({value:+.1f})" for measure, value in reasons)


def _told(attribution: ProsodyAttribution, measure: str) -> str:
    label, value = MEASURE_OF[measure].label, attribution.measurements[measure]
    return f"{label} not measurable" if value is None else f"{label} {write_value(measure, value)}"


def _first(probabilities: Mapping[Label, float]) -> Label:
    return max(probabilities, key=lambda emotion: probabilities[emotion])


def _require_known(surrogate: Surrogate, name: str, emotion: Label) -> None:
    if emotion not in surrogate.emotions:
        raise InvalidParameterError(name, str(emotion), f"one of {', '.join(surrogate.emotions)}")


def _sum_of_trees(trees: EmotionTrees, measures: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_clips,): base and the leaves that each row of `measures` comes to; all trees are walked at once."""
    roots = trees.starts[:-1]
    rows = np.arange(len(measures))[:, np.newaxis]
    at = np.broadcast_to(roots, (len(measures), len(roots)))
    while (is_inner := trees.left[at] >= 0).any():
        found = measures[rows, np.maximum(trees.measure[at], 0)]
        onward = np.where(found <= trees.threshold[at], trees.left[at], trees.right[at])
        onward = np.where(np.isnan(found), trees.missing[at], onward)
        at = np.where(is_inner, roots + onward, at)
    total: NDArray[np.float64] = trees.base + trees.value[at].sum(axis=1)
    return total


@cache
def _shap() -> ModuleType:
    """shap, loaded when it is first asked for."""
    import shap

    gc.freeze()  # or each collection looks through its 100,000 objects again: 0.17 s after every run of a page
    return shap  # type: ignore[no-any-return]


def _shap_values(trees: EmotionTrees, measures: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """SHAP values (n_clips, n_measures) and the base value that they start from."""
    shap = _shap()
    ensemble = {
        "trees": [
            {
                "children_left": trees.left[tree],
                "children_right": trees.right[tree],
                "children_default": trees.missing[tree],
                "features": trees.measure[tree],
                "thresholds": trees.threshold[tree],
                "values": trees.value[tree][:, np.newaxis],
                "node_sample_weight": trees.n_recordings[tree],
            }
            for tree in (slice(int(a), int(b)) for a, b in zip(trees.starts[:-1], trees.starts[1:], strict=True))
        ],
        "base_offset": trees.base,
        "input_dtype": np.float64,
        "tree_output": "raw_value",
    }
    explainer = shap.TreeExplainer(ensemble, feature_perturbation="tree_path_dependent")
    # shap would check additivity against a `predict` that a dictionary does not have; a test of ours checks it.
    values = np.asarray(explainer.shap_values(measures, check_additivity=False), dtype=np.float64)
    return values.reshape(len(measures), len(SURROGATE_MEASURES)), float(np.squeeze(explainer.expected_value))


def _surrogate(name: str, fields: Mapping[str, object], arrays: Mapping[str, NDArray[np.generic]]) -> Surrogate:
    emotions = tuple(label_of(str(emotion)) for emotion in _list(fields["emotions"]))
    version = str(fields["model_version"])
    duration = _object(fields["duration_s"])
    return Surrogate(
        model_name=name,
        model_version=version,
        emotions=emotions,
        fidelity=_fidelity(_object(fields["fidelity"])),
        corpora={corpus: int(str(count)) for corpus, count in _object(fields["corpora"]).items()},
        licence=str(fields["licence"]),
        duration_range_s=(float(str(duration["shortest"])), float(str(duration["longest"]))),
        trees={emotion: _emotion_trees(arrays, number) for number, emotion in enumerate(emotions)},
        overview=GlobalAttribution(
            model_version=version,
            emotions=emotions,
            measures=SURROGATE_MEASURES,
            values=(
                np.asarray(arrays["overview_values"], dtype=np.float32)
                * np.asarray(arrays["overview_step"], dtype=np.float32)[:, np.newaxis, np.newaxis]
            ),
            measurements=np.asarray(arrays["overview_measurements"], dtype=np.float32),
            base_values=np.asarray(arrays["overview_base_values"], dtype=np.float64),
        ),
    )


def _emotion_trees(arrays: Mapping[str, NDArray[np.generic]], number: int) -> EmotionTrees:
    """The trees of one emotion: those between `first_tree[number]` and the next."""
    first, last = (int(np.asarray(arrays["first_tree"])[at]) for at in (number, number + 1))
    starts = np.asarray(arrays["starts"], dtype=np.int64)[first : last + 1]
    nodes = slice(int(starts[0]), int(starts[-1]))
    return EmotionTrees(
        base=float(np.asarray(arrays["base"], dtype=np.float64)[number]),
        starts=starts - starts[0],
        left=np.asarray(arrays["left"], dtype=np.int32)[nodes],
        right=np.asarray(arrays["right"], dtype=np.int32)[nodes],
        missing=np.asarray(arrays["missing"], dtype=np.int32)[nodes],
        measure=np.asarray(arrays["measure"], dtype=np.int32)[nodes],
        threshold=np.asarray(arrays["threshold"], dtype=np.float64)[nodes],
        value=np.asarray(arrays["value"], dtype=np.float64)[nodes],
        n_recordings=np.asarray(arrays["n_recordings"], dtype=np.float64)[nodes],
    )


def _fidelity(fields: Mapping[str, object]) -> Fidelity:
    low, high = (float(str(bound)) for bound in _list(fields["agreement_interval"]))
    return Fidelity(
        protocol=str(fields["protocol"]),
        n_recordings=int(str(fields["n_recordings"])),
        n_speakers=int(str(fields["n_speakers"])),
        agreement=float(str(fields["agreement"])),
        agreement_interval=(low, high),
        majority_agreement=float(str(fields["majority_agreement"])),
        agreement_by_corpus={
            corpus: float(str(share)) for corpus, share in _object(fields["agreement_by_corpus"]).items()
        },
        r_squared={label_of(emotion): float(str(value)) for emotion, value in _object(fields["r_squared"]).items()},
    )


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"a list is wanted, not {type(value).__name__}")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"an object is wanted, not {type(value).__name__}")
    return value
