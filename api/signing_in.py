"""Signing in by password, at whichever door: guessing is limited, and a refusal says nothing of who has an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from api.access import access_of, address_of
from core.access.access import SignedIn
from core.errors import InvalidCredentialsError


class SignInGuard(Protocol):
    """What limits guessing, per account and per address."""

    def check(self, email: str, address: str) -> None:
        """Raise RateLimitedError when there were too many wrong passwords."""

    def count_failure(self, email: str, address: str) -> None:
        """Note a wrong password."""

    def forget(self, email: str, address: str) -> None:
        """Note a right one."""


class SingleSignOn(Protocol):
    """Somebody else who says who people are."""

    cookie: str
    """What the cookie is called, or begins with, that carries the answer until it is exchanged for a session."""

    def address(self) -> str:
        """Where to send a browser so that it comes back vouched for."""

    def vouched_for(self, cookies: Mapping[str, str]) -> tuple[str, str]:
        """The verified e-mail address and the name in these cookies. Raises InvalidCredentialsError."""


def guard_of(connection: HTTPConnection) -> SignInGuard | None:
    """The guard of the application, where it has one."""
    return cast("SignInGuard | None", getattr(connection.app.state, "sign_in_guard", None))


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
    return await run_in_threadpool(_signed_in, connection, email, password)


def _signed_in(connection: HTTPConnection, email: str, password: str) -> SignedIn:
    guard, address = guard_of(connection), address_of(connection)
    if guard is not None:
        guard.check(email, address)
    try:
        signed_in = access_of(connection).sign_in(
            email=email, password=password, address=address, user_agent=user_agent_of(connection)
        )
    except InvalidCredentialsError:
        if guard is not None:
            guard.count_failure(email, address)
        raise
    if guard is not None:
        guard.forget(email, address)
    return signed_in
