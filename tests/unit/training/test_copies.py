from __future__ import annotations

import numpy as np
import pytest

from core.domain import Emotion
from training.cache import SAMPLES_PER_FRAME, Recordings
from training.copies import FASTEST, SLOWEST, with_sped_copies
from training.corpora import ManifestRow

TONE_HZ = 400.0


@pytest.fixture
def recordings():
    """Six tones of a second, with the manifest rows of six recordings."""
    rows = tuple(
        ManifestRow(
            path=f"{number}.wav",
            corpus="RAVDESS",
            speaker="RAVDESS-1",
            sex="female",
            language="en",
            emotion=Emotion.SAD,
            intensity="",
            statement="",
            duration_s=1.0,
            sha256_original=str(number),
            licence="",
        )
        for number in range(6)
    )
    n_frames = np.full(len(rows), 50)
    times = np.arange(50 * SAMPLES_PER_FRAME) / 16_000
    tone = (np.sin(2 * np.pi * TONE_HZ * times) * 16_000).astype(np.int16)
    return Recordings(
        rows=rows,
        n_frames=n_frames,
        offsets=np.concatenate([[0], np.cumsum(n_frames)]),
        samples=np.tile(tone, len(rows)),
    )


def _pitch_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * 16_000 / len(samples)


def test_originals_come_first_and_unchanged(recordings, tmp_path) -> None:
    copies = with_sped_copies(recordings, n_copies=2, folder=tmp_path)
    assert copies.rows == recordings.rows * 3
    for number in range(6):
        assert np.array_equal(copies.waveform(number).samples, recordings.waveform(number).samples)


def test_a_copy_moves_pitch_and_length_by_one_drawn_factor(recordings, tmp_path) -> None:
    copies = with_sped_copies(recordings, n_copies=2, folder=tmp_path)
    factors = []
    for number in range(6, 18):
        factor = _pitch_hz(copies.waveform(number).samples) / TONE_HZ
        assert len(copies.waveform(number).samples) * factor == pytest.approx(16_000, rel=0.03)
        factors.append(factor)
    assert min(factors) >= SLOWEST * 0.98
    assert max(factors) <= FASTEST * 1.02
    assert np.std(factors) > 0.05


def test_the_second_call_reads_what_the_first_wrote(recordings, tmp_path) -> None:
    first = with_sped_copies(recordings, n_copies=1, folder=tmp_path)
    written = (tmp_path / "copies.i16").stat().st_mtime_ns
    second = with_sped_copies(recordings, n_copies=1, folder=tmp_path)
    assert (tmp_path / "copies.i16").stat().st_mtime_ns == written
    assert np.array_equal(first.n_frames, second.n_frames)
    other_draws = with_sped_copies(recordings, n_copies=1, folder=tmp_path, seed=1)
    assert not np.array_equal(first.n_frames, other_draws.n_frames)
