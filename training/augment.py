"""Augmentation: what may happen to a voice on its way to a microphone and into a file, drawn by chance.

Each augmentation stands here as a plain function with physical parameters (dB, seconds, Hz, semitones), and under a
name in a `Plan`, which gives it a strength between 0 (off) and 1 and draws the parameters. A plan's draws depend on its
seed, the augmentation's name and the caller's key (epoch, clip), on nothing else: switching one augmentation off leaves
what the others draw as it is, so that an ablation changes one thing.

Conventions: waveforms are `core.features.audio.Waveform` (float32, mono, within -1 to 1); log-mels are float32
`(n_frames, n_mels)`; nothing here imports tensorflow.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
import parselmouth
import soxr
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfiltfilt

from core.features.audio import Waveform

Samples = NDArray[np.float32]

TELEPHONE_BAND_HZ = (300.0, 3_400.0)
"""ITU-T G.712, the band of a telephone channel."""
TELEPHONE_SAMPLE_RATE_HZ = 8_000
MU = 255
"""ITU-T G.711, North America and Japan."""
CODECS = ("opus", "mp3", "mu_law")

WAVEFORM_AUGMENTATIONS = ("speed", "pitch", "room", "noise", "gain", "telephone", "codec")
"""By name, in the order in which they happen to a voice: the speaker, the room, the microphone, the line, the file."""
LOG_MEL_AUGMENTATIONS = ("spec_augment", "mixup")
AUGMENTATIONS = WAVEFORM_AUGMENTATIONS + LOG_MEL_AUGMENTATIONS


# -- noise


def coloured_noise(n_samples: int, *, exponent: float, rng: Generator) -> Samples:
    """Noise whose power falls with frequency as `1 / f ** exponent`, of unit power.

    `exponent` 0 is white, 1 pink, 2 brown noise. Shaped in the spectrum of white Gaussian noise (Timmer & Koenig 1995,
    "On generating power law noise", section 3).
    """
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples)
    frequency[0] = frequency[1] if len(frequency) > 1 else 1.0
    noise = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n_samples)
    return (noise / _root_mean_square(noise)).astype(np.float32)


def babble(voices: Sequence[Samples], n_samples: int, *, n_talkers: int, rng: Generator) -> Samples:
    """`n_talkers` of `voices` talking at once, each looped from a random point and as loud as the next; unit power.

    `voices` must come from the training part of a split: a test speaker in the babble is a leak.

    Raises
    ------
    ValueError
        There are no voices, or all that were drawn are silent.
    """
    if not voices:
        raise ValueError("babble needs at least one voice")
    mixed = np.zeros(n_samples)
    for index in rng.choice(len(voices), size=n_talkers, replace=len(voices) < n_talkers):
        voice = np.asarray(voices[index], dtype=np.float64)
        level = _root_mean_square(voice)
        if level > 0:
            mixed += np.resize(np.roll(voice, -int(rng.integers(len(voice)))), n_samples) / level
    level = _root_mean_square(mixed)
    if level == 0:
        raise ValueError("babble needs voices that are not silent")
    return (mixed / level).astype(np.float32)


def add_noise(waveform: Waveform, noise: Samples, *, snr_db: float, speech: tuple[int, int] | None = None) -> Waveform:
    """`waveform` with `noise` added so that their mean powers stand `snr_db` apart.

    A sum beyond full scale is turned down as a whole, which leaves the ratio as it is. Silence stays silence.

    Parameters
    ----------
    speech
        First sample and one past the last of the stretch whose power counts as that of `waveform`; all of it without.

    Raises
    ------
    ValueError
        The two differ in length.
    """
    if len(noise) != len(waveform.samples):
        raise ValueError(f"noise has {len(noise)} samples, the waveform {len(waveform.samples)}")
    measured = waveform.samples if speech is None else waveform.samples[slice(*speech)]
    scale = _root_mean_square(measured) / max(_root_mean_square(noise), 1e-12) * 10 ** (-snr_db / 20)
    return _within_full_scale(waveform.samples + scale * noise, waveform.sample_rate)


# -- room


def room_impulse_response(
    sample_rate_hz: int, *, rt60_s: float, direct_to_reverberant_db: float, rng: Generator
) -> NDArray[np.float64]:
    """Impulse response of a diffuse room: the direct sound, then Gaussian noise that decays by 60 dB in `rt60_s`.

    Polack's statistical model of reverberation (Polack 1988; Habets 2007, section 2.2.2), with the tail beginning 2 ms
    after the direct sound. The energy of the direct sound is 1, that of the tail `-direct_to_reverberant_db`.

    Returns
    -------
    float64 (n_samples,)
        1.2 times `rt60_s` long; the direct sound is the first sample.
    """
    n_samples = max(int(1.2 * rt60_s * sample_rate_hz), 2)
    first = min(int(0.002 * sample_rate_hz), n_samples - 1)
    time_s = np.arange(n_samples - first) / sample_rate_hz
    tail = rng.standard_normal(n_samples - first) * 10 ** (-3 * time_s / rt60_s)
    response = np.zeros(n_samples)
    response[first:] = tail * np.sqrt(10 ** (-direct_to_reverberant_db / 10) / np.square(tail).sum())
    response[0] += 1
    return response


def reverberate(waveform: Waveform, impulse_response: NDArray[np.float64]) -> Waveform:
    """`waveform` heard through `impulse_response`: as long, as loud (RMS) and not later than before."""
    wet = fftconvolve(waveform.samples.astype(np.float64), impulse_response)[: len(waveform.samples)]
    level = _root_mean_square(wet)
    if level > 0:
        wet *= _root_mean_square(waveform.samples) / level
    return _within_full_scale(wet, waveform.sample_rate)


# -- level, speaker


def change_gain(waveform: Waveform, *, gain_db: float) -> Waveform:
    """`waveform` made louder or softer, clipped at full scale as a microphone's converter clips."""
    louder = np.clip(waveform.samples * 10 ** (gain_db / 20), -1, 1)
    return Waveform(samples=louder.astype(np.float32), sample_rate=waveform.sample_rate)


def change_speed(waveform: Waveform, *, factor: float) -> Waveform:
    """`waveform` played `factor` times as fast, by resampling: tempo, pitch and formants all change by `factor`.

    Ko et al. (2015), "Audio augmentation for speech recognition", section 2.2. The length becomes
    `n_samples / factor`, rounded.
    """
    if factor == 1:
        return waveform
    played = soxr.resample(waveform.samples, waveform.sample_rate * factor, waveform.sample_rate)
    return _within_full_scale(_as_long_as(played, round(len(waveform.samples) / factor)), waveform.sample_rate)


def change_pitch(waveform: Waveform, *, semitones: float, rng: Generator) -> Waveform:
    """`waveform` with its pitch contour moved by `semitones`; tempo and formants stay.

    Praat's pitch-synchronous overlap-add ("Change gender" with a formant ratio of 1). A phase vocoder with resampling,
    such as `librosa.effects.pitch_shift`, moves the formants along, which makes another speaker rather than another
    pitch; `change_speed` does that already. A waveform without voiced sound, or too short to tell, comes back as it is.
    """
    if semitones == 0:
        return waveform
    sound = parselmouth.Sound(waveform.samples.astype(np.float64), sampling_frequency=waveform.sample_rate)
    try:
        median_hz = parselmouth.praat.call(sound.to_pitch(0.01, 60, 600), "Get quantile", 0, 0, 0.5, "Hertz")
        if not median_hz > 0:
            return waveform
        # Praat fills voiceless stretches from its own generator.
        parselmouth.praat.run(f"random_initializeWithSeedUnsafelyButPredictably({rng.integers(2**31)})")
        moved = parselmouth.praat.call(sound, "Change gender", 60, 600, 1.0, median_hz * 2 ** (semitones / 12), 1, 1)
    except parselmouth.PraatError:
        return waveform
    return _within_full_scale(_as_long_as(moved.values[0], len(waveform.samples)), waveform.sample_rate)


# -- telephone and codecs


def telephone(waveform: Waveform, *, line_snr_db: float, rng: Generator) -> Waveform:
    """`waveform` through a telephone: 300 to 3400 Hz, line noise, mu-law at 8 kHz, back at its own sample rate.

    The band is a Butterworth filter run forwards and backwards, so nothing is delayed: -6 dB at its edges.
    """
    nyquist_hz = waveform.sample_rate / 2
    low_hz, high_hz = TELEPHONE_BAND_HZ
    sections = butter(6, (low_hz / nyquist_hz, min(high_hz / nyquist_hz, 0.99)), btype="bandpass", output="sos")
    padding = min(len(waveform.samples) - 1, 3 * (2 * len(sections) + 1))
    band = sosfiltfilt(sections, waveform.samples.astype(np.float64), padlen=padding)
    narrow = soxr.resample(band, waveform.sample_rate, TELEPHONE_SAMPLE_RATE_HZ)
    level = _root_mean_square(narrow)
    noise = rng.standard_normal(len(narrow)) * level * 10 ** (-line_snr_db / 20)
    wide = soxr.resample(mu_law(narrow + noise), TELEPHONE_SAMPLE_RATE_HZ, waveform.sample_rate)
    return _within_full_scale(_as_long_as(wide, len(waveform.samples)), waveform.sample_rate)


def mu_law(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """`samples` after 8-bit mu-law companding, beyond full scale clipped (ITU-T G.711 in its continuous form).

    Examples
    --------
    >>> [round(float(value), 3) for value in mu_law(np.array([0.0, 0.01, 0.5, 1.5]))]
    [0.0, 0.01, 0.495, 1.0]
    """
    clipped = np.clip(samples, -1, 1)
    compressed = np.sign(clipped) * np.log1p(MU * np.abs(clipped)) / np.log1p(MU)
    # 127 steps either side of zero: an even number of codes has none at zero, and silence would hum.
    steps = np.round(compressed * 127) / 127
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU)


def through_codec(waveform: Waveform, *, codec: str, bit_rate_kbps: float = 0.0) -> Waveform:
    """`waveform` encoded and decoded again, as long as before and not later.

    Parameters
    ----------
    codec
        `opus` (libopus in Ogg), `mp3` (LAME) or `mu_law` (8 kHz, 64 kbit/s by definition).
    bit_rate_kbps
        For Opus and MP3; Opus takes 6 to 510, MP3 at 16 kHz 8 to 160.

    Raises
    ------
    ValueError
        There is no such codec.
    """
    if codec == "mu_law":
        narrow = soxr.resample(waveform.samples, waveform.sample_rate, TELEPHONE_SAMPLE_RATE_HZ)
        decoded = soxr.resample(mu_law(narrow), TELEPHONE_SAMPLE_RATE_HZ, waveform.sample_rate)
    elif codec == "opus":
        decoded = _encode_and_decode(waveform, "ogg", "libopus", "s16", bit_rate_kbps)
    elif codec == "mp3":
        decoded = _encode_and_decode(waveform, "mp3", "libmp3lame", "s16p", bit_rate_kbps)
    else:
        raise ValueError(f"there is no codec {codec!r}, only {', '.join(CODECS)}")
    return _within_full_scale(_as_long_as(decoded, len(waveform.samples)), waveform.sample_rate)


def _encode_and_decode(
    waveform: Waveform, container: str, codec: str, sample_format: str, bit_rate_kbps: float
) -> Samples:
    """What comes out of `codec`, in memory; the container tells the decoder what to drop at the start."""
    memory = io.BytesIO()
    as_int16 = np.round(np.clip(waveform.samples, -1, 1) * 32_767).astype(np.int16)
    with av.open(memory, mode="w", format=container) as output:
        stream = output.add_stream(codec, rate=waveform.sample_rate, layout="mono")
        stream.bit_rate = round(bit_rate_kbps * 1_000)
        frame = av.AudioFrame.from_ndarray(as_int16[None, :], format=sample_format, layout="mono")
        frame.sample_rate = waveform.sample_rate
        frame.time_base = Fraction(1, waveform.sample_rate)
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    memory.seek(0)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=waveform.sample_rate)
    parts: list[NDArray[np.float32]] = []
    with av.open(memory, mode="r") as coded:
        for frame in coded.decode(audio=0):
            parts.extend(part.to_ndarray()[0] for part in resampler.resample(frame))
        parts.extend(part.to_ndarray()[0] for part in resampler.resample(None))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


# -- on log-mels


def spec_augment(
    log_mel: NDArray[np.float32],
    *,
    n_time_masks: int,
    max_time_mask_frames: int,
    n_mel_masks: int,
    max_mel_mask_bands: int,
    rng: Generator,
) -> NDArray[np.float32]:
    """A copy of `log_mel` with stretches of time and bands of frequency replaced by its mean.

    SpecAugment (Park et al. 2019, section 2) without time warping, whose gain its authors found small. The width of a
    mask is drawn from 0 to its maximum; time masks together hide at most half of the frames.

    Parameters
    ----------
    log_mel
        float32 (n_frames, n_mels).
    """
    masked = log_mel.copy()
    n_frames, n_mels = log_mel.shape
    mean = log_mel.mean()
    longest = min(max_time_mask_frames, n_frames // (2 * max(n_time_masks, 1)))
    for _ in range(n_time_masks):
        width = int(rng.integers(longest + 1))
        start = int(rng.integers(n_frames - width + 1))
        masked[start : start + width] = mean
    for _ in range(n_mel_masks):
        width = int(rng.integers(min(max_mel_mask_bands, n_mels) + 1))
        start = int(rng.integers(n_mels - width + 1))
        masked[:, start : start + width] = mean
    return masked


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Clips side by side, padded with zeros to the longest of them."""

    log_mels: NDArray[np.float32]
    """(n_clips, n_frames, n_mels)."""
    frame_mask: NDArray[np.float32]
    """(n_clips, n_frames): 1 where a clip has a frame, 0 in the padding."""
    targets: NDArray[np.float32]
    """(n_clips, n_emotions): probabilities."""
    prosody: NDArray[np.float32] | None = None
    """(n_clips, n_prosody), standardised; None for networks that do not take it."""


def mixup(batch: Batch, *, alpha: float, rng: Generator) -> Batch:
    """Each clip of `batch` blended with another one of it, and their targets by the same share.

    Zhang et al. (2018), "mixup: Beyond empirical risk minimization", equation 1, one share per pair from
    Beta(`alpha`, `alpha`). The blend is of log-mels and not of waveforms; a frame that only one of the two has stays in
    the mask.
    """
    n_clips = len(batch.targets)
    partner = rng.permutation(n_clips)
    share = rng.beta(alpha, alpha, size=n_clips).astype(np.float32)
    wide, wider = share[:, None], share[:, None, None]
    return Batch(
        log_mels=wider * batch.log_mels + (1 - wider) * batch.log_mels[partner],
        frame_mask=np.maximum(batch.frame_mask, batch.frame_mask[partner]),
        targets=wide * batch.targets + (1 - wide) * batch.targets[partner],
        prosody=None if batch.prosody is None else wide * batch.prosody + (1 - wide) * batch.prosody[partner],
    )


# -- by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which augmentations are on, how strong each is, and the seed of all draws."""

    strengths: Mapping[str, float]
    """By name, in [0, 1]; an augmentation that is not named, or has 0, is off."""
    seed: int
    probability: float = 0.5
    """Chance of each waveform augmentation, and of SpecAugment, to happen to a clip."""
    voices: Sequence[Samples] = field(default=(), repr=False)
    """Training voices at the sample rate of the clips: with them, half of the noise is babble."""

    def __post_init__(self) -> None:
        for name, strength in self.strengths.items():
            if name not in AUGMENTATIONS:
                raise ValueError(f"there is no augmentation {name!r}, only {', '.join(AUGMENTATIONS)}")
            if not 0 <= strength <= 1:
                raise ValueError(f"the strength of {name} is {strength:g}; it must lie within 0 and 1")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"the probability is {self.probability:g}; it must lie within 0 and 1")

    def strength(self, name: str) -> float:
        """Strength of the augmentation `name`; 0 when it is off."""
        return self.strengths.get(name, 0.0)


def parse_plan(text: str, *, seed: int, probability: float = 0.5) -> Plan:
    """A plan from a command line: `noise=0.5,room,mixup=0.2`; a name alone has strength 1; empty is all off.

    Raises
    ------
    ValueError
        A name is unknown or a strength no number within 0 and 1.

    Examples
    --------
    >>> dict(parse_plan("noise=0.5,room", seed=0).strengths)
    {'noise': 0.5, 'room': 1.0}
    """
    strengths: dict[str, float] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, _, strength = item.partition("=")
        strengths[name.strip()] = float(strength) if strength else 1.0
    return Plan(strengths=strengths, seed=seed, probability=probability)


def augment_waveform(waveform: Waveform, *, plan: Plan, key: tuple[int, ...]) -> Waveform:
    """`waveform` after those waveform augmentations of `plan` that chance picks for `key`.

    Parameters
    ----------
    key
        What makes this draw this draw, such as `(epoch, clip)`; the same plan and key give the same samples.
    """
    for name, rng in _draws(plan, WAVEFORM_AUGMENTATIONS, key):
        if rng.random() < plan.probability:
            waveform = _APPLY[name](waveform, plan, rng)
    return waveform


def disturb_waveform(waveform: Waveform, *, name: str, plan: Plan, key: tuple[int, ...]) -> Waveform:
    """`waveform` after the one augmentation `name`, whatever its chance; strength and draws are those of `plan`."""
    for drawn, rng in _draws(plan, (name,), key):
        rng.random()  # the chance that `augment_waveform` draws first, so that both draw the same parameters
        waveform = _APPLY[drawn](waveform, plan, rng)
    return waveform


def augment_log_mel(log_mel: NDArray[np.float32], *, plan: Plan, key: tuple[int, ...]) -> NDArray[np.float32]:
    """`log_mel` after SpecAugment, if `plan` has it and chance picks it: float32 (n_frames, n_mels)."""
    for _, rng in _draws(plan, ("spec_augment",), key):
        if rng.random() < plan.probability:
            strength = plan.strength("spec_augment")
            return spec_augment(
                log_mel,
                n_time_masks=2,
                max_time_mask_frames=round(40 * strength),
                n_mel_masks=2,
                max_mel_mask_bands=round(16 * strength),
                rng=rng,
            )
    return log_mel


def augment_batch(batch: Batch, *, plan: Plan, key: tuple[int, ...]) -> Batch:
    """`batch` after mixup with `alpha` = 0.4 x strength, if `plan` has it."""
    for _, rng in _draws(plan, ("mixup",), key):
        return mixup(batch, alpha=0.4 * plan.strength("mixup"), rng=rng)
    return batch


def _draws(plan: Plan, names: Sequence[str], key: tuple[int, ...]) -> Iterator[tuple[str, Generator]]:
    """Each of `names` that is on, with a generator of its own."""
    for name in names:
        if plan.strength(name) > 0:
            yield name, np.random.default_rng([plan.seed, zlib.crc32(name.encode()), *key])


def _draw_speed(waveform: Waveform, plan: Plan, rng: Generator) -> Waveform:
    return change_speed(waveform, factor=1 + 0.15 * plan.strength("speed") * rng.uniform(-1, 1))


def _draw_pitch(waveform: Waveform, plan: Plan, rng: Generator) -> Waveform:
    return change_pitch(waveform, semitones=3 * plan.strength("pitch") * rng.uniform(-1, 1), rng=rng)


def _draw_room(waveform: Waveform, plan: Plan, rng: Generator) -> Waveform:
    strength = plan.strength("room")
    response = room_impulse_response(
        waveform.sample_rate,
        rt60_s=0.15 + 0.85 * strength * rng.uniform(),
        direct_to_reverberant_db=10 - 13 * strength * rng.uniform(),
        rng=rng,
    )
    return reverberate(waveform, response)


def _draw_noise(waveform: Waveform, plan: Plan, rng: Generator) -> Waveform:
    n_samples = len(waveform.samples)
    snr_db = 40 - 38 * plan.strength("noise") * rng.uniform()
    if plan.voices and rng.random() < 0.5:
        noise = babble(plan.voices, n_samples, n_talkers=int(rng.integers(3, 9)), rng=rng)
    else:
        noise = coloured_noise(n_samples, exponent=rng.uniform(0, 2), rng=rng)
    return add_noise(waveform, noise, snr_db=snr_db)


def _draw_gain(waveform: Waveform, plan: Plan, rng: Generator) -> Waveform:
    return change_gain(waveform, gain_db=15 * plan.strength("gain") * rng.uniform(-1, 1))


def _draw_telephone(waveform: Waveform, plan: Plan, rng: Generator) -> Waveform:
    return telephone(waveform, line_snr_db=50 - 30 * plan.strength("telephone") * rng.uniform(), rng=rng)


def _draw_codec(waveform: Waveform, plan: Plan, rng: Generator) -> Waveform:
    codec = CODECS[int(rng.integers(len(CODECS)))]
    low_kbps = {"opus": 6.0, "mp3": 8.0, "mu_law": 0.0}[codec]
    bit_rate_kbps = 32 - (32 - low_kbps) * plan.strength("codec") * rng.uniform()
    return through_codec(waveform, codec=codec, bit_rate_kbps=bit_rate_kbps)


_APPLY: Mapping[str, Callable[[Waveform, Plan, Generator], Waveform]] = {
    "speed": _draw_speed,
    "pitch": _draw_pitch,
    "room": _draw_room,
    "noise": _draw_noise,
    "gain": _draw_gain,
    "telephone": _draw_telephone,
    "codec": _draw_codec,
}


# -- shared


def _root_mean_square(samples: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _within_full_scale(samples: NDArray[np.floating], sample_rate_hz: int) -> Waveform:
    """A waveform of `samples`, turned down as a whole where they go beyond full scale."""
    peak = float(np.abs(samples).max(initial=0))
    return Waveform(samples=(samples / max(peak, 1.0)).astype(np.float32), sample_rate=sample_rate_hz)


def _as_long_as(samples: NDArray[np.floating], n_samples: int) -> Samples:
    """`samples` cut, or filled with zeros, at the end."""
    fitted = np.zeros(n_samples, dtype=np.float32)
    n_kept = min(n_samples, len(samples))
    fitted[:n_kept] = samples[:n_kept]
    return fitted
