"""Guessing takes too long: wrong passwords and wrong keys within 15 minutes, by account and by network address."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from limits import RateLimitItemPerHour, RateLimitItemPerMinute

from core.access.addresses import network_of
from core.access.windows import Window, Windows
from core.config import Settings
from core.errors import InvalidCredentialsError, RateLimitedError

WINDOW_MINUTES = 15
MAILS_PER_HOUR = 3
PAGES_PER_MINUTE = 120
"""Opened by one person: somebody who opens twenty tabs, over a network that breaks off, has as many as that."""


class SignInGuard:
    """Wrong passwords by account and by address. Safe to share between threads.

    An account need not exist to be counted, so that waiting tells nobody which ones do.
    """

    def __init__(self, windows: Windows, settings: Settings) -> None:
        self._windows = windows
        self._per_account = RateLimitItemPerMinute(settings.sign_in_attempts_per_account, WINDOW_MINUTES)
        self._per_address = RateLimitItemPerMinute(settings.sign_in_attempts_per_address, WINDOW_MINUTES)
        self._under_way: Counter[Window] = Counter()
        self._changing = threading.Lock()

    @contextmanager
    def attempt(self, email: str, address: str) -> Iterator[None]:
        """One attempt to sign in: an `InvalidCredentialsError` from inside is counted, an end without error forgives.

        Attempts under way in this process count as failed until they end: many at once get no more guesses than one
        after the other.

        Raises
        ------
        RateLimitedError
            This account or this address has to wait, whatever the password.
        """
        windows = self._both(email, address)
        with self._changing:
            self._require_room(windows, dict(self._under_way))
            self._under_way.update(windows)
        try:
            yield
        except InvalidCredentialsError:
            self.count_failure(email, address)
            raise
        else:
            self.forget(email)
        finally:
            with self._changing:
                self._under_way.subtract(windows)
                for window in windows:
                    if not self._under_way[window]:
                        del self._under_way[window]

    def check(self, email: str, address: str) -> None:
        """Raise RateLimitedError while this account or this address has to wait."""
        self._require_room(self._both(email, address), {})

    def count_failure(self, email: str, address: str) -> None:
        """Count one wrong password: for the account as for the address, even where the other is full."""
        for window in self._both(email, address):
            self._windows.take([window])

    def forget(self, email: str) -> None:
        """Forget the account's failures: its owner is here. The address's stay, or one good account would cover guesses
        at others."""
        self._windows.forget([self._account(email)])

    def _require_room(self, windows: list[Window], under_way: dict[Window, int]) -> None:
        for standing in self._windows.look(windows):
            if standing.remaining <= under_way.get(standing.window, 0):
                raise _too_many(standing.window, standing.retry_after_s if standing.is_full else 1)

    def _both(self, email: str, address: str) -> list[Window]:
        return [self._account(email), _guesses(self._per_address, address)]

    def _account(self, email: str) -> Window:
        return Window(self._per_account, "account", _digest(email))


class KeyGuard:
    """Wrong keys and tokens by address, counted together with its wrong passwords. Safe to share between threads."""

    def __init__(self, windows: Windows, settings: Settings) -> None:
        self._windows = windows
        self._per_address = RateLimitItemPerMinute(settings.sign_in_attempts_per_address, WINDOW_MINUTES)

    def check(self, address: str) -> None:
        """Raise RateLimitedError while this address has to wait, even with a right key."""
        [standing] = self._windows.look([_guesses(self._per_address, address)])
        if standing.is_full:
            raise _too_many(standing.window, standing.retry_after_s)

    def count_failure(self, address: str) -> None:
        """Count one wrong key or token."""
        self._windows.take([_guesses(self._per_address, address)])


class MailGuard:
    """Links that strangers ask for by mail: a few an hour to one address, or anybody could fill somebody's mailbox."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._per_account = RateLimitItemPerHour(MAILS_PER_HOUR)

    def takes(self, email: str) -> bool:
        """Whether one more may go to this address; counted if so."""
        is_counted, _ = self._windows.take([Window(self._per_account, "mail", _digest(email))])
        return is_counted


class PageGuard:
    """Pages that one person opens: each costs memory, and goes on doing so for minutes after it is closed."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._per_user = RateLimitItemPerMinute(PAGES_PER_MINUTE)

    def take(self, user_id: UUID) -> None:
        """Count one more. Raises RateLimitedError where there are too many."""
        is_counted, [standing] = self._windows.take([Window(self._per_user, "pages", str(user_id))])
        if not is_counted:
            raise RateLimitedError(f"{PAGES_PER_MINUTE} pages opened by one person a minute", standing.retry_after_s)


def _guesses(item: RateLimitItemPerMinute, address: str) -> Window:
    return Window(item, "guesses", network_of(address))


def _too_many(window: Window, retry_after_s: int) -> RateLimitedError:
    n_attempts = window.item.amount
    attempts = "1 attempt" if n_attempts == 1 else f"{n_attempts:,} attempts"
    whose = "at one account" if window.kind == "account" else "from one network address"
    return RateLimitedError(f"{attempts} {whose} within {WINDOW_MINUTES} minutes", retry_after_s)


def _digest(email: str) -> str:
    """No addresses in Redis."""
    return hashlib.sha256(email.strip().lower().encode("utf-8", "replace")).hexdigest()
