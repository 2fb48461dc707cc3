"""How good a recording is for recognising emotion: level, clipping, speech, noise, bandwidth, and what that means.

Conventions: levels in dB relative to a full-scale sample of 1. Spectra are of 32 ms every 16 ms (Hann), their power
summed in bands of 250 Hz from 62.5 Hz up: below lie offset and hum, no speech.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from core.domain import Bandwidth, Quality, QualityNote
from core.features.audio import TARGET_SAMPLE_RATE_HZ, Waveform
from core.features.mixing import BLOCK_SAMPLES, count_clipped
from core.features.speech import FRAME_S, speech_activity

_FLOOR_DBFS = -120.0
"""Said of digital silence, where a level has no logarithm."""

_WINDOW, _HOP = 512, 256
_HANN = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
_BIN_HZ = TARGET_SAMPLE_RATE_HZ / _WINDOW
_FIRST_BIN, _BINS_PER_BAND, _N_BANDS = 2, 8, 31
_BLOCK_FRAMES = 1_024

_NOISE_QUANTILE = 0.05
_NOISE_QUANTILE_OF_MEAN = 0.5425
"""5 % quantile, relative to the mean, of the power of noise in two bands: chi-square with 20 degrees of freedom, for 16
bins of a Hann window, of which each is worth 1 / 1.6 of an independent one (measured on white noise)."""
_SPEECH_OVER_NOISE = 1.4
"""Frames this many times the noise hold speech. Lower mistakes noise for speech, higher overrates weak speech: of 1.3,
1.4 and 1.6 this errs least from 0 to 30 dB (docs/audio.md)."""
_HANGOVER_FRAMES = 12
"""Pauses up to 0.2 s belong to active speech (ITU-T P.56, section 7.1)."""
_SNR_RANGE_DB = (-10.0, 60.0)
"""Beyond, noise hides all speech, or lies below what 16-bit recordings and microphones reach."""

_CUT_OFF_DB = 50.0
"""Between loudest band and end of the spectrum: at this depth 124 of 125 wide recordings of five corpora reach higher
than a telephone (docs/audio.md)."""
_CUT_OFF_OVER_NOISE = 4.0
_TELEPHONE_HZ = 5_100.0
"""Telephone codecs end at 3.4 to 4 kHz, but a gentle filter lets some through up to here."""
_HIDING_SNR_DB = 20.0
"""Noise above this level hides weak fricatives, so that a missing upper half proves nothing."""

_CLIPPED_SHARE = 0.001
_QUIET_PEAK_DBFS = -40.0
_NOISY_SNR_DB = 10.0
_SHORT_SPEECH_S = 1.0
_LITTLE_SPEECH_RATIO = 0.1


def measure_quality(
    waveform: Waveform,
    *,
    source_sample_rate_hz: int,
    clipping_share: float | None = None,
    activity: NDArray[np.bool_] | None = None,
) -> Quality:
    """Level, clipping, speech, noise and bandwidth of a recording, with a note for each that weakens the answer.

    Noise is the 5 % quantile over time of the power in each band of 500 Hz, corrected to the mean that noise with this
    quantile has; the speech's power is that of the frames above it, less the noise (quantile based noise estimation,
    Stahl, Fischer and Bippus, ICASSP 2000; active level as in ITU-T P.56). It needs no pause, since speech leaves gaps
    in every band. Within 3 dB for steady noise from 0 to 30 dB; changing noise, such as other voices, is underrated.

    Bandwidth is the end of the highest band of 250 Hz that in the loudest 5 % of the speech frames lies above the
    noise and within 50 dB of the loudest band.

    Parameters
    ----------
    waveform : Waveform
        float32 (n_samples,) at 16 kHz, not empty.
    source_sample_rate_hz : int
        Before resampling; 8 kHz means telephone bandwidth whatever stands above 4 kHz.
    clipping_share : float, optional
        `DecodedAudio.clipping_share`, counted before mixing and resampling; counted in `waveform` when it is missing.
    activity : bool (n_frames,), optional
        `speech_activity(waveform)` where that is known already.

    Returns
    -------
    Quality
        `snr_db` in [-10, 60], `bandwidth_hz` in (0, 8000].

    Raises
    ------
    ValueError
        The waveform is empty or not at 16 kHz.

    Examples
    --------
    >>> samples = 0.25 * np.sin(np.arange(16_000) * 0.2).astype(np.float32)
    >>> quality = measure_quality(Waveform(samples=samples, sample_rate=16_000), source_sample_rate_hz=16_000)
    >>> round(quality.peak_dbfs), round(quality.rms_dbfs), quality.clipping_share
    (-12, -15, 0.0)
    """
    samples = waveform.samples
    if not len(samples) or waveform.sample_rate != TARGET_SAMPLE_RATE_HZ:
        raise ValueError(f"need samples at {TARGET_SAMPLE_RATE_HZ} Hz, not {len(samples)} at {waveform.sample_rate} Hz")
    if clipping_share is None:
        blocks = (samples[None, start : start + BLOCK_SAMPLES] for start in range(0, len(samples), BLOCK_SAMPLES))
        clipping_share = sum(count_clipped(block) for block in blocks) / len(samples)
    active = speech_activity(waveform) if activity is None else activity
    powers = _band_powers(samples)
    snr_db = _snr_db(powers)
    bandwidth_hz = min(_bandwidth_hz(powers, active, snr_db), source_sample_rate_hz / 2)
    is_telephone = bandwidth_hz <= _TELEPHONE_HZ
    peak_dbfs = _level_db(max(float(samples.max()), -float(samples.min())) ** 2)
    rms_dbfs = _level_db(float(np.dot(samples, samples)) / len(samples))
    speech_ratio = float(active.mean())
    return Quality(
        peak_dbfs=peak_dbfs,
        rms_dbfs=rms_dbfs,
        clipping_share=clipping_share,
        speech_ratio=speech_ratio,
        snr_db=snr_db,
        bandwidth=Bandwidth.TELEPHONE if is_telephone else Bandwidth.WIDE,
        bandwidth_hz=bandwidth_hz,
        notes=tuple(
            note
            for note in (
                _note_on_level(peak_dbfs, rms_dbfs),
                _note_on_clipping(clipping_share),
                _note_on_speech(speech_ratio, n_frames=len(active)),
                _note_on_noise(snr_db, speech_s=float(active.sum()) * FRAME_S),
                _note_on_bandwidth(bandwidth_hz) if is_telephone else None,
            )
            if note is not None
        ),
    )


def _note_on_level(peak_dbfs: float, rms_dbfs: float) -> QualityNote | None:
    """Below a peak of -40 dBFS, 16-bit recording keeps under 58 dB, and soft speech spans 40 of them."""
    if peak_dbfs >= _QUIET_PEAK_DBFS:
        return None
    return QualityNote(
        code="quiet",
        sentence=f"The recording is quiet (peak {peak_dbfs:.0f} dBFS, mean {rms_dbfs:.0f} dBFS): soft parts of the "
        "voice may be lost. Move closer to the microphone or raise its level.",
    )


def _note_on_clipping(clipping_share: float) -> QualityNote | None:
    """From 0.1 % on: as much as speech loses when its peaks stand 2 to 4 dB above full scale (docs/audio.md)."""
    if clipping_share <= _CLIPPED_SHARE:
        return None
    return QualityNote(
        code="clipped",
        sentence=f"{100 * clipping_share:.1f}\u00a0% of the recording is clipped (stuck at full scale), which sounds "
        "harsher than the voice was. Lower the recording level.",
    )


def _note_on_speech(speech_ratio: float, *, n_frames: int) -> QualityNote | None:
    """Listeners need up to a second of voice to tell an emotion (Pell and Kotz 2011: 0.5 to 1.5 s)."""
    speech_s = speech_ratio * n_frames * FRAME_S
    if speech_s >= _SHORT_SPEECH_S and speech_ratio >= _LITTLE_SPEECH_RATIO:
        return None
    return QualityNote(
        code="little_speech",
        sentence=f"Only {speech_s:.1f} s of the recording ({100 * speech_ratio:.0f}\u00a0%) sounds like speech. "
        "Two seconds or more of one voice work best.",
    )


def _note_on_noise(snr_db: float, *, speech_s: float) -> QualityNote | None:
    """Below 10 dB, over a sixth of the 30 dB that speech spans lies under the noise (ANSI S3.5-1997, section 4.6).

    Speech shorter than a second leaves too few gaps to see the noise through: the estimate then errs on the low side.
    """
    if snr_db >= _NOISY_SNR_DB or speech_s < _SHORT_SPEECH_S:
        return None
    return QualityNote(
        code="noisy",
        sentence=f"The voice stands only about {max(snr_db, 0):.0f} dB above the noise; 20 dB or more are good. "
        "Record in a quieter place or closer to the microphone.",
    )


def _note_on_bandwidth(bandwidth_hz: float) -> QualityNote:
    return QualityNote(
        code="telephone",
        sentence=f"The sound ends at {bandwidth_hz / 1_000:.1f} kHz, as over a telephone: what the voice holds above "
        "is missing. A recording from the microphone itself tells more.",
    )


def _level_db(power: float) -> float:
    return max(_FLOOR_DBFS, 10 * math.log10(max(power, 1e-30)))


def _band_powers(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power of every frame in every band of 250 Hz: float32 (n_frames, n_bands), in squared full scale."""
    if len(samples) < _WINDOW:
        samples = np.pad(samples, (0, _WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    powers = np.empty((len(frames), _N_BANDS), dtype=np.float32)
    bins = slice(_FIRST_BIN, _FIRST_BIN + _N_BANDS * _BINS_PER_BAND)
    scale = np.float32(2 / (_WINDOW * float(np.square(_HANN).sum())))
    for start in range(0, len(frames), _BLOCK_FRAMES):  # a long recording's spectra would take eight times its memory
        spectra = fft.rfft(frames[start : start + _BLOCK_FRAMES] * _HANN, axis=1)[:, bins]
        power = np.square(spectra.real) + np.square(spectra.imag)
        powers[start : start + _BLOCK_FRAMES] = power.reshape(len(power), _N_BANDS, -1).sum(axis=2) * scale
    return powers


def _quantile(powers: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """The value in each column below which `share` of its rows lie, without interpolation."""
    index = int(share * (len(powers) - 1))
    values: NDArray[np.float32] = np.partition(powers, index, axis=0)[index]
    return values


def _snr_db(powers: NDArray[np.float32]) -> float:
    """Speech to noise ratio, in dB, of frames (n_frames, n_bands); see `measure_quality`."""
    wide_bands = powers[:, : _N_BANDS // 2 * 2].reshape(len(powers), -1, 2).sum(axis=2)
    noise = float(_quantile(wide_bands, _NOISE_QUANTILE).sum()) / _NOISE_QUANTILE_OF_MEAN
    power = wide_bands.sum(axis=1)
    loud = np.flatnonzero(power > _SPEECH_OVER_NOISE * noise)
    lowest, highest = _SNR_RANGE_DB
    if not len(loud):
        return lowest
    within = np.zeros(len(power), dtype=np.bool_)
    within[loud] = True
    gaps = np.diff(loud)
    for at in np.flatnonzero((gaps > 1) & (gaps <= _HANGOVER_FRAMES)):
        within[loud[at] : loud[at + 1]] = True
    speech = float(power[within].mean()) - noise
    if speech <= 0 or noise <= 0:
        return lowest if speech <= 0 else highest
    return min(highest, max(lowest, 10 * math.log10(speech / noise)))


def _bandwidth_hz(powers: NDArray[np.float32], active: NDArray[np.bool_], snr_db: float) -> float:
    """Where the spectrum of the speech frames ends, in Hz; see `measure_quality`."""
    frame_s = _HOP / TARGET_SAMPLE_RATE_HZ
    centres = ((np.arange(len(powers)) + 1) * frame_s / FRAME_S).astype(np.int64)
    is_speech = active[np.minimum(centres, len(active) - 1)]
    speech = powers[is_speech] if is_speech.any() else powers
    loud = _quantile(speech, 0.95)
    least = float(loud.max()) * 10 ** (-_CUT_OFF_DB / 10)
    noise = _quantile(powers, _NOISE_QUANTILE) / _NOISE_QUANTILE_OF_MEAN
    reached = (loud >= least) & (loud > _CUT_OFF_OVER_NOISE * noise)
    if snr_db < _HIDING_SNR_DB or not reached.any():
        reached |= loud >= least
    end = _FIRST_BIN + (int(np.flatnonzero(reached)[-1]) + 1) * _BINS_PER_BAND
    is_last = end == _FIRST_BIN + _N_BANDS * _BINS_PER_BAND
    return TARGET_SAMPLE_RATE_HZ / 2 if is_last else end * _BIN_HZ
