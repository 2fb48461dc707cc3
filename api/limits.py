"""Limits at the door of the API: who calls from where, under which plan, and what the answer says about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from core.access.addresses import caller_address
from core.access.limits import Admission, CallLimits, call_of
from core.config import Settings
from core.domain import Caller
from core.errors import QuotaExceededError, RateLimitedError
from core.plans import Plan

RATE_LIMIT, PLAN, ADMITTED = "rate_limit", "plan", "admitted"
"""In `scope["state"]`: the header fields that `api.middleware.Doorkeeper` sends, the caller's plan, what was let in."""


def address_of(connection: HTTPConnection, settings: Settings) -> str:
    """The network address that asks, past the proxies that the settings trust."""
    peer = connection.client.host if connection.client is not None else None
    return caller_address(peer, connection.headers.getlist("x-forwarded-for"), settings.trusted_proxies)


@asynccontextmanager
async def limited(
    connection: HTTPConnection,
    caller: Caller | None,
    limits: CallLimits,
    settings: Settings,
    *,
    costs_inference: bool,
) -> AsyncIterator[Admission]:
    """Answer within what the caller's plan and address allow; the answer's headers tell how much is left.

    Parameters
    ----------
    caller
        Who asks; None on public routes, where the address alone is limited.
    costs_inference
        Whether the call counts on the month's quota. It does not when it ends by an exception.

    Raises
    ------
    RateLimitedError, QuotaExceededError
        As `core.access.limits.CallLimits.admit`.
    """
    state = connection.scope.setdefault("state", {})
    address = address_of(connection, settings)
    call = call_of(caller, settings, address=address, costs_inference=costs_inference)
    state[PLAN] = call.plan
    try:
        async with limits.admit(call) as admission:
            state[RATE_LIMIT] = admission.headers
            state[ADMITTED] = call, admission
            yield admission
    except (RateLimitedError, QuotaExceededError) as error:
        state.setdefault(RATE_LIMIT, error.headers)
        raise


@dataclass(slots=True)
class Parts:
    """How many parts of a call have been answered so far."""

    n_answered: int = 0


@asynccontextmanager
async def counted_each(connection: HTTPConnection, limits: CallLimits, n_parts: int) -> AsyncIterator[Parts]:
    """Count a call that was let in as one as `n_parts` of the month's quota; those without an answer cost nothing.

    Raises
    ------
    QuotaExceededError
        Fewer are left; nothing is counted then.
    """
    state = connection.scope["state"]
    call, admission = state[ADMITTED]
    admission = await run_in_threadpool(limits.take_more, call, n_parts - 1, admission)
    state[RATE_LIMIT] = admission.headers
    parts = Parts()
    try:
        yield parts
    except BaseException:
        limits.give_back(call, n_parts - 1)  # and the first by who let the call in
        raise
    limits.give_back(call, n_parts - parts.n_answered)


def body_cap_mb(connection: HTTPConnection, max_mb: float) -> float:
    """The largest body of this caller: what their plan allows, within `max_mb` of the settings."""
    plan: Plan | None = connection.scope.get("state", {}).get(PLAN)
    return max_mb if plan is None else min(max_mb, plan.max_upload_mb)
