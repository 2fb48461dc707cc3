"""From a manifest to a surrogate: measured once, resumed after a kill, scored on speakers held out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from core.config import Settings
from core.domain import Emotion
from core.inference.surrogate import explain_prosody, open_surrogate
from tests.bundles import copy_of_tiny
from tests.sounds import voice, wav_bytes
from training.__main__ import app
from training.corpora import ManifestRow, write_manifest
from training.errors import SurrogateError
from training.prosody_sample import measure_sample, measuring_version
from training.surrogate import TREES_PLAN, make_surrogate


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Ten recordings of five speakers, half of them free for commercial use, and one that is silent."""
    audio = tmp_path_factory.mktemp("audio")
    rows = []
    for number in range(11):
        path = f"A/{number}.wav"
        (audio / "A").mkdir(exist_ok=True)
        sound = voice(seconds=0.8, pitch_hz=110 + 15 * number) if number < 10 else np.zeros(12_800, np.float32)
        (audio / path).write_bytes(wav_bytes(sound))
        rows.append(
            ManifestRow(
                path=path,
                corpus="A",
                speaker=f"A-{number % 5}",
                sex="female",
                language="en",
                emotion=Emotion.NEUTRAL if number % 2 else Emotion.ANGRY,
                intensity="",
                statement="",
                duration_s=0.8,
                sha256_original=f"{number:064d}",
                licence="ODbL 1.0" if number % 5 < 4 else "research only",
            )
        )
    write_manifest(audio / "manifest.csv", rows[:10])
    return audio, rows


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """What was measured of the corpus, and the folder that keeps it."""
    audio, rows = corpus
    folder = tmp_path_factory.mktemp("run")
    return folder, *measure_sample(rows, audio=audio, folder=folder, n_workers=1)


def test_refused_recording_is_named_and_loses_none_of_the_others(run):
    _, measured, problems = run
    assert len(measured) == 10
    assert [problem.path for problem in problems] == ["A/10.wav"]
    assert "silent" in problems[0].reason


def test_measuring_goes_on_after_a_kill_in_the_middle_of_a_line(corpus, run):
    audio, rows = corpus
    folder, measured, _ = run
    kept = folder / f"prosody-{measuring_version()}.csv"
    whole = kept.read_text()
    kept.write_text(whole[:-20])
    again, _ = measure_sample(rows[:10], audio=audio, folder=folder, n_workers=1)
    assert again == measured
    assert kept.read_text() == whole


def test_surrogate_is_made_scored_and_read_back(corpus, run, tmp_path):
    audio, _ = corpus
    folder, measured, _ = run
    copy_of_tiny(tmp_path, "tiny", lambda card: card.update(is_commercial_use_allowed=False))
    fidelity = make_surrogate(
        "tiny",
        models_dir=tmp_path,
        measured=measured,
        audio=audio,
        run=folder,
        settings=Settings(),
        plan={**TREES_PLAN, "max_iter": 5},
    )
    surrogate = open_surrogate(tmp_path / "tiny")
    assert surrogate.fidelity.agreement == fidelity["agreement"]
    assert (surrogate.fidelity.n_recordings, surrogate.fidelity.n_speakers) == (10, 5)
    assert surrogate.corpora == {"A": 10}
    assert surrogate.overview.values.shape[1] == 10
    # So few recordings let no tree split: the answer is the mean, and no measure moved it.
    found = explain_prosody(surrogate, measured[0].prosody, emotion=surrogate.emotions[0])
    assert found.output == pytest.approx(found.base_value)
    assert set(found.values.values()) == {0.0}


def test_surrogate_of_a_model_for_commercial_use_learns_from_free_recordings_alone(corpus, run, tmp_path):
    audio, _ = corpus
    folder, measured, _ = run
    copy_of_tiny(tmp_path, "tiny", lambda card: card.update(is_commercial_use_allowed=True))
    with pytest.raises(SurrogateError, match="4 speakers are too few; 5 are needed"):
        make_surrogate("tiny", models_dir=tmp_path, measured=measured, audio=audio, run=folder, settings=Settings())


def test_commands_tell_a_missing_model_and_too_few_recordings_in_one_sentence(corpus, run, tmp_path):
    audio, _ = corpus
    places = ["--manifest", str(audio / "manifest.csv"), "--audio", str(audio), "--run", str(run[0])]
    told = CliRunner().invoke(app, ["surrogate", "--model", "nobody", "--models", str(tmp_path), *places])
    assert told.exit_code == 1
    assert "There is no model named 'nobody'" in told.output
    out = tmp_path / "prosody.json"
    assert CliRunner().invoke(app, ["references", "--out", str(out), *places]).exit_code == 0
    assert json.loads(out.read_text())["references"] == []
