"""The recogniser on a tiny model with random weights: exactness, determinism, the two ways to a verdict, refusals."""

import json
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

from core.errors import DamagedModelError, FeatureMismatchError, InvalidParameterError
from core.features.log_mel import log_mel
from core.features.speech import speech_activity, speech_span
from core.features.waveform import Waveform
from core.inference.recogniser import Recogniser, dropout_masks, softmax
from core.inference.registry import read_serving_parameters, weights_digest
from core.inference.sketch import sketch_of
from core.inference.stages import StageTimer
from core.inference.uncertainty import summarise_passes
from tests.bundles import TINY, copy_of_tiny
from tests.sounds import SAMPLE_RATE_HZ, voice

CHOSEN = {"n_passes": 30, "seed": 7, "window_s": 3.0, "hop_s": 1.0, "abstention_confidence": 0.4}


@pytest.fixture(scope="module")
def recogniser():
    return Recogniser.open(TINY, n_interpreters=2)


def spoken(seconds, pitch_hz=120.0):
    return Waveform(samples=voice(seconds=seconds, pitch_hz=pitch_hz), sample_rate=SAMPLE_RATE_HZ)


def with_pauses(waveform, *pauses_s):
    samples = waveform.samples.copy()
    for start_s, end_s in pauses_s:
        samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)] *= 1e-4
    return Waveform(samples=samples, sample_rate=SAMPLE_RATE_HZ)


# -- forward passes


def test_passes_are_distributions_that_differ(recogniser):
    passes = recogniser.pass_probabilities(recogniser.embed(spoken(2))[np.newaxis], n_passes=30, seed=0)
    assert passes.shape == (30, 1, 8)
    assert passes.sum(axis=2) == pytest.approx(np.ones((30, 1)))
    assert passes.std(axis=0).max() > 0.01


def test_numbers_of_a_clip_depend_neither_on_its_company_nor_on_its_place(recogniser):
    embeddings = np.stack([recogniser.embed(spoken(1 + 0.1 * index, 100 + 9 * index)) for index in range(17)])
    together = recogniser.pass_probabilities(embeddings, n_passes=30, seed=3)
    backwards = recogniser.pass_probabilities(embeddings[::-1].copy(), n_passes=30, seed=3)[:, ::-1]
    assert np.array_equal(together, backwards)
    for index in range(17):
        alone = recogniser.pass_probabilities(embeddings[index : index + 1], n_passes=30, seed=3)[:, 0]
        assert np.array_equal(together[:, index], alone)


def test_first_passes_are_the_same_however_many_follow(recogniser):
    embedding = recogniser.embed(spoken(2))[np.newaxis]
    few = recogniser.pass_probabilities(embedding, n_passes=5, seed=1)
    many = recogniser.pass_probabilities(embedding, n_passes=500, seed=1)
    assert np.array_equal(few, many[:5])


def test_another_seed_drops_other_units(recogniser):
    embedding = recogniser.embed(spoken(2))[np.newaxis]
    answers = [recogniser.pass_probabilities(embedding, n_passes=30, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_no_clips_give_no_answers(recogniser):
    assert recogniser.pass_probabilities(np.zeros((0, 24), np.float32), n_passes=4, seed=0).shape == (4, 0, 8)


@pytest.mark.parametrize("n_passes", [-1, 0, 1, 501])
def test_number_of_passes_out_of_place_is_refused(recogniser, n_passes):
    with pytest.raises(
        InvalidParameterError, match=f"'n_passes' is {n_passes}; it must be a whole number from 2 to 500"
    ):
        recogniser.recognise(spoken(1), **(CHOSEN | {"n_passes": n_passes}))


def test_masks_drop_the_share_they_should_and_keep_the_mean():
    parameters = read_serving_parameters(TINY)
    masks = dropout_masks(parameters, n_passes=500, seed=0)
    assert [mask.shape for mask in masks] == [(500, 24), (500, 16)]
    for mask, rate in zip(masks, parameters.dropout_rates, strict=True):
        assert np.unique(mask).tolist() == pytest.approx([0, 1 / (1 - rate)])
        assert (mask == 0).mean() == pytest.approx(rate, abs=0.02)
        assert mask.mean() == pytest.approx(1, abs=0.03)


def test_softmax_is_flatter_at_a_higher_temperature_and_survives_large_logits():
    assert softmax(np.array([0.0, np.log(4)]), temperature=1) == pytest.approx([0.2, 0.8])
    assert softmax(np.array([0.0, np.log(4)]), temperature=2) == pytest.approx([1 / 3, 2 / 3])
    assert softmax(np.array([1e4, 0.0]), temperature=1).tolist() == [1, 0]


# -- one answer, whoever asks


def test_same_clip_gives_the_same_bits_from_any_thread_in_any_order(recogniser):
    clips = [spoken(0.4 + 0.37 * index, 90 + 11 * index) for index in range(12)]
    alone = [Recogniser.open(TINY).recognise(clip, **CHOSEN) for clip in clips]
    with ThreadPoolExecutor(6) as threads:
        order = [*range(12), *range(11, -1, -1)]
        answers = threads.map(lambda index: recogniser.recognise(clips[index], **CHOSEN), order)
        for index, answer in zip(order, answers, strict=True):
            assert answer == alone[index]


def test_threads_of_blas_change_no_bit_of_a_log_mel():
    clips = [spoken(seconds) for seconds in (0.3, 1.7, 5.0, 12.0)]
    answers = []
    for n_threads in (1, 2):
        with threadpoolctl.threadpool_limits(limits=n_threads, user_api="blas"):
            answers.append([log_mel(clip) for clip in clips])
    assert all(np.array_equal(one, two) for one, two in zip(*answers, strict=True))


def test_threads_within_one_call_change_nothing():
    clip = spoken(4)
    assert np.array_equal(
        Recogniser.open(TINY, n_threads=1).embed(clip), Recogniser.open(TINY, n_threads=4).embed(clip)
    )


def test_more_callers_than_interpreters_wait_for_their_turn(recogniser):
    start = threading.Barrier(8)

    def ask(_):
        start.wait(10)
        return recogniser.embed(spoken(1))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert all(np.array_equal(answer, answers[0]) for answer in answers)


# -- a whole recording


def test_short_recording_is_encoded_whole_without_its_edges_of_silence(recogniser):
    recording = with_pauses(spoken(2.8), (0, 0.5), (2.3, 2.8))
    start, end = speech_span(recording)
    assert start > 0
    assert end < len(recording.samples)
    speech = Waveform(samples=recording.samples[start:end], sample_rate=SAMPLE_RATE_HZ)
    passes = recogniser.pass_probabilities(recogniser.embed(speech)[np.newaxis], n_passes=30, seed=7)[:, 0]
    expected = summarise_passes(passes)
    answer = recogniser.recognise(recording, **CHOSEN)
    assert list(answer.probabilities.values()) == expected.mean.tolist()
    assert list(answer.standard_deviations.values()) == expected.standard_deviation.tolist()
    assert [interval.low for interval in answer.intervals.values()] == expected.low.tolist()
    assert answer.uncertainty == expected.uncertainty
    assert (answer.windows, answer.segments) == ((), ())
    assert (answer.n_passes, answer.model_version) == (30, recogniser.card.version)


def test_silence_around_a_clip_changes_nothing(recogniser):
    clip = spoken(2)
    quiet = np.full(SAMPLE_RATE_HZ // 2, 1e-5, np.float32)
    padded = Waveform(samples=np.concatenate([quiet, clip.samples, quiet]), sample_rate=SAMPLE_RATE_HZ)
    plain, framed = (recogniser.recognise(each, **CHOSEN) for each in (clip, padded))
    assert list(framed.probabilities.values()) == pytest.approx(list(plain.probabilities.values()), abs=0.05)


def test_recording_longer_than_a_window_gets_a_timeline_and_may_go_without(recogniser):
    recording = spoken(5)
    answer = recogniser.recognise(recording, **CHOSEN)
    assert [(window.start_s, window.end_s) for window in answer.windows] == [(0, 3), (1, 4), (2, 5)]
    assert answer.segments[0].start_s == 0
    assert answer.segments[-1].end_s == 5
    without = recogniser.recognise(recording, timeline=False, **CHOSEN)
    assert (without.windows, without.segments) == ((), ())
    assert without.probabilities == answer.probabilities
    assert len(recogniser.recognise(spoken(2), timeline=True, **CHOSEN).windows) == 1


def test_window_has_the_numbers_that_a_clip_of_its_samples_has(recogniser):
    recording = with_pauses(spoken(5), (1.0, 1.6), (3.2, 4.0))
    second = recogniser.recognise(recording, **CHOSEN).windows[1]
    samples = recording.samples[SAMPLE_RATE_HZ : 4 * SAMPLE_RATE_HZ]
    clip = recogniser.recognise(Waveform(samples=samples, sample_rate=SAMPLE_RATE_HZ), **CHOSEN)
    assert second.probabilities == clip.probabilities
    assert second.predictive_entropy_nats == clip.uncertainty.predictive_entropy_nats


def test_verdict_on_a_long_recording_is_the_speech_weighted_mean_of_its_windows(recogniser):
    recording = with_pauses(spoken(20), (5, 11))
    answer = recogniser.recognise(recording, **CHOSEN)
    heard = [window for window in answer.windows if window.probabilities]
    assert 0 < len(heard) < len(answer.windows) == 18
    total = sum(window.speech_ratio for window in heard)
    for emotion, probability in answer.probabilities.items():
        expected = sum(window.speech_ratio * window.probabilities[emotion] for window in heard) / total
        assert probability == pytest.approx(expected)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert recogniser.recognise(recording, timeline=False, **CHOSEN).probabilities == answer.probabilities


def test_sketch_is_that_of_what_the_head_was_given(recogniser):
    short = recogniser.recognise(spoken(2), **CHOSEN)
    assert short.sketch.numbers == sketch_of(recogniser.embed_speech(spoken(2)))
    recording = with_pauses(spoken(20), (5, 11))
    answer = recogniser.recognise(recording, **CHOSEN)
    total = np.zeros(recogniser.parameters.n_dims)
    heard = [window for window in answer.windows if window.probabilities]
    for window in heard:
        samples = recording.samples[round(window.start_s * SAMPLE_RATE_HZ) : round(window.end_s * SAMPLE_RATE_HZ)]
        total += window.speech_ratio * recogniser.embed_speech(Waveform(samples=samples, sample_rate=SAMPLE_RATE_HZ))
    mean = total / sum(window.speech_ratio for window in heard)
    found, expected = (np.frombuffer(each, "<f2") for each in (answer.sketch.numbers, sketch_of(mean.astype("f4"))))
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_sketches_of_models_with_one_encoder_can_be_compared(recogniser, tmp_path):
    folder = copy_of_tiny(tmp_path)
    (folder / "encoder.tflite").write_bytes((TINY / "encoder.tflite").read_bytes() + b"\0")
    card = json.loads((folder / "card.json").read_text())
    card["version"] = f"tiny-{weights_digest(folder)[:12]}"
    (folder / "card.json").write_text(json.dumps(card))
    other = Recogniser.open(folder).recognise(spoken(2), **CHOSEN).sketch
    mine = recogniser.recognise(spoken(2), **CHOSEN).sketch
    again = Recogniser.open(TINY).without_dropout().recognise(spoken(2), **CHOSEN).sketch
    assert mine == again
    assert mine.encoder != other.encoder


def test_windows_without_speech_carry_no_emotion(recogniser):
    answer = recogniser.recognise(with_pauses(spoken(20), (5, 11)), **CHOSEN)
    silent = [window for window in answer.windows if window.start_s >= 5 and window.end_s <= 11]
    assert len(silent) == 4
    assert all(window.probabilities == {} and window.predictive_entropy_nats == 0 for window in silent)
    assert [segment.emotion for segment in answer.segments if 5 < (segment.start_s + segment.end_s) / 2 < 11] == [None]


def test_long_recording_without_speech_still_gets_a_verdict_but_no_emotion_on_its_timeline(recogniser):
    clicks = np.zeros(15 * SAMPLE_RATE_HZ, np.float32)
    clicks[:: 2 * SAMPLE_RATE_HZ] = 0.5
    answer = recogniser.recognise(Waveform(samples=clicks, sample_rate=SAMPLE_RATE_HZ), **CHOSEN)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert [segment.emotion for segment in answer.segments] == [None]


def test_answer_below_the_threshold_is_not_sure(recogniser):
    confidence = max(recogniser.recognise(spoken(2), **CHOSEN).probabilities.values())
    for threshold, is_unsure in ((0.0, False), (confidence, False), (np.nextafter(confidence, 1), True), (1.0, True)):
        chosen = CHOSEN | {"abstention_confidence": threshold}
        assert recogniser.recognise(spoken(2), **chosen).abstained is is_unsure


def test_progress_rises_to_one_and_says_which_second(recogniser):
    told = []
    recogniser.recognise(spoken(40), progress=lambda share, doing: told.append((share, doing)), **CHOSEN)
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert told[1] == (16 / 38, "Recognising, 16 of 40 s")


def test_timer_says_where_the_time_went(recogniser):
    timer = StageTimer()
    recogniser.recognise(spoken(5), timer=timer, **CHOSEN)
    assert set(timer.milliseconds) == {"speech", "log_mel", "encoder", "passes", "timeline"}
    assert all(spent > 0 for spent in timer.milliseconds.values())


def test_memory_does_not_grow_with_the_length_of_a_recording(recogniser):
    """Ten minutes may take what one minute takes, and 2 bytes a sample: power of frames, activity, windows."""
    peaks = {}
    for minutes in (1, 10):
        recording = Waveform(samples=np.tile(voice(seconds=60), minutes), sample_rate=SAMPLE_RATE_HZ)
        tracemalloc.start()
        recogniser.recognise(recording, **CHOSEN)
        peaks[minutes] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[10] - peaks[1] < 2 * 9 * 60 * SAMPLE_RATE_HZ, peaks


# -- refusals


def test_model_for_other_features_is_refused(tmp_path):
    folder = copy_of_tiny(tmp_path, change=lambda card: card["serving"].update(n_mels=64))
    with pytest.raises(FeatureMismatchError, match="64 bands at 16000 Hz, but the features are 80 bands"):
        Recogniser.open(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card["serving"].update(n_dims=25),
        lambda card: card["serving"].update(mask_widths=[24, 17]),
        lambda card: card["serving"].update(mask_widths=[24], dropout_rates=[0.2]),
        lambda card: card.update(emotions=["sad", "happy"]),
    ],
    ids=["n_dims", "mask width", "mask count", "emotions"],
)
def test_card_that_does_not_fit_its_graphs_is_refused(tmp_path, change):
    with pytest.raises(FeatureMismatchError):
        Recogniser.open(copy_of_tiny(tmp_path, change=change))


def test_damaged_weights_are_refused(tmp_path):
    folder = copy_of_tiny(tmp_path)
    (folder / "head.tflite").write_bytes(b"no graph")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"version": f"tiny-{weights_digest(folder)[:12]}"}))
    with pytest.raises(DamagedModelError, match=r"head\.tflite cannot be loaded"):
        Recogniser.open(folder)


def test_without_dropout_all_passes_give_one_answer(recogniser):
    embedding = recogniser.embed(spoken(1.0))[np.newaxis]
    passes = recogniser.without_dropout().pass_probabilities(embedding, n_passes=4, seed=1)
    assert np.array_equal(passes, np.repeat(passes[:1], 4, axis=0))


def test_weights_that_the_card_does_not_describe_are_refused(tmp_path):
    """An answer must not carry the version of other weights."""
    folder = copy_of_tiny(tmp_path, change=lambda card: card.update(version="tiny-000000000000"))
    with pytest.raises(DamagedModelError, match="its weights are not those of version tiny-000000000000"):
        Recogniser.open(folder)


@pytest.mark.parametrize("timeline", [None, False])
def test_many_together_have_the_numbers_of_each_alone_whatever_their_lengths(recogniser, timeline):
    lengths = [2.0, 0.7, 2.0, 1.3, 14.0, 0.7, 4.0, *(0.4 + 0.13 * index for index in range(33))]
    waveforms = [spoken(seconds, 90.0 + 3 * index) for index, seconds in enumerate(lengths)]
    activities = [speech_activity(waveform) for waveform in waveforms]
    together = recogniser.recognise_many(waveforms, activities=activities, timeline=timeline, **CHOSEN)
    assert together == [recogniser.recognise(waveform, timeline=timeline, **CHOSEN) for waveform in waveforms]


def test_many_that_are_stopped_give_the_first_answers_and_no_gap(recogniser):
    waveforms = [spoken(seconds) for seconds in (0.8, 2.0, 0.6, 1.4)]
    whole = recogniser.recognise_many(waveforms, **CHOSEN)
    for n_asked, n_given in ((0, 0), (1, 0), (2, 1), (3, 1), (4, 4)):
        asked = iter([False] * n_asked + [True])
        stopped = recogniser.recognise_many(waveforms, is_stopping=lambda asked=asked: next(asked), **CHOSEN)
        assert stopped == whole[:n_given]
