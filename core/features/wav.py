"""WAV, by libsndfile. It never expands: a sample takes at most four times the memory it takes in the file."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import soundfile

from core.domain import AudioFormat
from core.errors import DamagedAudioError, EmptyAudioError, UnsupportedFormatError
from core.features.containers import Container, Recognised
from core.features.mixing import BLOCK_SAMPLES, Mixer, missing_part, require_sampling

_WAV_CODECS = {
    "PCM_U8": "pcm_u8",
    "PCM_16": "pcm_s16",
    "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32",
    "FLOAT": "pcm_f32",
    "DOUBLE": "pcm_f64",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
}
_WAV_ENCODINGS = frozenset({1, 3, 6, 7})
_WAVE_FORMAT_EXTENSIBLE = 0xFFFE
_WAV_SIZE_UNKNOWN = 0x7FFF_0000
"""Programs that write to a pipe cannot know the size: FFmpeg writes 0xFFFFFFFF, sox 0x7FFFFFFF less the header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _WavHeader:
    """What the `fmt` and `data` chunks of a WAV file say (Multimedia Programming Interface 1.0, 1991, part 3)."""

    encoding: int
    """1 PCM, 3 IEEE float, 6 A-law, 7 mu-law; of WAVE_FORMAT_EXTENSIBLE the one in its sub-format."""
    n_channels: int
    sample_rate_hz: int
    bytes_per_frame: int
    size_at: int
    """Where the size of the `data` chunk stands."""
    claimed_bytes: int | None
    """None where a program that wrote to a pipe left a placeholder."""


def decode_wav(data: bytes, recognised: Recognised, mixer: Mixer) -> AudioFormat:
    """Push the samples of a WAV file to `mixer`; says what they were."""
    if recognised.start:
        data = data[recognised.start :]
    header = _read_header(data)
    if header.encoding not in _WAV_ENCODINGS:
        raise UnsupportedFormatError(f"a WAV file of encoding {header.encoding:#06x}")
    require_sampling(header.n_channels, header.sample_rate_hz)
    frame_rate = header.bytes_per_frame * header.sample_rate_hz
    claimed_s = (header.claimed_bytes or 0) / frame_rate
    mixer.require_claim(claimed_s)
    source = io.BytesIO(data)
    if header.claimed_bytes == 0:  # a recorder that was killed has not written the size; libsndfile reads nothing then
        source = io.BytesIO(b"".join((data[: header.size_at], b"\xff\xff\xff\xff", data[header.size_at + 4 :])))
    try:
        with soundfile.SoundFile(source) as file:
            codec = _WAV_CODECS.get(file.subtype, file.subtype.lower())
            n_frames = max(1, BLOCK_SAMPLES // file.channels)
            while len(block := file.read(n_frames, dtype="float32", always_2d=True)):
                mixer.push(block.T, file.samplerate)
    except soundfile.SoundFileError as error:
        raise DamagedAudioError(recognised.container, "its header contradicts itself") from error
    return AudioFormat(
        container=recognised.container.value,
        codec=codec,
        sample_rate_hz=header.sample_rate_hz,
        n_channels=header.n_channels,
        warnings=(missing,) if (missing := missing_part(claimed_s, mixer.duration_s)) else (),
    )


def _read_header(data: bytes) -> _WavHeader:
    order = ">" if data[:4] == b"RIFX" else "<"
    layout: tuple[int, int, int, int] | None = None
    long_size: int | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, at)
        if name == b"ds64" and at + 24 <= len(data):  # RF64 (EBU Tech 3306): the true size stands here
            (long_size,) = struct.unpack_from(f"{order}Q", data, at + 16)
        if name == b"fmt " and at + 24 <= len(data):
            encoding, n_channels, rate, _, per_frame, _ = struct.unpack_from(f"{order}HHIIHH", data, at + 8)
            if encoding == _WAVE_FORMAT_EXTENSIBLE and at + 34 <= len(data):
                (encoding,) = struct.unpack_from(f"{order}H", data, at + 32)
            layout = encoding, n_channels, rate, per_frame
        if name == b"data":
            if layout is None:
                break
            encoding, n_channels, rate, per_frame = layout
            return _WavHeader(
                encoding=encoding,
                n_channels=n_channels,
                sample_rate_hz=rate,
                bytes_per_frame=max(1, per_frame),
                size_at=at + 4,
                claimed_bytes=long_size if size >= _WAV_SIZE_UNKNOWN else size,
            )
        at += 8 + size + size % 2
    if layout is None:
        raise DamagedAudioError(Container.WAV, "it does not say how its samples are stored")
    raise EmptyAudioError("The WAV file holds no samples")
