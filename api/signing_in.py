"""Signing in by password, at whichever door: guessing is limited, and a refusal says nothing of who has an account."""

from __future__ import annotations

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
