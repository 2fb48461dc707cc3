"""Answers to requests that may be sent again, kept for a day and sealed: some show a secret once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from core.domain import Caller
from core.errors import IdempotencyKeyBusyError
from core.secrets import Vault
from core.store.engine import Store
from core.store.idempotency import (
    GIVEN_UP_AFTER,
    delete_idempotency_key,
    insert_idempotency_answer,
    insert_idempotency_key,
    select_known_request,
)
from core.store.sealed_columns import KEPT_ANSWER

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What the first request with a key asked for, and what it was answered."""

    fingerprint: str
    """Of all that it asked for."""
    n_bytes: int
    """Of its body."""
    status: int
    headers: Mapping[str, str]
    body: str


class KeptAnswers:
    """The kept answers of one store. A key is its sender's own: of the account, and of the API key it was sent with."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def find(self, caller: Caller, key: str) -> KeptAnswer | None:
        """The answer that `caller` had with `key`; None where this is the first request with it.

        Raises
        ------
        IdempotencyKeyBusyError
            The first is still being answered.
        SecretError
            No key at hand opens the answer.
        """
        name = _name(caller, key)
        known = select_known_request(self._store, reader=caller.reader, key=name, at=datetime.now(UTC))
        if known is None:
            return None
        if known.sealed is None:
            raise IdempotencyKeyBusyError
        return KeptAnswer(**json.loads(self._vault.unseal(known.sealed, KEPT_ANSWER.context(name))))

    def take(self, caller: Caller, key: str) -> None:
        """Have further requests with `key` wait for the answer to this one.

        Raises
        ------
        IdempotencyKeyBusyError
            Another came first.
        """
        reader, name, now = caller.reader, _name(caller, key), datetime.now(UTC)
        # One that is too old is still there, and in the way; one that was taken a moment ago stays.
        delete_idempotency_key(self._store, reader=reader, key=name, before=now - GIVEN_UP_AFTER)
        if not insert_idempotency_key(self._store, reader=reader, key=name, at=now):
            raise IdempotencyKeyBusyError

    def keep(self, caller: Caller, key: str, answer: KeptAnswer) -> None:
        """Keep the answer to the request that took `key`. It goes with any recording that it tells of."""
        name = _name(caller, key)
        sealed = self._vault.seal(json.dumps(dataclasses.asdict(answer)), KEPT_ANSWER.context(name))
        about = " ".join(sorted(set(_UUID.findall(answer.body))))
        insert_idempotency_answer(self._store, reader=caller.reader, key=name, sealed=sealed, about=about)

    def let_go(self, caller: Caller, key: str) -> None:
        """Forget `key`: the request with it failed."""
        delete_idempotency_key(self._store, reader=caller.reader, key=_name(caller, key))


def _name(caller: Caller, key: str) -> str:
    return hashlib.sha256(f"{caller.user.id} {caller.key_id} {key}".encode()).hexdigest()
