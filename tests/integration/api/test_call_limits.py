"""Limits at the API's door: headers, refusals, body caps, and callers who do not starve each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID

import httpx2
import pytest
from fastapi import Depends, FastAPI
from starlette.requests import Request

from api.errors import add_error_answers
from api.limits import body_cap_mb, limited
from api.metrics import Metrics
from api.middleware import Doorkeeper
from api.uploads import received_form
from core.access.limits import CallLimits
from core.access.windows import Windows
from core.config import Settings
from core.domain import Caller, Reader, Role, Scope, User
from core.errors import SilentAudioError
from core.plans import default_plans
from tests.clocks import Clock
from tests.problems import refused

TIGHT = replace(
    default_plans()["free"],
    limits="3 per minute; 50 per day",
    calls_per_month=5,
    max_concurrent=4,
    max_upload_mb=0.1,
)
ROOMY = replace(TIGHT, limits="1000 per minute", calls_per_month=None, audio_s_per_month=None, max_upload_mb=100.0)
SETTINGS = Settings(
    plans={**default_plans(), "tight": TIGHT, "roomy": ROOMY},
    address_limits="100 per minute",
    max_upload_mb=1.0,
    upload_stall_s=30.0,
)
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"
MULTIPART = {"content-type": "multipart/form-data; boundary=x"}


def caller_of(number: int, plan: str) -> Caller:
    """A caller with a key of their own."""
    user = User(
        id=UUID(int=number),
        email=f"user{number}@example.org",
        name="",
        role=Role.ANALYST,
        plan=plan,
        is_active=True,
        has_password=True,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        last_sign_in_at=None,
    )
    scopes = frozenset({Scope.PREDICT})
    return Caller(user=user, scopes=scopes, reader=Reader(user_id=user.id), plan=plan, key_id=UUID(int=1000 + number))


@pytest.fixture
def limits():
    opened = CallLimits(Windows(clock=Clock()), address_limits=SETTINGS.address_limits)
    yield opened
    opened.close()


@pytest.fixture
def app(limits):
    """Routes behind limits: the header `X-Caller` is `NUMBER PLAN`."""

    async def admitted(request: Request) -> AsyncIterator[None]:
        asks = request.headers.get("x-caller")
        caller = None if asks is None else caller_of(int(asks.split()[0]), asks.split()[1])
        costs = request.url.path in {"/judge", "/upload"}
        async with limited(request, caller, limits, SETTINGS, costs_inference=costs):
            yield

    api = FastAPI(dependencies=[Depends(admitted)])

    @api.get("/read")
    async def read() -> str:
        return "read"

    @api.post("/judge")
    async def judge(silent: bool = False) -> str:
        if silent:
            raise SilentAudioError(-70.0)
        return "judged"

    @api.post("/upload")
    async def upload(request: Request) -> int:
        async with received_form(
            request,
            file_field="file",
            max_mb=body_cap_mb(request, SETTINGS.max_upload_mb),
            what="The file",
            stall_s=SETTINGS.upload_stall_s,
        ) as form:
            return len(await form.files[0].read())

    add_error_answers(api)
    api.add_middleware(Doorkeeper, metrics=Metrics(), is_draining=lambda: False, open_requests=set())
    return api


def run(app, scenario):
    """What `scenario(client)` gives, on an event loop of its own."""

    async def main():
        transport = httpx2.ASGITransport(app, client=("198.51.100.7", 50_000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await scenario(client)

    return asyncio.run(main())


def asking(number: int, plan: str = "tight") -> dict[str, str]:
    return {"x-caller": f"{number} {plan}"}


def test_every_answer_says_what_is_left(app):
    async def scenario(client):
        return await client.post("/judge", headers=asking(1))

    answer = run(app, scenario)
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"].startswith(
        '"key-minute";q=3;w=60, "key-day";q=50;w=86400, "user-minute";q=3;w=60, "user-day";q=50;w=86400, '
        '"address-minute";q=100;w=60, "month";q=5;w='
    )
    assert answer.headers["ratelimit"].startswith('"key-minute";r=2;t=60, "key-day";r=49;t=86400')
    assert '"month";r=4;t=' in answer.headers["ratelimit"]


def test_call_too_many_is_429_with_the_time_to_wait(app):
    async def scenario(client):
        return [await client.get("/read", headers=asking(1)) for _ in range(4)]

    *fine, answer = run(app, scenario)
    assert [each.status_code for each in fine] == [200] * 3
    assert "More than 3 calls per minute with one key" in refused(answer, 429, "rate_limited")["detail"]
    assert answer.headers["retry-after"] == "60"
    assert '"key-minute";r=0;t=' in answer.headers["ratelimit"]
    assert answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"


def test_month_used_up_is_429_until_the_next(app):
    async def scenario(client):
        return [await client.post("/judge", headers=asking(2, "spent")) for _ in range(2)]

    SETTINGS.plans["spent"] = replace(ROOMY, calls_per_month=1)
    try:
        first, second = run(app, scenario)
    finally:
        del SETTINGS.plans["spent"]
    assert first.status_code == 200
    assert "'spent' allows 1 calls a month" in refused(second, 429, "quota_exceeded")["detail"]
    assert 1 <= int(second.headers["retry-after"]) <= 31 * 86_400
    assert '"month";r=0;t=' in second.headers["ratelimit"]


def test_refused_recordings_cost_no_quota(app, limits):
    async def scenario(client):
        return [await client.post("/judge", params={"silent": True}, headers=asking(3)) for _ in range(3)]

    for answer in run(app, scenario):
        refused(answer, 422, "silent_audio")
        assert '"month";r=4' in answer.headers["ratelimit"]
    assert limits.used(UUID(int=3)).n_calls == 0


def test_public_routes_are_limited_by_address(app):
    async def scenario(client):
        return [(await client.get("/read")).status_code for _ in range(101)]

    assert run(app, scenario) == [200] * 100 + [429]


def test_plan_that_the_settings_have_lost_counts_as_that_of_new_accounts(app):
    async def scenario(client):
        return await client.get("/read", headers=asking(4, "abolished"))

    assert '"user-second";q=10;w=1' in run(app, scenario).headers["ratelimit-policy"]


def test_forged_address_is_not_believed(app):
    async def scenario(client):
        return [
            (await client.get("/read", headers={"x-forwarded-for": f"203.0.113.{number}"})).status_code
            for number in range(101)
        ]

    assert run(app, scenario)[-1] == 429


@pytest.mark.parametrize(("plan", "cap"), [("tight", "0.1"), ("roomy", "1")])
def test_body_is_capped_by_the_plan_and_by_the_settings(app, plan, cap):
    async def scenario(client):
        async def blocks() -> AsyncIterator[bytes]:
            yield HEAD
            for _ in range(100):
                yield bytes(64 * 1024)
            yield TAIL

        return await client.post("/upload", content=blocks(), headers=MULTIPART | asking(5, plan))

    assert f"at most {cap} MB" in refused(run(app, scenario), 413, "upload_too_large")["detail"]


def test_slow_uploads_of_one_key_do_not_block_another(app, limits):
    async def scenario(client):
        release = asyncio.Event()
        begun = SimpleNamespace(n=0)

        async def slow() -> AsyncIterator[bytes]:
            begun.n += 1
            yield HEAD + bytes(1000)
            await release.wait()
            yield TAIL

        async def upload(number: int):
            return await client.post("/upload", content=slow(), headers=MULTIPART | asking(number, "roomy"))

        uploads = [asyncio.create_task(upload(1)) for _ in range(4)]
        while begun.n < 4:
            await asyncio.sleep(0)
        fifth = await client.get("/read", headers=asking(1, "roomy"))
        other = await client.post("/upload", content=HEAD + bytes(1000) + TAIL, headers=MULTIPART | asking(2, "roomy"))
        assert not any(task.done() for task in uploads)
        release.set()
        finished = await asyncio.gather(*uploads)
        after = await client.get("/read", headers=asking(1, "roomy"))
        return fifth, other, finished, after

    fifth, other, finished, after = run(app, scenario)
    assert "More than 4 calls with one key at a time" in refused(fifth, 429, "rate_limited")["detail"]
    assert fifth.headers["retry-after"] == "1"
    assert other.json() == 1000
    assert [answer.json() for answer in finished] == [1000] * 4
    assert after.status_code == 200
    assert not limits._seats


def test_sender_who_leaves_frees_the_seat_and_pays_nothing(app, limits):
    seats_meanwhile, sent = [], []
    messages = iter([{"type": "http.request", "body": HEAD, "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        seats_meanwhile.append(len(limits._seats))
        return next(messages)

    async def send(message) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in (MULTIPART | asking(1)).items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/upload",
        "raw_path": b"/upload",
        "query_string": b"",
        "headers": headers,
        "client": ("198.51.100.7", 50_000),
        "server": ("testserver", 80),
        "scheme": "http",
        "root_path": "",
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    assert seats_meanwhile == [1, 1]
    assert not sent
    assert not limits._seats
    assert limits.used(UUID(int=1)).n_calls == 0
