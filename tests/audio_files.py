"""Recordings for tests, made on the spot: a synthetic voice, and files of every kind that is read."""

from __future__ import annotations

import functools
import io

import av
import numpy as np
import soundfile
import soxr
from scipy.signal import butter, lfilter, sosfilt

SOUNDFILE_KINDS = {
    "wav_u8": ("WAV", "PCM_U8", "pcm_u8"),
    "wav_16": ("WAV", "PCM_16", "pcm_s16"),
    "wav_24": ("WAV", "PCM_24", "pcm_s24"),
    "wav_32": ("WAV", "PCM_32", "pcm_s32"),
    "wav_float": ("WAV", "FLOAT", "pcm_f32"),
    "wav_double": ("WAV", "DOUBLE", "pcm_f64"),
    "wav_extensible_16": ("WAVEX", "PCM_16", "pcm_s16"),
    "wav_extensible_24": ("WAVEX", "PCM_24", "pcm_s24"),
    "wav_extensible_float": ("WAVEX", "FLOAT", "pcm_f32"),
    "wav_rf64": ("RF64", "PCM_16", "pcm_s16"),
    "wav_mulaw": ("WAV", "ULAW", "pcm_mulaw"),
    "wav_alaw": ("WAV", "ALAW", "pcm_alaw"),
    "flac_16": ("FLAC", "PCM_16", "flac"),
    "flac_24": ("FLAC", "PCM_24", "flac"),
    "ogg_vorbis": ("OGG", "VORBIS", "vorbis"),
}
AV_KINDS = {
    "mp3": ("mp3", "libmp3lame", "mp3", {}),
    "ogg_opus": ("ogg", "libopus", "opus", {}),
    "ogg_flac": ("ogg", "flac", "flac", {}),
    "m4a": ("ipod", "aac", "aac", {}),
    "m4a_fragmented": ("mp4", "aac", "aac", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "aac": ("adts", "aac", "aac", {}),
    "webm": ("webm", "libopus", "opus", {}),
    "matroska_flac": ("matroska", "flac", "flac", {}),
}
KINDS = (*SOUNDFILE_KINDS, *AV_KINDS)
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@functools.cache
def voice(
    duration_s: float, *, sample_rate: int = 16_000, pitch_hz: float = 140.0, seed: int = 0, hisses: bool = False
) -> np.ndarray:
    """A synthetic voice: pulses through three formants in syllables with pauses; float32, peak 0.5.

    With `hisses`, every third syllable begins with 80 ms of noise above 4 kHz, as an s.
    """
    random = np.random.default_rng(seed)
    n_samples = round(duration_s * sample_rate)
    pitch = pitch_hz * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * np.arange(n_samples) / sample_rate))
    phase = np.cumsum(pitch / sample_rate)
    sound = (np.diff(np.floor(phase), prepend=0) > 0).astype(float) + 0.01 * random.standard_normal(n_samples)
    for frequency, width in ((600, 80), (1_500, 120), (2_600, 160)):
        radius = np.exp(-np.pi * width / sample_rate)
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * frequency / sample_rate), radius**2], sound)
    envelope = np.zeros(n_samples)
    hiss = np.zeros(n_samples)
    at = 0.1
    n_syllables = 0
    while at < duration_s - 0.1:
        length = random.uniform(0.12, 0.3)
        start, end = int(at * sample_rate), min(n_samples, int((at + length) * sample_rate))
        envelope[start:end] = np.hanning(end - start) * random.uniform(0.5, 1)
        n_syllables += 1
        if hisses and n_syllables % 3 == 0:
            hiss[start : start + sample_rate // 12] = 1
        at += length + (random.uniform(0.3, 0.6) if random.random() < 0.2 else 0.02)
    sound = sound * envelope
    sound /= np.abs(sound).max()
    if hisses:
        sound += (
            0.1
            * hiss
            * sosfilt(butter(4, 4_000, "highpass", fs=sample_rate, output="sos"), random.standard_normal(n_samples))
        )
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def encode(samples: np.ndarray, sample_rate: int, kind: str, *, n_channels: int = 1) -> bytes:
    """A file of `kind` that holds `samples` (n_samples,) in every one of its channels."""
    channels = np.repeat(samples[:, None], n_channels, axis=1)
    if kind in SOUNDFILE_KINDS:
        container, encoding, _ = SOUNDFILE_KINDS[kind]
        file = io.BytesIO()
        with soundfile.SoundFile(file, "w", sample_rate, n_channels, encoding, format=container) as output:
            for start in range(0, len(channels), 4_096):  # libsndfile 1.2 crashes when it gets much Vorbis at once
                output.write(channels[start : start + 4_096])
        return file.getvalue()
    container, encoder, _, options = AV_KINDS[kind]
    return mux([(encoder, channels, sample_rate)], container, options)


def mux(tracks: list[tuple[str, np.ndarray, int]], container: str, options: dict[str, str] | None = None) -> bytes:
    """A file of several tracks, each an encoder's name, samples (n_samples, n_channels) and their sample rate."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        streams = []
        for encoder, channels, sample_rate in tracks:
            layout = _LAYOUTS[channels.shape[1]]
            rate = sample_rate
            if encoder == "libopus" and rate not in (8_000, 12_000, 16_000, 24_000, 48_000):
                channels, rate = soxr.resample(channels, rate, 48_000).astype(np.float32), 48_000
            if encoder == "flac":
                packed, name = (np.clip(channels, -1, 1) * 32_767).astype(np.int16), "s16"
            else:
                packed, name = channels.astype(np.float32), "flt"
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed).reshape(1, -1), format=name, layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            streams.append((output.add_stream(encoder, rate=rate, layout=layout), frame))
        for stream, frame in streams:
            output.mux(stream.encode(frame))
        for stream, _ in streams:
            output.mux(stream.encode(None))
    return file.getvalue()


def expected_codec(kind: str) -> str:
    """What `AudioFormat.codec` says of a file of `kind`."""
    return SOUNDFILE_KINDS[kind][2] if kind in SOUNDFILE_KINDS else AV_KINDS[kind][2]
