from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile
import soxr

from core.config import Settings
from core.errors import (
    AudioError,
    ClippedAudioError,
    ClipTooShortError,
    DamagedAudioError,
    DecodeTimeoutError,
    EmptyAudioError,
    InvalidSamplesError,
    RecordingTooLongError,
    SilentAudioError,
    UnsupportedFormatError,
    UnsupportedSamplingError,
    UploadTooLargeError,
)
from core.features.audio import DecodedAudio, DecodeLimits, decode
from core.features.ogg import checksum
from tests.audio_files import AV_KINDS, KINDS, encode, expected_codec, mux, voice

LIMITS = DecodeLimits.from_settings(Settings())
RATE = 16_000
OPUS_KINDS = {"ogg_opus", "webm"}
TEN_HOURS_S = 36_000


def read(data: bytes, limits: DecodeLimits = LIMITS) -> DecodedAudio:
    return decode(data, limits=limits)


def wav(samples: np.ndarray, sample_rate: int = RATE, encoding: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="WAV", subtype=encoding)
    return file.getvalue()


def patch(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def lag_and_likeness(decoded: np.ndarray, original: np.ndarray) -> tuple[int, float]:
    """By how many samples `decoded` lags behind `original`, and their correlation there."""
    n_fft = 1 << (len(decoded) + len(original)).bit_length()
    spectrum = np.fft.rfft(decoded, n_fft) * np.conj(np.fft.rfft(original, n_fft))
    correlation = np.fft.irfft(spectrum) / np.sqrt(np.dot(decoded, decoded) * np.dot(original, original))
    at = int(correlation.argmax())
    return (at if at < n_fft // 2 else at - n_fft), float(correlation[at])


# -- what is read


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sample_rate", "n_channels"), [(8_000, 1), (16_000, 1), (44_100, 2), (48_000, 1)])
def test_every_kind_gives_the_sound_that_went_in(kind, sample_rate, n_channels):
    original = voice(1.2, sample_rate=sample_rate)
    decoded = read(encode(original, sample_rate, kind, n_channels=n_channels))
    samples = decoded.waveform.samples
    assert decoded.waveform.sample_rate == RATE
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.abs(samples).max() <= 1
    assert decoded.format.codec == expected_codec(kind)
    assert decoded.format.n_channels == n_channels
    assert decoded.format.sample_rate_hz == (48_000 if kind in OPUS_KINDS else sample_rate)
    assert decoded.format.warnings == ()
    assert decoded.clipping_share == 0
    reference = soxr.resample(original, sample_rate, RATE)
    lag, likeness = lag_and_likeness(samples, reference)
    assert likeness > 0.97
    assert 0 <= lag < 0.15 * RATE  # AAC and MP3 begin with a frame of padding
    assert np.square(samples).sum() == pytest.approx(np.square(reference).sum(), rel=0.15)


@pytest.mark.parametrize("kind", ["wav_16", "flac_16", "matroska_flac", "ogg_flac"])
def test_lossless_sound_at_16_khz_comes_through_untouched(kind):
    original = voice(1.0)
    samples = read(encode(original, RATE, kind)).waveform.samples
    assert len(samples) == len(original)
    assert np.abs(samples - original).max() <= 2 / 32_768


@pytest.mark.parametrize(
    "sample_rate", [8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 88_200, 96_000, 176_400, 192_000]
)
@pytest.mark.parametrize("kind", ["wav_24", "flac_24"])
def test_sample_rates_from_8_to_192_khz_keep_pitch_level_and_length(kind, sample_rate):
    tone = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(sample_rate) / sample_rate)
    waveform = read(encode(tone.astype(np.float32), sample_rate, kind)).waveform
    assert waveform.duration_s == pytest.approx(1.0, abs=0.001)
    expected = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE)
    middle = slice(1_000, 15_000)
    assert np.abs(waveform.samples[middle] - expected[middle]).max() < 0.001


@pytest.mark.parametrize("n_channels", range(1, 9))
@pytest.mark.parametrize("kind", ["wav_16", "wav_extensible_24", "flac_16", "ogg_vorbis", "ogg_opus", "m4a"])
def test_one_to_eight_channels_are_mixed_to_one(kind, n_channels):
    if kind == "ogg_opus" and n_channels == 3:
        pytest.skip("the encoder has no layout of this kind with three channels")
    original = voice(0.8, sample_rate=48_000)
    decoded = read(encode(original, 48_000, kind, n_channels=n_channels))
    assert decoded.format.n_channels == n_channels
    _, likeness = lag_and_likeness(decoded.waveform.samples, soxr.resample(original, 48_000, RATE))
    assert likeness > 0.95


def test_channels_count_alike_in_the_mix():
    original = voice(0.5)
    channels = np.stack([original, np.zeros_like(original), np.zeros_like(original), np.zeros_like(original)], axis=1)
    samples = read(wav(channels, encoding="FLOAT")).waveform.samples
    assert np.allclose(samples, original / 4, atol=1e-6)


def test_blocks_leave_no_seam():
    n_samples = 40 * 44_100
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(n_samples) / 44_100)).astype(np.float32)
    samples = read(wav(tone, 44_100)).waveform.samples
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / RATE)
    assert len(samples) == 40 * RATE
    assert np.abs(samples - expected)[1_000:-1_000].max() < 0.001


def test_samples_beyond_full_scale_are_limited():
    samples = read(wav(2 * voice(0.5), encoding="FLOAT")).waveform.samples
    assert np.abs(samples).max() <= 1


def test_several_threads_decode_at_once():
    files = [
        (kind, encode(voice(0.6, seed=seed), RATE, kind)) for seed in range(3) for kind in ("mp3", "m4a", "wav_16")
    ]
    alone = [read(data).waveform.samples for _, data in files]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda file: read(file[1]).waveform.samples, files * 4))
    for samples, expected in zip(together, alone * 4, strict=True):
        assert np.array_equal(samples, expected)


# -- what is told


def test_a_second_sound_track_is_left_out_and_said():
    first, second = voice(0.8), voice(0.8, pitch_hz=220, seed=3)
    data = mux([("aac", first[:, None], RATE), ("aac", second[:, None], RATE)], "ipod")
    decoded = read(data)
    assert decoded.format.warnings == ("The file holds 2 sound tracks; only the first that can be read was used.",)
    assert lag_and_likeness(decoded.waveform.samples, first)[1] > 0.95


def video(n_frames: int = 10, *, container: str = "mp4", sound: bool = True, size: int = 64) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        codec = "libx264" if container == "mp4" else "libvpx-vp9"
        picture = output.add_stream(codec, rate=10)
        picture.width = picture.height = size
        picture.pix_fmt = "yuv420p"
        if sound:
            speech = output.add_stream("aac" if container == "mp4" else "libopus", rate=48_000, layout="mono")
        for index in range(n_frames):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 20 * index, np.uint8), format="rgb24")
            output.mux(picture.encode(frame))
        output.mux(picture.encode(None))
        if sound:
            samples = voice(1.0, sample_rate=48_000)[None, :]
            frame = av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 0
            output.mux(speech.encode(frame))
            output.mux(speech.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_the_sound_of_a_video_is_used(container):
    decoded = read(video(container=container))
    assert decoded.waveform.duration_s == pytest.approx(1.0, abs=0.05)
    assert decoded.format.warnings == ()


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_a_video_without_sound_is_named(container):
    with pytest.raises(UnsupportedFormatError, match="a video without sound"):
        read(video(container=container, sound=False))


PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">II", 60_000, 60_000) + b"\x08\x06\0\0\0" + bytes(500)
"""The head of a picture that would take 14 GB."""


def with_flac_picture(data: bytes) -> bytes:
    name = b"image/png"
    block = (
        struct.pack(">II", 3, len(name))
        + name
        + struct.pack(">IIIIII", 0, 60_000, 60_000, 32, 0, len(PICTURE))
        + PICTURE
    )
    return data[:42] + b"\x06" + len(block).to_bytes(3, "big") + block + data[42:]


def with_id3_picture(data: bytes) -> bytes:
    frame = b"\0image/png\0\x03\0" + PICTURE
    tag = b"APIC" + struct.pack(">I", len(frame)) + b"\0\0" + frame
    return b"ID3\x03\0\0" + bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0)) + tag + data


@pytest.mark.parametrize(
    "data",
    [with_flac_picture(encode(voice(0.8), RATE, "flac_16")), with_id3_picture(encode(voice(0.8), RATE, "mp3"))],
    ids=["flac", "mp3"],
)
def test_a_cover_picture_is_passed_over_however_large_it_says_it_is(data):
    decoded = read(data)
    assert decoded.waveform.duration_s == pytest.approx(0.8, abs=0.1)
    assert decoded.format.warnings == ()


def test_a_video_whose_pictures_say_they_are_huge_costs_no_more_than_its_sound():
    data = video(container="mp4")
    at = data.rfind(b"avc1") + 28
    assert struct.unpack(">HH", data[at : at + 4]) == (64, 64)
    assert read(patch(data, at, struct.pack(">HH", 65_535, 65_535))).waveform.duration_s == pytest.approx(1.0, abs=0.05)


def test_a_reference_to_another_file_is_not_followed(tmp_path):
    """An M4A file may say that its sound lies in another one. FFmpeg follows it when asked to."""
    whole = encode(voice(0.8), RATE, "m4a")
    (tmp_path / "other.m4a").write_bytes(whole)
    at = whole.find(b"url ")
    path = str(tmp_path / "other.m4a").encode()
    path = b"/" * (len(path) % 2) + path  # FFmpeg reads an even number of bytes
    alias = bytes(10 + 28 + 12 + 64 + 16 + 4 + 16) + struct.pack(">HH", 2, len(path)) + path + b"\xff\xff\0\0"
    entry = struct.pack(">I", 12 + len(alias)) + b"alis" + bytes(4) + alias
    grown = len(entry) - 12
    data = whole[: at - 4] + entry + whole[at + 8 :]
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        size_at = data.find(box) - 4
        data = patch(data, size_at, struct.pack(">I", struct.unpack(">I", data[size_at : size_at + 4])[0] + grown))
    sound_at = data.find(b"mdat")
    emptied = data[: sound_at + 4] + bytes(data.find(b"moov") - 4 - sound_at - 4) + data[data.find(b"moov") - 4 :]
    with pytest.raises(AudioError):
        read(emptied)


def test_sound_of_an_unread_codec_is_named():
    data = mux([("ac3", voice(0.8, sample_rate=48_000)[:, None], 48_000)], "matroska")
    with pytest.raises(UnsupportedFormatError, match="a WebM file with ac3 sound"):
        read(data)


def test_a_wav_file_of_an_unread_encoding_is_named():
    with pytest.raises(UnsupportedFormatError, match="a WAV file of encoding 0x0011"):
        read(wav(voice(0.5), encoding="IMA_ADPCM"))


# -- damaged and truncated files


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "m4a"])
def test_half_a_file_is_used_as_far_as_it_goes(kind):
    data = encode(voice(4.0), RATE, kind)
    decoded = read(data[: len(data) // 2])
    assert 0.9 < decoded.waveform.duration_s < 2.4
    assert len(decoded.format.warnings) >= 1


def test_the_warning_says_how_much_is_missing():
    data = wav(voice(4.0))
    assert read(data[: len(data) // 2]).format.warnings == (
        "A part of the recording is missing: the file says that it lasts 4.0 s, but 2.0 s could be read.",
    )


def test_m4a_without_its_index_is_refused_with_the_reason():
    data = encode(voice(2.0), RATE, "m4a")
    with pytest.raises(DamagedAudioError, match="its index is missing, as when a file is cut off before its end"):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["mp3", "aac", "flac_16", "ogg_opus", "webm", "m4a_fragmented"])
def test_a_damaged_middle_costs_only_itself(kind):
    data = encode(voice(4.0), RATE, kind)
    decoded = read(patch(data, len(data) // 2, np.random.default_rng(0).bytes(60)))
    assert decoded.waveform.duration_s > (1.9 if kind == "webm" else 2.4)  # FFmpeg goes on at WebM's next cluster


def test_a_recorder_that_was_killed_leaves_a_readable_wav_file():
    data = wav(voice(1.0))
    size_at = data.find(b"data") + 4
    assert read(patch(data, size_at, bytes(4))).waveform.duration_s == 1.0


@pytest.mark.parametrize("placeholder", [0xFFFF_FFFF, 0x7FFF_FFFF - 36])
def test_a_wav_file_written_to_a_pipe_is_read(placeholder):
    data = wav(voice(1.0))
    decoded = read(patch(data, data.find(b"data") + 4, struct.pack("<I", placeholder)))
    assert decoded.waveform.duration_s == 1.0
    assert decoded.format.warnings == ()


def test_chunks_around_the_samples_of_a_wav_file_are_passed_over():
    data = wav(voice(1.0))
    at = data.find(b"data")
    extra = b"LIST" + struct.pack("<I", 5) + b"INFOx\x00" + b"bext" + struct.pack("<I", 700) + bytes(700)
    decoded = read(data[:at] + extra + data[at:] + extra)
    assert np.abs(decoded.waveform.samples - voice(1.0)).max() <= 1 / 32_768


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\x00\x00\x00\x00WAVE",
        wav(voice(0.5))[:30],
        wav(voice(0.5)).replace(b"fmt ", b"fmx "),
        wav(voice(0.5))[:20],
    ],
)
def test_a_wav_file_without_a_format_is_damaged(data):
    with pytest.raises(DamagedAudioError, match="This looks like WAV"):
        read(data)


@pytest.mark.parametrize("kind", sorted(AV_KINDS))
def test_a_head_without_sound_is_refused_in_a_sentence(kind):
    data = encode(voice(0.5), RATE, kind)
    with pytest.raises(AudioError):
        read(data[:60])


# -- empty, too short, too long, too large


def test_no_bytes_and_no_samples_are_empty():
    with pytest.raises(EmptyAudioError, match="The file is empty"):
        read(b"")
    with pytest.raises(EmptyAudioError, match="The WAV file holds no samples"):
        read(wav(np.zeros(0, np.float32)))
    with pytest.raises(EmptyAudioError, match="The WAV file holds no samples"):
        read(wav(voice(0.5))[:36])


@pytest.mark.parametrize("kind", ["wav_16", "flac_16", "ogg_opus"])
def test_a_clip_below_three_tenths_of_a_second_is_too_short(kind):
    with pytest.raises(ClipTooShortError, match=r"lasts 0\.2\d s; at least 0\.3 s"):
        read(encode(voice(0.29), RATE, kind))
    assert read(encode(voice(0.3), RATE, kind)).waveform.duration_s >= 0.3


def test_the_size_is_looked_at_before_anything_else():
    limits = replace(LIMITS, max_upload_mb=0.01)
    with pytest.raises(UploadTooLargeError, match=r"0\.0 MB; at most 0\.01 MB"):
        read(b"text " * 2_001, limits)


@pytest.mark.parametrize("kind", ["wav_16", "flac_16", "mp3", "ogg_opus", "m4a", "webm"])
def test_a_recording_above_the_longest_duration_is_refused(kind):
    limits = replace(LIMITS, max_duration_s=2.0)
    with pytest.raises(RecordingTooLongError, match="at most 2 s"):
        read(encode(voice(2.6), RATE, kind), limits)


@pytest.mark.parametrize("kind", ["wav_16", "mp3", "m4a", "aac", "ogg_opus"])
def test_a_recording_of_exactly_the_longest_duration_passes_with_its_padding_cut(kind):
    decoded = read(encode(voice(2.0, sample_rate=48_000), 48_000, kind), replace(LIMITS, max_duration_s=2.0))
    assert decoded.waveform.duration_s == pytest.approx(2.0, abs=0.001)
    assert decoded.waveform.duration_s <= 2.0


def claims_ten_hours(kind: str) -> bytes:
    """About 20 kB of real sound behind a header that says ten hours."""
    data = encode(voice(1.5), RATE, kind)
    n_samples = TEN_HOURS_S * RATE
    if kind == "wav_u8":
        return patch(data, data.find(b"data") + 4, struct.pack("<I", n_samples))
    if kind == "flac_16":
        packed = struct.unpack(">Q", data[18:26])[0]
        return patch(data, 18, struct.pack(">Q", packed >> 36 << 36 | n_samples))
    if kind == "mp3":
        at = max(data.find(b"Xing"), data.find(b"Info"))
        return patch(data, at + 8, struct.pack(">I", n_samples // 576))
    if kind == "ogg_opus":
        return with_last_granule(data, TEN_HOURS_S * 48_000)
    if kind == "m4a":
        data = data.replace(b"edts", b"free")  # FFmpeg believes the shortest of edit list, header and packet lengths
        packets = data.find(b"stts") + 12
        n_packets = struct.unpack(">I", data[packets : packets + 4])[0]
        data = patch(data, packets + 4, struct.pack(">I", n_samples // n_packets))
        return patch(data, data.find(b"mdhd") + 20, struct.pack(">I", n_samples))
    at = data.find(b"\x44\x89\x88")
    return patch(data, at + 3, struct.pack(">d", TEN_HOURS_S * 1_000.0))


def with_last_granule(data: bytes, granule: int) -> bytes:
    """An Ogg file whose last page says that it ends at `granule`, with the checksum mended."""
    at = data.rfind(b"OggS")
    page = bytearray(data[at:])
    page[6:14] = struct.pack("<Q", granule)
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", checksum(page))
    return data[:at] + bytes(page)


@pytest.mark.parametrize("kind", ["wav_u8", "flac_16", "mp3", "ogg_opus", "m4a", "webm"])
def test_a_small_file_that_claims_ten_hours_is_refused_before_it_is_expanded(kind):
    data = claims_ten_hours(kind)
    assert len(data) < 60_000
    with pytest.raises(RecordingTooLongError, match="at most 600 s"):
        read(data)


def test_a_small_file_that_expands_to_eleven_minutes_is_stopped_while_it_does():
    file = io.BytesIO()
    soundfile.write(file, np.zeros(11 * 60 * 8_000, np.int16), 8_000, format="FLAC")
    data = file.getvalue()
    assert len(data) < 30_000
    unclaimed = patch(data, 18, struct.pack(">Q", struct.unpack(">Q", data[18:26])[0] >> 36 << 36))
    with pytest.raises(RecordingTooLongError, match="lasts 6"):
        read(unclaimed)


def test_time_is_up_at_the_deadline():
    for kind in ("wav_16", "mp3", "webm"):
        data = encode(voice(1.0), RATE, kind)
        with pytest.raises(DecodeTimeoutError, match="given up after 1e-09 s"):
            read(data, replace(LIMITS, decode_deadline_s=1e-9))
        assert read(data).waveform.duration_s > 0.9


# -- odd sampling


@pytest.mark.parametrize(
    ("sample_rate", "n_channels"), [(7_999, 1), (4_000, 1), (192_001, 1), (768_000, 2), (16_000, 9)]
)
def test_absurd_sampling_is_refused_with_what_would_be_right(sample_rate, n_channels):
    channels = np.repeat(voice(0.4)[:, None], n_channels, axis=1)
    with pytest.raises(UnsupportedSamplingError) as refused:
        read(wav(channels, sample_rate))
    assert f"{n_channels} channels at {sample_rate:,} Hz" in str(refused.value)
    assert "1 to 8 channels at 8,000 to 192,000 Hz" in str(refused.value)


def test_sampling_of_compressed_sound_is_held_to_the_same_limits():
    data = mux([("flac", voice(0.5)[:, None], 4_000)], "flac")
    with pytest.raises(UnsupportedSamplingError) as refused:
        read(data)
    assert (refused.value.n_channels, refused.value.sample_rate_hz) == (1, 4_000)


# -- nothing to hear


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_counted(value):
    samples = voice(0.5).copy()
    samples[100:110] = value
    with pytest.raises(InvalidSamplesError, match=r"10 of 8,000 samples are not numbers") as refused:
        read(wav(samples, encoding="FLOAT"))
    assert refused.value.n_invalid == 10


@pytest.mark.parametrize("kind", ["wav_16", "flac_16", "mp3", "ogg_opus", "m4a"])
def test_digital_silence_is_refused(kind):
    with pytest.raises(SilentAudioError, match="The recording is silent"):
        read(encode(np.zeros(RATE, np.float32), RATE, kind))


def test_near_silence_is_refused_with_its_level_and_quiet_speech_is_not():
    with pytest.raises(SilentAudioError, match="a peak of -66 dBFS"):
        read(wav(voice(1.0) * 0.001, encoding="FLOAT"))
    assert read(wav(voice(1.0) * 0.0025, encoding="FLOAT")).waveform.duration_s == 1.0


def test_a_constant_offset_is_silence():
    with pytest.raises(SilentAudioError, match="digital silence"):
        read(wav(np.full(RATE, 0.4, np.float32)))


@pytest.mark.parametrize("encoding", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("shape", ["square", "constant"])
def test_a_recording_that_is_all_clipped_is_refused(encoding, shape):
    square = np.sign(np.sin(2 * np.pi * 150 * (np.arange(RATE) + 0.5) / RATE)).astype(np.float32)
    with pytest.raises(ClippedAudioError, match="100\u00a0% of the recording is clipped"):
        read(wav(square if shape == "square" else np.ones(RATE, np.float32), encoding=encoding))


def test_clipping_is_counted_where_it_happened():
    loud = np.clip(voice(2.0, sample_rate=44_100) * 4, -1, 1)  # peaks 6 dB above full scale
    decoded = read(wav(loud, 44_100))
    assert decoded.clipping_share == pytest.approx(np.mean(np.abs(loud) >= 1), rel=0.1)
    assert decoded.clipping_share > 0.002
    in_one_of_two = np.stack([loud, loud / 8], axis=1)
    assert read(wav(in_one_of_two, 44_100)).clipping_share == pytest.approx(decoded.clipping_share / 2, rel=0.01)


def test_a_loud_sound_that_touches_full_scale_is_not_clipped():
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    assert read(wav(tone)).clipping_share == 0
    assert read(wav(voice(1.0) * 2)).clipping_share == 0


def test_errors_keep_their_values_on_the_way_from_the_decoder():
    with pytest.raises(ClipTooShortError) as refused:
        read(encode(voice(0.29), RATE, "flac_16"))
    assert type(refused.value) is ClipTooShortError
    assert refused.value.code == "clip_too_short"
    assert refused.value.duration_s == pytest.approx(0.29)
    assert refused.value.min_duration_s == 0.3
    with pytest.raises(SilentAudioError) as silent:
        read(encode(np.zeros(RATE, np.float32), RATE, "flac_16"))
    assert silent.value.peak_dbfs == -np.inf
