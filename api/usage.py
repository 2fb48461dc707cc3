"""From a request to its line in the usage ledger. Routes say what they had of the models; the rest is known here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from starlette.requests import HTTPConnection
from starlette.types import Scope
from starlette.websockets import WebSocket

from api.limits import address_of
from core.errors import TelepathyError
from core.identifiers import new_id
from core.usage import WEBSOCKET, Call, Use, events_of
from core.workbench import Workbench

USE = "use"
"""Where `scope["state"]` keeps what the request had of the models."""
NOTED_PREFIX = "/api/v1/"
NOTED_ALIASES = frozenset({"/predict", "/batch-predict"})
NOT_NOTED = frozenset({"/api/v1/health"})
"""Probes ask every few seconds and would be most of the ledger."""

CLOSED_AS = {1000: 200, 1009: 413, 1012: 503, 4400: 400, 4401: 401, 4403: 403, 4408: 408, 4429: 429, 4503: 503}
"""The status of HTTP that stands for the code a WebSocket was closed with."""


def usage_of(scope: Scope) -> Use:
    """What the request of this scope has had of the models so far, to be added to."""
    state = scope.setdefault("state", {})
    return cast(Use, state.setdefault(USE, Use()))


def note_request(scope: Scope, *, began_at: datetime, status: int, duration_s: float) -> None:
    """Have a request that was answered written to the ledger; probes, documentation and unknown addresses are not.

    Nor are strangers past the limit of their address: one line for each would fill the disk.
    """
    route = getattr(scope.get("route"), "path", "")
    is_noted = (route.startswith(NOTED_PREFIX) and route not in NOT_NOTED) or route in NOTED_ALIASES
    is_flood = status == 429 and "caller" not in scope.get("state", {})
    if is_noted and not is_flood:
        _note(HTTPConnection(scope), scope["method"], route, began_at=began_at, status=status, duration_s=duration_s)


@dataclass(slots=True)
class Listening:
    """A live stream that is being answered."""

    use: Use
    close_code: int
    """With which it is going to be closed, as far as is known."""


@contextlib.contextmanager
def noting_stream(websocket: WebSocket) -> Iterator[Listening]:
    """Note a live stream once it is over, with the status that stands for the code it was closed with."""
    began_at, started_s = datetime.now(UTC), time.perf_counter()
    listening = Listening(usage_of(websocket.scope), close_code=1000)
    status = 500
    try:
        yield listening
        status = CLOSED_AS[listening.close_code]
    finally:
        route = websocket.scope["path"]
        duration_s = time.perf_counter() - started_s
        _note(websocket, WEBSOCKET, route, began_at=began_at, status=status, duration_s=duration_s)


def _note(
    connection: HTTPConnection, method: str, route: str, *, began_at: datetime, status: int, duration_s: float
) -> None:
    try:
        workbench = cast(Workbench, connection.app.state.get_workbench())
    except TelepathyError:
        return  # it could not even be opened
    state = connection.scope["state"]
    call = Call(
        route=route,
        method=method,
        caller=state.get("caller"),
        request_id=state.setdefault("request_id", new_id().hex),
        address=address_of(connection, workbench.settings),
    )
    events = events_of(call, usage_of(connection.scope), began_at=began_at, status=status, duration_ms=duration_s * 1e3)
    workbench.usage.note(*events)
    workbench.count_audio(call.caller, usage_of(connection.scope))
