"""The audit log: appended to by many at once, and what of tampering is found."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import delete, insert, select, text, update

from core.access.access import Access
from core.config import REPOSITORY
from core.errors import StoreError
from core.store.access_schema import audit_head, audit_log
from core.store.access_store import open_access_store
from core.store.audit import entry_hash, insert_audit_entry, select_audit_entries, verify_audit_log
from tests.integration.access.people import make_admin

WRITER = """
import sys
from core.store.access_store import open_access_store
from core.store.audit import insert_audit_entry
store = open_access_store(sys.argv[1])
sys.stdin.readline()
for number in range(25):
    insert_audit_entry(store, actor_id=None, actor=sys.argv[2], action="test", subject=str(number), details={})
store.close()
"""


@pytest.fixture
def store(settings):
    """An access store with eight entries in its log."""
    with open_access_store(settings.access_location) as opened:
        for number in range(8):
            write(opened, f"subject {number}", colour="red", number=str(number))
        yield opened


def write(store, subject, **details):
    return insert_audit_entry(
        store, actor_id=uuid4(), actor="ada@example.org", action="test.write", subject=subject, details=details
    )


def unguarded(store, *statements):
    """Do what only somebody who may alter the schema can do."""
    triggers = (
        ["DROP TRIGGER audit_log_refuses_update", "DROP TRIGGER audit_log_refuses_delete"]
        if store.backend == "sqlite"
        else ["DROP TRIGGER audit_log_is_append_only ON audit_log"]
    )
    with store.transaction("tampering") as connection:
        for statement in [*map(text, triggers), *statements]:
            connection.execute(statement)


def rewritten_from(store, number, **changes):
    """A new chain from one entry on, with its head, as somebody who may write the whole database would make it."""
    entries = list(reversed(select_audit_entries(store)))
    previous, statements = None, []
    for entry in entries[number - 1 :]:
        if entry.number == number:
            entry = dataclasses.replace(entry, **changes)
        if previous is not None:
            entry = dataclasses.replace(entry, previous_hash=previous)
        previous = entry_hash(entry)
        statements.append(
            update(audit_log)
            .where(audit_log.c.number == entry.number)
            .values(subject=entry.subject, previous_hash=entry.previous_hash, hash=previous)
        )
    unguarded(store, *statements, update(audit_head).values(hash=previous))


def test_entries_are_numbered_and_chained(store):
    entries = list(reversed(select_audit_entries(store)))
    assert [entry.number for entry in entries] == list(range(1, 9))
    assert entries[0].previous_hash == "0" * 64
    for before, after in itertools.pairwise(entries):
        assert after.previous_hash == before.hash
    assert entries[3].details == {"colour": "red", "number": "3"}
    assert verify_audit_log(store).n_entries == 8
    assert verify_audit_log(store).head_hash == entries[-1].hash


def test_hash_is_what_the_documents_say(store):
    (entry,) = select_audit_entries(store, limit=1)
    canonical = (
        f'{{"action":"test.write","actor":"ada@example.org","actor_id":"{entry.actor_id}",'
        f'"at":"{entry.at.isoformat(timespec="microseconds")}","details":{{"colour":"red","number":"7"}},'
        f'"number":8,"previous_hash":"{entry.previous_hash}","subject":"subject 7"}}'
    )
    assert json.loads(canonical)["number"] == 8
    assert entry.hash == hashlib.sha256(canonical.encode()).hexdigest()


def test_empty_log_is_whole(settings):
    with open_access_store(settings.access_location) as store:
        assert verify_audit_log(store).n_entries == 0
        assert verify_audit_log(store).broken_number is None
        assert select_audit_entries(store) == []


def test_entries_are_read_newest_first_by_page_and_by_subject(store):
    assert [entry.number for entry in select_audit_entries(store, limit=3)] == [8, 7, 6]
    assert [entry.number for entry in select_audit_entries(store, limit=3, before=6)] == [5, 4, 3]
    assert [entry.number for entry in select_audit_entries(store, subject="subject 2")] == [3]


@pytest.mark.parametrize("change", [{"subject": "x"}, {"actor": "eve"}, {"details": "{}"}, {"hash": "0" * 64}])
def test_log_refuses_changes_and_deletions_by_statement(store, change):
    with pytest.raises(StoreError, match="only ever appended to"), store.transaction("changing") as connection:
        connection.execute(update(audit_log).where(audit_log.c.number == 3).values(change))
    with pytest.raises(StoreError, match="only ever appended to"), store.transaction("deleting") as connection:
        connection.execute(delete(audit_log).where(audit_log.c.number == 8))
    assert verify_audit_log(store).n_entries == 8


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "somebody else"},
        {"actor": "eve@example.org"},
        {"actor_id": None},
        {"action": "test.read"},
        {"details": '{"colour": "blue", "number": "2"}'},
        {"details": "not json"},
        {"previous_hash": "0" * 64},
        {"hash": "0" * 64},
    ],
    ids=str,
)
def test_edited_entry_is_found(store, change):
    unguarded(store, update(audit_log).where(audit_log.c.number == 3).values(change))
    verdict = verify_audit_log(store)
    assert (verdict.n_entries, verdict.broken_number) == (2, 3)
    assert "3" in verdict.sentence


def test_edited_time_is_found(store):
    (entry,) = select_audit_entries(store, limit=1)
    unguarded(store, update(audit_log).where(audit_log.c.number == 8).values(at=entry.at.replace(microsecond=1)))
    assert verify_audit_log(store).broken_number == 8


@pytest.mark.parametrize("number", [1, 4])
def test_deleted_entry_is_found(store, number):
    unguarded(store, delete(audit_log).where(audit_log.c.number == number))
    verdict = verify_audit_log(store)
    assert verdict.broken_number == number
    assert "missing" in verdict.sentence


def test_deleted_entry_whose_followers_moved_up_is_found(store):
    moved = [update(audit_log).where(audit_log.c.number == n).values(number=n - 1) for n in range(5, 9)]
    unguarded(store, delete(audit_log).where(audit_log.c.number == 4), *moved)
    assert verify_audit_log(store).broken_number == 4


def test_swapped_entries_are_found(store):
    numbers = [(3, 100), (4, 3), (100, 4)]
    unguarded(store, *(update(audit_log).where(audit_log.c.number == a).values(number=b) for a, b in numbers))
    assert verify_audit_log(store).broken_number == 3


def test_entry_put_between_is_found(store):
    (newest,) = select_audit_entries(store, limit=1)
    row = {
        "number": 9,
        "at": newest.at,
        "actor": "eve",
        "action": "x",
        "subject": "y",
        "details": "{}",
        "previous_hash": newest.hash,
        "hash": "1" * 64,
    }
    unguarded(store, insert(audit_log).values(row))
    assert verify_audit_log(store).broken_number == 9


def test_entries_missing_at_the_end_are_found_by_the_head(store):
    unguarded(store, delete(audit_log).where(audit_log.c.number > 5))
    verdict = verify_audit_log(store)
    assert verdict.broken_number == 6
    assert verdict.sentence == "Entries 6 to 8 are missing at the end."


def test_log_emptied_but_for_its_head_is_found(store):
    unguarded(store, delete(audit_log))
    assert verify_audit_log(store).broken_number == 1


def test_end_cut_off_with_its_head_is_found_by_what_was_noted_elsewhere(store):
    entries = {entry.number: entry for entry in select_audit_entries(store)}
    unguarded(
        store,
        delete(audit_log).where(audit_log.c.number > 5),
        update(audit_head).values(number=5, hash=entries[5].hash),
    )
    assert verify_audit_log(store).broken_number is None  # nobody inside the database can tell
    verdict = verify_audit_log(store, remembered=(8, entries[8].hash))
    assert verdict.broken_number == 6
    assert "noted" in verdict.sentence


def test_chain_made_anew_is_found_by_what_was_noted_elsewhere(store):
    noted = {entry.number: entry.hash for entry in select_audit_entries(store)}
    rewritten_from(store, 4, subject="nothing happened")
    assert verify_audit_log(store).broken_number is None  # nobody inside the database can tell
    assert verify_audit_log(store, remembered=(8, noted[8])).broken_number == 8
    assert verify_audit_log(store, remembered=(3, noted[3])).broken_number is None


def test_noted_entry_stays_good_while_the_log_goes_on(store):
    (noted,) = select_audit_entries(store, limit=1)
    write(store, "later")
    assert verify_audit_log(store, remembered=(noted.number, noted.hash)).n_entries == 9


def test_what_no_database_holds_is_left_out(store):
    entry = write(store, "nul \0 and \udc80", **{"lone \udfff": "\0"})
    assert entry.subject == "nul  and ?"
    assert select_audit_entries(store, limit=1) == [entry]
    assert verify_audit_log(store).n_entries == 9


def test_more_entries_than_are_read_at_once_are_verified(store, monkeypatch):
    monkeypatch.setattr("core.store.audit._ROWS_AT_ONCE", 3)
    assert verify_audit_log(store).n_entries == 8
    write(store, "ninth")
    assert verify_audit_log(store).n_entries == 9


def test_threads_that_write_at_once_make_one_chain(store):
    start = threading.Barrier(6)

    def write_some(writer):
        start.wait()
        for number in range(15):
            write(store, f"{writer} {number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write_some, range(6)))
    assert verify_audit_log(store).n_entries == 8 + 6 * 15


def test_processes_that_write_at_once_make_one_chain(store, settings):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, settings.access_location, f"writer {number}"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for number in range(25):
        write(store, f"own {number}")
    for child in children:
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, said
    assert verify_audit_log(store).n_entries == 8 + 3 * 25
    actors = [entry.actor for entry in select_audit_entries(store, limit=1000)]
    assert {actors.count(f"writer {number}") for number in range(2)} == {25}


def test_change_that_fails_leaves_no_entry_and_entry_that_fails_no_change(access, monkeypatch):
    admin = make_admin(access)
    n_before = verify_audit_log(access.store).n_entries

    def failing(*_, **__):
        raise StoreError("writing the audit log", "the disk is full")

    monkeypatch.setattr("core.access.ground.insert_audit_entry", failing)
    with pytest.raises(StoreError):
        access.change_plan(admin.user.id, "pro", by=admin)
    assert access.user(admin.user.id).plan == "free"
    monkeypatch.undo()
    monkeypatch.setattr("core.access.accounts.update_user", failing)
    with pytest.raises(StoreError):
        access.change_plan(admin.user.id, "pro", by=admin)
    assert verify_audit_log(access.store).n_entries == n_before


def test_actor_is_the_caller_or_else_the_process(access):
    admin = make_admin(access)
    assert access.audit("model.install", "whisper", admin, version="w-1").actor_id == admin.user.id
    assert access.audit("model.install", "whisper", None).actor == "telepathy"
    on_the_machine = Access.open(access.settings, process="command line")
    entry = on_the_machine.audit("model.install", "whisper", None, n=3)
    assert (entry.actor_id, entry.actor, entry.details) == (None, "command line", {"n": "3"})
    on_the_machine.close()


def test_head_is_one_row(store):
    with store.transaction("looking") as connection:
        assert connection.execute(select(audit_head.c.id, audit_head.c.number)).all() == [(1, 8)]
