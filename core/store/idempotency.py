"""Keys by which a repeated request is known, and the answer that the first one got."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, Table, and_, delete, select

from core.domain import Reader
from core.errors import StoreError
from core.store.engine import Store, try_again
from core.store.schema import idempotency_answers, idempotency_keys

LIFETIME = timedelta(hours=24)
"""After which a key is forgotten and may be used anew."""
GIVEN_UP_AFTER = timedelta(minutes=10)
"""A request without an answer after this time belonged to a process that was killed: the next one does it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What the first request with a key was answered."""

    status: int
    location: str
    """The header of this name; empty where there was none."""
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRequest:
    """The first request with a key."""

    fingerprint: str
    """Of all that it asked for."""
    answer: KeptAnswer | None
    """None while it is being answered."""


def insert_idempotency_key(store: Store, *, reader: Reader, key: str, fingerprint: str, at: datetime) -> bool:
    """Take `key` for a request of `reader`; False where another has it."""
    row = {"owner_id": reader.user_id, "key": key, "fingerprint": fingerprint, "created_at": at}
    try:
        store.append("taking an idempotency key", (idempotency_keys, [row]))
    except StoreError:
        if select_known_request(store, reader=reader, key=key, at=at) is None:
            raise
        return False
    return True


def insert_idempotency_answer(store: Store, *, reader: Reader, key: str, answer: KeptAnswer) -> None:
    """Keep what a request with `key` was answered."""
    row = {
        "owner_id": reader.user_id,
        "key": key,
        "status": answer.status,
        "location": answer.location,
        "body": answer.body,
    }
    store.append("keeping the answer to a request", (idempotency_answers, [row]))


def select_known_request(store: Store, *, reader: Reader, key: str, at: datetime) -> KnownRequest | None:
    """The request of `reader` that has `key`; None where there is none, or it is forgotten by `at`."""
    keys, answers = idempotency_keys.c, idempotency_answers.c
    statement = (
        select(keys.fingerprint, keys.created_at, answers.status, answers.location, answers.body)
        .select_from(
            idempotency_keys.outerjoin(
                idempotency_answers, and_(answers.owner_id == keys.owner_id, answers.key == keys.key)
            )
        )
        .where(keys.owner_id == reader.user_id, keys.key == key)
    )
    with store.transaction("looking for an idempotency key") as connection:
        row = connection.execute(statement).one_or_none()
    if row is None or at - row.created_at > (GIVEN_UP_AFTER if row.status is None else LIFETIME):
        return None
    answer = None if row.status is None else KeptAnswer(status=row.status, location=row.location, body=row.body)
    return KnownRequest(fingerprint=row.fingerprint, answer=answer)


def delete_idempotency_key(store: Store, *, reader: Reader, key: str) -> None:
    """Let go of a key of `reader`, with its answer."""

    def is_it(table: Table) -> object:
        return and_(table.c.owner_id == reader.user_id, table.c.key == key)

    def let_go() -> None:
        with store.transaction("letting go of an idempotency key") as connection:
            connection.execute(delete(idempotency_answers).where(is_it(idempotency_answers)))  # type: ignore[arg-type]
            connection.execute(delete(idempotency_keys).where(is_it(idempotency_keys)))  # type: ignore[arg-type]

    try_again(let_go)


def drop_answers_about(connection: Connection, recording_id: UUID) -> None:
    """Let go of every key whose kept answer tells of a recording, in the transaction that deletes that."""
    answers = idempotency_answers.c
    about_it = connection.execute(
        select(answers.owner_id, answers.key).where(answers.body.contains(str(recording_id), autoescape=True))
    ).all()
    for row in about_it:
        for table in (idempotency_answers, idempotency_keys):
            connection.execute(delete(table).where(table.c.owner_id == row.owner_id, table.c.key == row.key))


def delete_idempotency_keys(store: Store, *, reader: Reader, before: datetime) -> None:
    """Forget all keys taken before that time, whose ever they are; `reader` must see everything."""
    if not reader.sees_everything:
        raise ValueError("only the process itself forgets everybody's keys")
    keys = idempotency_keys.c

    def forget() -> None:
        with store.transaction("forgetting idempotency keys") as connection:
            old = connection.execute(select(keys.owner_id, keys.key).where(keys.created_at < before)).all()
            for row in old:
                for table in (idempotency_answers, idempotency_keys):
                    connection.execute(delete(table).where(table.c.owner_id == row.owner_id, table.c.key == row.key))

    try_again(forget)
