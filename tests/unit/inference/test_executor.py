"""The bounded executor: order, refusal with a time to come back, cancellation, draining."""

import threading
from concurrent.futures import CancelledError

import pytest

from core.errors import BusyError, ShuttingDownError
from core.inference.executor import InferenceExecutor

SOON_S = 10


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def executor(gate):
    executor = InferenceExecutor(n_workers=1, n_queue=2)
    yield executor
    gate.set()
    executor.shutdown(deadline_s=SOON_S)


def start_blocking_job(executor, gate):
    """A job that has begun and ends when the gate opens."""
    has_begun = threading.Event()

    def block():
        has_begun.set()
        return gate.wait(SOON_S)

    future = executor.submit(block)
    assert has_begun.wait(SOON_S)
    return future


def test_job_returns_what_its_function_returns(executor):
    assert executor.submit(divmod, 17, 5).result(SOON_S) == (3, 2)
    assert executor.submit(int, "ff", base=16).result(SOON_S) == 255


def test_error_of_a_job_reaches_its_caller(executor):
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(SOON_S)
    assert executor.submit(abs, -1).result(SOON_S) == 1


def test_full_queue_is_refused_at_once_and_says_when_to_come_back(executor, gate):
    running = start_blocking_job(executor, gate)
    waiting = [executor.submit(abs, -number) for number in (1, 2)]
    assert (executor.n_running, executor.n_waiting) == (1, 2)
    with pytest.raises(BusyError, match="2 requests are already waiting") as refusal:
        executor.submit(abs, -3)
    assert refusal.value.n_waiting == 2
    assert refusal.value.retry_after_s == 3  # nothing measured yet: three jobs of a second each on one worker
    gate.set()
    assert running.result(SOON_S)
    assert [future.result(SOON_S) for future in waiting] == [1, 2]


def test_time_to_come_back_follows_how_long_recent_jobs_took(gate, monkeypatch):
    clock = iter([0.0, 8.0, 8.0, 16.0])
    executor = InferenceExecutor(n_workers=1, n_queue=1)
    with monkeypatch.context() as patched:
        patched.setattr("core.inference.executor._now_s", lambda: next(clock))
        for _ in range(2):
            executor.submit(abs, 0).result(SOON_S)
    blocked = start_blocking_job(executor, gate)
    executor.submit(abs, 0)
    with pytest.raises(BusyError) as refusal:
        executor.submit(abs, 0)
    assert refusal.value.retry_after_s == 16  # the one that waits and the caller's own, 8 s each
    gate.set()
    blocked.result(SOON_S)
    assert executor.shutdown(deadline_s=SOON_S)


def test_place_in_the_queue_is_free_again_once_a_job_has_ended_or_was_cancelled(executor, gate):
    running = start_blocking_job(executor, gate)
    first, second = executor.submit(abs, -1), executor.submit(abs, -2)
    assert first.cancel()
    assert executor.n_waiting == 1
    third = executor.submit(abs, -3)
    gate.set()
    assert (running.result(SOON_S), second.result(SOON_S), third.result(SOON_S)) == (True, 2, 3)


def test_shutdown_finishes_what_was_accepted_and_takes_nothing_new(gate):
    executor = InferenceExecutor(n_workers=1, n_queue=5)
    running = start_blocking_job(executor, gate)
    waiting = [executor.submit(abs, -number) for number in range(5)]
    drained = []
    stopper = threading.Thread(target=lambda: drained.append(executor.shutdown(deadline_s=SOON_S)))
    stopper.start()
    while True:
        try:
            waiting.append(executor.submit(abs, -9))
        except ShuttingDownError:
            break
        except BusyError:
            continue
    gate.set()
    stopper.join(SOON_S)
    assert drained == [True]
    assert running.result(0)
    assert [future.result(0) for future in waiting[:5]] == [0, 1, 2, 3, 4]


def test_what_still_waits_at_the_deadline_is_cancelled_so_that_its_caller_hears_of_it(gate):
    executor = InferenceExecutor(n_workers=1, n_queue=5)
    running = start_blocking_job(executor, gate)
    waiting = executor.submit(abs, -1)
    assert not executor.shutdown(deadline_s=0.05)
    with pytest.raises(CancelledError):
        waiting.result(SOON_S)
    gate.set()
    assert running.result(SOON_S)


def test_jobs_run_on_as_many_threads_as_there_are_workers():
    executor = InferenceExecutor(n_workers=3, n_queue=1)
    meeting = threading.Barrier(3)
    futures = [executor.submit(meeting.wait, SOON_S) for _ in range(3)]
    assert sorted(future.result(SOON_S) for future in futures) == [0, 1, 2]
    assert executor.shutdown(deadline_s=SOON_S)


def test_whoever_gives_way_waits_until_nobody_waits_for_an_answer(executor, gate):
    assert executor.wait_until_idle(timeout_s=SOON_S)
    blocking = start_blocking_job(executor, gate)
    waiting = executor.submit(abs, -1)
    assert not executor.wait_until_idle(timeout_s=0.001)
    gate.set()
    assert executor.wait_until_idle(timeout_s=SOON_S)
    assert blocking.done()
    assert waiting.done()
