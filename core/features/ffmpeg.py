"""Every container but WAV, by FFmpeg (PyAV): one demultiplexer for each, five codecs, no other file or URL."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.stream import Discard, Disposition
from numpy.typing import NDArray

from core.domain import AudioFormat
from core.errors import DamagedAudioError, EmptyAudioError, UnsupportedFormatError, UnsupportedSamplingError
from core.features.containers import Container, Recognised
from core.features.mixing import BLOCK_SAMPLES, MAX_CHANNELS, Mixer, missing_part, require_sampling
from core.features.ogg import has_last_page, with_whole_last_page

_DEMULTIPLEXERS = {
    Container.FLAC: "flac",
    Container.MP3: "mp3",
    Container.ADTS: "aac",
    Container.OGG: "ogg",
    Container.MP4: "mov",
    Container.WEBM: "matroska",
}
_CODECS = frozenset({"aac", "flac", "mp3", "opus", "vorbis"})
_OPEN_OPTIONS = {
    "codec_whitelist": "aac,flac,mp3,mp3float,opus,vorbis",  # no picture or video decoder ever runs
    "protocol_whitelist": "none",  # a file cannot have another file or URL opened
    "max_streams": "32",
    "probesize": "1000000",
    "analyzeduration": "2000000",
}


class _Source(io.BytesIO):
    """A file in memory that seems to end once the deadline has passed, so that no search through it can go on."""

    def __init__(self, data: bytes, mixer: Mixer) -> None:
        super().__init__(data)
        self._mixer = mixer

    def read(self, size: int | None = -1, /) -> bytes:
        return b"" if self._mixer.is_late else super().read(size)


def decode_with_ffmpeg(data: bytes, recognised: Recognised, mixer: Mixer) -> AudioFormat:
    """Push the samples of a file to `mixer`; says what they were."""
    body = data[recognised.start :]
    is_cut_off = recognised.container is Container.OGG and not has_last_page(body)
    source = _Source(with_whole_last_page(body) if is_cut_off else body, mixer)
    try:
        container = av.open(
            source,
            mode="r",
            format=_DEMULTIPLEXERS[recognised.container],
            container_options=_OPEN_OPTIONS,
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError, MemoryError) as error:
        mixer.require_time()
        raise DamagedAudioError(recognised.container, _why_unopened(data, recognised)) from error
    with container:
        return _decode_container(container, body, recognised, mixer, is_cut_off=is_cut_off)


def _decode_container(
    container: av.container.InputContainer, body: bytes, recognised: Recognised, mixer: Mixer, *, is_cut_off: bool
) -> AudioFormat:
    stream, codec, warnings = _choose_stream(container, recognised)
    claimed_s = 0.0 if is_cut_off else _claimed_duration_s(container, stream, body, recognised)
    mixer.require_claim(claimed_s)
    tally = _Tally()
    for block, sample_rate_hz in _blocks(_frames(container, stream, tally)):
        mixer.push(block, sample_rate_hz)
    mixer.require_time()
    if tally.n_damaged and not mixer.sample_rate_hz:
        raise DamagedAudioError(recognised.container, "every part of its sound is damaged")
    if tally.n_damaged:
        warnings.append(f"{tally.n_damaged} of {tally.n_packets} parts of the file are damaged and were left out.")
    if missing := missing_part(claimed_s, mixer.duration_s):
        warnings.append(missing)
    if is_cut_off:
        warnings.append("The file stops without its closing page: its end may be missing.")
    return AudioFormat(
        container=recognised.container.value,
        codec=codec,
        sample_rate_hz=mixer.first_sample_rate_hz,
        n_channels=mixer.n_channels,
        warnings=tuple(warnings),
    )


def _choose_stream(
    container: av.container.InputContainer, recognised: Recognised
) -> tuple[av.AudioStream, str, list[str]]:
    """The first stream of sound that can be decoded, its codec, and a warning when there are others."""
    sounds = list(container.streams.audio)
    if not sounds:
        has_video = any(not video.disposition & Disposition.attached_pic for video in container.streams.video)
        if has_video:
            raise UnsupportedFormatError("a video without sound")
        raise EmptyAudioError(f"The {recognised.container} file holds no sound")
    names = [stream.codec_context.codec.canonical_name if stream.codec_context else "unknown" for stream in sounds]
    index = next((index for index, name in enumerate(names) if name in _CODECS), None)
    if index is None:
        raise UnsupportedFormatError(f"a {recognised.container} file with {names[0]} sound")
    stream, name = sounds[index], names[index]
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    if len(sounds) == 1:
        return stream, name, []
    return stream, name, [f"The file holds {len(sounds)} sound tracks; only the first that can be read was used."]


def _claimed_duration_s(
    container: av.container.InputContainer, stream: av.AudioStream, body: bytes, recognised: Recognised
) -> float:
    """What the file says it lasts; 0 when it does not say, and FFmpeg only guesses from the bit rate."""
    head = body[:4_096]
    says = recognised.container not in {Container.MP3, Container.ADTS} or b"Xing" in head or b"Info" in head
    if not says:
        return 0.0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


@dataclass(slots=True)
class _Tally:
    """How many packets were read, and how many of them could not be used."""

    n_packets: int = 0
    n_damaged: int = 0


def _frames(container: av.container.InputContainer, stream: av.AudioStream, tally: _Tally) -> Iterator[av.AudioFrame]:
    """The frames of `stream`; packets that cannot be decoded are counted and left out."""
    stream.codec_context.thread_count = 1
    has_begun = False
    try:
        for packet in container.demux(stream):
            tally.n_packets += 1
            try:
                frames = stream.codec_context.decode(packet)
            except av.FFmpegError:
                tally.n_damaged += 1
                continue
            for frame in frames:
                try:
                    require_sampling(frame.layout.nb_channels, frame.sample_rate)
                except UnsupportedSamplingError:
                    if not has_begun:
                        raise
                    tally.n_damaged += 1  # a header that changes halfway to something absurd is damage
                    continue
                has_begun = True
                yield frame
    except av.FFmpegError:
        tally.n_damaged += 1  # the demultiplexer cannot go on; what came out before it is kept


def _blocks(frames: Iterable[av.AudioFrame]) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Frames of one format joined to blocks of about `BLOCK_SAMPLES`, each with its sample rate in Hz."""
    waiting: list[av.AudioFrame] = []
    n_samples = 0
    for frame in frames:
        if waiting and (n_samples >= BLOCK_SAMPLES or not _is_alike(frame, waiting[0])):
            yield samples_of(waiting), waiting[0].sample_rate
            waiting, n_samples = [], 0
        waiting.append(frame)
        n_samples += frame.samples
    if waiting:
        yield samples_of(waiting), waiting[0].sample_rate


def _is_alike(frame: av.AudioFrame, other: av.AudioFrame) -> bool:
    return (
        frame.sample_rate == other.sample_rate
        and frame.layout.nb_channels == other.layout.nb_channels
        and frame.format.name == other.format.name
    )


def samples_of(frames: list[av.AudioFrame]) -> NDArray[np.float32]:
    """The samples of `frames`, alike in format: float32 (n_channels, n_samples)."""
    n_channels = frames[0].layout.nb_channels
    block = np.concatenate([_channels(frame, n_channels) for frame in frames], axis=1)
    samples: NDArray[np.float32] = block.astype(np.float32, copy=False)
    if block.dtype.kind != "f":
        samples /= np.float32(-float(np.iinfo(block.dtype).min))
    return samples


def _channels(frame: av.AudioFrame, n_channels: int) -> NDArray[np.generic]:
    """The samples of one frame (n_channels, n_samples), in its own number format."""
    if not frame.format.is_planar:
        return frame.to_ndarray().reshape(-1, n_channels).T
    if n_channels < MAX_CHANNELS:
        return frame.to_ndarray()
    # PyAV 18.1 looks for a ninth plane behind the eighth and takes what stands there for one: have FFmpeg pack them.
    (packed,) = av.AudioResampler(format=frame.format.packed.name).resample(frame)
    return packed.to_ndarray().reshape(-1, n_channels).T


def _why_unopened(data: bytes, recognised: Recognised) -> str:
    if recognised.container is Container.MP4 and b"moov" not in data:
        return "its index is missing, as when a file is cut off before its end"
    return "its header is damaged or incomplete"
