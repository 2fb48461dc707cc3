"""The gate before the pages: Streamlit knows no accounts, so nothing of it is reached without a session.

ASGI middleware around the whole process. What belongs to the API passes, since every route of it asks for itself;
what Streamlit shows before anybody signs in (its scripts, styles and fonts) is the same for everybody who has it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import (
    READING_METHODS,
    delete_session_cookies,
    is_same_origin,
    session_cookies,
    set_session_cookies,
)
from api.errors import error_response
from core.access.access import Access, SignedIn
from core.config import Settings
from core.errors import (
    CrossSiteError,
    InvalidCredentialsError,
    NotSignedInError,
    RateLimitedError,
    TelepathyError,
    UploadTooLargeError,
)
from core.workbench import Workbench

OPEN_FOLDERS = ("/static/",)
OPEN_PATHS = {"/favicon.png", "/manifest.json", "/_stcore/health", "/_stcore/host-config"}
STREAMLIT_USER_COOKIE = "_streamlit_user"
"""What Streamlit keeps of a provider's answer."""
SINGLE_SIGN_ON_PATHS = {"/auth/login", "/oauth2callback"}
STREAMLIT_FOLDERS = ("/_stcore/", "/media/", "/component/", "/app/", "/auth/", "/oauth2callback")
"""What is no page: who may not have it is told so rather than led to the sign-in page."""
UPLOAD = re.compile(r"/_stcore/upload_file/(?P<page>[^/]+)/[^/]+")
"""Where a page puts a file; the process holds it in memory while the page is open."""
MAX_FILE_MB = 200.0
"""What Streamlit takes as one file."""
MAX_HELD_MB = 500.0
"""Of files, in all open pages of one person."""
MAX_OPEN_PAGES = 100
"""Of one person at a time."""
PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",  # components of Streamlit are frames of this site
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
}


class Gate:
    """ASGI middleware around the process.

    Parameters
    ----------
    is_of_the_api
        Whether a path leads to the API, which asks for itself.
    bytes_held
        How many bytes of files are held for an open page, by its id.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        get_workbench: Callable[[], Workbench],
        is_of_the_api: Callable[[str], bool],
        bytes_held: Callable[[str], int] = lambda page_id: 0,
    ) -> None:
        self._app = app
        self._get_workbench = get_workbench
        self._is_of_the_api = is_of_the_api
        self._uploads = HeldUploads(bytes_held)
        self._open_pages: Counter[UUID] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or self._is_of_the_api(scope["path"]):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if scope["type"] == "http":
            send = _with_page_headers(send)
        settings = None
        try:
            workbench = self._get_workbench()
            settings = workbench.settings
            if is_open(scope["path"], workbench.settings):
                await self._app(scope, receive, send)
                return
            is_reading = scope.get("method") in READING_METHODS
            if not is_reading and not is_same_origin(connection.headers, workbench.settings):
                raise CrossSiteError
            session, refresh = session_cookies(connection, workbench.settings)
            caller = await run_in_threadpool(workbench.access.caller_of_request, session, refresh)
            if caller is None:
                raise NotSignedInError
            renewed = await self._renewed(connection, workbench.access, session, refresh)
            self._uploads.require_room(connection, caller.user.id)
            if scope["type"] == "websocket":
                self._require_few_pages(caller.user.id)
                await run_in_threadpool(workbench.page_guard.take, caller.user.id)
        except TelepathyError as error:
            await _refuse(connection, error, settings)(scope, receive, send)
            return
        if renewed is not None:
            send = _with_cookies(send, renewed, connection, workbench.settings)
        with self._uploads.arriving(connection, caller.user.id), self._open(connection, caller.user.id):
            await self._app(scope, receive, send)

    def _require_few_pages(self, user_id: UUID) -> None:
        if self._open_pages[user_id] >= MAX_OPEN_PAGES:
            raise RateLimitedError(f"{MAX_OPEN_PAGES} open pages of one person", 60)

    @contextmanager
    def _open(self, connection: HTTPConnection, user_id: UUID) -> Iterator[None]:
        """Count a page as open for as long as its WebSocket is."""
        n_pages = int(connection.scope["type"] == "websocket")
        self._open_pages[user_id] += n_pages
        try:
            yield
        finally:
            self._open_pages[user_id] -= n_pages
            if not self._open_pages[user_id]:
                del self._open_pages[user_id]

    async def _renewed(
        self, connection: HTTPConnection, access: Access, session: str | None, refresh: str | None
    ) -> SignedIn | None:
        """What the browser is to hold from now on, where a page is opened and that is due."""
        if refresh is None or not _is_page(connection):
            return None
        try:
            await run_in_threadpool(access.caller_of_token, session or "")
        except InvalidCredentialsError:
            return await run_in_threadpool(access.refresh, refresh)
        return None


class HeldUploads:
    """How much of files the open pages of each person hold. Asked on the event loop alone.

    Streamlit bounds each file and not how many there are: whoever is signed in could fill the memory of the process.
    """

    def __init__(self, bytes_held: Callable[[str], int]) -> None:
        self._bytes_held = bytes_held
        self._pages: dict[UUID, set[str]] = {}
        self._arriving: Counter[UUID] = Counter()

    def require_room(self, connection: HTTPConnection, user_id: UUID) -> None:
        """Raise UploadTooLargeError where this is an upload that would have the pages of `user_id` hold too much."""
        page_id = _upload_to(connection)
        if page_id is None:
            return
        pages = {each for each in self._pages.get(user_id, ()) if self._bytes_held(each)} | {page_id}
        self._pages[user_id] = pages
        n_bytes = sum(map(self._bytes_held, pages)) + self._arriving[user_id] + _announced_bytes(connection)
        if n_bytes > MAX_HELD_MB * 1e6:
            raise UploadTooLargeError(n_bytes, MAX_HELD_MB, "What your open pages hold, with this file,")

    @contextmanager
    def arriving(self, connection: HTTPConnection, user_id: UUID) -> Iterator[None]:
        """Count an upload as held while it arrives."""
        n_bytes = 0 if _upload_to(connection) is None else _announced_bytes(connection)
        self._arriving[user_id] += n_bytes
        try:
            yield
        finally:
            self._arriving[user_id] -= n_bytes
            if not self._arriving[user_id]:
                del self._arriving[user_id]


def _upload_to(connection: HTTPConnection) -> str | None:
    """The page that a file is put to; None where this is no upload."""
    found = UPLOAD.fullmatch(connection.scope["path"])
    return found["page"] if found and connection.scope.get("method") in ("PUT", "POST") else None


def _announced_bytes(connection: HTTPConnection) -> int:
    announced = connection.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else int(MAX_FILE_MB * 1e6)


def is_open(path: str, settings: Settings) -> bool:
    """Whether Streamlit gives `path` to everybody."""
    if settings.single_sign_on and path in SINGLE_SIGN_ON_PATHS:
        return True
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _is_page(connection: HTTPConnection) -> bool:
    """Whether this asks for the HTML of a page: by its address, in a tab."""
    scope = connection.scope
    return scope["type"] == "http" and scope["method"] == "GET" and not scope["path"].startswith(STREAMLIT_FOLDERS)


def _refuse(connection: HTTPConnection, error: TelepathyError, settings: Settings | None) -> ASGIApp:
    scope = connection.scope
    if scope["type"] == "websocket":
        return _close
    is_stranger = isinstance(error, NotSignedInError | InvalidCredentialsError)
    if settings is None or not is_stranger or not _is_page(connection):
        return error_response(Request(scope), error)
    if settings.single_sign_on and STREAMLIT_USER_COOKIE in connection.cookies:
        return RedirectResponse("/sign-in/vouched", 303)  # who comes back from the provider
    query = scope["query_string"].decode("latin-1")
    target = scope["path"] + (f"?{query}" if query else "")
    response: Response = RedirectResponse("/sign-in" if target == "/" else f"/sign-in?next={quote(target)}", 303)
    response.headers["Cache-Control"] = "no-store"
    if any(session_cookies(connection, settings)):
        delete_session_cookies(response)
    return response


async def _close(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the server answers 403


def _with_page_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in PAGE_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _with_cookies(send: Send, signed_in: SignedIn, connection: HTTPConnection, settings: Settings) -> Send:
    cookies = Response()
    set_session_cookies(cookies, signed_in, connection, settings)

    async def send_with_cookies(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for value in cookies.headers.getlist("set-cookie"):
                headers.append("set-cookie", value)
        await send(message)

    return send_with_cookies
