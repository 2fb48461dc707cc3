"""A stream is judged as a file is, in pieces of any size, in bounded memory, and silence gets no emotion."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import soxr

from core.errors import InvalidParameterError
from core.features.waveform import Waveform
from core.inference.live import LiveOptions, LiveStream
from core.inference.recogniser import Recogniser
from tests.bundles import TINY
from tests.sounds import voice

RATE = 16_000


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser.open(TINY)


def push_all(stream: LiveStream, samples: np.ndarray, chunk: int) -> list:
    found = []
    for first in range(0, len(samples), chunk):
        found += stream.push(samples[first : first + chunk])
    return found + stream.finish()


@pytest.mark.parametrize(("window_s", "hop_s"), [(1.0, 0.5), (1.5, 0.25), (0.5, 0.25), (5.0, 1.0)])
def test_windows_have_the_numbers_of_the_file_path(recogniser, window_s, hop_s):
    samples = voice(seconds=window_s + 4.0)
    live = push_all(
        LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE, window_s=window_s, hop_s=hop_s)), samples, 999
    )
    whole = recogniser.recognise(
        Waveform(samples=samples, sample_rate=RATE),
        n_passes=30,
        seed=0,
        window_s=window_s,
        hop_s=hop_s,
        abstention_confidence=0.4,
        timeline=True,
    )
    assert len(live) == len(whole.windows) > 3
    for ours, theirs in zip(live, whole.windows, strict=True):
        assert (ours.start_s, ours.end_s) == pytest.approx((theirs.start_s, theirs.end_s))
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-6)
        assert ours.uncertainty.predictive_entropy_nats == pytest.approx(theirs.predictive_entropy_nats, abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 37, 160, 4_000, 1_000_000])
def test_size_of_the_pieces_changes_nothing(recogniser, chunk):
    samples = voice(seconds=1.6)
    expected = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE)), samples, 1_600)
    assert push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE)), samples, chunk) == expected


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 48_000])
def test_other_rates_are_resampled_as_files_are(recogniser, sample_rate):
    samples = voice(seconds=3.0, sample_rate_hz=sample_rate)
    live = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=sample_rate)), samples, 480)
    whole = soxr.resample(samples, sample_rate, RATE)
    expected = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE)), whole, 480)
    assert len(live) == len(expected)
    for ours, theirs in zip(live, expected, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=0.01)


@pytest.mark.parametrize("quiet", [0.0, 1e-3, 0.01])
def test_silence_and_quiet_noise_get_no_emotion(recogniser, quiet):
    noise = (quiet * np.random.default_rng(0).standard_normal(3 * RATE)).astype(np.float32)
    found = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE)), noise, 800)
    assert found[1:]
    assert [event.emotion for event in found[1:]] == [None] * len(found[1:])
    assert all(event.uncertainty is None and event.probabilities == {} for event in found[1:])


def test_speech_after_silence_begins_a_new_mean(recogniser):
    sound = np.concatenate([voice(seconds=2.0), np.zeros(2 * RATE, np.float32), voice(seconds=2.0, pitch_hz=260.0)])
    found = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE)), sound, 800)
    silent = [index for index, event in enumerate(found) if event.emotion is None]
    assert silent
    first_after = found[silent[-1] + 1]
    assert first_after.smoothed == first_after.probabilities
    assert found[1].smoothed != found[1].probabilities


def test_smoothing_is_the_exponential_mean_it_says(recogniser):
    found = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE, smoothing_s=2.0)), voice(seconds=3.0), 800)
    kept = np.exp(-0.5 / 2.0)
    for before, now in itertools.pairwise(found):
        for emotion, value in now.smoothed.items():
            assert value == pytest.approx(kept * before.smoothed[emotion] + (1 - kept) * now.probabilities[emotion])


def test_level_is_that_of_the_window(recogniser):
    tone = (0.1 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    found = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE)), tone, 800)
    assert found[0].level_dbfs == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.05)


def test_an_hour_of_stream_keeps_no_more_than_its_newest_window(recogniser):
    stream = LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE, hop_s=1.0))
    silence = np.zeros(60 * RATE, np.float32)
    for _ in range(60):
        stream.push(silence)
        assert len(stream._kept) <= 2 * RATE
    assert stream.duration_s == 3_600
    assert stream.summary().n_windows == 3_600
    assert stream.summary().probabilities == {}


def test_summary_weighs_windows_by_their_speech(recogniser):
    stream = LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE))
    found = push_all(stream, np.concatenate([voice(seconds=2.0), np.zeros(RATE, np.float32)]), 800)
    spoken = [event for event in found if event.probabilities]
    total = sum(event.speech_ratio for event in spoken)
    for emotion, value in stream.summary().probabilities.items():
        assert value == pytest.approx(sum(e.speech_ratio * e.probabilities[emotion] for e in spoken) / total)
    assert stream.summary().n_windows_with_speech == len(spoken) < stream.summary().n_windows


def test_samples_that_are_no_numbers_count_as_silence(recogniser):
    bad = np.full(2 * RATE, np.nan, np.float32)
    found = push_all(LiveStream(recogniser, LiveOptions(sample_rate_hz=RATE)), bad, 800)
    assert [event.level_dbfs for event in found] == [-120.0] * len(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate_hz", 4_000),
        ("window_s", 0.2),
        ("window_s", 6.0),
        ("window_s", float("nan")),
        ("hop_s", 0.1),
        ("hop_s", 2.0),
        ("smoothing_s", -1.0),
        ("n_passes", 1),
    ],
)
def test_options_out_of_place_are_refused(name, value):
    with pytest.raises(InvalidParameterError, match="must be"):
        LiveOptions(**{"sample_rate_hz": RATE, name: value})


def test_hop_longer_than_the_window_is_refused():
    with pytest.raises(InvalidParameterError, match="at most window_s"):
        LiveOptions(sample_rate_hz=RATE, window_s=0.5, hop_s=0.75)
