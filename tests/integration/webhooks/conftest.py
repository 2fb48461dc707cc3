"""Webhooks over a real store, with time that a test moves and jobs that are only noted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from core.config import Settings
from core.domain import Caller, WebhookDelivery, WebhookEndpoint
from core.secrets import Vault
from core.store.engine import open_store
from core.webhooks.webhooks import Due, Webhooks
from tests.callers import make_fake_caller
from tests.clocks import Clock
from tests.prepared_stores import prepared

HOST = "hooks.example.org"


@dataclass
class Bench:
    """Webhooks, and all around them that a test holds in its hand."""

    settings: Settings
    store: Any
    clock: Clock = field(default_factory=lambda: Clock(datetime.now(UTC)))
    """Of now: receivers refuse what is older than five minutes."""
    caller: Caller = field(default_factory=make_fake_caller)
    due: list[Due] = field(default_factory=list)
    """What was handed over, and not taken from here yet."""
    addresses: list[list[str]] = field(default_factory=lambda: [["127.0.0.1"]])
    """Where every host is found, question by question; the last answer for ever."""
    asked: list[str] = field(default_factory=list)
    told: list[tuple[Any, ...]] = field(default_factory=list)
    """What owners were told, and what was noted in the audit log."""
    is_welcome: bool = True
    webhooks: Webhooks = field(init=False)

    def open(self, **changes: Any) -> Webhooks:
        """Open them, as a start of the process does."""
        settings = replace(self.settings, **changes)
        self.webhooks = Webhooks(
            self.store,
            settings,
            Vault.open(settings),
            may_be_told=lambda owner_id: self.is_welcome,
            tell_owner=lambda *told: self.told.append(told),
            audit=lambda *told: self.told.append(told),
            resolve=self._resolve,
            now=self.clock.now,
        )
        self.webhooks.hand_over = self.due.extend
        return self.webhooks

    def _resolve(self, host: str) -> list[str]:
        self.asked.append(host)
        return self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]

    def endpoint(self, url: str, **given: Any) -> tuple[WebhookEndpoint, str]:
        return self.webhooks.create(by=self.caller, url=url, **given)

    def emit(self, event_type: str = "prediction.created", **given: Any) -> None:
        """Tell of an event, and wait until it is kept."""
        self.webhooks.emit(event_type, owner=self.caller.user.id, data={"emotion": "happy"}, **given)
        assert self.webhooks.flush()

    def attempt(self) -> WebhookDelivery:
        """Let the time of the next attempt come, and make it; the delivery afterwards."""
        due = self.due.pop(0)
        self.clock.pass_s(due.delay_s)
        following = self.webhooks.attempt(due.delivery_id, due.number)
        if following is not None:
            self.due.append(following)
        return self.webhooks.delivery(due.delivery_id, owner_id=self.caller.user.id)


@pytest.fixture
def bench(tmp_path):
    """Webhooks that may reach this machine, and have nothing to tell yet."""
    settings = Settings(data_dir=prepared(tmp_path), allowed_networks="127.0.0.0/8", webhook_timeout_s=5.0)
    with open_store(settings.store_location) as store:
        opened = Bench(settings=settings, store=store)
        opened.open()
        yield opened
        opened.webhooks.close()
