"""A head of one corpus is asked about the others, among the emotions that both have."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from core.domain import Emotion
from training.cache import Recordings
from training.compare_commands import app
from training.corpora import ManifestRow
from training.cross_corpus import cross_corpus, cross_corpus_table
from training.heads import HeadPlan
from training.judge import Embeddings, read_embeddings

EMOTIONS = {
    "A": (Emotion.SAD, Emotion.ANGRY, Emotion.CALM),
    "B": (Emotion.SAD, Emotion.ANGRY),
    "C": (Emotion.ANGRY, Emotion.CALM),
}
PLAN = HeadPlan(width=16, n_members=1, n_epochs=15, learning_rate=1e-2, batch_size=16, are_corpora_apart=True)


@pytest.fixture
def material():
    """A and B agree on sad and angry; C calls the other way round what A calls angry and calm."""
    generator = np.random.default_rng(0)
    centre = {emotion: generator.normal(0, 3, 6) for emotion in Emotion}
    swapped = {Emotion.ANGRY: Emotion.CALM, Emotion.CALM: Emotion.ANGRY}
    rows, embeddings = [], []
    for corpus, emotions in EMOTIONS.items():
        for number in range(60):
            emotion = emotions[number % len(emotions)]
            heard_as = swapped[emotion] if corpus == "C" else emotion
            embeddings.append(centre[heard_as] + generator.normal(0, 0.5, 6))
            rows.append(
                ManifestRow(
                    path=f"{corpus}{number}",
                    corpus=corpus,
                    speaker=f"{corpus}-1",
                    sex="",
                    language="en",
                    emotion=emotion,
                    intensity="",
                    statement="",
                    duration_s=1.0,
                    sha256_original="",
                    licence="",
                )
            )
    ones = np.ones(len(rows), np.int64)
    recordings = Recordings(rows=tuple(rows), n_frames=ones, offsets=np.append(0, ones.cumsum()), samples=ones)
    found = np.array(embeddings, np.float32)
    return Embeddings(clean=found, disturbed=found), recordings


def test_recall_among_the_emotions_that_both_have(material) -> None:
    found = {
        (one.learnt_from, one.asked_about): one for one in cross_corpus(*material, corpora=("A", "B", "C"), plan=PLAN)
    }
    assert len(found) == 6
    assert found["A", "B"].unweighted_average_recall > 0.9
    assert (found["A", "B"].n_emotions, found["A", "B"].n_recordings) == (2, 60)
    assert found["A", "C"].unweighted_average_recall < 0.4
    assert (found["B", "C"].n_emotions, found["B", "C"].n_recordings) == (1, 30)


def test_the_table_has_a_row_and_a_column_for_each_corpus(material) -> None:
    table = cross_corpus_table(cross_corpus(*material, corpora=("A", "B"), plan=PLAN)).splitlines()
    assert table[0] == "| learnt from | A | B |"
    assert table[2].startswith("| A |  | ")
    assert table[2].endswith("(2) |")
    assert len(table) == 4


def test_the_command_says_what_is_missing_and_how_to_make_it(monkeypatch, tmp_path) -> None:
    def nothing(places):
        return read_embeddings(places.run / "embeddings.npz", n_copies=1)

    monkeypatch.setattr("training.cross_corpus.compare_corpora", nothing)
    run = tmp_path / ("a_folder_with_a_name_that_no_line_of_a_terminal_holds" * 2)
    result = CliRunner().invoke(app, ["corpora", "--run", str(run)])
    assert result.exit_code == 1
    assert f"{run / 'embeddings.npz'} is missing" in result.output
    assert f"train --model telepathy --run {run}" in result.output
