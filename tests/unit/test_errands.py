"""Errands: begun once, waited for by many, seen from outside."""

from __future__ import annotations

import threading

import pytest

from core.errands import Errand
from core.errors import BusyError
from core.inference.executor import InferenceExecutor


@pytest.fixture
def executor():
    opened = InferenceExecutor(n_workers=1, n_queue=1)
    yield opened
    opened.shutdown(deadline_s=5)


def test_whoever_waits_sees_how_far_it_is_and_gets_the_result(executor):
    may_end = threading.Event()

    def job(tell):
        tell(0.5, "Half way")
        assert may_end.wait(5)
        return "done"

    told = []

    def watch(share, doing):
        told.append((share, doing))
        if (share, doing) == (0.5, "Half way"):
            may_end.set()

    errand = Errand(executor, job)
    assert errand.wait(watch) == "done"
    assert told[-1] == (0.5, "Half way")
    told.clear()
    assert errand.wait(watch) == "done"
    assert told == []
    assert not errand.has_failed


def test_what_the_job_raises_is_raised_to_everybody_who_waits(executor):
    def job(_tell):
        raise TimeoutError("of its own")

    errand = Errand(executor, job)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="of its own"):
            errand.wait(lambda _share, _doing: None)
    assert errand.has_failed


def test_too_many_errands_are_refused(executor):
    may_end = threading.Event()
    errands = [Errand(executor, lambda _tell: may_end.wait(5)) for _ in range(2)]
    with pytest.raises(BusyError):
        Errand(executor, lambda _tell: None)
    may_end.set()
    assert all(errand.wait(lambda _share, _doing: None) for errand in errands)
