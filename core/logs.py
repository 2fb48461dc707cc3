"""The log of the process: one JSON object a line, with the id of the request, and never a secret.

Lines of libraries (uvicorn, streamlit, asyncio) take the same way as our own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from core.redaction import redact, redact_event

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def log_to_stderr(level: str, *, report: Callable[[BaseException], None] | None = None) -> None:
    """Structured lines: readable on a terminal, JSON for machines. Neither shows the variables behind a traceback.

    `report` is told of every exception that is logged as an error by us.
    """
    renderer: Processor
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        renderer = structlog.processors.JSONRenderer()
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [structlog.processors.format_exc_info, redact_event, renderer]

    def tell(_logger: object, method: str, event: EventDict) -> EventDict:
        if report is not None and method == "error" and isinstance(event.get("exc_info"), BaseException):
            report(event["exc_info"])
        return event

    structlog.configure(
        processors=[*common, tell, *last],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        # Writes a line and its end at once, as logging does: between the two of `print`, another's line would slip in.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    _take_over(handler)
    logging.setLogRecordFactory(_record_without_secrets)


def _take_over(handler: logging.Handler) -> None:
    """Let `handler` write what libraries have their own handlers for; each line once.

    uvicorn.error arrives without any, and cut off from the root: uvicorn takes away what streamlit gave it.
    """
    logging.getLogger().handlers[:] = [handler]
    for name in list(logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        others = [each for each in logger.handlers if not isinstance(each, logging.StreamHandler)]
        is_cut_off = not logger.propagate
        if is_cut_off and not any(isinstance(each, logging.NullHandler) for each in others):
            logger.handlers[:] = [*others, handler]
        elif len(others) < len(logger.handlers):
            logger.handlers[:] = others


def _record_without_secrets(
    name: str,
    level: int,
    path: str,
    line: int,
    message: object,
    arguments: tuple[Any, ...] | Mapping[str, Any],
    exception: tuple[type[BaseException], BaseException, TracebackType | None] | None,
    function: str | None = None,
    stack: str | None = None,
    **others: Any,
) -> logging.LogRecord:
    """A record of a library, without secrets even where a handler of its own will write it.

    uvicorn writes the address of every WebSocket with its query, and streamlit makes loggers with handlers as it goes.
    """
    record = logging.LogRecord(name, level, path, line, message, arguments, exception, function, stack, **others)
    if isinstance(record.args, tuple):
        record.args = tuple(redact(each) if isinstance(each, str) else each for each in record.args)
    try:
        written = record.getMessage()
    except (TypeError, ValueError, KeyError):  # a library's own mistake, which logging reports by itself
        return record
    if redact(written) != written:
        record.msg, record.args = redact(written), ()
    return record
