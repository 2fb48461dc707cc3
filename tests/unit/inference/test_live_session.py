"""A session takes samples on one thread, answers on another, and gives the whole sound back."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
import soundfile

from core.errors import InvalidCredentialsError, InvalidParameterError, QuotaExceededError, StoreError
from core.inference import live_session
from core.inference.live import LiveOptions, LiveStream
from core.inference.live_session import LiveSession
from core.inference.recogniser import Recogniser
from tests.bundles import TINY
from tests.sounds import voice

RATE = 16_000


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser.open(TINY)


def options(sample_rate: int) -> LiveOptions:
    return LiveOptions(sample_rate_hz=sample_rate)


def speak(session: LiveSession, samples: np.ndarray) -> None:
    for first in range(0, len(samples), 320):
        session.push(samples[first : first + 320], RATE)


def test_answers_are_those_of_the_stream_and_the_sound_is_whole(recogniser, tmp_path):
    samples = voice(seconds=3.0)
    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path)
    speaking = threading.Thread(target=speak, args=(session, samples))
    speaking.start()
    speaking.join()
    sound, rate = soundfile.read(io.BytesIO(session.finish()), dtype="float32")
    assert rate == RATE
    assert sound == pytest.approx(samples, abs=1 / 32_000)
    assert session.events == LiveStream(recogniser, options(RATE)).push(samples)
    assert session.duration_s == pytest.approx(3.0)
    assert session.n_lost == 0


def test_whoever_asked_is_told_of_the_whole_once_it_is_over(recogniser, tmp_path):
    told = []
    samples = voice(seconds=3.0)
    session = LiveSession(
        recogniser, options, max_duration_s=60, folder=tmp_path, on_over=lambda *said: told.append(said)
    )
    speak(session, samples)
    session.discard()
    stream = LiveStream(recogniser, options(RATE))
    stream.push(samples)
    assert told == [(stream.summary(), recogniser.card.version)]


def test_level_follows_at_once_and_falls_when_it_is_quiet(recogniser, tmp_path):
    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path)
    assert session.peak_dbfs == pytest.approx(-120)
    session.push(np.full(320, 0.5, np.float32), RATE)
    assert session.peak_dbfs == pytest.approx(-6, abs=0.1)
    speak(session, np.zeros(20 * 320, np.float32))
    assert session.peak_dbfs == pytest.approx(-120)
    session.discard()


def test_discarded_session_stops_its_thread(recogniser, tmp_path):
    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path)
    speak(session, voice(seconds=1.0))
    session.discard()
    session.discard()
    assert not session._worker.is_alive()


def test_session_that_nobody_begins_has_no_thread(recogniser, tmp_path):
    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path)
    assert session._worker is None
    assert session.finish() is None


def test_session_left_behind_ends_by_itself(recogniser, tmp_path):
    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path, idle_s=0.2)
    speak(session, voice(seconds=1.0))
    assert not session.is_over
    session._worker.join(timeout=10)
    assert not session._worker.is_alive()
    assert session.is_over
    assert session.finish() is None


def test_reader_is_told_why_a_session_failed(recogniser, tmp_path):
    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path)
    session.push(np.zeros(320, np.float32), 4_000)
    session._worker.join(timeout=10)
    with pytest.raises(InvalidParameterError, match="sample_rate"):
        _ = session.events


def test_session_whose_owner_may_not_go_on_ends_with_the_reason_and_without_its_sound(
    recogniser, monkeypatch, tmp_path
):
    monkeypatch.setattr(live_session, "CHECK_EVERY_S", 0.0)
    asked = []

    def may_go_on(audio_s):
        asked.append(audio_s)
        if audio_s > 0:
            raise InvalidCredentialsError("The session has ended. Sign in again.")

    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path, may_go_on=may_go_on)
    for _ in range(2):
        session.push(voice(seconds=1.0), RATE)
    session._worker.join(timeout=10)
    assert asked == [0.0, 1.0]
    assert str(session.failure) == "The session has ended. Sign in again."
    assert session.is_over
    assert session.finish() is None


def test_session_whose_quota_is_used_up_judges_no_more_and_keeps_its_sound(recogniser, monkeypatch, tmp_path):
    monkeypatch.setattr(live_session, "CHECK_EVERY_S", 0.0)

    def may_go_on(audio_s):
        if audio_s >= 1:
            raise QuotaExceededError("free", "1 second of sound", 60)

    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path, may_go_on=may_go_on)
    for _ in range(3):
        session.push(voice(seconds=1.0), RATE)
    session._worker.join(timeout=10)
    session.push(voice(seconds=1.0), RATE)
    assert isinstance(session.failure, QuotaExceededError)
    assert not session.is_over
    samples, _ = soundfile.read(io.BytesIO(session.finish()))
    assert len(samples) == RATE


def test_a_store_that_does_not_answer_ends_no_session(recogniser, monkeypatch, tmp_path):
    monkeypatch.setattr(live_session, "CHECK_EVERY_S", 0.0)

    def may_go_on(audio_s):
        raise StoreError("reading a session", "it is away")

    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path, may_go_on=may_go_on)
    session.push(voice(seconds=1.0), RATE)
    assert session.finish() is not None
    assert session.failure is None


def test_frames_beyond_what_may_wait_are_counted(recogniser, monkeypatch, tmp_path):
    blocked = threading.Event()
    monkeypatch.setattr(LiveStream, "push", lambda self, samples: blocked.wait(5) and [])
    session = LiveSession(recogniser, options, max_duration_s=60, folder=tmp_path)
    for _ in range(1_600):
        session.push(np.zeros(320, np.float32), RATE)
    assert session.n_lost >= 99
    blocked.set()
    session.discard()
