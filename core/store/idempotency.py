"""Keys by which a repeated request is known, and the answer that the first one got, sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, delete, select

from core.domain import Reader
from core.errors import StoreError
from core.store.engine import Store, try_again
from core.store.schema import kept_answers, kept_keys

LIFETIME = timedelta(hours=24)
"""After which a key is forgotten and may be used anew."""
GIVEN_UP_AFTER = timedelta(minutes=10)
"""A request without an answer after this time belonged to a process that was killed: the next one does it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRequest:
    """The first request with a key."""

    sealed: str | None
    """Its answer; None while it is being answered."""


def insert_idempotency_key(store: Store, *, reader: Reader, key: str, at: datetime) -> bool:
    """Take `key` for a request of `reader`; False where another has it."""
    row = {"owner_id": reader.user_id, "key": key, "created_at": at}
    try:
        store.append("taking an idempotency key", (kept_keys, [row]))
    except StoreError:
        if select_known_request(store, reader=reader, key=key, at=at) is None:
            raise
        return False
    return True


def insert_idempotency_answer(store: Store, *, reader: Reader, key: str, sealed: str, about: str) -> None:
    """Keep what a request with `key` was answered; `about` holds the ids of all that it tells of."""
    row = {"owner_id": reader.user_id, "key": key, "sealed": sealed, "about": about}
    store.append("keeping the answer to a request", (kept_answers, [row]))


def select_known_request(store: Store, *, reader: Reader, key: str, at: datetime) -> KnownRequest | None:
    """The request of `reader` that has `key`; None where there is none, or it is forgotten by `at`."""
    keys, answers = kept_keys.c, kept_answers.c
    statement = (
        select(keys.created_at, answers.sealed)
        .select_from(kept_keys.outerjoin(kept_answers, answers.key == keys.key))
        .where(keys.owner_id == reader.user_id, keys.key == key)
    )
    with store.transaction("looking for an idempotency key") as connection:
        row = connection.execute(statement).one_or_none()
    if row is None or at - row.created_at > (GIVEN_UP_AFTER if row.sealed is None else LIFETIME):
        return None
    return KnownRequest(sealed=row.sealed)


def delete_idempotency_key(store: Store, *, reader: Reader, key: str, before: datetime | None = None) -> None:
    """Let go of a key of `reader`, with its answer; where `before` is given, only if it was taken before that."""
    of_reader = and_(kept_keys.c.owner_id == reader.user_id, kept_keys.c.key == key)
    _let_go(store, of_reader if before is None else and_(of_reader, kept_keys.c.created_at < before))


def delete_idempotency_keys_of(store: Store, *, reader: Reader) -> None:
    """Let go of all keys of `reader`, with their answers."""
    _let_go(store, kept_keys.c.owner_id == reader.user_id)


def delete_idempotency_keys(store: Store, *, reader: Reader, before: datetime) -> None:
    """Forget all keys taken before that time, whose ever they are; `reader` must see everything."""
    if not reader.sees_everything:
        raise ValueError("only the process itself forgets everybody's keys")
    _let_go(store, kept_keys.c.created_at < before)


def drop_answers_about(connection: Connection, recording_id: UUID) -> None:
    """Let go of every key whose kept answer tells of a recording, in the transaction that deletes that."""
    answers = kept_answers.c
    about_it = select(answers.key).where(answers.about.contains(str(recording_id), autoescape=True))
    _delete_all(connection, list(connection.execute(about_it).scalars()))


def _let_go(store: Store, condition: ColumnElement[bool]) -> None:
    def let_go() -> None:
        with store.transaction("letting go of idempotency keys") as connection:
            _delete_all(connection, list(connection.execute(select(kept_keys.c.key).where(condition)).scalars()))

    try_again(let_go)


def _delete_all(connection: Connection, keys: list[str]) -> None:
    for table in (kept_answers, kept_keys) if keys else ():
        connection.execute(delete(table).where(table.c.key.in_(keys)))
