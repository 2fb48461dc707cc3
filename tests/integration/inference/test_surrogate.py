"""Surrogates: the trees that are read are those that were fitted, reasons sum, and nothing passes for the model."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from core.config import REPOSITORY
from core.domain import Emotion
from core.errors import (
    DamagedModelError,
    FeatureMismatchError,
    InvalidParameterError,
    SurrogateMismatchError,
    SurrogateNotFoundError,
)
from core.inference.registry import read_card
from core.inference.surrogate import (
    SURROGATE_MEASURES,
    EmotionTrees,
    answer_by_prosody,
    describe_attribution,
    explain_many,
    explain_prosody,
    open_surrogate,
    predict_log_odds,
    rank_measures,
    surrogate_vector,
)
from tests.bundles import copy_of_tiny
from tests.prosodies import drawn_voices, voice
from training.surrogate import TREES_PLAN, fit_imitation, log_odds, score_imitation, write_surrogate

PITCH = SURROGATE_MEASURES.index("pitch_median_hz")
PAUSE = SURROGATE_MEASURES.index("pause_mean_s")
VOICES = drawn_voices(240)
MATRIX = np.stack([surrogate_vector(one) for one in VOICES])
SPEAKERS = [f"S-{number % 8}" for number in range(len(VOICES))]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A surrogate beside a copy of the tiny model, of answers that rest on pitch and pauses alone."""
    folder = copy_of_tiny(tmp_path_factory.mktemp("models"), "tiny")
    card = read_card(folder)
    n_emotions = len(card.emotions)
    logits = np.zeros((len(VOICES), n_emotions))
    logits[:, 0] = 4 * np.log(MATRIX[:, PITCH] / 200)
    logits[:, 1] = np.where(np.isnan(MATRIX[:, PAUSE]), -1.0, 1.0)
    powers = np.exp(logits)
    targets = log_odds(powers / powers.sum(axis=1, keepdims=True))
    imitation = fit_imitation(MATRIX, targets, SPEAKERS, plan={**TREES_PLAN, "max_iter": 15, "learning_rate": 0.3})
    fields = {
        "schema": "telepathy-surrogate-1",
        "model_version": card.version,
        "emotions": [str(emotion) for emotion in card.emotions],
        "measures": list(SURROGATE_MEASURES),
        "fidelity": score_imitation(
            imitation.held_out,
            targets,
            speakers=SPEAKERS,
            corpora=["A", "B"] * (len(VOICES) // 2),
            emotions=card.emotions,
            protocol="made up",
        ),
        "corpora": {"A": 120, "B": 120},
        "licence": "none",
        "duration_s": {"shortest": 1.0, "longest": 5.0},
    }
    write_surrogate(folder, fields, imitation.regressors, shown=VOICES[:40])
    return folder, imitation


@pytest.fixture(scope="module")
def surrogate(made):
    return open_surrogate(made[0])


def copied(made, tmp_path, change=lambda fields: None):
    """The surrogate in a folder of its own, its JSON changed."""
    folder = copy_of_tiny(tmp_path, "tiny")
    (folder / "surrogate.npz").write_bytes((made[0] / "surrogate.npz").read_bytes())
    fields = json.loads((made[0] / "surrogate.json").read_text())
    change(fields)
    (folder / "surrogate.json").write_text(json.dumps(fields))
    return folder


def test_trees_read_from_file_say_what_scikit_learn_says(made, surrogate):
    expected = np.stack([regressor.predict(MATRIX) for regressor in made[1].regressors], axis=1)
    np.testing.assert_allclose(predict_log_odds(surrogate, MATRIX), expected, rtol=0, atol=1e-12)


def test_one_tree_by_hand():
    # One split of pitch at 200 Hz: 3 recordings below say -1, 1 above says 2, without a pitch like below.
    tree = EmotionTrees(
        base=0.5,
        starts=np.array([0, 3]),
        left=np.array([1, -1, -1], dtype=np.int32),
        right=np.array([2, -1, -1], dtype=np.int32),
        missing=np.array([1, -1, -1], dtype=np.int32),
        measure=np.array([PITCH, -2, -2], dtype=np.int32),
        threshold=np.array([200.0, 0.0, 0.0]),
        value=np.array([0.0, -1.0, 2.0]),
        n_recordings=np.array([4.0, 3.0, 1.0]),
    )
    emotion = Emotion.ANGRY
    by_hand = _surrogate_of(tree, emotion)
    found = explain_prosody(by_hand, voice(pitch_median_hz=300.0), emotion=emotion)
    assert found.base_value == pytest.approx(0.5 + (3 * -1 + 1 * 2) / 4)
    assert found.values["pitch_median_hz"] == pytest.approx(2.0 - (-0.25))
    assert sum(abs(value) for value in found.values.values()) == pytest.approx(2.25)
    assert found.output == pytest.approx(2.5)
    assert explain_prosody(by_hand, voice(pitch_median_hz=200.0), emotion=emotion).output == pytest.approx(-0.5)
    assert explain_prosody(by_hand, voice(pitch_median_hz=None), emotion=emotion).output == pytest.approx(-0.5)


@pytest.mark.parametrize("contrast", [None, 1])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_base_and_reasons_sum_to_the_output(surrogate, number, contrast):
    emotions = surrogate.emotions
    for one in VOICES[number:30:7]:
        against = None if contrast is None else emotions[3]
        found = explain_prosody(surrogate, one, emotion=emotions[number], contrast=against)
        assert found.base_value + sum(found.values.values()) == pytest.approx(found.output, rel=1e-6, abs=1e-9)


def test_contrast_explains_the_ratio_of_two_probabilities(surrogate):
    first, other = surrogate.emotions[:2]
    found = explain_prosody(surrogate, VOICES[3], emotion=first, contrast=other)
    answer = found.surrogate_probabilities
    assert found.output == pytest.approx(np.log(answer[first] / answer[other]))
    assert sum(answer.values()) == pytest.approx(1.0)


def test_reasons_are_those_that_the_answers_were_made_of(surrogate):
    ranked = [measure for measure, _ in rank_measures(surrogate.overview, surrogate.emotions[0])]
    assert ranked[0] == "pitch_median_hz"
    high = explain_prosody(surrogate, voice(pitch_median_hz=350.0), emotion=surrogate.emotions[0])
    low = explain_prosody(surrogate, voice(pitch_median_hz=120.0), emotion=surrogate.emotions[0])
    assert high.values["pitch_median_hz"] > 1 > -1 > low.values["pitch_median_hz"]


def test_fidelity_is_measured_on_speakers_held_out_and_beats_the_commonest_emotion(surrogate):
    fidelity = surrogate.fidelity
    assert (fidelity.n_recordings, fidelity.n_speakers) == (240, 8)
    assert fidelity.agreement > fidelity.majority_agreement
    assert fidelity.agreement_interval[0] <= fidelity.agreement <= fidelity.agreement_interval[1]
    assert fidelity.r_squared[surrogate.emotions[0]] > 0.8
    assert set(fidelity.agreement_by_corpus) == {"A", "B"}


def test_waterfall_in_words_names_values_sizes_and_whose_reasons_they_are(surrogate):
    emotion = surrogate.emotions[0]
    found = explain_prosody(surrogate, voice(pitch_median_hz=350.0), emotion=emotion)
    sentences = describe_attribution(found)
    assert sentences[0].startswith(f"Raised towards {emotion} by: pitch 350 Hz (+")
    assert any(sentence.startswith("These are the reasons of a surrogate, not of the model") for sentence in sentences)
    assert not any("disagree" in sentence for sentence in sentences)


def test_measure_without_a_value_is_told_as_such(surrogate):
    found = explain_prosody(surrogate, voice(), emotion=surrogate.emotions[1])
    found = replace(found, values=dict.fromkeys(found.values, 0.0) | {"pause_mean_s": -0.6})
    assert any("mean pause not measurable (-0.6)" in sentence for sentence in describe_attribution(found))


def test_disagreement_between_surrogate_and_model_is_told(surrogate):
    said = answer_by_prosody(surrogate, VOICES[0])
    named = max(said, key=lambda emotion: said[emotion])
    other = next(emotion for emotion in surrogate.emotions if emotion is not named)
    model = {emotion: 0.9 if emotion is other else 0.1 / (len(said) - 1) for emotion in said}
    found = explain_prosody(surrogate, VOICES[0], emotion=other, model_probabilities=model)
    assert found.is_agreed is False
    assert f"Here they disagree: the surrogate says {named}, the model {other}." in " ".join(
        describe_attribution(found)
    )
    assert explain_prosody(surrogate, VOICES[0], emotion=other, model_probabilities=said).is_agreed is True
    assert explain_prosody(surrogate, VOICES[0], emotion=other).is_agreed is None


def test_speech_longer_than_all_it_was_fitted_to_is_told(surrogate):
    found = explain_prosody(surrogate, voice(duration_s=40.0), emotion=surrogate.emotions[0])
    assert "shorter or longer than all" in describe_attribution(found)[-1]


def test_overview_kept_beside_it_is_the_one_it_would_give_anew(surrogate):
    anew = explain_many(surrogate, VOICES[:40])
    kept = surrogate.overview
    assert kept.values.shape == (len(surrogate.emotions), 40, len(SURROGATE_MEASURES))
    step = np.abs(anew.values).max() / 32767
    np.testing.assert_allclose(kept.values, anew.values, atol=step)
    np.testing.assert_array_equal(kept.measurements, anew.measurements)
    np.testing.assert_allclose(kept.base_values, anew.base_values)


def test_unknown_emotion_and_contrast_with_itself_are_refused(surrogate):
    emotion = surrogate.emotions[0]
    with pytest.raises(InvalidParameterError, match=r"'contrast' is .* another emotion"):
        explain_prosody(surrogate, voice(), emotion=emotion, contrast=emotion)
    few = replace(surrogate, emotions=surrogate.emotions[:2])
    with pytest.raises(InvalidParameterError, match="'emotion' is"):
        explain_prosody(few, voice(), emotion=surrogate.emotions[3])


def test_model_without_surrogate_is_told_how_to_make_one(tmp_path):
    with pytest.raises(SurrogateNotFoundError, match="python -m training surrogate --model tiny"):
        open_surrogate(copy_of_tiny(tmp_path, "tiny"))


def test_surrogate_of_another_version_is_refused_with_both_versions(made, tmp_path):
    folder = copied(made, tmp_path, lambda fields: fields.update(model_version="tiny-0123456789ab"))
    version = read_card(folder).version
    with pytest.raises(SurrogateMismatchError, match=f"imitates version tiny-0123456789ab, but the model is {version}"):
        open_surrogate(folder)


def test_surrogate_of_other_measures_is_refused(made, tmp_path):
    folder = copied(made, tmp_path, lambda fields: fields["measures"].pop())
    with pytest.raises(FeatureMismatchError, match="a surrogate of 16 measures"):
        open_surrogate(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields.pop("fidelity"), "lacks 'fidelity'"),
        (lambda fields: fields.update(trees_sha256="0"), r"surrogate\.npz is not the one"),
        (lambda fields: fields.update(schema="other"), "schema is 'other'"),
        (lambda fields: fields.update(emotions="angry"), "a list is wanted, not str"),
    ],
)
def test_damaged_surrogate_is_refused_with_the_reason(made, tmp_path, change, said):
    with pytest.raises(DamagedModelError, match=said):
        open_surrogate(copied(made, tmp_path, change))


def test_serving_a_surrogate_loads_neither_scikit_learn_nor_tensorflow_and_shap_only_to_explain():
    code = "import core.inference.surrogate, sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=120
    )
    assert not set(done.stdout.split()) & {"shap", "sklearn", "tensorflow", "pandas", "numba"}


def test_shap_once_loaded_is_spared_by_the_garbage_collector():
    code = "from core.inference.surrogate import _shap; import gc; _shap(); print(gc.get_freeze_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=120
    )
    assert int(done.stdout) > 100_000


def _surrogate_of(tree, emotion):
    from core.inference.surrogate import Fidelity, GlobalAttribution, Surrogate

    fidelity = Fidelity(
        protocol="",
        n_recordings=4,
        n_speakers=1,
        agreement=1.0,
        agreement_interval=(1.0, 1.0),
        majority_agreement=1.0,
        agreement_by_corpus={},
        r_squared={},
    )
    overview = GlobalAttribution(
        model_version="",
        emotions=(emotion,),
        measures=SURROGATE_MEASURES,
        values=np.zeros((1, 0, len(SURROGATE_MEASURES)), np.float32),
        measurements=np.zeros((0, len(SURROGATE_MEASURES)), np.float32),
        base_values=np.zeros(1),
    )
    return Surrogate(
        model_name="by-hand",
        model_version="by-hand-1",
        emotions=(emotion,),
        fidelity=fidelity,
        corpora={},
        licence="",
        duration_range_s=(1.0, 5.0),
        trees={emotion: tree},
        overview=overview,
    )
