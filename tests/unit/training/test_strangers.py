from __future__ import annotations

import keras
import numpy as np
import pytest
import soundfile

from core.domain import Emotion
from tests.sounds import voice
from training import judge
from training.cache import open_recordings, padded_log_mels
from training.copies import with_sped_copies
from training.corpora import ManifestRow
from training.heads import HeadPlan
from training.judge import answer, embed_all, emotion_numbers, fit_head
from training.splits import Split
from training.strangers import DISTURBANCES, accuracy_of_strangers
from training.student import build_student

PLAN = HeadPlan(width=8, n_members=1, n_epochs=2, batch_size=4)
N_SPEAKERS = 6


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Twelve voices of six speakers as files, and what an untrained encoder makes of them."""
    audio = tmp_path_factory.mktemp("audio")
    rows = []
    for number in range(2 * N_SPEAKERS):
        path = f"{number}.wav"
        speech = voice(seconds=0.6, pitch_hz=100.0 + 15 * number)
        soundfile.write(audio / path, speech, 16_000)
        rows.append(
            ManifestRow(
                path=path,
                corpus="CREMA-D" if number % 2 else "RAVDESS",
                speaker=f"A-{number % N_SPEAKERS}",
                sex="female",
                language="en",
                emotion=(Emotion.SAD, Emotion.ANGRY)[number // N_SPEAKERS],
                intensity="",
                statement="",
                duration_s=0.6,
                sha256_original=f"{number:064d}",
                licence="",
            )
        )
    recordings = open_recordings(rows, audio=audio, folder=tmp_path_factory.mktemp("cache"))
    keras.utils.set_random_seed(0)
    return audio, recordings, build_student(n_blocks=1)


def _split(recordings, *, strangers: tuple[str, ...]) -> Split:
    test = tuple(row.path for row in recordings.rows if row.speaker in strangers)
    training = tuple(row.path for row in recordings.rows if row.speaker not in strangers)
    return Split(
        name="x", protocol="x", seed=0, manifest_sha256="", training=training, validation=training[:2], test=test
    )


def test_undisturbed_strangers_are_answered_as_their_embeddings_are(spoken, tmp_path) -> None:
    audio, recordings, encoder = spoken
    everyone = np.arange(len(recordings.rows))
    embeddings = embed_all(
        encoder, recordings, path=tmp_path / "e.npz", wanted=everyone, heard=everyone[:0], audio=audio
    )
    heads, n_right = [], 0
    for strangers in (("A-0",), ("A-1",)):
        split = _split(recordings, strangers=strangers)
        training, validation, test = (recordings.indices(p) for p in (split.training, split.validation, split.test))
        head = fit_head(embeddings, recordings, training=training, validation=validation, plan=PLAN)
        heads.append((split, head))
        answers = answer(head, embeddings.clean, test, PLAN)
        n_right += int((answers.probabilities.argmax(axis=1) == emotion_numbers(recordings)[test]).sum())
    found = accuracy_of_strangers(encoder, heads, recordings, plan=PLAN, audio=audio, n_recordings=4)
    assert list(found) == ["clean", *(each.name for each in DISTURBANCES)]
    assert found["clean"] == n_right / 4


def test_heads_learn_from_copies_of_the_same_recording(spoken, tmp_path) -> None:
    audio, recordings, encoder = spoken
    copies = with_sped_copies(recordings, n_copies=2, folder=tmp_path)
    wanted = np.array([1, 4])
    made = [
        embed_all(
            encoder,
            recordings,
            path=tmp_path / "e.npz",
            wanted=wanted,
            heard=wanted[:0],
            audio=audio,
            copies=copies,
            n_copies=2,
        )
        for _ in range(2)  # the second is read from the file
    ]
    for embeddings in made:
        assert len(embeddings.further) == 2
        for copy, part in enumerate(embeddings.further, start=1):
            assert np.flatnonzero(part.any(axis=1)).tolist() == [1, 4]
            alone = embed_all(
                encoder,
                copies,
                path=tmp_path / f"alone-{copy}.npz",
                wanted=wanted + copy * len(recordings.rows),
                heard=wanted[:0],
                audio=audio,
            )
            assert np.allclose(part[wanted], alone.clean[wanted + copy * len(recordings.rows)], atol=1e-3)
            assert not np.allclose(part[wanted], embeddings.clean[wanted], atol=1e-2)


def test_heads_learn_from_the_cuts_that_noise_makes(spoken, tmp_path, monkeypatch) -> None:
    audio, recordings, encoder = spoken
    silent = np.zeros(8_000, np.float32)
    lengths = {}

    def listen(waveforms):
        lengths.setdefault("frames", []).extend(len(each.samples) // 320 for each in waveforms)
        return padded_log_mels(waveforms)

    monkeypatch.setattr(judge, "padded_log_mels", listen)
    for row in recordings.rows:
        speech, rate = soundfile.read(audio / row.path, dtype="float32")
        (tmp_path / row.path).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / row.path, np.concatenate([silent, speech, silent]), rate)
    everyone = np.arange(len(recordings.rows))
    embed_all(encoder, recordings, path=tmp_path / "e.npz", wanted=everyone, heard=everyone, audio=tmp_path)
    of_disturbed = lengths["frames"][len(everyone) :]
    assert len(of_disturbed) == round(judge.DISTURBED_SHARE * len(everyone))
    assert max(of_disturbed) > recordings.n_frames.max()  # noise in the silence around the voice is kept with it
