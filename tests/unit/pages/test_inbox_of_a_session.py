"""What a visitor handed in: whatever becomes of it, the one that is open is one that is there."""

from __future__ import annotations

from concurrent.futures import Future
from uuid import UUID

import pytest

from core.domain import Source
from core.errors import BusyError, RateLimitedError, SilentAudioError, StoreError
from core.inbox import receive
from core.usage import PAGE, Call
from pages.parts import session
from pages.parts.session import Inbox
from tests.ledgers import RememberedUsage


class Executor:
    """Has the outcomes it was told, one for each recording handed in."""

    n_workers = 1

    def __init__(self, *outcomes: Exception) -> None:
        self._outcomes = list(outcomes)
        self.n_asked = 0

    def submit(self, *_args: object, **_kwargs: object) -> Future:
        self.n_asked += 1
        future: Future = Future()
        future.set_exception(self._outcomes.pop(0))
        return future


class Workbench:
    def __init__(self, *outcomes: Exception) -> None:
        self.executor = Executor(*outcomes)
        self.usage = RememberedUsage()

    def analyse(self) -> None:
        raise AssertionError("the executor answers in this test")


def upload(name: str):
    return receive(name.encode(), name=name, source=Source.UPLOAD)


def work(inbox: Inbox, workbench: Workbench) -> None:
    call = Call(route="/", method=PAGE, caller=None, request_id="r", address="")
    inbox.work(workbench, lambda share, doing: None, owner=UUID(int=7), begin_call=lambda: call)


def test_there_is_work_until_what_was_taken_in_has_its_outcome():
    inbox = Inbox()
    assert not inbox.has_work
    inbox.take(upload("a"))
    assert inbox.has_work
    work(inbox, Workbench(SilentAudioError(-90.0)))
    assert not inbox.has_work


def test_a_failing_store_leaves_an_earlier_recording_open():
    inbox, workbench = Inbox(), Workbench(SilentAudioError(-90.0), SilentAudioError(-80.0), StoreError("x", "y"))
    first, second, third = upload("a"), upload("b"), upload("c")
    inbox.take(first)
    inbox.take(second)
    work(inbox, workbench)
    inbox.take(third)
    with pytest.raises(StoreError):
        work(inbox, workbench)
    assert inbox.open_sha256 == second.sha256


def test_a_busy_recogniser_can_be_asked_again():
    inbox, workbench = Inbox(), Workbench(BusyError(3, 1), SilentAudioError(-90.0))
    inbox.take(upload("a"))
    work(inbox, workbench)
    inbox.take(upload("a"))
    work(inbox, workbench)
    assert workbench.executor.n_asked == 2
    assert isinstance(inbox.outcomes[upload("a").sha256].refusal, SilentAudioError)


def test_a_recording_that_cannot_be_used_is_not_asked_for_again():
    inbox, workbench = Inbox(), Workbench(SilentAudioError(-90.0))
    for _ in range(2):
        inbox.take(upload("a"))
        work(inbox, workbench)
    assert workbench.executor.n_asked == 1


def test_starting_afresh_forgets_what_still_waits():
    inbox, workbench = Inbox(), Workbench()
    inbox.take(upload("a"))
    inbox.clear()
    work(inbox, workbench)
    assert workbench.executor.n_asked == 0
    assert inbox.outcomes == {}


def test_the_oldest_makes_room_and_another_is_opened(monkeypatch):
    monkeypatch.setattr(session, "MAX_OUTCOMES", 1)
    inbox, workbench = Inbox(), Workbench(SilentAudioError(-90.0), SilentAudioError(-80.0))
    inbox.take(upload("a"))
    inbox.take(upload("b"))
    inbox.open_sha256 = upload("a").sha256
    work(inbox, workbench)
    assert inbox.open_sha256 == upload("b").sha256


def test_where_a_limit_by_the_second_is_full_the_page_waits_and_goes_on(monkeypatch):
    pauses = []
    monkeypatch.setattr(session.time, "sleep", pauses.append)
    inbox = Inbox()
    first, second = inbox.take(upload("a")), inbox.take(upload("b"))
    full = RateLimitedError("10 calls per second", 1)
    work(inbox, Workbench(full, full, SilentAudioError(-90.0), SilentAudioError(-80.0)))
    assert pauses == [1, 1]
    assert [str(inbox.outcomes[key].refusal) for key in (first, second)] == [
        str(SilentAudioError(level)) for level in (-90.0, -80.0)
    ]
    assert list(inbox.outcomes) == [first, second]


def test_of_a_longer_wait_the_page_tells(monkeypatch):
    monkeypatch.setattr(session.time, "sleep", lambda _: pytest.fail("nobody should wait for a minute"))
    inbox = Inbox()
    key = inbox.take(upload("a"))
    work(inbox, Workbench(RateLimitedError("120 calls per minute", 48)))
    assert isinstance(inbox.outcomes[key].refusal, RateLimitedError)
