"""Live streams: the WebSocket, how many of them at a time, and their AsyncAPI document."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.access import Asking, is_same_origin
from api.stream_events import Failed, asyncapi_document
from api.stream_session import StreamSession
from api.usage import Listening, noting_stream
from core.domain import Caller
from core.errors import ShuttingDownError
from core.workbench import Workbench

router = APIRouter()

ADDRESS, ALIAS = "/api/v1/stream", "/ws/stream"
REFUSED_FOR_ORIGIN, REFUSED_FOR_LOAD, REFUSED_FOR_STOPPING = 4403, 4503, 1012


class StreamSeats:
    """How many streams there may be, and the threads that judge them.

    Streams have threads of their own: each has at most one window under way, so they cannot flood the queue of the
    recogniser, and an upload of ten minutes cannot make them stutter.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._n_taken = 0
        self._threads: ThreadPoolExecutor | None = None

    def take(self, *, n_seats: int, n_threads: int) -> ThreadPoolExecutor | None:
        """The threads to judge with; None when all seats are taken."""
        with self._changing:
            if self._n_taken >= n_seats:
                return None
            self._n_taken += 1
            if self._threads is None:
                self._threads = ThreadPoolExecutor(max_workers=n_threads, thread_name_prefix="stream")
            return self._threads

    def leave(self) -> None:
        """Give a seat back."""
        with self._changing:
            self._n_taken -= 1


@router.websocket(ADDRESS)
@router.websocket(ALIAS)
async def stream(websocket: WebSocket, caller: Asking) -> None:
    """Configuration first, then frames, then `end`; answered by events. See `GET /api/asyncapi.json`."""
    with noting_stream(websocket) as listening:
        await _answer(websocket, listening, caller)


async def _answer(websocket: WebSocket, listening: Listening, caller: Caller) -> None:
    workbench = cast(Workbench, websocket.app.state.get_workbench())
    if "origin" in websocket.headers and not is_same_origin(websocket.headers, workbench.settings):
        listening.close_code = REFUSED_FOR_ORIGIN
        await websocket.close(REFUSED_FOR_ORIGIN)  # whoever it is: no other site's page may listen through a browser
        return
    seats = cast(StreamSeats, websocket.app.state.stream_seats)
    settings = workbench.settings
    await websocket.accept()
    if websocket.app.state.is_draining():
        listening.close_code = REFUSED_FOR_STOPPING
        why = Failed(code="shutting_down", detail=str(ShuttingDownError()), recoverable=False)
        await _refuse(websocket, why, listening.close_code)
        return
    threads = seats.take(n_seats=settings.max_streams, n_threads=settings.inference_workers)
    if threads is None:
        detail = f"All {settings.max_streams} streams are in use. Try again when one has ended."
        listening.close_code = REFUSED_FOR_LOAD
        await _refuse(websocket, Failed(code="busy", detail=detail, recoverable=False), listening.close_code)
        return
    try:
        session = StreamSession(websocket, workbench, threads, listening.use, caller=caller)
        listening.close_code = await session.run()
    finally:
        seats.leave()


async def _refuse(websocket: WebSocket, why: Failed, close_code: int) -> None:
    with contextlib.suppress(WebSocketDisconnect):  # who has left already need not be told
        await websocket.send_text(why.model_dump_json())
        await websocket.close(close_code)


@router.get(ADDRESS, include_in_schema=False)
@router.get(ALIAS, include_in_schema=False)
async def not_by_http(request: Request) -> None:
    """Whoever opens the address of the stream in a browser is told what it is, instead of that nothing is there."""
    detail = f"{request.scope['path']} is a WebSocket: connect to it by ws:// or wss://. docs/streaming.md says how."
    raise HTTPException(426, detail, {"Upgrade": "websocket"})


@router.get("/api/asyncapi.json", include_in_schema=False)
async def document() -> dict[str, Any]:
    return asyncapi_document()
