"""What a request may take: bytes, time, a place in the queue. Spoken to as ASGI, to see how much is read."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import httpx2
import pytest

from api.application import create_api
from core.config import Settings
from tests.callers import ANY_KEY
from tests.integration.api.fakes import FakeWorkbench
from tests.problems import refused

HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"
MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
BLOCK = bytes(64 * 1024)


def client_of(workbench: FakeWorkbench, **options) -> httpx2.AsyncClient:
    api = create_api(lambda: workbench, **options)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(api), base_url="http://localhost", headers=ANY_KEY)


class Blocks:
    """A body in blocks that counts how many were asked for."""

    def __init__(self, n_blocks: int) -> None:
        self.n_blocks = n_blocks
        self.n_sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield HEAD
        for _ in range(self.n_blocks):
            self.n_sent += 1
            yield BLOCK
        yield TAIL


def test_body_that_says_it_is_too_large_is_not_read():
    async def scenario():
        blocks = Blocks(1000)
        announced = str(1000 * len(BLOCK) + len(HEAD) + len(TAIL))
        async with client_of(FakeWorkbench(Settings(max_upload_mb=1.0))) as client:
            answer = await client.post(
                "/api/v1/predict", content=blocks, headers=MULTIPART | {"content-length": announced}
            )
        assert "at most 1 MB" in refused(answer, 413, "upload_too_large")["detail"]
        assert answer.headers["connection"] == "close"
        assert blocks.n_sent == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(("n_blocks", "n_read"), [(0, 0), (1, 1), (3, 3), (1000, 0)])
def test_refusal_reads_out_a_short_body_so_that_it_arrives(n_blocks, n_read):
    async def scenario():
        n_asked = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal n_asked
            for _ in range(n_blocks):
                n_asked += 1
                yield bytes(1024)

        headers = {"content-type": "text/plain", "content-length": str(n_blocks * 1024)}
        async with client_of(FakeWorkbench(Settings())) as client:
            answer = await client.post("/api/v1/predict", content=body(), headers=headers)
        assert answer.status_code == 415
        assert n_asked == n_read

    asyncio.run(scenario())


@pytest.mark.parametrize("lie", [{}, {"content-length": "100"}])
def test_body_that_turns_out_too_large_is_dropped_at_the_limit(lie):
    async def scenario():
        blocks = Blocks(1000)
        workbench = FakeWorkbench(Settings(max_upload_mb=1.0))
        async with client_of(workbench) as client:
            answer = await client.post("/api/v1/predict", content=blocks, headers=MULTIPART | lie)
        refused(answer, 413, "upload_too_large")
        assert blocks.n_sent <= 18
        assert workbench.n_begun == 0

    asyncio.run(scenario())


def test_body_at_the_limit_is_taken():
    async def scenario():
        async with client_of(FakeWorkbench(Settings(max_upload_mb=1.0))) as client:
            body = HEAD + bytes(1_000_000) + TAIL
            assert (await client.post("/api/v1/predict", content=body, headers=MULTIPART)).status_code == 200

    asyncio.run(scenario())


def test_sender_who_stalls_is_given_up_and_holds_no_worker():
    async def scenario():
        workbench = FakeWorkbench(Settings(upload_stall_s=0.5, inference_workers=1, inference_queue=1))

        async def stalling() -> AsyncIterator[bytes]:
            yield HEAD + BLOCK
            await asyncio.sleep(30)
            yield TAIL

        async with client_of(workbench) as client:
            stalled = [
                asyncio.create_task(client.post("/api/v1/predict", content=stalling(), headers=MULTIPART))
                for _ in range(5)
            ]
            await asyncio.sleep(0)
            answer = await client.post("/api/v1/predict", content=HEAD + BLOCK + TAIL, headers=MULTIPART)
            assert answer.status_code == 200
            assert not any(task.done() for task in stalled)
            for answer in await asyncio.gather(*stalled):
                assert "Nothing arrived for 0.5 s" in refused(answer, 408, "upload_stalled")["detail"]
        assert workbench.n_begun == 1

    asyncio.run(scenario())


def test_sender_who_trickles_is_given_up():
    """One byte well within `upload_stall_s`, again and again, on a clock that is moved by hand."""

    async def scenario():
        loop = asyncio.get_running_loop()
        passed_s, n_sent = 0.0, 0
        real_time = loop.time
        loop.time = lambda: real_time() + passed_s

        async def trickling() -> AsyncIterator[bytes]:
            nonlocal passed_s, n_sent
            yield HEAD
            while True:
                passed_s += 5.0
                n_sent += 1
                yield b"x"

        workbench = FakeWorkbench(Settings(upload_stall_s=30.0))
        async with client_of(workbench) as client:
            answer = await client.post("/api/v1/predict", content=trickling(), headers=MULTIPART)
        assert "Less than 1,000 bytes a second arrived" in refused(answer, 408, "upload_stalled")["detail"]
        assert answer.headers["connection"] == "close"
        assert n_sent == 7
        assert workbench.n_begun == 0

    asyncio.run(scenario())


def test_full_queue_answers_503_and_says_when_to_come_back():
    async def scenario():
        release = threading.Event()
        settings = Settings(inference_workers=1, inference_queue=2)
        workbench = FakeWorkbench(settings, on_analyse=lambda: release.wait(30))
        async with client_of(workbench) as client:

            def post():
                return client.post("/api/v1/predict", content=HEAD + BLOCK + TAIL, headers=MULTIPART)

            accepted = []
            for n_accepted in range(1, 4):
                accepted.append(asyncio.create_task(post()))
                while (workbench.executor.n_running, workbench.executor.n_waiting) != (1, n_accepted - 1):
                    await asyncio.sleep(0.005)
            answer = await post()
            assert "2 requests are already waiting" in refused(answer, 503, "busy")["detail"]
            assert int(answer.headers["retry-after"]) >= 1
            assert (await client.get("/healthz")).status_code == 200, "the event loop must not wait for inference"
            assert "telepathy_inference_queue_depth 2.0" in (await client.get("/metrics")).text
            batch = await client.post(
                "/api/v1/batch-predict", content=(HEAD + BLOCK + TAIL).replace(b'"file"', b'"files"'), headers=MULTIPART
            )
            refused(batch, 503, "busy")
            release.set()
            assert [answer.status_code for answer in await asyncio.gather(*accepted)] == [200, 200, 200]
            assert (await post()).status_code == 200

    asyncio.run(scenario())


def test_batch_leaves_room_in_the_queue_for_others():
    async def scenario():
        most_waiting = 0

        def look():
            nonlocal most_waiting
            most_waiting = max(most_waiting, workbench.executor.n_waiting)

        workbench = FakeWorkbench(Settings(inference_workers=2, inference_queue=4), on_analyse=look)
        async with client_of(workbench) as client:
            answer = await client.post("/api/v1/batch-predict", files=[("files", b"sound")] * 20)
        assert len(answer.json()["results"]) == 20
        assert most_waiting <= 2

    asyncio.run(scenario())


def test_once_told_to_stop_new_requests_are_refused_and_those_under_way_end():
    async def scenario():
        release, draining = threading.Event(), threading.Event()
        workbench = FakeWorkbench(Settings(inference_workers=1), on_analyse=lambda: release.wait(30))
        async with client_of(workbench, is_draining=draining.is_set) as client:
            under_way = asyncio.create_task(
                client.post("/api/v1/predict", content=HEAD + BLOCK + TAIL, headers=MULTIPART)
            )
            while workbench.n_begun == 0:
                await asyncio.sleep(0.005)
            draining.set()
            answer = await client.post("/api/v1/predict", content=HEAD + BLOCK + TAIL, headers=MULTIPART)
            refused(answer, 503, "shutting_down")
            assert answer.headers["retry-after"]
            refused(await client.get("/readyz"), 503, "shutting_down")
            release.set()
            assert (await under_way).status_code == 200

    asyncio.run(scenario())


def test_request_cancelled_past_the_deadline_is_told_so():
    async def scenario():
        release, sent = threading.Event(), []
        workbench = FakeWorkbench(Settings(inference_workers=1), on_analyse=lambda: release.wait(30))
        body = [{"type": "http.request", "body": HEAD + BLOCK + TAIL, "more_body": False}]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/v1/predict",
            "raw_path": b"/api/v1/predict",
            "query_string": b"",
            "headers": [(b"content-type", b"multipart/form-data; boundary=x"), (b"x-api-key", b"tel_live_anything")],
        }

        async def receive():
            return body.pop() if body else await asyncio.sleep(30)

        async def send(message):
            sent.append(message)

        request = asyncio.create_task(create_api(lambda: workbench)(scope, receive, send))
        while workbench.n_begun == 0:
            await asyncio.sleep(0.005)
        request.cancel()
        await request
        release.set()
        assert sent[0]["status"] == 503
        assert json.loads(sent[1]["body"])["code"] == "shutting_down"

    asyncio.run(scenario())
