"""What `evaluate` prints: complete, each with its protocol, within 100 columns."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from core.domain import Emotion
from tests.unit.training.answers import draw_answers, make_answer, make_evaluation
from training.score_tables import print_scores
from training.scores import EMOTIONS, Evaluation, score_humans
from training.training_record import Exposure


def printed(evaluation: Evaluation) -> str:
    text = io.StringIO()
    print_scores(evaluation, Console(file=text, width=100))
    return text.getvalue()


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    made = make_evaluation()
    votes = {f"{number:04}": (Emotion.HAPPY,) for number in range(1, 120, 2)}
    return dataclasses.replace(made, human=score_humans(draw_answers(), votes, known=EMOTIONS))


def test_every_line_fits_100_columns(evaluation) -> None:
    assert max(len(line) for line in printed(evaluation).splitlines()) <= 100


def test_scores_by_corpus_and_sex_stand_beside_their_baselines_and_calibration_error(evaluation) -> None:
    text = printed(evaluation)
    groups = [("pooled", evaluation.pooled)]
    groups += [(group.name, group) for group in evaluation.by_corpus]
    groups += [(f"sex: {group.name}", group) for group in evaluation.by_sex]
    for name, group in groups:
        cells = line_of(text, name).removeprefix(name).split()
        assert cells[:2] == [f"{group.n_recordings:,}", f"{100 * group.accuracy.value:.1f}"]
        assert cells[-3:] == [
            f"{100 * group.majority_accuracy:.1f}",
            f"{100 * group.random_accuracy:.1f}",
            f"{group.expected_calibration_error:.3f}",
        ]


def test_five_speakers_of_lowest_accuracy_are_named_with_their_recordings(evaluation) -> None:
    text = printed(evaluation)
    for one in evaluation.by_speaker[:5]:
        cells = line_of(text, one.speaker + " ").split()
        assert cells[1:3] == [str(one.n_recordings), f"{100 * one.accuracy:.1f}"]
    assert evaluation.by_speaker[5].speaker not in text
    assert "the 5 lowest of 10 speakers" in text


def test_accuracy_by_coverage_is_shown_for_every_measure_of_doubt(evaluation) -> None:
    text = printed(evaluation)
    assert line_of(text, "surest answers by").split()[-10:] == [
        part for share in (100, 90, 80, 70, 50) for part in (str(share), "%")
    ]
    for one in evaluation.ranking:
        kept = [f"{100 * value:.1f}" for value in one.accuracies_at_coverages.values()]
        assert line_of(text, one.measure + " ").split()[-5:] == kept


def test_loss_under_a_disturbance_is_shown_with_its_interval(evaluation) -> None:
    text = printed(evaluation)
    lost = evaluation.robustness[1].accuracy_lost
    assert f"{100 * lost.value:.1f} ({100 * lost.low:.1f} to {100 * lost.high:.1f})" in line_of(text, "babble 10 dB")


def test_listeners_are_shown_only_where_there_are_votes(evaluation) -> None:
    text = printed(evaluation)
    human = evaluation.human
    assert line_of(text, "plurality of listeners, a tie is wrong").split()[-2:] == [
        "60", f"{100 * human.plurality_accuracy:.1f}"
    ]  # fmt: skip
    assert line_of(text, "a single listener").split()[-2:] == ["7,442", "40.9"]
    assert line_of(text, "this model").split()[-1] == f"{100 * human.model_accuracy:.1f}"
    assert "listener" not in printed(dataclasses.replace(evaluation, human=None))


def test_each_table_has_its_protocol(evaluation) -> None:
    protocols = [line for line in printed(evaluation).splitlines() if line.startswith("Protocol: ")]
    assert protocols[0] == "Protocol: speakers unseen in training; made up for a test"
    assert len(protocols) == 5


def test_group_that_the_model_knew_otherwise_says_so() -> None:
    answers = [
        make_answer(label=Emotion.SAD, answer=Emotion.SAD, name="1", sex="female"),
        make_answer(label=Emotion.SAD, answer=Emotion.SAD, name="2", sex="male", exposure=Exposure.LABEL_HEARD),
    ]
    text = " ".join(printed(make_evaluation(answers, has_robustness=False)).split())
    assert "Protocol: mixed: 50% recordings heard in training, with their labels" in text
    assert "for sex: female, otherwise alike: speakers unseen in training" in text
    assert "for sex: male, otherwise alike: recordings heard in training, with their labels" in text


def test_nothing_scored_is_still_printed() -> None:
    assert line_of(printed(make_evaluation([], has_robustness=False)), "pooled").split()[1] == "0"
