"""Who asks, and what every route needs of the process.

One dependency of the whole application, `require_access`, looks every route up in the table of `core.access.roles`,
WebSockets included, so that none is open by forgetting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, cast
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response

from api import limits
from api.limits import limited
from core.access import cookies
from core.access.access import Access, SignedIn
from core.access.cookies import REFRESH_COOKIE, SESSION_COOKIE, cookie_name
from core.access.roles import WEBSOCKET, require_route, rule_of
from core.config import Settings
from core.domain import Caller, Reader, Scope
from core.errors import AccessError, CrossSiteError, InvalidCredentialsError, NotSignedInError, TelepathyError
from core.workbench import Workbench

KEY_HEADER = "x-api-key"
KEY_PREFIX = "tel_live_"
RECHECK_EVERY_S = 1.0
"""How long a revocation may go unnoticed by a request that is being read or answered."""
FOUND = "found_caller"
"""In `scope["state"]`: who asks, or why nobody does."""
READING_METHODS = {"GET", "HEAD", "OPTIONS"}


async def _workbench(connection: HTTPConnection) -> Workbench:
    return workbench_of(connection)


def workbench_of(connection: HTTPConnection) -> Workbench:
    """The workbench behind the application that `connection` reached."""
    return cast(Workbench, connection.app.state.get_workbench())


OpenWorkbench = Annotated[Workbench, Depends(_workbench)]


async def require_access(connection: HTTPConnection) -> AsyncIterator[None]:
    """Find out who asks, and see that they may and that they do not ask too much, for as long as they are answered.

    `scope["state"]["caller"]` is the `Caller` from then on.

    Raises
    ------
    NotSignedInError, InvalidCredentialsError
        Nobody says who asks, or not rightly.
    ForbiddenError, CrossSiteError
        They may not do this, or not from there.
    RateLimitedError, QuotaExceededError
        They asked too much already.
    """
    method = connection.scope.get("method", WEBSOCKET)
    path = connection.scope["route"].path
    rule, caller = rule_of(method, path), None
    refusal: AccessError | None = None
    if rule.is_public and method in READING_METHODS:
        _admit_probe(connection)
        yield  # no other limit: what looks after the process is answered however busy its address is
        return
    if not rule.is_public:
        try:
            caller = await found_caller(connection)
            if caller is None:
                raise NotSignedInError
            require_route(caller, method, path)
            connection.scope.setdefault("state", {})["caller"] = caller
        except AccessError as error:
            refusal = error  # counted like an answer: strangers would fill log and ledger without end
    workbench = workbench_of(connection)
    costs_inference = rule.scope is Scope.PREDICT
    async with limited(connection, caller, workbench.limits, workbench.settings, costs_inference=costs_inference):
        if refusal is not None:
            raise refusal
        yield


def _admit_probe(connection: HTTPConnection) -> None:
    try:
        workbench = workbench_of(connection)
    except TelepathyError:
        return  # it could not even be opened, which is what the answer is about to say
    workbench.limits.admit_probe(address_of(connection))


async def _asking(connection: HTTPConnection) -> Caller:
    return cast(Caller, connection.scope["state"]["caller"])


Asking = Annotated[Caller, Depends(_asking)]
"""Who asks, on every route that is not public."""


async def reader_of(asking: Asking) -> Reader:
    return asking.reader


ReaderOf = Annotated[Reader, Depends(reader_of)]
"""Whose eyes the store is asked with."""


class CallerWatch:
    """Sees, while a request is read or answered, that whoever asked still may: what takes long outlives revocation."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._due_s = asyncio.get_running_loop().time() + RECHECK_EVERY_S

    async def check(self) -> None:
        """Ask the store again, unless that was less than `RECHECK_EVERY_S` ago.

        Raises
        ------
        InvalidCredentialsError
            The key or session was revoked or has expired, or the account was disabled or deleted.
        ForbiddenError
            The role or the key may not do this any more.
        """
        now_s = asyncio.get_running_loop().time()
        caller: Caller | None = self._connection.scope.get("state", {}).get("caller")
        if caller is None or now_s < self._due_s:
            return
        self._due_s = now_s + RECHECK_EVERY_S
        again = await run_in_threadpool(access_of(self._connection).caller_again, caller)
        method = self._connection.scope.get("method", WEBSOCKET)
        require_route(again, method, self._connection.scope["route"].path)


async def found_caller(connection: HTTPConnection) -> Caller | None:
    """As `find_caller`, but asked once for each request, so that a wrong key counts once."""
    state = connection.scope.setdefault("state", {})
    if FOUND not in state:
        try:
            state[FOUND] = await find_caller(connection), None
        except AccessError as error:
            state[FOUND] = None, error
    caller, refusal = cast(tuple[Caller | None, AccessError | None], state[FOUND])
    if refusal is not None:
        raise refusal
    return caller


async def find_caller(connection: HTTPConnection) -> Caller | None:
    """Who asks: by key, by token, or by the cookies of a browser; None when nothing says.

    A browser sends its cookies with everything, so a key or token beside them counts alone.

    Raises
    ------
    InvalidCredentialsError
        Key or token is not right, no longer, or there are two.
    CrossSiteError
        Cookies came with a request that a page of another site may have made.
    """
    headers = connection.headers
    keys, authorizations = headers.getlist(KEY_HEADER), headers.getlist("authorization")
    given = [*keys, *(_bearer(each) for each in authorizations)]
    if len(set(given)) > 1:
        raise InvalidCredentialsError("Two different keys or tokens were sent at once. Send one.")
    if given:
        is_key = bool(keys) or given[0].startswith(KEY_PREFIX)
        return await run_in_threadpool(_caller_of, connection, given[0], is_key=is_key)
    session, refresh = session_cookies(connection, workbench_of(connection).settings)
    if session is None and refresh is None:
        return None
    if connection.scope.get("method", WEBSOCKET) not in READING_METHODS:
        require_same_origin(connection)
    return await run_in_threadpool(access_of(connection).caller_of_request, session, refresh)


def _caller_of(connection: HTTPConnection, given: str, *, is_key: bool) -> Caller:
    """Whose key or token this is; an address from which many wrong ones came has to wait."""
    workbench, address = workbench_of(connection), address_of(connection)
    workbench.key_guard.check(address)
    try:
        return workbench.access.caller_of_key(given) if is_key else workbench.access.caller_of_token(given)
    except InvalidCredentialsError as error:
        if error.is_guess:  # a program that goes on with a key that ended would lock out all who share its address
            workbench.key_guard.count_failure(address)
        raise


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidCredentialsError("The header Authorization must be the word Bearer and a token.")
    return token.strip()


def session_cookies(connection: HTTPConnection, settings: Settings) -> tuple[str | None, str | None]:
    """The signed token and the refresh token that a browser holds."""
    given, secure = connection.cookies, is_https(connection, settings)
    session, refresh = (given.get(cookie_name(name, is_https=secure)) for name in (SESSION_COOKIE, REFRESH_COOKIE))
    return session or None, refresh or None


def is_https(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether the browser at the other end speaks https, to us or to a proxy that the settings tell of."""
    return cookies.is_https(
        settings,
        scheme=connection.scope.get("scheme", ""),
        forwarded_proto=connection.headers.get("x-forwarded-proto", ""),
    )


def require_same_origin(connection: HTTPConnection) -> None:
    """See that a page of this process sent this.

    Browsers send cookies along whoever makes them send; they also say who that was: by `Sec-Fetch-Site` over https and
    on localhost, by `Origin` with every request that may change something, and with every WebSocket.

    Raises
    ------
    CrossSiteError
        It came from elsewhere, or nothing says where from.
    """
    if not is_same_origin(connection.headers, workbench_of(connection).settings):
        raise CrossSiteError


def is_same_origin(headers: Headers, settings: Settings) -> bool:
    """Whether a page of this process sent this."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site is not None
    return _host_of(origin) in {headers.get("host", ""), _host_of(settings.public_url)} - {""}


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def set_session_cookies(
    response: Response, signed_in: SignedIn, connection: HTTPConnection, settings: Settings
) -> None:
    """Have the browser keep a session: out of reach of scripts, not sent along by other sites' requests."""
    secure = is_https(connection, settings)
    for name, value in ((SESSION_COOKIE, signed_in.access_token), (REFRESH_COOKIE, signed_in.refresh_token)):
        response.set_cookie(
            cookie_name(name, is_https=secure),
            value,
            expires=signed_in.session_expires_at,
            path="/",
            secure=secure,
            httponly=True,
            samesite="lax",
        )


def delete_session_cookies(response: Response) -> None:
    """Have the browser forget its session, whether it was set over https or not."""
    for name in (SESSION_COOKIE, REFRESH_COOKIE):
        for secure in (False, True):
            full = cookie_name(name, is_https=secure)
            response.delete_cookie(full, path="/", secure=secure, httponly=True, samesite="lax")


def address_of(connection: HTTPConnection) -> str:
    """The network address that asks, past the proxies that the settings trust."""
    return limits.address_of(connection, workbench_of(connection).settings)


def access_of(connection: HTTPConnection) -> Access:
    """The accounts of the process."""
    return workbench_of(connection).access
