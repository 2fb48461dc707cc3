"""Figures from made-up answers whose every number is known."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from core.config import REPOSITORY
from core.domain import Emotion
from tests.unit.training.answers import UNKNOWN_TO_CARD, draw_answers, make_answer, make_evaluation
from training.scores import (
    EMOTIONS,
    SCHEMA,
    Evaluation,
    describe_exposure,
    evaluation_to_json,
    judge_rankings,
    labels_by_corpus,
    read_votes,
    score_across_corpora,
    score_group,
    score_humans,
    score_rankings,
    score_robustness,
    score_speakers,
)
from training.training_record import Exposure, TrainingRecord

CORPORA = Path(__file__).resolve().parents[4] / "shared" / "corpora"
ANGRY, CALM, HAPPY, NEUTRAL, SAD = Emotion.ANGRY, Emotion.CALM, Emotion.HAPPY, Emotion.NEUTRAL, Emotion.SAD


def group_of(answers, known=EMOTIONS):
    return score_group(
        "g",
        answers,
        protocol="made up",
        known=known,
        labels_of_corpus=labels_by_corpus([one.row for one in answers]),
        n_resamples=50,
        seed=0,
    )


def test_scores_of_a_group_are_what_counting_gives() -> None:
    answers = [
        make_answer(label=SAD, answer=SAD, speaker="1", name="a"),
        make_answer(label=SAD, answer=SAD, speaker="1", name="b"),
        make_answer(label=SAD, answer=ANGRY, speaker="2", name="c"),
        make_answer(label=ANGRY, answer=ANGRY, speaker="2", name="d"),
    ]
    group = group_of(answers)
    assert group.accuracy.value == 0.75
    assert group.unweighted_average_recall.value == pytest.approx((2 / 3 + 1) / 2)
    assert group.macro_f1.value == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert group.majority_accuracy == 0.75
    assert group.random_accuracy == 1 / 8
    assert group.chance_unweighted_average_recall == 1 / 2
    assert (group.n_recordings, group.n_speakers, group.emotions) == (4, 2, (SAD, ANGRY))
    assert group.confusion[EMOTIONS.index(SAD)][EMOTIONS.index(ANGRY)] == 1
    assert group.expected_calibration_error == pytest.approx(0.05)
    assert group.accuracy.low <= 0.75 <= group.accuracy.high


def test_answer_outside_the_labels_of_a_corpus_is_wrong_over_all_and_left_out_among_its_own() -> None:
    answers = [
        make_answer(label=SAD, answer=CALM, second=SAD, confidence=0.6, corpus="CREMA-D", name="a"),
        make_answer(label=HAPPY, answer=HAPPY, corpus="CREMA-D", name="b"),
    ]
    group = group_of(answers)
    assert group.accuracy.value == 0.5
    assert group.restricted_accuracy.value == 1.0


def test_labels_of_one_corpus_do_not_restrict_another() -> None:
    answers = [
        make_answer(label=SAD, answer=CALM, second=SAD, confidence=0.6, corpus="CREMA-D", name="a"),
        make_answer(label=CALM, answer=CALM, corpus="RAVDESS", name="b"),
    ]
    assert group_of(answers).restricted_accuracy.value == 1.0


def test_label_that_the_model_does_not_know_is_always_wrong() -> None:
    known = (NEUTRAL, HAPPY)
    answers = [
        make_answer(label=CALM, answer=NEUTRAL, second=HAPPY, corpus="RAVDESS", name="a"),
        make_answer(label=HAPPY, answer=HAPPY, second=NEUTRAL, corpus="RAVDESS", name="b"),
    ]
    group = group_of(answers, known)
    assert group.accuracy.value == 0.5
    assert group.restricted_accuracy.value == 0.5
    assert group.random_accuracy == 0.25


def test_corpus_with_none_of_the_models_emotions_scores_zero() -> None:
    answers = [make_answer(label=CALM, answer=NEUTRAL, second=HAPPY, name="a")]
    group = group_of(answers, (NEUTRAL, HAPPY))
    assert group.accuracy.value == group.restricted_accuracy.value == 0.0


def test_doubtful_answers_are_counted_apart() -> None:
    answers = [
        make_answer(label=SAD, answer=SAD, confidence=0.9, name="a"),
        make_answer(label=SAD, answer=ANGRY, confidence=0.3, name="b"),
    ]
    group = group_of(answers)
    assert group.abstained_share == 0.5
    assert group.accuracy_when_answering == 1.0


def test_protocol_of_a_group_begins_with_what_the_model_knew_of_it() -> None:
    unseen = make_answer(label=SAD, answer=SAD, name="a")
    heard = make_answer(label=SAD, answer=SAD, name="b", exposure=Exposure.LABEL_HEARD)
    assert group_of([unseen]).protocol == "speakers unseen in training; made up"
    mixed = describe_exposure([unseen, unseen, unseen, heard])
    assert mixed == ("mixed: 25% recordings heard in training, with their labels, 75% speakers unseen in training")


def test_speakers_are_scored_one_by_one_worst_first() -> None:
    answers = [
        make_answer(label=SAD, answer=SAD, speaker="good", name="a"),
        make_answer(label=SAD, answer=ANGRY, speaker="bad", name="b", exposure=Exposure.SPEAKER_HEARD),
        make_answer(label=SAD, answer=SAD, speaker="bad", name="c", exposure=Exposure.LABEL_HEARD),
    ]
    bad, good = score_speakers(answers, known=EMOTIONS)
    assert (bad.speaker, bad.accuracy, bad.n_recordings) == ("RAVDESS-bad", 0.5, 2)
    assert bad.exposure is Exposure.LABEL_HEARD
    assert good.accuracy == 1.0


# -- doubt


def rankings_of(answers):
    return score_rankings(answers, protocol="made up", known=EMOTIONS, n_resamples=200, seed=0)


def answers_with_entropy(entropy_when_wrong: float, n_recordings: int = 200):
    """Plain confidence says nothing about errors; entropy says as much as told."""
    generator = np.random.default_rng(0)
    answers = []
    for number in range(n_recordings):
        is_right = number % 3 > 0
        answers.append(
            make_answer(
                label=SAD,
                answer=SAD if is_right else ANGRY,
                name=str(number),
                plain_confidence=float(generator.uniform(0.5, 1)),
                entropy=float(generator.uniform(0, 1) + (0 if is_right else entropy_when_wrong)),
            )
        )
    return answers


def test_dropout_that_ranks_errors_better_is_said_to() -> None:
    verdict = judge_rankings(rankings_of(answers_with_entropy(0.8)))
    assert verdict.startswith("Monte Carlo dropout ranks errors better than plain confidence")
    assert "predictive entropy" in verdict.split("no clear difference")[0]


def test_dropout_that_ranks_errors_no_better_is_not_said_to() -> None:
    answers = [
        dataclasses.replace(one, plain_confidence=1 - one.predictive_entropy_nats / 2)
        for one in answers_with_entropy(0.3)
    ]
    verdict = judge_rankings(rankings_of(answers))
    assert verdict.startswith("Monte Carlo dropout does not rank errors better than plain confidence")
    assert "no clear difference: predictive entropy" in verdict


def test_dropout_that_ranks_errors_worse_is_named_so() -> None:
    answers = [
        dataclasses.replace(one, plain_confidence=0.9 if one.row.emotion == SAD and one.probabilities[3] > 0.5 else 0.5)
        for one in answers_with_entropy(-0.8)
    ]
    verdict = judge_rankings(rankings_of(answers))
    assert "does not rank errors better" in verdict
    assert "worse: " in verdict


def test_verdict_without_errors_claims_nothing() -> None:
    verdict = judge_rankings(rankings_of([make_answer(label=SAD, answer=SAD, name=str(n)) for n in range(5)]))
    assert "cannot be said" in verdict


def test_leaving_out_the_most_doubtful_is_reported_by_coverage() -> None:
    ranking = rankings_of(answers_with_entropy(5.0))[2]
    assert ranking.measure == "predictive entropy"
    assert list(ranking.accuracies_at_coverages) == ["100", "90", "80", "70", "50"]
    assert ranking.accuracies_at_coverages["50"] == 1.0
    assert ranking.error_ranking_auroc.value == 1.0
    assert len(ranking.risk_coverage) <= 101
    assert ranking.risk_coverage[-1][0] == 1.0


# -- robustness, corpora, people


def test_points_lost_are_paired_on_what_both_could_answer() -> None:
    clean = {str(n): make_answer(label=SAD, answer=SAD, name=str(n)) for n in range(10)}
    disturbed = {str(n): make_answer(label=SAD, answer=SAD if n < 6 else ANGRY, name=str(n)) for n in range(8)}
    scores = score_robustness(
        "x", "y", clean, disturbed, n_refused=2, protocol="p", known=EMOTIONS, n_resamples=50, seed=0
    )
    assert (scores.n_recordings, scores.n_refused) == (8, 2)
    assert scores.accuracy.value == 0.75
    assert scores.accuracy_lost.value == pytest.approx(0.25)
    assert scores.protocol == "speakers unseen in training; sample of 8 of p"


def test_corpora_are_compared_on_the_emotions_that_all_share() -> None:
    answers = [
        make_answer(label=CALM, answer=CALM, corpus="RAVDESS", name="a"),
        make_answer(label=SAD, answer=CALM, second=SAD, confidence=0.6, corpus="RAVDESS", name="b"),
        make_answer(label=HAPPY, answer=HAPPY, corpus="RAVDESS", name="c"),
        make_answer(label=SAD, answer=HAPPY, corpus="CREMA-D", name="d"),
        make_answer(label=HAPPY, answer=HAPPY, corpus="CREMA-D", name="e"),
    ]
    view = score_across_corpora(
        answers,
        record=TrainingRecord(speakers=None, is_label_used=None, corpora=("RAVDESS",)),
        known=EMOTIONS,
        labels_of_corpus=labels_by_corpus([one.row for one in answers]),
        n_resamples=20,
        seed=0,
    )
    assert view.shared_emotions == (HAPPY, SAD)
    crema_d, ravdess = view.corpora
    assert (crema_d.corpus, crema_d.n_recordings, crema_d.accuracy.value) == ("CREMA-D", 2, 0.5)
    assert (ravdess.n_recordings, ravdess.accuracy.value) == (2, 1.0)
    assert (crema_d.is_heard_in_training, ravdess.is_heard_in_training) == (False, True)


def test_listeners_are_scored_on_the_recordings_that_the_model_answered() -> None:
    votes = {"a": (SAD,), "b": (SAD, NEUTRAL), "c": (NEUTRAL,), "z": (SAD,)}
    answers = [
        make_answer(label=SAD, answer=SAD, corpus="CREMA-D", name="a"),
        make_answer(label=SAD, answer=ANGRY, corpus="CREMA-D", name="b"),
        make_answer(label=SAD, answer=SAD, corpus="CREMA-D", name="c"),
        make_answer(label=SAD, answer=SAD, corpus="RAVDESS", name="z"),
    ]
    human = score_humans(answers, votes, known=EMOTIONS)
    assert human is not None
    assert human.n_recordings == 3
    assert human.plurality_accuracy == pytest.approx(1 / 3)
    assert human.plurality_accuracy_with_ties == pytest.approx(2 / 3)
    assert human.model_accuracy == pytest.approx(2 / 3)
    assert human.model_agreement_with_plurality == 0.5


def test_no_votes_no_listeners(tmp_path) -> None:
    assert read_votes(tmp_path / "crema-d-votes.csv") == {}
    assert score_humans([make_answer(label=SAD, answer=SAD, corpus="CREMA-D")], {}, known=EMOTIONS) is None


@pytest.mark.skipif(not CORPORA.exists(), reason="the corpora do not stand at ../shared/corpora")
def test_plurality_of_listeners_names_the_acted_emotion_in_41_6_percent_of_crema_d() -> None:
    votes = read_votes(CORPORA / "crema-d-votes.csv")
    codes = {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
    answers = [
        make_answer(label=Emotion(codes[name.split("_")[2]]), answer=NEUTRAL, corpus="CREMA-D", name=name)
        for name in votes
    ]
    human = score_humans(answers, votes, known=EMOTIONS)
    assert human is not None
    assert human.n_recordings == 7442
    assert human.plurality_accuracy == pytest.approx(0.4164, abs=5e-5)
    assert human.plurality_accuracy_with_ties == pytest.approx(0.4788, abs=5e-5)


# -- the whole


def test_evaluation_has_a_protocol_on_every_group_of_figures() -> None:
    evaluation = make_evaluation()
    described = json.loads(evaluation_to_json(evaluation))
    without = []

    def look(value: object, path: str) -> None:
        if isinstance(value, dict):
            if "accuracy" in value and "n_recordings" in value and "protocol" not in value:
                without.append(path)
            for key, item in value.items():
                look(item, f"{path}.{key}")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                look(item, f"{path}[{number}]")

    look(described, "")
    # Speakers carry their exposure, corpora on common ground the protocol of their view.
    assert {re.sub(r"\[\d+\]", "", path) for path in without} == {".by_speaker", ".cross_corpus.corpora"}
    assert all(ranking["protocol"] for ranking in described["ranking"])
    assert described["protocol"].startswith("speakers unseen in training; ")


def test_json_has_the_fields_that_the_documentation_describes() -> None:
    described = json.loads(evaluation_to_json(make_evaluation()))
    text = (REPOSITORY / "docs" / "evaluation.md").read_text()
    section = text.split("## JSON")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))
    group = described["pooled"]
    assert set(described) | set(group) <= documented
    assert described["schema"] == SCHEMA
    assert SCHEMA in section
    assert set(described) == {field.name for field in dataclasses.fields(Evaluation)}


def test_figure_that_does_not_exist_is_null_in_json() -> None:
    answers = [make_answer(label=SAD, answer=SAD, name=str(n)) for n in range(3)]
    described = json.loads(evaluation_to_json(make_evaluation(answers)))
    assert described["ranking"][0]["error_ranking_auroc"]["value"] is None
    assert math.isnan(make_evaluation(answers).ranking[0].error_ranking_auroc.value)


def test_evaluation_of_nothing_is_an_evaluation_without_figures() -> None:
    evaluation = make_evaluation([], has_robustness=False)
    assert evaluation.pooled.n_recordings == 0
    assert math.isnan(evaluation.pooled.accuracy.value)
    assert json.loads(evaluation_to_json(evaluation))["pooled"]["accuracy"]["value"] is None


def test_same_seed_gives_the_same_figures() -> None:
    first, second = make_evaluation(draw_answers(1)), make_evaluation(draw_answers(1))
    assert dataclasses.replace(first, created_at="") == dataclasses.replace(second, created_at="")


def test_groups_are_made_by_corpus_language_sex_and_exposure() -> None:
    evaluation = make_evaluation()
    assert [group.name for group in evaluation.by_corpus] == ["CREMA-D", "RAVDESS"]
    assert [group.name for group in evaluation.by_language] == ["en"]
    assert [group.name for group in evaluation.by_sex] == ["female", "male"]
    assert [group.name for group in evaluation.by_exposure] == ["speakers unseen in training"]
    assert sum(group.n_recordings for group in evaluation.by_corpus) == evaluation.pooled.n_recordings == 120
    assert evaluation.cross_corpus.corpora[0].is_heard_in_training is None
    assert UNKNOWN_TO_CARD.corpora is None
