"""Reading forms with recordings: never more bytes than allowed, never waiting for a sender who stopped.

Streamlit's upload limits do not cover mounted routes, so the body is counted here, while it arrives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from api.access import CallerWatch
from api.errors import NO_JSON
from core.archives import path_within
from core.errors import BodyTooLargeError, InvalidParameterError, TelepathyError, UploadTooLargeError

Parameters = TypeVar("Parameters", bound=BaseModel)

MULTIPART_OVERHEAD_BYTES = 64 * 1024
"""Boundaries, part headers and form fields beside the recordings themselves."""
MIN_BYTES_PER_S = 1000
"""Of a body, on average, once `upload_stall_s` is over: a fifth of what the slowest mobile network carries."""
MAX_NAME_CHARACTERS = 200
MAX_FIELDS = 16
MAX_FILES_PARSED = 1000


MAX_JSON_BYTES = 64 * 1024
"""Of a body that holds no recording and is read by hand."""
MAX_SCHEMA_BYTES = 1_000_000
"""Of a JSON body that FastAPI reads."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a form held."""

    files: tuple[UploadFile, ...]
    fields: dict[str, str]


class CountedBody:
    """The ASGI `receive` of a request, which stops at `max_bytes`, after `stall_s` without a byte, when bytes only
    trickle, and once its sender is revoked."""

    def __init__(self, request: Request, *, max_bytes: int, too_large: TelepathyError, stall_s: float) -> None:
        self._receive = request.receive
        self._watch = CallerWatch(request)
        self._max_bytes = max_bytes
        self._too_large = too_large
        self._stall_s = stall_s
        self._n_bytes = 0
        self._began_s: float | None = None

    async def __call__(self) -> Message:
        now_s = asyncio.get_running_loop().time()
        self._began_s = now_s if self._began_s is None else self._began_s
        # A sender of one byte now and then would never stall, and keep its place for days.
        earned_s = self._began_s + self._stall_s + self._n_bytes / MIN_BYTES_PER_S - now_s
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, min(self._stall_s, earned_s)))
        except TimeoutError as error:
            found = f"Nothing arrived for {self._stall_s:g} s"
            if earned_s < self._stall_s:
                found = f"Less than {MIN_BYTES_PER_S:,} bytes a second arrived"
            detail = f"{found}. Send the recording again, over a steadier connection."
            raise HTTPException(408, detail, {"Connection": "close"}) from error
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self._max_bytes:
            raise self._too_large
        await self._watch.check()
        return message


@asynccontextmanager
async def received_form(
    request: Request,
    *,
    file_field: str,
    max_mb: float,
    what: str,
    stall_s: float,
    max_files: int = MAX_FILES_PARSED,
) -> AsyncIterator[Form]:
    """The form in the body of `request`: the files named `file_field`, and all other fields as text.

    The files are closed at the end of the context.

    Parameters
    ----------
    max_mb
        Largest body accepted, in megabytes of 1,000,000 bytes, beside the overhead of the form itself.
    what
        What the body is called when it is too large.
    stall_s
        Time without a byte after which the upload is given up, and after which it has to be faster than
        `MIN_BYTES_PER_S` on average.

    Raises
    ------
    AccessError
        Whoever sends it was revoked meanwhile.
    UploadTooLargeError
        The body says that it is larger, or turns out to be; what is beyond the limit is not read.
    InvalidParameterError
        There is no file, or something stands where it should not.
    HTTPException
        The body is no multipart form (415), cannot be read as one (400), or stopped arriving (408).
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        found = request.headers.get("content-type")
        what_came = f"is {found}" if found else "has no content type"
        detail = f"The body {what_came}; send multipart/form-data with the recording in the field {file_field!r}."
        raise HTTPException(415, detail, {"Accept": "multipart/form-data", "Connection": "close"})
    max_bytes = int(max_mb * 1e6) + MULTIPART_OVERHEAD_BYTES
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > max_bytes:
        raise UploadTooLargeError(int(announced), max_mb, what)
    body = CountedBody(
        request,
        max_bytes=max_bytes,
        too_large=UploadTooLargeError(max_bytes + 1, max_mb, what),
        stall_s=stall_s,
    )
    form = await _parsed(Request(request.scope, body), max_files=max_files)
    try:
        yield _sorted_out(form, file_field)
    finally:
        await form.close()


@asynccontextmanager
async def received_file(
    request: Request, query: Parameters, *, max_mb: float, stall_s: float, expected: str = "given once"
) -> AsyncIterator[tuple[UploadFile, Parameters]]:
    """The one file of the form in the body of `request`, and what its other fields and the address ask for.

    `expected` says what would be right of whoever sends several. Raises like `received_form` and `merged`.
    """
    async with received_form(request, file_field="file", max_mb=max_mb, what="The file", stall_s=stall_s) as form:
        if len(form.files) > 1:
            raise InvalidParameterError("file", f"given {len(form.files)} times", expected)
        yield form.files[0], merged(query, form.fields)


async def received_json(request: Request, model: type[Parameters], *, stall_s: float) -> Parameters:
    """The JSON object in the body of `request`.

    Raises
    ------
    BodyTooLargeError
        It is longer than any such object; what is beyond is not read.
    RequestValidationError
        It is not what `model` describes.
    HTTPException
        The body is no JSON (415 by its type, 400 by its content), or stopped arriving (408).
    """
    found = request.headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != "application/json":
        detail = f"The body is {found or 'of no stated type'}; send application/json."
        raise HTTPException(415, detail, {"Accept": "application/json", "Connection": "close"})
    body = await received_body(request, stall_s=stall_s)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, NO_JSON) from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


async def received_body(request: Request, *, stall_s: float, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """The body of `request`, which holds no recording. Raises BodyTooLargeError; HTTPException when it stalls (408)."""
    too_large = BodyTooLargeError(max_bytes)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large
    body = CountedBody(request, max_bytes=max_bytes, too_large=too_large, stall_s=stall_s)
    return await Request(request.scope, body).body()


class BoundedRoute(APIRoute):
    """A route whose JSON body FastAPI reads by its schema: FastAPI alone reads whatever comes, whole and for ever."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        if self.body_field is None:
            return answer

        async def answer_bounded(request: Request) -> Response:
            stall_s = request.app.state.get_workbench().settings.upload_stall_s
            body = await received_body(request, stall_s=stall_s, max_bytes=MAX_SCHEMA_BYTES)
            return await answer(Request(request.scope, of_bytes(body)))

        return answer_bounded


def of_bytes(body: bytes) -> Receive:
    """The ASGI `receive` of a request whose body has been read."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def json_schema(model: type[BaseModel], *, is_required: bool = True) -> dict[str, Any]:
    """The OpenAPI request body of a JSON object that is read by hand."""
    schema = model.model_json_schema()
    for name, definition in schema.pop("$defs", {}).items():
        schema = _with_definition(schema, name, definition)
    return {"requestBody": {"required": is_required, "content": {"application/json": {"schema": schema}}}}


def _with_definition(part: Any, name: str, definition: dict[str, Any]) -> Any:
    """`part` with `definition` where it refers to it: a body read by hand adds nothing to the document's schemas."""
    if isinstance(part, dict):
        if part.get("$ref") == f"#/$defs/{name}":
            return definition
        return {key: _with_definition(value, name, definition) for key, value in part.items()}
    return [_with_definition(each, name, definition) for each in part] if isinstance(part, list) else part


class _FormParser(MultiPartParser):
    """Starlette's parser, which also knows whether the last boundary has come."""

    has_ended = False

    def on_end(self) -> None:
        self.has_ended = True


async def _parsed(request: Request, *, max_files: int) -> FormData:
    async def blocks() -> AsyncGenerator[bytes, None]:
        async for block in request.stream():
            yield block
        if not parser.has_ended:  # raised in here, it makes Starlette close the file it has begun
            raise MultiPartException("The form ends before its last boundary.")

    parser = _FormParser(request.headers, blocks(), max_files=max_files, max_fields=MAX_FIELDS)
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from error


def _sorted_out(form: FormData, file_field: str) -> Form:
    files: list[UploadFile] = []
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != file_field:
                raise InvalidParameterError(name, "a file", f"left out; files go into the field {file_field!r}")
            files.append(value)
        elif name == file_field:
            raise InvalidParameterError(name, "text", "a file, with a file name")
        elif name in fields:
            raise InvalidParameterError(name, "given more than once", "given once")
        else:
            fields[name] = value
    if not files:
        raise InvalidParameterError(file_field, "missing", "given: the recording, as a file")
    return Form(tuple(files), fields)


def name_of(file: UploadFile) -> str:
    """What the sender called `file`, at a length that fits tables."""
    return path_within(file.filename or "")[-MAX_NAME_CHARACTERS:]


def form_schema(
    parameters: type[BaseModel],
    file_field: str,
    *,
    is_list: bool,
    holds: str = "WAV, FLAC, MP3, Ogg, Opus, M4A/AAC or WebM.",
) -> dict[str, Any]:
    """The OpenAPI request body of a form with files, which is read by hand to count its bytes as they arrive."""
    file = {"type": "string", "format": "binary", "description": holds}
    properties = parameters.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    fields = {
        name: {key: value for key, value in schema.items() if key not in {"default", "title"}}
        for name, schema in properties.items()
    }
    schema = {
        "type": "object",
        "required": [file_field],
        "properties": {file_field: {"type": "array", "items": file} if is_list else file} | fields,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def merged(query: Parameters, fields: dict[str, str]) -> Parameters:
    """The parameters of the query and of the form as one; the same one twice is a mistake."""
    asked = query.model_dump(exclude_none=True)
    twice = asked.keys() & fields.keys()
    if twice:
        raise InvalidParameterError(min(twice), "given both by query and by form", "given once")
    try:
        return type(query).model_validate(asked | fields)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
