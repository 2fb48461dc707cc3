"""Signing in by password, at whichever door: guessing is limited, and a refusal says nothing of who has an account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar, cast

from anyio import CapacityLimiter, to_thread
from starlette.requests import HTTPConnection

from api.access import address_of, workbench_of
from core.access.access import SignedIn

T = TypeVar("T")

HASHING_AT_A_TIME = 2
"""As many as `core.access.passwords` hashes at a time."""


class SingleSignOn(Protocol):
    """Somebody else who says who people are."""

    cookie: str
    """What the cookie is called, or begins with, that carries the answer until it is exchanged for a session."""

    def address(self) -> str:
        """Where to send a browser so that it comes back vouched for."""

    def vouched_for(self, cookies: Mapping[str, str]) -> tuple[str, str]:
        """The verified e-mail address and the name in these cookies. Raises InvalidCredentialsError."""


def user_agent_of(connection: HTTPConnection) -> str:
    """What the browser calls itself, at a length that fits a table."""
    return connection.headers.get("user-agent", "")[:200]


async def signed_in_by_password(connection: HTTPConnection, *, email: str, password: str) -> SignedIn:
    """A session for who knows the password of the account.

    Raises
    ------
    InvalidCredentialsError
        There is no such account, or that is not its password: the same sentence for both.
    RateLimitedError
        There were too many wrong ones, for this account or from this address.
    """
    return await with_hashing(connection, partial(_signed_in, connection, email, password))


async def with_hashing(connection: HTTPConnection, work: Callable[[], T]) -> T:
    """The result of `work`, which hashes a password, on a thread.

    Whoever comes while `HASHING_AT_A_TIME` do waits without one: a rush of sign-ins leaves the others, which pages and
    all other calls share, alone.
    """
    limiter = cast(CapacityLimiter, connection.app.state.hashing)
    return await to_thread.run_sync(work, limiter=limiter)


def _signed_in(connection: HTTPConnection, email: str, password: str) -> SignedIn:
    workbench, address = workbench_of(connection), address_of(connection)
    with workbench.sign_in_guard.attempt(email, address):
        return workbench.access.sign_in(
            email=email, password=password, address=address, user_agent=user_agent_of(connection)
        )
