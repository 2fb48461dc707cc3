"""Augmentation: physical properties of each function, and plans that draw the same for the same key."""

import doctest

import numpy as np
import parselmouth
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from core.features.audio import Waveform
from training import augment
from training.augment import (
    AUGMENTATIONS,
    LOG_MEL_AUGMENTATIONS,
    WAVEFORM_AUGMENTATIONS,
    Batch,
    Plan,
    add_noise,
    augment_batch,
    augment_log_mel,
    augment_waveform,
    babble,
    change_gain,
    change_pitch,
    change_speed,
    coloured_noise,
    disturb_waveform,
    mixup,
    parse_plan,
    reverberate,
    room_impulse_response,
    spec_augment,
    telephone,
    through_codec,
)

SAMPLE_RATE_HZ = 16_000


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _vowel(
    *, pitch_hz: float = 120.0, duration_s: float = 1.0, formants_hz: tuple[float, ...] = (700.0, 1_220.0, 2_600.0)
):
    """Harmonics of `pitch_hz` under resonances at `formants_hz`, at half of full scale."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    samples = np.zeros(len(time_s))
    for harmonic_hz in np.arange(pitch_hz, 7_500, pitch_hz):
        gain = sum(1 / (1 + ((harmonic_hz - formant_hz) / 80) ** 2) for formant_hz in formants_hz)
        samples += (gain + 0.002) * np.cos(2 * np.pi * harmonic_hz * time_s + harmonic_hz**2)
    return Waveform(samples=(0.5 * samples / np.abs(samples).max()).astype(np.float32), sample_rate=SAMPLE_RATE_HZ)


def _tone(frequency_hz: float, *, duration_s: float = 1.0, level: float = 0.3) -> Waveform:
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    samples = level * np.sin(2 * np.pi * frequency_hz * time_s)
    return Waveform(samples=samples.astype(np.float32), sample_rate=SAMPLE_RATE_HZ)


def _level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


def _median_pitch_hz(waveform: Waveform) -> float:
    sound = parselmouth.Sound(waveform.samples.astype(np.float64), sampling_frequency=waveform.sample_rate)
    return float(parselmouth.praat.call(sound.to_pitch(), "Get quantile", 0, 0, 0.5, "Hertz"))


def _formant_hz(waveform: Waveform, number: int) -> float:
    sound = parselmouth.Sound(waveform.samples.astype(np.float64), sampling_frequency=waveform.sample_rate)
    return float(parselmouth.praat.call(sound.to_formant_burg(), "Get quantile", number, 0, 0, "Hertz", 0.5))


# -- noise


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 30.0])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_lies_as_far_below_the_voice_as_was_asked(snr_db: float, exponent: float) -> None:
    voice = _vowel()
    noise = coloured_noise(len(voice.samples), exponent=exponent, rng=_rng())
    noisy = add_noise(voice, noise, snr_db=snr_db)
    # A louder sum is turned down as a whole, so the two shares are found by least squares.
    both = np.stack([voice.samples, noise], axis=1).astype(np.float64)
    (voice_share, noise_share), *_ = np.linalg.lstsq(both, noisy.samples.astype(np.float64), rcond=None)
    assert _level_db(voice_share * voice.samples) - _level_db(noise_share * noise) == pytest.approx(snr_db, abs=0.5)
    assert np.abs(noisy.samples).max() <= 1


@pytest.mark.parametrize(("exponent", "db_per_octave"), [(0.0, 0.0), (1.0, -3.01), (2.0, -6.02)])
def test_coloured_noise_falls_with_frequency_as_its_colour_says(exponent: float, db_per_octave: float) -> None:
    noise = coloured_noise(2**18, exponent=exponent, rng=_rng())
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[2**k : 2 ** (k + 1)].mean() for k in range(8, 16)]
    slope = np.polyfit(np.arange(8), 10 * np.log10(octaves), 1)[0]
    assert slope == pytest.approx(db_per_octave, abs=0.3)
    assert _level_db(noise) == pytest.approx(0, abs=0.01)


def test_babble_holds_every_voice_equally_loud() -> None:
    voices = [0.01 * _tone(500).samples, _tone(1_000).samples, _tone(2_000).samples]
    mixed = babble(voices, 16_000, n_talkers=3, rng=_rng())
    power = np.abs(np.fft.rfft(mixed)) ** 2
    assert power[[500, 1_000, 2_000]] / power[1_000] == pytest.approx([1, 1, 1], rel=0.05)
    assert _level_db(mixed) == pytest.approx(0, abs=0.01)


def test_babble_is_as_long_as_asked_whatever_its_voices() -> None:
    assert len(babble([_tone(500, duration_s=0.2).samples], 12_345, n_talkers=4, rng=_rng())) == 12_345


def test_babble_without_voices_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one voice"):
        babble([], 100, n_talkers=2, rng=_rng())
    with pytest.raises(ValueError, match="not silent"):
        babble([np.zeros(50, np.float32)], 100, n_talkers=2, rng=_rng())


def test_noise_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="noise has 10 samples"):
        add_noise(_tone(440), np.ones(10, np.float32), snr_db=10)


# -- room


@pytest.mark.parametrize("rt60_s", [0.15, 0.3, 0.6, 1.0])
def test_room_decays_by_60_db_in_its_reverberation_time(rt60_s: float) -> None:
    response = room_impulse_response(SAMPLE_RATE_HZ, rt60_s=rt60_s, direct_to_reverberant_db=-3, rng=_rng())
    # Schroeder (1965): backward integration; T30, from -5 to -35 dB, of the tail without the direct sound.
    tail = response[1:]
    decay_db = 10 * np.log10(np.cumsum(np.square(tail)[::-1])[::-1] / np.square(tail).sum())
    within = (decay_db <= -5) & (decay_db >= -35)
    slope = np.polyfit(np.flatnonzero(within) / SAMPLE_RATE_HZ, decay_db[within], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.15)


@pytest.mark.parametrize("ratio_db", [-5.0, 0.0, 10.0])
def test_direct_sound_stands_above_the_tail_as_asked(ratio_db: float) -> None:
    response = room_impulse_response(SAMPLE_RATE_HZ, rt60_s=0.5, direct_to_reverberant_db=ratio_db, rng=_rng())
    assert 10 * np.log10(response[0] ** 2 / np.square(response[1:]).sum()) == pytest.approx(ratio_db, abs=0.01)


def test_reverberation_keeps_length_loudness_and_onset() -> None:
    click = Waveform(samples=np.eye(1, 8_000, 2_000, dtype=np.float32)[0] * 0.5, sample_rate=SAMPLE_RATE_HZ)
    response = room_impulse_response(SAMPLE_RATE_HZ, rt60_s=0.4, direct_to_reverberant_db=5, rng=_rng())
    wet = reverberate(click, response)
    assert len(wet.samples) == 8_000
    assert _level_db(wet.samples) == pytest.approx(_level_db(click.samples), abs=0.01)
    assert np.abs(wet.samples).argmax() == 2_000
    assert np.abs(wet.samples[:1_999]).max() < 1e-6


# -- level, speaker


def test_gain_is_in_decibels_and_clips_at_full_scale() -> None:
    tone = _tone(440, level=0.3)
    assert _level_db(change_gain(tone, gain_db=6).samples) - _level_db(tone.samples) == pytest.approx(6, abs=0.01)
    assert np.abs(change_gain(tone, gain_db=20).samples).max() == 1.0


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.15])
def test_speed_changes_length_and_pitch_by_its_factor(factor: float) -> None:
    voice = _vowel(pitch_hz=150)
    fast = change_speed(voice, factor=factor)
    assert len(fast.samples) == round(16_000 / factor)
    assert _median_pitch_hz(fast) == pytest.approx(150 * factor, rel=0.01)


@pytest.mark.parametrize("semitones", [-3.0, 0.0, 3.0])
def test_pitch_moves_by_semitones_while_length_and_formants_stay(semitones: float) -> None:
    voice = _vowel(pitch_hz=150)
    moved = change_pitch(voice, semitones=semitones, rng=_rng())
    assert len(moved.samples) == len(voice.samples)
    assert _median_pitch_hz(moved) == pytest.approx(150 * 2 ** (semitones / 12), rel=0.01)
    # 3 semitones are 19 %: formants that moved along would fail by far.
    for number in (1, 2):
        assert _formant_hz(moved, number) == pytest.approx(_formant_hz(voice, number), rel=0.08)


def test_pitch_of_noise_and_of_a_very_short_waveform_is_left_alone() -> None:
    for n_samples in (400, 16_000):
        noise = Waveform(samples=0.1 * coloured_noise(n_samples, exponent=0, rng=_rng()), sample_rate=SAMPLE_RATE_HZ)
        assert_array_equal(change_pitch(noise, semitones=2, rng=_rng()).samples, noise.samples)


# -- telephone and codecs


def test_telephone_lets_its_band_through_and_nothing_else() -> None:
    for frequency_hz, at_least_db, at_most_db in [(1_000, -1, 1), (2_500, -1, 1), (120, -90, -25), (5_000, -90, -25)]:
        tone = _tone(frequency_hz)
        heard = telephone(tone, line_snr_db=90, rng=_rng())
        assert len(heard.samples) == len(tone.samples)
        loss_db = _level_db(heard.samples) - _level_db(tone.samples)
        assert at_least_db < loss_db < at_most_db, frequency_hz


def test_telephone_line_is_as_noisy_as_asked() -> None:
    tone = _tone(1_000)
    quiet, noisy = (telephone(tone, line_snr_db=snr_db, rng=_rng()).samples for snr_db in (90, 15))
    # 8-bit mu-law alone reaches about 38 dB.
    assert _level_db(quiet) - _level_db(noisy - quiet) == pytest.approx(15, abs=0.5)


def test_mu_law_keeps_38_db_over_a_wide_range_of_levels() -> None:
    for level in (0.02, 0.1, 0.9):
        tone = _tone(440, level=level).samples.astype(np.float64)
        ratio_db = _level_db(tone) - _level_db(augment.mu_law(tone) - tone)
        assert 33 < ratio_db < 42, level


@pytest.mark.parametrize(
    ("codec", "bit_rate_kbps"), [("opus", 6), ("opus", 24), ("mp3", 8), ("mp3", 32), ("mu_law", 0)]
)
def test_codec_keeps_length_and_time_and_most_of_the_sound(codec: str, bit_rate_kbps: float) -> None:
    voice = _vowel(pitch_hz=130, duration_s=1.2345)
    syllables = np.sin(np.pi * 4 * np.arange(len(voice.samples)) / SAMPLE_RATE_HZ) ** 4
    voice = Waveform(samples=(voice.samples * syllables).astype(np.float32), sample_rate=SAMPLE_RATE_HZ)
    coded = through_codec(voice, codec=codec, bit_rate_kbps=bit_rate_kbps)
    assert len(coded.samples) == len(voice.samples)
    assert not np.array_equal(coded.samples, voice.samples)
    envelope, coded_envelope = (
        np.convolve(np.square(samples), np.ones(320) / 320, "same") for samples in (voice.samples, coded.samples)
    )
    lags = range(-480, 481, 16)
    best = max(lags, key=lambda lag: np.corrcoef(envelope[500:-500], np.roll(coded_envelope, lag)[500:-500])[0, 1])
    assert abs(best) <= 80, "5 ms"
    assert np.corrcoef(envelope, coded_envelope)[0, 1] > 0.9


def test_codec_loses_more_at_a_lower_rate() -> None:
    voice = _vowel(pitch_hz=130)
    for codec in ("opus", "mp3"):
        low, high = (through_codec(voice, codec=codec, bit_rate_kbps=rate).samples for rate in (8, 48))
        assert _level_db(low - voice.samples) > _level_db(high - voice.samples) + 3, codec


def test_unknown_codec_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'amr'"):
        through_codec(_tone(440), codec="amr")


# -- on log-mels


def test_spec_augment_hides_at_most_what_its_masks_cover() -> None:
    log_mel = _rng().normal(size=(300, 80)).astype(np.float32)
    for seed in range(20):
        masked = spec_augment(
            log_mel, n_time_masks=2, max_time_mask_frames=40, n_mel_masks=2, max_mel_mask_bands=16, rng=_rng(seed)
        )
        changed = masked != log_mel
        assert_allclose(masked[changed], log_mel.mean(), rtol=1e-5)
        assert changed.all(axis=1).sum() <= 80
        assert changed.all(axis=0).sum() <= 32
        rest = changed[~changed.all(axis=1)][:, ~changed.all(axis=0)]
        assert not rest.any(), "only whole frames and whole bands are hidden"
    assert changed.any()


def test_spec_augment_leaves_half_of_a_short_clip() -> None:
    log_mel = _rng().normal(size=(20, 80)).astype(np.float32)
    for seed in range(50):
        masked = spec_augment(
            log_mel, n_time_masks=2, max_time_mask_frames=40, n_mel_masks=0, max_mel_mask_bands=16, rng=_rng(seed)
        )
        assert (masked != log_mel).all(axis=1).sum() <= 10


def _batch(n_clips: int = 4) -> Batch:
    lengths = [30, 20, 25, 30][:n_clips]
    return Batch(
        log_mels=_rng().normal(size=(n_clips, 30, 80)).astype(np.float32),
        frame_mask=np.array([[1] * length + [0] * (30 - length) for length in lengths], np.float32),
        targets=np.eye(8, dtype=np.float32)[:n_clips],
        prosody=_rng(1).normal(size=(n_clips, 5)).astype(np.float32),
    )


def test_mixup_blends_sound_and_label_by_the_same_share() -> None:
    batch = _batch()
    mixed = mixup(batch, alpha=1.0, rng=_rng(5))
    assert_allclose(mixed.targets.sum(axis=1), 1, rtol=1e-6)
    blended = 0
    for index, target in enumerate(mixed.targets):
        # The targets were one-hot, so the blended ones tell each clip's share.
        shares = target[:4]
        assert_allclose(mixed.log_mels[index], np.tensordot(shares, batch.log_mels, 1), atol=1e-5)
        assert_allclose(mixed.prosody[index], shares @ batch.prosody, atol=1e-5)
        assert_array_equal(mixed.frame_mask[index], batch.frame_mask[shares > 0].max(axis=0))
        blended += (shares > 0).sum() == 2
    assert blended >= 2


# -- by name


def _full_plan(**changes: float) -> Plan:
    return Plan(strengths=dict.fromkeys(AUGMENTATIONS, 1.0) | changes, seed=7, probability=1.0)


@pytest.mark.parametrize("name", WAVEFORM_AUGMENTATIONS)
def test_same_key_gives_the_same_samples_and_another_key_others(name: str) -> None:
    voice = _vowel(duration_s=0.6)
    plan = Plan(strengths={name: 1.0}, seed=3, probability=1.0)
    first, again, other = (augment_waveform(voice, plan=plan, key=key).samples for key in [(0, 1), (0, 1), (0, 2)])
    assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    other_seed = Plan(strengths={name: 1.0}, seed=4, probability=1.0)
    reseeded = augment_waveform(voice, plan=other_seed, key=(0, 1)).samples
    assert first.shape != reseeded.shape or not np.array_equal(first, reseeded)
    assert_array_equal(disturb_waveform(voice, name=name, plan=plan, key=(0, 1)).samples, first)
    assert np.abs(first).max() <= 1
    assert first.dtype == np.float32


@pytest.mark.parametrize("plan", [Plan(strengths={}, seed=0), _full_plan(**dict.fromkeys(AUGMENTATIONS, 0.0))])
def test_off_means_unchanged(plan: Plan) -> None:
    voice, batch = _vowel(duration_s=0.5), _batch()
    assert augment_waveform(voice, plan=plan, key=(0,)) is voice
    assert augment_log_mel(batch.log_mels[0], plan=plan, key=(0,)) is not None
    assert_array_equal(augment_log_mel(batch.log_mels[0], plan=plan, key=(0,)), batch.log_mels[0])
    assert augment_batch(batch, plan=plan, key=(0,)) is batch


def test_probability_0_leaves_every_clip_unchanged() -> None:
    voice = _vowel(duration_s=0.5)
    plan = Plan(strengths=dict.fromkeys(WAVEFORM_AUGMENTATIONS, 1.0), seed=0, probability=0.0)
    assert all(augment_waveform(voice, plan=plan, key=(key,)) is voice for key in range(20))


def test_probability_is_the_share_of_clips_that_change() -> None:
    voice = _tone(440, duration_s=0.1)
    plan = Plan(strengths={"gain": 1.0}, seed=0, probability=0.3)
    changed = sum(augment_waveform(voice, plan=plan, key=(key,)) is not voice for key in range(500))
    assert changed == pytest.approx(150, abs=31), "three standard deviations"


def test_switching_one_off_leaves_what_the_others_draw() -> None:
    voice = _vowel(duration_s=0.5)
    only_gain = Plan(strengths={"gain": 1.0}, seed=7, probability=1.0)
    without_room = Plan(strengths={"gain": 1.0, "noise": 1.0}, seed=7, probability=1.0)
    silent = Waveform(samples=np.zeros(8_000, np.float32), sample_rate=SAMPLE_RATE_HZ)
    assert augment_waveform(silent, plan=without_room, key=(1,)).samples.max() == 0, "noise follows the voice's level"
    gain_db = _level_db(augment_waveform(voice, plan=only_gain, key=(1,)).samples) - _level_db(voice.samples)
    noise_only = Plan(strengths={"noise": 1.0}, seed=7, probability=1.0)
    noisy = augment_waveform(voice, plan=noise_only, key=(1,))
    both = augment_waveform(voice, plan=without_room, key=(1,))
    assert_allclose(both.samples, change_gain(noisy, gain_db=gain_db).samples, atol=1e-4)


def test_strength_bounds_the_draws() -> None:
    voice = _tone(1_000, duration_s=0.2)
    for strength, most_db in [(0.2, 3.0), (1.0, 15.0)]:
        plan = Plan(strengths={"gain": strength}, seed=0, probability=1.0)
        # Softer only: louder would meet the clipping.
        softest = min(_level_db(augment_waveform(voice, plan=plan, key=(key,)).samples) for key in range(100))
        assert -most_db - 0.01 <= softest - _level_db(voice.samples) < -0.8 * most_db


def test_babble_comes_in_when_voices_are_given() -> None:
    voice = Waveform(samples=_tone(1_000).samples, sample_rate=SAMPLE_RATE_HZ)
    plan = Plan(strengths={"noise": 1.0}, seed=0, probability=1.0, voices=[_tone(3_000).samples])
    peaks = []
    for key in range(20):
        added = augment_waveform(voice, plan=plan, key=(key,)).samples
        power = np.abs(np.fft.rfft(added)) ** 2
        peaks.append(power[3_000] > 1_000 * np.median(power))
    assert 4 < sum(peaks) < 16


def test_spec_augment_and_mixup_follow_the_plan() -> None:
    batch = _batch()
    plan = _full_plan()
    masked = augment_log_mel(batch.log_mels[0], plan=plan, key=(1, 2))
    assert_array_equal(masked, augment_log_mel(batch.log_mels[0], plan=plan, key=(1, 2)))
    assert not np.array_equal(masked, batch.log_mels[0])
    mixed = augment_batch(batch, plan=plan, key=(1,))
    assert_array_equal(mixed.log_mels, augment_batch(batch, plan=plan, key=(1,)).log_mels)
    assert not np.array_equal(mixed.log_mels, augment_batch(batch, plan=plan, key=(2,)).log_mels)
    assert set(LOG_MEL_AUGMENTATIONS) == {"spec_augment", "mixup"}


@pytest.mark.parametrize(
    ("text", "reason"), [("echo", "'echo'"), ("noise=2", "must lie within 0 and 1"), ("noise=loud", "loud")]
)
def test_plan_that_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_plan(text, seed=0)


def test_probability_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probability is 1\.5"):
        Plan(strengths={}, seed=0, probability=1.5)


def test_examples_in_docstrings_hold() -> None:
    outcome = doctest.testmod(augment)
    assert outcome.attempted >= 2
    assert outcome.failed == 0


def test_noise_is_measured_against_the_stretch_with_speech() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000).astype(np.float32) * 0.1
    waveform = Waveform(samples=np.concatenate([np.zeros(16_000, np.float32), tone]), sample_rate=16_000)
    noise = coloured_noise(32_000, exponent=0.0, rng=np.random.default_rng(0))
    added = add_noise(waveform, noise, snr_db=10.0, speech=(16_000, 32_000)).samples - waveform.samples
    assert 10 * np.log10(np.mean(tone**2) / np.mean(added**2)) == pytest.approx(10.0, abs=0.01)
    over_all = add_noise(waveform, noise, snr_db=10.0).samples - waveform.samples
    assert 10 * np.log10(np.mean(added**2) / np.mean(over_all**2)) == pytest.approx(3.01, abs=0.02)
