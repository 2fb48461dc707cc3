"""Purposes, consent, retention, export and deletion, over a workbench with each database."""

from __future__ import annotations

import io
import json
import random
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core import accounts
from core.access.roles import ROLE_SCOPES
from core.accounts import delete_account, write_account_export
from core.batches import Submitted
from core.config import Settings
from core.domain import NOBODY, PROCESS, Caller, JobState, Purpose, Reader, Role, Source
from core.errors import (
    ConsentNeededError,
    ForbiddenError,
    InvalidCredentialsError,
    InvalidParameterError,
    LastAdminError,
    PurposeRefusedError,
    UnknownProjectError,
    UnknownUserError,
)
from core.identifiers import new_id
from core.kept_answers import KeptAnswer
from core.retention import delete_expired, delete_stray_sounds
from core.store.audit import select_audit_entries, verify_audit_log
from core.store.predictions import count_predictions
from core.store.projects import delete_project
from core.store.recordings import count_recordings, insert_recording, select_recording, select_recordings_by_id
from core.usage import Call, noting
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.callers import key_header, make_user
from tests.factories import make_recording
from tests.prepared_stores import prepared
from tests.sounds import voice_wav
from tests.waiting import wait_until

WAV = voice_wav(seconds=1.2)
EXPORTED = (
    "account",
    "audit",
    "batches",
    "data-sets",
    "jobs",
    "predictions",
    "ratings",
    "recordings",
    "reports",
    "webhooks",
)


@pytest.fixture
def workbench(tmp_path, store_url):
    url = store_url if store_url.startswith("postgresql") else ""
    opened = open_workbench(Settings(data_dir=prepared(tmp_path), models_dir=TINY.parent, model="tiny", store_url=url))
    yield opened
    opened.close()


@pytest.fixture
def caller(workbench):
    """Who asks with a new key of a new account in `role`."""

    def make(role: Role = Role.ANALYST) -> Caller:
        return workbench.access.caller_of_key(key_header(workbench, role=role, scopes=ROLE_SCOPES[role])["X-API-Key"])

    return make


def again(workbench, caller: Caller) -> Caller:
    """The same caller, as they are now."""
    return workbench.access.caller_of_key(key_header(workbench, user=caller.user, scopes=caller.scopes)["X-API-Key"])


def test_forbidden_purposes_are_refused_unless_an_admin_says_why_they_are_lawful(workbench, caller):
    analyst, admin = caller(), caller(Role.ADMIN)
    for purpose in (Purpose.WORKPLACE, Purpose.EDUCATION):
        for by, exception in ((analyst, ""), (analyst, "pilots fall asleep"), (admin, ""), (admin, "   ")):
            with pytest.raises(PurposeRefusedError, match=r"Article 5\(1\)\(f\)"):
                workbench.projects.create("Moods", purpose, by=by, exception=exception)
    assert workbench.projects.list_for(PROCESS) == []
    made = workbench.projects.create("Cockpit", Purpose.WORKPLACE, by=admin, exception="pilots fall asleep")
    assert (made.exception, made.exception_by) == ("pilots fall asleep", admin.user.email)
    [entry] = select_audit_entries(workbench.access.store, subject=str(made.id))
    assert (entry.action, entry.details["exception"]) == ("project.create", "pilots fall asleep")
    assert workbench.projects.create("Voices", Purpose.RESEARCH, by=analyst, exception="unasked").exception == ""


@pytest.mark.parametrize(
    "given", [{"name": " "}, {"name": "x" * 101}, {"name": "a\0b"}, {"retention_days": 0}, {"purpose_note": "x" * 1001}]
)
def test_project_with_values_out_of_place_is_refused(workbench, caller, given):
    with pytest.raises(InvalidParameterError):
        workbench.projects.create(**{"name": "x", "purpose": Purpose.RESEARCH, "by": caller()} | given)


def test_project_is_shared_by_its_owner_and_seen_by_members_alone(workbench, caller):
    owner, member, stranger = caller(), caller(), caller()
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=owner)
    sent = workbench.analyse(WAV, name="a.wav", source=Source.API, owner=owner.user.id, project_id=project.id)
    for refused in (member, stranger):
        with pytest.raises(UnknownProjectError):
            workbench.projects.add_member(project.id, refused.user.email, by=refused)
    workbench.projects.add_member(project.id, f" {member.user.email.upper()} ", by=owner)
    workbench.projects.add_member(project.id, member.user.email, by=owner)
    member = again(workbench, member)
    assert workbench.projects.members(project.id, member.reader) == [owner.user, member.user]
    assert select_recording(workbench.store, recording_id=sent.recording.id, reader=member.reader) == sent.recording
    for change in (
        lambda: workbench.projects.change_retention(project.id, 1, by=member),
        lambda: workbench.projects.add_member(project.id, stranger.user.email, by=member),
        lambda: workbench.projects.remove_member(project.id, stranger.user.id, by=member),
    ):
        with pytest.raises(ForbiddenError):
            change()
    with pytest.raises(UnknownUserError):
        workbench.projects.add_member(project.id, "nobody@example.org", by=owner)
    workbench.projects.remove_member(project.id, member.user.id, by=member)
    member = again(workbench, member)
    assert workbench.projects.list_for(member.reader) == []
    assert select_recording(workbench.store, recording_id=sent.recording.id, reader=member.reader) is None
    assert workbench.projects.find(project.id, PROCESS) == project


def test_nobody_records_before_they_agreed_and_then_is_not_asked_again(workbench, caller):
    somebody, other = caller(), caller()
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=somebody)
    somebody = again(workbench, somebody)
    with pytest.raises(ConsentNeededError, match="Voices"):
        workbench.projects.require_consent(somebody, project.id)
    workbench.projects.require_consent(somebody, project.id, agrees=True)
    workbench.projects.require_consent(somebody, project.id)
    workbench.projects.agree(somebody.user.id, project.id)
    with pytest.raises(UnknownProjectError):
        workbench.projects.require_consent(other, project.id, agrees=True)
    assert not workbench.projects.has_agreed(other.user.id, project.id)
    assert workbench.projects.has_agreed(somebody.user.id, project.id)


def test_recordings_are_deleted_when_their_time_is_over_and_others_are_not(workbench, caller):
    owner = caller()
    short = workbench.projects.create("Short", Purpose.RESEARCH, by=owner, retention_days=1)
    kept = workbench.projects.create("Kept", Purpose.RESEARCH, by=owner)
    sent = {
        project_id: workbench.analyse(
            voice_wav(seconds=1.2, pitch_hz=pitch_hz),
            name="a",
            source=Source.API,
            owner=owner.user.id,
            project_id=project_id,
        ).recording
        for project_id, pitch_hz in ((short.id, 100.0), (kept.id, 120.0), (None, 140.0))
    }
    now = datetime.now(UTC)
    assert delete_expired(workbench, now + timedelta(hours=23)) == 0
    assert delete_expired(workbench, now + timedelta(days=2)) == 1
    assert not workbench.recording_files.exists(sent[short.id].sha256)
    assert count_predictions(workbench.store, reader=PROCESS) == 2
    [entry] = select_audit_entries(workbench.access.store, subject=str(short.id), limit=1)
    assert (entry.action, entry.details) == ("recordings.expire", {"recordings": "1", "days": "1"})
    workbench.settings = replace(workbench.settings, retention_days=30)
    assert delete_expired(workbench, now + timedelta(days=31)) == 1
    assert select_recording(workbench.store, recording_id=sent[kept.id].id, reader=PROCESS) is not None
    assert count_recordings(workbench.store, reader=PROCESS) == 1
    assert delete_expired(workbench, now + timedelta(days=31)) == 0


def test_period_counts_from_when_a_recording_was_first_sent_even_if_it_is_sent_again(workbench, caller):
    owner = caller()
    project = workbench.projects.create("Short", Purpose.RESEARCH, by=owner, retention_days=7)
    first_sent = datetime.now(UTC) - timedelta(days=5)
    old = make_recording(owner_id=owner.user.id, created_at=first_sent)
    insert_recording(workbench.store, recording=old)
    again = replace(old, id=new_id(), project_id=project.id, created_at=datetime.now(UTC))
    kept = insert_recording(workbench.store, recording=again)
    assert (kept.id, kept.project_id, kept.created_at) == (old.id, project.id, old.created_at)
    assert delete_expired(workbench, first_sent + timedelta(days=6, hours=23)) == 0
    assert delete_expired(workbench, first_sent + timedelta(days=7, hours=1)) == 1


def test_recording_is_kept_for_the_shortest_period_of_all_places_it_was_in(workbench, caller):
    """Whoever spoke was told the shorter one."""
    owner = caller()
    workbench.settings = replace(workbench.settings, retention_days=30)
    short = workbench.projects.create("Short", Purpose.RESEARCH, by=owner, retention_days=7)
    long = workbench.projects.create("Long", Purpose.RESEARCH, by=owner, retention_days=365)
    ever = workbench.projects.create("Ever", Purpose.RESEARCH, by=owner)
    sent = datetime.now(UTC)
    ways = {7: (short, long), 8: (long, short, ever), 30: (None, long), 31: (None, ever), 365: (long, ever)}
    recordings = {}
    for seed, (days, way) in enumerate(ways.items()):
        first = make_recording(f"sound {seed}", owner_id=owner.user.id, created_at=sent)
        for number, project in enumerate(way):
            place = None if project is None else project.id
            again = replace(first, id=new_id() if number else first.id, project_id=place)
            kept = insert_recording(workbench.store, recording=again, kept_for=workbench.kept_for)
            assert (kept.id, kept.project_id) == (first.id, place)
        recordings[first.id] = min(days, 7 if short in way else 365, 30 if None in way else 365)
    assert sorted(recordings.values()) == [7, 7, 30, 30, 365]

    def left() -> list[int]:
        found = select_recordings_by_id(workbench.store, recording_ids=list(recordings), reader=PROCESS)
        return sorted(recordings[recording_id] for recording_id in found)

    assert delete_expired(workbench, sent + timedelta(days=6, hours=23)) == 0
    assert delete_expired(workbench, sent + timedelta(days=7, minutes=1)) == 2
    assert left() == [30, 30, 365]
    assert delete_expired(workbench, sent + timedelta(days=29, hours=23)) == 0
    assert delete_expired(workbench, sent + timedelta(days=30, minutes=1)) == 2
    assert left() == [365]
    assert delete_expired(workbench, sent + timedelta(days=364, hours=23)) == 0
    assert delete_expired(workbench, sent + timedelta(days=365, minutes=1)) == 1


def test_analysis_and_batch_know_how_long_a_recording_is_kept_where_it_was(workbench, caller):
    owner = caller()
    short = workbench.projects.create("Short", Purpose.RESEARCH, by=owner, retention_days=7)
    long = workbench.projects.create("Long", Purpose.RESEARCH, by=owner, retention_days=365)
    for project in (short, long):
        workbench.projects.agree(owner.user.id, project.id)
        workbench.analyse(WAV, name="a.wav", source=Source.API, owner=owner.user.id, project_id=project.id)
    workbench.jobs.start(polling_interval_s=0.02)
    others = (voice_wav(seconds=1.0, pitch_hz=170), voice_wav(seconds=1.0, pitch_hz=180))
    for project, sounds, n_passes in ((short, others[:1], 5), (long, others, 5), (long, others[:1], 6)):
        call = Call(route="/api/v1/batches", method="POST", caller=owner, request_id="r", address="")
        submitted = [Submitted(name="b.wav", data=sound) for sound in sounds]
        made = workbench.batches.create(
            submitted, caller=owner, call=call, source=Source.API, project_id=project.id, n_passes=n_passes
        )
        wait_until(lambda made=made: workbench.batches.status(made.batch.id, reader=PROCESS).state.has_ended)
    assert count_recordings(workbench.store, reader=PROCESS) == 3
    assert delete_expired(workbench, datetime.now(UTC) + timedelta(days=7, minutes=1)) == 2


def test_recording_of_a_project_that_is_deleted_is_kept_no_longer_than_there(workbench, caller):
    owner, member = caller(), caller()
    project = workbench.projects.create("Short", Purpose.RESEARCH, by=owner, retention_days=7)
    workbench.projects.add_member(project.id, member.user.email, by=owner)
    workbench.analyse(WAV, name="a.wav", source=Source.API, owner=member.user.id, project_id=project.id)
    delete_account(workbench, owner.user.id, by=None)
    assert delete_expired(workbench, datetime.now(UTC) + timedelta(days=6)) == 0
    assert delete_expired(workbench, datetime.now(UTC) + timedelta(days=8)) == 1


def test_kept_answers_go_with_the_recording_they_tell_of(workbench, caller):
    somebody = caller()
    gone, stays = (
        workbench.analyse(sound, name="a.wav", source=Source.API, owner=somebody.user.id).recording
        for sound in (WAV, voice_wav(seconds=1.0, pitch_hz=170))
    )
    for key, recording in (("gone", gone), ("stays", stays)):
        workbench.kept_answers.take(somebody, key)
        body = json.dumps({"recording_id": str(recording.id)})
        answer = KeptAnswer(fingerprint="f", n_bytes=1, status=200, headers={}, body=body)
        workbench.kept_answers.keep(somebody, key, answer)
    workbench.delete_recording(gone.id, reader=somebody.reader)
    assert [workbench.kept_answers.find(somebody, key) is not None for key in ("gone", "stays")] == [False, True]
    delete_account(workbench, somebody.user.id, by=None)
    assert workbench.kept_answers.find(somebody, "stays") is None


def test_jobs_of_somebody_are_exported_and_go_with_the_account(workbench, caller):
    somebody, other = caller(), caller()
    workbench.jobs.start(polling_interval_s=0.02)
    call = Call(route="/api/v1/batches", method="POST", caller=somebody, request_id="r", address="")
    submitted = [Submitted(name="my own.wav", data=WAV)]
    made = workbench.batches.create(submitted, caller=somebody, call=call, source=Source.API)
    wait_until(lambda: workbench.batches.status(made.batch.id, reader=PROCESS).state.has_ended)
    wait_until(lambda: not workbench.jobs._runs)

    def exported(user_id) -> list[dict]:
        file = io.BytesIO()
        write_account_export(workbench, user_id, file)
        return json.loads(zipfile.ZipFile(file).read("jobs.json"))

    [job] = exported(somebody.user.id)
    assert (job["kind"], "my own.wav" in job["title"]) == ("batch", True)
    assert exported(other.user.id) == []
    delete_account(workbench, somebody.user.id, by=None)
    assert workbench.jobs.list_jobs(reader=somebody.reader) == []


def test_what_is_over_is_deleted_at_the_start_and_every_hour(workbench, caller):
    project = workbench.projects.create("Short", Purpose.RESEARCH, by=caller(), retention_days=1)
    old = datetime.now(UTC) - timedelta(days=2)
    recording = make_recording(owner_id=project.owner_id, project_id=project.id, created_at=old)
    insert_recording(workbench.store, recording=recording)
    workbench.jobs.start(polling_interval_s=0.02)
    wait_until(lambda: count_recordings(workbench.store, reader=PROCESS) == 0)
    wait_until(lambda: [job.state for job in workbench.jobs.list_jobs(reader=PROCESS)] == [JobState.SUCCEEDED])
    [job] = workbench.jobs.list_jobs(reader=PROCESS)
    assert (job.title, [line.sentence for line in job.log]) == (
        "Deleting what is over",
        ["Recordings deleted: 1."],
    )
    workbench.jobs.forget_ended(datetime.now(UTC) + timedelta(hours=1))
    assert len(workbench.jobs.list_jobs(reader=PROCESS)) == 1
    workbench.jobs.forget_ended(datetime.now(UTC) + timedelta(days=2))
    assert workbench.jobs.list_jobs(reader=PROCESS) == []


def keep_expired(workbench, owner_id, *, n: int) -> None:
    old = datetime.now(UTC) - timedelta(days=2)
    for number in range(n):
        recording = make_recording(owner_id=owner_id, sha256=f"{number:064x}", created_at=old)
        insert_recording(workbench.store, recording=recording)


def test_deletion_of_what_is_over_stops_between_two_recordings(workbench, caller):
    workbench.settings = replace(workbench.settings, retention_days=1)
    keep_expired(workbench, caller().user.id, n=3)
    answers = iter([False, True])
    assert delete_expired(workbench, datetime.now(UTC), is_stopping=lambda: next(answers)) == 1
    assert count_recordings(workbench.store, reader=PROCESS) == 2
    [entry] = select_audit_entries(workbench.access.store, subject="outside projects", limit=1)
    assert entry.details["recordings"] == "1"


def test_a_mistake_while_deleting_is_a_failed_job_and_the_next_one_goes_on(workbench, caller, monkeypatch):
    workbench.settings = replace(workbench.settings, retention_days=1)
    keep_expired(workbench, caller().user.id, n=1)
    working = workbench.recording_files.exists

    def exists(sha256: str) -> bool:
        monkeypatch.setattr(workbench.recording_files, "exists", working)
        raise RuntimeError("a mistake")

    monkeypatch.setattr(workbench.recording_files, "exists", exists)
    workbench.jobs.start(polling_interval_s=0.02)
    wait_until(lambda: [job.state for job in workbench.jobs.list_jobs(reader=PROCESS)] == [JobState.FAILED])
    workbench.jobs.enqueue("retention", owner=NOBODY)
    wait_until(lambda: count_recordings(workbench.store, reader=PROCESS) == 0)


def test_export_holds_everything_of_somebody_and_nothing_of_others(workbench, caller):
    somebody, other = caller(), caller()
    project = workbench.projects.create("Größe", Purpose.RESEARCH, by=somebody)
    workbench.projects.agree(somebody.user.id, project.id)
    mine = [
        workbench.analyse(
            voice_wav(seconds=1.2, pitch_hz=pitch_hz),
            name="mine.wav",
            source=Source.API,
            owner=somebody.user.id,
            project_id=project_id,
        )
        for pitch_hz, project_id in ((100.0, None), (130.0, project.id))
    ]
    workbench.analyse(WAV, name="other.wav", source=Source.API, owner=other.user.id)
    for each in (somebody, other):
        call = Call(route="/api/v1/predict", method="POST", caller=each, request_id="1", address="203.0.113.7")
        with noting(workbench.usage, call):
            pass
    assert workbench.usage.flush()
    file = io.BytesIO()
    write_account_export(workbench, somebody.user.id, file)
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        account, audit, recordings, predictions = (
            json.loads(archive.read(f"{name}.json")) for name in ("account", "audit", "recordings", "predictions")
        )
        usage = archive.read("usage.csv").decode()
        sounds = [archive.read(f"recordings/{each.recording.id}.wav") for each in mine]
        whole = b"".join(archive.read(name) for name in names)
    assert {name for name in names if not name.startswith("recordings/")} == {
        "README.txt",
        "usage.csv",
        *(f"{name}.json" for name in EXPORTED),
    }
    assert len([name for name in names if name.startswith("recordings/")]) == len(mine)
    [_, line] = usage.splitlines()
    assert "/api/v1/predict" in line
    assert str(somebody.user.id) in line
    assert account["account"]["email"] == somebody.user.email
    assert account["projects"][0]["name"] == "Größe"
    assert [each["project_id"] for each in account["consents"]].count(str(project.id)) == 1
    assert {each["id"] for each in recordings} == {str(each.recording.id) for each in mine}
    assert {each["id"] for each in predictions} == {str(each.prediction.id) for each in mine}
    assert sounds == [voice_wav(seconds=1.2, pitch_hz=pitch_hz) for pitch_hz in (100.0, 130.0)]
    assert audit
    assert account["api_keys"][0]["last_four"]
    for secret in (b"key_hash", b"password_hash", b"$argon2"):
        assert secret not in whole
    assert other.user.email.encode() not in whole
    assert b"other.wav" not in whole


def test_export_is_written_as_it_is_read(workbench, caller, monkeypatch):
    file, positions = io.BytesIO(), []

    def many(_workbench, _user_id):
        for number in range(400):
            positions.append(file.tell())
            yield make_recording(name=random.Random(number).randbytes(2_000).hex())

    monkeypatch.setattr(accounts, "_recordings_of", many)
    write_account_export(workbench, caller().user.id, file)
    assert positions[0] < positions[200] < positions[399]
    with zipfile.ZipFile(file) as archive:
        assert len(json.loads(archive.read("recordings.json"))) == 400
        assert json.loads(archive.read("predictions.json")) == []


def test_deleting_an_account_leaves_nothing_but_the_audit_log(workbench, caller):
    somebody, member, admin = caller(), caller(), caller(Role.ADMIN)
    project = workbench.projects.create("Voices", Purpose.RESEARCH, by=somebody)
    workbench.projects.add_member(project.id, member.user.email, by=somebody)
    workbench.access.start_session(somebody.user, address="127.0.0.1", user_agent="a test")
    mine = workbench.analyse(WAV, name="a.wav", source=Source.API, owner=somebody.user.id, project_id=project.id)
    theirs = workbench.analyse(
        voice_wav(seconds=1.2, pitch_hz=190.0),
        name="b.wav",
        source=Source.API,
        owner=member.user.id,
        project_id=project.id,
    )
    with pytest.raises(ForbiddenError):
        delete_account(workbench, somebody.user.id, by=member)
    delete_account(workbench, somebody.user.id, by=somebody)
    with pytest.raises(UnknownUserError):
        workbench.access.user(somebody.user.id)
    assert not workbench.recording_files.exists(mine.recording.sha256)
    left = select_recording(workbench.store, recording_id=theirs.recording.id, reader=Reader(user_id=member.user.id))
    assert left.project_id is None
    assert count_recordings(workbench.store, reader=PROCESS) == 1
    [entry, *_] = select_audit_entries(workbench.access.store, subject=str(somebody.user.id))
    assert (entry.action, entry.actor, entry.details) == ("account.delete", somebody.user.email, {"recordings": "1"})
    assert verify_audit_log(workbench.access.store).broken_number is None
    delete_account(workbench, member.user.id, by=admin)
    assert count_recordings(workbench.store, reader=PROCESS) == 0


def test_last_admin_cannot_delete_themselves(workbench, caller):
    admin = caller(Role.ADMIN)
    with pytest.raises(LastAdminError):
        delete_account(workbench, admin.user.id, by=admin)
    other = make_user(workbench, Role.ADMIN)
    delete_account(workbench, admin.user.id, by=admin)
    assert workbench.access.user(other.id) == other
    with pytest.raises(UnknownUserError):
        delete_account(workbench, new_id(), by=None)


def test_an_account_ends_before_its_data_goes_and_two_admins_cannot_both_leave(workbench, caller, monkeypatch):
    key = key_header(workbench, role=Role.ADMIN, scopes=ROLE_SCOPES[Role.ADMIN])["X-API-Key"]
    one, other = workbench.access.caller_of_key(key), caller(Role.ADMIN)
    workbench.analyse(WAV, name="a.wav", source=Source.API, owner=one.user.id)
    delete_recording, seen = workbench.delete_recording, []

    def meanwhile(recording_id, *, reader):
        for act in (
            lambda: workbench.access.caller_of_key(key),
            lambda: delete_account(workbench, other.user.id, by=other),
        ):
            with pytest.raises((InvalidCredentialsError, LastAdminError)) as refused:
                act()
            seen.append(type(refused.value))
        return delete_recording(recording_id, reader=reader)

    monkeypatch.setattr(workbench, "delete_recording", meanwhile)
    delete_account(workbench, one.user.id, by=one)
    assert seen == [InvalidCredentialsError, LastAdminError]
    assert workbench.access.user(other.user.id).is_active


def test_a_project_that_goes_before_its_turn_comes_is_not_changed(workbench, caller, monkeypatch):
    owner, member = caller(), caller()
    store, exclusive = workbench.access.store, workbench.access.store.exclusive
    projects = workbench.projects
    for change in (
        lambda project_id: projects.change_retention(project_id, 5, by=owner),
        lambda project_id: projects.add_member(project_id, member.user.email, by=owner),
        lambda project_id: projects.remove_member(project_id, member.user.id, by=owner),
    ):
        project = projects.create("Voices", Purpose.RESEARCH, by=owner)

        def after_it_is_gone(doing, project=project):
            monkeypatch.setattr(store, "exclusive", exclusive)
            delete_project(store, project_id=project.id)
            return exclusive(doing)

        monkeypatch.setattr(store, "exclusive", after_it_is_gone)
        with pytest.raises(UnknownProjectError):
            change(project.id)


def test_an_account_is_changed_whole_or_not_at_all(workbench, caller):
    admin = caller(Role.ADMIN)
    with pytest.raises(LastAdminError):
        workbench.access.change_account(admin.user.id, role=Role.ADMIN, plan="pro", is_active=False, by=admin)
    assert workbench.access.user(admin.user.id) == admin.user
    changed = workbench.access.change_account(caller().user.id, role=Role.VIEWER, plan="pro", is_active=False, by=admin)
    assert (changed.role, changed.plan, changed.is_active) == (Role.VIEWER, "pro", False)


def test_sounds_without_a_recording_are_deleted_once_they_are_an_hour_old(workbench, caller):
    kept = workbench.analyse(WAV, name="a.wav", source=Source.API, owner=caller().user.id).recording
    files = workbench.recording_files
    stray, waiting = files.write(b"left behind by a process that was killed"), files.write(b"waits for its turn")
    workbench.sounds_in_use.append(lambda hashes: {waiting} & set(hashes))
    now = datetime.now(UTC)
    assert delete_stray_sounds(workbench, now + timedelta(minutes=59)) == 0
    assert files.exists(stray)
    assert delete_stray_sounds(workbench, now + timedelta(minutes=61)) == 1
    assert [files.exists(sha256) for sha256 in (stray, waiting, kept.sha256)] == [False, True, True]


def test_a_stray_sound_that_somebody_sends_at_that_moment_stays(workbench, caller, monkeypatch):
    files, user_id = workbench.recording_files, caller().user.id
    sha256 = files.write(WAV)
    delete = files.delete

    def sent_meanwhile(found):
        insert_recording(workbench.store, recording=make_recording(sha256=sha256, owner_id=user_id))
        delete(found)

    monkeypatch.setattr(files, "delete", sent_meanwhile)
    workbench.delete_stray_sound(sha256)
    assert files.read(sha256) == WAV
