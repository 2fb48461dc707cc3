"""Durable jobs: begun in the background, seen from outside, stopped, and gone on with after the process was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from core.config import REPOSITORY, Settings
from core.domain import PROCESS, JobState, Reader
from core.errors import ClipTooShortError, InvalidParameterError, JobsNotRunningError, JobStateError, UnknownJobError
from core.jobs.jobs import Jobs
from core.jobs.runs import Lane, Run
from tests.waiting import wait_until

ANNA, BERT = UUID(int=1), UUID(int=2)
QUICKLY_S = 0.02


@pytest.fixture
def jobs(tmp_path):
    """Jobs that are not started; closed at the end."""
    opened = Jobs(cast(Any, None), Settings(data_dir=tmp_path))
    yield opened
    opened.close()


def ended(jobs: Jobs, job_id: UUID):
    wait_until(lambda: jobs.job(job_id, reader=PROCESS).state.has_ended)
    return jobs.job(job_id, reader=PROCESS)


def test_a_job_runs_in_the_background_and_tells_how_far_it_is(jobs):
    half_way, may_end = threading.Event(), threading.Event()

    def work(_workbench, number):
        jobs.tell(0.5, "Half way")
        jobs.note("It goes well.")
        half_way.set()
        assert may_end.wait(10)
        return jobs.step("double", lambda: number * 2)

    jobs.register("work", work, title="Some work")
    jobs.start(polling_interval_s=QUICKLY_S)
    job = jobs.enqueue("work", owner=ANNA, arguments={"number": 21})
    assert (job.title, job.owner_id, job.ended_at) == ("Some work", ANNA, None)
    assert half_way.wait(10)
    wait_until(lambda: jobs.job(job.id, reader=PROCESS).progress == 0.5)
    seen = jobs.job(job.id, reader=PROCESS)
    assert (seen.state, seen.doing) == (JobState.RUNNING, "Half way")
    assert [line.sentence for line in seen.log] == ["It goes well."]
    may_end.set()
    done = ended(jobs, job.id)
    assert (done.state, done.progress, done.error) == (JobState.SUCCEEDED, 1.0, "")
    assert done.created_at <= done.started_at <= done.ended_at


def test_the_same_id_is_the_same_job(jobs):
    calls = []
    jobs.register("work", lambda _workbench, number: calls.append(number), title="Work")
    jobs.start(polling_interval_s=QUICKLY_S)
    first = jobs.enqueue("work", owner=ANNA, job_id=UUID(int=9), arguments={"number": 1})
    again = jobs.enqueue("work", owner=ANNA, job_id=UUID(int=9), arguments={"number": 2})
    assert first.id == again.id
    ended(jobs, first.id)
    assert calls == [1]


def test_a_failed_job_says_why_and_is_retried_from_the_step_that_failed(jobs):
    calls: Counter[str] = Counter()

    def first():
        calls["first"] += 1
        return 1

    def second():
        calls["second"] += 1
        if calls["second"] == 1:
            raise ClipTooShortError(0.1, 0.3)
        return 2

    def work(_workbench):
        return jobs.step("first", first) + jobs.step("second", second)

    jobs.register("work", work, title="Work")
    jobs.start(polling_interval_s=QUICKLY_S)
    job = jobs.enqueue("work", owner=ANNA)
    failed = ended(jobs, job.id)
    assert failed.state is JobState.FAILED
    assert failed.error == str(ClipTooShortError(0.1, 0.3))
    assert failed.log[-1].sentence == failed.error
    jobs.retry(job.id, reader=PROCESS)
    wait_until(lambda: jobs.job(job.id, reader=PROCESS).state is JobState.SUCCEEDED)
    assert calls == {"first": 1, "second": 2}


def test_what_was_seen_while_a_job_ran_is_not_written_over_its_end(jobs, monkeypatch):
    run, written = Run("a job", log=[]), []
    is_writing, may_write = threading.Event(), threading.Event()

    def note(_job_id, news):
        if not is_writing.is_set():
            is_writing.set()
            assert may_write.wait(20)
        written.append([line["sentence"] for line in news["log"]])

    monkeypatch.setattr(jobs, "_runtime", SimpleNamespace(note=note))
    watching = threading.Thread(target=jobs._write_down, args=(run,))
    watching.start()
    assert is_writing.wait(20)
    run.note("it failed")
    ending = threading.Thread(target=jobs._write_down, args=(run,))
    ending.start()
    ending.join(0.2)
    may_write.set()
    watching.join(20)
    ending.join(20)
    monkeypatch.undo()
    assert written == [[], ["it failed"]]


def test_a_mistake_in_the_program_is_no_sentence_for_people(jobs):
    def work(_workbench):
        raise ValueError("secret details")

    jobs.register("work", work, title="Work")
    jobs.start(polling_interval_s=QUICKLY_S)
    failed = ended(jobs, jobs.enqueue("work", owner=ANNA).id)
    assert failed.state is JobState.FAILED
    assert "mistake in the program" in failed.error
    assert "secret details" not in failed.error


@pytest.mark.parametrize("way_out", ["cancel", "pause"])
def test_a_running_job_stops_at_its_next_step_and_goes_on_when_asked(jobs, way_out):
    calls: Counter[str] = Counter()
    inside, may_go_on = threading.Event(), threading.Event()

    def first():
        calls["first"] += 1
        inside.set()
        assert may_go_on.wait(10)

    def work(_workbench):
        jobs.step("first", first)
        jobs.step("second", lambda: calls.update(["second"]))

    jobs.register("work", work, title="Work")
    jobs.start(polling_interval_s=QUICKLY_S)
    job = jobs.enqueue("work", owner=ANNA)
    assert inside.wait(10)
    stopped = getattr(jobs, way_out)(job.id, reader=PROCESS)
    assert stopped.state is {"cancel": JobState.CANCELLED, "pause": JobState.PAUSED}[way_out]
    may_go_on.set()
    wait_until(lambda: not jobs._runs)
    assert calls == {"first": 1}
    (jobs.retry if way_out == "cancel" else jobs.resume)(job.id, reader=PROCESS)
    wait_until(lambda: jobs.job(job.id, reader=PROCESS).state is JobState.SUCCEEDED)
    assert calls["second"] == 1


def test_what_does_not_go_with_its_state_is_refused(jobs):
    jobs.register("work", lambda _workbench: None, title="Work")
    jobs.start(polling_interval_s=QUICKLY_S)
    job = ended(jobs, jobs.enqueue("work", owner=ANNA).id)
    for action in (jobs.cancel, jobs.pause, jobs.resume, jobs.retry):
        with pytest.raises(JobStateError, match="succeeded"):
            action(job.id, reader=PROCESS)


def test_jobs_are_seen_by_their_owner_and_by_admins_alone(jobs):
    jobs.register("work", lambda _workbench: None, title="Work")
    jobs.start(polling_interval_s=QUICKLY_S)
    job = jobs.enqueue("work", owner=ANNA)
    anna, bert = Reader(user_id=ANNA), Reader(user_id=BERT)
    assert [each.id for each in jobs.list_jobs(reader=anna)] == [job.id]
    assert [each.id for each in jobs.list_jobs(reader=PROCESS)] == [job.id]
    assert jobs.list_jobs(reader=bert) == []
    for action in (jobs.job, jobs.cancel, jobs.pause, jobs.resume, jobs.retry):
        with pytest.raises(UnknownJobError):
            action(job.id, reader=bert)


def test_one_persons_many_jobs_leave_room_for_anothers(jobs):
    began, may_end = threading.Event(), threading.Event()
    running = threading.Semaphore(0)

    def long(_workbench):
        running.release()
        assert may_end.wait(20)

    jobs.register("long", long, title="Long")
    jobs.register("short", lambda _workbench: began.set(), title="Short")
    jobs.start(polling_interval_s=QUICKLY_S)
    for _ in range(8):
        jobs.enqueue("long", owner=ANNA)
    running.acquire()
    jobs.enqueue("short", owner=BERT)
    assert began.wait(20)
    may_end.set()


def test_among_ones_own_jobs_the_lower_priority_number_goes_first(jobs):
    order, began, may_end = [], threading.Event(), threading.Event()

    def long(_workbench):
        began.set()
        assert may_end.wait(20)

    jobs.register("long", long, title="Long", lane=Lane.TRAINING)
    jobs.register("short", lambda _workbench, name: order.append(name), title="Short", lane=Lane.TRAINING)
    jobs.start(polling_interval_s=QUICKLY_S)
    jobs.enqueue("long", owner=ANNA)
    assert began.wait(20)
    later = jobs.enqueue("short", owner=ANNA, priority=200, arguments={"name": "later"})
    jobs.enqueue("short", owner=ANNA, priority=1, arguments={"name": "sooner"})
    may_end.set()
    ended(jobs, later.id)
    assert order == ["sooner", "later"]


def test_jobs_that_wait_are_counted_and_their_oldest_tells_how_long(jobs):
    began, may_end = threading.Event(), threading.Event()

    def long(_workbench):
        began.set()
        assert may_end.wait(20)

    jobs.register("long", long, title="Long", lane=Lane.TRAINING)
    jobs.start(polling_interval_s=QUICKLY_S)
    assert jobs.waiting() == (0, 0.0)
    jobs.enqueue("long", owner=ANNA)
    assert began.wait(20)
    later = [jobs.enqueue("long", owner=ANNA) for _ in range(2)][-1]
    wait_until(lambda: jobs.waiting()[1] > 0.05)
    assert jobs.waiting()[0] == 2, "the one that runs does not wait"
    may_end.set()
    ended(jobs, later.id)
    assert jobs.waiting() == (0, 0.0)


def test_deliveries_of_webhooks_do_not_crowd_out_other_jobs(jobs):
    jobs.register("report", lambda _workbench: None, title="Report")
    jobs.register("webhook", lambda _workbench: None, title="Webhook", lane=Lane.DELIVERIES)
    jobs.start(polling_interval_s=QUICKLY_S)
    report = jobs.enqueue("report", owner=ANNA)
    delivery = jobs.enqueue("webhook", owner=ANNA)
    ended(jobs, delivery.id)
    assert [job.id for job in jobs.list_jobs(reader=PROCESS)] == [report.id]
    assert jobs.job(delivery.id, reader=PROCESS).state is JobState.SUCCEEDED


@pytest.mark.parametrize("way_out", ["cancel", "pause"])
def test_what_is_stopped_stays_in_the_list(jobs, way_out):
    jobs.register("work", lambda _workbench: None, title="Work")
    jobs.start(polling_interval_s=QUICKLY_S)
    job = jobs.enqueue("work", owner=ANNA, delay_s=3600)
    stopped = getattr(jobs, way_out)(job.id, reader=PROCESS)
    assert jobs.list_jobs(reader=PROCESS) == [stopped]
    assert jobs.list_jobs(reader=PROCESS, states={stopped.state}) == [stopped]


def test_before_the_start_nothing_is_taken(jobs):
    jobs.register("work", lambda _workbench: None, title="Work")
    assert not jobs.is_running
    with pytest.raises(JobsNotRunningError):
        jobs.enqueue("work", owner=ANNA)


def test_a_schedule_enqueues_its_job_with_the_time_it_was_due(jobs):
    due = []
    jobs.register("tick", lambda _workbench, due_at, note: due.append((due_at, note)), title="Tick")
    jobs.start(polling_interval_s=QUICKLY_S)
    jobs.schedule("ticks", "* * * * * *", "Europe/Berlin", kind="tick", owner=ANNA, arguments={"note": "hello"})
    wait_until(lambda: len(due) >= 2, timeout_s=20)
    jobs.unschedule("ticks")
    assert {note for _, note in due} == {"hello"}
    assert len({at for at, _ in due}) == len(due)
    with pytest.raises(InvalidParameterError):
        jobs.schedule("nonsense", "every tuesday", kind="tick", owner=ANNA)


def test_the_end_of_the_process_hands_work_back_and_the_next_start_goes_on(tmp_path):
    calls: Counter[str] = Counter()
    inside, may_go_on = threading.Event(), threading.Event()

    def first():
        calls["first"] += 1
        inside.set()
        assert may_go_on.wait(10)

    def opened() -> Jobs:
        jobs = Jobs(cast(Any, None), Settings(data_dir=tmp_path))

        def work(_workbench):
            jobs.step("first", first)
            jobs.step("second", lambda: calls.update(["second"]))

        jobs.register("work", work, title="Work")
        jobs.start(polling_interval_s=QUICKLY_S)
        return jobs

    former = opened()
    job = former.enqueue("work", owner=ANNA)
    assert inside.wait(10)
    closing = threading.Thread(target=former.close)
    closing.start()
    wait_until(lambda: not former.is_running)
    may_go_on.set()
    closing.join(20)
    assert calls == {"first": 1}
    following = opened()
    try:
        assert ended(following, job.id).state is JobState.SUCCEEDED
    finally:
        following.close()
    assert calls == {"first": 1, "second": 1}


def test_a_killed_process_goes_on_where_it_stopped(tmp_path):
    n_steps = 40
    command = [sys.executable, "-m", "tests.job_process", str(tmp_path), str(n_steps)]
    n_killed = 0
    for moment in (5, 15, 25):
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        try:
            done = tmp_path / "done"
            wait_until(lambda: done.exists() and len(done.read_text().split()) >= moment, timeout_s=60)  # noqa: B023
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        n_killed += 1
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120, stdout=subprocess.DEVNULL)
    begun = Counter(map(int, (tmp_path / "begun").read_text().split()))
    assert sorted(begun) == list(range(n_steps))
    repeated = sum(begun.values()) - n_steps
    assert repeated <= n_killed, "only the step that a kill interrupted is done again"


def test_on_postgresql_the_jobs_of_a_process_that_is_gone_are_taken_over(tmp_path, postgresql_url, monkeypatch):
    calls: Counter[str] = Counter()
    inside, may_go_on = threading.Event(), threading.Event()

    def first():
        calls["first"] += 1
        inside.set()
        assert may_go_on.wait(20)

    def opened(place: str) -> Jobs:
        jobs = Jobs(cast(Any, None), Settings(data_dir=tmp_path / place, jobs_url=postgresql_url))

        def work(_workbench):
            jobs.step("first", first)
            jobs.step("second", lambda: calls.update(["second"]))

        jobs.register("work", work, title="Work")
        jobs.start(polling_interval_s=QUICKLY_S)
        return jobs

    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    gone = opened("one")
    job = gone.enqueue("work", owner=ANNA)
    assert inside.wait(20)
    with monkeypatch.context() as patched:  # gone as if it had been killed: nothing is handed back
        patched.setattr("core.jobs.runtime.hand_back", lambda _executor_id, _still_running: 0)
        closing = threading.Thread(target=gone.close)
        closing.start()
        wait_until(lambda: not gone.is_running)
        may_go_on.set()
        closing.join(30)
    other = opened("other")
    try:
        assert other._executor_id != gone._executor_id
        assert ended(other, job.id).state is JobState.SUCCEEDED
    finally:
        other.close()
    assert calls["second"] == 1
