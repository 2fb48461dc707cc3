"""The committed model: it answers, exactly the same each time, and doubts more where there is more to doubt."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import soxr
from ai_edge_litert.interpreter import Interpreter

from core.config import REPOSITORY, Settings
from core.features.audio import DecodeLimits, decode
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, Waveform
from core.inference.recogniser import Recogniser
from core.inference.registry import read_card, weights_digest

SETTINGS = Settings()
FOLDER = SETTINGS.models_dir / SETTINGS.model
SENTENCES = [
    "Kids are talking by the door.",
    "I would like a new alarm clock, and I want it today.",
    "The surface is slick, so please be careful on the stairs.",
    "We will stop in a couple of minutes to look at the map.",
]
CORPORA = REPOSITORY.parent / "shared" / "corpora"
N_HUMAN = 40
VOICES = ["en-us", "en-gb", "en-us+f3", "en-gb-scotland+f2"]

pytestmark = pytest.mark.skipif(
    not (FOLDER / "card.json").is_file(), reason=f"no model {SETTINGS.model!r}; make one with `make model`"
)


@pytest.fixture(scope="module")
def recogniser():
    return Recogniser.open(FOLDER)


@pytest.fixture(scope="module")
def speech():
    """Sentences by several synthetic voices, 16 kHz, each at its natural level."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    clips = []
    for voice in VOICES:
        for sentence in SENTENCES:
            spoken = subprocess.run(
                ["espeak-ng", "-v", voice, "--stdout", sentence], capture_output=True, check=True, timeout=60
            )
            samples, rate = soundfile.read(io.BytesIO(spoken.stdout), dtype="float32")
            clips.append(soxr.resample(samples, rate, TARGET_SAMPLE_RATE_HZ))
    return clips


@pytest.mark.parametrize("name", ["telepathy", "telepathy-commercial"])
def test_weights_that_serve_are_below_ten_megabytes(name):
    folder = REPOSITORY / "data" / "models" / name
    assert sum((folder / file).stat().st_size for file in ("encoder.tflite", "head.tflite")) < 10_000_000


@pytest.mark.parametrize("name", ["telepathy", "telepathy-commercial"])
def test_int8_is_that_of_weights_by_channel_and_no_activation_has_a_fixed_range(name):
    tensors = Interpreter(str(REPOSITORY / "data" / "models" / name / "encoder.tflite")).get_tensor_details()
    quantised = [tensor for tensor in tensors if tensor["dtype"] is np.int8]
    assert quantised
    # A range fixed beforehand is one scale for a whole activation, of int8 or of any other type.
    assert all(len(tensor["quantization_parameters"]["scales"]) > 1 for tensor in quantised)
    assert not any(
        len(tensor["quantization_parameters"]["scales"]) for tensor in tensors if tensor["dtype"] is not np.int8
    )


def recognise(recogniser, samples):
    return recogniser.recognise(
        Waveform(samples=np.clip(samples, -1, 1).astype(np.float32), sample_rate=TARGET_SAMPLE_RATE_HZ),
        n_passes=SETTINGS.n_passes,
        seed=SETTINGS.seed,
        window_s=SETTINGS.window_s,
        hop_s=SETTINGS.hop_s,
        abstention_confidence=SETTINGS.abstention_confidence,
        timeline=False,
    )


def mean_predictive_entropy(recogniser, clips):
    return float(np.mean([recognise(recogniser, clip).uncertainty.predictive_entropy_nats for clip in clips]))


def test_card_names_the_weights_it_describes():
    assert read_card(FOLDER).version == f"{SETTINGS.model}-{weights_digest(FOLDER)[:12]}"


def test_same_clip_gives_the_same_bits(recogniser, speech):
    first = [recognise(recogniser, clip) for clip in speech]
    again = [recognise(Recogniser.open(FOLDER, n_threads=2), clip) for clip in reversed(speech)]
    assert first == again[::-1]


def test_numbers_of_a_clip_do_not_depend_on_its_company(recogniser, speech):
    embeddings = np.stack(
        [recogniser.embed(Waveform(samples=clip, sample_rate=TARGET_SAMPLE_RATE_HZ)) for clip in speech]
    )
    together = recogniser.pass_probabilities(embeddings, n_passes=30, seed=0)
    for index in range(len(speech)):
        alone = recogniser.pass_probabilities(embeddings[index : index + 1], n_passes=30, seed=0)
        assert np.array_equal(together[:, index : index + 1], alone)


def at_level(samples):
    return 0.05 * samples / np.sqrt(np.mean(np.square(samples)))


def in_noise(clips):
    """Each in white noise as loud as itself."""
    rng = np.random.default_rng(0)
    return [at_level(clip) + 0.05 * rng.standard_normal(len(clip)) for clip in clips]


def test_noise_alone_is_doubted_more_than_synthetic_voices_are(recogniser, speech):
    noise = [at_level(np.random.default_rng(1).standard_normal(len(clip))) for clip in speech]
    assert mean_predictive_entropy(recogniser, noise) > mean_predictive_entropy(recogniser, speech) + 0.1


def test_synthetic_voices_in_noise_are_not_answered_with_confidence(recogniser, speech):
    # Doubt about them need not rise: nobody in the corpora speaks like them, and they are in doubt without noise.
    assert mean_predictive_entropy(recogniser, in_noise(speech)) > 1.0


@pytest.fixture(scope="module")
def human_speech():
    """Recordings of the English corpora, picked by their hash, as (emotion, samples)."""
    if not (CORPORA / "manifest.csv").is_file():
        pytest.skip("the corpora are not at ../shared/corpora")
    with (CORPORA / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] in {"RAVDESS", "CREMA-D", "SAVEE"}]
    rows.sort(key=lambda row: row["sha256_original"])
    limits = DecodeLimits.from_settings(SETTINGS)
    return [
        (row["emotion"], decode((CORPORA / row["path"]).read_bytes(), limits=limits).waveform.samples)
        for row in rows[:N_HUMAN]
    ]


@pytest.fixture(scope="module")
def doubt_about_one_human(recogniser, human_speech):
    return mean_predictive_entropy(recogniser, [samples for _, samples in human_speech])


def test_several_sentences_are_recognised_as_one_is(recogniser):
    """Joined to more than the encoder learnt from at a time, they came out at a quarter right when heard at once."""
    if not (CORPORA / "manifest.csv").is_file():
        pytest.skip("the corpora are not at ../shared/corpora")
    with (CORPORA / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] in {"RAVDESS", "CREMA-D", "SAVEE"}]
    rows.sort(key=lambda row: row["sha256_original"])
    by_speaker_and_emotion: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        by_speaker_and_emotion.setdefault((row["corpus"], row["speaker"], row["emotion"]), []).append(row["path"])
    limits = DecodeLimits.from_settings(SETTINGS)
    n_right = {1: 0, 4: 0}
    for (_, _, emotion), paths in itertools.islice(by_speaker_and_emotion.items(), N_HUMAN):
        parts = [decode((CORPORA / path).read_bytes(), limits=limits).waveform.samples for path in paths[:4]]
        for n_parts in n_right:
            probabilities = recognise(recogniser, np.concatenate(parts[:n_parts])).probabilities
            n_right[n_parts] += max(probabilities, key=lambda each: probabilities[each]) == emotion
    assert n_right[4] > 0.75 * n_right[1]


def partners(human_speech):
    """Each recording with the next one of another emotion, both at one level."""
    for index, (emotion, samples) in enumerate(human_speech):
        following = human_speech[index + 1 :] + human_speech[:index]
        yield at_level(samples), at_level(next(each for other, each in following if other != emotion))


def test_doubt_rises_when_people_speak_in_noise(recogniser, human_speech, doubt_about_one_human):
    noisy = in_noise([samples for _, samples in human_speech])
    assert mean_predictive_entropy(recogniser, noisy) > doubt_about_one_human + 0.1


def test_doubt_rises_when_two_people_speak_at_once(recogniser, human_speech, doubt_about_one_human):
    mixed = []
    for one, other in partners(human_speech):
        both = np.zeros(max(len(one), len(other)))
        both[: len(one)] += one
        both[: len(other)] += other
        mixed.append(both)
    assert mean_predictive_entropy(recogniser, mixed) > doubt_about_one_human + 0.1
