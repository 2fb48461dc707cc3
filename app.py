"""The process: `streamlit run app.py` starts pages and API over one workbench, and stops them without loss."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import NoReturn

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.application import create_api, is_of_the_api, routes_of
from api.gate import Gate
from api.middleware import READ_OUT_S
from core.access.access import Access
from core.access.links import link_address, note_port
from core.access_mails import invitation_mail, password_reset_mail
from core.config import Settings, settings_of_this_machine
from core.crash_reports import end_reports, report, report_crashes
from core.domain import LinkKind
from core.errors import TelepathyError
from core.logs import log_to_stderr
from core.own_files import keep_new_files_private
from core.workbench import Workbench, current_workbench, open_workbench, set_current_workbench
from pages.parts import session
from pages.parts.held_uploads import bytes_held
from pages.parts.single_sign_on import StreamlitSignOn

DRAIN_GRACE_S = 0.3
"""Between the signal and the end of listening: what the kernel already holds of requests is still read and refused."""

draining = threading.Event()
api = create_api(current_workbench, is_draining=draining.is_set)
api.state.single_sign_on = StreamlitSignOn()


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[None]:
    """Open the workbench before the first request; drain and close it after the last."""
    keep_new_files_private()
    try:
        settings = settings_of_this_machine()
        is_reporting = report_crashes(settings)
        log_to_stderr(settings.log_level, report=report if is_reporting else None)
        workbench = await asyncio.to_thread(open_workbench, settings)
        await asyncio.to_thread(workbench.jobs.start)
    except TelepathyError as error:
        refuse_to_start(error)
    workbench.on_analysis = api.state.metrics.observe_analysis
    workbench.webhooks.on_attempt = api.state.metrics.observe_webhook_attempt
    set_current_workbench(workbench)
    workbench.alerts.start()
    workbench.report_clock.start()
    if workbench.mailer.is_configured:
        workbench.mail_link = partial(mail_link, workbench)
    note_port(settings, st.get_option("server.port"), is_https=session.speaks_https())
    await asyncio.to_thread(tell_set_up_link, workbench.access, settings)
    see_who_connects()
    drain_when_told_to_stop(settings.shutdown_deadline_s)
    spare_what_is_loaded()
    try:
        yield
    finally:
        if api.state.open_requests:  # cancelled, and about to be refused
            await asyncio.wait(api.state.open_requests, timeout=2 * READ_OUT_S)
        # It stays the current one: a page that still runs finds it closed rather than opening another.
        await asyncio.to_thread(workbench.close)
        if is_reporting:
            await asyncio.to_thread(end_reports)


def mail_link(workbench: Workbench, kind: LinkKind, email: str, token: str) -> None:
    """Send a one-time link by mail, in the background."""
    settings = workbench.settings
    link = link_address(settings, kind, token, port=st.get_option("server.port"), is_https=session.speaks_https())
    if kind is LinkKind.INVITATION:
        invited_by = "" if settings.registration == "open" else "An admin"
        mail = invitation_mail(to=email, link=link, invited_by=invited_by, hours=settings.link_hours)
    else:
        mail = password_reset_mail(to=email, link=link, hours=settings.link_hours)
    workbench.mail(mail)


def tell_set_up_link(access: Access, settings: Settings) -> None:
    """While no admin has a password, print a link that opens the workbench signed in. It works once."""
    token = None if access.is_set_up() else access.set_up_link()
    if token is None:
        return
    link = link_address(
        settings, LinkKind.SET_UP, token, port=st.get_option("server.port"), is_https=session.speaks_https()
    )
    sys.stdout.write(
        "\n  Open Telepathy for the first time, signed in as its admin, by this link. "
        f"It works once, within {settings.link_hours:g} hours:\n\n  {link}\n\n"
    )
    sys.stdout.flush()


def spare_what_is_loaded() -> None:
    """Have the garbage collector look no more through what lives until the end.

    Streamlit collects after every run of a page, and looked through 276,000 objects each time: 0.15 s in which no other
    page and no route got an answer.
    """
    gc.collect()
    gc.freeze()


def refuse_to_start(error: TelepathyError) -> NoReturn:
    """One sentence and exit code 2. Uvicorn would turn any exception here into its traceback and exit code 3."""
    sys.stderr.write(f"Telepathy cannot start. {error}\n")
    sys.stderr.flush()
    os._exit(2)


def see_who_connects() -> None:
    """Keep uvicorn from believing `X-Forwarded-For` and `X-Forwarded-Proto` of whoever connects from this machine.

    `streamlit run` cannot be told to. Who is believed stands in `trusted_proxies`, and `core.access.addresses` goes by
    it; a header that uvicorn has followed before would let every program on this machine choose its address.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(number), "__self__", None)
        if isinstance(server, uvicorn.Server) and isinstance(server.config.loaded_app, ProxyHeadersMiddleware):
            server.config.loaded_app = server.config.loaded_app.app


def drain_when_told_to_stop(deadline_s: float) -> None:
    """From SIGTERM or SIGINT on, refuse new requests; after `deadline_s`, give up on those still under way.

    Uvicorn by itself waits for ever for a sender who stalls, and `streamlit run` cannot be told otherwise.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        stop_server = signal.getsignal(number)
        server = getattr(stop_server, "__self__", None)
        if not callable(stop_server) or not isinstance(server, uvicorn.Server):
            continue
        server.config.timeout_graceful_shutdown = deadline_s  # type: ignore[assignment]

        def drain(number: int, frame: FrameType | None, stop_server=stop_server) -> None:
            was_draining = draining.is_set()
            draining.set()
            if was_draining:
                stop_server(number, frame)
            else:
                threading.Timer(DRAIN_GRACE_S, stop_server, (number, frame)).start()

        signal.signal(number, drain)


app = st.App(
    "pages/navigation.py",
    routes=routes_of(api),
    middleware=[Middleware(Gate, get_workbench=current_workbench, is_of_the_api=is_of_the_api, bytes_held=bytes_held)],
    lifespan=lifespan,
)
