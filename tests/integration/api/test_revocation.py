"""Revocation reaches what has begun: a body on its way, a call about many recordings, a batch in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import UUID

import httpx2
import pytest
from starlette.testclient import TestClient

from api.application import create_api
from core.access.roles import ROLE_SCOPES
from core.batches import BatchStatus
from core.domain import PROCESS, ApiKey, JobState, Purpose, Role, User
from core.store.predictions import count_predictions
from core.store.recordings import count_recordings
from core.workbench import Workbench
from tests.callers import make_user
from tests.problems import refused
from tests.sounds import voice_wav
from tests.waiting import wait_until

FORM = {"content-type": "multipart/form-data; boundary=x"}
SEND = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%s\r\n'
PART = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a.wav"\r\n\r\n%s\r\n'

Ending = Callable[[Workbench, User, ApiKey], None]


def revoke(workbench: Workbench, _user: User, key: ApiKey) -> None:
    workbench.access.revoke_key(key.id, by=None)


def disable(workbench: Workbench, user: User, _key: ApiKey) -> None:
    workbench.access.change_active(user.id, False, by=None)


def demote(workbench: Workbench, user: User, _key: ApiKey) -> None:
    workbench.access.change_role(user.id, Role.VIEWER, by=None)


def sign_out(workbench: Workbench, user: User, _key: ApiKey) -> None:
    workbench.access.sign_out_everywhere(user.id)


@pytest.fixture
def user(workbench):
    return make_user(workbench, password=None)


@pytest.fixture
def key(workbench, user):
    return workbench.access.create_key(user.id, "tests", ROLE_SCOPES[user.role], by=None)


def send(
    workbench: Workbench, path: str, parts: list[bytes], headers: dict[str, str], between: Callable[[], None]
) -> httpx2.Response:
    """Send a body in `parts`, on a clock that goes on by 2 s after the first of them, and do `between` then."""

    async def scenario() -> httpx2.Response:
        loop = asyncio.get_running_loop()
        passed_s, real_time = 0.0, loop.time
        loop.time = lambda: real_time() + passed_s

        async def body() -> AsyncIterator[bytes]:
            nonlocal passed_s
            yield parts[0]
            await asyncio.to_thread(between)
            passed_s = 2.0
            for part in parts[1:]:
                yield part

        transport = httpx2.ASGITransport(create_api(lambda: workbench))
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver", headers=headers) as client:
            return await client.post(path, content=body())

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "ends", "status", "code"),
    [
        ("/api/v1/predict", revoke, 401, "invalid_credentials"),
        ("/api/v1/explain", disable, 401, "invalid_credentials"),
        ("/api/v1/batches", demote, 403, "forbidden"),
    ],
)
def test_recording_whose_key_ends_while_it_is_sent_is_not_taken(workbench, user, key, wav, path, ends, status, code):
    made, text = key
    answer = send(
        workbench,
        path,
        [SEND[:10], SEND[10:] % wav, b"--x--\r\n"],
        FORM | {"X-API-Key": text},
        lambda: ends(workbench, user, made),
    )
    refused(answer, status, code)
    assert count_recordings(workbench.store, reader=PROCESS) == 0


def test_recording_whose_session_ends_while_it_is_sent_is_not_taken(workbench, user, wav):
    signed_in = workbench.access.start_session(user, address="192.0.2.7", user_agent="tests")
    headers = FORM | {"Authorization": f"Bearer {signed_in.access_token}"}
    parts = [SEND[:10], SEND[10:] % wav, b"--x--\r\n"]
    answer = send(workbench, "/api/v1/predict", parts, headers, lambda: sign_out(workbench, user, None))
    assert "session has ended" in refused(answer, 401, "invalid_credentials")["detail"]
    assert count_recordings(workbench.store, reader=PROCESS) == 0


def test_key_is_not_made_by_a_session_that_ended_while_it_was_asked_for(workbench, user):
    signed_in = workbench.access.start_session(user, address="192.0.2.7", user_agent="tests")
    headers = {"content-type": "application/json", "Authorization": f"Bearer {signed_in.access_token}"}
    parts = [b'{"name": "kept"', b', "scopes": ["read"]}']
    answer = send(workbench, "/api/v1/keys", parts, headers, lambda: sign_out(workbench, user, None))
    refused(answer, 401, "invalid_credentials")
    assert workbench.access.keys_of(user.id) == []


def test_recording_goes_on_while_nothing_is_revoked(workbench, key, wav):
    parts = [SEND[:10], SEND[10:] % wav, b"--x--\r\n"]
    answer = send(workbench, "/api/v1/predict", parts, FORM | {"X-API-Key": key[1]}, lambda: None)
    assert answer.status_code == 200


def test_call_about_many_recordings_ends_between_two_of_them(workbench, user, key, monkeypatch):
    monkeypatch.setattr("api.access.RECHECK_EVERY_S", 0.0)
    analyse = workbench.analyse

    def analyse_and_revoke(*given, **named):
        done = analyse(*given, **named)
        workbench.access.revoke_key(key[0].id, by=None)
        return done

    monkeypatch.setattr(workbench, "analyse", analyse_and_revoke)
    sounds = [voice_wav(seconds=0.5, pitch_hz=100.0 + 7 * number) for number in range(8)]
    parts = [b"".join(PART % (b"files", sound) for sound in sounds), b"--x--\r\n"]
    answer = send(workbench, "/api/v1/batch-predict", parts, FORM | {"X-API-Key": key[1]}, lambda: None)
    refused(answer, 401, "invalid_credentials")
    assert 1 <= count_predictions(workbench.store, reader=PROCESS) <= workbench.settings.inference_workers


@pytest.fixture
def batches(workbench, monkeypatch):
    """Sends a batch by a key, does `before` once it is kept and nothing is scored, and returns its id."""
    workbench.jobs.start(polling_interval_s=0.02)
    enqueue = workbench.batches._enqueue

    def send_batch(key: str, *, n: int = 2, before: Callable[[], object] = lambda: None, **query: str) -> UUID:
        def do_before(batch):
            before()
            enqueue(batch)

        monkeypatch.setattr(workbench.batches, "_enqueue", do_before)
        sounds = [voice_wav(seconds=0.5, pitch_hz=100.0 + 7 * number) for number in range(n)]
        files = [("files", ("a.wav", sound)) for sound in sounds]
        client = TestClient(create_api(lambda: workbench), headers={"X-API-Key": key})
        answer = client.post("/api/v1/batches", files=files, params=query)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])

    return send_batch


def ended(workbench: Workbench, batch_id: UUID) -> BatchStatus:
    wait_until(lambda: workbench.batches.status(batch_id, reader=PROCESS).job.state.has_ended)
    return workbench.batches.status(batch_id, reader=PROCESS)


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [(revoke, "key that it was sent with was revoked"), (disable, "disabled or deleted"), (demote, "'viewer' may not")],
)
def test_batch_stops_between_two_groups_and_says_why(workbench, user, key, batches, monkeypatch, ends, sentence):
    keep = workbench.batches._keep

    def keep_and_end(*given):
        done = keep(*given)
        ends(workbench, user, key[0])
        return done

    monkeypatch.setattr(workbench.batches, "_keep", keep_and_end)
    status = ended(workbench, batches(key[1], n=12))
    assert status.state is JobState.FAILED
    assert sentence in status.job.error
    assert 1 <= status.progress.n_done < 12


def test_batch_that_waits_is_not_begun_and_goes_on_when_its_account_is_enabled_again(workbench, user, key, batches):
    batch_id = batches(key[1], before=lambda: disable(workbench, user, key[0]))
    assert ended(workbench, batch_id).progress.n_done == 0
    workbench.access.change_active(user.id, True, by=None)
    workbench.jobs.retry(batch_id, reader=PROCESS)
    wait_until(lambda: workbench.batches.status(batch_id, reader=PROCESS).state is JobState.SUCCEEDED)


def test_batch_goes_on_when_its_key_was_rotated_and_its_sender_signed_out(workbench, user, key, batches):
    def rotate_and_leave() -> None:
        workbench.access.rotate_key(key[0].id, by=None, overlap=timedelta(0))
        workbench.access.sign_out_everywhere(user.id)

    assert ended(workbench, batches(key[1], before=rotate_and_leave)).state is JobState.SUCCEEDED


def test_batch_of_a_project_that_its_sender_left_scores_nothing_into_it(workbench, user, key, batches):
    owner = workbench.access.caller_on_behalf(make_user(workbench, password=None).id)
    project = workbench.projects.create("Calls", Purpose.RESEARCH, by=owner)
    workbench.projects.add_member(project.id, user.email, by=owner)
    workbench.projects.agree(user.id, project.id)

    def leave() -> None:
        workbench.projects.remove_member(project.id, user.id, by=owner)

    status = ended(workbench, batches(key[1], before=leave, project=str(project.id)))
    assert "There is no project" in status.job.error
    assert count_recordings(workbench.store, reader=PROCESS) == 0
