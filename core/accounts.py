"""All that is held on somebody: to hand over as one file, or to delete."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO
from uuid import UUID

from core.domain import NOBODY, PROCESS, AuditEntry, Caller, Job, Reader, Recording
from core.errors import UnknownRecordingError
from core.jobs.jobs import MAX_JOBS
from core.reports.usage_csv import usage_csv
from core.store.audit import select_audit_entries
from core.store.batches import select_batch_rows, select_batches
from core.store.idempotency import delete_idempotency_keys_of
from core.store.labelling import select_decisions_by, select_ratings_by, update_notes_of
from core.store.predictions import MAX_PAGE_ROWS, PredictionRow, select_predictions
from core.store.projects import delete_project, delete_user, select_consents, select_projects
from core.store.recordings import select_recordings, update_recording_project
from core.store.report_schedules import delete_report_schedule, select_report_schedules
from core.store.sessions import select_sessions
from core.store.webhooks import MAX_ROWS
from core.workbench import Workbench

_AT_ONCE = 500
_MOST_AUDIT_ENTRIES = 10_000

README = """All that Telepathy holds on you.

account.json      your account, API keys (never the keys themselves), sessions that have not ended, projects, and what
                  you agreed to
audit.json        what the audit log says of you or by you: the newest 10,000 entries of each
recordings.json   your recordings
predictions.json  what was answered about them
webhooks.json     your webhooks (never their secrets), and the newest 1,000 messages to each
reports.json      your scheduled reports
ratings.json      what you said of recordings as an annotator, and decided as a reviewer, in the order you did
data-sets.json    the data sets you sent to have models learn from them, with the label of each clip
batches.json      the batches you sent, with the first 1,000 names in each and what came of them
jobs.json         what was done for you in the background: batches, reports, retrainings, the newest 500
usage.csv         the newest 100,000 lines of the usage ledger about you: what you called, when, and the answer
recordings/       their sound, as you sent it, under the id of each
"""


def write_account_export(workbench: Workbench, user_id: UUID, file: BinaryIO) -> None:
    """Write a ZIP of all that is held on somebody to `file`, as it is read: recordings one by one.

    Raises
    ------
    UnknownUserError
        There is no such account.
    StoreError
        Something cannot be read.
    """
    access, now = workbench.access, datetime.now(UTC)
    account = {
        "exported_at": now,
        "account": access.user(user_id),
        "api_keys": access.keys_of(user_id),
        "sessions": select_sessions(access.store, user_id=user_id, at=now),
        "projects": select_projects(access.store, user_id=user_id),
        "consents": select_consents(access.store, user_id=user_id),
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", README)
        archive.writestr("account.json", _json(account))
        archive.writestr("audit.json", _json(_audit_entries_about(workbench, user_id)))
        _write_list(archive, "recordings.json", _recordings_of(workbench, user_id))
        _write_list(archive, "predictions.json", _predictions_of(workbench, user_id))
        archive.writestr("batches.json", _json(_batches_of(workbench, user_id)))
        archive.writestr("jobs.json", _json(_jobs_of(workbench, user_id)))
        archive.writestr("data-sets.json", _json(workbench.data_sets.list_data_sets(reader=Reader(user_id=user_id))))
        archive.writestr("webhooks.json", _json(_webhooks_of(workbench, user_id)))
        schedules = select_report_schedules(workbench.store, reader=Reader(user_id=user_id))
        archive.writestr("reports.json", _json(schedules))
        archive.writestr("ratings.json", _json(_said_by(workbench, user_id)))
        with archive.open("usage.csv", "w") as usage:
            for lines in usage_csv(workbench.store, reader=Reader(user_id=user_id)):
                usage.write(lines.encode())
        for recording in _recordings_of(workbench, user_id):
            if workbench.recording_files.exists(recording.sha256):
                data = workbench.recording_files.read(recording.sha256)
                archive.writestr(
                    f"recordings/{recording.id}.{recording.format.container.lower()}", data, zipfile.ZIP_STORED
                )


def delete_account(workbench: Workbench, user_id: UUID, *, by: Caller | None) -> None:
    """Delete an account with its webhooks, recordings, predictions, keys, sessions and projects. The audit log stays.

    Its sessions and keys end first, so that nothing is added meanwhile. What others recorded in its projects is seen by
    each of them alone from then on. What they said of others' recordings stays as labels under an id that names nobody;
    the notes beside them go.

    Raises
    ------
    UnknownUserError
        There is no such account.
    ForbiddenError
        It is another's, and `by` is no admin.
    LastAdminError
        Nobody would be left who can administer.
    StoreError
        Something could not be deleted. The account stays disabled, and an admin who tries again goes on.
    """
    access = workbench.access
    access.end_account(user_id, by=by)
    workbench.webhooks.delete_all(user_id)
    workbench.batches.forget_all(reader=Reader(user_id=user_id))
    delete_idempotency_keys_of(workbench.store, reader=Reader(user_id=user_id))
    if workbench.jobs.is_running:
        workbench.jobs.forget_all(user_id)
    workbench.models.forget_person(access.user(user_id))
    workbench.data_sets.forget_all(user_id=user_id)
    n_recordings = 0
    while n_deleted := _delete_recordings_of(workbench, user_id):  # until those are gone that were on their way
        n_recordings += n_deleted
    for schedule in select_report_schedules(workbench.store, reader=Reader(user_id=user_id)):
        delete_report_schedule(workbench.store, schedule_id=schedule.id, reader=Reader(user_id=user_id))
    for project in select_projects(access.store, user_id=user_id):
        if project.owner_id == user_id:
            for recording in _recordings_in(workbench, PROCESS, project.id):
                update_recording_project(
                    workbench.store,
                    recording_id=recording.id,
                    project_id=None,
                    reader=PROCESS,
                    kept_for=workbench.kept_for,
                )
            delete_project(access.store, project_id=project.id)
    update_notes_of(workbench.store, user_id=user_id)
    with access.store.exclusive("deleting an account"):
        delete_user(access.store, user_id=user_id)
        access.audit("account.delete", str(user_id), by, recordings=n_recordings)


def _delete_recordings_of(workbench: Workbench, user_id: UUID) -> int:
    n_deleted = 0
    for recording in _recordings_of(workbench, user_id):
        try:
            workbench.delete_recording(recording.id, reader=PROCESS)
        except UnknownRecordingError:
            continue
        n_deleted += 1
    return n_deleted


def _webhooks_of(workbench: Workbench, user_id: UUID) -> list[dict[str, object]]:
    webhooks = workbench.webhooks
    webhooks.flush()
    return [
        {
            "webhook": endpoint,
            "deliveries": webhooks.deliveries(endpoint.id, owner_id=user_id, limit=MAX_ROWS),
        }
        for endpoint in webhooks.endpoints(user_id)
    ]


def _jobs_of(workbench: Workbench, user_id: UUID) -> list[Job]:
    """Of a process that works on jobs: no other can read them."""
    if not workbench.jobs.is_running:
        return []
    return workbench.jobs.list_jobs(reader=Reader(user_id=user_id), limit=MAX_JOBS)


def _recordings_of(workbench: Workbench, user_id: UUID) -> Iterator[Recording]:
    """One's own recordings: outside projects, and in those that are or were shared with one."""
    reader = Reader(user_id=user_id)
    yield from _recordings_in(workbench, reader, None)
    for project in select_projects(workbench.access.store):
        yield from _recordings_in(workbench, reader, project.id)


def _recordings_in(workbench: Workbench, reader: Reader, project_id: UUID | None) -> Iterator[Recording]:
    after = NOBODY
    while True:
        some = select_recordings(workbench.store, reader=reader, project_id=project_id, after=after, limit=_AT_ONCE)
        yield from some
        if len(some) < _AT_ONCE:
            return
        after = some[-1].id


def _predictions_of(workbench: Workbench, user_id: UUID) -> Iterator[PredictionRow]:
    cursor: str | None = None
    while True:
        reader = Reader(user_id=user_id)
        page = select_predictions(workbench.store, reader=reader, limit=MAX_PAGE_ROWS, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _said_by(workbench: Workbench, user_id: UUID) -> dict[str, object]:
    return {
        "ratings": select_ratings_by(workbench.store, user_id=user_id),
        "decisions": select_decisions_by(workbench.store, user_id=user_id),
    }


def _batches_of(workbench: Workbench, user_id: UUID) -> list[dict[str, object]]:
    reader, found = Reader(user_id=user_id), list[dict[str, object]]()
    before: UUID | None = None
    while some := select_batches(workbench.store, reader=reader, limit=_AT_ONCE, before=before):
        for batch in some:
            rows = select_batch_rows(workbench.store, batch_id=batch.id, reader=reader, limit=MAX_PAGE_ROWS)
            outcomes = [(row.name, row.emotion or row.problem) for row in rows]
            found.append({"id": batch.id, "name": batch.name, "sent_at": batch.created_at, "outcomes": outcomes})
        before = some[-1].id
    return found


def _audit_entries_about(workbench: Workbench, user_id: UUID) -> list[AuditEntry]:
    store, email = workbench.access.store, workbench.access.user(user_id).email
    entries = [
        *select_audit_entries(store, limit=_MOST_AUDIT_ENTRIES, actor_id=user_id),
        *select_audit_entries(store, limit=_MOST_AUDIT_ENTRIES, subject=email),
        *select_audit_entries(store, limit=_MOST_AUDIT_ENTRIES, subject=str(user_id)),
    ]
    by_number = {entry.number: entry for entry in entries}
    return [by_number[number] for number in sorted(by_number)]


def _json(what: object) -> str:
    return json.dumps(what, default=_plain, ensure_ascii=False, indent=1)


def _write_list(archive: zipfile.ZipFile, name: str, items: Iterable[object]) -> None:
    """One item after the other: of a million, one is in memory."""
    with archive.open(name, "w") as file:
        separator = "["
        for item in items:
            file.write(f"{separator}\n{_json(item)}".encode())
            separator = ","
        file.write(b"[]" if separator == "[" else b"\n]")


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return sorted(value) if isinstance(value, frozenset) else str(value)
