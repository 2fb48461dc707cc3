"""Batches: each recording scored once, results as they come, problems by their sentence, repeats without inference."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock
from uuid import UUID

import pytest

from core.batches import BatchStatus, Submitted
from core.config import Settings
from core.domain import PROCESS, Caller, JobState, Reader, Scope, Source
from core.errors import (
    ConsentNeededError,
    InvalidParameterError,
    JobsNotRunningError,
    JobStateError,
    ModelNotFoundError,
    NothingScoredError,
    QuotaExceededError,
    SourceNotAllowedError,
    UnknownBatchError,
)
from core.features.audio import decode
from core.plans import default_plans
from core.store.predictions import count_predictions, select_prediction
from core.store.recordings import count_recordings
from core.store.usage import select_usage_events
from core.usage import Call
from core.webhooks.address_guard import networks_of
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.callers import make_fake_caller, make_user
from tests.challengers import challenger
from tests.prepared_stores import prepared
from tests.sounds import voice_wav
from tests.waiting import wait_until

PLANS = default_plans()


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=prepared(tmp_path / "data"), models_dir=TINY.parent, model="tiny", batch_workers=2)


@pytest.fixture
def workbench(settings):
    opened = open_workbench(settings)
    opened.jobs.start(polling_interval_s=0.02)
    yield opened
    opened.close()


@pytest.fixture
def caller(workbench):
    return agreed(workbench)


def agreed(workbench):
    """Somebody who agreed to recordings outside projects."""
    user = make_user(workbench, password=None)
    return Caller(user=user, scopes=frozenset(Scope), reader=Reader(user_id=user.id), plan=user.plan)


def create(workbench, caller, sounds, **given) -> BatchStatus:
    submitted = [Submitted(name=name, data=data) for name, data in sounds]
    call = Call(route="/api/v1/batches", method="POST", caller=caller, request_id="r1", address="192.0.2.7")
    return workbench.batches.create(submitted, caller=caller, call=call, source=Source.API, **given)


def ended(workbench, batch_id: UUID) -> BatchStatus:
    wait_until(lambda: workbench.batches.status(batch_id, reader=PROCESS).job.state.has_ended)
    return workbench.batches.status(batch_id, reader=PROCESS)


def voices(n: int, seconds: float = 1.0) -> list[tuple[str, bytes]]:
    return [(f"{number}.wav", voice_wav(seconds=seconds, pitch_hz=100.0 + 7 * number)) for number in range(n)]


def test_every_recording_is_answered_or_refused_in_its_place(workbench, caller):
    sounds = [*voices(3), ("broken.wav", b"nothing like a sound"), ("empty.wav", b"")]
    status = ended(workbench, create(workbench, caller, sounds).batch.id)
    assert (status.state, status.share) == (JobState.SUCCEEDED, 1.0)
    assert (status.progress.n_scored, status.progress.n_problems, status.progress.n_repeats) == (3, 2, 0)
    rows = workbench.batches.rows(status.batch.id, reader=caller.reader)
    assert [row.name for row in rows] == ["0.wav", "1.wav", "2.wav", "broken.wav", "empty.wav"]
    assert [row.problem_code for row in rows] == ["", "", "", "unsupported_format", "empty_audio"]
    assert all(row.problem.endswith(".") for row in rows[3:])
    assert all(row.emotion is max(row.probabilities, key=row.probabilities.get) for row in rows[:3])
    # Groups are scored side by side: which of two is noted first is nobody's promise.
    assert sorted(line.sentence.split(":")[0] for line in status.job.log[:2]) == ["Item 4", "Item 5"]
    assert status.job.doing == "5 of 5 done, 2 with a problem"
    problems = workbench.batches.rows(status.batch.id, reader=caller.reader, has_problem=True)
    assert [row.position for row in problems] == [3, 4]


def test_an_answer_of_a_batch_is_the_answer_of_one_alone(workbench, caller):
    sounds = [*voices(2), ("long.wav", voice_wav(seconds=7.0))]
    status = ended(workbench, create(workbench, caller, sounds).batch.id)
    for row, (name, data) in zip(workbench.batches.rows(status.batch.id, reader=PROCESS), sounds, strict=True):
        alone = workbench.analyse(data, name=name, source=Source.API, owner=caller.user.id).prediction
        together = select_prediction(workbench.store, prediction_id=row.prediction_id, reader=PROCESS)
        differing = {"id", "created_at", "latency_ms", "source"}
        assert replace(alone, **{name: getattr(together, name) for name in differing}) == together


def test_a_batch_is_scored_by_the_deployed_model_or_one_that_was_made_here(settings, tmp_path):
    workbench = open_workbench(settings)
    try:
        workbench.jobs.start(polling_interval_s=0.02)
        caller, version = agreed(workbench), challenger(settings.installed_models_dir).name
        made = workbench.models.version(version).card.version
        by_name = ended(workbench, create(workbench, caller, voices(1), model=made).batch.id)
        workbench.models.deploy(version, by=caller, reason="a test")
        by_deployment = ended(workbench, create(workbench, caller, voices(2)).batch.id)
        for status, n_repeats in ((by_name, 0), (by_deployment, 1)):
            rows = workbench.batches.rows(status.batch.id, reader=PROCESS)
            assert {row.model_version for row in rows} == {made}
            assert status.progress.n_repeats == n_repeats
    finally:
        workbench.close()


def test_a_batch_gives_way_while_somebody_waits_for_one_answer(workbench, caller, monkeypatch):
    monkeypatch.setattr("core.batches.GIVE_WAY_S", 30.0)
    is_answered, decodes = threading.Event(), Mock(wraps=decode)
    monkeypatch.setattr("core.inference.bulk.decode", decodes)
    waits = Mock(wraps=workbench.executor.wait_until_idle)
    monkeypatch.setattr(workbench.executor, "wait_until_idle", waits)
    somebody = workbench.executor.submit(is_answered.wait, 30)
    status = create(workbench, caller, voices(2))
    wait_until(lambda: waits.called)
    assert not decodes.called
    is_answered.set()
    assert somebody.result(30)
    assert ended(workbench, status.batch.id).progress.n_scored == 2
    assert decodes.call_count == 2


def test_a_repeated_recording_is_answered_without_inference(workbench, caller):
    sounds = voices(2)
    first = ended(workbench, create(workbench, caller, sounds).batch.id)
    n_before = count_predictions(workbench.store, reader=PROCESS)
    second = ended(workbench, create(workbench, caller, [*sounds, *voices(3)[2:]]).batch.id)
    assert (second.progress.n_scored, second.progress.n_repeats) == (3, 2)
    assert count_predictions(workbench.store, reader=PROCESS) == n_before + 1
    former, latter = (workbench.batches.rows(each.batch.id, reader=PROCESS) for each in (first, second))
    assert [row.prediction_id for row in latter[:2]] == [row.prediction_id for row in former]


def test_other_settings_or_another_owner_are_no_repeat(workbench, caller):
    sounds = voices(1)
    ended(workbench, create(workbench, caller, sounds).batch.id)
    other_passes = ended(workbench, create(workbench, caller, sounds, n_passes=5).batch.id)
    somebody_else = ended(workbench, create(workbench, agreed(workbench), sounds).batch.id)
    assert (other_passes.progress.n_repeats, somebody_else.progress.n_repeats) == (0, 0)


def test_usage_is_noted_for_each_recording_and_not_again_for_repeats(workbench, caller):
    for _ in range(2):
        ended(workbench, create(workbench, caller, voices(2)).batch.id)
    events = select_usage_events(workbench.store, reader=PROCESS).items
    assert [(event.n_predictions, event.is_further, event.request_id) for event in events] == [(1, True, "r1")] * 2
    assert {event.address for event in events} == {"192.0.2.0/24"}


def test_a_batch_is_seen_by_its_owner_and_its_project_alone(workbench, caller):
    status = ended(workbench, create(workbench, caller, voices(1)).batch.id)
    stranger = Reader(user_id=UUID(int=3))
    for ask in (workbench.batches.status, workbench.batches.rows, workbench.batches.cancel):
        with pytest.raises(UnknownBatchError):
            ask(status.batch.id, reader=stranger)
    assert workbench.batches.list_batches(reader=stranger) == []
    assert [each.batch.id for each in workbench.batches.list_batches(reader=caller.reader)] == [status.batch.id]


def test_what_cannot_begin_leaves_nothing_behind(workbench, caller, settings):
    with pytest.raises(ConsentNeededError):
        create(workbench, make_fake_caller(), voices(1))
    with pytest.raises(InvalidParameterError, match="files"):
        create(workbench, caller, [])
    with pytest.raises(ModelNotFoundError):
        create(workbench, caller, voices(1), model="none")
    call = Call(route="/", method="POST", caller=caller, request_id="r", address="")
    places = [Submitted(name="", location="/etc/passwd")]
    with pytest.raises(SourceNotAllowedError):
        workbench.batches.create(places, caller=caller, call=call, source=Source.API)
    assert workbench.batches.list_batches(reader=PROCESS) == []
    assert not list((settings.data_dir / "recordings-waiting").glob("*"))


def test_before_jobs_run_no_batch_is_taken(settings):
    with open_and_close(settings) as workbench, pytest.raises(JobsNotRunningError):
        create(workbench, agreed(workbench), voices(1))


@contextmanager
def open_and_close(settings):
    workbench = open_workbench(settings)
    try:
        yield workbench
    finally:
        workbench.close()


def test_a_cancelled_batch_stops_and_what_waits_is_deleted(workbench, caller, settings, monkeypatch):
    began, may_go_on = threading.Event(), threading.Event()
    keep = workbench.batches._keep

    def slowly(*given):
        began.set()
        assert may_go_on.wait(20)
        return keep(*given)

    monkeypatch.setattr(workbench.batches, "_keep", slowly)
    batch_id = create(workbench, caller, voices(12, seconds=0.5)).batch.id
    assert began.wait(20)
    assert workbench.batches.cancel(batch_id, reader=caller.reader).state is JobState.CANCELLED
    may_go_on.set()
    wait_until(lambda: not workbench.jobs._runs)
    status = workbench.batches.status(batch_id, reader=PROCESS)
    assert status.state is JobState.CANCELLED
    assert status.progress.n_done < 12
    assert not (settings.data_dir / "recordings-waiting" / str(batch_id)).exists()
    with pytest.raises(JobStateError):
        workbench.batches.cancel(batch_id, reader=caller.reader)


def test_a_used_up_quota_fails_the_job_and_a_retry_goes_on(settings):
    tight = replace(PLANS["enterprise"], audio_s_per_month=3.0)
    settings = replace(settings, plans={**PLANS, "enterprise": tight}, batch_workers=1)
    workbench = open_workbench(settings)
    try:
        workbench.jobs.start(polling_interval_s=0.02)
        caller = agreed(workbench)
        status = ended(workbench, create(workbench, caller, voices(12, seconds=1.0)).batch.id)
        assert status.state is JobState.FAILED
        assert "allowance" in status.job.error or "plan" in status.job.error
        assert 3 <= status.progress.n_scored < 12
        with pytest.raises(QuotaExceededError):
            create(workbench, caller, voices(1))
        n_before = status.progress.n_scored
        workbench.limits.used_this_month = lambda user_id, month_start: None
        workbench.limits.require_quota = lambda call: None
        workbench.jobs.retry(status.batch.id, reader=PROCESS)
        wait_until(lambda: workbench.batches.status(status.batch.id, reader=PROCESS).state is JobState.SUCCEEDED)
        assert workbench.batches.status(status.batch.id, reader=PROCESS).progress.n_scored == 12 > n_before
        assert count_recordings(workbench.store, reader=PROCESS) == 12
    finally:
        workbench.close()


def test_sounds_of_a_batch_that_failed_wait_a_week_and_no_longer(workbench, caller, settings, monkeypatch):
    keep = workbench.batches._keep

    def keep_and_disable(*given):
        done = keep(*given)
        workbench.access.change_active(caller.user.id, False, by=None)
        return done

    monkeypatch.setattr(workbench.batches, "_keep", keep_and_disable)
    status = ended(workbench, create(workbench, caller, voices(12, seconds=0.5)).batch.id)
    assert status.state is JobState.FAILED
    waiting, now = settings.data_dir / "recordings-waiting" / str(status.batch.id), datetime.now(UTC)
    assert workbench.batches.give_up(now + timedelta(days=6)) == 0
    assert waiting.exists()
    assert workbench.batches.give_up(now + timedelta(days=8)) == 1
    assert not waiting.exists()
    rows = workbench.batches.rows(status.batch.id, reader=PROCESS)
    assert len(rows) == 12
    problems = [row for row in rows if row.problem_code]
    assert len(problems) == 12 - status.progress.n_done > 0
    assert all("deleted 7 days after its batch failed" in row.problem for row in problems)
    assert workbench.batches.give_up(now + timedelta(days=9)) == 0


def test_a_folder_that_the_settings_allow_is_scored(settings, tmp_path):
    folder = tmp_path / "audio"
    (folder / "inner").mkdir(parents=True)
    for name, data in voices(2):
        (folder / name).write_bytes(data)
    (folder / "inner" / "deep.wav").write_bytes(voice_wav(seconds=1.0, pitch_hz=190))
    (folder / "notes.txt").write_text("no recording")
    with open_and_close(replace(settings, batch_sources=str(folder))) as workbench:
        workbench.jobs.start(polling_interval_s=0.02)
        caller = agreed(workbench)
        call = Call(route="/", method="POST", caller=caller, request_id="r", address="")
        created = workbench.batches.create(
            [Submitted(name="", location=str(folder))], caller=caller, call=call, source=Source.API
        )
        status = ended(workbench, created.batch.id)
        assert status.state is JobState.SUCCEEDED
        rows = workbench.batches.rows(status.batch.id, reader=PROCESS)
        assert [row.name for row in rows] == ["0.wav", "1.wav", "inner/deep.wav"]


def test_a_batch_that_was_kept_and_never_enqueued_is_adopted_at_the_next_start(settings, monkeypatch):
    with open_and_close(settings) as workbench:
        workbench.jobs.start(polling_interval_s=0.02)
        monkeypatch.setattr(workbench.batches, "_enqueue", lambda _batch: None)
        batch_id = create(workbench, agreed(workbench), voices(2)).batch.id
    with open_and_close(settings) as workbench:
        workbench.jobs.start(polling_interval_s=0.02)
        wait_until(lambda: workbench.batches.status(batch_id, reader=PROCESS).state is JobState.SUCCEEDED)


def test_the_end_of_a_batch_is_told_once(workbench, caller):
    told = []
    workbench.batches.on_end = told.append
    status = ended(workbench, create(workbench, caller, voices(2)).batch.id)
    assert [(each.batch.id, each.progress.n_scored) for each in told] == [(status.batch.id, 2)]


def test_who_leaves_is_forgotten_with_their_batches(workbench, caller):
    status = ended(workbench, create(workbench, caller, voices(2)).batch.id)
    assert workbench.batches.forget_all(reader=caller.reader) == 1
    with pytest.raises(UnknownBatchError):
        workbench.batches.status(status.batch.id, reader=PROCESS)
    assert count_recordings(workbench.store, reader=PROCESS) == 2


def test_webhooks_are_told_of_each_answer_and_of_the_end(workbench, caller, monkeypatch):
    monkeypatch.setattr(workbench.webhooks, "_networks", networks_of("127.0.0.0/8"))
    endpoint, _ = workbench.webhooks.create(by=caller, url="http://127.0.0.1:9/nobody-there")
    scored = ended(workbench, create(workbench, caller, [*voices(2), ("broken.wav", b"nothing like a sound")]).batch.id)
    refused = ended(workbench, create(workbench, caller, [("empty.wav", b"")]).batch.id)
    sent = [each.message for each in workbench.webhooks.deliveries(endpoint.id, owner_id=caller.user.id)]
    told = {
        kind: [json.loads(message.body)["data"] for message in sent if message.event_type == kind]
        for kind in ("prediction.created", "batch.succeeded", "batch.failed")
    }
    rows = workbench.batches.rows(scored.batch.id, reader=PROCESS)
    assert {data["prediction_id"] for data in told["prediction.created"]} == {
        str(row.prediction_id) for row in rows[:2]
    }
    assert told["batch.succeeded"] == [{"batch_id": str(scored.batch.id), "n_recordings": 3, "n_problems": 1}]
    assert told["batch.failed"] == [{"batch_id": str(refused.batch.id), "error": str(NothingScoredError(1))}]


def test_webhooks_are_told_of_what_was_kept_by_a_process_that_ended_before_it_told(workbench, caller, monkeypatch):
    monkeypatch.setattr(workbench.webhooks, "_networks", networks_of("127.0.0.0/8"))
    endpoint, _ = workbench.webhooks.create(
        by=caller, url="http://127.0.0.1:9/nobody-there", event_types=["prediction.created"]
    )
    keep = workbench.batches._keep

    def keep_and_fail(*given):
        keep(*given)
        raise ModelNotFoundError("tiny", ())

    with monkeypatch.context() as ending:
        ending.setattr(workbench, "tell_analysis", lambda *_: None)
        ending.setattr(workbench.batches, "_keep", keep_and_fail)
        status = ended(workbench, create(workbench, caller, voices(3)).batch.id)
        assert 0 < status.progress.n_scored <= 3
    workbench.batches.retry(status.batch.id, reader=caller.reader)
    wait_until(lambda: workbench.jobs.job(status.batch.id, reader=PROCESS).state is JobState.SUCCEEDED)
    workbench.webhooks.flush()
    told = [
        json.loads(each.message.body)["data"]["prediction_id"]
        for each in workbench.webhooks.deliveries(endpoint.id, owner_id=caller.user.id)
    ]
    rows = workbench.batches.rows(status.batch.id, reader=PROCESS)
    assert sorted(told) == sorted(str(row.prediction_id) for row in rows)


def test_webhooks_are_told_why_a_batch_cannot_go_on(workbench, caller, monkeypatch):
    monkeypatch.setattr(workbench.webhooks, "_networks", networks_of("127.0.0.0/8"))
    endpoint, _ = workbench.webhooks.create(
        by=caller, url="http://127.0.0.1:9/nobody-there", event_types=["batch.failed"]
    )
    monkeypatch.setattr(workbench.batches, "_recogniser", Mock(side_effect=ModelNotFoundError("tiny", [])))
    ended(workbench, create(workbench, caller, voices(1)).batch.id)
    workbench.webhooks.flush()
    [delivery] = workbench.webhooks.deliveries(endpoint.id, owner_id=caller.user.id)
    assert "tiny" in json.loads(delivery.message.body)["data"]["error"]
