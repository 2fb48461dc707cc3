"""Whatever is done to a file, it ends in a prediction or in an error for the user, decoded within limits and in time.

`HYPOTHESIS_PROFILE=thorough` runs a hundred times as many examples, newly drawn each time.
"""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import AudioError
from core.features.audio import DecodeLimits, decode, start_decoder
from core.features.quality import measure_quality
from core.inference.recogniser import Recogniser
from tests.audio_files import KINDS, encode, voice
from tests.bundles import TINY

LIMITS = DecodeLimits(max_upload_mb=25, max_duration_s=600, min_duration_s=0.3, decode_deadline_s=5)
IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
EXAMPLES_PER_KIND = 5_000 if IS_THOROUGH else 50
FOUR_BYTES = [
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\xff\xff",
    b"\0\x98\x96\x80",
]
"""What sizes, counts and rates are replaced by: most, none, most signed in both byte orders, many."""


@dataclass(frozen=True)
class Mutation:
    """One change to a file, at a share of its length."""

    kind: str
    at: float
    length: int = 1
    value: bytes = b""
    other: str = ""
    other_at: float = 0.0

    def apply(self, data: bytes) -> bytes:
        at = min(int(self.at * len(data)), max(0, len(data) - 1))
        match self.kind:
            case "flip":
                return data[:at] + bytes([data[at] ^ self.length % 255 + 1]) + data[at + 1 :] if data else data
            case "overwrite":
                return data[:at] + self.value + data[at + len(self.value) :]
            case "cut":
                return data[:at] + data[at + self.length :]
            case "insert":
                return data[:at] + self.value + data[at:]
            case "truncate":
                return data[:at]
            case "repeat":
                return data[:at] + data[at : at + self.length] * 3 + data[at + self.length :]
            case "splice":
                other = original(self.other, n_channels=1)
                other_at = int(self.other_at * len(other))
                return data[:at] + other[other_at : other_at + self.length] + data[at:]
        raise AssertionError(self.kind)


@functools.cache
def original(kind: str, *, n_channels: int) -> bytes:
    rate = 16_000 if n_channels == 1 else 44_100
    return encode(voice(1.0, sample_rate=rate), rate, kind, n_channels=n_channels)


@functools.cache
def recogniser() -> Recogniser:
    return Recogniser.open(TINY)


positions = st.one_of(st.floats(0, 0.02), st.floats(0, 1))
"""Headers stand in the first bytes, so half of all changes go there."""
lengths = st.sampled_from([1, 2, 3, 4, 8, 27, 64, 255, 1_000, 5_000])
values = st.one_of(st.sampled_from(FOUR_BYTES), st.binary(min_size=1, max_size=16))
mutations = st.one_of(
    st.builds(Mutation, st.just("flip"), positions, st.integers(0, 254)),
    st.builds(Mutation, st.just("overwrite"), positions, value=values),
    st.builds(Mutation, st.sampled_from(["cut", "repeat"]), positions, lengths),
    st.builds(Mutation, st.just("insert"), positions, value=values),
    st.builds(Mutation, st.just("truncate"), st.floats(0, 1)),
    st.builds(
        Mutation, st.just("splice"), positions, lengths, other=st.sampled_from(KINDS), other_at=st.floats(0, 0.99)
    ),
)


@pytest.mark.timeout(7_200 if IS_THOROUGH else 120)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_decoded_within_limits_or_refused_in_a_sentence(kind):
    @settings(
        max_examples=EXAMPLES_PER_KIND,
        deadline=None,
        derandomize=not IS_THOROUGH,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(changes=st.lists(mutations, min_size=1, max_size=6), n_channels=st.sampled_from([1, 2]))
    def hold(changes, n_channels):
        data = original(kind, n_channels=n_channels)
        for change in changes:
            data = change.apply(data)
        check(data)

    hold()


@pytest.mark.timeout(7_200 if IS_THOROUGH else 120)
@settings(max_examples=EXAMPLES_PER_KIND * 4, deadline=None, derandomize=not IS_THOROUGH, database=None)
@given(
    data=st.binary(max_size=4_000),
    head=st.sampled_from(
        [
            b"",
            b"RIFF\xff\xff\xff\xffWAVEfmt ",
            b"fLaC",
            b"OggS",
            b"ID3\x04\0\0\0\0\0\0",
            b"\xff\xfb\x90\x00",
            b"\xff\xf1\x50\x80",
            b"\x1a\x45\xdf\xa3",
            b"\0\0\0\x20ftypM4A ",
        ]
    ),
)
def test_random_bytes_are_refused_in_a_sentence(data, head):
    check(head + data)


def check(data: bytes) -> None:
    start_decoder()  # a new process is not part of the time that decoding takes
    begun = time.monotonic()
    try:
        decoded = decode(data, limits=LIMITS)
    except AudioError as error:
        sentence = str(error)
        assert len(sentence) > 20
        assert sentence.endswith(".")
        assert "the decoder broke down" not in sentence
    else:
        samples = decoded.waveform.samples
        assert samples.dtype == np.float32
        assert samples.ndim == 1
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1
        assert decoded.waveform.sample_rate == 16_000
        assert LIMITS.min_duration_s - 0.001 <= decoded.waveform.duration_s <= LIMITS.max_duration_s
        assert 8_000 <= decoded.format.sample_rate_hz <= 192_000
        assert 1 <= decoded.format.n_channels <= 8
        assert 0 <= decoded.clipping_share <= 1
        assert all(warning.endswith(".") for warning in decoded.format.warnings)
        measure_quality(decoded.waveform, source_sample_rate_hz=decoded.format.sample_rate_hz)
        recognition = recogniser().recognise(
            decoded.waveform, n_passes=2, seed=0, window_s=3.0, hop_s=1.0, abstention_confidence=0.4
        )
        assert sum(recognition.probabilities.values()) == pytest.approx(1)
    assert time.monotonic() - begun < LIMITS.decode_deadline_s + 5
