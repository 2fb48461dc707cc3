"""What becomes of what is handed in: the one who waits is told, and mistakes end where they belong."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from uuid import UUID

import pytest

from core.domain import Source
from core.errors import BusyError, EmptyAudioError, QuotaExceededError, RateLimitedError, StoreError
from core.inbox import Pending, receive
from core.inference.executor import InferenceExecutor
from core.usage import PAGE, Call, noting
from tests.factories import make_prediction, make_recording
from tests.ledgers import RememberedUsage

OWNER = UUID(int=7)
UPLOAD = receive(b"sound", name="clip.wav", source=Source.UPLOAD)
CALL = Call(route="/", method=PAGE, caller=None, request_id="r", address="")
ANALYSIS = SimpleNamespace(prediction=make_prediction(make_recording()))


@pytest.fixture
def executor():
    opened = InferenceExecutor(n_workers=1, n_queue=1)
    yield opened
    opened.shutdown(deadline_s=5)


def workbench(executor, analyse):
    """Nothing but what an inbox asks of a workbench."""
    ledger = RememberedUsage()

    def serving(call, *, waited_s):
        return noting(ledger, call, waited_s=waited_s)

    return SimpleNamespace(executor=executor, analyse=analyse, serving=serving, usage=ledger)


def test_an_upload_knows_its_content():
    assert UPLOAD.sha256 == "dd29442deca69f52c50006b831cb216edf78a7da33748f0a80ff19f2ebe57ecd"
    assert receive(b"sound", name="other.wav", source=Source.MICROPHONE).sha256 == UPLOAD.sha256


def test_the_analysis_is_the_outcome_and_gets_what_was_handed_in(executor):
    asked = {}

    def analyse(data, *, name, source, shown_to, progress, **_):
        asked.update(data=data, name=name, source=source)
        return ANALYSIS

    opened = workbench(executor, analyse)
    outcome = Pending(opened, UPLOAD, call=CALL, owner=OWNER).wait(lambda *_: None)
    assert (outcome.analysis, outcome.refusal, outcome.name) == (ANALYSIS, None, "clip.wav")
    assert asked == {"data": b"sound", "name": "clip.wav", "source": Source.UPLOAD}
    [noted] = opened.usage.events
    assert (noted.route, noted.method, noted.status, noted.audio_s) == ("/", PAGE, 200, 5.0)


def test_whoever_waits_is_told_how_far_it_is_by_their_own_thread(executor):
    goes_on, told = threading.Event(), []

    def analyse(data, *, name, source, shown_to, progress, **_):
        progress(0.4, "Recognising")
        assert goes_on.wait(10)
        return ANALYSIS

    def tell(share, doing):
        told.append((share, doing, threading.current_thread() is threading.main_thread()))
        if doing == "Recognising":
            goes_on.set()

    Pending(workbench(executor, analyse), UPLOAD, call=CALL, owner=OWNER).wait(tell)
    assert told[-1] == (0.4, "Recognising", True)


@pytest.mark.parametrize(
    "refusal", [RateLimitedError("1 call per minute", 60), QuotaExceededError("free", "9 calls", 60)]
)
def test_a_call_too_many_is_a_refusal_of_that_one_upload(executor, refusal):
    def analyse(*_args, **_given):
        raise refusal

    opened = workbench(executor, analyse)
    assert Pending(opened, UPLOAD, call=CALL, owner=OWNER).wait(lambda *_: None).refusal is refusal
    assert [event.status for event in opened.usage.events] == [429]


def test_a_recording_that_cannot_be_used_is_a_refusal(executor):
    def analyse(*_args, **_given):
        raise EmptyAudioError

    opened = workbench(executor, analyse)
    outcome = Pending(opened, UPLOAD, call=CALL, owner=OWNER).wait(lambda *_: None)
    assert outcome.analysis is None
    assert isinstance(outcome.refusal, EmptyAudioError)
    assert [(noted.status, noted.n_predictions) for noted in opened.usage.events] == [(422, 0)]


def test_a_failing_store_is_nobodys_recordings_fault(executor):
    def analyse(*_args, **_given):
        raise StoreError("appending predictions", "the disk is full")

    with pytest.raises(StoreError):
        Pending(workbench(executor, analyse), UPLOAD, call=CALL, owner=OWNER).wait(lambda *_: None)


def test_too_much_to_do_is_a_refusal_too(executor):
    goes_on = threading.Event()
    busy = workbench(executor, lambda *_args, **_given: goes_on.wait(10) and ANALYSIS)
    waiting = [Pending(busy, UPLOAD, call=CALL, owner=OWNER), Pending(busy, UPLOAD, call=CALL, owner=OWNER)]
    refused = Pending(busy, UPLOAD, call=CALL, owner=OWNER).wait(lambda *_: None)
    goes_on.set()
    assert isinstance(refused.refusal, BusyError)
    assert busy.usage.events[0].status == 503
    assert all(pending.wait(lambda *_: None).analysis is ANALYSIS for pending in waiting)
