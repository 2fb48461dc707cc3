"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): who sends a request twice has one answer.

Every POST honours it, but those of `NOT_ONCE`. The first request with a key is answered and its answer kept for a day;
the same again gets that answer, another one with the same key is refused, and one that comes meanwhile has to wait. A
request that failed lets go of its key: it may be tried again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive

from api.access import found_caller, require_access, workbench_of
from api.uploads import MAX_SCHEMA_BYTES, MULTIPART_OVERHEAD_BYTES, BoundedRoute, CountedBody, of_bytes, received_body
from core.errors import AccessError, IdempotencyKeyReusedError, InvalidParameterError
from core.kept_answers import KeptAnswer
from core.workbench import Workbench

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY_CHARACTERS = 255

PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS},
    "description": "Any text of yours, such as a UUID. The same request with the same key is answered once, and gets "
    "that answer again for a day.",
}
"""For the OpenAPI document of each route that honours it."""

_FORM = "A form of the pages: browsers send no such key, and what it answers are cookies."
NOT_ONCE: Mapping[str, str] = {
    "/api/v1/auth/token": "It tells who asks, so that the key is nobody's yet; a repeated request gets other tokens.",
    "/api/v1/auth/refresh": "As for a token; who sends a refresh token twice is signed out, as a thief would be.",
    "/api/v1/auth/sign-out": "It takes the session away that a repeated request would have to come with.",
    "/api/v1/reports": "It answers a stream, as long as the store is large, and changes nothing.",
    **dict.fromkeys(("/sign-in", "/register", "/forgot", "/set-up", "/link", "/sign-out"), _FORM),
}
"""The POST routes that honour no key, and why."""
_UNKEPT_HEADERS = {"content-length", "set-cookie"}

_admitted = asynccontextmanager(require_access)


class OnceRoute(BoundedRoute):
    """A route whose POST is answered once for each `Idempotency-Key`."""

    @property
    def is_once(self) -> bool:
        """Whether it honours the key."""
        return "POST" in (self.methods or ()) and self.path not in NOT_ONCE

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        if not self.is_once:
            return answer

        async def answer_once(request: Request) -> Response:
            key = request.headers.get(HEADER)
            return await (answer(request) if key is None else _answered_once(request, key, answer))

        return answer_once


async def _answered_once(request: Request, key: str, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """What `answer` gives, or gave to the same request with the same key.

    Raises
    ------
    IdempotencyKeyReusedError
        The key came with another request.
    IdempotencyKeyBusyError
        The first request with the key is still being answered.
    InvalidParameterError
        The key is empty or too long.
    """
    try:
        caller = await found_caller(request)
    except AccessError:
        caller = None
    if caller is None:
        return await answer(request)  # which refuses it
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isprintable():
        async with _admitted(request):
            expected = f"1 to {MAX_KEY_CHARACTERS} printable characters"
            raise InvalidParameterError(HEADER, f"{len(key)} characters", expected)
    key = key.strip().strip('"') or key
    workbench, asked = workbench_of(request), _Asked(request)
    kept = workbench.kept_answers
    known = await run_in_threadpool(kept.find, caller, key)
    if known is not None:
        async with _admitted(request):
            return await _repeated(request, known, asked, workbench)
    receive = asked.noting(request.receive)
    if not asked.is_form:  # read before anything is done, whether or not the route wants it
        stall_s = workbench.settings.upload_stall_s
        body = await received_body(Request(request.scope, receive), stall_s=stall_s, max_bytes=MAX_SCHEMA_BYTES)
        receive = of_bytes(body)
    await run_in_threadpool(kept.take, caller, key)
    try:
        response = await answer(Request(request.scope, receive))
        if response.status_code < 400 and asked.is_over:
            await run_in_threadpool(kept.keep, caller, key, _kept(response, asked))
        else:
            await run_in_threadpool(kept.let_go, caller, key)
    except BaseException:
        await run_in_threadpool(kept.let_go, caller, key)
        raise
    return response


async def _repeated(request: Request, known: KeptAnswer, asked: _Asked, workbench: Workbench) -> Response:
    """The answer of before, once the body has come and is that of before; of another no more is read than of that."""
    body = CountedBody(
        request,
        max_bytes=known.n_bytes + MULTIPART_OVERHEAD_BYTES,
        too_large=IdempotencyKeyReusedError(),
        stall_s=workbench.settings.upload_stall_s,
    )
    receive = asked.noting(body)
    while (await receive()).get("more_body", False):
        pass
    if asked.fingerprint() != known.fingerprint:
        raise IdempotencyKeyReusedError
    return Response(known.body, known.status, {**known.headers, REPLAYED: "true"})


def _kept(response: Response, asked: _Asked) -> KeptAnswer:
    if isinstance(response, StreamingResponse):
        raise TypeError(f"{asked.path} answers a stream, which is not kept: name it in NOT_ONCE")
    return KeptAnswer(
        fingerprint=asked.fingerprint(),
        n_bytes=asked.n_bytes,
        status=response.status_code,
        headers={name: value for name, value in response.headers.items() if name not in _UNKEPT_HEADERS},
        body=bytes(response.body).decode(),
    )


class _Asked:
    """All that a request asks for, as one hash, while its body arrives.

    The boundary between the parts of a form is left out of it: a form that is made again has another.
    """

    def __init__(self, request: Request) -> None:
        kind = request.headers.get("content-type", "")
        boundary = re.search(r'boundary="?([^";,]+)', kind)
        self.path: str = request.scope["path"]
        self.is_form = kind.lower().startswith("multipart/form-data")
        self.is_over = False
        self.n_bytes = 0
        self._boundary = boundary[1].encode() if self.is_form and boundary else b""
        self._rest = b""
        self._hash = hashlib.sha256()
        media_type = kind.partition(";")[0].strip().lower()
        for part in (self.path.encode(), request.scope["query_string"], media_type.encode()):
            self._hash.update(len(part).to_bytes(8) + part)

    def noting(self, receive: Receive) -> Receive:
        """`receive`, of which every byte is noted."""

        async def noted() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._note(message.get("body", b""))
                self.is_over = not message.get("more_body", False)
            return message

        return noted

    def _note(self, block: bytes) -> None:
        self.n_bytes += len(block)
        if not self._boundary:
            self._hash.update(block)
            return
        *parts, rest = (self._rest + block).split(self._boundary)
        for part in parts:
            self._hash.update(part)
        n_kept = len(self._boundary) - 1  # it may have begun
        n_done = max(0, len(rest) - n_kept)
        self._hash.update(rest[:n_done])
        self._rest = rest[n_done:]

    def fingerprint(self) -> str:
        """Once the body has come."""
        whole = self._hash.copy()
        whole.update(self._rest)
        return whole.hexdigest()
