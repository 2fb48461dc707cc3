"""Embeddings for the strong model: which voices may stand behind which, and copies that are made once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import soundfile

from core.domain import Emotion
from training import whisper_features
from training.cache import Recordings
from training.corpora import ManifestRow
from training.splits import Split
from training.whisper_features import embed_copies, voice_groups

N = 30
N_FRAMES = 25
SILENCE_S = 1
"""Before and behind the speech in the files."""


def split(number: int, test: list[str], rest: list[str]) -> Split:
    return Split(
        name=f"split {number}",
        protocol="none",
        seed=0,
        manifest_sha256="",
        training=tuple(rest[2:]),
        validation=tuple(rest[:2]),
        test=tuple(test),
    )


@pytest.fixture
def recordings() -> Recordings:
    rows = tuple(
        ManifestRow(
            path=f"{number:02}.opus",
            corpus=("RAVDESS", "CREMA-D", "TESS")[number % 3],
            speaker=f"S{number}",
            sex="female",
            language="en",
            emotion=Emotion.HAPPY,
            intensity="",
            statement="",
            duration_s=0.5,
            sha256_original="",
            licence="none",
        )
        for number in range(N)
    )
    samples = (np.random.default_rng(0).normal(0, 3000, N * N_FRAMES * 320)).astype(np.int16)
    return Recordings(rows=rows, n_frames=np.full(N, N_FRAMES), offsets=np.arange(N + 1) * N_FRAMES, samples=samples)


@pytest.fixture
def splits(recordings) -> tuple[list[Split], Split]:
    paths = [row.path for row in recordings.rows]
    folds = [split(number, paths[number::5], [p for p in paths if p not in paths[number::5]]) for number in range(5)]
    return folds, split(9, paths[:6], paths[6:])


class FakeEncoder:
    """Says the mean of what it hears, and counts how often it is asked."""

    n_calls = itertools.count()
    n_dims = 3

    def __init__(self, path, *, n_threads: int = 2) -> None:
        del path, n_threads

    def embed(self, log_mel):
        next(FakeEncoder.n_calls)
        return np.array([1.0, log_mel.mean(), len(log_mel)], np.float32)


@pytest.fixture
def embed(recordings, splits, tmp_path, monkeypatch):
    FakeEncoder.n_calls = itertools.count()
    monkeypatch.setattr(whisper_features, "LiteEncoder", FakeEncoder)
    groups = voice_groups(recordings, *splits)
    audio = tmp_path / "audio"
    audio.mkdir()
    silence = np.zeros(SILENCE_S * 16_000)
    for number, row in enumerate(recordings.rows):
        whole = np.concatenate([silence, recordings.waveform(number).samples, silence])
        soundfile.write(audio / row.path, whole, 16_000, format="WAV")
    return lambda wanted=range(N): embed_copies(
        tmp_path / "encoder.tflite", recordings, np.array(wanted), groups=groups, folder=tmp_path, audio=audio
    )


def test_no_voice_stands_on_both_sides_of_a_split(recordings, splits) -> None:
    folds, shared = splits
    groups = voice_groups(recordings, folds, shared)
    for one in (part for split in (*folds, shared) for part in (split.training, split.validation, split.test)):
        inside = set(groups[recordings.indices(one)])
        outside = set(groups[recordings.indices({row.path for row in recordings.rows} - set(one))])
        assert not inside & outside


def test_recordings_are_disturbed_twice_and_only_those_of_small_corpora_sped(embed, recordings) -> None:
    embeddings = embed()
    is_ravdess = np.array([row.corpus == "RAVDESS" for row in recordings.rows])
    assert embeddings.clean.any(axis=1).all()
    sped, second = embeddings.further
    assert (sped != embeddings.clean).any(axis=1)[is_ravdess].all()
    assert np.array_equal(sped[~is_ravdess], embeddings.clean[~is_ravdess])
    for disturbed in (embeddings.disturbed, second):
        assert (disturbed != embeddings.clean).any(axis=1).mean() > 0.5
    assert (embeddings.disturbed != second).any(axis=1).mean() > 0.5


def test_whole_files_are_disturbed_so_that_noise_moves_the_cuts(embed) -> None:
    embeddings = embed()
    changed = (embeddings.disturbed != embeddings.clean).any(axis=1)
    n_mel_frames = embeddings.disturbed[changed, 2]
    assert (n_mel_frames > 2 * N_FRAMES).any()
    assert (n_mel_frames <= 2 * (N_FRAMES + SILENCE_S * 100)).all()


def test_recordings_that_are_not_wanted_are_never_heard(embed) -> None:
    embeddings = embed(range(0, N, 2))
    assert not embeddings.clean[1::2].any()
    assert not embeddings.disturbed[1::2].any()


def test_second_call_takes_what_the_first_one_kept(embed) -> None:
    first = embed()
    n_calls = next(FakeEncoder.n_calls)
    second = embed()
    assert next(FakeEncoder.n_calls) == n_calls + 1
    assert np.array_equal(first.disturbed, second.disturbed)
