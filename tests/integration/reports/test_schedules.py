"""Reports by e-mail: when they are due, what they hold, whom they reach; through outages, downtime, lost accounts."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pypdf import PdfReader

from core.access.access import Access
from core.access.projects import Projects
from core.config import Settings
from core.domain import PROCESS, Caller, Emotion, Purpose, Reader, Role
from core.errors import (
    ForbiddenError,
    InvalidParameterError,
    UnknownProjectError,
    UnknownScheduleError,
)
from core.identifiers import new_id
from core.mail import Mailer
from core.reports.report import ReportFormat
from core.reports.reports import Reports
from core.reports.schedules import MAX_RECIPIENTS, WAITS, ReportPeriod, ReportSchedules, ScheduleDraft
from core.store.audit import select_audit_entries
from core.store.engine import open_store
from core.store.predictions import PredictionFilter, insert_predictions
from core.store.recordings import insert_recording
from core.store.report_schedules import ReportRunState, select_waiting_report_runs
from tests.bundles import TINY
from tests.clocks import Clock
from tests.factories import make_prediction, make_recording
from tests.mail_server import mail_server
from tests.process import free_port

MONDAY = datetime(2026, 3, 16, 9, tzinfo=UTC)


class Desk:
    """The scheduled reports of one process over `data_dir`, at a clock that stands still."""

    def __init__(self, data_dir, store, port: int, **settings: object) -> None:
        self.clock = Clock(MONDAY)
        self.settings = Settings(
            data_dir=data_dir,
            models_dir=TINY.parent,
            smtp_url=f"smtp://127.0.0.1:{port}",
            report_recipient_domains="customer.example",
            **settings,
        )
        self.store = store
        self.access = Access.open(self.settings)
        self.projects = Projects(self.access)
        self.schedules = self.opened()

    def opened(self) -> ReportSchedules:
        """As after another start of the process."""
        reports = Reports(self.settings, self.store, now=self.clock.now)
        mailer = Mailer.open(self.settings)
        return ReportSchedules(
            self.settings, self.store, self.access, self.projects, reports, mailer, now=self.clock.now
        )

    def caller(self, role: Role = Role.ANALYST, name: str = "Ann") -> Caller:
        user = self.access.create_user(f"{new_id().hex[-8:]}@example.org", name, role, "enterprise", by=None)
        caller = self.access.caller_on_behalf(user.id)
        assert caller is not None
        return caller

    def pass_(self, **length: float) -> None:
        self.clock.pass_s(timedelta(**length).total_seconds())

    def work(self) -> list[ReportRunState]:
        """One look of the clock, and what became of the runs it begins."""
        return [self.schedules.deliver(run.id).state for run in self.schedules.look()]


@pytest.fixture
def server():
    with mail_server() as running:
        yield running


@pytest.fixture
def desk(tmp_path, server):
    with open_store(tmp_path / "store.duckdb") as store:
        opened = Desk(tmp_path, store, server.port)
        yield opened
        opened.access.close()


def draft(**given: object) -> ScheduleDraft:
    asked = {
        "title": "Calls of the day",
        "period": ReportPeriod.DAY,
        "format": ReportFormat.CSV,
        "cron": "0 7 * * *",
        "timezone": "Europe/Berlin",
        "recipients": ["ann@customer.example"],
    }
    return ScheduleDraft(**(asked | given))


def predict(desk: Desk, owner_id, at: datetime, *, project_id=None, name="a.wav") -> None:
    recording = insert_recording(
        desk.store, recording=make_recording(owner_id=owner_id, name=name, project_id=project_id)
    )
    insert_predictions(desk.store, predictions=[make_prediction(recording, emotion=Emotion.SAD, created_at=at)])


def attached(message) -> tuple[str, str, bytes]:
    [part] = list(message.iter_attachments())
    return part.get_filename(), part.get_content_type(), part.get_content()


def lines_of(message) -> list[str]:
    data = attached(message)[2]
    return (data if isinstance(data, str) else data.decode("utf-8-sig")).splitlines()[1:]


def test_report_of_the_day_before_arrives_when_it_is_due_and_once(desk, server):
    owner = desk.caller()
    desk.schedules.create(draft(), by=owner)
    predict(desk, owner.user.id, datetime(2026, 3, 16, 22, 30, tzinfo=UTC), name="monday.wav")
    predict(desk, owner.user.id, datetime(2026, 3, 16, 23, 30, tzinfo=UTC), name="tuesday in Berlin.wav")
    assert desk.work() == []
    desk.pass_(hours=20, minutes=59)
    assert desk.work() == []
    desk.pass_(minutes=2)
    assert desk.work() == [ReportRunState.SENT]
    assert desk.work() == []
    [message] = server.messages
    assert message["Subject"] == "Calls of the day: 16 March 2026, 00:00 to 17 March 2026, 00:00"
    assert message["To"] == "ann@customer.example"
    assert attached(message)[:2] == ("telepathy-report-2026-03-17.csv", "text/csv")
    [line] = lines_of(message)
    assert "monday.wav" in line
    text = message.get_body().get_content()
    assert "1 prediction" in text
    assert "every day at 07:00 (Europe/Berlin)" in text


@pytest.mark.parametrize(("format", "kind"), [(ReportFormat.PDF, b"%PDF-"), (ReportFormat.XLSX, b"PK")])
def test_files_arrive_whole(desk, server, format, kind):
    owner = desk.caller(name="Zoë")
    schedule = desk.schedules.create(draft(format=format), by=owner)
    run = desk.schedules.run_now(schedule.id, by=owner)
    assert desk.schedules.deliver(run.id).state is ReportRunState.SENT
    _, _, data = attached(server.messages[0])
    assert data.startswith(kind)
    if format is ReportFormat.PDF:
        assert "Zoë" in PdfReader(io.BytesIO(data)).pages[0].extract_text()


def test_missed_times_are_made_up_for_by_one_report_over_all_of_them(desk, server):
    owner = desk.caller()
    schedule = desk.schedules.create(draft(), by=owner)
    for day in (16, 17, 18, 19):
        predict(desk, owner.user.id, datetime(2026, 3, day, 12, tzinfo=UTC), name=f"{day}.wav")
    desk.pass_(days=3, hours=1)
    desk.schedules = desk.opened()
    assert desk.work() == [ReportRunState.SENT]
    assert desk.work() == []
    assert sorted(line.split(",")[2] for line in lines_of(server.messages[0])) == ["16.wav", "17.wav", "18.wav"]
    [run] = desk.schedules.runs(schedule.id, reader=owner.reader)
    assert (run.first_due_at.day, run.due_at.day) == (17, 19)
    desk.pass_(days=1)
    assert desk.work() == [ReportRunState.SENT]
    assert [line.split(",")[2] for line in lines_of(server.messages[1])] == ["19.wav"]


def test_outage_of_the_mail_server_is_waited_for_and_nobody_gets_it_twice(tmp_path):
    port = free_port()
    with open_store(tmp_path / "store.duckdb") as store:
        desk = Desk(tmp_path, store, port)
        owner = desk.caller()
        schedule = desk.schedules.create(draft(recipients=["a@customer.example", "b@customer.example"]), by=owner)
        desk.schedules.run_now(schedule.id, by=owner)
        assert desk.work() == [ReportRunState.WAITING]
        assert desk.work() == [], "not before its time"
        [run] = desk.schedules.runs(schedule.id, reader=owner.reader)
        assert "cannot be reached" in run.sentence
        desk.pass_(minutes=1)
        with mail_server(port=port, refusals=("451 later",)) as server:
            assert desk.work() == [ReportRunState.WAITING]
            assert [each.rcpt_tos for each in server.envelopes] == [["b@customer.example"]]
            desk.pass_(minutes=5)
            assert desk.work() == [ReportRunState.SENT]
            assert [each.rcpt_tos for each in server.envelopes] == [["b@customer.example"], ["a@customer.example"]]
        [run] = desk.schedules.runs(schedule.id, reader=owner.reader)
        assert sorted(run.delivered_to) == ["a@customer.example", "b@customer.example"]
        assert (run.state, run.sentence, run.n_attempts) == (ReportRunState.SENT, "", 2)
        desk.access.close()


def test_after_a_day_without_a_mail_server_a_run_is_given_up(tmp_path):
    with open_store(tmp_path / "store.duckdb") as store:
        desk = Desk(tmp_path, store, free_port())
        owner = desk.caller()
        schedule = desk.schedules.create(draft(), by=owner)
        desk.schedules.run_now(schedule.id, by=owner)
        for wait in (timedelta(0), *WAITS):
            desk.clock.pass_s(wait.total_seconds())
            states = [desk.schedules.deliver(run.id).state for run in desk.schedules.look() if run.is_by_hand]
        assert states == [ReportRunState.FAILED]
        run = next(run for run in desk.schedules.runs(schedule.id, reader=owner.reader) if run.is_by_hand)
        assert run.sentence.startswith("Given up after 7 attempts.")
        desk.access.close()


def test_process_that_ends_between_two_mails_goes_on_with_those_who_lack_it(desk, server, monkeypatch):
    owner = desk.caller()
    schedule = desk.schedules.create(draft(recipients=["a@customer.example", "b@customer.example"]), by=owner)
    run = desk.schedules.run_now(schedule.id, by=owner)
    send = Mailer.send

    def killed(self, to, *args, **options):
        if to.startswith("b@"):
            raise KeyboardInterrupt
        return send(self, to, *args, **options)

    monkeypatch.setattr(Mailer, "send", killed)
    with pytest.raises(KeyboardInterrupt):
        desk.schedules.deliver(run.id)
    monkeypatch.setattr(Mailer, "send", send)
    desk.schedules = desk.opened()
    assert desk.work() == [ReportRunState.SENT]
    assert [each.rcpt_tos for each in server.envelopes] == [["a@customer.example"], ["b@customer.example"]]
    ids = [message["Message-ID"] for message in server.messages]
    assert ids == [f"<{run.id.hex}.{number}@localhost>" for number in (0, 1)]


def test_address_that_the_server_refuses_for_good_keeps_it_from_nobody_else(desk, server):
    owner = desk.caller()
    server.refusals.append("550 no such user")
    schedule = desk.schedules.create(draft(recipients=["x@customer.example", "y@customer.example"]), by=owner)
    run = desk.schedules.deliver(desk.schedules.run_now(schedule.id, by=owner).id)
    assert (run.state, run.delivered_to) == (ReportRunState.SENT, ("y@customer.example",))
    assert "550 no such user" in run.sentence


def test_report_shows_what_its_owner_may_see_at_that_time(desk, server):
    owner, member = desk.caller(name="Owner"), desk.caller(name="Member")
    project = desk.projects.create("Shared", Purpose.RESEARCH, by=owner)
    desk.projects.add_member(project.id, member.user.email, by=owner)
    predict(desk, owner.user.id, MONDAY - timedelta(hours=1), project_id=project.id, name="shared.wav")
    predict(desk, owner.user.id, MONDAY - timedelta(hours=1), name="own.wav")
    member = desk.access.caller_on_behalf(member.user.id)
    schedule = desk.schedules.create(draft(period=ReportPeriod.ALL), by=member)
    desk.schedules.deliver(desk.schedules.run_now(schedule.id, by=member).id)
    assert [line.split(",")[2] for line in lines_of(server.messages[0])] == ["shared.wav"]
    desk.projects.remove_member(project.id, member.user.id, by=owner)
    desk.schedules.deliver(desk.schedules.run_now(schedule.id, by=member).id)
    assert lines_of(server.messages[1]) == []


def test_schedule_of_a_disabled_owner_stops_and_is_told(desk, server):
    owner = desk.caller()
    schedule = desk.schedules.create(draft(), by=owner)
    desk.access.change_active(owner.user.id, False, by=None)
    desk.pass_(days=1)
    assert desk.work() == [ReportRunState.FAILED]
    stopped = desk.schedules.find(schedule.id, reader=PROCESS)
    assert stopped.is_paused
    assert "disabled" in stopped.stopped_because
    [message] = server.messages
    assert message["Subject"] == "Ended: Calls of the day"
    assert list(message.iter_attachments()) == []
    desk.pass_(days=5)
    assert desk.work() == []
    actions = {entry.action for entry in select_audit_entries(desk.access.store, limit=100)}
    assert {"report_schedule.create", "report_schedule.stop"} <= actions


def test_schedule_of_a_project_stops_when_its_owner_shares_it_no_longer(desk, server):
    owner, member = desk.caller(), desk.caller()
    project = desk.projects.create("Shared", Purpose.RESEARCH, by=owner)
    desk.projects.add_member(project.id, member.user.email, by=owner)
    member = desk.access.caller_on_behalf(member.user.id)
    wanted = draft(filter=PredictionFilter(project_id=project.id))
    schedule = desk.schedules.create(wanted, by=member)
    desk.projects.remove_member(project.id, member.user.id, by=owner)
    desk.schedules.deliver(desk.schedules.run_now(schedule.id, by=member).id)
    assert "no longer shared" in desk.schedules.find(schedule.id, reader=member.reader).stopped_because
    with pytest.raises(UnknownProjectError):
        desk.schedules.create(wanted, by=desk.access.caller_on_behalf(member.user.id))


def test_paused_schedule_rests_and_what_it_missed_is_not_made_up(desk):
    owner = desk.caller()
    schedule = desk.schedules.create(draft(), by=owner)
    desk.schedules.set_paused(schedule.id, True, by=owner)
    assert desk.schedules.next_due_at(desk.schedules.find(schedule.id, reader=owner.reader)) is None
    desk.pass_(days=3)
    assert desk.work() == []
    resumed = desk.schedules.set_paused(schedule.id, False, by=owner)
    assert desk.work() == []
    assert desk.schedules.next_due_at(resumed) == datetime(2026, 3, 20, 6, tzinfo=UTC)


def test_changed_times_count_from_then_on(desk):
    owner = desk.caller()
    schedule = desk.schedules.create(draft(), by=owner)
    desk.pass_(hours=23)
    changed = desk.schedules.change(schedule.id, draft(cron="0 8 * * *", title="Other"), by=owner)
    assert (changed.id, changed.title, changed.created_at) == (schedule.id, "Other", schedule.created_at)
    assert desk.work() == [], "06:00 UTC passed under the old line"
    assert desk.schedules.next_due_at(changed) == datetime(2026, 3, 18, 7, tzinfo=UTC)


def test_since_the_time_before_leaves_no_gap_and_tells_nothing_twice(desk, server):
    owner = desk.caller()
    desk.schedules.create(draft(period=ReportPeriod.SINCE_LAST, cron="0 */6 * * *", timezone="UTC"), by=owner)
    for hour in (10, 13, 19, 23):
        predict(desk, owner.user.id, datetime(2026, 3, 16, hour, 30, tzinfo=UTC), name=f"{hour}.wav")
    for _ in range(3):
        desk.pass_(hours=6)
        desk.work()
    told = [[line.split(",")[2] for line in lines_of(message)] for message in server.messages]
    assert told == [["10.wav"], ["13.wav"], ["23.wav", "19.wav"]]


def test_several_processes_begin_a_run_once(desk):
    owner = desk.caller()
    desk.schedules.create(draft(), by=owner)
    desk.pass_(days=1)
    found = {run.id for schedules in (desk.schedules, desk.opened()) for run in schedules.look()}
    assert len(found) == len(select_waiting_report_runs(desk.store, reader=PROCESS)) == 1


def test_others_see_and_change_nothing_and_admins_do(desk):
    owner, other, admin = desk.caller(), desk.caller(), desk.caller(Role.ADMIN)
    schedule = desk.schedules.create(draft(), by=owner)
    assert desk.schedules.list_for(other.reader) == []
    assert desk.schedules.list_for(Reader(user_id=owner.user.id)) == [schedule]
    for act in (
        lambda: desk.schedules.find(schedule.id, reader=other.reader),
        lambda: desk.schedules.change(schedule.id, draft(), by=other),
        lambda: desk.schedules.set_paused(schedule.id, True, by=other),
        lambda: desk.schedules.run_now(schedule.id, by=other),
        lambda: desk.schedules.runs(schedule.id, reader=other.reader),
        lambda: desk.schedules.delete(schedule.id, by=other),
    ):
        with pytest.raises(UnknownScheduleError):
            act()
    desk.schedules.run_now(schedule.id, by=admin)
    desk.schedules.delete(schedule.id, by=admin)
    assert desk.schedules.list_for(PROCESS) == []
    assert select_waiting_report_runs(desk.store, reader=PROCESS) == []


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"title": " "}, "title"),
        ({"title": "Bcc: \x07"}, "title"),
        ({"title": "x" * 121}, "title"),
        ({"cron": "* * * * *"}, "cron"),
        ({"timezone": "Mars/Base"}, "timezone"),
        ({"recipients": []}, "recipients"),
        ({"recipients": ["nobody"]}, "email"),
        ({"recipients": ["a@customer.example\nBcc: b@c.example"]}, "email"),
        ({"recipients": ["spam@elsewhere.example"]}, "recipients"),
        ({"recipients": [f"{n}@customer.example" for n in range(MAX_RECIPIENTS + 1)]}, "recipients"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_out_of_place_is_refused(desk, given, parameter):
    with pytest.raises(InvalidParameterError, match=f"'{parameter}'"):
        desk.schedules.create(draft(**given), by=desk.caller())


def test_address_of_an_account_is_taken_until_the_account_is_disabled(desk, server):
    owner, friend = desk.caller(), desk.caller()
    schedule = desk.schedules.create(draft(recipients=[friend.user.email.upper()]), by=owner)
    assert schedule.recipients == (friend.user.email,)
    desk.access.change_active(friend.user.id, False, by=None)
    run = desk.schedules.deliver(desk.schedules.run_now(schedule.id, by=owner).id)
    assert run.state is ReportRunState.FAILED
    assert server.messages == []


def test_what_a_disabled_owner_left_can_only_be_deleted(desk):
    owner, admin = desk.caller(), desk.caller(Role.ADMIN)
    schedule = desk.schedules.create(draft(), by=owner)
    desk.access.change_active(owner.user.id, False, by=None)
    with pytest.raises(ForbiddenError, match="only be deleted"):
        desk.schedules.change(schedule.id, draft(), by=admin)


def test_list_that_grew_too_long_is_told_and_not_tried_again(desk, server):
    owner = desk.caller()
    desk.settings = replace(desk.settings, max_report_rows=1)
    desk.schedules = desk.opened()
    for name in ("a.wav", "b.wav"):
        predict(desk, owner.user.id, MONDAY - timedelta(hours=1), name=name)
    schedule = desk.schedules.create(draft(period=ReportPeriod.ALL), by=owner)
    run = desk.schedules.deliver(desk.schedules.run_now(schedule.id, by=owner).id)
    assert run.state is ReportRunState.FAILED
    assert "would list 2 predictions" in run.sentence
    assert server.messages == []
