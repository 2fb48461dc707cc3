"""Audio in: the bytes of a recording become one waveform, mono, 16 kHz, or an error that says what is wrong with them.

WAV is decoded here. Everything else is decompressed by FFmpeg, in a process of its own with a bound on its memory and
its time, since a hostile file of a few kilobytes can ask FFmpeg for gigabytes (docs/audio.md has the measurements).
"""

from __future__ import annotations

from core.errors import EmptyAudioError, UploadTooLargeError
from core.features.containers import Container, recognise
from core.features.decoder_process import decode_apart, start_decoder
from core.features.mixing import Mixer
from core.features.wav import decode_wav
from core.features.waveform import TARGET_SAMPLE_RATE_HZ, DecodedAudio, DecodeLimits, Waveform

__all__ = ["TARGET_SAMPLE_RATE_HZ", "DecodeLimits", "DecodedAudio", "Waveform", "decode", "start_decoder"]


def decode(data: bytes, *, limits: DecodeLimits) -> DecodedAudio:
    """The waveform in `data`, a whole file of any kind that is read.

    The container is told by content. What a header claims is checked before anything is expanded, and what comes out
    is counted while it does. A damaged or truncated file is used as far as it goes, with a sentence in
    `format.warnings`. Safe to call from several threads.

    Parameters
    ----------
    data : bytes
        The file.
    limits : DecodeLimits
        What is accepted.

    Returns
    -------
    DecodedAudio
        float32 (n_samples,), finite, within [-1, 1], at 16 kHz.

    Raises
    ------
    EmptyAudioError, UploadTooLargeError, UnsupportedFormatError, UnsupportedSamplingError, DamagedAudioError
        The bytes are not a recording that is read, or nothing of it can be.
    ClipTooShortError, RecordingTooLongError
        It lasts less or more than the limits, or claims to last more.
    InvalidSamplesError, ClippedAudioError, SilentAudioError
        Nobody can be heard in it.
    DecodeTimeoutError
        The deadline has passed.
    """
    if not data:
        raise EmptyAudioError
    if len(data) > limits.max_upload_mb * 1e6:
        raise UploadTooLargeError(len(data), limits.max_upload_mb)
    recognised = recognise(data)
    if recognised.container is not Container.WAV:
        return decode_apart(data, recognised, limits=limits)
    mixer = Mixer(limits)
    return mixer.finish(decode_wav(data, recognised, mixer))
