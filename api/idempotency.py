"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): who sends a request twice has one answer.

A route reads its body, says what it asked for, and hands over what would answer it. The first request with a key is
answered and its answer kept for a day; the same again gets that answer, another one with the same key is refused, and
one that comes meanwhile has to wait. A request that failed lets go of its key: it may be tried again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from api.uploads import name_of
from core.domain import Reader
from core.errors import IdempotencyKeyBusyError, IdempotencyKeyReusedError, InvalidParameterError
from core.store.idempotency import (
    KeptAnswer,
    delete_idempotency_key,
    insert_idempotency_answer,
    insert_idempotency_key,
    select_known_request,
)
from core.workbench import Workbench

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY_CHARACTERS = 255
_BLOCK = 1 << 20

PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": MAX_KEY_CHARACTERS},
    "description": "Any text of yours, such as a UUID. The same request with the same key is answered once, and gets "
    "that answer again for a day.",
}
"""For the OpenAPI document of each route that honours it."""


async def answered_once(
    request: Request,
    workbench: Workbench,
    reader: Reader,
    asked: Iterable[str],
    answer: Callable[[], Awaitable[BaseModel]],
    *,
    status: int = 200,
    location_of: Callable[[Any], str] = lambda _shape: "",
) -> Response:
    """What `answer()` gives, or gave to the same request with the same key.

    Parameters
    ----------
    asked
        All that the request asked for; `asked_of` gives it for a form.
    status, location_of
        Of the response: its status, and its header Location from what `answer` gave.

    Raises
    ------
    IdempotencyKeyReusedError
        The key came with another request.
    IdempotencyKeyBusyError
        The first request with the key is still being answered.
    InvalidParameterError
        The key is empty or too long.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return _response(await _kept(answer, status, location_of))
    if not 0 < len(key) <= MAX_KEY_CHARACTERS or not key.isprintable():
        raise InvalidParameterError(HEADER, f"{len(key)} characters", f"1 to {MAX_KEY_CHARACTERS} printable characters")
    key = key.strip().strip('"') or key
    fingerprint = _fingerprint(request, asked)
    store, now = workbench.store, datetime.now(UTC)
    known = await run_in_threadpool(select_known_request, store, reader=reader, key=key, at=now)
    if known is None:
        # One that is too old is still there, and in the way.
        await run_in_threadpool(delete_idempotency_key, store, reader=reader, key=key)
        is_first = await run_in_threadpool(
            insert_idempotency_key, store, reader=reader, key=key, fingerprint=fingerprint, at=now
        )
        if not is_first:
            raise IdempotencyKeyBusyError
        try:
            kept = await _kept(answer, status, location_of)
            await run_in_threadpool(insert_idempotency_answer, store, reader=reader, key=key, answer=kept)
        except BaseException:
            await run_in_threadpool(delete_idempotency_key, store, reader=reader, key=key)
            raise
        return _response(kept)
    if known.fingerprint != fingerprint:
        raise IdempotencyKeyReusedError
    if known.answer is None:
        raise IdempotencyKeyBusyError
    response = _response(known.answer)
    response.headers[REPLAYED] = "true"
    return response


async def asked_of(files: Iterable[UploadFile], fields: BaseModel) -> list[str]:
    """What a form asks for: its fields, and the names and contents of its files, read once and wound back."""
    asked = [fields.model_dump_json()]
    for file in files:
        digest = hashlib.sha256()
        while block := await file.read(_BLOCK):
            digest.update(block)
        await file.seek(0)
        asked += [name_of(file), digest.hexdigest()]
    return asked


async def _kept(
    answer: Callable[[], Awaitable[BaseModel]], status: int, location_of: Callable[[Any], str]
) -> KeptAnswer:
    shape = await answer()
    return KeptAnswer(status=status, location=location_of(shape), body=shape.model_dump_json())


def _response(kept: KeptAnswer) -> Response:
    headers = {"Location": kept.location} if kept.location else None
    return Response(kept.body, status_code=kept.status, headers=headers, media_type="application/json")


def _fingerprint(request: Request, asked: Iterable[str]) -> str:
    parts = [request.method, request.scope["route"].path, *asked]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
