"""From what a model said of recordings to figures, each with its protocol; how it was asked is not known here."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from core.domain import Emotion
from core.evaluation.bootstrap import LEVEL, ConfidenceInterval, bootstrap_interval, paired_bootstrap_difference
from core.evaluation.calibration import (
    ReliabilityBin,
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_bins,
)
from core.evaluation.classification import accuracy, confusion_matrix, macro_f1, unweighted_average_recall
from core.evaluation.selective import (
    COVERAGES,
    accuracies_at_coverages,
    area_under_risk_coverage_curve,
    error_ranking_auroc,
    risk_coverage_curve,
)
from training.corpora import ManifestRow, Problem
from training.training_record import Exposure, TrainingRecord

SCHEMA = "telepathy-evaluation/1"
EMOTIONS = tuple(Emotion)
PUBLISHED_SINGLE_LISTENER_ACCURACY = 0.409
"""How often one listener names CREMA-D's acted emotion by the voice alone, over all 7,442 clips: Cao et al. 2014,
abstract. It cannot be recomputed from the file of votes, which holds pluralities."""
N_CURVE_POINTS = 101
VOTES = "crema-d-votes.csv"
"""File of listeners' votes beside a manifest."""
VOTE_LETTERS = {
    "A": Emotion.ANGRY,
    "D": Emotion.DISGUST,
    "F": Emotion.FEARFUL,
    "H": Emotion.HAPPY,
    "N": Emotion.NEUTRAL,
    "S": Emotion.SAD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRecording:
    """What a model said of one recording of a manifest."""

    row: ManifestRow
    exposure: Exposure
    probabilities: tuple[float, ...]
    """Over all eight emotions in the order of `Emotion`; 0 for those the model does not know."""
    plain_confidence: float
    """Largest probability without dropout: one pass with every unit kept."""
    predictive_entropy_nats: float
    expected_entropy_nats: float
    mutual_information_nats: float
    is_abstained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure and the range in which 95 % of its bootstrap resamples lie."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScores:
    """How a model does on one group of recordings."""

    name: str
    protocol: str
    n_recordings: int
    n_speakers: int
    emotions: tuple[Emotion, ...]
    """Labels that occur."""
    accuracy: Figure
    """Over all outputs of the model; clips resampled."""
    accuracy_by_speaker: Figure
    """The same value; whole speakers resampled, which is how far it would move with other speakers."""
    unweighted_average_recall: Figure
    macro_f1: Figure
    restricted_accuracy: Figure
    """Among the labels that occur in a recording's corpus: others are left out before the best answer is taken."""
    restricted_unweighted_average_recall: Figure
    majority_accuracy: float
    """Of always naming the most frequent label."""
    random_accuracy: float
    """Of naming any of the model's emotions with equal chance."""
    chance_unweighted_average_recall: float
    """Of either: one over the number of labels that occur."""
    expected_calibration_error: float
    """15 bins of equal width."""
    maximum_calibration_error: float
    brier_score: float
    negative_log_likelihood_nats: float
    mean_confidence: float
    abstained_share: float
    accuracy_when_answering: float
    """Over the recordings on which the model did not abstain."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts, true label by row, answer by column, in the order of `Emotion`."""
    reliability: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerScores:
    """How a model does on one speaker."""

    speaker: str
    corpus: str
    sex: str
    exposure: Exposure
    n_recordings: int
    accuracy: float
    unweighted_average_recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingScores:
    """How well one measure of doubt ranks a model's errors."""

    measure: str
    protocol: str
    error_ranking_auroc: Figure
    area_under_risk_coverage_curve: float
    accuracies_at_coverages: Mapping[str, float]
    """By coverage in percent, such as "90"."""
    risk_coverage: tuple[tuple[float, float], ...]
    """Up to 101 points of the curve, coverage and risk."""
    auroc_gain_over_plain_confidence: Figure | None
    """Of the AUROC, paired, with a range of 98.75 % (95 % for the four together); None for plain confidence itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessScores:
    """How a model does when recordings are disturbed."""

    disturbance: str
    description: str
    protocol: str
    n_recordings: int
    """Those that could be answered both clean and disturbed."""
    n_refused: int
    """Those refused when disturbed, such as one that is nothing but clipped."""
    accuracy: Figure
    accuracy_lost: Figure
    """Clean less disturbed, paired on the same recordings."""
    unweighted_average_recall: float
    expected_calibration_error: float
    mean_confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCorpusScores:
    """How a model does on one corpus, over the emotions that all corpora of the manifest share."""

    corpus: str
    is_heard_in_training: bool | None
    n_recordings: int
    accuracy: Figure
    unweighted_average_recall: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCorpusView:
    """Corpora side by side on common ground."""

    shared_emotions: tuple[Emotion, ...]
    protocol: str
    corpora: tuple[CrossCorpusScores, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanScores:
    """What listeners made of the same CREMA-D recordings, by the voice alone."""

    protocol: str
    n_recordings: int
    plurality_accuracy: float
    """Share whose plurality vote is the acted emotion; a tie is wrong."""
    plurality_accuracy_with_ties: float
    """The same with ties that hold the acted emotion counted as right."""
    single_listener_accuracy_published: float
    model_accuracy: float
    """On the same recordings, over all outputs."""
    model_agreement_with_plurality: float
    """Share of recordings without a tie on which the model says what the listeners said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything measured in one run of `evaluate`; docs/evaluation.md describes it as JSON."""

    schema: str
    created_at: str
    protocol: str
    model: Mapping[str, object]
    settings: Mapping[str, object]
    manifest: Mapping[str, object]
    pooled: GroupScores
    by_corpus: tuple[GroupScores, ...]
    by_language: tuple[GroupScores, ...]
    by_sex: tuple[GroupScores, ...]
    by_exposure: tuple[GroupScores, ...]
    by_speaker: tuple[SpeakerScores, ...]
    ranking: tuple[RankingScores, ...]
    ranking_verdict: str
    robustness: tuple[RobustnessScores, ...]
    cross_corpus: CrossCorpusView
    human: HumanScores | None
    n_labels_unknown_to_model: int
    """Recordings whose label is none of the model's emotions: always counted as wrong."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Table:
    """Scored recordings as arrays with a common first axis."""

    scored: Sequence[ScoredRecording]
    known: tuple[Emotion, ...]
    labels_of_corpus: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return np.array([EMOTIONS.index(recording.row.emotion) for recording in self.scored], dtype=np.int64)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        return np.array([recording.probabilities for recording in self.scored]).reshape(-1, len(EMOTIONS))

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        return _best(self.probabilities, np.tile(self._is_known, (len(self.scored), 1)))

    @cached_property
    def restricted_answers(self) -> NDArray[np.int64]:
        allowed = np.zeros((len(self.scored), len(EMOTIONS)), dtype=bool)
        for number, recording in enumerate(self.scored):
            allowed[number, list(self.labels_of_corpus[recording.row.corpus])] = True
        allowed &= self._is_known
        # A corpus with none of the model's emotions: nothing to restrict to, and nothing that could be right.
        allowed |= ~allowed.any(axis=1, keepdims=True) & self._is_known
        return _best(self.probabilities, allowed)

    @cached_property
    def confidences(self) -> NDArray[np.float64]:
        return self.probabilities.max(axis=1, initial=0.0)

    @cached_property
    def is_correct(self) -> NDArray[np.bool_]:
        return np.asarray(self.answers == self.labels)

    @cached_property
    def speakers(self) -> NDArray[np.str_]:
        return np.array([recording.row.speaker for recording in self.scored])

    @cached_property
    def _is_known(self) -> NDArray[np.bool_]:
        return np.array([emotion in self.known for emotion in EMOTIONS])


def _best(probabilities: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.asarray(np.where(allowed, probabilities, -1.0).argmax(axis=1), dtype=np.int64)


def summarise_answers(
    scored: Sequence[ScoredRecording],
    *,
    protocol: str,
    known: tuple[Emotion, ...],
    model: Mapping[str, object],
    settings: Mapping[str, object],
    manifest: Mapping[str, object],
    record: TrainingRecord,
    votes: Mapping[str, tuple[Emotion, ...]],
    robustness: tuple[RobustnessScores, ...] = (),
    problems: Sequence[Problem] = (),
    n_resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """All figures for a set of answers, wherever they come from: one model, or the models of several folds together.

    Parameters
    ----------
    scored
        At most one answer for each recording.
    protocol
        How the answers were made; what the model knew of the recordings is put before it, group by group.
    known
        Emotions the model can answer.
    model, settings, manifest
        Kept as they are, for the reader; `n_scored` and `hours` are added to the last.
    record
        What the model heard in training.
    votes
        From `read_votes`.
    """
    labels_of_corpus = labels_by_corpus([recording.row for recording in scored])

    def group(name: str, members: Iterable[ScoredRecording]) -> GroupScores:
        return score_group(
            name,
            list(members),
            protocol=protocol,
            known=known,
            labels_of_corpus=labels_of_corpus,
            n_resamples=n_resamples,
            seed=seed,
        )

    def groups(key: Callable[[ScoredRecording], str]) -> tuple[GroupScores, ...]:
        names = sorted({key(recording) for recording in scored})
        return tuple(group(name or "not stated", (one for one in scored if key(one) == name)) for name in names)

    rankings = score_rankings(scored, protocol=protocol, known=known, n_resamples=n_resamples, seed=seed)
    return Evaluation(
        schema=SCHEMA,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        protocol=f"{describe_exposure(scored)}; {protocol}",
        model=model,
        settings={**settings, "bootstrap_resamples": n_resamples, "bootstrap_level": LEVEL},
        manifest={
            **manifest,
            "n_scored": len(scored),
            "hours": round(sum(recording.row.duration_s for recording in scored) / 3600, 3),
        },
        pooled=group("pooled", scored),
        by_corpus=groups(lambda one: one.row.corpus),
        by_language=groups(lambda one: one.row.language),
        by_sex=groups(lambda one: one.row.sex),
        by_exposure=groups(lambda one: str(one.exposure)),
        by_speaker=score_speakers(scored, known=known),
        ranking=rankings,
        ranking_verdict=judge_rankings(rankings),
        robustness=robustness,
        cross_corpus=score_across_corpora(
            scored,
            record=record,
            known=known,
            labels_of_corpus=labels_of_corpus,
            n_resamples=n_resamples,
            seed=seed,
        ),
        human=score_humans(scored, votes, known=known),
        n_labels_unknown_to_model=sum(recording.row.emotion not in known for recording in scored),
        problems=tuple(problems),
    )


def evaluation_to_json(evaluation: Evaluation) -> str:
    """The evaluation as JSON text; figures that do not exist are null."""
    return json.dumps(to_plain(dataclasses.asdict(evaluation)), indent=1, allow_nan=False) + "\n"


def to_plain(value: object) -> object:
    """`value` as JSON has it: lists and dicts, floats to six decimals, null for what does not exist."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Emotion) else value


def labels_by_corpus(rows: Sequence[ManifestRow]) -> dict[str, frozenset[int]]:
    """Numbers of the emotions that occur in each corpus of a manifest."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        found[row.corpus].add(EMOTIONS.index(row.emotion))
    return {corpus: frozenset(numbers) for corpus, numbers in found.items()}


def describe_exposure(scored: Sequence[ScoredRecording]) -> str:
    """What the model knew of these recordings from its training, in words, worst first.

    A group in which anything was heard says so with its share: such a figure is no test of new recordings.
    """
    counts = Counter(recording.exposure for recording in scored)
    kinds = [kind for kind in Exposure if counts[kind]]
    if len(kinds) <= 1:
        return str(kinds[0]) if kinds else "no recordings"
    return "mixed: " + ", ".join(f"{counts[kind] / len(scored):.0%} {kind}" for kind in kinds)


def score_group(
    name: str,
    scored: Sequence[ScoredRecording],
    *,
    protocol: str,
    known: tuple[Emotion, ...],
    labels_of_corpus: Mapping[str, frozenset[int]],
    n_resamples: int,
    seed: int,
) -> GroupScores:
    """All figures of one group; `protocol` is completed by what the model knew of its recordings."""
    table = _Table(scored, known, labels_of_corpus)
    labels, answers, restricted = table.labels, table.answers, table.restricted_answers
    n_labels = len(np.unique(labels))
    answering = np.array([not recording.is_abstained for recording in scored], dtype=bool)

    def figure(statistic, predictions, clusters=None) -> Figure:  # type: ignore[no-untyped-def]
        interval = bootstrap_interval(
            statistic, labels, predictions, n_resamples=n_resamples, seed=seed, clusters=clusters
        )
        return _figure(statistic(labels, predictions), interval)

    return GroupScores(
        name=name,
        protocol=f"{describe_exposure(scored)}; {protocol}",
        n_recordings=len(scored),
        n_speakers=len(np.unique(table.speakers)),
        emotions=tuple(EMOTIONS[number] for number in np.unique(labels)),
        accuracy=figure(accuracy, answers),
        accuracy_by_speaker=figure(accuracy, answers, clusters=table.speakers),
        unweighted_average_recall=figure(unweighted_average_recall, answers),
        macro_f1=figure(macro_f1, answers),
        restricted_accuracy=figure(accuracy, restricted),
        restricted_unweighted_average_recall=figure(unweighted_average_recall, restricted),
        majority_accuracy=float(np.bincount(labels).max() / len(labels)) if len(labels) else math.nan,
        random_accuracy=float(np.isin(labels, [EMOTIONS.index(emotion) for emotion in known]).mean() / len(known))
        if len(labels)
        else math.nan,
        chance_unweighted_average_recall=1 / n_labels if n_labels else math.nan,
        expected_calibration_error=expected_calibration_error(table.confidences, table.is_correct),
        maximum_calibration_error=maximum_calibration_error(table.confidences, table.is_correct),
        brier_score=brier_score(table.probabilities, labels),
        negative_log_likelihood_nats=negative_log_likelihood(table.probabilities, labels),
        mean_confidence=float(table.confidences.mean()) if len(labels) else math.nan,
        abstained_share=1 - float(answering.mean()) if len(labels) else math.nan,
        accuracy_when_answering=accuracy(labels[answering], answers[answering]),
        confusion=tuple(
            tuple(int(count) for count in row) for row in confusion_matrix(labels, answers, n_classes=len(EMOTIONS))
        ),
        reliability=reliability_bins(table.confidences, table.is_correct),
    )


def score_speakers(scored: Sequence[ScoredRecording], *, known: tuple[Emotion, ...]) -> tuple[SpeakerScores, ...]:
    """One row for each speaker, worst first."""
    by_speaker: defaultdict[str, list[ScoredRecording]] = defaultdict(list)
    for recording in scored:
        by_speaker[recording.row.speaker].append(recording)
    found = []
    for speaker, own in by_speaker.items():
        table = _Table(own, known)
        found.append(
            SpeakerScores(
                speaker=speaker,
                corpus=own[0].row.corpus,
                sex=own[0].row.sex,
                exposure=min((recording.exposure for recording in own), key=list(Exposure).index),
                n_recordings=len(own),
                accuracy=accuracy(table.labels, table.answers),
                unweighted_average_recall=unweighted_average_recall(table.labels, table.answers),
            )
        )
    return tuple(sorted(found, key=lambda scores: (scores.accuracy, scores.speaker)))


MEASURES = ("plain confidence", "confidence", "predictive entropy", "expected entropy", "mutual information")
"""Measures of doubt: the first without dropout, the others from the Monte Carlo dropout passes."""


GAIN_LEVEL = 1 - (1 - LEVEL) / (len(MEASURES) - 1)
"""Bonferroni: four measures have a chance to beat plain confidence by luck."""


def score_rankings(
    scored: Sequence[ScoredRecording], *, protocol: str, known: tuple[Emotion, ...], n_resamples: int, seed: int
) -> tuple[RankingScores, ...]:
    """How well each of `MEASURES` ranks the errors of the served answers; all rank the same errors."""
    table = _Table(scored, known)
    is_correct = table.is_correct
    doubts = {
        "plain confidence": np.array([1 - recording.plain_confidence for recording in scored]),
        "confidence": 1 - table.confidences,
        "predictive entropy": np.array([recording.predictive_entropy_nats for recording in scored]),
        "expected entropy": np.array([recording.expected_entropy_nats for recording in scored]),
        "mutual information": np.array([recording.mutual_information_nats for recording in scored]),
    }

    def ranking(is_right: NDArray[np.bool_], doubt: NDArray[np.float64]) -> float:
        return error_ranking_auroc(doubt, is_right)

    rankings = []
    for measure in MEASURES:
        doubt = doubts[measure]
        interval = bootstrap_interval(ranking, is_correct, doubt, n_resamples=n_resamples, seed=seed)
        gain = None
        if measure != MEASURES[0]:
            found = paired_bootstrap_difference(
                ranking, is_correct, doubts[MEASURES[0]], doubt, n_resamples=n_resamples, seed=seed, level=GAIN_LEVEL
            )
            gain = _figure(found.difference, found.interval)
        curve = risk_coverage_curve(doubt, is_correct)
        shown = np.unique(np.linspace(0, len(scored) - 1, N_CURVE_POINTS).round().astype(int)) if len(scored) else []
        kept = accuracies_at_coverages(doubt, is_correct)
        rankings.append(
            RankingScores(
                measure=measure,
                protocol=f"{describe_exposure(scored)}; {protocol}",
                error_ranking_auroc=_figure(ranking(is_correct, doubt), interval),
                area_under_risk_coverage_curve=area_under_risk_coverage_curve(doubt, is_correct),
                accuracies_at_coverages={f"{coverage:.0%}".rstrip("%"): kept[coverage] for coverage in COVERAGES},
                risk_coverage=tuple((float(curve.coverages[i]), float(curve.risks[i])) for i in shown),
                auroc_gain_over_plain_confidence=gain,
            )
        )
    return tuple(rankings)


def judge_rankings(rankings: Sequence[RankingScores]) -> str:
    """Whether Monte Carlo dropout ranks errors better than plain confidence, in a sentence that claims no more."""
    plain = rankings[0]
    if math.isnan(plain.error_ranking_auroc.value):
        return (
            "Whether Monte Carlo dropout ranks errors better than plain confidence cannot be said: all answers are "
            "right, or all are wrong."
        )
    better, alike, worse = [], [], []
    for ranking in rankings[1:]:
        gain = ranking.auroc_gain_over_plain_confidence
        assert gain is not None
        group = better if gain.low > 0 else worse if gain.high < 0 else alike
        group.append(f"{ranking.measure} {ranking.error_ranking_auroc.value:.3f} ({gain.value:+.3f})")
    verdict = (
        "Monte Carlo dropout ranks errors better than plain confidence"
        if better
        else "Monte Carlo dropout does not rank errors better than plain confidence"
    )
    parts = [
        f"{word}: {', '.join(group)}"
        for word, group in (("better", better), ("no clear difference", alike), ("worse", worse))
        if group
    ]
    return (
        f"{verdict} (AUROC of errors {plain.error_ranking_auroc.value:.3f} by plain confidence; {'; '.join(parts)}; "
        "judged by paired bootstrap intervals, 95 % for the four measures together)."
    )


def score_robustness(
    name: str,
    description: str,
    clean: Mapping[str, ScoredRecording],
    disturbed: Mapping[str, ScoredRecording],
    *,
    n_refused: int,
    protocol: str,
    known: tuple[Emotion, ...],
    n_resamples: int,
    seed: int,
) -> RobustnessScores:
    """Compare answers for the same recordings, clean and disturbed, by path."""
    both = sorted(clean.keys() & disturbed.keys())
    before, after = (_Table([answers[path] for path in both], known) for answers in (clean, disturbed))
    labels = after.labels
    lost = paired_bootstrap_difference(
        accuracy, labels, after.answers, before.answers, n_resamples=n_resamples, seed=seed
    )
    interval = bootstrap_interval(accuracy, labels, after.answers, n_resamples=n_resamples, seed=seed)
    return RobustnessScores(
        disturbance=name,
        description=description,
        protocol=f"{describe_exposure([clean[path] for path in both])}; sample of {len(both)} of {protocol}",
        n_recordings=len(both),
        n_refused=n_refused,
        accuracy=_figure(accuracy(labels, after.answers), interval),
        accuracy_lost=_figure(lost.difference, lost.interval),
        unweighted_average_recall=unweighted_average_recall(labels, after.answers),
        expected_calibration_error=expected_calibration_error(after.confidences, after.is_correct),
        mean_confidence=float(after.confidences.mean()) if both else math.nan,
    )


def score_across_corpora(
    scored: Sequence[ScoredRecording],
    *,
    record: TrainingRecord,
    known: tuple[Emotion, ...],
    labels_of_corpus: Mapping[str, frozenset[int]],
    n_resamples: int,
    seed: int,
) -> CrossCorpusView:
    """Every corpus over the emotions that all of them and the model share, and only among these."""
    shared = frozenset(EMOTIONS.index(emotion) for emotion in known)
    for numbers in labels_of_corpus.values():
        shared &= numbers
    found = []
    for corpus in sorted({recording.row.corpus for recording in scored}):
        own = [
            recording
            for recording in scored
            if recording.row.corpus == corpus and EMOTIONS.index(recording.row.emotion) in shared
        ]
        table = _Table(own, known, {corpus: shared})
        answers = table.restricted_answers if own else table.labels
        figures = [
            _figure(
                statistic(table.labels, answers),
                bootstrap_interval(statistic, table.labels, answers, n_resamples=n_resamples, seed=seed),
            )
            for statistic in (accuracy, unweighted_average_recall)
        ]
        found.append(
            CrossCorpusScores(
                corpus=corpus,
                is_heard_in_training=None if record.corpora is None else corpus in record.corpora,
                n_recordings=len(own),
                accuracy=figures[0],
                unweighted_average_recall=figures[1],
            )
        )
    emotions = tuple(EMOTIONS[number] for number in sorted(shared))
    return CrossCorpusView(
        shared_emotions=emotions,
        protocol=f"{describe_exposure(scored)}; among the {len(emotions)} emotions that all corpora share",
        corpora=tuple(found),
    )


def read_votes(path: Path) -> dict[str, tuple[Emotion, ...]]:
    """CREMA-D's plurality votes on the voice alone, by recording; a tie holds several emotions.

    Returns
    -------
    dict
        Empty where there is no such file.
    """
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            record["FileName"]: tuple(VOTE_LETTERS[letter] for letter in record["VoiceVote"].split(":"))
            for record in csv.DictReader(file)
        }


def score_humans(
    scored: Sequence[ScoredRecording], votes: Mapping[str, tuple[Emotion, ...]], *, known: tuple[Emotion, ...]
) -> HumanScores | None:
    """Listeners and model on the CREMA-D recordings that were voted on; None without any."""
    judged = [
        (recording, votes[PurePosixPath(recording.row.path).stem])
        for recording in scored
        if recording.row.corpus == "CREMA-D" and PurePosixPath(recording.row.path).stem in votes
    ]
    if not judged:
        return None
    table = _Table([recording for recording, _ in judged], known)
    untied = [
        EMOTIONS[answer] == vote[0] for answer, (_, vote) in zip(table.answers, judged, strict=True) if len(vote) == 1
    ]
    return HumanScores(
        protocol="CREMA-D's listeners on the voice alone against the acted emotion, on the recordings scored here",
        n_recordings=len(judged),
        plurality_accuracy=float(np.mean([vote == (recording.row.emotion,) for recording, vote in judged])),
        plurality_accuracy_with_ties=float(np.mean([recording.row.emotion in vote for recording, vote in judged])),
        single_listener_accuracy_published=PUBLISHED_SINGLE_LISTENER_ACCURACY,
        model_accuracy=float(table.is_correct.mean()),
        model_agreement_with_plurality=float(np.mean(untied)) if untied else math.nan,
    )


def _figure(value: float, interval: ConfidenceInterval) -> Figure:
    return Figure(value=value, low=interval.low, high=interval.high)
