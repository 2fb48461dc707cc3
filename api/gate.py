"""The gate before the pages: Streamlit knows no accounts, so nothing of it is reached without a session.

ASGI middleware around the whole process. What belongs to the API passes, since every route of it asks for itself;
what Streamlit shows before anybody signs in (its scripts, styles and fonts) is the same for everybody who has it.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

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
from core.access.access import SignedIn
from core.config import Settings
from core.errors import CrossSiteError, InvalidCredentialsError, NotSignedInError, TelepathyError
from core.workbench import Workbench

OPEN_FOLDERS = ("/static/",)
OPEN_PATHS = {"/favicon.png", "/manifest.json", "/_stcore/health", "/_stcore/host-config"}
STREAMLIT_USER_COOKIE = "_streamlit_user"
"""What Streamlit keeps of a provider's answer."""
SINGLE_SIGN_ON_PATHS = {"/auth/login", "/oauth2callback"}
STREAMLIT_FOLDERS = ("/_stcore/", "/media/", "/component/", "/app/", "/auth/", "/oauth2callback")
"""What is no page: who may not have it is told so rather than led to the sign-in page."""
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
    """

    def __init__(
        self, app: ASGIApp, *, get_workbench: Callable[[], Workbench], is_of_the_api: Callable[[str], bool]
    ) -> None:
        self._app = app
        self._get_workbench = get_workbench
        self._is_of_the_api = is_of_the_api

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
            renewed = await self._session(connection, workbench)
        except TelepathyError as error:
            await _refuse(connection, error, settings)(scope, receive, send)
            return
        if renewed is not None:
            send = _with_cookies(send, renewed, connection, workbench.settings)
        await self._app(scope, receive, send)

    async def _session(self, connection: HTTPConnection, workbench: Workbench) -> SignedIn | None:
        """See that somebody is signed in. A page that is opened also renews what the browser holds, when that is due.

        Raises
        ------
        NotSignedInError
            Nobody is.
        """
        access = workbench.access
        session, refresh = session_cookies(connection, workbench.settings)
        caller = await run_in_threadpool(access.caller_of_request, session, refresh)
        if caller is None:
            raise NotSignedInError
        if refresh is None or not _is_page(connection):
            return None
        try:
            await run_in_threadpool(access.caller_of_token, session or "")
        except InvalidCredentialsError:
            return await run_in_threadpool(access.refresh, refresh)
        return None


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
