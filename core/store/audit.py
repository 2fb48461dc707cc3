"""The audit log: who changed what, each entry chained to the one before by its hash.

The hash of an entry is the SHA-256 of the canonical JSON (sorted keys, no spaces, UTF-8) of all its fields but the
hash itself, that of the entry before among them. The first entry follows 64 zeros.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, insert, select, text, update

from core.domain import AuditEntry
from core.store.access_schema import audit_head, audit_log
from core.store.access_store import AccessStore

FIRST_PREVIOUS_HASH = "0" * 64
_ROWS_AT_ONCE = 1000
_HEAD_ID = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """Whether the log is whole, or where it first is not."""

    n_entries: int
    """Entries that were found sound, from the first."""
    head_hash: str
    """Of the last sound entry; 64 zeros for an empty log."""
    broken_number: int | None = None
    """The number of the first entry that is not as it was written, or is missing; None for a whole log."""
    sentence: str = ""
    """What is wrong there."""


def insert_audit_entry(
    store: AccessStore,
    *,
    actor_id: UUID | None,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, str],
) -> AuditEntry:
    """Append an entry. Of any number of writers, one after the other: the chain never forks."""
    with store.exclusive("writing the audit log") as connection:
        head = connection.execute(select(*audit_head.columns).where(audit_head.c.id == _HEAD_ID)).one_or_none()
        entry = AuditEntry(
            number=1 if head is None else head.number + 1,
            at=datetime.now(UTC),
            actor_id=actor_id,
            actor=_storable(actor),
            action=_storable(action),
            subject=_storable(subject),
            details={_storable(name): _storable(value) for name, value in details.items()},
            previous_hash=FIRST_PREVIOUS_HASH if head is None else head.hash,
            hash="",
        )
        entry = dataclasses.replace(entry, hash=entry_hash(entry))
        connection.execute(insert(audit_log).values(_row(entry)))
        new_head = {"number": entry.number, "hash": entry.hash}
        if head is None:
            connection.execute(insert(audit_head).values(id=_HEAD_ID, **new_head))
        else:
            connection.execute(update(audit_head).where(audit_head.c.id == _HEAD_ID).values(new_head))
    return entry


def select_audit_entries(
    store: AccessStore,
    *,
    limit: int = 100,
    before: int | None = None,
    subject: str | None = None,
    actor_id: UUID | None = None,
) -> list[AuditEntry]:
    """Up to `limit` entries, the newest first; those numbered below `before`, of one subject and actor, where given."""
    question = select(*audit_log.columns).order_by(audit_log.c.number.desc()).limit(limit)
    if before is not None:
        question = question.where(audit_log.c.number < before)
    if subject is not None:
        question = question.where(audit_log.c.subject == subject)
    if actor_id is not None:
        question = question.where(audit_log.c.actor_id == actor_id)
    with store.transaction("reading the audit log") as connection:
        return [_entry(row) for row in connection.execute(question)]


def verify_audit_log(store: AccessStore, *, remembered: tuple[int, str] | None = None) -> AuditVerdict:
    """Walk the whole chain: every entry as it was written, none missing, none added between, in the order written.

    Whoever may write the database can also write a new chain from any entry on, with its head. `remembered`, the number
    and hash of an entry noted elsewhere, finds that too, for everything up to it.
    """
    with store.transaction("verifying the audit log") as connection:
        if store.backend == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        return _verify(connection, remembered)


def _verify(connection: Connection, remembered: tuple[int, str] | None) -> AuditVerdict:
    head = connection.execute(select(*audit_head.columns).where(audit_head.c.id == _HEAD_ID)).one_or_none()
    head_number, head_hash = (0, FIRST_PREVIOUS_HASH) if head is None else (head.number, head.hash)
    number, previous_hash = 0, FIRST_PREVIOUS_HASH

    def broken(sentence: str) -> AuditVerdict:
        return AuditVerdict(n_entries=number, head_hash=previous_hash, broken_number=number + 1, sentence=sentence)

    while True:
        rows = connection.execute(
            select(*audit_log.columns)
            .where(audit_log.c.number > number)
            .order_by(audit_log.c.number)
            .limit(_ROWS_AT_ONCE)
        ).all()
        for row in rows:
            try:
                entry = _entry(row)
            except ValueError:
                return broken(f"Entry {number + 1} cannot be read.")
            if entry.number != number + 1:
                return broken(f"Entry {number + 1} is missing.")
            if entry.previous_hash != previous_hash:
                return broken(f"Entry {entry.number} does not follow the one before it.")
            if entry.hash != entry_hash(entry):
                return broken(f"Entry {entry.number} was changed after it was written.")
            if remembered is not None and remembered[0] == entry.number and remembered[1] != entry.hash:
                return broken(f"Entry {entry.number} is not the one whose hash was noted.")
            number, previous_hash = entry.number, entry.hash
        if len(rows) < _ROWS_AT_ONCE:
            break
    if number < head_number:
        return broken(f"Entries {number + 1} to {head_number} are missing at the end.")
    if (head_number, head_hash) != (number, previous_hash):
        return broken(f"The log goes on to entry {number}, but its head is remembered as entry {head_number}.")
    if remembered is not None and remembered[0] > number:
        return broken(f"Entry {remembered[0]}, whose hash was noted, is missing at the end.")
    return AuditVerdict(n_entries=number, head_hash=previous_hash)


def entry_hash(entry: AuditEntry) -> str:
    """The hash that an entry must carry."""
    fields = {
        "number": entry.number,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor_id": None if entry.actor_id is None else str(entry.actor_id),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": dict(entry.details),
        "previous_hash": entry.previous_hash,
    }
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "backslashreplace")).hexdigest()


def _storable(said: str) -> str:
    """Without what no database can hold: the NUL character and lone surrogates."""
    return said.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _row(entry: AuditEntry) -> dict[str, object]:
    return {
        "number": entry.number,
        "at": entry.at,
        "actor_id": entry.actor_id,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": json.dumps(dict(entry.details), sort_keys=True, ensure_ascii=False),
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        number=row.number,
        at=row.at,
        actor_id=row.actor_id,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        details=json.loads(row.details),
        previous_hash=row.previous_hash,
        hash=row.hash,
    )
