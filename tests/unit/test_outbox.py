"""Deliveries in the background: order, retries, bounds, and what the end of the process does to them."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from core.errors import MailError
from core.outbox import Outbox


@pytest.fixture
def outbox():
    opened = Outbox(waits_s=(0.0, 0.0), max_waiting=3)
    yield opened
    opened.close(deadline_s=10)


def test_deliveries_go_out_in_their_order_off_the_callers_thread(outbox):
    delivered = []
    for number in range(3):
        outbox.put("a number", lambda number=number: delivered.append((number, threading.current_thread().name)))
    outbox.close(deadline_s=10)
    assert delivered == [(0, "outbox"), (1, "outbox"), (2, "outbox")]


def test_failing_delivery_is_given_up_after_its_last_attempt(outbox):
    attempts = []

    def fail() -> None:
        attempts.append(len(attempts))
        raise MailError("the server sleeps")

    with capture_logs() as logged:
        outbox.put("a mail", fail)
        assert outbox.wait_for_attempts(3, timeout_s=10)
    assert attempts == [0, 1, 2]
    assert [line["event"] for line in logged] == ["not delivered yet", "not delivered yet", "given up"]
    assert logged[-1]["n_attempts"] == 3
    assert outbox.n_waiting == 0


def test_one_that_waits_for_its_next_attempt_holds_up_no_other():
    outbox, delivered = Outbox(waits_s=(3600.0,)), []

    def fail() -> None:
        raise MailError("greylisted")

    with capture_logs():
        outbox.put("a mail", fail)
        outbox.put("another", lambda: delivered.append("another"))
        assert outbox.wait_for_attempts(2, timeout_s=10)
        assert delivered == ["another"]
        outbox.close(deadline_s=10)


def test_mistake_in_one_delivery_is_loud_and_stops_no_other(outbox):
    delivered = []
    with capture_logs() as logged:
        outbox.put("a mistake", lambda: 1 / 0)
        outbox.put("another", lambda: delivered.append("another"))
        outbox.close(deadline_s=10)
    assert delivered == ["another"]
    assert isinstance(logged[0]["exc_info"], ZeroDivisionError)


def test_more_than_may_wait_is_refused(outbox):
    may_go_on, has_begun = threading.Event(), threading.Event()

    def hold() -> None:
        has_begun.set()
        assert may_go_on.wait(10)

    outbox.put("the first", hold)
    assert has_begun.wait(10)
    with capture_logs() as logged:
        taken = [outbox.put("more", lambda: None) for _ in range(4)]
    assert taken == [True, True, True, False]
    assert [line["event"] for line in logged] == ["not taken for delivery"]
    assert outbox.n_waiting == 4
    may_go_on.set()


def test_what_outlasts_the_deadline_is_told_as_lost():
    outbox, may_end, has_begun = Outbox(), threading.Event(), threading.Event()

    def hold() -> None:
        has_begun.set()
        may_end.wait(10)

    outbox.put("the first", hold)
    outbox.put("the second", lambda: None)
    assert has_begun.wait(10)
    with capture_logs() as logged:
        outbox.close(deadline_s=0.0)
        assert not outbox.put("too late", lambda: None)
    may_end.set()
    assert [(line["event"], line.get("n")) for line in logged] == [
        ("deliveries lost at the end of the process", 2),
        ("not taken for delivery", None),
    ]
