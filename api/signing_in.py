"""Signing in by password, at whichever door: guessing is limited, and a refusal says nothing of who has an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from api.access import address_of, workbench_of
from core.access.access import SignedIn


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
    return await run_in_threadpool(_signed_in, connection, email, password)


def _signed_in(connection: HTTPConnection, email: str, password: str) -> SignedIn:
    workbench, address = workbench_of(connection), address_of(connection)
    with workbench.sign_in_guard.attempt(email, address):
        return workbench.access.sign_in(
            email=email, password=password, address=address, user_agent=user_agent_of(connection)
        )
