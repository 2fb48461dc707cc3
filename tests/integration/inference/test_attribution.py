"""SHAP on the served model: sums, determinism, what is explained, and whether it is what the model goes by."""

import itertools
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from core.config import REPOSITORY, Settings
from core.domain import Emotion
from core.errors import InvalidParameterError
from core.features.audio import DecodeLimits, decode
from core.features.log_mel import log_mel
from core.features.waveform import Waveform
from core.inference.attribution import attribute, probabilities_after_deletion
from core.inference.recogniser import MIN_PASSES, Recogniser
from tests.bundles import TINY
from tests.sounds import SAMPLE_RATE_HZ, voice

SETTINGS = Settings()
SHIPPED = SETTINGS.models_dir / SETTINGS.model
SAMPLES = sorted((REPOSITORY / "data" / "samples").glob("*.flac"))


@pytest.fixture(scope="module")
def recogniser():
    return Recogniser.open(TINY, n_interpreters=2)


@pytest.fixture(scope="module")
def shipped():
    if not (SHIPPED / "card.json").is_file():
        pytest.skip(f"no model {SETTINGS.model!r}; make one with `make model`")
    return Recogniser.open(SHIPPED, n_interpreters=2)


def spoken(seconds, pitch_hz=120.0):
    return Waveform(samples=voice(seconds=seconds, pitch_hz=pitch_hz), sample_rate=SAMPLE_RATE_HZ)


def stretch_of(waveform, start_s, end_s):
    samples = waveform.samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
    return Waveform(samples=samples, sample_rate=SAMPLE_RATE_HZ)


@pytest.fixture(scope="module")
def clips():
    """Fifty stretches of 0.4 s: of the committed samples, and of voice-like sounds."""
    limits = DecodeLimits.from_settings(SETTINGS)
    samples = [decode(path.read_bytes(), limits=limits).waveform for path in SAMPLES]
    cut = [stretch_of(sample, start_s, start_s + 0.4) for sample in samples for start_s in np.linspace(0.2, 2.4, 7)]
    return [*cut, *(spoken(0.4, 90 + 12 * index) for index in range(50 - len(cut)))]


def plain_answer(recogniser, waveform):
    answer = recogniser.without_dropout().recognise(
        waveform, n_passes=MIN_PASSES, seed=0, window_s=3.0, hop_s=1.0, abstention_confidence=0.0, timeline=False
    )
    return answer.probabilities


# -- what the values are


@pytest.mark.parametrize("contrast", [None, Emotion.CALM])
def test_values_add_up_to_the_output_less_the_baseline(recogniser, contrast):
    for seconds in (0.4, 1.0, 3.3):
        answer = attribute(recogniser, spoken(seconds), emotion=Emotion.HAPPY, contrast=contrast)
        assert answer.values.sum() == pytest.approx(answer.output - answer.baseline, rel=0.01, abs=1e-4)


def test_values_of_the_shipped_model_add_up_too(shipped, clips):
    for clip in clips[::12]:
        answer = attribute(shipped, clip)
        assert abs(answer.output - answer.baseline) > 0.1
        assert answer.values.sum() == pytest.approx(answer.output - answer.baseline, rel=0.01)


def test_output_is_the_log_odds_of_the_plain_answer(recogniser):
    answer = attribute(recogniser, spoken(1.5))
    assert answer.probabilities == pytest.approx(plain_answer(recogniser, spoken(1.5)))
    ranked = sorted(answer.probabilities, key=answer.probabilities.get, reverse=True)
    assert (answer.emotion, answer.runner_up) == (ranked[0], ranked[1])
    first, second = (answer.probabilities[emotion] for emotion in ranked[:2])
    assert answer.output == pytest.approx(np.log(first / (1 - first)))
    against = attribute(recogniser, spoken(1.5), contrast=answer.runner_up)
    assert against.output == pytest.approx(np.log(first / second))
    assert (against.emotion, against.contrast) == (ranked[0], ranked[1])


def test_any_emotion_can_be_explained_and_its_runner_up_is_another(recogniser):
    for emotion in Emotion:
        answer = attribute(recogniser, spoken(0.5), emotion=emotion)
        assert answer.emotion is emotion
        assert answer.runner_up is not emotion


def test_why_this_and_not_that_is_the_opposite_of_why_that_and_not_this(recogniser):
    clip = spoken(1.2)
    one = attribute(recogniser, clip, emotion=Emotion.HAPPY, contrast=Emotion.SAD)
    other = attribute(recogniser, clip, emotion=Emotion.SAD, contrast=Emotion.HAPPY)
    assert one.values == pytest.approx(-other.values, abs=1e-5)


class Listener:
    """A recogniser that hears part of the second band alone, and notes what it is given."""

    def __init__(self):
        self.card = SimpleNamespace(name="listener", version="listener-1", emotions=tuple(Emotion))
        self.parameters = SimpleNamespace(max_context_s=12)
        self.n_interpreters = 1
        self.given = []

    def embed_log_mel(self, frames):
        self.given.append(frames)
        return np.array([frames[:, 30:50].mean()], np.float32)

    def plain_logits(self, embeddings):
        return np.outer(embeddings[:, 0].astype(np.float64), np.arange(8))


def test_what_the_model_does_not_hear_gets_no_value():
    """A model linear in one band: its SHAP values are known."""
    listener = Listener()
    answer = attribute(listener, spoken(2.0), emotion=Emotion.SAD, contrast=Emotion.NEUTRAL)
    heard, nothing = listener.given[0], min(listener.given, key=lambda given: float(given.sum()))
    assert answer.output == pytest.approx(3 * heard[:, 30:50].mean(), abs=1e-5)
    assert answer.baseline == pytest.approx(3 * nothing[:, 30:50].mean(), abs=1e-5)
    assert answer.values[:, [0, 2]] == pytest.approx(np.zeros((len(answer.values), 2)), abs=1e-3)
    edges = np.linspace(0, len(heard), len(answer.values) + 1).round().astype(int)
    change = 3 * (heard - nothing)[:, 30:50] / heard[:, 30:50].size
    expected = [change[start:end].sum() for start, end in itertools.pairwise(edges)]
    assert max(expected) > 0.03
    assert answer.values[:, 1] == pytest.approx(expected, abs=1e-3)


def test_values_of_a_short_clip_are_those_of_shapleys_formula(recogniser):
    """Six regions: every coalition is asked about, so nothing is left to chance."""
    clip = spoken(0.4)
    answer = attribute(recogniser, clip)
    players = range(answer.values.size)
    worth = {}
    for deleted in itertools.chain.from_iterable(itertools.combinations(players, n) for n in range(7)):
        p = probabilities_after_deletion(recogniser, clip, answer, deleted)[-1]
        worth[frozenset(players) - frozenset(deleted)] = np.log(p / (1 - p))
    expected = np.zeros(6)
    for player in players:
        for kept in (each for each in worth if player not in each):
            weight = math.factorial(len(kept)) * math.factorial(5 - len(kept)) / math.factorial(6)
            expected[player] += weight * (worth[kept | {player}] - worth[kept])
    assert answer.n_evaluations == len(worth) == 64
    assert answer.values.ravel() == pytest.approx(expected, abs=1e-4)
    assert attribute(recogniser, clip, seed=9).values == pytest.approx(answer.values, abs=1e-5)


def test_loudest_value_stays_so_that_no_level_shifts():
    listener = Listener()
    attribute(listener, spoken(1.0))
    assert {float(given.max()) for given in listener.given} == {float(listener.given[0].max())}
    assert all(given.min() >= given.max() - 2.0 - 1e-6 for given in listener.given)


def test_evaluations_stay_within_what_three_seconds_allow(recogniser):
    for seconds, n_times in ((0.3, 2), (1.0, 4), (5.0, 8), (11.0, 8)):
        answer = attribute(recogniser, spoken(seconds))
        assert answer.values.shape == (n_times, 3)
        assert answer.n_evaluations <= 120


# -- the same again


def test_same_seed_gives_the_same_bits_from_any_thread(recogniser):
    clips = [spoken(0.6 + 0.2 * index) for index in range(4)]
    alone = [attribute(Recogniser.open(TINY), clip, seed=5).values for clip in clips]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda clip: attribute(recogniser, clip, seed=5).values, clips))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_another_seed_asks_about_other_coalitions(recogniser):
    one, other = (attribute(recogniser, spoken(1.5), seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.values, other.values)
    assert (one.output, one.baseline) == (other.output, other.baseline)


# -- which stretch


def test_times_are_those_of_the_whole_waveform_without_the_silence_at_its_ends(recogniser):
    quiet = np.full(SAMPLE_RATE_HZ // 2, 1e-5, np.float32)
    padded = np.concatenate([quiet, voice(seconds=1.5), quiet])
    answer = attribute(recogniser, Waveform(samples=padded, sample_rate=SAMPLE_RATE_HZ))
    assert 0.35 <= answer.time_edges_s[0] <= 0.5
    assert 1.8 <= answer.time_edges_s[-1] <= 2.11
    assert np.all(np.diff(answer.time_edges_s) > 0.2)
    assert (answer.window.start_s, answer.window.end_s) == (0, 2.5)
    assert answer.log_mel.shape == (250, 80)
    assert answer.band_edges_hz == pytest.approx([0, 1025, 2783, 8000], abs=1)
    assert answer.values.dtype == answer.log_mel.dtype == np.float32


def test_of_a_long_recording_the_most_confident_window_is_explained(recogniser):
    recording = spoken(16)
    answer = attribute(recogniser, recording)
    whole = recogniser.without_dropout().recognise(
        recording, n_passes=MIN_PASSES, seed=0, window_s=3.0, hop_s=1.0, abstention_confidence=0.0
    )
    assert answer.emotion is max(whole.probabilities, key=whole.probabilities.get)
    best = max(whole.windows, key=lambda window: window.probabilities[answer.emotion])
    assert (answer.window.start_s, answer.window.end_s) == (best.start_s, best.end_s)
    assert answer.probabilities == pytest.approx(best.probabilities)
    assert best.start_s <= answer.time_edges_s[0] < answer.time_edges_s[-1] <= best.end_s
    assert len(answer.log_mel) == len(log_mel(recording))


@pytest.mark.parametrize(("start_s", "window"), [(2.5, (2.5, 5.5)), (0.0, (0.0, 3.0)), (15.5, (13.0, 16.0))])
def test_window_can_be_chosen(recogniser, start_s, window):
    answer = attribute(recogniser, spoken(16), start_s=start_s)
    assert (answer.window.start_s, answer.window.end_s) == window
    assert window[0] <= answer.time_edges_s[0] < answer.time_edges_s[-1] <= window[1]


def test_recording_within_one_window_is_explained_whole_wherever_it_is_to_start(recogniser):
    answer = attribute(recogniser, spoken(2), start_s=1.0)
    assert (answer.window.start_s, answer.window.end_s) == (0, 2)


def test_progress_rises_to_one(recogniser):
    for seconds in (1, 14):
        told = []
        attribute(recogniser, spoken(seconds), progress=lambda share, doing, told=told: told.append((share, doing)))
        shares = [share for share, _ in told]
        assert shares == sorted(shares)
        assert (shares[0], told[-1]) == (0, (1.0, "Explained"))
        assert told[-2][1].startswith("Asked ")


# -- whether it is what the model goes by


def test_deleting_what_is_attributed_most_lowers_the_probability_faster_than_chance(shipped, clips):
    rng = np.random.default_rng(0)
    areas = {"attribution": [], "random": []}
    for clip in clips:
        answer = attribute(shipped, clip)
        values = answer.values.ravel()
        orders = {"attribution": np.argsort(-values), "random": rng.permutation(len(values))}
        for name, order in orders.items():
            areas[name].append(probabilities_after_deletion(shipped, clip, answer, order.tolist()).mean())
    assert len(areas["random"]) == 50
    assert np.mean(areas["attribution"]) < 0.8 * np.mean(areas["random"])


def test_deletion_begins_at_the_answer_and_ends_at_the_baseline(recogniser):
    clip = spoken(1.0)
    answer = attribute(recogniser, clip)
    probabilities = probabilities_after_deletion(recogniser, clip, answer, range(answer.values.size))
    assert probabilities[0] == pytest.approx(answer.probabilities[answer.emotion])
    assert np.log(probabilities[-1] / (1 - probabilities[-1])) == pytest.approx(answer.baseline)


# -- refusals and cost


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"emotion": Emotion.SAD, "contrast": Emotion.SAD}, "'contrast' is 'sad'; it must be another emotion"),
        ({"seed": -1}, "'seed' is -1; it must be a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "'seed' is 4294967296"),
        ({"start_s": 1.0}, r"'start_s' is 1; it must be at least 0 and less than the recording's 1\.00 s"),
        ({"start_s": -0.1}, "'start_s' is -0.1"),
        ({"start_s": float("nan")}, "'start_s' is nan"),
    ],
)
def test_parameter_out_of_place_is_refused(recogniser, given, sentence):
    with pytest.raises(InvalidParameterError, match=sentence):
        attribute(recogniser, spoken(1.0), **given)


def test_contrast_that_turns_out_to_be_the_answer_is_refused(recogniser):
    verdict = attribute(recogniser, spoken(0.5)).emotion
    with pytest.raises(InvalidParameterError, match="another emotion than the one explained"):
        attribute(recogniser, spoken(0.5), contrast=verdict)


def test_emotion_that_the_model_does_not_know_is_refused():
    listener = Listener()
    listener.card.emotions = (Emotion.HAPPY, Emotion.SAD)
    with pytest.raises(
        InvalidParameterError, match=r"'emotion' is 'angry'; it must be one that listener says: happy, sad\."
    ):
        attribute(listener, spoken(1.0), emotion=Emotion.ANGRY)


def test_explaining_regions_needs_neither_tensorflow_nor_shap():
    code = """
import sys
from core.features.waveform import Waveform
from core.inference.attribution import attribute
from core.inference.recogniser import Recogniser
from tests.bundles import TINY
from tests.sounds import voice
recogniser = Recogniser.open(TINY)
attribute(recogniser, Waveform(samples=voice(seconds=0.5), sample_rate=16_000))
print(sorted({"shap", "numba", "sklearn", "tensorflow", "matplotlib", "streamlit"} & {*sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    assert done.stdout.splitlines() == ["[]"]
