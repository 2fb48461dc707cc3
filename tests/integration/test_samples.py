"""The recordings that the workbench offers to try."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr

from core.config import REPOSITORY, Settings
from core.domain import Bandwidth
from core.features.audio import DecodeLimits, Waveform, decode
from core.features.quality import measure_quality
from core.features.speech import speech_activity

FOLDER = REPOSITORY / "data" / "samples"
SAMPLES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".flac", ".opus"})
LIMITS = DecodeLimits.from_settings(Settings())


def test_there_are_a_handful_of_small_ones_and_one_for_a_timeline():
    assert len(SAMPLES) >= 5
    assert sum(path.stat().st_size for path in SAMPLES) < 1_500_000
    lengths_s = {path.stem: decode(path.read_bytes(), limits=LIMITS).waveform.duration_s for path in SAMPLES}
    assert 20 < lengths_s.pop("conversation") < 35
    assert all(3 <= length_s <= 7 for length_s in lengths_s.values())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_flawless_speech(path):
    decoded = decode(path.read_bytes(), limits=LIMITS)
    quality = measure_quality(
        decoded.waveform,
        source_sample_rate_hz=decoded.format.sample_rate_hz,
        clipping_share=decoded.clipping_share,
    )
    assert decoded.format.warnings == ()
    assert quality.notes == ()
    assert quality.bandwidth is Bandwidth.WIDE
    assert quality.speech_ratio > 0.5
    assert quality.snr_db > 25


@pytest.mark.parametrize("snr_db", [0, 10, 20])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_noise_added_to_speech_is_measured_within_3_db(path, snr_db):
    clean = decode(path.read_bytes(), limits=LIMITS).waveform
    is_speech = np.repeat(speech_activity(clean), clean.sample_rate // 100)[: len(clean.samples)]
    power = float(np.mean(np.square(clean.samples[is_speech])))
    noise = np.random.default_rng(0).standard_normal(len(clean.samples)) * math.sqrt(power / 10 ** (snr_db / 10))
    noisy = (clean.samples + noise).astype(np.float32)
    noisy /= max(1.0, float(np.abs(noisy).max()))
    quality = measure_quality(Waveform(samples=noisy, sample_rate=clean.sample_rate), source_sample_rate_hz=22_050)
    assert quality.snr_db == pytest.approx(snr_db, abs=3)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_at_8_khz_sound_like_a_telephone(path):
    clean = decode(path.read_bytes(), limits=LIMITS).waveform
    narrow = soxr.resample(soxr.resample(clean.samples, 16_000, 8_000), 8_000, 16_000)
    quality = measure_quality(Waveform(samples=narrow, sample_rate=16_000), source_sample_rate_hz=16_000)
    assert quality.bandwidth is Bandwidth.TELEPHONE
    assert [note.code for note in quality.notes] == ["telephone"]
