"""Scheduled reports as jobs of the real process: begun by its clock, seen by their owner, made up for after a stop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.config import Settings
from core.domain import JobState, Role
from core.reports.report import ReportFormat
from core.reports.schedules import ReportPeriod, ScheduleDraft
from core.workbench import open_workbench
from tests.bundles import TINY
from tests.mail_server import mail_server
from tests.waiting import wait_until


@pytest.fixture
def server():
    with mail_server() as running:
        yield running


def opened(tmp_path, server):
    return open_workbench(
        Settings(
            data_dir=tmp_path,
            models_dir=TINY.parent,
            model="tiny",
            smtp_url=f"smtp://127.0.0.1:{server.port}",
            report_recipient_domains="*",
        )
    )


def test_report_that_was_missed_while_nothing_ran_is_sent_by_a_job_of_its_owner(tmp_path, server):
    workbench = opened(tmp_path, server)
    user = workbench.access.create_user("ann@example.org", "Ann", Role.ANALYST, "enterprise", by=None)
    workbench.report_schedules.now = lambda: datetime.now(UTC) - timedelta(days=2)
    schedule = workbench.report_schedules.create(
        ScheduleDraft(
            title="Missed",
            period=ReportPeriod.ALL,
            format=ReportFormat.CSV,
            cron="0 7 * * *",
            timezone="UTC",
            recipients=["ann@example.org"],
        ),
        by=workbench.access.caller_on_behalf(user.id),
    )
    workbench.close()
    workbench = opened(tmp_path, server)
    try:
        workbench.jobs.start(polling_interval_s=0.05)
        workbench.report_clock.look()
        workbench.report_clock.look()
        reader = workbench.access.caller_on_behalf(user.id).reader
        wait_until(lambda: [job.state for job in workbench.jobs.list_jobs(reader=reader)] == [JobState.SUCCEEDED])
        assert [message["Subject"].partition(":")[0] for message in server.messages] == ["Missed"]
        [run] = workbench.report_schedules.runs(schedule.id, reader=reader)
        assert run.due_at > run.first_due_at
        workbench.report_clock.look()
        assert len(workbench.jobs.list_jobs(reader=reader)) == 1
    finally:
        workbench.close()
