"""A manifest scored by the served way: real files, a real (tiny) model, the command line."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from core.config import REPOSITORY, Settings
from core.domain import NOBODY, Emotion, Source
from core.inference.recogniser import Recogniser
from core.workbench import open_workbench
from tests.bundles import TINY, copy_of_tiny
from tests.sounds import voice, voice_wav, wav_bytes
from training.__main__ import app
from training.corpora import ManifestRow, write_manifest
from training.disturbances import DISTURBANCES
from training.evaluate import N_ROBUSTNESS, Answering, answer_recording, console, evaluate_model
from training.scores import EMOTIONS
from training.training_record import Exposure, read_training_record, write_training_record

N_SPEAKERS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, list[ManifestRow]]:
    """Nine recordings of three speakers with their manifest; the paths hold folders."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(9):
        row = ManifestRow(
            path=f"{('RAVDESS', 'CREMA-D')[number % 2]}/{number}.wav",
            corpus=("RAVDESS", "CREMA-D")[number % 2],
            speaker=f"speaker-{number % N_SPEAKERS}",
            sex=("female", "male")[number % 2],
            language="en",
            emotion=list(Emotion)[number % 8],
            intensity="",
            statement="",
            duration_s=1.0 + 0.1 * number,
            sha256_original=f"{number:064x}"[::-1],
            licence="ODbL 1.0",
        )
        path = folder / row.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(voice_wav(seconds=row.duration_s, pitch_hz=100 + 15 * number))
        rows.append(row)
    write_manifest(folder / "manifest.csv", rows)
    return folder, rows


@pytest.fixture(scope="module")
def answering() -> Answering:
    return Answering(
        recogniser=Recogniser.open(TINY, n_interpreters=2), settings=Settings(), record=read_training_record(TINY)
    )


def evaluate(answering: Answering, rows: list[ManifestRow], folder: Path, **changes):
    return evaluate_model(answering, rows, folder, manifest_name="manifest.csv", n_resamples=20, **changes)


def test_answers_are_those_of_the_api_and_the_pages(corpus, answering, tmp_path) -> None:
    folder, rows = corpus
    data = (folder / rows[0].path).read_bytes()
    scored = answer_recording(answering, rows[0], data)
    copy_of_tiny(tmp_path / "models")
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", model="tiny")
    workbench = open_workbench(settings)
    try:
        prediction = workbench.analyse(data, name="0.wav", source=Source.API, owner=NOBODY).prediction
    finally:
        workbench.close()
    assert scored.probabilities == tuple(prediction.probabilities[emotion] for emotion in EMOTIONS)
    assert scored.predictive_entropy_nats == prediction.uncertainty.predictive_entropy_nats
    assert scored.mutual_information_nats == prediction.uncertainty.mutual_information_nats
    assert scored.is_abstained == prediction.abstained


def test_plain_confidence_is_that_of_one_pass_with_every_unit_kept(corpus, answering) -> None:
    folder, rows = corpus
    plain = answering.recogniser.without_dropout()
    embeddings = np.random.default_rng(0).standard_normal((4, plain.parameters.n_dims)).astype(np.float32)
    passes = plain.pass_probabilities(embeddings, n_passes=5, seed=3)
    assert np.array_equal(passes, np.repeat(passes[:1], 5, axis=0))
    assert not np.array_equal(passes[0], answering.recogniser.pass_probabilities(embeddings, n_passes=5, seed=3)[0])
    scored = answer_recording(answering, rows[0], (folder / rows[0].path).read_bytes())
    assert 1 / 8 <= scored.plain_confidence <= 1


def test_one_bad_file_never_loses_the_others(corpus, answering, tmp_path) -> None:
    folder, rows = corpus
    bad = {
        "empty.wav": b"",
        "text.wav": b"this is no recording" * 10,
        "silent.wav": wav_bytes(np.zeros(16_000, np.float32)),
        "short.wav": voice_wav(seconds=0.1),
        "clipped.wav": wav_bytes(np.ones(16_000, np.float32)),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.wav").write_bytes((folder / rows[0].path).read_bytes())
    names = [*bad, "good.wav", "missing.wav"]
    evaluation, scored = evaluate(answering, [dataclasses.replace(rows[0], path=name) for name in names], tmp_path)
    assert [one.row.path for one in scored] == ["good.wav"]
    assert [problem.path for problem in evaluation.problems] == [*bad, "missing.wav"]
    assert all(problem.reason for problem in evaluation.problems)
    assert evaluation.pooled.n_recordings == 1


def test_shortest_and_long_recordings_are_scored(corpus, answering, tmp_path) -> None:
    _, rows = corpus
    for seconds in (0.3, 40.0):
        samples = np.tile(voice(seconds=min(seconds, 4.0)), int(np.ceil(seconds / 4.0)))
        (tmp_path / f"{seconds}.wav").write_bytes(wav_bytes(samples))
    made = [dataclasses.replace(rows[0], path=f"{seconds}.wav", duration_s=seconds) for seconds in (0.3, 40.0)]
    evaluation, scored = evaluate(answering, made, tmp_path)
    assert len(scored) == 2
    assert not evaluation.problems


def test_number_of_workers_changes_no_figure(corpus, answering) -> None:
    folder, rows = corpus
    one, _ = evaluate(answering, rows, folder, n_workers=1, n_robustness=2)
    two, _ = evaluate(answering, rows, folder, n_workers=2, n_robustness=2)
    assert dataclasses.replace(one, created_at="") == dataclasses.replace(two, created_at="")


def test_robustness_is_measured_in_every_way_on_the_same_sample(corpus, answering) -> None:
    folder, rows = corpus
    advanced: list[int] = []
    started: list[int] = []
    evaluation, _ = evaluate(answering, rows, folder, n_robustness=4, started=started.append, advance=advanced.append)
    assert [row.disturbance for row in evaluation.robustness] == ["clean", *(one.name for one in DISTURBANCES)]
    assert {row.n_recordings + row.n_refused for row in evaluation.robustness} == {4}
    assert evaluation.robustness[0].accuracy_lost.value == 0.0
    assert sum(advanced) == started[0] == 9 + 4 * (1 + len(DISTURBANCES))


def test_recordings_of_one_speaker_alone_can_be_disturbed_by_babble(corpus, answering) -> None:
    folder, rows = corpus
    evaluation, _ = evaluate(answering, rows[:1], folder, n_robustness=1)
    assert {row.n_recordings for row in evaluation.robustness} == {1}


def test_scores_say_which_speakers_and_recordings_were_heard_in_training(corpus, tmp_path) -> None:
    folder, rows = corpus
    model = copy_of_tiny(tmp_path)
    heard = [row for row in rows if row.speaker == "speaker-0"]
    data = write_training_record(model, labelled=heard[:1], unlabelled=heard[1:2])
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps(card | {"data": data}))
    answering = Answering(recogniser=Recogniser.open(model), settings=Settings(), record=read_training_record(model))
    evaluation, _ = evaluate(answering, rows, folder)
    counts = {group.name: group.n_recordings for group in evaluation.by_exposure}
    assert counts == {
        Exposure.LABEL_HEARD: 1,
        Exposure.RECORDING_HEARD: 1,
        Exposure.SPEAKER_HEARD: 1,
        Exposure.SPEAKER_UNSEEN: 6,
    }
    assert evaluation.protocol.startswith("mixed: 11% recordings heard in training, with their labels")
    unseen, _ = evaluate(answering, [row for row in rows if row.speaker != "speaker-0"], folder)
    assert unseen.protocol.startswith("speakers unseen in training; ")
    assert all(one.is_heard_in_training for one in evaluation.cross_corpus.corpora if one.corpus in data["corpora"])


# -- command line


@pytest.fixture
def run(tmp_path, monkeypatch):
    copy_of_tiny(tmp_path / "models")
    monkeypatch.setenv("TELEPATHY_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr(console, "width", 400)  # wider than any folder of a test

    def invoke(*arguments: str):
        return CliRunner().invoke(app, arguments)

    return invoke


def test_command_writes_figures_report_and_answers(corpus, run, tmp_path) -> None:
    folder, rows = corpus
    outputs = [tmp_path / name for name in ("o.json", "o.html", "o.csv")]
    result = run(
        "evaluate", "--model", "tiny", "--manifest", str(folder / "manifest.csv"), "--audio", str(folder),
        "--json", str(outputs[0]), "--html", str(outputs[1]), "--predictions", str(outputs[2]),
        "--resamples", "20", "--robustness", "2",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    described = json.loads(outputs[0].read_text())
    assert described["manifest"]["n_scored"] == len(rows)
    assert described["model"]["name"] == "tiny"
    assert "Protocol: overlap with the training data unknown; all of manifest.csv; served LiteRT model tiny-" in (
        result.output
    )
    assert "<title>Evaluation of tiny</title>" in outputs[1].read_text()
    with outputs[2].open() as file:
        answers = list(csv.DictReader(file))
    assert [answer["path"] for answer in answers] == [row.path for row in rows]
    correct = np.mean([answer["label"] == answer["answer"] for answer in answers])
    assert described["pooled"]["accuracy"]["value"] == pytest.approx(correct, abs=1e-6)
    matrix = run("cross-corpus", str(outputs[0]), str(outputs[0]))
    assert matrix.exit_code == 0
    assert "| model, trained on | CREMA-D | RAVDESS |" in matrix.output


def test_command_scores_only_a_part_of_a_split(corpus, run, tmp_path) -> None:
    folder, rows = corpus
    split = {
        "name": "by_hand", "protocol": "chosen by hand", "seed": 0, "manifest_sha256": "",
        "training": [], "validation": [], "test": [row.path for row in rows[:4]],
    }  # fmt: skip
    (tmp_path / "split.json").write_text(json.dumps(split))
    result = run(
        "evaluate", "--model", "tiny", "--manifest", str(folder / "manifest.csv"), "--audio", str(folder),
        "--split", str(tmp_path / "split.json"), "--resamples", "10", "--robustness", "0",
        "--json", str(tmp_path / "o.json"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    described = json.loads((tmp_path / "o.json").read_text())
    assert described["pooled"]["n_recordings"] == 4
    assert "test part of by_hand, chosen by hand of manifest.csv" in described["protocol"]
    assert described["robustness"] == []


def test_command_disturbs_recordings_unless_told_not_to(corpus, run, tmp_path) -> None:
    folder, rows = corpus
    write_manifest(tmp_path / "m.csv", rows[:2])
    result = run(
        "evaluate", "--model", "tiny", "--manifest", str(tmp_path / "m.csv"), "--audio", str(folder),
        "--resamples", "10", "--json", str(tmp_path / "o.json"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    described = json.loads((tmp_path / "o.json").read_text())
    assert [row["n_recordings"] + row["n_refused"] for row in described["robustness"]] == [2] * (1 + len(DISTURBANCES))
    assert "babble 0 dB" in result.output


def test_number_of_recordings_disturbed_is_said_alike_by_command_and_docs() -> None:
    (option,) = [one for one in get_command(app).commands["evaluate"].params if one.name == "robustness"]
    assert option.default == N_ROBUSTNESS == 200
    assert "all where there are fewer; 0 measures no robustness" in option.help
    docs = (REPOSITORY / "docs" / "evaluation.md").read_text()
    assert f"{N_ROBUSTNESS} if not given: {N_ROBUSTNESS * (1 + len(DISTURBANCES)):,} answers more" in docs


def test_command_names_rows_and_files_that_cannot_be_used(corpus, run, tmp_path) -> None:
    folder, _ = corpus
    text = (folder / "manifest.csv").read_text().replace("neutral", "bored").replace("RAVDESS/2.wav", "gone.wav")
    (tmp_path / "m.csv").write_text(text)
    result = run(
        "evaluate", "--model", "tiny", "--manifest", str(tmp_path / "m.csv"), "--audio", str(folder),
        "--resamples", "10", "--robustness", "0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "emotion is 'bored'" in result.output
    assert "left out: gone.wav" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "nosuch"], "There is no model named 'nosuch'"),
        (["--model", "tiny", "--manifest", "nosuch.csv"], "cannot be used"),
        (["--model", "tiny", "--split", "nosuch.json"], "is not a split"),
    ],
)
def test_command_says_in_a_sentence_what_it_lacks(corpus, run, arguments, sentence) -> None:
    folder, _ = corpus
    given = ["--manifest", str(folder / "manifest.csv"), "--audio", str(folder), *arguments]
    result = run("evaluate", *given)
    assert result.exit_code == 1
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_command_without_a_single_answer_fails(corpus, run, tmp_path) -> None:
    folder, _ = corpus
    result = run("evaluate", "--model", "tiny", "--manifest", str(folder / "manifest.csv"), "--audio", str(tmp_path))
    assert result.exit_code == 1
    assert "No recording could be scored" in result.output


def test_file_that_is_no_evaluation_is_refused(run, tmp_path) -> None:
    (tmp_path / "o.json").write_text('{"schema": "other"}')
    result = run("cross-corpus", str(tmp_path / "o.json"))
    assert result.exit_code == 1
    assert "is no evaluation" in result.output


def test_card_of_a_model_is_written_as_a_page(run, tmp_path) -> None:
    result = run("card", "tiny", "--docs", str(tmp_path / "docs"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "docs" / "tiny.md").read_text().startswith("# Model card: tiny")


def test_models_are_listed_with_their_terms(run, tmp_path) -> None:
    def allow_nothing(card: dict) -> None:
        card |= {"licence": "CC BY-NC-SA 4.0", "is_commercial_use_allowed": False}

    copy_of_tiny(tmp_path / "models", "bound", allow_nothing)
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "card.json").write_text("{}")
    result = run("models")
    assert result.exit_code == 0, result.output
    (bound,) = [line for line in result.output.splitlines() if "CC BY-NC-SA 4.0" in line]
    assert "not allowed" in bound
    assert "not measured" in bound
    assert "broken" in result.output


def test_place_that_cannot_be_written_is_told_before_anything_is_answered(corpus, run, tmp_path) -> None:
    folder, _ = corpus
    (tmp_path / "file").write_text("")
    result = run(
        "evaluate", "--model", "tiny", "--manifest", str(folder / "manifest.csv"), "--audio", str(folder),
        "--json", str(tmp_path / "file" / "o.json"),
    )  # fmt: skip
    assert result.exit_code == 1
    assert "cannot be written" in result.output
    assert "Answering" not in result.output
