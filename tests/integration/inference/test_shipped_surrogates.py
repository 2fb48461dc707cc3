"""The surrogates in the repository: of the models beside them, small, exact about themselves, better than a guess."""

from __future__ import annotations

import numpy as np
import pytest

from core.config import REPOSITORY, Settings
from core.domain import Emotion
from core.features.audio import decode
from core.features.waveform import DecodeLimits, Waveform
from core.inference.recogniser import Recogniser
from core.inference.registry import ENCODER, find_model, list_models
from core.inference.surrogate import SURROGATE_MEASURES, describe_attribution, explain_prosody, open_surrogate
from tests.prosodies import voice

MODELS = REPOSITORY / "data" / "models"


WITH_ENCODER = [card.name for card in list_models(MODELS) if (MODELS / card.name / ENCODER).exists()]
"""The strong model's encoder is installed apart, and nobody has made a surrogate of it."""


@pytest.fixture(params=WITH_ENCODER, scope="module")
def folder(request):
    return find_model(MODELS, request.param)


def test_it_imitates_the_version_beside_it_and_is_small(folder):
    assert open_surrogate(folder).model_name == folder.name
    assert sum((folder / name).stat().st_size for name in ("surrogate.json", "surrogate.npz")) < 2e6


def test_it_names_the_models_emotion_far_more_often_than_the_commonest_would(folder):
    fidelity = open_surrogate(folder).fidelity
    assert fidelity.agreement_interval[0] > 1.5 * fidelity.majority_agreement


def test_its_reasons_sum_for_every_emotion(folder):
    surrogate = open_surrogate(folder)
    for emotion in surrogate.emotions:
        found = explain_prosody(surrogate, voice(), emotion=emotion)
        assert found.base_value + sum(found.values.values()) == pytest.approx(found.output, rel=1e-6, abs=1e-9)
        assert describe_attribution(found)


def test_loud_wide_and_high_is_angrier_than_quiet_narrow_and_low(folder):
    surrogate = open_surrogate(folder)
    calm = voice(pitch_median_hz=120.0, pitch_range_semitones=3.0, spectral_tilt_db_per_octave=-9.0)
    wild = voice(pitch_median_hz=260.0, pitch_range_semitones=12.0, spectral_tilt_db_per_octave=-3.0)
    sad, angry = [
        explain_prosody(surrogate, one, emotion=Emotion.ANGRY, contrast=Emotion.SAD).output for one in (calm, wild)
    ]
    assert angry > sad


def test_overview_is_there_for_an_empty_store(folder):
    surrogate = open_surrogate(folder)
    assert surrogate.overview.values.shape[:2] == (len(surrogate.emotions), 300)


def test_surrogate_of_the_commercial_model_learnt_from_recordings_free_for_commercial_use():
    surrogate = open_surrogate(find_model(MODELS, "telepathy-commercial"))
    assert set(surrogate.corpora) == {"CREMA-D"}
    assert surrogate.licence == "ODbL 1.0"


def test_models_do_not_hear_the_level_so_that_surrogates_are_not_told_it(folder):
    recogniser = Recogniser.open(folder)
    limits = DecodeLimits.from_settings(Settings())
    given = {"n_passes": 30, "seed": 0, "window_s": 3.0, "hop_s": 1.0, "abstention_confidence": 0.4, "timeline": False}
    moved = []
    for path in sorted((REPOSITORY / "data" / "samples").glob("*.flac")):
        loud = decode(path.read_bytes(), limits=limits).waveform
        quiet = Waveform(samples=loud.samples * np.float32(10 ** (-10 / 20)), sample_rate=loud.sample_rate)
        answers = [recogniser.recognise(one, **given).probabilities for one in (loud, quiet)]
        moved.append(max(abs(answers[0][emotion] - answers[1][emotion]) for emotion in answers[0]))
    assert moved
    assert float(np.mean(moved)) < 0.05
    assert "intensity_mean_dbfs" not in SURROGATE_MEASURES
