"""Pages to sign in, register, set up and reset by: plain HTML, no scripts, nothing from elsewhere.

A `GET` changes nothing, with one exception: the set-up link that a start prints. Opened from a terminal or typed in, it
signs in at once, so that a newcomer needs one click. That is safe where the browser says that a person opened it as a
page of its own and no other page led there (`Sec-Fetch-Site: none`, `-Mode: navigate`, `-Dest: document`, `-User: ?1`),
which neither previews, mail scanners nor other sites can have it say; everywhere else it shows a button. Links that go
by mail always show a form first, since mail servers open them to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import structlog
from fastapi import APIRouter
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.access import (
    OpenWorkbench,
    address_of,
    delete_session_cookies,
    find_caller,
    is_https,
    require_same_origin,
    session_cookies,
    set_session_cookies,
)
from api.errors import kind_of
from api.once import OnceRoute
from api.signing_in import SingleSignOn, signed_in_by_password, user_agent_of, with_hashing
from api.uploads import received_body
from core.access.access import SignedIn
from core.access.emails import normalise_email
from core.access_mails import account_exists_mail
from core.config import REPOSITORY
from core.domain import LinkKind
from core.errors import (
    AccessError,
    InvalidCredentialsError,
    InvalidLinkError,
    InvalidParameterError,
    MailError,
    RateLimitedError,
    RequestError,
    TelepathyError,
    UnknownUserError,
)
from core.workbench import Workbench

router = APIRouter(include_in_schema=False, route_class=OnceRoute)

PATHS = ("/sign-in", "/register", "/forgot", "/set-up", "/link", "/sign-out")

NEXT_COOKIE = "telepathy_next"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send the forms of a page with `Origin: null`
}
FIRST_PAGE = "/?sample=first"
"""Where the set-up link leads: to a first answer."""

_FONTS: Mapping[str, str] = {
    "serif.woff2": "SourceSerifVariable-Roman.*.woff2",
    "sans.woff2": "SourceSansVF-Upright.*.woff2",
}
"""Those of the pages, inside Streamlit."""

log = structlog.get_logger(__name__)

_templates = Environment(loader=PackageLoader("api"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _page(template: str, title: str, /, *, refusal: TelepathyError | None = None, **known: object) -> HTMLResponse:
    """A page, and what it refuses with the status that the API would answer."""
    problem = "" if refusal is None else str(refusal)
    html = _templates.get_template(f"{template}.html").render(title=title, problem=problem, **known)
    return HTMLResponse(html, 200 if refusal is None else kind_of(refusal).status, PAGE_HEADERS)


async def _form(request: Request, workbench: Workbench) -> dict[str, str]:
    """The fields of a form that a page of this process sent; a field given twice counts as its last."""
    require_same_origin(request)
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Send the form of the page.", {"Connection": "close"})
    body = await received_body(request, stall_s=workbench.settings.upload_stall_s)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise HTTPException(400, "The form cannot be read.") from error


def _signed_in(signed_in: SignedIn, request: Request, workbench: Workbench, target: str) -> Response:
    response = RedirectResponse(target, 303)
    set_session_cookies(response, signed_in, request, workbench.settings)
    return response


def safe_next(target: str) -> str:
    """`target` if it is an address on this site, its first page otherwise.

    Examples
    --------
    >>> safe_next("/explore?emotion=sad"), safe_next("//evil.example"), safe_next("https://evil.example/")
    ('/explore?emotion=sad', '/', '/')
    """
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    is_here = target.startswith("/") and not target.startswith("//") and not parts.scheme and not parts.netloc
    if not is_here or "\\" in target or not target.isprintable() or parts.path in PATHS:
        return "/"
    return target


def _sign_in_page(
    workbench: Workbench, target: str, email: str = "", refusal: TelepathyError | None = None
) -> Response:
    settings = workbench.settings
    return _page(
        "sign_in",
        "Sign in",
        next=target,
        email=email,
        registration=settings.registration,
        single_sign_on=settings.single_sign_on,
        has_admin=workbench.access.has_admin(),
        refusal=refusal,
    )


@router.get("/sign-in")
async def show_sign_in(request: Request, workbench: OpenWorkbench) -> Response:
    target = safe_next(request.query_params.get("next", "/"))
    if await _is_signed_in(request):
        return RedirectResponse(target, 303)
    return await run_in_threadpool(_sign_in_page, workbench, target)


async def _is_signed_in(request: Request) -> bool:
    try:
        return await find_caller(request) is not None
    except InvalidCredentialsError:
        return False


@router.post("/sign-in")
async def sign_in(request: Request, workbench: OpenWorkbench) -> Response:
    form = await _form(request, workbench)
    target, email = safe_next(form.get("next", "/")), form.get("email", "")
    try:
        signed_in = await signed_in_by_password(request, email=email, password=form.get("password", ""))
    except (InvalidCredentialsError, RateLimitedError) as error:
        return await run_in_threadpool(_sign_in_page, workbench, target, email, error)
    return _signed_in(signed_in, request, workbench, target)


@router.get("/sign-in/provider")
async def ask_provider(request: Request, workbench: OpenWorkbench) -> Response:
    """Off to the provider of single sign-on; a cookie keeps where to go afterwards."""
    target = safe_next(request.query_params.get("next", "/"))
    try:
        response = RedirectResponse(_single_sign_on(request, workbench).address(), 303)
    except InvalidCredentialsError as error:
        return await run_in_threadpool(_sign_in_page, workbench, target, "", error)
    response.set_cookie(
        NEXT_COOKIE,
        quote(target),
        max_age=600,
        path="/sign-in",
        secure=is_https(request, workbench.settings),
        httponly=True,
        samesite="lax",
    )
    return response


@router.get("/sign-in/vouched")
async def exchange(request: Request, workbench: OpenWorkbench) -> Response:
    """What the provider vouches for becomes a session. That answer is used up, whatever comes of it."""
    provider = _single_sign_on(request, workbench)
    target = safe_next(unquote(request.cookies.get(NEXT_COOKIE, "/")))

    def begin() -> SignedIn:
        email, name = provider.vouched_for(request.cookies)
        user = workbench.access.find_or_create_user(email, name)
        return workbench.access.start_session(user, address=address_of(request), user_agent=user_agent_of(request))

    try:
        response = _signed_in(await run_in_threadpool(begin), request, workbench, target)
    except (AccessError, RequestError) as error:
        response = await run_in_threadpool(_sign_in_page, workbench, target, "", error)
    for name in request.cookies:
        if name.startswith(provider.cookie):
            response.delete_cookie(name, path="/")
    response.delete_cookie(NEXT_COOKIE, path="/sign-in")
    return response


def _single_sign_on(request: Request, workbench: Workbench) -> SingleSignOn:
    if not workbench.settings.single_sign_on:
        raise HTTPException(404)
    return cast(SingleSignOn, request.app.state.single_sign_on)


@router.get("/register")
def show_register(workbench: OpenWorkbench) -> Response:
    return _register_page(workbench)


def _register_page(
    workbench: Workbench,
    *,
    name: str = "",
    email: str = "",
    is_sent: bool = False,
    refusal: TelepathyError | None = None,
) -> Response:
    return _page(
        "register",
        "Make an account",
        registration=workbench.settings.registration,
        is_mail_sent_here=workbench.mail_link is not None,
        is_sent=is_sent,
        hours=f"{workbench.settings.link_hours:g} hours",
        name=name,
        email=email,
        refusal=refusal,
    )


@router.post("/register")
async def register(request: Request, workbench: OpenWorkbench) -> Response:
    form = await _form(request, workbench)
    name, email = form.get("name", "").strip(), form.get("email", "").strip()
    if workbench.settings.registration == "open" and workbench.mail_link is not None:
        return _offer_by_mail(workbench, email)

    def make() -> SignedIn:
        user = workbench.access.register(email=email, name=name, password=form.get("password", ""))
        return workbench.access.start_session(user, address=address_of(request), user_agent=user_agent_of(request))

    try:
        signed_in = await with_hashing(request, make)
    except TelepathyError as error:
        return _register_page(workbench, name=name, email=email, refusal=error)
    return _signed_in(signed_in, request, workbench, "/")


def _offer_by_mail(workbench: Workbench, typed: str) -> Response:
    """Answers alike whether the address has an account or not, and as fast: its owner is told by mail, afterwards."""
    try:
        address = normalise_email(typed)
    except InvalidParameterError as error:
        return _register_page(workbench, email=typed, refusal=error)
    response = _register_page(workbench, email=typed, is_sent=True)
    response.background = BackgroundTask(_mail_registration, workbench, address)
    return response


def _mail_registration(workbench: Workbench, address: str) -> None:
    if workbench.mail_link is None or not workbench.mail_guard.takes(address):
        return
    token = workbench.access.registration_link(address)
    try:
        if token is None:
            workbench.mail(account_exists_mail(to=workbench.access.user_by_email(address).email))
        else:
            workbench.mail_link(LinkKind.INVITATION, address, token)
    except (MailError, UnknownUserError) as error:
        log.warning("a link to a new account was not mailed", reason=str(error))


@router.get("/forgot")
def show_forgot(workbench: OpenWorkbench) -> Response:
    return _forgot_page(workbench)


def _forgot_page(workbench: Workbench, *, sent_to: str = "") -> Response:
    return _page(
        "forgot",
        "A new password",
        is_sent=bool(sent_to),
        email=sent_to,
        hours=f"{workbench.settings.link_hours:g} hours",
        is_mail_sent_here=workbench.mail_link is not None,
    )


@router.post("/forgot")
async def forgot(request: Request, workbench: OpenWorkbench) -> Response:
    """Answers alike whether there is an account or not, and as fast: link and mail are made afterwards."""
    form = await _form(request, workbench)
    email = form.get("email", "").strip()
    if workbench.mail_link is None or not email:
        return _forgot_page(workbench)
    response = _forgot_page(workbench, sent_to=email)
    response.background = BackgroundTask(_mail_reset_link, workbench, email)
    return response


def _mail_reset_link(workbench: Workbench, typed: str) -> None:
    """To the address as the account has it: what was typed may look the same to us and be another mailbox."""
    try:
        email = workbench.access.user_by_email(typed).email
    except (UnknownUserError, InvalidParameterError):
        return
    if workbench.mail_link is None or not workbench.mail_guard.takes(email):
        return
    token = workbench.access.reset_link(email)
    if token is None:
        return
    try:
        workbench.mail_link(LinkKind.PASSWORD_RESET, email, token)
    except MailError as error:
        log.warning("a link to a new password was not mailed", reason=str(error))


@router.get("/set-up")
async def show_set_up(request: Request, workbench: OpenWorkbench) -> Response:
    token = request.query_params.get("token", "")
    try:
        if is_opened_by_a_person(request):
            return await _use_set_up(request, workbench, token)
        await run_in_threadpool(workbench.access.peek_link, token)
    except InvalidLinkError as error:
        return await run_in_threadpool(_set_up_page, workbench, "", error)
    return await run_in_threadpool(_set_up_page, workbench, token, None)


def _set_up_page(workbench: Workbench, token: str, error: InvalidLinkError | None) -> Response:
    return _page("set_up", "Set up Telepathy", token=token, is_set_up=workbench.access.is_set_up(), refusal=error)


def is_opened_by_a_person(request: Request) -> bool:
    """Whether the browser says that somebody opened this address themselves, in a tab, and no page led them there."""
    expected = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    told = {name: request.headers.get(name) for name in expected}
    return told == expected and request.headers.get("sec-fetch-user") == "?1" and "sec-purpose" not in request.headers


@router.post("/set-up")
async def set_up(request: Request, workbench: OpenWorkbench) -> Response:
    form = await _form(request, workbench)
    try:
        return await _use_set_up(request, workbench, form.get("token", ""))
    except InvalidLinkError as error:
        return await run_in_threadpool(_set_up_page, workbench, "", error)


async def _use_set_up(request: Request, workbench: Workbench, token: str) -> Response:
    def use() -> SignedIn:
        if workbench.access.peek_link(token) is not LinkKind.SET_UP:  # /link asks for a password first
            raise InvalidLinkError
        return workbench.access.use_link(token, address=address_of(request), user_agent=user_agent_of(request))

    return _signed_in(await with_hashing(request, use), request, workbench, FIRST_PAGE)


_LINK_TITLES: Mapping[LinkKind, str] = {
    LinkKind.INVITATION: "Welcome",
    LinkKind.PASSWORD_RESET: "A new password",
}


@router.get("/link")
async def show_link(request: Request, workbench: OpenWorkbench) -> Response:
    token = request.query_params.get("token", "")
    return await run_in_threadpool(_link_page, workbench, token, "", None)


def _link_page(workbench: Workbench, token: str, name: str, refusal: TelepathyError | None) -> Response:
    try:
        link = workbench.access.look_at_link(token)
        if link.kind not in _LINK_TITLES:
            raise InvalidLinkError
    except InvalidLinkError as invalid:
        return _page("link", "This link does not work", kind="", token="", name="", email="", refusal=invalid)
    return _page(
        "link",
        _LINK_TITLES[link.kind],
        kind=link.kind.value,
        token=token,
        name=name,
        email=link.email,
        refusal=refusal,
    )


@router.post("/link")
async def use_link(request: Request, workbench: OpenWorkbench) -> Response:
    form = await _form(request, workbench)
    token, name = form.get("token", ""), form.get("name", "").strip()

    def use() -> SignedIn:
        return workbench.access.use_link(
            token,
            address=address_of(request),
            user_agent=user_agent_of(request),
            new_password=form.get("password", ""),
            name=name or None,
        )

    try:
        signed_in = await with_hashing(request, use)
    except (AccessError, RequestError) as error:
        return await run_in_threadpool(_link_page, workbench, token, name, error)
    return _signed_in(signed_in, request, workbench, "/")


@router.get("/sign-out")
def show_sign_out() -> Response:
    return _page("sign_out", "Sign out")


@router.post("/sign-out")
async def sign_out(request: Request, workbench: OpenWorkbench) -> Response:
    require_same_origin(request)
    caller = await run_in_threadpool(workbench.access.caller_of_page, *session_cookies(request, workbench.settings))
    if caller is not None and caller.session_id is not None:
        await run_in_threadpool(workbench.access.sign_out, caller.session_id)
    response = RedirectResponse("/sign-in", 303)
    delete_session_cookies(response)
    return response


@router.get("/sign-in/assets/{name}")
def asset(name: str) -> Response:
    """What the pages load: their style, the logo, and the fonts of the other pages."""
    folder = Path(__file__).parent / "templates"
    headers = {"Cache-Control": "public, max-age=3600"}
    if name == "style.css":
        return Response((folder / name).read_bytes(), media_type="text/css", headers=headers)
    if name == "logo.svg":
        return Response(LOGO.read_bytes(), media_type="image/svg+xml", headers=headers)
    found = _font(name) if name in _FONTS else None
    if found is None:
        raise HTTPException(404)
    return Response(found.read_bytes(), media_type="font/woff2", headers=headers)


LOGO = REPOSITORY / "pages" / "parts" / "logo.svg"


def _font(name: str) -> Path | None:
    spec = find_spec("streamlit")
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    return next((file for folder in folders for file in folder.glob(f"static/static/media/{_FONTS[name]}")), None)
