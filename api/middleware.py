"""What every answer has: a request id, safe headers, a line in the log, its place in the metrics, never a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import READING_METHODS
from api.errors import HTTP_KINDS, error_response, problem, problem_response
from api.limits import RATE_LIMIT
from api.metrics import Metrics
from api.usage import note_request
from core.errors import CrossSiteError, ShuttingDownError
from core.identifiers import new_id

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Sent unless the answer brings its own value."""
READ_OUT_BYTES = 64 * 1024
"""Of a refused body, how much is read; one that says it is longer is not worth the traffic."""
READ_OUT_S = 0.5
"""How long the rest of a refused body is awaited, so that the refusal arrives."""
DISCONNECTED = 499
"""The status under which requests are counted whose sender left before the answer."""

log = structlog.get_logger(__name__)


class Doorkeeper:
    """ASGI middleware around the whole API.

    Parameters
    ----------
    is_draining
        Whether the process has been told to stop: new requests are then answered 503, those under way go on.
    open_requests
        Holds the tasks of requests that are being answered, so that the process can wait for the last of them.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        is_draining: Callable[[], bool],
        open_requests: set[asyncio.Task[None]],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._is_draining = is_draining
        self._open_requests = open_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, is_head = scope["method"], scope["method"] == "HEAD"
        if is_head:  # wherever GET is answered, HEAD is too (RFC 9110, section 9.1); FastAPI's routes know only one
            scope = {**scope, "method": "GET"}
        request = Request(scope, receive)
        sent = request.headers.get("x-request-id", "")
        request_id = sent if REQUEST_ID.fullmatch(sent) else new_id().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        is_read = False

        async def receive_noting_the_end() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = not message.get("more_body", False)
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400 and not is_read:
                    await _read_out(receive_noting_the_end, n_bytes=self._worth_reading(request))
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in {**SAFE_HEADERS, **scope["state"].get(RATE_LIMIT, {})}.items():
                    headers.setdefault(name, value)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        task = asyncio.current_task()
        assert task is not None
        self._open_requests.add(task)
        self._metrics.begin_request()
        began_at, started = datetime.now(UTC), time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._answer(request, receive_noting_the_end, send_with_headers)
            except ClientDisconnect:
                status = status or DISCONNECTED
            except asyncio.CancelledError:
                # Past the deadline of a shutdown the server cancels requests, and the executor what waits in it.
                # Nothing runs outside of here that a cancellation has to reach once the answer is sent.
                if status:
                    raise
                await error_response(request, ShuttingDownError())(scope, receive, send_with_headers)
            except Exception as error:  # the last resort: logged in full, answered without internals
                log.error("unhandled exception", method=method, path=scope["path"], exc_info=error)
                if status:
                    raise
                detail = f"This is a mistake in Telepathy. Report it with the request id {request_id}."
                body = problem(HTTP_KINDS[500], detail, instance=scope["path"])
                await problem_response(request, body)(scope, receive, send_with_headers)
            finally:
                self._open_requests.discard(task)
                duration_s = time.perf_counter() - started
                route = getattr(scope.get("route"), "path", "unmatched")
                problem_code = scope["state"].get("problem_code")
                self._metrics.observe_request(method, route, status, duration_s, problem_code=problem_code)
                note_request(scope, began_at=began_at, status=status, duration_s=duration_s)
                log.info(
                    "request",
                    method=method,
                    path=scope["path"],
                    status=status,
                    duration_ms=round(duration_s * 1000, 1),
                )

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        if self._is_draining():
            app = error_response(request, ShuttingDownError())
        elif request.method not in READING_METHODS and request.headers.get("sec-fetch-site") == "cross-site":
            app = error_response(request, CrossSiteError())
        await app(request.scope, receive, send)

    def _worth_reading(self, request: Request) -> float:
        """How many bytes of a refused body are read: of long ones none, unless it is us who end."""
        if self._is_draining():
            return math.inf
        announced = request.headers.get("content-length", "")
        return READ_OUT_BYTES if announced.isdecimal() and int(announced) <= READ_OUT_BYTES else 0


async def _read_out(receive: Receive, *, n_bytes: float) -> None:
    """Drop what is still to come of a body that is refused, for a while and up to about `n_bytes`.

    The server closes the connection after such an answer. Closing it upon unread bytes makes the kernel reset it, and
    the sender then loses the answer, which may have arrived already (RFC 9112, section 9.6).
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_OUT_S):
            n_read, is_over = 0, False
            while not is_over and n_read < n_bytes:
                message = await receive()
                n_read += len(message.get("body", b""))
                is_over = not message.get("more_body", False)
