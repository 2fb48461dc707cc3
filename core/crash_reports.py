"""Unexpected errors to Sentry, when the setting `sentry_dsn` names one: the traceback, and nothing of whoever asked."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import structlog

from core import __version__
from core.config import Settings
from core.redaction import HIDDEN, redact_value

if TYPE_CHECKING:
    from sentry_sdk.types import Event

KEPT = {
    "event_id",
    "timestamp",
    "level",
    "logger",
    "logentry",
    "message",
    "exception",
    "threads",
    "platform",
    "release",
    "environment",
    "sdk",
    "tags",
    "type",
}
"""Parts of a report that are sent. Others (request, user, extra, breadcrumbs, server name, modules) are not."""
FLUSH_S = 2.0
_ADDRESSES = (
    re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"),
    re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])"),
)


def report_crashes(settings: Settings) -> bool:
    """Send errors that are logged with their traceback to Sentry from now on; False where no DSN is set.

    Our own errors are handed to `report` by the log, those of libraries are taken from theirs. No framework is
    instrumented: no request, form, header or cookie, and no variable of a traceback's frames, is ever looked at.
    """
    if not settings.sentry_dsn:
        return False
    import sentry_sdk  # takes 0.2 s to load
    from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        release=f"telepathy@{__version__}",
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        traces_sample_rate=0.0,
        auto_session_tracking=False,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration(level=None, event_level=logging.ERROR)],
        before_send=_scrub,
        shutdown_timeout=FLUSH_S,
    )
    ignore_logger("sentry_sdk.errors")
    return True


def report(error: BaseException) -> None:
    """Send `error`, with the id of the request that it befell, by which the log tells the rest."""
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if request_id is not None:
            scope.set_tag("request_id", str(request_id))
        sentry_sdk.capture_exception(error)


def end_reports() -> None:
    """Send what waits, for a short while."""
    import sentry_sdk

    sentry_sdk.flush(FLUSH_S)


def _scrub(event: Event, _hint: dict[str, Any]) -> Event | None:
    kept: Event = {key: redact_value(value) for key, value in event.items() if key in KEPT}  # type: ignore[assignment]
    return _without_addresses(kept)  # type: ignore[no-any-return]


def _without_addresses(value: Any) -> Any:
    if isinstance(value, str):
        for address in _ADDRESSES:
            value = address.sub(HIDDEN, value)
        return value
    if isinstance(value, dict):
        return {key: each if key == "sdk" else _without_addresses(each) for key, each in value.items()}
    return [_without_addresses(each) for each in value] if isinstance(value, list) else value
