"""The report in HTML and the model card in Markdown."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import PurePosixPath
from xml.etree import ElementTree

import pytest

from core.domain import Emotion
from tests.unit.training.answers import draw_answers, make_answer, make_evaluation
from training.report import (
    cross_corpus_matrix,
    publish_model_card,
    reliability_svg,
    report_html,
    scores_for_card,
    write_model_card,
)
from training.scores import EMOTIONS, evaluation_to_json, score_humans

CARD = {
    "name": "made-up",
    "version": "made-up-123",
    "description": "A model that was never trained.",
    "emotions": ["sad", "angry"],
    "licence": "CC BY-NC-SA 4.0",
    "is_commercial_use_allowed": False,
    "created_at": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture(scope="module")
def evaluation():
    return make_evaluation()


@pytest.fixture(scope="module")
def page(evaluation) -> str:
    return report_html(evaluation)


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_report_needs_nothing_from_elsewhere(page) -> None:
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", page)
    assert "@import" not in without_scripts(page)


def test_report_shows_the_protocol_in_every_section(page, evaluation) -> None:
    sections = re.findall(r"<section>.*?</section>", without_scripts(page), flags=re.DOTALL)
    assert len(sections) == 8
    assert all("Protocol: speakers unseen in training; " in section for section in sections)
    assert evaluation.protocol in page


def test_report_shows_the_scores_that_were_measured(page, evaluation) -> None:
    text = without_scripts(page)
    for group in (evaluation.pooled, *evaluation.by_corpus):
        value = group.accuracy
        assert f"{100 * value.value:.1f} ({100 * value.low:.1f} to {100 * value.high:.1f})" in text
    assert evaluation.ranking_verdict in text
    assert "babble 10 dB" in text


def test_names_from_outside_are_shown_as_text(evaluation) -> None:
    answers = [
        make_answer(label=Emotion.SAD, answer=Emotion.SAD, corpus="<script>alert(1)</script>", name=str(n))
        for n in (1, 2)
    ]
    assert "<script>alert(1)" not in without_scripts(report_html(make_evaluation(answers)))
    assert "&lt;script&gt;alert(1)" in report_html(make_evaluation(answers))


def test_report_of_nothing_is_still_a_page() -> None:
    assert "0 of 0 recordings" in report_html(make_evaluation([], has_robustness=False))


def test_model_card_says_terms_data_scores_and_protocol(evaluation) -> None:
    entry = scores_for_card(evaluation, title="80/10/10 split, test part")
    data = {
        "corpora": {
            "RAVDESS": {"n_recordings": 1079, "n_labelled": 900, "n_speakers": 20, "hours": 1.1, "licence": "CC"}
        },
        "manifest_sha256": "ab" * 32,
    }
    text = write_model_card({**CARD, "data": data, "scores": [entry], "protocol": "as it is", "caveats": ["Acted."]})
    assert "| commercial use | **not allowed** |" in text
    assert "| RAVDESS | 1,079 | 900 | 20 | 1.10 | CC |" in text
    assert f"Protocol: {evaluation.protocol}." in text
    pooled = evaluation.pooled
    assert f"| pooled | 120 | 10 | {100 * pooled.accuracy.value:.1f} (" in text
    assert evaluation.ranking_verdict in text
    assert "| babble 10 dB |" in text
    assert "- Acted." in text


def test_entry_for_a_card_survives_json(evaluation) -> None:
    entry = scores_for_card(evaluation, title="t")
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry


def test_card_without_scores_says_so() -> None:
    text = write_model_card(CARD)
    assert "Not measured yet." in text
    assert "does not say which corpora" in text


def test_card_of_a_training_run_is_readable_too() -> None:
    entry = {
        "title": "fold 1",
        "protocol": "speaker-independent",
        "groups": [
            {
                "kind": "corpus",
                "name": "SAVEE",
                "n_recordings": 10,
                "n_speakers": 1,
                "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
                "unweighted_average_recall": {"value": 0.5, "low": 0.4, "high": 0.6},
                "macro_f1": {"value": 0.5, "low": 0.4, "high": 0.6},
                "expected_calibration_error": 0.04,
            }
        ],
        "reliability": [{"confidence": 0.5, "accuracy": 0.5, "n": 10}],
        "risk_coverage": {
            "mutual_information": {"error_ranking_auroc": 0.7, "accuracies_at_coverages": {"1.0": 0.5, "0.9": 0.6}}
        },
    }
    formats = [{"number_format": "int8", "encoder_mb": 1.25}]
    text = write_model_card({**CARD, "scores": [entry], "number_formats": formats})
    assert "| SAVEE | 10 | 1 | 50.0 (40.0 to 60.0) |" in text
    assert "right at 100 % | right at 90 %" in text
    assert "| mutual information | 0.700 | - | 50.0 | 60.0 |" in text
    assert "| int8 | 1.25 |" in text
    assert "![Reliability diagram](made-up-reliability-1.svg)" in text


def test_accuracy_by_number_format_states_its_protocol() -> None:
    table = [{"number_format": "int8", "encoder_mb": 6.12, "accuracy": 0.72, "n_recordings": 400}]
    text = write_model_card({**CARD, "number_formats": table})
    _, section = text.split("### Number formats")
    assert (
        "recordings of the test part of fold 1 of 5, answered by a head fitted inside that fold, through the encoder "
        "that ships, which heard these recordings without labels."
    ) in section
    assert "| number format | encoder MB | accuracy | n recordings |" in section
    frozen = write_model_card({**CARD, "number_formats": table, "encoder": {"name": "somebody's"}})
    assert "through the encoder that ships, which is frozen." in frozen


def test_sizes_of_head_and_total_stand_beside_that_of_the_encoder() -> None:
    old = {"number_format": "float32", "encoder_mb": 23.5, "cpu_ms_for_5_s": 30.4}
    new = {"number_format": "int8", "encoder_mb": 6.12, "cpu_ms_for_5_s": 9.5, "head_mb": 0.75, "total_mb": 6.87}
    text = write_model_card({**CARD, "number_formats": [old, new]})
    assert "| number format | encoder MB | head MB | total MB | CPU ms for 5 s |" in text
    assert "| float32 | 23.5 | - | - | 30.4 |" in text
    assert "| int8 | 6.12 | 0.75 | 6.87 | 9.5 |" in text
    assert "Protocol of the accuracy" not in text


def folds_of(evaluation, *, n_folds: int = 5) -> list[dict[str, object]]:
    return [
        scores_for_card(
            dataclasses.replace(
                evaluation, protocol=f"speakers unseen in training; grouped fold {number} of {n_folds}"
            ),
            title=f"Unseen speakers, fold {number} of {n_folds}",
        )
        for number in range(1, n_folds + 1)
    ]


def test_scores_of_single_folds_are_one_table(evaluation) -> None:
    whole = scores_for_card(evaluation, title="Unseen speakers, folds 1 and 2 of 5")
    last = scores_for_card(evaluation, title="80/10/10 split, test part")
    text = write_model_card({**CARD, "scores": [whole, *folds_of(evaluation), last]})
    headings = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)
    assert headings == ["Unseen speakers, folds 1 and 2 of 5", "Unseen speakers, fold by fold", last["title"]]
    assert "Protocol: speakers unseen in training; grouped fold N of 5." in text
    assert "| fold | n | speakers | accuracy | UAR | macro F1 | ECE | majority | random | CREMA-D | RAVDESS |\n" in text
    rows = re.findall(r"^\| ([1-5]) \| 120 \| 10 \| (.*) \|$", text, flags=re.MULTILINE)
    assert [number for number, _ in rows] == list("12345")
    by_corpus = {group.name: f"{100 * group.accuracy.value:.1f}" for group in evaluation.by_corpus}
    assert rows[0][1].split(" | ")[-2:] == [by_corpus["CREMA-D"], by_corpus["RAVDESS"]]
    assert len(re.findall(r"!\[Reliability diagram\]", text)) == 2


def test_folds_heard_otherwise_keep_their_own_protocols(evaluation) -> None:
    one, two = folds_of(evaluation, n_folds=2)
    text = write_model_card({**CARD, "scores": [one, {**two, "protocol": "all heard; grouped fold 2 of 2"}]})
    assert "Protocol: speakers unseen in training; grouped fold 1 of 2.\n" in text
    assert "Protocol: all heard; grouped fold 2 of 2.\n" in text


def test_only_fold_is_shown_in_full(evaluation) -> None:
    text = write_model_card({**CARD, "scores": folds_of(evaluation, n_folds=1)})
    assert "### Unseen speakers, fold 1 of 1" in text
    assert evaluation.ranking_verdict in text


def test_listeners_are_shown_on_the_card(evaluation) -> None:
    # Two of CREMA-D's recordings labelled angry: one vote agrees, one is a tie that holds the label.
    labelled = [one for one in draw_answers() if one.row.corpus == "CREMA-D" and one.row.emotion == Emotion.ANGRY][:2]
    first, second = (PurePosixPath(one.row.path).stem for one in labelled)
    votes = {first: (Emotion.ANGRY,), second: (Emotion.ANGRY, Emotion.SAD)}
    judged = dataclasses.replace(evaluation, human=score_humans(draw_answers(), votes, known=EMOTIONS))
    text = write_model_card({**CARD, "scores": [scores_for_card(judged, title="t")]})
    assert (
        "On these 2 CREMA-D recordings the plurality of listeners to the voice alone names the acted emotion in 50.0 % "
        "(ties counted as wrong; 100.0 % where a tie that holds it counts as right), a single listener in 40.9 % "
    ) in text
    folds = write_model_card({**CARD, "scores": folds_of(judged, n_folds=2)})
    assert "| RAVDESS | plurality of listeners |\n" in folds
    assert re.search(r"^\| 2 \| 120 \| .* \| 50.0 \|$", folds, flags=re.MULTILINE)


def test_diagrams_that_a_card_no_longer_shows_are_removed(tmp_path, evaluation) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("made-up-reliability-3.svg", "made-up-too-reliability-3.svg"):
        (docs / name).write_text("<svg/>")
    card = {**CARD, "scores": [*folds_of(evaluation), scores_for_card(evaluation, title="t")]}
    (tmp_path / "card.json").write_text(json.dumps(card))
    page = publish_model_card(tmp_path, docs)
    linked = re.findall(r"!\[.*\]\((.*)\)", page.read_text())
    assert {path.name for path in docs.glob("*.svg")} == {*linked, "made-up-too-reliability-3.svg"}


def test_published_card_has_its_diagrams_beside_it(tmp_path, evaluation) -> None:
    card = {**CARD, "scores": [scores_for_card(evaluation, title="t")]}
    (tmp_path / "card.json").write_text(json.dumps(card))
    page = publish_model_card(tmp_path, tmp_path / "docs")
    assert page == tmp_path / "docs" / "made-up.md"
    (linked,) = re.findall(r"!\[.*\]\((.*)\)", page.read_text())
    assert (tmp_path / "docs" / linked).exists()


def test_reliability_diagram_is_an_image_with_a_mark_for_each_bin(evaluation) -> None:
    bins = [
        {"mean_confidence": 0.25, "accuracy": 0.5, "n_clips": 1},
        {"mean_confidence": 0.75, "accuracy": 1.0, "n_clips": 3},
    ]
    circles = [
        element for element in ElementTree.fromstring(reliability_svg(bins)).iter() if element.tag.endswith("circle")
    ]
    # A quarter and three quarters of the side of 232 from the left margin of 44; right answers grow upwards.
    assert [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in circles] == [(102.0, 160.0), (218.0, 44.0)]


def test_matrix_marks_corpora_that_a_model_heard(evaluation) -> None:
    read = json.loads(evaluation_to_json(evaluation))
    heard = {**read, "model": {**read["model"], "name": "one", "corpora_heard": ["CREMA-D"]}}
    unknown = {**read, "model": {**read["model"], "name": "two", "corpora_heard": None}}
    lines = cross_corpus_matrix([heard, unknown]).splitlines()
    assert lines[0] == "| model, trained on | CREMA-D | RAVDESS |"
    assert re.fullmatch(r"\| one, CREMA-D \| [\d.]+\* \| [\d.]+ \|", lines[2])
    assert re.fullmatch(r"\| two, not stated \| [\d.]+\? \| [\d.]+\? \|", lines[3])
